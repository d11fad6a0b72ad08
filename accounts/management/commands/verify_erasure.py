"""Look whether anything is left of what a data request erased, and whether the audit log proves it."""

from __future__ import annotations

import uuid
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import data_requests
from accounts.models import DataRequest


class Command(BaseCommand):
    help = "Check an erasure: its rows, its stored objects, its proof in the audit log and the log's chain."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("request", help="the request's id, dsr_…")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            pk = uuid.UUID(options["request"].removeprefix("dsr_"))
        except ValueError:
            raise CommandError("The id of a request looks like dsr_0a1b2c….") from None
        request = DataRequest.objects.select_related("organization", "member").filter(pk=pk).first()
        if request is None:
            raise CommandError("There is no such request.")
        wrong = data_requests.verify(request)
        if wrong:
            raise CommandError("\n".join(wrong))
        rows = sum(len(keys) for keys in request.proof.get("rows", {}).values())
        objects = len(request.proof.get("objects", []))
        self.stdout.write(
            f"{rows:,} rows and {objects:,} stored objects are gone, and the audit log proves it."
            + "".join(f"\nStays: {sentence}" for sentence in request.kept)
        )
