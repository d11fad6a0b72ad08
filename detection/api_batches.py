"""The integrator API: batches of up to 1,000 items."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import Http404
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from deepfake.pagination import CheckedCursor
from detection import api_shapes as shapes
from detection import batches, services
from detection.api import (
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    ApiView,
    Choice,
    PageQuery,
    StrictSerializer,
    Text,
    parse_id,
    tagged,
)
from detection.api_async import WAIT, LaterView
from detection.models import Batch, BatchStatus, StabilityTest
from detection.querysets import of_keys_world
from detection.waiting import MOST_S


class _Items(serializers.ListSerializer[Any]):
    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, list) and len(data) > batches.MOST_ITEMS:
            raise batches.too_large(0, len(data))
        return super().to_internal_value(data)


class BatchItemInput(StrictSerializer):
    class Meta:
        list_serializer_class = _Items

    media_id = Text(required=False, max_length=60)
    url = Text(required=False, max_length=2000)
    reference = Text(required=False, allow_blank=True, max_length=200, help_text="Your own name for it, told again.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len({"media_id", "url"} & set(attrs)) != 1:
            raise serializers.ValidationError("Give exactly one of media_id, url.")
        return attrs


class ItemsInput(StrictSerializer):
    items = BatchItemInput(many=True, min_length=1, max_length=batches.MOST_ITEMS)  # type: ignore[call-arg]
    close = serializers.BooleanField(default=False, help_text="These are the last ones.")


class InByPosition(CheckedCursor):
    page_size = 100
    page_size_query_param = "limit"
    max_page_size = 200
    ordering = ("position",)


class BatchesView(ApiView):
    limit_family = "submissions"

    class Query(PageQuery):
        status = Choice(choices=BatchStatus.choices, required=False)

    class Input(StrictSerializer):
        codes: ClassVar = {"mode": "mode_unknown", "stability": "stability_unknown"}

        name = Text(required=False, default="", allow_blank=True, max_length=120)
        items = BatchItemInput(many=True, required=False, max_length=batches.MOST_ITEMS)  # type: ignore[call-arg]
        keep_open = serializers.BooleanField(
            required=False, help_text="Whether items may be added. Usual: only when `items` is left out."
        )
        mode = Choice(choices=shapes.MODES, default="auto")
        threshold_profile = Text(required=False, default="", allow_blank=True, max_length=60)
        stability = Choice(choices=StabilityTest.values, default=StabilityTest.CHEAP)
        priority = serializers.IntegerField(
            default=0, min_value=-services.MAX_PRIORITY, max_value=services.MAX_PRIORITY
        )
        callback_url = Text(required=False, default="", allow_blank=True, max_length=2000)

    @extend_schema(
        operation_id="list_batches",
        summary="List batches, newest first",
        description="With how many of their items stand how.",
        parameters=[Query],
        responses={
            200: shapes.page(shapes.BatchListShape, shapes.BATCH_EXAMPLE),
            **shapes.problems(400),
        },
    )
    def get(self, request: Request) -> Response:
        asked = self.asked(self.Query)
        rows = of_keys_world(Batch.objects.select_related("api_key").filter(organization=self.organization), self.world)
        if "status" in asked:
            rows = rows.filter(status=asked["status"])
        return self.page(rows, batches.payload)

    @extend_schema(
        operation_id="create_batch",
        summary="Analyse many items",
        description="Up to 1,000 items with the same options. The answer comes at once; the jobs are started from the "
        "queue. An item that cannot be analysed is told in the list of items and holds up no other. Without `items` "
        "the batch stays open: add them, then close it. When all have ended, `batch.completed` goes to your webhooks "
        "and to the callback_url.",
        parameters=[IDEMPOTENCY_KEY],
        request={"application/json": Input},
        examples=[
            OpenApiExample(
                "Two items",
                value={
                    "name": "Morning wire",
                    "callback_url": "https://app.example.org/hook",
                    "items": [
                        {"media_id": shapes.MEDIA_ID, "reference": "wire-1"},
                        {"url": "https://media.example.org/statement.mp4", "reference": "wire-2"},
                    ],
                },
                request_only=True,
            )
        ],
        responses={
            202: shapes.answer(shapes.BatchShape, "The batch was taken.", shapes.BATCH_EXAMPLE),
            **shapes.problems(400, 409, 422, 503),
        },
    )
    def post(self, request: Request) -> Response:
        given = self.validated(self.Input, request.data)
        items = given.pop("items", None)
        keep_open = given.pop("keep_open", items is None)
        if not items and not keep_open:  # an empty list is more likely a mistake than a wish to add items later
            sentence = "Send at least one item, or `keep_open` to add them later."
            raise serializers.ValidationError({"items": [sentence]})
        items = items or []
        batch = batches.create(organization=self.organization, items=items, keep_open=keep_open, **given, **self.who)
        return Response(batches.payload(batch), status=202)


class BatchView(LaterView):
    class Query(StrictSerializer):
        wait = serializers.IntegerField(default=0, min_value=0, max_value=MOST_S)

    @extend_schema(
        operation_id="get_batch",
        summary="Read a batch: its progress",
        description="`wait` holds the answer until the batch has ended. An open batch does not end: close it first.",
        parameters=[WAIT, IF_NONE_MATCH],
        responses={
            200: shapes.answer(shapes.BatchShape, "The batch.", shapes.BATCH_EXAMPLE),
            304: shapes.NOT_MODIFIED,
            **shapes.problems(400, 404),
        },
    )
    def get(self, request: Request, batch_id: str) -> Response:
        asked = self.asked(self.Query)
        batch = find_batch(self, batch_id)
        if batch.status == BatchStatus.RUNNING and (waiting := self.wait_for("batch", batch.pk, asked["wait"])):
            return waiting
        body = batches.payload(batch)
        return tagged(request, body) if batch.is_final else Response(body)


class BatchItemsView(ApiView):
    limit_family = "submissions"

    class Query(PageQuery):
        status = Choice(choices=[(name, name) for name in batches.STATUSES], required=False)
        has_error = serializers.BooleanField(required=False, help_text="Refused or failed ones, or all others.")

    @extend_schema(
        operation_id="list_batch_items",
        summary="List the items of a batch, in their order",
        description="Each with its job and its verdict, or with the reason why there is none.",
        parameters=[Query],
        responses={
            200: shapes.page(shapes.BatchItemListShape, shapes.BATCH_ITEM_EXAMPLE),
            **shapes.problems(400, 404),
        },
    )
    def get(self, request: Request, batch_id: str) -> Response:
        asked = self.asked(self.Query)
        batch = find_batch(self, batch_id)
        rows = batches.items_of(batch, status=asked.get("status", ""), has_error=asked.get("has_error"))
        return self.page(rows, batches.item_payload, InByPosition())

    @extend_schema(
        operation_id="add_batch_items",
        summary="Add items to an open batch",
        description="Up to 1,000 in all. `close` says that these are the last ones.",
        parameters=[IDEMPOTENCY_KEY],
        request={"application/json": ItemsInput},
        examples=[
            OpenApiExample(
                "The last item",
                value={"items": [{"media_id": shapes.MEDIA_ID, "reference": "wire-3"}], "close": True},
                request_only=True,
            )
        ],
        responses={
            202: shapes.answer(shapes.BatchShape, "The items were taken.", shapes.BATCH_EXAMPLE),
            **shapes.problems(400, 404, 409, 422, 503),
        },
    )
    def post(self, request: Request, batch_id: str) -> Response:
        batch = find_batch(self, batch_id)
        given = self.validated(ItemsInput, request.data)
        batch = batches.add_items(batch=batch, items=given["items"], close=given["close"], **self.who)
        return Response(batches.payload(batch), status=202)


class BatchCloseView(ApiView):
    @extend_schema(
        operation_id="close_batch",
        summary="Take no more items",
        description="The batch ends when the items it has have ended. One left open is closed after a day.",
        parameters=[IDEMPOTENCY_KEY],
        request=None,
        responses={
            200: shapes.answer(shapes.BatchShape, "It is closed.", shapes.BATCH_EXAMPLE),
            **shapes.problems(400, 404, 409, 422),
        },
    )
    def post(self, request: Request, batch_id: str) -> Response:
        self.no_body()
        batch = batches.close(batch=find_batch(self, batch_id), **self.who)
        return Response(batches.payload(batch))


class BatchCancelView(ApiView):
    @extend_schema(
        operation_id="cancel_batch",
        summary="Cancel what waits or runs of a batch",
        description="Nothing more is started; jobs that wait end at once, those that run at their next step.",
        parameters=[IDEMPOTENCY_KEY],
        request=None,
        responses={
            200: shapes.answer(
                shapes.BatchShape, "It is being stopped.", {**shapes.BATCH_EXAMPLE, "cancel_requested": True}
            ),
            **shapes.problems(400, 404, 409, 422),
        },
    )
    def post(self, request: Request, batch_id: str) -> Response:
        self.no_body()
        batch = batches.cancel(batch=find_batch(self, batch_id), **self.who)
        return Response(batches.payload(batch))


def find_batch(view: ApiView, batch_id: str) -> Batch:
    batch = batches.find(view.organization, parse_id(batch_id, "bat_"), view.world)
    if batch is None:
        raise Http404
    return batch
