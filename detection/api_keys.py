"""API keys through the API: list, make, read, change, rotate, revoke."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.http import Http404
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api_keys import (
    LIMITS,
    LONGEST_OVERLAP,
    change_api_key,
    check_expiry,
    create_api_key,
    revoke_api_key,
    rotate_api_key,
)
from accounts.authentication import may
from accounts.models import MOST_PER_MINUTE, ApiKey
from detection import api_shapes as shapes
from detection.api import IDEMPOTENCY_KEY, ApiView, PageQuery, StrictSerializer, parse_id

STATES = [(name, name) for name in ("active", "expired", "revoked")]
KEY_ID = "key_5b1e0c6a9f8d4e7fb3a2c1d0e9f8a7b6"
KEY_EXAMPLE = {
    "key_id": KEY_ID,
    "name": "Newsroom upload",
    "prefix": "dfk_0a1b2c3d",
    "sandbox": False,
    "scopes": ["detect:read", "detect:write"],
    "ip_allow_list": ["203.0.113.0/24"],
    "limits": dict.fromkeys(LIMITS),
    "state": "active",
    "created_at": "2026-11-21T09:00:00Z",
    "expires_at": None,
    "last_used_at": "2026-11-21T09:12:00Z",
    "last_used_ip": "203.0.113.7",
    "rotated_at": None,
    "previous_secret_valid_until": None,
    "revoked_at": None,
}
MADE_EXAMPLE = {**KEY_EXAMPLE, "last_used_at": None, "last_used_ip": None, "key": "dfk_0a1b2c3d_…"}


class _Limits(StrictSerializer):
    def get_fields(self) -> dict[str, Any]:
        return {
            name: serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=MOST_PER_MINUTE)
            for name in LIMITS
        }


class KeyShape(serializers.Serializer[Any]):
    key_id = serializers.CharField()
    name = serializers.CharField()
    prefix = serializers.CharField(help_text="What the key's text begins with.")
    sandbox = serializers.BooleanField()
    scopes = serializers.ListField(child=serializers.CharField())
    ip_allow_list = serializers.ListField(child=serializers.CharField(), help_text="Empty: from anywhere.")
    limits = _Limits(help_text="Requests a minute; null: the installation's.")
    state = serializers.ChoiceField(choices=STATES)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)
    last_used_ip = serializers.CharField(allow_null=True)
    rotated_at = serializers.DateTimeField(allow_null=True)
    previous_secret_valid_until = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)


class MadeKeyShape(KeyShape):
    key = serializers.CharField(help_text="The key's text. It is told this once.")


class KeyListShape(shapes.PageShape):
    results = KeyShape(many=True)


class ChangeInput(StrictSerializer):
    codes: ClassVar = {"name": "invalid_name", "scopes": "invalid_scope", "ip_allow_list": "address_invalid"}

    name = serializers.CharField(required=False, max_length=80)
    scopes = serializers.ListField(child=serializers.CharField(max_length=40), required=False, max_length=40)
    ip_allow_list = serializers.ListField(child=serializers.CharField(max_length=60), required=False, max_length=100)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)
    limits = _Limits(required=False)


class CreateInput(ChangeInput):
    name = serializers.CharField(max_length=80)
    scopes = serializers.ListField(child=serializers.CharField(max_length=40), min_length=1, max_length=40)
    sandbox = serializers.BooleanField(default=False)


class KeyApiView(ApiView):
    read_scope: ClassVar[str] = "admin:read"
    write_scope: ClassVar[str] = "admin:write"

    def holds(self, scope: str) -> bool:
        return may(self.request, scope)

    def find(self, key_id: str) -> ApiKey:
        keys = ApiKey.objects.select_related("organization")
        key = keys.filter(pk=parse_id(key_id, "key_"), organization=self.organization).first()
        if key is None:
            raise Http404
        return key


class KeysView(KeyApiView):
    class Query(PageQuery):
        revoked = serializers.BooleanField(default=False, help_text="Also those that were revoked.")

    @extend_schema(
        operation_id="list_keys",
        summary="List API keys, newest first",
        parameters=[Query],
        responses={
            200: shapes.page(KeyListShape, KEY_EXAMPLE),
            **shapes.problems(400),
        },
    )
    def get(self, request: Request) -> Response:
        asked = self.asked(self.Query)
        keys = ApiKey.objects.filter(organization=self.organization)
        if not asked["revoked"]:
            keys = keys.filter(revoked_at=None)
        return self.page(keys, key_payload)

    @extend_schema(
        operation_id="create_key",
        summary="Make an API key",
        description="A caller can give a key only scopes that it holds itself; a key gives no later expiry, wider "
        "addresses or higher limits than its own, and a sandbox key makes sandbox keys.",
        parameters=[IDEMPOTENCY_KEY],
        request=CreateInput,
        examples=[
            OpenApiExample(
                "For one network, until the end of the year",
                value={
                    "name": "Newsroom upload",
                    "scopes": ["detect:read", "detect:write"],
                    "ip_allow_list": ["203.0.113.0/24", "2001:db8::7"],
                    "expires_at": "2026-12-31T23:59:59Z",
                },
                request_only=True,
            )
        ],
        responses={
            201: shapes.answer(MadeKeyShape, "Made; its text is told this once.", MADE_EXAMPLE),
            **shapes.problems(400, 409, 422),
        },
    )
    def post(self, request: Request) -> Response:
        given = self.validated(CreateInput, request.data)
        key, text = create_api_key(
            organization=self.organization,
            name=given["name"],
            scopes=given["scopes"],
            is_sandbox=given["sandbox"],
            ip_allow_list=given.get("ip_allow_list", ()),
            expires_at=check_expiry(given.get("expires_at")),
            limits=given.get("limits"),
            created_by=self.who["actor"],
            holds=self.holds,
            by_key=self.who["api_key"],
        )
        return Response({**key_payload(key), "key": text}, status=201)


class KeyView(KeyApiView):
    @extend_schema(
        operation_id="get_key",
        summary="Read an API key",
        responses={200: shapes.answer(KeyShape, "The key, without its text.", KEY_EXAMPLE), **shapes.problems(404)},
    )
    def get(self, request: Request, key_id: str) -> Response:
        return Response(key_payload(self.find(key_id)))

    @extend_schema(
        operation_id="change_key",
        summary="Change an API key",
        description="What is not named stays as it is. `null` takes an expiry or a limit away. A key changes itself "
        "only for less.",
        request=ChangeInput,
        examples=[OpenApiExample("Other addresses", value={"ip_allow_list": ["203.0.113.7"]}, request_only=True)],
        responses={
            200: shapes.answer(KeyShape, "Changed.", KEY_EXAMPLE),
            **shapes.problems(400, 404, 409),
        },
    )
    def patch(self, request: Request, key_id: str) -> Response:
        key = self.find(key_id)
        changes = self.validated(ChangeInput, request.data)
        changes |= changes.pop("limits", {})
        if "expires_at" in changes:
            check_expiry(changes["expires_at"])
        key = change_api_key(
            api_key=key, changes=changes, actor=self.who["actor"], holds=self.holds, by_key=self.who["api_key"]
        )
        return Response(key_payload(key))

    @extend_schema(
        operation_id="revoke_key",
        summary="Revoke an API key",
        description="It stops working at once, with its earlier secret. The row stays, for the audit log.",
        responses={204: None, **shapes.problems(404)},
    )
    def delete(self, request: Request, key_id: str) -> Response:
        revoke_api_key(api_key=self.find(key_id), actor=self.who["actor"], by_key=self.who["api_key"])
        return Response(status=204)


class KeyRotateView(KeyApiView):
    class Input(StrictSerializer):
        codes: ClassVar = {"overlap_hours": "overlap_invalid"}

        overlap_hours = serializers.IntegerField(
            default=24, min_value=0, max_value=LONGEST_OVERLAP.days * 24, help_text="How long the old secret works on."
        )

    @extend_schema(
        operation_id="rotate_key",
        summary="Give an API key a new secret",
        description=(
            "The old one works for `overlap_hours` more, and for as long callbacks are signed with both. The prefix "
            "stays. You must hold every scope of the key yourself."
        ),
        parameters=[IDEMPOTENCY_KEY],
        request=Input,
        examples=[OpenApiExample("A day to change over", value={"overlap_hours": 24}, request_only=True)],
        responses={
            200: shapes.answer(MadeKeyShape, "Rotated; the new text is told this once.", MADE_EXAMPLE),
            **shapes.problems(400, 404, 409, 422),
        },
    )
    def post(self, request: Request, key_id: str) -> Response:
        key = self.find(key_id)
        given = self.validated(self.Input, request.data)
        key, text = rotate_api_key(
            api_key=key,
            overlap=timedelta(hours=given["overlap_hours"]),
            actor=self.who["actor"],
            holds=self.holds,
            by_key=self.who["api_key"],
        )
        return Response({**key_payload(key), "key": text})


def key_payload(key: ApiKey) -> dict[str, Any]:
    return {
        "key_id": key.public_id,
        "name": key.name,
        "prefix": key.prefix,
        "sandbox": key.is_sandbox,
        "scopes": key.scopes,
        "ip_allow_list": key.ip_allow_list,
        "limits": {name: getattr(key, name) for name in LIMITS},
        "state": "active" if key.is_active else "revoked" if key.revoked_at else "expired",
        "created_at": _moment(key.created_at),
        "expires_at": _moment(key.expires_at),
        "last_used_at": _moment(key.last_used_at),
        "last_used_ip": key.last_used_ip,
        "rotated_at": _moment(key.rotated_at),
        "previous_secret_valid_until": _moment(key.previous_valid_until) if key.has_previous_secret else None,
        "revoked_at": _moment(key.revoked_at),
    }


def _moment(value: Any) -> str | None:
    return value.isoformat().replace("+00:00", "Z") if value else None
