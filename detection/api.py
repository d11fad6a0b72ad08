"""The integrator API: media, detection, jobs, feedback."""

from __future__ import annotations

import contextlib
import errno
import uuid
from collections.abc import Iterator
from typing import Any, ClassVar

from django.db import transaction
from django.http import Http404
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.authentication import HasScope, api_key_of, member_of, organization_of
from accounts.models import Organization
from deepfake.errors import DomainError, StorageFull
from deepfake.pagination import NewestFirst
from detection import api_shapes as shapes
from detection import idempotency, ingest, payloads, services
from detection.api_limits import SAFE_METHODS, CallerThrottle, add_headers, caller
from detection.models import Job, JobStatus, Label, Media, MediaKind, StabilityTest

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    str,
    OpenApiParameter.HEADER,
    description="Any text of your choice, new for each new request. A repeat gets the first answer again.",
)


class ApiView(APIView):
    """What all views of the integrator API share: scopes by method, limits, whose request it is."""

    throttle_classes = (CallerThrottle,)
    read_scope: ClassVar[str] = "detect:read"
    write_scope: ClassVar[str] = "detect:write"

    def get_permissions(self) -> list[BasePermission]:
        return [HasScope(self.read_scope if self.request.method in SAFE_METHODS else self.write_scope)()]

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        if isinstance(request, Request):
            add_headers(request, response)
        return response

    def handle_exception(self, exc: Exception) -> Response:
        # An upload is spooled to disk while it is parsed; the disk may be full before any of our code runs.
        if isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT):
            exc = StorageFull()
        return super().handle_exception(exc)

    @property
    def organization(self) -> Organization:
        return organization_of(self.request)

    @property
    def who(self) -> dict[str, Any]:
        return {"actor": member_of(self.request), "api_key": api_key_of(self.request)}

    def validated(self, serializer: type[serializers.Serializer[Any]], data: Any) -> dict[str, Any]:
        given = serializer(data=data)
        given.is_valid(raise_exception=True)
        return dict(given.validated_data)

    @contextlib.contextmanager
    def once(self) -> Iterator[idempotency.Once]:
        """Enter this request under its Idempotency-Key, if it carries one."""
        key = self.request.headers.get("Idempotency-Key", "")
        digest = fingerprint(self.request) if key else ""
        with idempotency.once(
            organization=self.organization, owner=caller(self.request), key=key, request_hash=digest
        ) as once:
            yield once


def fingerprint(request: Request) -> str:
    fields = request.data
    if hasattr(fields, "lists"):  # a form: names may repeat
        fields = {name: values for name, values in fields.lists() if name not in request.FILES}
    return idempotency.fingerprint(request.method or "", request.path, fields, dict(request.FILES.items()))


def replay(once: idempotency.Once) -> Response:
    assert once.answer is not None
    status, body = once.answer
    return Response(body, status=status, headers={"Idempotent-Replayed": "true"})


def parse_id(text: str, prefix: str) -> uuid.UUID:
    """Accept job_<hex>, med_<hex> and a plain UUID. Raises Http404."""
    try:
        return uuid.UUID(text.removeprefix(prefix))
    except ValueError:
        raise Http404 from None


class ItemInput(serializers.Serializer[Any]):
    file = serializers.FileField(required=False, allow_empty_file=True, max_length=None)
    url = serializers.CharField(required=False, max_length=2000)


class MediaView(ApiView):
    class Input(ItemInput):
        def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
            return one_source(attrs, ("file", "url"))

    @extend_schema(
        operation_id="submit_media",
        summary="Submit an item",
        description="Upload a file (multipart) or name a URL. A URL is fetched by the first analysis of the item.",
        parameters=[IDEMPOTENCY_KEY],
        request={"multipart/form-data": Input, "application/json": Input},
        examples=[
            OpenApiExample("By URL", value={"url": "https://media.example.org/statement.mp4"}, request_only=True)
        ],
        responses={
            201: shapes.answer(
                shapes.SubmittedShape, "The item was taken.", {**shapes.MEDIA_EXAMPLE, "seen_before": []}
            ),
            **shapes.problems(400, 409, 413, 415, 422),
        },
    )
    def post(self, request: Request) -> Response:
        given = self.validated(self.Input, request.data)
        with self.once() as once:
            if once.answer is not None:
                return replay(once)
            with item_of(given, self.organization) as item, transaction.atomic():
                media = item.add(self.who)
                seen = [job.public_id for job in services.earlier_analyses(media)[:20]]
                body = {**payloads.media_payload(media, request), "seen_before": seen}
                once.finish(201, body)
        return Response(body, status=201)


