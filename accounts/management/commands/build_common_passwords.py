"""Build the offline list of common passwords from a text file with one password a line, the most common first."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from array import array
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.sign_in_passwords import LIST_FILE, fingerprint

MOST_COMMON = 200_000
SHORTEST = 5
POLICY_LENGTH = 12


class Command(BaseCommand):
    help = "Write accounts/data/common_passwords.bin (docs/sign-in.md says from which list the shipped one is)."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("source", type=Path)
        parser.add_argument("--out", type=Path, default=LIST_FILE)

    def handle(self, *args: Any, **options: Any) -> None:
        if sys.byteorder != "little":  # pragma: no cover
            raise CommandError("The file is little-endian; build it on such a machine.")
        lines = options["source"].read_text(encoding="utf-8", errors="replace").splitlines()
        ranked = [line.strip().lower() for line in lines if len(line.strip()) >= SHORTEST]
        chosen = set(ranked[:MOST_COMMON]) | {word for word in ranked if len(word) >= POLICY_LENGTH}
        found = array("I", sorted({fingerprint(word) for word in chosen}))
        options["out"].write_bytes(found.tobytes())
        self.stdout.write(f"{len(found)} fingerprints, {len(found) * found.itemsize / 1e6:.2f} MB")
