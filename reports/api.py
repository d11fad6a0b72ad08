"""Reports for integrators: GET /v1/reports/{job_id}?format=json|pdf|html."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts import audit
from accounts.authentication import HasScope, api_key_of, member_of, organization_of
from detection.models import Job
from reports import render
from reports.views import for_report


class ReportView(APIView):
    permission_classes = [HasScope("detect:read")]

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[BaseRenderer, str]:
        # `format` is ours to read here: errors stay JSON whatever was asked for.
        return JSONRenderer(), "application/json"

    @extend_schema(
        summary="Report of a finished analysis",
        description="All that the verdict rests on: hashes, scores, explanations, thresholds, model digests, limits.",
        parameters=[
            OpenApiParameter("job_id", str, OpenApiParameter.PATH, description="`job_…` as returned by /v1/detect"),
            OpenApiParameter("format", str, enum=list(render.FORMATS), default="json"),
        ],
        responses={
            (200, "application/json"): OpenApiTypes.OBJECT,
            (200, "application/pdf"): OpenApiTypes.BINARY,
            (200, "text/html"): OpenApiTypes.STR,
        },
        tags=["reports"],
    )
    def get(self, request: Request, job_id: str, **kwargs: Any) -> HttpResponse:
        organization = organization_of(request)
        job = get_object_or_404(for_report(Job.objects.visible_to(organization)), pk=_uuid(job_id))
        wanted = request.query_params.get("format", "json")
        response = render.response(job, wanted)
        audit.record(
            action="report.read",
            organization=organization,
            actor=member_of(request),
            api_key=api_key_of(request),
            target=job,
            details={"format": wanted},
        )
        return response


def _uuid(job_id: str) -> UUID:
    try:
        return UUID(job_id.removeprefix("job_"))
    except ValueError:
        raise Http404 from None
