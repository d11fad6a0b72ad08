"""Compare every file of a backup with the digests that were taken when it was made, and these with their MAC."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from deepfake import backups
from deepfake.backups import Origin
from deepfake.errors import DomainError

TOLD = {
    Origin.PROVEN: "Unchanged since it was made: its manifest fits the master key.",
    Origin.NO_KEY: "Only completeness was checked, not origin: the master key {key} is not here (--master-key).",
    Origin.NO_PROOF: "Only completeness was checked: a backup of an earlier release has no proof of its origin.",
}


class Command(BaseCommand):
    help = "Say whether a backup is whole and, where its master key is at hand, unchanged. Needs no database."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("source", type=Path)
        parser.add_argument("--master-key", type=Path, metavar="FILE", help="what backup --with-master-key wrote")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = backups.verify(options["source"], master_key_file=options["master_key"])
        except DomainError as error:
            raise CommandError(error.message) from None
        made = datetime.fromtimestamp(found.manifest["made_at"], UTC)
        self.stdout.write(
            f"Whole: {found.files:,} files, {found.size_bytes / 1e6:,.1f} MB, made on {made:%Y-%m-%d %H:%M} UTC of "
            f"{found.manifest['database']['vendor']}."
        )
        self.stdout.write(TOLD[found.origin].format(key=(found.manifest.get("mac") or {}).get("key", "")))
