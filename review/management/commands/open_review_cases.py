"""Apply the review rules to analyses that completed before there were any."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from detection.models import InferenceResult
from review import services


class Command(BaseCommand):
    help = "Open the cases that the rules ask for, for completed analyses that have none. Safe to repeat."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, default=30, help="how far back to look")

    def handle(self, *args: Any, **options: Any) -> None:
        since = timezone.now() - timedelta(days=options["days"])
        results = InferenceResult.objects.filter(
            job__status="completed", job__is_sandbox=False, job__review_state="", job__finished_at__gte=since
        )
        opened = 0
        for result in results.select_related("job__organization").order_by("pk").iterator(chunk_size=500):
            opened += services.route(result.job, result) is not None
        self.stdout.write(f"{opened} cases opened.")
