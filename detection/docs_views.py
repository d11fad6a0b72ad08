"""The API's description: the page to read, its guides, and the document for machines."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.permissions import public
from detection import docs_page

BECAUSE = "the description of the API holds no data, and integrators read it before they have a key"


@public(BECAUSE)
@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    return render(request, "detection/api_docs.html", {"body": docs_page.body(), "base": _base(request), **_links()})


@public(BECAUSE)
@require_safe
def guide(request: HttpRequest, name: str) -> HttpResponse:
    title, text = docs_page.guide(name)
    return render(request, "detection/api_guide.html", {"title": title, "text": text, **_links()})


def _base(request: HttpRequest) -> str:
    return request.build_absolute_uri("/").rstrip("/")


def _links() -> dict[str, object]:
    return {"guides": docs_page.GUIDES.items()}


@public(BECAUSE)
@require_safe
def document(request: HttpRequest) -> JsonResponse:
    """OpenAPI 3.1, made once per process but for the address, which is the one that it is asked at."""
    found = docs_page.document() | {"servers": [{"url": _base(request)}]}
    answer = JsonResponse(found, content_type="application/vnd.oai.openapi+json")
    answer["Content-Disposition"] = 'inline; filename="Deepfake detection API.json"'
    return answer
