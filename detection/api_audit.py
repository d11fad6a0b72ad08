"""The integrator API: the organisation's audit log, to read."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import AuditLog
from deepfake.pagination import CheckedCursor
from detection import api_shapes as shapes
from detection import payloads
from detection.api import ApiView, PageQuery
from detection.api_jobs import MomentField


class LastFirst(CheckedCursor):
    page_size = 100
    page_size_query_param = "limit"
    max_page_size = 200
    ordering = ("-id",)


class AuditView(ApiView):
    read_scope = "audit:read"
    write_scope = "admin:write"

    class Query(PageQuery):
        action = serializers.CharField(
            required=False, max_length=60, help_text="One action, or all of a family: `job.started`, `job.`"
        )
        actor = serializers.CharField(required=False, max_length=150, help_text="User name of a member.")
        api_key = serializers.CharField(required=False, max_length=16, help_text="Prefix of an API key.")
        target_type = serializers.CharField(required=False, max_length=40)
        target_id = serializers.CharField(required=False, max_length=64)
        since = MomentField(required=False, help_text="At or after this day or moment.")
        until = MomentField(required=False, ends_day=True, help_text="Before the end of this day, or this moment.")

    @extend_schema(
        operation_id="list_audit",
        summary="Read the audit log, last entry first",
        description="What was done in your organisation, by whom, with which key. Each entry carries the hash of the "
        "one before it in the log of the installation, of which these are yours.",
        parameters=[Query],
        responses={
            200: shapes.page(shapes.AuditListShape, shapes.AUDIT_EXAMPLE),
            **shapes.problems(400),
        },
    )
    def get(self, request: Request) -> Response:
        asked = self.asked(self.Query)
        columns = {
            "actor": "actor__username",
            "api_key": "api_key_prefix",
            "target_type": "target_type",
            "target_id": "target_id",
            "since": "created_at__gte",
            "until": "created_at__lt",
        }
        narrowed: dict[str, Any] = {columns[name]: asked[name] for name in columns if name in asked}
        if "action" in asked:
            is_family = asked["action"].endswith(".")
            narrowed["action__startswith" if is_family else "action"] = asked["action"]
        rows = AuditLog.objects.filter(organization=self.organization, **narrowed).select_related("actor")
        return self.page(rows, payload, LastFirst())


def payload(entry: AuditLog) -> dict[str, Any]:
    return {
        "entry_id": f"aud_{entry.pk}",
        "action": entry.action,
        "actor": entry.actor.username if entry.actor else None,
        "api_key": entry.api_key_prefix or None,
        "target_type": entry.target_type or None,
        "target_id": entry.target_id or None,
        "details": entry.details,
        "ip_address": entry.ip_address,
        "created_at": payloads.moment(entry.created_at),
        "previous_hash": entry.previous_hash,
        "hash": entry.hash,
    }