class MediaItemView(ApiView):
    @extend_schema(
        operation_id="get_media",
        summary="Read an item's facts",
        responses={200: shapes.answer(shapes.MediaShape, "The item.", shapes.MEDIA_EXAMPLE), **shapes.problems(404)},
    )
    def get(self, request: Request, media_id: str) -> Response:
        return Response(payloads.media_payload(find_media(self.organization, media_id), request))


class DetectView(ApiView):
    class Input(ItemInput):
        media_id = serializers.CharField(required=False, max_length=60)
        mode = serializers.ChoiceField(choices=shapes.MODES, default="auto")
        callback_url = serializers.CharField(required=False, default="", allow_blank=True, max_length=2000)
        threshold_profile = serializers.CharField(required=False, default="", allow_blank=True, max_length=60)
        stability = serializers.ChoiceField(choices=StabilityTest.values, default=StabilityTest.CHEAP)
        priority = serializers.IntegerField(
            default=0, min_value=-services.MAX_PRIORITY, max_value=services.MAX_PRIORITY
        )

        def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
            return one_source(attrs, ("media_id", "file", "url"))

    @extend_schema(
        operation_id="detect",
        summary="Start an analysis",
        description=(
            "Of an item submitted before, of a URL, or of a file sent along. The answer comes at once; poll the job or "
            "give a callback_url, which is then called with a signed body."
        ),
        parameters=[IDEMPOTENCY_KEY],
        request={"application/json": Input, "multipart/form-data": Input},
        examples=[
            OpenApiExample(
                "Of a submitted item",
                value={
                    "media_id": shapes.MEDIA_ID,
                    "mode": "video",
                    "callback_url": "https://app.example.org/hook",
                },
                request_only=True,
            )
        ],
        responses={
            202: shapes.answer(
                shapes.StartedShape,
                "The analysis is queued.",
                {"job_id": shapes.JOB_ID, "media_id": shapes.MEDIA_ID, "status": "queued"},
            ),
            **shapes.problems(400, 404, 409, 413, 415, 422),
        },
    )
    def post(self, request: Request) -> Response:
        given = self.validated(self.Input, request.data)
        with self.once() as once:
            if once.answer is not None:
                return replay(once)
            with item_of(given, self.organization) as item, transaction.atomic():
                job = services.start_job(
                    media=item.add(self.who),
                    mode=given["mode"],
                    callback_url=given["callback_url"],
                    threshold_profile=given["threshold_profile"] or None,
                    priority=given["priority"],
                    stability=given["stability"],
                    **self.who,
                )
                body = {"job_id": job.public_id, "media_id": job.media.public_id, "status": job.status}
                once.finish(202, body)
        return Response(body, status=202)


class JobsView(ApiView):
    class Query(serializers.Serializer[Any]):
        status = serializers.ChoiceField(choices=JobStatus.choices, required=False)
        label = serializers.ChoiceField(choices=Label.choices, required=False)  # type: ignore[assignment]
        kind = serializers.ChoiceField(choices=MediaKind.choices, required=False)
        q = serializers.CharField(required=False, max_length=200, help_text="Name, address, digest or id.")
        since = serializers.DateField(required=False)
        until = serializers.DateField(required=False)
        limit = serializers.IntegerField(required=False, min_value=1, max_value=NewestFirst.max_page_size)
        cursor = serializers.CharField(required=False)

    @extend_schema(
        operation_id="list_jobs",
        summary="List analyses, newest first",
        parameters=[Query],
        responses={
            200: shapes.answer(
                shapes.JobListShape,
                "One page; `next` is the address of the following one.",
                {"next": None, "previous": None, "results": [shapes.JOB_EXAMPLE]},
            ),
            **shapes.problems(400),
        },
    )
    def get(self, request: Request) -> Response:
        asked = self.validated(self.Query, request.query_params)
        narrowed = {name: asked[name] for name in ("status", "label", "kind", "q", "since", "until") if name in asked}
        jobs = Job.objects.visible_to(self.organization).filtered(**narrowed).for_listing()
        pages = NewestFirst()
        page: list[Job] = pages.paginate_queryset(jobs, request, view=self) or []
        return pages.get_paginated_response([payloads.job_payload(job, request, brief=True) for job in page])


