"""Figures that the database knows and no process alone: queue, webhooks, audit chain. Read every 5 s at most."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

from django.db import DatabaseError
from django.db.models import Count, Q
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from accounts import audit_checkpoints
from accounts.models import AuditCheck, AuditLog
from deepfake import metrics, worker
from detection.engine import pipeline
from detection.engine.errors import EngineError
from detection.models import Job, JobStatus, WebhookDelivery
from detection.querysets import STALE_AFTER

logger = logging.getLogger(__name__)

KEEP_S = 5.0
WEBHOOK_WINDOW = timedelta(hours=24)


class DatabaseCollector(Collector):
    """Two scrapers, or a hundred, ask the database no more often than one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: list[Metric] = []
        self._read_at = -KEEP_S

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            if time.monotonic() - self._read_at >= KEEP_S:
                self._found = list(_read())
                self._read_at = time.monotonic()
            yield from self._found

    def describe(self) -> Iterable[Metric]:
        return []  # else registering it would ask the database

    def forget(self) -> None:
        self._read_at = -KEEP_S


def _read() -> Iterator[Metric]:
    answers = GaugeMetricFamily("deepfake_database_up", "Whether the database answered these questions")
    try:
        found = [family for part in PARTS for family in part()]
    except DatabaseError:
        logger.exception("The figures of the database could not be read")
        answers.add_metric([], 0)
        yield answers
        return
    answers.add_metric([], 1)
    yield answers
    yield from found


def _queue() -> Iterator[Metric]:
    now = timezone.now()
    states = (JobStatus.QUEUED, JobStatus.RUNNING)
    counts = dict(Job.objects.filter(status__in=states).order_by().values_list("status").annotate(Count("pk")))
    depth = GaugeMetricFamily("deepfake_queue_jobs", "Analyses that wait or run", labels=["status"])
    for state in states:
        depth.add_metric([state], counts.get(state, 0))
    yield depth
    oldest = Job.objects.filter(status=JobStatus.QUEUED).order_by("created_at").values_list("created_at", flat=True)
    first = oldest.first()
    age = GaugeMetricFamily("deepfake_queue_oldest_seconds", "How long the oldest waiting analysis has waited")
    age.add_metric([], (now - first).total_seconds() if first else 0)
    yield age
    stale = GaugeMetricFamily("deepfake_queue_stale_jobs", "Running analyses whose worker has gone silent")
    silent = Job.objects.filter(status=JobStatus.RUNNING, heartbeat_at__lt=now - STALE_AFTER)
    stale.add_metric([], silent.count())
    yield stale


def _webhooks() -> Iterator[Metric]:
    since = timezone.now() - WEBHOOK_WINDOW
    counted = WebhookDelivery.objects.filter(created_at__gte=since).aggregate(
        delivered=Count("pk", filter=Q(delivered_at__isnull=False)),
        gave_up=Count("pk", filter=Q(gave_up_at__isnull=False)),
        retrying=Count("pk", filter=Q(delivered_at=None, gave_up_at=None, attempts__gt=0)),
        waiting=Count("pk", filter=Q(delivered_at=None, gave_up_at=None, attempts=0)),
    )
    family = GaugeMetricFamily(
        "deepfake_webhook_deliveries", "Webhooks of the last 24 hours by what became of them", labels=["outcome"]
    )
    for outcome, number in counted.items():
        family.add_metric([outcome], number)
    yield family


def _audit() -> Iterator[Metric]:
    check = AuditCheck.objects.order_by("-id").first()
    whole = GaugeMetricFamily("deepfake_audit_chain_whole", "1 when the last check found the audit chain whole")
    checked = GaugeMetricFamily("deepfake_audit_checked_timestamp_seconds", "When the audit chain was last checked")
    if check is not None:
        whole.add_metric([], int(check.is_whole))
        checked.add_metric([], check.started_at.timestamp())
    yield whole
    yield checked
    newest = AuditLog.objects.order_by("-id").values_list("id", flat=True).first() or 0
    checkpoint = audit_checkpoints.newest()
    written = GaugeMetricFamily("deepfake_audit_checkpoint_timestamp_seconds", "When the last checkpoint was written")
    behind = GaugeMetricFamily("deepfake_audit_rows_since_checkpoint", "Audit rows that no checkpoint vouches for yet")
    if checkpoint is not None:
        written.add_metric([], checkpoint.written_at.timestamp())
    behind.add_metric([], max(0, newest - (checkpoint.row if checkpoint else 0)))
    yield written
    yield behind


def _models() -> Iterator[Metric]:
    info = GaugeMetricFamily("deepfake_model_info", "The models and fusion that give verdicts here", labels=["version"])
    try:
        info.add_metric([pipeline.model_version()], 1)
    except EngineError:
        logger.warning("The version of the models cannot be told: their files are not in order")
    yield info


PARTS: tuple[Callable[[], Iterator[Metric]], ...] = (_queue, _webhooks, _audit, _models)
collector = DatabaseCollector()
metrics.REGISTRY.register(collector)
metrics.workers.labels("busy").set_function(lambda: worker.count_busy())
metrics.workers.labels("all").set_function(lambda: worker.count_all())
