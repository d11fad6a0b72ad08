"""Exchange the key that OAuth tokens are signed with; the old one stays in the key set while its tokens live."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from accounts import audit
from accounts.oauth import keys


class Command(BaseCommand):
    requires_system_checks: list[str] = []
    help = "Add a key that signs OAuth tokens from an hour on, when all clients have seen it in the key set."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--now", action="store_true", help="sign with it at once; clients that keep the key set refuse it at first"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        begins = keys.rotate(at_once=options["now"])
        audit.record(action="oauth.key_rotated", organization=None, details={"signs_from": begins.isoformat()})
        self.stdout.write(f"The new key signs from {begins:%Y-%m-%d %H:%M:%S} UTC on.")
