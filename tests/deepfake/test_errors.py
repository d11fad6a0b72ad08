"""Every error has one shape for programs and a page with a sentence for people."""

from __future__ import annotations

import errno
import json
from http import HTTPStatus
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from deepfake import error_views
from deepfake.api_errors import phrase
from deepfake.errors import DomainError

handler400 = error_views.bad_request
handler403 = error_views.permission_denied
handler404 = error_views.not_found
handler500 = error_views.server_error

RAISED: dict[str, Exception] = {
    "domain": DomainError("The file is empty.", "empty_file", 422, fields={"file": ["Empty."]}),
    "missing": Http404("secret detail"),
    "denied": PermissionDenied(),
    "throttled": exceptions.Throttled(wait=12.3),
    "anonymous": exceptions.NotAuthenticated(),
    "media": exceptions.UnsupportedMediaType("text/plain"),
    "full": OSError(errno.ENOSPC, "No space left on device"),
    "crash": RuntimeError("password=hunter2"),
}


class Raise(APIView):
    authentication_classes: list[type] = []
    permission_classes: list[type] = []

    def get(self, request: Request, what: str) -> Response:
        raise RAISED[what]


class Validate(APIView):
    authentication_classes: list[type] = []
    permission_classes: list[type] = []

    class Input(serializers.Serializer[Any]):
        class Item(serializers.Serializer[Any]):
            size = serializers.IntegerField()

        mode = serializers.ChoiceField(["auto", "image"])
        items = Item(many=True)

    def post(self, request: Request) -> Response:
        data = self.Input(data=request.data)
        data.is_valid(raise_exception=True)
        return Response(data.data)


def page(request: HttpRequest, what: str) -> HttpResponse:
    raise RAISED[what]


urlpatterns = [
    path("v1/raise/<what>", Raise.as_view()),
    path("v1/validate", Validate.as_view()),
    path("v1/plain/<what>", page),
    path("page/<what>", page),
    path("", include("deepfake.urls")),  # what the frame of a page links to
]
pytestmark = pytest.mark.urls(__name__)


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


@pytest.mark.parametrize(
    ("what", "status", "code"),
    [
        ("domain", 422, "empty_file"),
        ("missing", 404, "not_found"),
        ("denied", 403, "permission_denied"),
        ("throttled", 429, "throttled"),
        ("anonymous", 403, "not_authenticated"),
        ("media", 415, "unsupported_media_type"),
        ("full", 507, "storage_full"),
        ("crash", 500, "internal_error"),
    ],
)
def test_problem_shape(client: Client, what: str, status: int, code: str) -> None:
    answer = client.get(f"/v1/raise/{what}", headers={"X-Request-ID": "abc-1"})
    assert answer.status_code == status
    assert answer["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail", "code", "request_id", "fields"}
    assert (body["status"], body["code"], body["request_id"]) == (status, code, "abc-1")
    assert body["detail"].endswith(".")
    assert "hunter2" not in answer.text
    assert "secret" not in answer.text


def test_domain_error_keeps_sentence_and_fields(client: Client) -> None:
    body = client.get("/v1/raise/domain").json()
    assert (body["detail"], body["fields"]) == ("The file is empty.", {"file": ["Empty."]})


def test_throttled_says_when(client: Client) -> None:
    answer = client.get("/v1/raise/throttled")
    assert answer["Retry-After"] == "13"
    assert "13 s" in answer.json()["detail"]


def test_field_errors_are_named_by_path(client: Client) -> None:
    answer = client.post("/v1/validate", json.dumps({"mode": "x", "items": [{"size": 1}, {}]}), "application/json")
    assert answer.status_code == 400
    assert set(answer.json()["fields"]) == {"mode", "items.1.size"}


def test_broken_json(client: Client) -> None:
    answer = client.post("/v1/validate", "{", "application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, "parse_error")


def test_wrong_method(client: Client) -> None:
    assert client.delete("/v1/validate").json()["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("address", "status"), [("/v1/nothing", 404), ("/v1/plain/crash", 500), ("/v1/plain/domain", 422)]
)
def test_api_addresses_outside_drf_answer_with_problems(client: Client, address: str, status: int) -> None:
    answer = client.get(address)
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json")
    assert "hunter2" not in answer.text


@pytest.mark.parametrize(
    ("address", "status", "sentence"),
    [
        ("/page/missing", 404, ""),
        ("/page/denied", 403, ""),
        ("/page/crash", 500, ""),
        ("/page/domain", 422, "The file is empty."),
        ("/page/full", 507, "disk is full"),
    ],
)
@pytest.mark.django_db
def test_pages_answer_with_pages(client: Client, address: str, status: int, sentence: str) -> None:
    answer = client.get(address, headers={"Accept": "text/html"})
    assert answer.status_code == status
    assert answer["Content-Type"].startswith("text/html")
    assert sentence in answer.text
    assert "hunter2" not in answer.text


def test_request_id_is_validated(client: Client) -> None:
    assert client.get("/v1/nothing", headers={"X-Request-ID": "mine.1"})["X-Request-ID"] == "mine.1"
    for bad in ("x" * 65, "a b", "a\tb", "<script>", ""):
        made = client.get("/v1/nothing", headers={"X-Request-ID": bad})["X-Request-ID"]
        assert made != bad
        assert len(made) == 32


def test_every_status_has_a_phrase() -> None:
    assert [phrase(status) for status in HTTPStatus] == [status.phrase for status in HTTPStatus]
    assert (phrase(460), phrase(499)) == ("Checksum Mismatch", "")


def test_announced_size_is_refused_before_reading(client: Client, settings: Any) -> None:
    settings.MAX_UPLOAD_BYTES = 1_000_000
    answer = client.generic("POST", "/v1/validate", b"x", "multipart/form-data; boundary=x", CONTENT_LENGTH="3000000")
    assert answer.status_code == 413
    assert answer.json()["request_id"] == answer["X-Request-ID"] != ""
    assert "2 MB" in answer.json()["detail"]
    assert (
        client.generic("POST", "/v1/validate", b"{}", "application/json", CONTENT_LENGTH="99000000").status_code == 413
    )


def test_security_headers(client: Client) -> None:
    answer = client.get("/v1/nothing")
    policy = answer["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    assert answer["Cross-Origin-Opener-Policy"] == "same-origin"
    assert answer["Permissions-Policy"].startswith("camera=(self), microphone=(self)")
    assert "Strict-Transport-Security" not in answer
