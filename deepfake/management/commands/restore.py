"""Bring a backup back into an empty installation, and migrate it to this release."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from deepfake import backups
from deepfake.errors import DomainError


class Command(BaseCommand):
    help = "Restore a backup, also of an earlier release, into an empty DATA_DIR and database."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("source", type=Path)
        parser.add_argument("--master-key", type=Path, metavar="FILE", help="what backup --with-master-key wrote")
        parser.add_argument(
            "--unproven", action="store_true", help="take a backup of an earlier release, which has no proof of origin"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            backups.restore(
                options["source"],
                master_key_file=options["master_key"],
                accepts_unproven=options["unproven"],
                tell=self.stdout.write,
            )
        except DomainError as error:
            raise CommandError(error.message) from None
        self.stdout.write("Restored. Start the server with manage.py serve; everybody signs in once more.")