class JobView(ApiView):
    @extend_schema(
        operation_id="get_job",
        summary="Read an analysis: its state, and its result when it is complete",
        responses={200: shapes.answer(shapes.JobShape, "The job.", shapes.JOB_EXAMPLE), **shapes.problems(404)},
    )
    def get(self, request: Request, job_id: str) -> Response:
        return Response(payloads.job_payload(find_job(self.organization, job_id), request))

    @extend_schema(
        operation_id="delete_job",
        summary="Delete an analysis for good",
        description="With its verdict, its artifacts and, unless another analysis needs it, the item.",
        responses={204: None, **shapes.problems(404)},
    )
    def delete(self, request: Request, job_id: str) -> Response:
        services.delete_analysis(job=find_job(self.organization, job_id), **self.who)
        return Response(status=204)


class JobCancelView(ApiView):
    @extend_schema(
        operation_id="cancel_job",
        summary="Cancel an analysis that waits or runs",
        request=None,
        responses={
            200: shapes.answer(
                shapes.JobShape,
                "Cancelled at once, or at its next step.",
                {**shapes.JOB_EXAMPLE, "status": "cancelled", "result": None},
            ),
            **shapes.problems(404, 409),
        },
    )
    def post(self, request: Request, job_id: str) -> Response:
        job = services.cancel_job(job=find_job(self.organization, job_id), **self.who)
        return Response(payloads.job_payload(job, request))


class FeedbackView(ApiView):
    class Input(serializers.Serializer[Any]):
        job_id = serializers.CharField(max_length=60)
        label = serializers.ChoiceField(choices=Label.choices)  # type: ignore[assignment]
        notes = serializers.CharField(required=False, default="", allow_blank=True, max_length=5000)

    @extend_schema(
        operation_id="give_feedback",
        summary="Say what an item really is",
        request=Input,
        examples=[
            OpenApiExample(
                "A false alarm",
                value={"job_id": shapes.JOB_ID, "label": "real", "notes": "Filmed by our own team."},
                request_only=True,
            )
        ],
        responses={
            201: shapes.answer(
                shapes.FeedbackShape,
                "Kept.",
                {"feedback_id": "fbk_0a1b2c3d4e5f60718293a4b5c6d7e8f9", "job_id": shapes.JOB_ID, "label": "real"},
            ),
            **shapes.problems(400, 404, 409),
        },
    )
    def post(self, request: Request) -> Response:
        given = self.validated(self.Input, request.data)
        job = find_job(self.organization, given["job_id"])
        feedback = services.give_feedback(job=job, label=given["label"], notes=given["notes"], **self.who)
        body = {"feedback_id": f"fbk_{feedback.id.hex}", "job_id": job.public_id, "label": feedback.label}
        return Response(body, status=201)


# Items ----------------------------------------------------------------------------------------------------------------


class Item:
    """The one source that a request named, ready to be written down inside a transaction."""

    def __init__(self, organization: Organization, media: Media | None, stored: ingest.Stored | None, url: str) -> None:
        self._organization, self._media, self._stored, self._url = organization, media, stored, url

    def add(self, who: dict[str, Any]) -> Media:
        if self._media is not None:
            return self._media
        if self._stored is not None:
            return services.add_stored(organization=self._organization, stored=self._stored, **who)
        return services.add_url(organization=self._organization, url=self._url, **who)


@contextlib.contextmanager
def item_of(given: dict[str, Any], organization: Organization) -> Iterator[Item]:
    """Store a sent file before any transaction begins: encrypting it takes longer than others should wait."""
    if given.get("media_id"):
        yield Item(organization, find_media(organization, given["media_id"]), None, "")
    elif given.get("url"):
        yield Item(organization, None, None, given["url"])
    else:
        file = given["file"]
        with ingest.kept(file, organization=organization, filename=file.name or "") as stored:
            yield Item(organization, None, stored, "")


def one_source(attrs: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    given = [name for name in names if attrs.get(name) is not None]
    if len(given) != 1:
        code = "one_source" if given else "nothing_sent"
        raise DomainError(f"Give exactly one of {', '.join(names)}.", code)
    return attrs


def find_media(organization: Organization, media_id: str) -> Media:
    media = Media.objects.visible_to(organization).filter(pk=parse_id(media_id, "med_")).first()
    if media is None:
        raise Http404
    return media


def find_job(organization: Organization, job_id: str) -> Job:
    job = Job.objects.visible_to(organization).for_listing().filter(pk=parse_id(job_id, "job_")).first()
    if job is None:
        raise Http404
    return job
