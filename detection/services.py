"""What can be done with media and jobs: submit, start, cancel, rerun, delete, record a verdict."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django_q.tasks import async_task

from accounts import audit
from accounts.models import ApiKey, Organization
from deepfake import storage
from deepfake.errors import DomainError
from detection import back_pressure, bulk, fetch, holds, ingest, likeness, live, retention, sandbox
from detection.models import (
    ExplanationArtifact,
    Feedback,
    Job,
    JobStatus,
    Label,
    Media,
    MediaKind,
    StabilityTest,
    ThresholdProfile,
)
from detection.payloads import job_payload as job_payload
from detection.signals import analysis_finished
from detection.verdicts import artifact_hint
from detection.verdicts import record_verdict as record_verdict

MODES = ("auto", *MediaKind.values)
MAX_PRIORITY = 100
QUEUE_ENTRY = "detection.jobs.run_detection"

BulkAction, offer_bulk_action = bulk.Action, bulk.offer  # for the rooms above, which add to the list's bar


# Submitting -----------------------------------------------------------------------------------------------------------


def submit_media(
    *,
    organization: Organization,
    actor: Any = None,
    api_key: ApiKey | None = None,
    file: IO[bytes] | None = None,
    filename: str = "",
    url: str = "",
) -> Media:
    """Take a file now, or a URL that its first job will fetch. Raises DomainError."""
    if file is not None and url:
        raise DomainError("Send a file or a URL, not both.", "one_source")
    if url:
        return add_url(organization=organization, actor=actor, api_key=api_key, url=url)
    if file is None:
        raise DomainError("Send a file or give a URL.", "nothing_sent")
    with ingest.kept(file, organization=organization, filename=filename) as stored:
        return add_stored(organization=organization, actor=actor, api_key=api_key, stored=stored)


def add_stored(
    *, organization: Organization, actor: Any = None, api_key: ApiKey | None = None, stored: ingest.Stored
) -> Media:
    """Write the row of an item that already lies in storage (see ingest.kept)."""
    with transaction.atomic():
        media = Media.objects.create(
            organization=organization,
            uploaded_by=_user(actor),
            api_key=api_key,
            filename=stored.filename,
            storage_name=stored.storage_name,
            kind=stored.kind,
            mime_type=stored.mime_type,
            size_bytes=stored.size_bytes,
            sha256=stored.sha256,
            is_sandbox=_is_sandbox(api_key),
        )
        likeness.note_look(media)
        _audit("media.submitted", media, actor, api_key, {"sha256": stored.sha256, "bytes": stored.size_bytes})
    return media


def add_url(*, organization: Organization, actor: Any = None, api_key: ApiKey | None = None, url: str) -> Media:
    """Write the row of an item that a job will fetch, after refusing at once what never could be."""
    url = fetch.check_submitted(url)
    filename = ingest.clean_name(unquote(urlsplit(url).path.rpartition("/")[2]))
    with transaction.atomic():
        media = Media.objects.create(
            organization=organization,
            uploaded_by=_user(actor),
            api_key=api_key,
            source_url=url,
            filename=filename,
            is_sandbox=_is_sandbox(api_key),
        )
        # The log cannot be erased: it names the host, and the address only by its digest.
        where = {"host": media.source_host(), "url_sha256": hashlib.sha256(url.encode()).hexdigest()}
        _audit("media.submitted", media, actor, api_key, where)
    return media


def start_job(
    *,
    media: Media,
    actor: Any = None,
    api_key: ApiKey | None = None,
    mode: str = "auto",
    callback_url: str = "",
    threshold_profile: ThresholdProfile | str | None = None,
    priority: int = 0,
    stability: str = StabilityTest.CHEAP,
) -> Job:
    """Queue an analysis of `media`; the job and its bell are written in one transaction. Raises DomainError."""
    retention.check_there(media)
    check_mode(mode, media.kind)
    if stability not in StabilityTest.values:
        raise DomainError(f"stability must be one of {', '.join(StabilityTest.values)}.", "stability_unknown")
    if callback_url:
        callback_url = checked_callback(callback_url, api_key)
    with transaction.atomic():
        if not _is_sandbox(api_key) or media.sha256 not in sandbox.recordings():
            back_pressure.check_room(media.organization)
        job = Job.objects.create(
            organization=media.organization,
            media=media,
            created_by=_user(actor),
            api_key=api_key,
            mode=mode,
            callback_url=callback_url,
            threshold_profile=find_profile(media.organization, threshold_profile),
            priority=max(-MAX_PRIORITY, min(MAX_PRIORITY, priority)),
            stability=stability,
            is_sandbox=_is_sandbox(api_key),
        )
        is_recorded = sandbox.recording_for(job) is not None
        _audit("job.started", job, actor, api_key, _options(job))
        ring(job)
    transaction.on_commit(partial(live.publish, job))
    if is_recorded:
        transaction.on_commit(partial(sandbox.answer, job.pk), robust=True)
    return job


def submit_and_start(
    *,
    organization: Organization,
    actor: Any = None,
    api_key: ApiKey | None = None,
    file: IO[bytes] | None = None,
    filename: str = "",
    url: str = "",
    mode: str = "auto",
    keeps: str = "",
    **options: Any,
) -> Job:
    """Submit an item and queue its analysis. Raises DomainError.

    keeps: "none" leaves nothing but the verdict behind.
    """
    check_room(organization, api_key)  # before anything is stored
    media = submit_media(organization=organization, actor=actor, api_key=api_key, file=file, filename=filename, url=url)
    try:
        with transaction.atomic():
            retention.ask(media=media, retention=keeps)
            return start_job(media=media, actor=actor, api_key=api_key, mode=mode, **options)
    except DomainError:
        _destroy_media(media)
        media.delete()
        raise


def check_room(organization: Organization, api_key: ApiKey | None = None) -> None:
    """Raise QueueFull when no more jobs may wait; a sandbox key may be about to send what needs no waiting."""
    if not _is_sandbox(api_key):
        back_pressure.check_room(organization)


def _is_sandbox(api_key: ApiKey | None) -> bool:
    return api_key is not None and api_key.is_sandbox


def _options(job: Job) -> dict[str, Any]:
    """What a run was asked for, for the audit log; what is usual is left out."""
    asked: dict[str, Any] = {"media": job.media.public_id, "mode": job.mode}
    if job.threshold_profile is not None:
        asked["threshold_profile"] = job.threshold_profile.name
    return asked | ({"stability": job.stability} if job.stability != StabilityTest.CHEAP else {})


def ring(job: Job) -> None:
    """Ring the queue's bell: whoever hears it claims the best due job, which need not be this one."""
    async_task(QUEUE_ENTRY, str(job.pk), group="detection", save=False)


