"""`manage.py report_keys`: the keys that reports are signed with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts import audit
from deepfake import signing
from deepfake.errors import DomainError


class Command(BaseCommand):
    requires_system_checks: list[str] = []
    help = "List, hand out or exchange the keys that reports are signed with."

    def add_arguments(self, parser: CommandParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--list", action="store_true", help="the public keys known here, newest last (default)")
        what.add_argument(
            "--rotate", action="store_true", help="sign with a new key from now on; reports of the old one stay valid"
        )
        what.add_argument(
            "--export", nargs="?", const="", metavar="KEY_ID", help="print a public key as PEM, the current by default"
        )
        parser.add_argument("--out", type=Path, help="write the exported key to this file")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["rotate"]:
                self._rotate()
            elif options["export"] is not None:
                self._export(options["export"], options["out"])
            else:
                self._list()
        except (DomainError, OSError) as error:
            raise CommandError(str(error)) from error

    def _list(self) -> None:
        signing.signer()  # the first report would make the key; whoever asks for it should see it
        for key in sorted(signing.keyring().values(), key=lambda key: (key.signs_now, key.since)):
            state = "signs now" if key.signs_now else "verifies only"
            self.stdout.write(f"{key.key_id}  since {key.since:%Y-%m-%d %H:%M:%S} UTC  {state}")
        self.stdout.write(f"Public keys lie in {signing.public_folder()}")

    def _rotate(self) -> None:
        old, new = signing.rotate()
        audit.record(action="signing_key.exchanged", organization=None, details={"old": old, "new": new})
        self.stdout.write(f"Reports are signed with {new} from now on.")
        if old:
            self.stdout.write(f"Reports signed with {old} stay valid.")

    def _export(self, key_id: str, out: Path | None) -> None:
        wanted = key_id or signing.signer().key_id
        key = signing.keyring().get(wanted)
        if key is None:
            raise CommandError(f"There is no key {wanted}. `manage.py report_keys --list` shows those that there are.")
        if out is None:
            self.stdout.write(key.pem, ending="")
            return
        out.write_text(key.pem)
        self.stderr.write(f"Written to {out}: the public key {key.key_id}.")
