"""Batches: many items taken at once, started a few at a time, ended together by one event.

Taking a batch only writes rows, so that a thousand items are answered at once. Their jobs are started afterwards from
the queue, fifty in a transaction, each item by a conditional update: whoever dies on the way is followed by the sweep.
"""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Count, F, Q
from django.utils import timezone
from django_q.tasks import async_task

from accounts import audit
from accounts.models import ApiKey, Organization
from deepfake import loop
from deepfake.errors import DomainError
from detection import payloads, services, webhooks
from detection.models import FINAL_STATUSES, Batch, BatchItem, BatchStatus, ItemState, Job, JobStatus, Label, Media
from detection.querysets import of_keys_world
from detection.signals import analysis_finished

logger = logging.getLogger(__name__)

MOST_ITEMS = 1000
BLOCK = 50  # items that one transaction starts
OPEN_FOR = timedelta(hours=24)  # after which a batch that nobody closed takes no more items
QUEUE_ENTRY = "detection.batches.advance_one"
LATER = frozenset({429, 503, 507})  # refusals that say "not now": the item waits

# How an item stands, in the words of the API.
STATUSES = ("waiting", *JobStatus.values, "refused", "deleted")


def create(
    *,
    organization: Organization,
    items: list[dict[str, str]],
    name: str = "",
    mode: str = "auto",
    threshold_profile: str = "",
    stability: str,
    priority: int = 0,
    callback_url: str = "",
    keep_open: bool = False,
    actor: Any = None,
    api_key: ApiKey | None = None,
) -> Batch:
    """Take a batch with its first items; without `keep_open` these are all. Raises DomainError."""
    services.find_profile(organization, threshold_profile)
    if callback_url:
        callback_url = services.checked_callback(callback_url, api_key)
    with transaction.atomic():
        batch = Batch.objects.create(
            organization=organization,
            created_by=actor,
            api_key=api_key,
            name=name,
            mode=mode,
            threshold_profile=threshold_profile,
            stability=stability,
            priority=priority,
            callback_url=callback_url,
        )
        _write_items(batch, items)
        if not keep_open:
            _close(batch)
        _audit("batch.created", batch, actor, api_key, {"items": len(items), "name": name})
        _ring(batch)
    batch.refresh_from_db()
    return batch


def add_items(
    *,
    batch: Batch,
    items: list[dict[str, str]],
    close: bool = False,
    actor: Any = None,
    api_key: ApiKey | None = None,
) -> Batch:
    """Add to a batch that is open. Raises DomainError."""
    with transaction.atomic():
        # The write comes first: of two that add at once the second one waits here, and counts on from the first.
        _still_open(batch).update(name=F("name"))
        if not _still_open(batch).exists():
            raise DomainError("This batch takes no more items. Make a new one for them.", "batch_closed", 409)
        batch.refresh_from_db()
        _write_items(batch, items)
        if close:
            _close(batch)
        _audit("batch.items_added", batch, actor, api_key, {"items": len(items)})
        _ring(batch)
    batch.refresh_from_db()
    return batch


def close(*, batch: Batch, actor: Any = None, api_key: ApiKey | None = None) -> Batch:
    """No more items: the batch ends when those it has have ended. Raises DomainError."""
    with transaction.atomic():
        if not _close(batch):
            raise DomainError("This batch is closed already.", "batch_closed", 409)
        _audit("batch.closed", batch, actor, api_key, {})
        _ring(batch)
    batch.refresh_from_db()
    return batch


def cancel(*, batch: Batch, actor: Any = None, api_key: ApiKey | None = None) -> Batch:
    """Start nothing more, and stop what waits or runs. Raises DomainError when it has ended."""
    now = timezone.now()
    with transaction.atomic():
        live = Batch.objects.filter(pk=batch.pk, status__in=(BatchStatus.OPEN, BatchStatus.RUNNING))
        if not live.update(status=BatchStatus.RUNNING, cancel_requested_at=now, closed_at=batch.closed_at or now):
            raise DomainError("This batch has already ended.", "batch_ended", 409)
        batch.items.filter(state=ItemState.WAITING).update(state=ItemState.CANCELLED)
        _audit("batch.cancelled", batch, actor, api_key, {})
        _ring(batch)
    batch.refresh_from_db()
    return batch


