"""Fill the demo organisation with a week of work: real analyses and decisions, dated in a working week."""

from __future__ import annotations

import random
import time
from argparse import ArgumentParser
from typing import Any

from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand
from django.utils import timezone

WAIT_S = 0.5
SECONDS_EACH = 10.0  # on two busy cores, before anything was measured here
MEASURED = 3  # analyses after which the rest is estimated


class Command(BaseCommand):
    help = "Fill the demo organisation with a week of work. Runs the engine on every file; doing it twice adds nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, default=7, help="how many days the work is spread over (1 to 60)")
        parser.add_argument("--files", type=int, default=60, help="how many files are made and analysed (1 to 500)")
        parser.add_argument("--seed", type=int, default=2026, help="another seed makes another week")

    def handle(self, *args: Any, **options: Any) -> None:
        days, files, seed = options["days"], options["files"], options["seed"]
        if not 1 <= days <= 60 or not 1 <= files <= 500:
            raise CommandError("--days is between 1 and 60, --files between 1 and 500.")
        from accounts.models import Organization
        from deepfake import demo_media, demo_week

        call_command("seed_demo", stdout=self.stdout, stderr=self.stderr)
        organization = Organization.objects.get(slug="demo")
        cast = demo_week.cast_of(organization)
        rng = random.Random(seed)
        plan = [*demo_media.variants(files, seed), demo_media.broken(files)]
        dates = demo_week.moments(len(plan), days, timezone.now(), rng)
        self.stdout.write(
            f"{len(plan)} files go through the engine. On two busy cores that takes about "
            f"{_minutes(SECONDS_EACH * len(plan))}; it can be stopped and taken up again."
        )
        began, ran = time.monotonic(), 0
        for number, (variant, moment) in enumerate(zip(plan, dates, strict=True), 1):
            job = demo_week.submit(organization, cast, variant, random.Random(f"{seed}/{variant.name}"))
            if not job.is_final:
                finish(job)
                job.refresh_from_db()
                demo_week.move(job, moment)
                ran += 1
                self._tell(number, len(plan), job, began, ran)
        done = demo_week.work(organization, cast, {one.name: one.truth for one in plan if one.truth}, seed)
        counts = ", ".join(f"{count} {what}" for what, count in done.items())
        self.stdout.write(f"Done in {_minutes(time.monotonic() - began)}: {ran} analyses, {counts}.")

    def _tell(self, number: int, whole: int, job: Any, began: float, ran: int) -> None:
        left = ""
        if ran >= MEASURED:
            left = f", about {_minutes((whole - number) * (time.monotonic() - began) / ran)} left"
        self.stdout.write(f"{number:>4} of {whole}  {job.media.filename}  {job.status}{left}")


def finish(job: Any) -> None:
    """Do what a worker does until this job has ended; a server that runs beside may take it first."""
    from detection import jobs

    while True:
        jobs.run_detection()
        job.refresh_from_db()
        if job.is_final:
            return
        time.sleep(WAIT_S)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"
