"""The integrator API: analyses, and what people say about them."""

from __future__ import annotations

import datetime
from typing import Any, ClassVar

from django.db.models import Q
from django.utils.dateparse import parse_datetime
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from accounts.models import Organization
from accounts.permissions import Permission
from detection import api_shapes as shapes
from detection import listing, payloads, search, services
from detection.api import (
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    ApiView,
    Choice,
    PageQuery,
    StrictSerializer,
    Text,
    cursor_invalid,
    find_job,
    parse_id,
    tagged,
)
from detection.api_async import WAIT, LaterView
from detection.forms import clean_host
from detection.models import Job, JobStatus, Label, MediaKind, StabilityTest
from detection.querysets import JobQuerySet, start_of
from detection.waiting import MOST_S
from detection.walking import walked

PAGE_SIZE = 50
_PARTS = ", ".join(payloads.PARTS)


@extend_schema_field({"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}:\d{2}(\.\d{1,6})?Z)?$"})
class MomentField(serializers.Field):  # type: ignore[type-arg]
    """A day (2026-11-21, all of it) or a moment (2026-11-21T09:00:00Z)."""

    def __init__(self, *, ends_day: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.ends_day = ends_day

    def to_internal_value(self, data: Any) -> datetime.datetime:
        try:
            day = datetime.date.fromisoformat(str(data))
            return start_of(day + datetime.timedelta(days=1 if self.ends_day else 0)).astimezone(datetime.UTC)
        except (ValueError, OverflowError):
            pass
        try:
            moment = parse_datetime(str(data).replace(" ", "+"))
            # The edges of the calendar have no moment in UTC, which is what databases compare.
            moment = moment.astimezone(datetime.UTC) if moment is not None and moment.tzinfo is not None else None
        except (ValueError, OverflowError):
            moment = None
        if moment is None:
            raise serializers.ValidationError(
                "Give a day (2026-11-21) or a moment with its zone (2026-11-21T09:00:00Z)."
            )
        return moment

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field(
    {"type": "string", "pattern": f"^(({'|'.join(payloads.PARTS)})(,({'|'.join(payloads.PARTS)}))*)?$"}
)
class PartsField(serializers.Field):  # type: ignore[type-arg]
    def to_internal_value(self, data: Any) -> frozenset[str]:
        names = [name for name in str(data).split(",") if name]
        unknown = sorted(set(names) - set(payloads.PARTS))
        if unknown:
            raise serializers.ValidationError(f"There is no part called {unknown[0][:40]}. There are {_PARTS}.")
        return frozenset(names)

    def to_representation(self, value: Any) -> Any:
        return value


class ReadQuery(StrictSerializer):
    include = PartsField(required=False, help_text=f"Only these parts, separated by commas: {_PARTS}. Blank: none.")
    wait = serializers.IntegerField(default=0, min_value=0, max_value=MOST_S)


INCLUDE = OpenApiParameter(
    "include",
    {"type": "string", "pattern": f"^(({'|'.join(payloads.PARTS)})(,({'|'.join(payloads.PARTS)}))*)?$"},
    description=f"Only these parts, separated by commas: {_PARTS}. Without it all, with a blank value none.",
)


class JobsView(ApiView):
    class Query(PageQuery):
        status = Choice(choices=JobStatus.choices, required=False)
        label = Choice(  # type: ignore[assignment]
            choices=Label.choices, required=False, help_text="The final label: people's, where they decided."
        )
        kind = Choice(choices=MediaKind.choices, required=False)
        score_from = serializers.FloatField(required=False, min_value=0, max_value=1)
        score_to = serializers.FloatField(required=False, min_value=0, max_value=1)
        since = MomentField(required=False, help_text="Started at or after this day or moment.")
        until = MomentField(required=False, ends_day=True, help_text="Started before the end of this day, or a moment.")
        domain = serializers.CharField(required=False, max_length=253, help_text="Host that the item was fetched from.")
        media_id = serializers.CharField(required=False, max_length=60)
        key_id = serializers.CharField(
            required=False, max_length=60, help_text="Analyses that one API key started, of either world for members."
        )
        q = serializers.CharField(
            required=False, max_length=200, help_text="Part of a name or address; beginning of a digest or an id."
        )
        sort = Choice(
            choices=[(name, order.word) for name, order in listing.ORDERS.items()], default=listing.DEFAULT_ORDER
        )
        include = PartsField(required=False, help_text=f"Only these parts: {_PARTS}. Blank: none.")
        sandbox = serializers.BooleanField(
            required=False,
            allow_null=True,
            default=None,
            help_text="For members: those of sandbox keys, or the others, as usual. A key sees its own kind alone.",
        )

    @extend_schema(
        operation_id="list_jobs",
        summary="List analyses, newest first",
        description="Filters are joined by and. Lists leave `details` out unless `include` names them. Orders by score "
        "leave out analyses without one.",
        parameters=[Query],
        responses={
            200: shapes.page(shapes.JobListShape, shapes.JOB_EXAMPLE),
            **shapes.problems(400, 404),
        },
    )
    def get(self, request: Request) -> Response:
        asked = self.asked(self.Query)
        if asked["sandbox"] is None and (self.world is not None or "key_id" not in asked):
            asked["sandbox"] = bool(self.world)  # of one key, all are of one world
        limit, parts = asked.get("limit", PAGE_SIZE), asked.get("include", payloads.BRIEF)
        jobs = narrowed(self.organization, asked)
        if self.world is not None and self.world != asked["sandbox"]:
            jobs = jobs.none()
        page = listing.slice_of(jobs, order=asked["sort"], cursor=asked.get("cursor", ""), limit=limit)
        if page is None:
            raise cursor_invalid()
        # For the page alone, by their ids: so the list is answered from its index whatever a row carries.
        rows = {job.pk: job for job in Job.objects.filter(pk__in=page.ids).order_by().for_listing(parts)}
        body = {
            "next": _address(request, page.after),
            "previous": _address(request, page.before),
            "results": [payloads.job_payload(rows[pk], request, parts=parts) for pk in page.ids if pk in rows],
        }
        return Response(body)


def narrowed(organization: Organization, asked: dict[str, Any]) -> JobQuerySet:
    """The organisation's jobs that fit, so that one index answers in any order (see listing.py)."""
    jobs = Job.objects.visible_to(organization)
    if "q" in asked or "media_id" in asked:
        jobs = Job.objects.filter(walked(Job, "organization", organization.pk), deleted_at=None)
    if "q" in asked:
        jobs = jobs.filter(search.look_up(asked["q"], organization.pk).condition())
    if "media_id" in asked:
        jobs = jobs.filter(media_id=parse_id(asked["media_id"], "med_"))
    for name, column in (("status", "status"), ("label", "final_label"), ("kind", "kind")):
        if name in asked:
            jobs = jobs.filter(walked(Job, column, asked[name]))
    if "key_id" in asked:
        jobs = jobs.filter(walked(Job, "api_key", parse_id(asked["key_id"], "key_")))
    if asked["sandbox"] is not None:
        jobs = jobs.filter(walked(Job, "is_sandbox", asked["sandbox"]))
    if "domain" in asked:
        jobs = jobs.filter(walked(Job, "source_host", clean_host(asked["domain"])))
    bounds = {
        "score_from": "score__gte",
        "score_to": "score__lte",
        "since": "created_at__gte",
        "until": "created_at__lt",
    }
    return jobs.filter(Q(**{bounds[name]: asked[name] for name in bounds if name in asked}))


def _address(request: Request, cursor: str) -> str | None:
    return replace_query_param(request.build_absolute_uri(), "cursor", cursor) if cursor else None


class JobView(LaterView):
    member_permissions: ClassVar = {"DELETE": Permission.DELETE}

    @extend_schema(
        operation_id="get_job",
        summary="Read an analysis: its state, and its result when it is complete",
        description="`wait` holds the answer until the job has ended. The answer about an ended job carries an `ETag`; "
        "links in it are good for an hour at least, and with the same tag.",
        parameters=[INCLUDE, WAIT, IF_NONE_MATCH],
        responses={
            200: shapes.answer(shapes.JobShape, "The job.", shapes.JOB_EXAMPLE),
            304: shapes.NOT_MODIFIED,
            **shapes.problems(400, 404),
        },
    )
    def get(self, request: Request, job_id: str) -> Response:
        asked = self.asked(ReadQuery)
        job = find_job(self, job_id)
        if not job.is_final and (waiting := self.wait_for("job", job.pk, asked["wait"])):
            return waiting
        body = payloads.job_payload(job, request, parts=asked.get("include"))
        return tagged(request, body) if job.is_final else Response(body)

    @extend_schema(
        operation_id="delete_job",
        summary="Delete an analysis for good",
        description="With its verdict, its artifacts and, unless another analysis needs it, the item.",
        responses={204: OpenApiResponse(description="It is gone."), **shapes.problems(404, 409)},
    )
    def delete(self, request: Request, job_id: str) -> Response:
        services.delete_analysis(job=find_job(self, job_id), **self.who)
        return Response(status=204)


class JobCancelView(ApiView):
    @extend_schema(
        operation_id="cancel_job",
        summary="Cancel an analysis that waits or runs",
        description="At once when it waits; at its next step, a moment later, when it runs.",
        parameters=[IDEMPOTENCY_KEY],
        request=None,
        responses={
            200: shapes.answer(
                shapes.JobShape,
                "Cancelled at once, or at its next step.",
                {name: value for name, value in shapes.JOB_EXAMPLE.items() if name != "result"}
                | {"status": "cancelled", "review": None},
            ),
            **shapes.problems(400, 404, 409, 422),
        },
    )
    def post(self, request: Request, job_id: str) -> Response:
        self.no_body()
        job = services.cancel_job(job=find_job(self, job_id), **self.who)
        return Response(payloads.job_payload(job, request))


class StartingView(ApiView):
    """Answers with the job that it started; one that is answered from a recording has ended by then."""

    limit_family = "submissions"
    started: Job

    def answer_with(self, job: Job) -> Response:
        self.started = job
        body = {"job_id": job.public_id, "media_id": job.media.public_id, "status": job.status}
        return Response(body, status=202)

    def settle(self, response: Response) -> bool:
        if not self.started.is_sandbox:
            return False
        said = response.data["status"]
        now = Job.objects.filter(pk=self.started.pk).values_list("status", flat=True).first()
        response.data["status"] = now or said
        return bool(response.data["status"] != said)


class JobRerunView(StartingView):
    class Input(StrictSerializer):
        codes: ClassVar = {"stability": "stability_unknown"}

        threshold_profile = Text(required=False, allow_blank=True, max_length=60, help_text="Blank: the usual one.")
        stability = Choice(choices=StabilityTest.values, required=False)
        callback_url = Text(required=False, default="", allow_blank=True, max_length=2000)

    @extend_schema(
        operation_id="rerun_job",
        summary="Analyse the same item again",
        description="A new job with the options of this one, but for those given.",
        parameters=[IDEMPOTENCY_KEY],
        request={"application/json": Input},
        examples=[
            OpenApiExample(
                "With stricter thresholds",
                value={"threshold_profile": "strict", "stability": "full"},
                request_only=True,
            )
        ],
        responses={
            202: shapes.answer(
                shapes.StartedShape,
                "The new analysis is queued.",
                {"job_id": shapes.JOB_ID, "media_id": shapes.MEDIA_ID, "status": "queued"},
            ),
            **shapes.problems(400, 404, 409, 422, 503),
        },
    )
    def post(self, request: Request, job_id: str) -> Response:
        given = self.validated(self.Input, request.data)
        job = services.rerun_job(
            job=find_job(self, job_id),
            threshold_profile=given.get("threshold_profile"),
            stability=given.get("stability", ""),
            callback_url=given["callback_url"],
            **self.who,
        )
        return self.answer_with(job)


class FeedbackView(ApiView):
    class Input(StrictSerializer):
        codes: ClassVar = {"label": "label_unknown"}

        job_id = Text(max_length=60)
        label = Choice(choices=Label.choices)  # type: ignore[assignment]
        notes = Text(required=False, default="", allow_blank=True, max_length=5000)

    @extend_schema(
        operation_id="give_feedback",
        summary="Say what an item really is",
        description="Of a completed analysis. What people say is measured against verdicts; it changes none by itself.",
        parameters=[IDEMPOTENCY_KEY],
        request={"application/json": Input},
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
            **shapes.problems(400, 404, 409, 422),
        },
    )
    def post(self, request: Request) -> Response:
        given = self.validated(self.Input, request.data)
        job = find_job(self, given["job_id"])
        feedback = services.give_feedback(job=job, label=given["label"], notes=given["notes"], **self.who)
        body = {"feedback_id": f"fbk_{feedback.id.hex}", "job_id": job.public_id, "label": feedback.label}
        return Response(body, status=201)