def _still_open(batch: Batch) -> Any:
    return Batch.objects.filter(pk=batch.pk, status=BatchStatus.OPEN)


def _close(batch: Batch) -> bool:
    return bool(_still_open(batch).update(status=BatchStatus.RUNNING, closed_at=timezone.now()))


def _write_items(batch: Batch, items: list[dict[str, str]]) -> None:
    if batch.item_count + len(items) > MOST_ITEMS:
        raise too_large(batch.item_count, len(items))
    media = _media_of(batch, items)
    rows = []
    for position, item in enumerate(items, batch.item_count + 1):
        row = BatchItem(
            batch=batch,
            position=position,
            reference=item.get("reference", ""),
            url=item.get("url", ""),
            media_id_given=item.get("media_id", ""),
        )
        if row.media_id_given:
            row.media = media.get(row.media_id_given)
            if row.media is None:
                row.state, row.error_code = ItemState.REFUSED, "not_found"
                row.error_message = "There is no item of this id in your organisation."
        rows.append(row)
    BatchItem.objects.bulk_create(rows, batch_size=200)
    Batch.objects.filter(pk=batch.pk).update(item_count=batch.item_count + len(items))


def too_large(before: int, sent: int) -> DomainError:
    sentence = (
        f"A batch takes {MOST_ITEMS:,} items at most; this one has {before:,}, and you sent {sent:,}. "
        "Put the rest into another batch."
    )
    return DomainError(sentence, "batch_too_large", fields={"items": [sentence]})


def _media_of(batch: Batch, items: list[dict[str, str]]) -> dict[str, Media]:
    """The items that the ids name, under the text that named them; of the world that the batch runs in."""
    ids: dict[str, uuid.UUID] = {}
    for item in items:
        if text := item.get("media_id"):
            try:
                ids[text] = uuid.UUID(text.removeprefix("med_"))
            except ValueError:
                continue
    is_sandbox = batch.api_key is not None and batch.api_key.is_sandbox
    found = Media.objects.visible_to(batch.organization).of_world(is_sandbox).in_bulk(list(set(ids.values())))
    return {text: found[pk] for text, pk in ids.items() if pk in found}


# Going on -------------------------------------------------------------------------------------------------------------


def _ring(batch: Batch) -> None:
    async_task(QUEUE_ENTRY, str(batch.pk), group="batches", save=False)


def advance_one(pk: str) -> None:
    """Called by the queue: start or stop what is left of a batch, and end it when nothing is."""
    batch = Batch.objects.select_related("organization", "api_key", "created_by").filter(pk=pk).first()
    while batch is not None and not loop.stopping.is_set() and _advance(batch):
        batch.refresh_from_db()


def advance_all() -> None:
    """Called by the sweep: go on with what a killed process left, close what was forgotten, end what has ended."""
    forgotten = Batch.objects.filter(status=BatchStatus.OPEN, created_at__lt=timezone.now() - OPEN_FOR)
    forgotten.update(status=BatchStatus.RUNNING, closed_at=timezone.now())
    unfinished = Batch.objects.filter(status__in=(BatchStatus.OPEN, BatchStatus.RUNNING)).order_by("created_at")
    for pk in list(unfinished.values_list("pk", flat=True)[:200]):
        advance_one(str(pk))


def _advance(batch: Batch) -> bool:
    """Do the next piece of work; False when there is none for now."""
    if batch.cancel_requested_at is not None:
        batch.items.filter(state=ItemState.WAITING).update(state=ItemState.CANCELLED)
    if _stop_jobs(batch) if batch.cancel_requested_at is not None else _start_items(batch):
        return True
    finish(batch)
    return False


