"""`manage.py bench_list`: how long the server takes for the list of analyses; writes its part of docs/benchmarks.md.

Run it on a database that `manage.py seed_analyses` filled.
"""

from __future__ import annotations

import os
import platform
import time
from argparse import ArgumentParser
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.test import Client
from django.urls import reverse

from accounts.models import ApiKey, Organization, User
from detection import listing
from detection.forms import AnalysisFilter
from detection.models import Job, Media
from detection.querysets import JobQuerySet

BENCHMARKS = Path(settings.BASE_DIR) / "docs" / "benchmarks.md"
TITLE = "## The list of analyses"
TARGET_MS = 300


class Command(BaseCommand):
    help = "Measure the list of analyses on a seeded database; writes its section of docs/benchmarks.md."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--organization", default="measuring")
        parser.add_argument("--runs", type=int, default=20)
        parser.add_argument("--out", type=Path, default=BENCHMARKS)

    def handle(self, *args: Any, **options: Any) -> None:
        organization = Organization.objects.filter(slug=options["organization"]).first()
        member = User.objects.filter(organization=organization).order_by("pk").first() if organization else None
        if organization is None or member is None:
            raise CommandError(
                f"There is no organisation {options['organization']}. Run `manage.py seed_analyses` first."
            )
        call_command("collectstatic", interactive=False, verbosity=0)  # pages name hashed files, as they do when served
        client = Client(headers={"host": "localhost"})
        client.force_login(member)
        lines = []
        for what, path, query in cases(organization, member):
            walls, processor = _times(client, path, query, options["runs"])
            p50, p95 = median(walls), quantiles(walls, n=20)[-1]
            met = "yes" if p95 <= TARGET_MS else "no"
            lines.append(f"| {what} | {p50:.0f} ms | {p95:.0f} ms | {median(processor):.0f} ms | {met} |")
            self.stdout.write(lines[-1])
        write(options["out"], text(organization, lines, options["runs"]))


def cases(organization: Organization, member: User) -> list[tuple[str, str, dict[str, str]]]:
    page, rows = reverse("detection:analyses"), reverse("detection:analyses_rows")
    digest = Media.objects.filter(organization=organization).order_by("-created_at").values_list("sha256", flat=True)[0]
    seen = (
        Media.objects.filter(organization=organization).exclude(look=None).order_by("look").values_list("pk", flat=True)
    )
    key = str(ApiKey.objects.filter(organization=organization).order_by("-name").values_list("pk", flat=True)[0])
    found: list[tuple[str, str, dict[str, str]]] = [("the page", page, {}), ("its rows, for a live refresh", rows, {})]
    found += [(f"order: {order.word.lower()}", rows, {"sort": name}) for name, order in listing.ORDERS.items()]
    found += [
        (f"order: {listing.ORDERS[name].word.lower()}, at nine tenths of its depth", rows, deep(organization, name))
        for name in listing.ORDERS
    ]
    for what, query in (
        ("verdict fake", {"label": "fake"}),
        ("verdict fake, lowest score first (all at the far end)", {"label": "fake", "sort": "score_low"}),
        ("kind audio (5 %)", {"kind": "audio"}),
        ("state cancelled (0.05 %)", {"status": "cancelled"}),
        ("state queued, oldest first (0.01 %)", {"status": "queued", "sort": "oldest"}),
        ("in review", {"review": "waiting"}),
        ("overridden, last finished first (0.1 %)", {"review": "overridden", "sort": "finished"}),
        ("reviewer, most uncertain first", {"reviewer": str(member.pk), "sort": "uncertain"}),
        ("sent by, highest score first", {"uploader": str(member.pk), "sort": "score_high"}),
        ("sent by an API key", {"uploader": "api"}),
        ("one API key, highest score first (0.1 %)", {"key": key, "sort": "score_high"}),
        ("domain (0.75 %)", {"domain": "site3.example.org"}),
        ("domain that there is not", {"domain": "nowhere.example"}),
        ("score 40 to 41 %", {"score_from": "40", "score_to": "41"}),
        ("last 7 days, highest score first", {"within": "7", "sort": "score_high"}),
        ("three filters, nothing fits", {"kind": "audio", "domain": "site3.example.org", "review": "overridden"}),
        ("text that many names hold", {"q": "interview"}),
        ("text that many hold, fake, highest score first", {"q": "interview", "label": "fake", "sort": "score_high"}),
        ("text that one name holds", {"q": "000042"}),
        ("text that none holds", {"q": "nothing-like-it"}),
        ("beginning of a digest", {"q": digest[:10]}),
        ("same or alike items", {"same_as": str(seen[0])}),
    ):  # fmt: skip
        found.append((f"filter: {what}", rows, query))
    return found


def deep(organization: Organization, order: str) -> dict[str, str]:
    """The cursor that lies at nine tenths of an order."""
    filters = AnalysisFilter({"sort": order}, organization=organization)
    jobs: JobQuerySet = filters.in_order()
    at = jobs.count() * 9 // 10
    job = listing.in_full([jobs.values_list("pk", flat=True)[at]])[0]
    return {"sort": order, "after": listing.cursor_of(job, order)}


def _times(client: Client, path: str, query: dict[str, str], runs: int) -> tuple[list[float], list[float]]:
    address = f"{path}?{urlencode(query)}"
    walls, processor = [], []
    for _ in range(runs + 1):
        start, at_work = time.perf_counter(), time.process_time()
        response = client.get(address)
        walls.append(1000 * (time.perf_counter() - start))
        processor.append(1000 * (time.process_time() - at_work))
        if response.status_code != 200:
            raise CommandError(f"{address} answered {response.status_code}.")
    return walls[1:], processor[1:]  # the first one reads templates


def text(organization: Organization, lines: list[str], runs: int) -> str:
    number = Job.objects.filter(organization=organization).count()
    load = os.getloadavg()[0]
    return "\n".join(
        [
            TITLE,
            "",
            f"Made by `manage.py bench_list` on {number:,} analyses that `manage.py seed_analyses` wrote. Time in the "
            f"server for a whole answer (session, queries, template), {runs} times each, one request at a time. "
            "The processor's time is what is left where other work on the machine does not stand in the way.",
            "",
            f"{os.cpu_count()} cores, Python {platform.python_version()}, {connection.vendor} "
            f"{'.'.join(str(part) for part in connection.get_database_version())}. "
            f"Load of the machine: {load:.1f}{_priority()}.",
            "",
            f"| what | p50 | p95 | processor, p50 | within {TARGET_MS} ms (p95) |",
            "|---|---|---|---|---|",
            *lines,
            "",
        ]
    )


def _priority() -> str:
    """Said when it is not the usual one: other work then waited for this."""
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    return f", measured at niceness {nice}, so that other work stands in the way less" if nice else ""


def write(path: Path, section: str) -> None:
    """Put the section in the place of the one that is there, or at the end."""
    known = path.read_text() if path.exists() else "# Benchmarks\n"
    before, _, rest = known.partition(TITLE)
    after = rest[rest.index("\n## ") + 1 :] if "\n## " in rest else ""
    path.write_text(f"{before.rstrip()}\n\n{section}{chr(10) + after if after else ''}")
