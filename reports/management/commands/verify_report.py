"""`manage.py verify_report FILE`: is a report intact, and signed with a key that is trusted here? Works offline."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from deepfake import signing
from deepfake.errors import DomainError
from reports import bundles, canonical, seals

MAX_BYTES = 200_000_000


class Command(BaseCommand):
    requires_system_checks: list[str] = []
    help = "Check the signature of a PDF or JSON report, or of a whole evidence bundle (.zip). Needs no database."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="report.pdf, report.json or an evidence bundle")
        parser.add_argument(
            "--public-key",
            type=Path,
            action="append",
            metavar="PEM",
            help="trust this key and no other (may be repeated); default: the keys of this installation",
        )
        parser.add_argument(
            "--bundle",
            type=Path,
            metavar="DIR",
            help="also check an unpacked evidence bundle, which has to be the report's",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            keys = trusted_keys(options["public_key"])
            self._check(options["file"], options["bundle"], keys)
        except (seals.SealBroken, bundles.BundleBroken, DomainError) as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"{error.filename or options['file']}: {error.strerror}.") from None

    def _check(self, file: Path, folder: Path | None, keys: signing.Keyring) -> None:
        if file.stat().st_size > MAX_BYTES or _is_zip(file):
            found = check_zip(file, keys)
            self.stdout.write(f"Intact: every file of the bundle is as it was issued. Key {found.key_id}.")
            self._tell(found.report)
            return
        checked = seals.check(file.read_bytes(), keys)
        self.stdout.write(f"Intact: {checked.format.upper()} report {checked.report_id}.")
        self.stdout.write(f"Signed with {checked.key.key_id}, which is trusted here.")
        if checked.report is not None:
            self._tell(checked.report)
        if folder is not None:
            found = bundles.check(folder, keys)
            if found.report["report"]["id"] != checked.report_id:
                raise bundles.BundleBroken(
                    f"The bundle is whole, but it belongs to {found.report['report']['id']}, not to this report."
                )
            self.stdout.write(f"The bundle in {folder} is whole and belongs to it.")

    def _tell(self, report: dict[str, Any]) -> None:
        verdict, item = report["verdict"], report["item"]
        score = "no score" if verdict["score"] is None else f"score {canonical.number(verdict['score'])}"
        self.stdout.write(f"It says: {verdict['label']}, {score}, of the file with SHA-256 {item['sha256']}.")
        self.stdout.write(f"Issued {report['report']['issued_at']}.")


def trusted_keys(files: list[Path] | None) -> signing.Keyring:
    """Return the keys of the named files, or those of the installation. Raises SealBroken when there are none."""
    if files:
        return {key.key_id: key for key in map(signing.public_key_from, files)}
    keys = signing.keyring()
    if not keys:
        raise seals.SealBroken(
            "no_keys",
            f"There are no public keys in {signing.public_folder()}. Name the issuer's with --public-key.",
        )
    return keys


def check_zip(file: Path, keys: signing.Keyring) -> bundles.Bundle:
    """Return a bundle, checked in a folder that is gone afterwards: only its report is to be used."""
    with tempfile.TemporaryDirectory(dir=settings.SPOOL_DIR) as name:
        bundles.unpack(file, Path(name), max_bytes=settings.MAX_UPLOAD_BYTES + MAX_BYTES)
        return bundles.check(Path(name), keys)


def _is_zip(file: Path) -> bool:
    with file.open("rb") as content:
        return content.read(4) == b"PK\x03\x04"
