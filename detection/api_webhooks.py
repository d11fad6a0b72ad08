"""The integrator API of webhooks: endpoints, their secrets, their log, replay."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from deepfake.errors import DomainError
from detection import api_shapes as shapes
from detection import webhooks_services as services
from detection.api import IDEMPOTENCY_KEY, ApiView, Choice, PageQuery, StrictSerializer, parse_id
from detection.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from detection.payloads import moment
from detection.webhook_models import SwitchedOff
from detection.webhooks import EVENTS

STATES = [(name, name) for name in ("waiting", "retrying", "delivered", "failed")]
WEBHOOK_ID = "whk_9a8b7c6d5e4f30211203f4e5d6c7b8a9"
DELIVERY_ID = "msg_0f1e2d3c4b5a69788796a5b4c3d2e1f0"
SECRET_EXAMPLE = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="  # noqa: S105  of the documentation


# Shapes ---------------------------------------------------------------------------------------------------------------


class WebhookShape(serializers.Serializer[Any]):
    webhook_id = serializers.CharField()
    url = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    events = serializers.ListField(child=serializers.CharField())
    sandbox = serializers.BooleanField(help_text="Registered by a sandbox key: told of sandbox analyses alone.")
    enabled = serializers.BooleanField()
    off_reason = serializers.ChoiceField(choices=SwitchedOff.choices, allow_null=True)
    off_at = serializers.DateTimeField(allow_null=True)
    failures = serializers.IntegerField(help_text="Attempts that failed since the last success.")
    failing_since = serializers.DateTimeField(allow_null=True)
    last_success_at = serializers.DateTimeField(allow_null=True)
    last_failure_at = serializers.DateTimeField(allow_null=True)
    previous_secret_until = serializers.DateTimeField(
        allow_null=True, help_text="Until then calls are signed with the previous secret too."
    )
    created_at = serializers.DateTimeField()


class WebhookSecretShape(WebhookShape):
    secret = serializers.CharField(help_text="whsec_ and Base64. Keep it; the API does not tell it again.")


class WebhookListShape(shapes.PageShape):
    results = WebhookShape(many=True)


class AttemptShape(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    at = serializers.DateTimeField()
    milliseconds = serializers.IntegerField()
    url = serializers.CharField()
    status = serializers.IntegerField(allow_null=True, help_text="null: there was no answer.")
    error = serializers.CharField(allow_null=True)
    request_headers = serializers.DictField(child=serializers.CharField())
    signature = serializers.CharField(help_text="The field `signature` of the body as it was sent.")
    response_headers = serializers.DictField(child=serializers.CharField())
    response_body = serializers.CharField(allow_blank=True)
    response_truncated = serializers.BooleanField()


class DeliveryShape(serializers.Serializer[Any]):
    delivery_id = serializers.CharField(help_text="Also the header webhook-id of every attempt.")
    webhook_id = serializers.CharField()
    event = serializers.CharField()
    state = serializers.ChoiceField(choices=STATES)
    attempts = serializers.IntegerField()
    replays = serializers.IntegerField()
    last_status = serializers.IntegerField(allow_null=True)
    last_error = serializers.CharField(allow_null=True)
    next_attempt_at = serializers.DateTimeField(allow_null=True)
    delivered_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class DeliveryDetailShape(DeliveryShape):
    body = serializers.DictField(help_text="What is sent, without `signature`.")
    log = AttemptShape(many=True)


class DeliveryListShape(shapes.PageShape):
    results = DeliveryShape(many=True)


class ReplayedShape(serializers.Serializer[Any]):
    replayed = serializers.IntegerField()


WEBHOOK_EXAMPLE = {
    "webhook_id": WEBHOOK_ID,
    "url": "https://app.example.org/hooks/deepfake",
    "description": "Newsroom",
    "events": ["job.completed", "job.failed"],
    "sandbox": False,
    "enabled": True,
    "off_reason": None,
    "off_at": None,
    "failures": 0,
    "failing_since": None,
    "last_success_at": "2026-11-21T12:00:06Z",
    "last_failure_at": None,
    "previous_secret_until": None,
    "created_at": "2026-11-20T09:30:00Z",
}
ATTEMPT_EXAMPLE = {
    "number": 1,
    "at": "2026-11-21T12:00:06Z",
    "milliseconds": 84,
    "url": "https://app.example.org/hooks/deepfake",
    "status": 204,
    "error": None,
    "request_headers": {"webhook-id": DELIVERY_ID, "webhook-timestamp": "1795262406", "webhook-signature": "v1,…"},
    "signature": "5d3c…",
    "response_headers": {"server": "nginx"},
    "response_body": "",
    "response_truncated": False,
}
DELIVERY_EXAMPLE = {
    "delivery_id": DELIVERY_ID,
    "webhook_id": WEBHOOK_ID,
    "event": "job.completed",
    "state": "delivered",
    "attempts": 1,
    "replays": 0,
    "last_status": 204,
    "last_error": None,
    "next_attempt_at": None,
    "delivered_at": "2026-11-21T12:00:06Z",
    "created_at": "2026-11-21T12:00:05Z",
}
DETAIL_EXAMPLE = {
    **DELIVERY_EXAMPLE,
    "body": {"event": "job.completed", "timestamp": "2026-11-21T12:00:05Z", "job_id": shapes.JOB_ID},
    "log": [ATTEMPT_EXAMPLE],
}


def webhook_payload(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {
        "webhook_id": endpoint.public_id,
        "url": endpoint.url,
        "description": endpoint.description,
        "events": endpoint.events,
        "sandbox": endpoint.is_sandbox,
        "enabled": endpoint.is_enabled,
        "off_reason": endpoint.off_reason or None,
        "off_at": moment(endpoint.off_at),
        "failures": endpoint.failures,
        "failing_since": moment(endpoint.failing_since),
        "last_success_at": moment(endpoint.last_success_at),
        "last_failure_at": moment(endpoint.last_failure_at),
        "previous_secret_until": moment(endpoint.previous_secret_until) if endpoint.has_two_secrets else None,
        "created_at": moment(endpoint.created_at),
    }


def delivery_payload(delivery: WebhookDelivery, endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {
        "delivery_id": delivery.public_id,
        "webhook_id": endpoint.public_id,
        "event": delivery.event,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "replays": delivery.replays,
        "last_status": delivery.last_status,
        "last_error": delivery.last_error or None,
        "next_attempt_at": None if delivery.is_settled else moment(delivery.next_attempt_at),
        "delivered_at": moment(delivery.delivered_at),
        "created_at": moment(delivery.created_at),
    }


def detail_payload(delivery: WebhookDelivery, endpoint: WebhookEndpoint) -> dict[str, Any]:
    log = [_attempt_payload(attempt) for attempt in delivery.log.all()]
    return {**delivery_payload(delivery, endpoint), "body": delivery.body, "log": log}


def _attempt_payload(attempt: WebhookAttempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "at": moment(attempt.created_at),
        "milliseconds": attempt.milliseconds,
        "url": attempt.url,
        "status": attempt.status,
        "error": attempt.error or None,
        "request_headers": attempt.headers,
        "signature": attempt.signature,
        "response_headers": attempt.response_headers,
        "response_body": attempt.response_body,
        "response_truncated": attempt.is_truncated,
    }


# Views ----------------------------------------------------------------------------------------------------------------


class WebhookApiView(ApiView):
    read_scope = "webhooks:read"
    write_scope = "webhooks:write"

    def of_world(self, rows: QuerySet[WebhookEndpoint]) -> QuerySet[WebhookEndpoint]:
        return rows if self.world is None else rows.filter(is_sandbox=self.world)

    def endpoint(self, webhook_id: str) -> WebhookEndpoint:
        found = WebhookEndpoint.objects.select_related("organization").filter(
            pk=parse_id(webhook_id, "whk_"), organization=self.organization
        )
        endpoint = self.of_world(found).first()
        if endpoint is None:
            raise Http404
        return endpoint


def _delivery(endpoint: WebhookEndpoint, delivery_id: str) -> WebhookDelivery:
    delivery = WebhookDelivery.objects.filter(endpoint=endpoint, pk=parse_id(delivery_id, "msg_")).first()
    if delivery is None:
        raise Http404
    return delivery


CODES = {"events": "event_unknown"}


class _EventsField(serializers.ListField):
    child = serializers.CharField(max_length=40)


class WebhooksView(WebhookApiView):
    also_scopes: ClassVar[dict[str, str]] = {"POST": "detect:read"}

    class Input(StrictSerializer):
        codes = CODES

        url = serializers.CharField(max_length=2000)
        events = _EventsField(min_length=1, max_length=50, help_text=f'`["*"]` for all, or of: {", ".join(EVENTS)}.')
        description = serializers.CharField(required=False, default="", allow_blank=True, max_length=200)

    @extend_schema(
        operation_id="list_webhooks",
        summary="List webhooks, newest first",
        parameters=[PageQuery],
        responses={
            200: shapes.page(WebhookListShape, WEBHOOK_EXAMPLE),
            **shapes.problems(400),
        },
    )
    def get(self, request: Request) -> Response:
        self.asked(PageQuery)
        rows = WebhookEndpoint.objects.filter(organization=self.organization)
        return self.page(self.of_world(rows), webhook_payload)

    @extend_schema(
        operation_id="create_webhook",
        summary="Register an address that is told of events",
        description="The answer holds the secret that calls are signed with. The API tells it this once; the page of "
        "the webhook shows it again.",
        parameters=[IDEMPOTENCY_KEY],
        request=Input,
        examples=[
            OpenApiExample(
                "Verdicts and failures",
                value={"url": WEBHOOK_EXAMPLE["url"], "events": ["job.completed", "job.failed"]},
                request_only=True,
            )
        ],
        responses={
            201: shapes.answer(WebhookSecretShape, "Registered.", {**WEBHOOK_EXAMPLE, "secret": SECRET_EXAMPLE}),
            **shapes.problems(400, 409, 422),
        },
    )
    def post(self, request: Request) -> Response:
        given = self.validated(self.Input, request.data)
        endpoint, secret = services.create_endpoint(organization=self.organization, **given, **self.who)
        return Response({**webhook_payload(endpoint), "secret": secret}, status=201)


class WebhookView(WebhookApiView):
    class Input(StrictSerializer):
        codes = CODES

        url = serializers.CharField(required=False, max_length=2000)
        events = _EventsField(required=False, min_length=1, max_length=50)
        description = serializers.CharField(required=False, allow_blank=True, max_length=200)
        enabled = serializers.BooleanField(required=False)

    @extend_schema(
        operation_id="get_webhook",
        summary="Read a webhook and its health",
        responses={200: shapes.answer(WebhookShape, "The webhook.", WEBHOOK_EXAMPLE), **shapes.problems(404)},
    )
    def get(self, request: Request, webhook_id: str) -> Response:
        return Response(webhook_payload(self.endpoint(webhook_id)))

    @extend_schema(
        operation_id="change_webhook",
        summary="Change a webhook, or switch it off and on",
        description="What is left out stays. Switching off ends what waits; replay it once it is on again.",
        request=Input,
        examples=[OpenApiExample("Switch off", value={"enabled": False}, request_only=True)],
        responses={
            200: shapes.answer(WebhookShape, "As it is now.", WEBHOOK_EXAMPLE),
            **shapes.problems(400, 404),
        },
    )
    def patch(self, request: Request, webhook_id: str) -> Response:
        endpoint = self.endpoint(webhook_id)
        given = self.validated(self.Input, request.data)
        if {"url", "events"} & set(given):
            services.check_sees_verdicts(request)
        if "enabled" in given:
            given["is_enabled"] = given.pop("enabled")
        return Response(webhook_payload(services.change_endpoint(endpoint=endpoint, **given, **self.who)))

    @extend_schema(
        operation_id="delete_webhook",
        summary="Delete a webhook and its log",
        responses={204: None, **shapes.problems(404)},
    )
    def delete(self, request: Request, webhook_id: str) -> Response:
        services.delete_endpoint(endpoint=self.endpoint(webhook_id), **self.who)
        return Response(status=204)


class WebhookRotateView(WebhookApiView):
    class Input(StrictSerializer):
        codes: ClassVar = {"overlap_hours": "overlap_invalid"}

        overlap_hours = serializers.IntegerField(
            required=False,
            default=services.DEFAULT_OVERLAP // timedelta(hours=1),
            min_value=0,
            max_value=services.MAX_OVERLAP // timedelta(hours=1),
            help_text="How long the secret before stays live beside the new one. 0: it is dead at once.",
        )

    @extend_schema(
        operation_id="rotate_webhook_secret",
        summary="Give a webhook a new secret",
        description="While two secrets are live, `webhook-signature` holds a signature of each.",
        parameters=[IDEMPOTENCY_KEY],
        request=Input,
        examples=[OpenApiExample("A day of overlap", value={"overlap_hours": 24}, request_only=True)],
        responses={
            200: shapes.answer(
                WebhookSecretShape,
                "Rotated.",
                {**WEBHOOK_EXAMPLE, "previous_secret_until": "2026-11-22T12:00:00Z", "secret": SECRET_EXAMPLE},
            ),
            **shapes.problems(400, 404, 409, 422),
        },
    )
    def post(self, request: Request, webhook_id: str) -> Response:
        endpoint = self.endpoint(webhook_id)
        given = self.validated(self.Input, request.data)
        endpoint, secret = services.rotate_secret(
            endpoint=endpoint, overlap=timedelta(hours=given["overlap_hours"]), **self.who
        )
        return Response({**webhook_payload(endpoint), "secret": secret})


class WebhookTestView(WebhookApiView):
    @extend_schema(
        operation_id="test_webhook",
        summary="Send a webhook.test event now",
        description="A real, signed call, tried once; the answer says how it went. It is sent to a webhook that is "
        "switched off, too, to see whether its receiver is back; it stays off until you switch it on.",
        parameters=[IDEMPOTENCY_KEY],
        request=None,
        responses={
            200: shapes.answer(
                DeliveryDetailShape,
                "What was sent and what came back.",
                {
                    **DETAIL_EXAMPLE,
                    "event": "webhook.test",
                    "body": {"event": "webhook.test", "timestamp": "2026-11-21T12:00:05Z", "webhook_id": WEBHOOK_ID},
                },
            ),
            **shapes.problems(400, 404, 409, 422),
        },
    )
    def post(self, request: Request, webhook_id: str) -> Response:
        return Response(detail_payload(self.sent, self.tested))

    @contextlib.contextmanager
    def prepared(self, request: Request, webhook_id: str) -> Iterator[None]:
        """The call itself: a receiver may take seconds, in which no transaction may stand."""
        self.tested = self.endpoint(webhook_id)
        self.no_body()
        self.sent = services.send_test(endpoint=self.tested, **self.who)
        yield


class DeliveriesView(WebhookApiView):
    class Query(PageQuery):
        state = Choice(choices=STATES, required=False)
        event = serializers.CharField(required=False, max_length=40)
        since = serializers.DateTimeField(required=False)
        until = serializers.DateTimeField(required=False)

    @extend_schema(
        operation_id="list_webhook_deliveries",
        summary="List what was sent to a webhook, newest first",
        parameters=[Query],
        responses={
            200: shapes.page(DeliveryListShape, DELIVERY_EXAMPLE),
            **shapes.problems(400, 404),
        },
    )
    def get(self, request: Request, webhook_id: str) -> Response:
        endpoint = self.endpoint(webhook_id)
        asked = self.asked(self.Query)
        rows = WebhookDelivery.objects.filter(endpoint=endpoint).in_state(asked.get("state", "")).defer("body")
        names = {"event": "event", "since": "created_at__gte", "until": "created_at__lt"}
        rows = rows.filter(**{lookup: asked[name] for name, lookup in names.items() if name in asked})
        return self.page(rows, lambda delivery: delivery_payload(delivery, endpoint))


class DeliveryView(WebhookApiView):
    also_scopes: ClassVar[dict[str, str]] = {"GET": "detect:read"}

    @extend_schema(
        operation_id="get_webhook_delivery",
        summary="Read a delivery: its body, every attempt, every answer",
        responses={200: shapes.answer(DeliveryDetailShape, "The delivery.", DETAIL_EXAMPLE), **shapes.problems(404)},
    )
    def get(self, request: Request, webhook_id: str, delivery_id: str) -> Response:
        endpoint = self.endpoint(webhook_id)
        return Response(detail_payload(_delivery(endpoint, delivery_id), endpoint))


class ReplayView(WebhookApiView):
    class Input(StrictSerializer):
        delivery_id = serializers.CharField(required=False, max_length=60)
        since = serializers.DateTimeField(required=False)
        until = serializers.DateTimeField(required=False, help_text="Now, when left out.")
        state = Choice(
            choices=[("failed", "failed"), ("all", "all")],
            default="failed",
            help_text="Of a range: what failed, or what was delivered too.",
        )

        def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
            if ("delivery_id" in attrs) == ("since" in attrs):
                raise DomainError("Give either delivery_id or since.", "range_invalid")
            return attrs

    @extend_schema(
        operation_id="replay_webhook",
        summary="Send one delivery again, or those of a time range",
        description="Each keeps its webhook-id, so that a receiver knows what it has seen. The order is not promised.",
        parameters=[IDEMPOTENCY_KEY],
        request=Input,
        examples=[
            OpenApiExample("One", value={"delivery_id": DELIVERY_ID}, request_only=True),
            OpenApiExample(
                "What failed in an outage",
                value={"since": "2026-11-21T10:00:00Z", "until": "2026-11-21T12:00:00Z"},
                request_only=True,
            ),
        ],
        responses={
            202: shapes.answer(ReplayedShape, "So many are queued.", {"replayed": 12}),
            **shapes.problems(400, 404, 409, 422),
        },
    )
    def post(self, request: Request, webhook_id: str) -> Response:
        endpoint = self.endpoint(webhook_id)
        given = self.validated(self.Input, request.data)
        one = given.pop("delivery_id", None)
        delivery = _delivery(endpoint, one) if one else None
        replayed = services.replay(endpoint=endpoint, delivery=delivery, **given, **self.who)
        return Response({"replayed": replayed}, status=202)
