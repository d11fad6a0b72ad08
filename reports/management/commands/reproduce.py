"""`manage.py reproduce BUNDLE`: run the analysis of an evidence bundle again and compare."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from deepfake.errors import DomainError
from detection.engine.errors import EngineError
from reports import bundles, reproduction, seals
from reports.management.commands.verify_report import MAX_BYTES, trusted_keys


class Command(BaseCommand):
    requires_system_checks: list[str] = []
    help = "Check an evidence bundle, run its analysis again and compare label and score. Needs no database."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("bundle", type=Path)
        parser.add_argument("--json", action="store_true", help="print the comparison as JSON")
        parser.add_argument(
            "--public-key",
            type=Path,
            action="append",
            metavar="PEM",
            help="trust this key and no other (may be repeated); default: the keys of this installation",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with tempfile.TemporaryDirectory(dir=settings.SPOOL_DIR) as name:
                keys = trusted_keys(options["public_key"])
                bundles.unpack(options["bundle"], Path(name), max_bytes=settings.MAX_UPLOAD_BYTES + MAX_BYTES)
                outcome = reproduction.reproduce(bundles.check(Path(name), keys))
        except (bundles.BundleBroken, reproduction.NotReproducible, seals.SealBroken, DomainError) as error:
            raise CommandError(str(error)) from None
        except EngineError as error:
            raise CommandError(f"The analysis could not be run again: {error.message} [{error.code}]") from error
        except OSError as error:
            raise CommandError(f"{error.filename or options['bundle']}: {error.strerror}.") from None
        self.stdout.write(json.dumps(outcome.to_dict(), indent=1) if options["json"] else _for_people(outcome))
        if not outcome.is_same:
            raise CommandError("The analysis did not come to the same result.")


def _for_people(outcome: reproduction.Outcome) -> str:
    lines = [
        f"Label  then {outcome.label_then}, now {outcome.label_now}",
        f"Score  then {outcome.score_then}, now {outcome.score_now}",
    ]
    if outcome.difference is not None:
        lines.append(f"Difference {outcome.difference:.2g}; up to {reproduction.TOLERANCE:g} counts as the same.")
    lines += [
        f"Note: {name} was {then} when the report was issued, here it is {now}."
        for name, (then, now) in outcome.other_packages.items()
    ]
    if outcome.is_same:
        lines.append("Same result: the bundle is whole, and the analysis comes to what its report says.")
    return "\n".join(lines)
