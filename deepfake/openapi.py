"""The OpenAPI document: names that do not collide, scopes per operation, and what every operation may answer."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema

from deepfake.api_errors import PROBLEM_TYPE

TAGS = {
    "media": "Items: pictures, clips and recordings that you submit.",
    "uploads": "Large files, in pieces that can be resumed (tus 1.0), or directly to storage.",
    "detect": "Starting an analysis.",
    "jobs": "Analyses: their state, their result, and what can be done with them.",
    "batches": "Up to 1,000 items with one progress and one event.",
    "reports": "Signed reports and evidence bundles.",
    "thresholds": "Threshold profiles, to read.",
    "feedback": "What items really are.",
    "models": "What is deployed here.",
    "keys": "API keys: making, changing, rotating and revoking them.",
    "webhooks": "Addresses that are told of events, what was sent to them, and sending it again.",
    "audit": "What was done, by whom.",
    "health": "Whether the installation is well. Needs no key.",
}
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_STANDARD = {
    "401": ("The API key is missing, unknown, expired or revoked.", "not_authenticated", "Unauthorized"),
    "403": ("The API key lacks the scope.", "permission_denied", "Forbidden"),
    "404": ("There is nothing of that id in your organisation.", "not_found", "Not Found"),
    "429": ("Too many requests; Retry-After says when to come back.", "throttled", "Too Many Requests"),
}


class HouseSchema(AutoSchema):
    def get_serializer_name(self, serializer: Any, direction: Any) -> str:
        """MediaView.Input is MediaInput: many views have an Input."""
        names = type(serializer).__qualname__.split(".")
        outer = names[-2].removesuffix("View") if len(names) > 1 and names[-2] != "<locals>" else ""
        return outer + str(super().get_serializer_name(serializer, direction))

    def get_auth(self) -> list[dict[str, Any]]:
        """Each way of asking with the scopes that the operation needs."""
        scopes = _scopes_of(self.view)
        found = super().get_auth()
        return [{name: scopes or list(asked) for name, asked in way.items()} for way in found] if scopes else found


def _scopes_of(view: Any) -> list[str]:
    names = [type(permission).__name__ for permission in view.get_permissions()]
    return [name.removeprefix("HasScope_").replace("_", ":", 1) for name in names if name.startswith("HasScope_")]


def complete(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """What holds for all operations, said once here: tags, refusals, and bodies that take no unknown field."""
    schemas = result.get("components", {}).get("schemas", {})
    used = set()
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            if method not in METHODS:
                continue
            used.update(operation.get("tags", ()))
            _refuse(operation, path)
            for body in operation.get("requestBody", {}).get("content", {}).values():
                _close(body.get("schema", {}), schemas)
    result["tags"] = [{"name": name, "description": TAGS.get(name, "")} for name in (*TAGS, *sorted(used - set(TAGS)))]
    result["tags"] = [tag for tag in result["tags"] if tag["name"] in used]
    return result


def _refuse(operation: dict[str, Any], path: str) -> None:
    """The refusals that need no word of the view: without them a caller would meet what the document does not name."""
    needs_key = any(way for way in operation.get("security", ()))
    statuses = ["401", "403", "429"] if needs_key else []
    statuses += ["404"] if "{" in path else []
    for status in statuses:
        if status not in operation["responses"]:
            operation["responses"][status] = _refusal(status)


def _refusal(status: str) -> dict[str, Any]:
    meaning, code, title = _STANDARD[status]
    example = {
        "type": "about:blank",
        "title": title,
        "status": int(status),
        "detail": meaning,
        "code": code,
        "request_id": "4f2e9c1ab0d14a7c",
        "fields": {},
    }
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": meaning,
        "content": {PROBLEM_TYPE: {"schema": schema, "examples": {"Problem": {"value": example}}}},
    }


def _close(schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Say of a body, and of what it holds, that fields without a name here are refused."""
    if "$ref" in schema:
        _close(schemas.get(schema["$ref"].rpartition("/")[2], {}), schemas)
    elif schema.get("type") == "array":
        _close(schema.get("items", {}), schemas)
    elif "properties" in schema and schema.get("additionalProperties") is None:
        schema["additionalProperties"] = False
        for inner in schema["properties"].values():
            _close(inner, schemas)
