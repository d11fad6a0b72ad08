"""Check that the audit log is whole: its chain of hashes, its checkpoints outside the database, printed heads."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import audit_verify


class Command(BaseCommand):
    requires_system_checks: list[str] = []
    help = (
        "Check that no row of the audit log was changed, removed, moved or put in between, and that nothing was cut "
        "off its end, and print the chain's head. Fails when something is wrong."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--new", action="store_true", help="only the rows since the newest checkpoint; all checkpoints all the same"
        )
        parser.add_argument(
            "--head",
            action="append",
            default=[],
            metavar="HASH",
            help="a hash that a report prints or that was written down elsewhere: it must be in the chain; repeatable",
        )
        parser.add_argument("--checkpoint", action="store_true", help="write a checkpoint afterwards if all is well")

    def handle(self, *args: Any, **options: Any) -> None:
        found = audit_verify.check(full=not options["new"], heads=options["head"])
        if options["checkpoint"] and found.lacks_only_a_checkpoint:
            found.problems.clear()  # whoever asks for one knows that there is none
        fit, written = found.checkpoints, None
        if options["checkpoint"] and found.is_whole:
            written = audit_verify.write_checkpoint(found)
        audit_verify.keep(found)
        for note in found.notes:
            self.stderr.write(note)
        if not found.is_whole:
            raise CommandError("\n".join(problem.sentence for problem in found.problems))
        what = "new rows" if options["new"] else "rows"
        self.stdout.write(f"{found.rows} {what}, unbroken. Head: {found.head}")
        if fit:
            self.stdout.write(f"{fit} checkpoints outside the database fit ({found.seconds:.1f} s).")
        elif written is None:
            self.stderr.write(
                "There is no checkpoint yet, so rows cut off the end would not be seen. `serve` writes one every hour; "
                "--checkpoint writes one now."
            )
