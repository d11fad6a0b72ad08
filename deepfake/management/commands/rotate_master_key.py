"""Exchange the master key: a new one for what is written, everything else wrapped anew, the server running or not."""

from __future__ import annotations

import base64
import os
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from deepfake import master_keys, rotation
from deepfake.errors import DomainError


class Command(BaseCommand):
    help = (
        "Make a new master key and wrap every data key and sealed secret by it. Can be broken off and repeated; safe "
        "while the server runs. Earlier keys stay readable until --retire."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--status", action="store_true", help="say what lies under which key, and change nothing")
        what.add_argument("--retire", metavar="KEY", help="destroy an earlier key that nothing needs any more")
        what.add_argument("--new-key", action="store_true", help="print a fresh key for MASTER_KEY, and change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["new_key"]:
            self.stdout.write(base64.b64encode(os.urandom(master_keys.KEY_BYTES)).decode())
            return
        try:
            if options["retire"]:
                rotation.retire(options["retire"])
                self.stdout.write(
                    f"The master key {options['retire']} is destroyed here. Backups made before the rotation still "
                    "need it: destroy its other copies together with them."
                )
                return
            found = rotation.look() if options["status"] else rotation.rotate(self.stdout.write)
        except DomainError as error:
            raise CommandError(error.message) from None
        self._report(found)
        if not options["status"] and (found.elsewhere or found.broken):
            raise CommandError("Not everything could be wrapped anew; the earlier keys are kept.")

    def _report(self, found: rotation.Found) -> None:
        current = master_keys.current().id
        source = "the environment" if master_keys.is_from_environment() else master_keys.ensure()
        state = rotation.state()
        if state and not state.get("finished_at") and not master_keys.is_from_environment():
            self.stdout.write("A rotation is under way. Run rotate_master_key to take it up.")
        self.stdout.write(f"{'master key':<18}{'objects':>10}{'secrets':>10}")
        for key in master_keys.everyone():
            mark = f"  current, from {source}" if key.id == current else ""
            self.stdout.write(f"{key.id:<18}{found.objects[key.id]:>10,}{found.values[key.id]:>10,}{mark}")
        if found.values[rotation.FIRST_FORMAT]:
            self.stdout.write(f"{found.values[rotation.FIRST_FORMAT]:,} values of the first format name no key.")
        known = {key.id for key in master_keys.everyone()} | {rotation.FIRST_FORMAT}
        for key_id in sorted(set(found.objects + found.values) - known):
            self.stdout.write(f"{key_id:<18}{found.under(key_id):>10,} need a key that is missing here.")
        if found.broken:
            self.stdout.write(f"{len(found.broken):,} data keys cannot be read, as {found.broken[0]}.")
