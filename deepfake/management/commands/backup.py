"""Copy the installation: one moment of the database, objects and their wrapped keys apart, other keys, digests."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from deepfake import backups
from deepfake.errors import DomainError


class Command(BaseCommand):
    help = "Write a backup into a new folder while the server runs. Without the master key it cannot be read."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("target", type=Path, help="a folder that does not exist or is empty")
        parser.add_argument(
            "--with-master-key", type=Path, metavar="FILE", help="write the master keys into FILE, outside the backup"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            made = backups.make(options["target"], master_key_file=options["with_master_key"], tell=self.stdout.write)
        except DomainError as error:
            raise CommandError(error.message) from None
        self.stdout.write(f"{made.files:,} files, {made.size_bytes / 1e6:,.1f} MB, read again and whole.")
        keys = ", ".join(made.manifest["master_keys"])
        where = f"It is in {options['with_master_key']}" if options["with_master_key"] else "It is not in the backup"
        self.stdout.write(f"It needs the master key {keys}. {where}: keep it apart.")
