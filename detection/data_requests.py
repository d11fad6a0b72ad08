"""What detection holds of a member or of a person in media: exported as files, or erased with their keys."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from typing import Any

from django.db.models import Q, QuerySet

from accounts.data_requests import Archive, Plan
from accounts.models import DataRequest
from detection import holds, likeness, payloads, services
from detection.models import DefaultView, Job, Media, SavedView

MOST_NAMED = 500


class Analyses:
    """Items, analyses and saved views."""

    def matches(self, request: DataRequest) -> int:
        return jobs_of(request).count()

    def export(self, request: DataRequest, archive: Archive) -> None:
        for job in jobs_of(request).select_related("media", "organization", "threshold_profile"):
            _put(job, archive)
            archive.counts["analyses"] += 1
        if request.member is not None:
            views = SavedView.objects.filter(owner=request.member).order_by("created_at")
            archive.json("views.json", list(views.values("name", "query", "is_shared", "created_at")))

    def plan(self, request: DataRequest, plan: Plan) -> None:
        jobs, held = _free(request)
        for job in jobs:
            plan.row(job)
            plan.counts["analyses"] += 1
            plan.objects.update(services.artifact_names(job))
            if not job.media.jobs.exclude(pk__in=[one.pk for one in jobs]).exists():
                plan.row(job.media)
                plan.objects.update(services.object_names(job.media))
        if held:
            plan.kept.append(f"{len(held):,} analyses on legal hold stay until the hold is released.")
        if request.member is not None:
            for view in SavedView.objects.filter(owner=request.member, is_shared=False):
                plan.row(view)
            if not request.wanted.get("uploads"):
                plan.kept.append("What the member sent in stays with the organisation, without a name.")

    def erase(self, request: DataRequest) -> None:
        jobs, _ = _free(request)
        for job in jobs:
            services.delete_analysis(job=job, actor=request.requested_by)
        if request.member is not None:
            DefaultView.objects.filter(user=request.member).delete()
            SavedView.objects.filter(owner=request.member, is_shared=False).delete()

    def remains(self, request: DataRequest) -> list[str]:
        jobs, _ = _free(request)
        return [f"{len(jobs):,} analyses are still there."] if jobs else []


def jobs_of(request: DataRequest) -> QuerySet[Job]:
    """The analyses that a request is about."""
    own = Job.objects.filter(organization=request.organization).order_by("created_at")
    if request.about == DataRequest.About.MEMBER:
        is_meant = request.kind == DataRequest.Kind.EXPORT or request.wanted.get("uploads")
        return own.filter(created_by=request.member) if is_meant else own.none()
    return own.filter(media__in=_media_named(request))


def _media_named(request: DataRequest) -> set[Any]:
    """Primary keys of the items: by analyses, by digests, and those that look alike."""
    wanted = request.wanted
    named = Q(jobs__in=wanted.get("jobs", [])[:MOST_NAMED]) | Q(sha256__in=wanted.get("sha256", [])[:MOST_NAMED])
    own = Media.objects.filter(organization=request.organization)
    found = set(own.filter(named).values_list("pk", flat=True))
    if wanted.get("alike"):
        looks = set()
        for media in own.filter(pk__in=found):
            found |= set(likeness.alike(media))
            looks |= {media.look} - {None}
        found |= set(own.filter(look__in=looks).values_list("pk", flat=True))
    return found


def _free(request: DataRequest) -> tuple[list[Job], set[Any]]:
    """The analyses that may go, and primary keys of those that a hold keeps."""
    planned = Q(pk__in=request.proof.get("rows", {}).get("detection.Job", []), organization=request.organization)
    rows = Job.objects.filter(planned | Q(pk__in=jobs_of(request).values("pk")))
    jobs = list(rows.order_by("created_at").select_related("media", "organization"))
    held = holds.held_jobs(job.pk for job in jobs)
    return [job for job in jobs if job.pk not in held], held


def _put(job: Job, archive: Archive) -> None:
    folder = f"media/{job.media.public_id}"
    words = payloads.job_payload(job)
    words["media"] = words["media"] | {"info": job.media.info}
    words["media"].pop("uri")
    if "result" in words:
        words["result"] = {k: v for k, v in words["result"].items() if k not in ("artifacts", "explanations")}
        words["result"]["pictures"] = list(_pictures(job, f"{folder}/{job.public_id}", archive))
    words["feedback"] = [{"label": row.label, "notes": row.notes} for row in job.feedback.all()]
    archive.json(f"{folder}/{job.public_id}.json", words)
    original = f"{folder}/original{mimetypes.guess_extension(job.media.mime_type) or '.bin'}"
    if job.media.storage_name and archive.stored(original, job.media.storage_name):
        archive.counts["files"] += 1


def _pictures(job: Job, folder: str, archive: Archive) -> Iterator[str]:
    for number, file in enumerate(job.result.artifacts.all(), 1):
        path = f"{folder}/{number:03d}-{file.kind}{mimetypes.guess_extension(file.mime_type) or ''}"
        if archive.stored(path, file.storage_name):
            archive.counts["files"] += 1
            yield path
