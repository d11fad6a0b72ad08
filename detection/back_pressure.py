"""How many jobs may wait: past that a new one is refused, with the time in which the queue will have room again."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.utils import timezone

from accounts.models import Organization
from deepfake.errors import DomainError
from detection.models import Job, JobStatus
from detection.walking import walked

MEASURED_OVER = timedelta(minutes=10)
MEASURED_FOR_S = 15  # how long a measurement holds: a full queue is asked often, and the answer changes slowly
# Callers come back when a tenth of the queue is free: one place at a time would be gone before they are here.
ROOM = 0.1
SHORTEST_S, LONGEST_S = 5, 3600
# Fewer jobs than this in that time say more about how little was asked for than about how fast workers are.
MEASURED_AT_LEAST = 20
UNKNOWN_S, UNKNOWN_JOB_S = 60, 10  # then: so long for each place that is to be free, and at most so long in all


class QueueFull(DomainError):
    def __init__(self, limit: int, wait_s: int, *, is_own: bool) -> None:
        whose = "of your organisation " if is_own else ""
        super().__init__(
            f"{limit:,} analyses {whose}wait already, the most that the queue takes. Nothing was kept of this one; "
            f"send it again in {wait_s} s.",
            "queue_full",
            503,
        )
        self.wait = wait_s  # becomes Retry-After


def check_room(organization: Organization) -> None:
    """Raise QueueFull when as many jobs wait as may, of everybody or of this organisation."""
    waiting = Job.objects.filter(status=JobStatus.QUEUED).order_by()
    total = waiting.count()  # this and the next are answered from the index job_due alone
    if total >= settings.QUEUE_MAX_WAITING:
        raise QueueFull(settings.QUEUE_MAX_WAITING, _wait_s(total, settings.QUEUE_MAX_WAITING, None), is_own=False)
    limit = organization.max_waiting_jobs or settings.QUEUE_MAX_WAITING_PER_ORGANIZATION
    if total < limit:
        return  # of which the organisation's are a part
    own = waiting.filter(walked(Job, "organization", organization.pk)).count()
    if own >= limit:
        raise QueueFull(limit, _wait_s(own, limit, organization), is_own=True)


def _wait_s(waiting: int, limit: int, organization: Organization | None) -> int:
    per_second = _throughput(organization)
    too_many = waiting - limit + max(1, math.ceil(ROOM * limit))
    if not per_second:
        return min(UNKNOWN_S, too_many * UNKNOWN_JOB_S)
    return min(LONGEST_S, max(SHORTEST_S, math.ceil(too_many / per_second)))


def _throughput(organization: Organization | None) -> float:
    """Jobs a second that workers brought to an end lately; 0 when they were too few to tell."""
    key = f"queue-throughput:{organization.pk if organization else 'all'}"
    kept = cache.get(key)
    if kept is None:
        ended = Job.objects.filter(finished_at__gte=timezone.now() - MEASURED_OVER, attempts__gt=0)
        count = _of(ended, organization).count()
        kept = count / MEASURED_OVER.total_seconds() if count >= MEASURED_AT_LEAST else 0.0
        cache.set(key, kept, MEASURED_FOR_S)
    return float(kept)


def _of(jobs: Any, organization: Organization | None) -> Any:
    return jobs if organization is None else jobs.filter(organization=organization, deleted_at=None)