def tell_pages(job: Job) -> None:
    """Let open pages that show this job, or a list with it, look again."""
    live.publish(job)


def check_mode(mode: str, kind: str) -> None:
    """A video can be looked at only, or only listened to; nothing else can be taken for what it is not."""
    if mode not in MODES:
        raise DomainError(f"mode must be one of {', '.join(MODES)}.", "mode_unknown")
    if mode == "auto" or not kind or mode == kind or kind == MediaKind.VIDEO:
        return
    raise DomainError(f"This item is of the kind {kind}, it cannot be analysed as {mode}.", "mode_mismatch")


def find_profile(organization: Organization, wanted: ThresholdProfile | str | None) -> ThresholdProfile | None:
    """The organisation's own profile of that name, else the shipped one. Raises DomainError when there is none."""
    if wanted is None or wanted == "":
        return None
    name = wanted.name if isinstance(wanted, ThresholdProfile) else wanted
    candidates = ThresholdProfile.objects.filter(
        Q(organization=organization) | Q(organization=None), name=name, retired_at=None
    )
    profile = next(iter(sorted(candidates, key=lambda found: found.organization_id is None)), None)
    if profile is None:
        raise DomainError(f"There is no threshold profile called {name}.", "threshold_profile_unknown")
    return profile


def checked_callback(url: str, api_key: ApiKey | None) -> str:
    if api_key is None:
        raise DomainError(
            "A callback is signed with the secret of an API key, so it can only be asked for with one.",
            "callback_needs_api_key",
        )
    try:
        return fetch.check_url(url, verb="called").url
    except fetch.FetchError as error:
        fields = {"callback_url": [error.message]}
        raise DomainError(f"callback_url: {error.message}", "callback_url_not_allowed", fields=fields) from None


