"""The integrator API: items, and starting their analysis."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import audit
from accounts.models import Organization
from accounts.permissions import Permission
from deepfake.errors import DomainError
from detection import api_shapes as shapes
from detection import ingest, payloads, retention, services
from detection.api import (
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    ApiView,
    Choice,
    PageQuery,
    StrictSerializer,
    Text,
    find_media,
    tagged,
)
from detection.api_async import LaterView, StoredFile
from detection.api_jobs import StartingView
from detection.models import Media, MediaKind, Retention, StabilityTest
from detection.privacy_models import MOST_DAYS


class ItemInput(StrictSerializer):
    file = serializers.FileField(required=False, allow_empty_file=True, max_length=None)
    url = Text(required=False, max_length=2000)


class MediaView(ApiView):
    limit_family = "submissions"

    class Input(ItemInput):
        def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
            return one_source(attrs, ("file", "url"))

    class Query(PageQuery):
        kind = Choice(choices=MediaKind.choices, required=False)
        sha256 = serializers.RegexField(r"^[0-9a-f]{64}$", required=False, help_text="Items with exactly these bytes.")

    @extend_schema(
        operation_id="list_media",
        summary="List items, newest first",
        description="Items of your organisation, whoever submitted them. `kind` is known once an item was analysed.",
        parameters=[Query],
        responses={
            200: shapes.page(shapes.MediaListShape, shapes.MEDIA_EXAMPLE),
            **shapes.problems(400),
        },
    )
    def get(self, request: Request) -> Response:
        asked = self.asked(self.Query)
        narrowed = {name: asked[name] for name in ("kind", "sha256") if name in asked}
        rows = Media.objects.visible_to(self.organization).of_world(self.world).filter(**narrowed)
        return self.page(rows, lambda media: payloads.media_payload(media, request))

    @extend_schema(
        operation_id="submit_media",
        summary="Submit an item",
        description="Upload a file (multipart) or name a URL. A URL is fetched by the first analysis of the item. Send "
        "files of more than some ten megabytes in pieces to `/v1/uploads`, which can be resumed.",
        parameters=[IDEMPOTENCY_KEY],
        request={"application/json": Input, "multipart/form-data": Input},
        examples=[
            OpenApiExample("By URL", value={"url": "https://media.example.org/statement.mp4"}, request_only=True)
        ],
        responses={
            201: shapes.answer(
                shapes.SubmittedShape, "The item was taken.", {**shapes.MEDIA_EXAMPLE, "seen_before": []}
            ),
            **shapes.problems(400, 409, 413, 415, 422, 507),
        },
    )
    def post(self, request: Request) -> Response:
        media = self.item.add(self.who)
        seen = [job.public_id for job in services.earlier_analyses(media)[:20]]
        return Response({**payloads.media_payload(media, request), "seen_before": seen}, status=201)

    @contextlib.contextmanager
    def prepared(self, request: Request, *args: Any, **kwargs: Any) -> Iterator[None]:
        given = self.validated(self.Input, request.data)
        with item_of(given, self) as self.item:
            yield


class MediaItemView(ApiView):
    member_permissions: ClassVar = {"DELETE": Permission.DELETE}

    class DeleteQuery(StrictSerializer):
        with_jobs = serializers.BooleanField(default=False)

    @extend_schema(
        operation_id="get_media",
        summary="Read an item's facts",
        description="Type, size, digest and what the decoder found. `uri` gives the bytes, with the same key.",
        parameters=[IF_NONE_MATCH],
        responses={
            200: shapes.answer(shapes.MediaShape, "The item.", shapes.MEDIA_EXAMPLE),
            304: shapes.NOT_MODIFIED,
            **shapes.problems(404),
        },
    )
    def get(self, request: Request, media_id: str) -> Response:
        return tagged(request, payloads.media_payload(find_media(self, media_id), request))

    @extend_schema(
        operation_id="delete_media",
        summary="Delete an item for good",
        description="Its encryption key is destroyed, so that copies of it cannot be opened either. An item that was "
        "analysed goes with its analyses, when `with_jobs` says so.",
        parameters=[
            OpenApiParameter("with_jobs", bool, default=False, description="Delete its analyses, too."),
        ],
        responses={204: OpenApiResponse(description="It is gone."), **shapes.problems(400, 404, 409)},
    )
    def delete(self, request: Request, media_id: str) -> Response:
        asked = self.asked(self.DeleteQuery)
        media = find_media(self, media_id)
        services.delete_media(media=media, with_jobs=asked["with_jobs"], **self.who)
        return Response(status=204)


class MediaFileView(LaterView):
    @extend_schema(
        operation_id="get_media_file",
        summary="Read an item's bytes",
        description="The bytes that were sent, decrypted on the way. `Range` gives a part of them.",
        parameters=[
            OpenApiParameter(
                "Range",
                {"type": "string", "pattern": r"^bytes=\d{1,15}-(\d{1,15})?$"},
                OpenApiParameter.HEADER,
                description="One range of bytes.",
            )
        ],
        responses={
            (200, "*/*"): OpenApiResponse(
                OpenApiTypes.BINARY,
                description="The whole file.",
                examples=[OpenApiExample("Bytes", value="…", response_only=True)],
            ),
            (206, "*/*"): OpenApiResponse(
                OpenApiTypes.BINARY,
                description="The part that was asked for.",
                examples=[OpenApiExample("Bytes", value="…", response_only=True)],
            ),
            416: OpenApiResponse(description="The range lies outside of the file."),
            **shapes.problems(404),
        },
    )
    def get(self, request: Request, media_id: str) -> Response:
        media = find_media(self, media_id)
        if not media.storage_name:  # a URL that was not fetched yet
            raise Http404
        audit.record_hourly(action="media.downloaded", organization=self.organization, target=media, **self.who)
        content_type = media.mime_type or "application/octet-stream"
        name = media.filename or media.public_id
        return self.send(StoredFile(media.storage_name, content_type, name, as_download=True))


class DetectView(StartingView):
    class Input(ItemInput):
        codes: ClassVar = {
            "mode": "mode_unknown",
            "stability": "stability_unknown",
            "retention": "retention_invalid",
            "retention_days": "retention_invalid",
        }

        media_id = Text(required=False, max_length=60)
        mode = Choice(choices=shapes.MODES, default="auto")
        callback_url = Text(required=False, default="", allow_blank=True, max_length=2000)
        threshold_profile = Text(required=False, default="", allow_blank=True, max_length=60)
        stability = Choice(choices=StabilityTest.values, default=StabilityTest.CHEAP)
        priority = serializers.IntegerField(
            default=0, min_value=-services.MAX_PRIORITY, max_value=services.MAX_PRIORITY
        )

        retention = Choice(
            required=False,
            choices=Retention.choices,
            default="",
            allow_blank=True,
            help_text="`none`: as soon as the verdict is there, the item and all that was made from it is destroyed.",
        )
        retention_days = serializers.IntegerField(
            required=False,
            min_value=1,
            max_value=MOST_DAYS,
            help_text="The item and its pictures are destroyed after so many days, within your organisation's limits.",
        )

        def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
            return one_source(attrs, ("media_id", "file", "url"))

    @extend_schema(
        operation_id="detect",
        summary="Start an analysis",
        description=(
            "Of an item submitted before, of a URL, or of a file sent along. The answer comes at once; read the job "
            "with `?wait=30`, or give a callback_url, which is then called with a signed body."
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
            **shapes.problems(400, 403, 404, 409, 413, 415, 422, 503, 507),
        },
    )
    def post(self, request: Request) -> Response:
        given = self.given
        media = self.item.add(self.who)
        retention.ask(media=media, retention=given["retention"], days=given.get("retention_days"))
        job = services.start_job(
            media=media,
            mode=given["mode"],
            callback_url=given["callback_url"],
            threshold_profile=given["threshold_profile"] or None,
            priority=given["priority"],
            stability=given["stability"],
            **self.who,
        )
        return self.answer_with(job)

    @contextlib.contextmanager
    def prepared(self, request: Request, *args: Any, **kwargs: Any) -> Iterator[None]:
        self.given = self.validated(self.Input, request.data)
        services.check_room(self.organization, self.who["api_key"])  # before a file is encrypted and stored
        with item_of(self.given, self) as self.item:
            yield


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
def item_of(given: dict[str, Any], view: ApiView) -> Iterator[Item]:
    """Store a sent file before any transaction begins: encrypting it takes longer than others should wait."""
    organization = view.organization
    if given.get("media_id"):
        yield Item(organization, find_media(view, given["media_id"]), None, "")
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