def _start_items(batch: Batch) -> bool:
    waiting = batch.items.filter(state=ItemState.WAITING).select_related("media__organization").order_by("position")
    items, moved = list(waiting[:BLOCK]), False
    if not items:
        return False
    with transaction.atomic():
        for item in items:
            if not _claim(item):
                continue
            if not _start(batch, item):
                break
            moved = True
    return moved


def _claim(item: BatchItem) -> bool:
    return bool(
        BatchItem.objects.filter(pk=item.pk, state=ItemState.WAITING, batch__cancel_requested_at=None).update(
            state=ItemState.STARTED
        )
    )


def _start(batch: Batch, item: BatchItem) -> bool:
    """Give the item its job, or the reason why it has none; False when it is to wait."""
    who: dict[str, Any] = {"actor": batch.created_by, "api_key": batch.api_key}
    found: dict[str, Any]
    try:
        with transaction.atomic():
            media = item.media or _fetched_later(batch, item, who)
            job = services.start_job(
                media=media,
                mode=batch.mode,
                threshold_profile=batch.threshold_profile,
                priority=batch.priority,
                stability=batch.stability,
                **who,
            )
        found = {"state": ItemState.STARTED, "media": media, "job": job}
    except DomainError as error:
        if error.status in LATER:
            BatchItem.objects.filter(pk=item.pk).update(state=ItemState.WAITING)
            return False
        found = {"state": ItemState.REFUSED, "error_code": error.code, "error_message": error.message}
    BatchItem.objects.filter(pk=item.pk).update(**found)
    return True


def _fetched_later(batch: Batch, item: BatchItem, who: dict[str, Any]) -> Media:
    if not item.url:  # its item was deleted before it could start
        raise DomainError("The item was deleted before its turn came.", "not_found", 404)
    return services.add_url(organization=batch.organization, url=item.url, **who)


def _stop_jobs(batch: Batch) -> bool:
    active = Job.objects.filter(batch_item__batch=batch, cancel_requested_at=None, status__in=_ACTIVE)
    jobs = list(active.select_related("organization", "media").order_by()[:BLOCK])
    for job in jobs:
        try:
            services.cancel_job(job=job, actor=batch.created_by, api_key=batch.api_key)
        except DomainError:
            continue  # it ended in this very moment
    return bool(jobs)


_ACTIVE = (JobStatus.QUEUED, JobStatus.RUNNING)


def finish(batch: Batch) -> bool:
    """End the batch when all its items have ended: once, with its event in the same transaction."""
    if batch.items.filter(Q(state=ItemState.WAITING) | Q(job__status__in=_ACTIVE, job__deleted_at=None)).exists():
        return False
    status = BatchStatus.COMPLETED if batch.cancel_requested_at is None else BatchStatus.CANCELLED
    with transaction.atomic():
        ended = Batch.objects.filter(pk=batch.pk, status=BatchStatus.RUNNING)
        if not ended.update(status=status, finished_at=timezone.now()):
            return False
        batch.refresh_from_db()
        told = payload(batch)
        webhooks.emit(
            organization=batch.organization, event="batch.completed", payload=told, is_sandbox=told["sandbox"]
        )
        webhooks.call_back(batch, "batch.completed", told)
        audit.record(action=f"batch.{status}", organization=batch.organization, target=batch)
    return True


def job_has_ended(sender: Any, job: Job, **kwargs: Any) -> None:
    batch = Batch.objects.filter(items__job=job, status=BatchStatus.RUNNING).select_related("organization").first()
    if batch is not None:
        finish(batch)


def listen() -> None:
    analysis_finished.connect(job_has_ended, dispatch_uid="detection.batches")


# What is said of them -------------------------------------------------------------------------------------------------


