"""Reports for integrators: GET /v1/reports/{job_id}?format=json|pdf|html|bundle."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request

from accounts.authentication import HasScope, api_key_of, member_of, organization_of, world_of
from detection.api_limits import LimitedView
from detection.models import Job
from reports import downloads, services
from reports.api_examples import PROBLEM_EXAMPLES, REPORT_EXAMPLE

COSTLY = ("pdf", "bundle")


class ReportView(LimitedView):
    permission_classes = [HasScope("detect:read")]

    def limit_family_of(self, request: Request) -> str:
        """PDF and bundles are rendered and signed; the others are read."""
        return "reports" if request.query_params.get("format") in COSTLY else "reads"

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[BaseRenderer, str]:
        # `format` is ours to read here: errors stay JSON whatever was asked for.
        return JSONRenderer(), "application/json"

    @extend_schema(
        operation_id="get_report",
        summary="Report of a finished analysis",
        description=(
            "All that the verdict rests on: hashes, scores, explanations, thresholds, model digests, limits. JSON and "
            "PDF are signed (Ed25519) and recorded; the header X-Report-Id names the report, and `/verify/{id}/` tells "
            "anyone what was issued. `bundle` is a zip with the original, both reports and all that it takes to run "
            "the analysis again. Each call issues a new report."
        ),
        parameters=[
            OpenApiParameter("job_id", str, OpenApiParameter.PATH, description="`job_…` as returned by /v1/detect"),
            OpenApiParameter("format", str, enum=list(services.FORMATS), default="json"),
        ],
        responses={
            (200, "application/json"): OpenApiResponse(
                OpenApiTypes.OBJECT,
                description="The signed report, in canonical form (RFC 8785); shortened here.",
                examples=[OpenApiExample("A signed report", value=REPORT_EXAMPLE, response_only=True)],
            ),
            (200, "application/pdf"): OpenApiResponse(
                OpenApiTypes.BINARY,
                description="The report to print, signed, with the signed JSON attached.",
                examples=[OpenApiExample("A file", value="%PDF-1.7…", response_only=True)],
            ),
            (200, "application/zip"): OpenApiResponse(
                OpenApiTypes.BINARY,
                description="The evidence bundle.",
                examples=[OpenApiExample("A file", value="PK…", response_only=True)],
            ),
            (200, "text/html"): OpenApiResponse(
                OpenApiTypes.STR,
                description="A page to read; not signed.",
                examples=[OpenApiExample("A page", value="<!doctype html>…", response_only=True)],
            ),
            **{
                (status, "application/problem+json"): OpenApiResponse(
                    OpenApiTypes.OBJECT,
                    description=meaning,
                    examples=[OpenApiExample("Problem", value=example, response_only=True)],
                )
                for status, meaning, example in PROBLEM_EXAMPLES
            },
        },
        tags=["reports"],
    )
    def get(self, request: Request, job_id: str, **kwargs: Any) -> HttpResponseBase:
        organization = organization_of(request)
        wanted = request.query_params.get("format", "json")
        services.check_format(wanted)
        jobs = services.for_report(Job.objects.visible_to(organization).of_world(world_of(request)))
        job = get_object_or_404(jobs, pk=_uuid(job_id))
        actor, api_key = member_of(request), api_key_of(request)
        if wanted == services.PAGE_FORMAT:
            return HttpResponse(services.page(job=job, actor=actor, api_key=api_key))
        return downloads.response(job=job, wanted=wanted, actor=actor, api_key=api_key)


def _uuid(job_id: str) -> UUID:
    try:
        return UUID(job_id.removeprefix("job_"))
    except ValueError:
        raise Http404 from None