# Stopping, repeating, deleting ----------------------------------------------------------------------------------------


def cancel_job(*, job: Job, actor: Any = None, api_key: ApiKey | None = None) -> Job:
    """Stop a job: at once when it waits, at its next step when it runs. Raises DomainError when it has ended."""
    now = timezone.now()
    with transaction.atomic():
        waiting = Job.objects.filter(pk=job.pk, status=JobStatus.QUEUED)
        stopped = waiting.update(
            status=JobStatus.CANCELLED, cancel_requested_at=now, finished_at=now, stage="", worker=""
        )
        asked = not stopped and Job.objects.filter(pk=job.pk, status=JobStatus.RUNNING).update(cancel_requested_at=now)
        if not stopped and not asked:
            raise DomainError("This analysis has already ended.", "job_ended", 409)
        _audit("job.cancelled", job, actor, api_key, {})
    job.refresh_from_db()
    transaction.on_commit(partial(_tell_cancelled, job, has_ended=bool(stopped)))
    return job


def _tell_cancelled(job: Job, *, has_ended: bool) -> None:
    live.publish(job)
    if has_ended:
        analysis_finished.send_robust(sender=Job, job=job)


def rerun_job(
    *,
    job: Job,
    actor: Any = None,
    api_key: ApiKey | None = None,
    threshold_profile: ThresholdProfile | str | None = None,
    stability: str = "",
    callback_url: str = "",
) -> Job:
    """Analyse the same item again, with the same options but for those given. Raises DomainError.

    threshold_profile: another one by name; "" for the usual ones (None keeps the job's).
    """
    kept = job.threshold_profile if _is_kept(job.threshold_profile) else None
    profile = kept if threshold_profile is None else threshold_profile
    return start_job(
        media=job.media,
        actor=actor,
        api_key=api_key,
        mode=job.mode,
        threshold_profile=profile,
        priority=job.priority,
        stability=stability or job.stability,
        callback_url=callback_url,
    )


def profiles_for(job: Job) -> QuerySet[ThresholdProfile]:
    """The threshold profiles that the job's organisation has made and not retired, by name."""
    return ThresholdProfile.objects.filter(organization=job.organization_id, retired_at=None).order_by("name")


def _is_kept(profile: ThresholdProfile | None) -> bool:
    """An organisation's own profile that still holds; instead of any other, the rules choose anew."""
    return profile is not None and profile.organization_id is not None and profile.retired_at is None


