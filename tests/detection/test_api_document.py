"""The OpenAPI document: valid, and complete for every operation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from accounts import api_keys
from accounts.oauth import scopes

pytestmark = [pytest.mark.services, pytest.mark.django_db]

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
def document(client: Client) -> dict[str, Any]:
    return json.loads(client.get("/v1/openapi.json").content)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            yield f"{method.upper()} {path}", operation


def bodies(operation: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for media_type, body in operation.get("requestBody", {}).get("content", {}).items():
        yield "request", media_type, body
    for status, response in operation["responses"].items():
        for media_type, body in response.get("content", {}).items():
            yield status, media_type, body


def test_it_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_every_operation_is_complete(document: dict[str, Any]) -> None:
    seen: set[str] = set()
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}
    for name, operation in operations(document):
        assert operation["operationId"] not in seen, name
        seen.add(operation["operationId"])
        assert 5 <= len(operation["summary"]) <= 90, name
        assert not operation["summary"].endswith("."), name
        assert operation["description"].endswith("."), name
        assert len(operation["tags"]) == 1, name
        assert tags[operation["tags"][0]], name
        assert all(response["description"] for response in operation["responses"].values()), name
        for parameter in operation.get("parameters", ()):
            assert parameter.get("schema"), (name, parameter["name"])


def test_every_body_has_an_example(document: dict[str, Any]) -> None:
    wrong = []
    for name, operation in operations(document):
        shown = [
            media_type for where, media_type, body in bodies(operation) if where == "request" and body.get("examples")
        ]
        for where, media_type, body in bodies(operation):
            if not body.get("examples") and not (where == "request" and shown):  # a form is shown as JSON
                wrong.append(f"{name} {where} {media_type}")
    assert wrong == []


def test_examples_are_what_they_show(document: dict[str, Any]) -> None:
    wrong = []
    for name, operation in operations(document):
        for where, media_type, body in bodies(operation):
            if "json" not in media_type:
                continue
            schema = {**body["schema"], "components": document["components"]}
            for title, example in body.get("examples", {}).items():
                errors = list(OAS31Validator(schema).iter_errors(example["value"]))
                wrong += [f"{name} {where} {title}: {error.message}" for error in errors]
    assert wrong == []


def test_refusals_are_documented_and_alike(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        refusals = {status for status in operation["responses"] if status.startswith("4")}
        if any(operation.get("security", ())) and operation["security"] != [{}]:
            assert {"401", "403", "429"} <= refusals, name
        if "{" in name:
            assert "404" in refusals, name
        if name.startswith("POST"):
            assert {"400", "422"} <= refusals, name
        for status, media_type, _ in bodies(operation):
            if status[0] in "45" and not name.endswith(("/health", "/health/ready")):
                assert media_type == "application/problem+json", (name, status)


def test_scopes_are_named(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        if "/health" in name:
            continue
        ways = operation["security"]
        assert {"apiKey", "session"} <= {scheme for way in ways for scheme in way}, name
        scopes = [scope for way in ways for asked in way.values() for scope in asked]
        assert scopes, name
        reads = [scope.endswith(":read") for scope in scopes]
        assert all(reads) if name.startswith("GET") else not all(reads), name


def test_posts_take_a_key(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        if name.startswith("POST"):
            assert "Idempotency-Key" in {parameter["name"] for parameter in operation["parameters"]}, name


def test_bodies_take_no_unknown_field(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        body = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if body is not None:
            shape = document["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
            assert shape["additionalProperties"] is False, name


def test_the_document_names_the_address_that_it_is_asked_at(client: Client, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    for host in ("detect.example.org", "other.example.org:8443"):
        found = json.loads(client.get("/v1/openapi.json", headers={"Host": host}).content)
        assert found["servers"] == [{"url": f"http://{host}"}]


def test_only_scopes_that_open_something_are_offered(document: dict[str, Any]) -> None:
    asked = {
        scope
        for methods in document["paths"].values()
        for operation in methods.values()
        for way in operation.get("security", ())
        for scope in way.get("apiKey", ())
    }
    assert set(scopes.API) == asked
    families = {scope.partition(":")[0] for scope in asked}
    assert families == set(api_keys.OFFERED_FAMILIES)
    assert set(scopes.API) | set(scopes.OLDER) == {scope for scope in api_keys.SCOPES if "*" not in scope}