def payload(batch: Batch) -> dict[str, Any]:
    """The batch as JSON-ready dict, its items counted."""
    counts, labels = dict.fromkeys(STATUSES, 0), dict.fromkeys(Label.values, 0)
    groups = batch.items.values("state", "job__status", "job__final_label", gone=Q(job__deleted_at__isnull=False))
    for row in groups.annotate(number=Count("pk")).order_by():
        status = _status(row["state"], None if row["gone"] else row["job__status"])
        counts[status] += row["number"]
        if status == JobStatus.COMPLETED and row["job__final_label"]:
            labels[row["job__final_label"]] += row["number"]
    ended = sum(counts[name] for name in (*FINAL_STATUSES, "refused", "deleted"))
    total = batch.item_count
    return {
        "batch_id": batch.public_id,
        "name": batch.name,
        "status": batch.status,
        "cancel_requested": batch.cancel_requested_at is not None,
        "mode": batch.mode,
        "threshold_profile": batch.threshold_profile or None,
        "stability": batch.stability,
        "priority": batch.priority,
        "sandbox": bool(batch.api_key and batch.api_key.is_sandbox),
        "total": total,
        "ended": ended,
        "percent": 100 if batch.is_final else int(100 * ended / total) if total else 0,
        "counts": counts,
        "labels": labels,
        "created_at": payloads.moment(batch.created_at),
        "closed_at": payloads.moment(batch.closed_at),
        "finished_at": payloads.moment(batch.finished_at),
    }


def _status(state: str, job_status: str | None) -> str:
    return job_status or "deleted" if state == ItemState.STARTED else state


def item_payload(item: BatchItem) -> dict[str, Any]:
    job = item.job if item.job is not None and item.job.deleted_at is None else None
    error = None
    if item.state == ItemState.REFUSED:
        error = {"code": item.error_code, "message": item.error_message}
    elif job is not None and job.status == JobStatus.FAILED:
        error = {"code": job.failure_code, "message": job.failure_message}
    media_id = f"med_{item.media_id.hex}" if item.media_id else item.media_id_given or None
    return {
        "position": item.position,
        "reference": item.reference,
        "media_id": media_id,
        "url": item.url or None,
        "status": _status(item.state, job.status if job else None),
        "job_id": job.public_id if job else None,
        "label": (job.final_label or None) if job else None,
        "score": job.score if job else None,
        "error": error,
    }


def items_of(batch: Batch, *, status: str = "", has_error: bool | None = None) -> Any:
    """The batch's items in their order, narrowed by how they stand."""
    items = batch.items.select_related("job").order_by("position")
    items = items.only(
        *(field.attname for field in BatchItem._meta.concrete_fields),
        *(
            f"job__{name}"
            for name in ("status", "final_label", "score", "failure_code", "failure_message", "deleted_at")
        ),
    )
    if has_error is not None:
        wrong = Q(state=ItemState.REFUSED) | Q(job__status=JobStatus.FAILED)
        items = items.filter(wrong) if has_error else items.exclude(wrong)
    if not status:
        return items
    if status in ItemState.values and status not in JobStatus.values:
        return items.filter(state=status)
    if status == "deleted":
        return items.filter(Q(job=None) | Q(job__deleted_at__isnull=False), state=ItemState.STARTED)
    stands = Q(state=ItemState.STARTED, job__status=status, job__deleted_at=None)
    return items.filter(stands | Q(state=ItemState.CANCELLED) if status == JobStatus.CANCELLED else stands)


def find(organization: Organization, identity: uuid.UUID, is_sandbox: bool | None = None) -> Batch | None:
    """Of the world that the caller sees (querysets.of_keys_world)."""
    rows = of_keys_world(Batch.objects.select_related("organization", "api_key"), is_sandbox)
    return rows.filter(organization=organization, pk=identity).first()


def _audit(action: str, batch: Batch, actor: Any, api_key: ApiKey | None, details: dict[str, Any]) -> None:
    audit.record(
        action=action,
        organization=batch.organization,
        actor=actor,
        api_key=api_key,
        target=batch,
        details=details,
    )