def delete_analysis(
    *, job: Job, actor: Any = None, api_key: ApiKey | None = None, is_audited: bool = True
) -> list[str]:
    """Delete a job, its verdict and artifacts, and the item itself when no other analysis uses it. Raises DomainError.

    First it is hidden, unless a hold keeps it; then the data keys go: should the rows survive a crash, what they point
    at is beyond recovery already, and the sweep carries the deletion to its end. A worker that still runs the job finds
    its claim gone and throws its work away. Returns the names of the destroyed objects.
    """
    media = job.media
    with transaction.atomic():
        Media.objects.select_for_update().filter(pk=media.pk).first()  # setting a hold locks the same row
        holds.check_free(job)
        is_last = not media.jobs.exclude(pk=job.pk).exists()
        now = timezone.now()
        Job.objects.filter(pk=job.pk, deleted_at=None).update(deleted_at=now, deleted_by=_user(actor))
        if is_last:
            Media.objects.filter(pk=media.pk, deleted_at=None).update(deleted_at=now)
    names = sorted(artifact_names(job))
    if is_last:
        names += object_names(media)
    for name in names:
        storage.destroy(name)
    with transaction.atomic():
        if is_audited:
            _audit("job.deleted", job, actor, api_key, {"media": media.public_id, "item_deleted": is_last})
        holds.forget_released(media)
        job.delete()
        if is_last:
            media.delete()
    return names


def delete_media(*, media: Media, with_jobs: bool = False, actor: Any = None, api_key: ApiKey | None = None) -> None:
    """Delete an item, keys first; with its analyses when `with_jobs` says so. Raises DomainError."""
    jobs = list(media.jobs.select_related("media", "organization"))
    if jobs and not with_jobs:
        raise DomainError(
            "This item was analysed. Delete its analyses, or ask for both with with_jobs=true.", "media_in_use", 409
        )
    for job in jobs:
        holds.check_free(job)
    for job in jobs:  # the last one takes the item along
        delete_analysis(job=job, actor=actor, api_key=api_key)
    if jobs:
        return
    _destroy_media(media)
    with transaction.atomic():
        _audit("media.deleted", media, actor, api_key, {"sha256": media.sha256})
        holds.forget_released(media)
        media.delete()


def artifact_names(job: Job) -> set[str]:
    """What the rows name, and what a worker stored that died before it could write its rows."""
    named = ExplanationArtifact.objects.filter(result__job=job).values_list("storage_name", flat=True)
    return {*named, *storage.names_of(artifact_hint(job), organization_id=job.organization_id)}


def object_names(media: Media) -> list[str]:
    return [name for name in (media.storage_name, media.rendition_name, media.thumbnail_name) if name]


def _destroy_media(media: Media) -> None:
    for name in object_names(media):
        storage.destroy(name)


# Feedback and earlier analyses ----------------------------------------------------------------------------------------


def give_feedback(
    *, job: Job, label: str, notes: str = "", actor: Any = None, api_key: ApiKey | None = None
) -> Feedback:
    """Keep a human label for a finished job."""
    if label not in Label.values:
        raise DomainError(f"label must be one of {', '.join(Label.values)}.", "label_unknown")
    if job.status != JobStatus.COMPLETED:
        raise DomainError("Only a completed analysis can be labelled.", "job_not_completed", 409)
    with transaction.atomic():
        feedback = Feedback.objects.create(job=job, label=label, notes=notes, created_by=_user(actor), api_key=api_key)
        _audit("job.feedback", job, actor, api_key, {"label": label})
    return feedback


def earlier_analyses(media: Media) -> QuerySet[Job]:
    """Jobs of the same organisation on the same bytes, or on a picture that looks the same, newest first."""
    same = Q(media__sha256=media.sha256) if media.sha256 else Q(pk__in=[])
    same |= Q(media__in=likeness.alike(media)[:100])
    shown = Job.objects.filter(same, organization=media.organization_id, is_sandbox=media.is_sandbox, deleted_at=None)
    return shown.exclude(media=media).select_related("media")


# Shared ---------------------------------------------------------------------------------------------------------------


def _user(actor: Any) -> Any:
    """The row of a signed-in person; a service that came with an API key is no user."""
    return actor if getattr(actor, "pk", None) and getattr(actor, "is_authenticated", False) else None


def _audit(action: str, target: Media | Job, actor: Any, api_key: ApiKey | None, details: dict[str, Any]) -> None:
    audit.record(
        action=action,
        organization=target.organization,
        actor=_user(actor),
        api_key=api_key,
        target=target,
        details=details,
    )
