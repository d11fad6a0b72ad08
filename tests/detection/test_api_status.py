"""GET /v1/models, the health checks, the OpenAPI document and its page."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as live_settings
from django.test import Client
from django.utils import timezone

from detection import api_status, cards
from detection.engine import registry, sandbox
from detection.engine.errors import DecoderCrashed
from detection.models import JobStatus
from tests import factories

pytestmark = [pytest.mark.services, pytest.mark.django_db]

REPOSITORY = Path(live_settings.BASE_DIR)


@pytest.fixture(autouse=True)
def _weights_are_checked_anew() -> None:
    api_status._weights_are_whole.cache_clear()


# Models ---------------------------------------------------------------------------------------------------------------


def test_models_have_digests_and_quality(client: Client, bearer: Any) -> None:
    body = client.get("/v1/models", headers=bearer).json()
    assert body["model_version"].startswith("ensemble-")
    assert {model["name"] for model in body["models"]} == set(registry.BRANCHES)
    for model in body["models"]:
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in model["sha256"].values())
        assert model["sha256"]
        assert isinstance(model["fused"], bool)
        assert bool(model["fused_in"]) == model["fused"]
    assert set(body["thresholds"]) == {"image", "video", "audio"}


def test_figures_come_from_the_model_card(client: Client, bearer: Any) -> None:
    card = """# net

## Figures on left-out sources
| set | n | AUROC |
|---|---|---|
| **face swap** | 61 | **0.707** |

| generator | n |
|---|---|
| a | 1 |
"""
    rows = [{"set": "face swap", "n": "61", "AUROC": "0.707"}]
    numbers = [{"set": "face swap", "auroc": 0.707, "auroc_ci": None, "eer": None}]
    assert cards.parse(card) == [{"title": "Figures on left-out sources", "rows": rows, "numbers": numbers}]
    for model in client.get("/v1/models", headers=bearer).json()["models"]:
        assert model["metrics"]["figures"] == cards.figures(model["name"])


def test_every_figure_has_a_name_and_a_number(client: Client, bearer: Any) -> None:
    """Cards leave the first column of a table unnamed, and write the interval beside the figure."""
    card = "# net\n| | AUROC | EER |\n|---|---|---|\n| all kinds | .857 (.783–.915) | 22.6 % (17–29) |\n"
    (table,) = cards.parse(card)
    assert table["rows"] == [{"set": "all kinds", "AUROC": ".857 (.783–.915)", "EER": "22.6 % (17–29)"}]
    assert table["numbers"] == [{"set": "all kinds", "auroc": 0.857, "auroc_ci": [0.783, 0.915], "eer": 0.226}]
    for model in client.get("/v1/models", headers=bearer).json()["models"]:
        for table in model["metrics"]["figures"]:
            assert all(name for row in table["rows"] for name in row), model["name"]
            assert all(row["set"] and 0 <= row["auroc"] <= 1 for row in table["numbers"]), model["name"]


def test_models_are_for_members(client: Client) -> None:
    assert client.get("/v1/models").status_code == 401


# Health ---------------------------------------------------------------------------------------------------------------


def test_live_needs_nothing(client: Client) -> None:
    answer = client.get("/v1/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/v1/health", "/v1/health/ready"])
def test_ready_when_all_is_well(path: str, client: Client) -> None:
    answer = client.get(path)
    assert answer.status_code == 200, answer.content
    decoder = {"decoder"} if path == "/v1/health" else set()
    assert set(answer.json()["checks"]) == {"database", "storage", "weights", "workers"} | decoder
    assert all(check["ok"] for check in answer.json()["checks"].values())


def test_altered_weights_are_told(client: Client, monkeypatch: Any) -> None:
    files = {"openvino": (("fusion/fusion.json", "0" * 64),)}
    altered = registry.BranchSpec("x", "picture", "1", files, 224, (0.0,), (1.0,), 0.5, "none", "none", "x:build")
    monkeypatch.setitem(registry.BRANCHES, "x", altered)
    answer = client.get("/v1/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
    assert not answer.json()["checks"]["weights"]["ok"]


def test_jobs_that_nobody_takes_are_told(client: Client, organization: Any) -> None:
    long_ago = timezone.now() - timedelta(minutes=5)
    factories.make_job(organization=organization, next_attempt_at=long_ago)
    assert client.get("/v1/health/ready").json()["checks"]["workers"]["ok"] is False
    factories.make_job(organization=organization, status=JobStatus.RUNNING)
    assert client.get("/v1/health/ready").json()["checks"]["workers"] == {"ok": True, "detail": "at work"}


def test_health_says_what_protects_from_files(client: Client, monkeypatch: Any) -> None:
    weak = sandbox.Protections(("limits",), ("read files",))
    monkeypatch.setattr(sandbox, "protections", lambda: weak)
    answer = client.get("/v1/health")
    assert answer.status_code == 200  # the operator chose the machine; it works
    assert answer.json()["checks"]["decoder"] == {"ok": True, "detail": "behind limits; a decoder can still read files"}


def test_a_decoder_that_does_not_start_is_told(client: Client, monkeypatch: Any) -> None:
    def fail() -> None:
        raise DecoderCrashed("no fork")

    monkeypatch.setattr(sandbox, "protections", fail)
    answer = client.get("/v1/health")
    assert answer.status_code == 503
    assert answer.json()["checks"]["decoder"] == {"ok": False, "detail": "The decoder does not start."}


def test_unwritable_storage_is_told(client: Client, settings: Any) -> None:
    settings.SPOOL_DIR = Path("/nonexistent")
    answer = client.get("/v1/health/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"]["storage"] == {"ok": False, "detail": "does not answer"}


# The OpenAPI document -------------------------------------------------------------------------------------------------


@pytest.fixture
def schema(client: Client) -> dict[str, Any]:
    answer = client.get("/v1/openapi.json")
    assert answer.status_code == 200
    return json.loads(answer.content)


def operations(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    }


def test_document_is_openapi_3_1_with_all_addresses(schema: dict[str, Any]) -> None:
    assert schema["openapi"].startswith("3.1")
    assert set(operations(schema)) >= {
        "POST /v1/media",
        "GET /v1/media/{media_id}",
        "POST /v1/detect",
        "GET /v1/jobs",
        "GET /v1/jobs/{job_id}",
        "DELETE /v1/jobs/{job_id}",
        "POST /v1/jobs/{job_id}/cancel",
        "POST /v1/feedback",
        "GET /v1/models",
        "GET /v1/health",
        "GET /v1/health/live",
        "GET /v1/health/ready",
    }


def test_every_operation_has_summary_and_example(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema).items():
        if name.startswith("GET /v1/reports"):
            continue
        assert operation.get("summary"), name
        bodies = [
            body
            for status, response in operation["responses"].items()
            if status.startswith("2")
            for body in response.get("content", {}).values()
        ]
        assert all(body.get("examples") for body in bodies), name


def test_operations_name_the_bearer_key(schema: dict[str, Any]) -> None:
    scheme = schema["components"]["securitySchemes"]["apiKey"]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert {"apiKey": ["detect:write"]} in operations(schema)["POST /v1/detect"]["security"]


def test_answers_have_the_documented_fields(
    schema: dict[str, Any], client: Client, bearer: Any, organization: Any
) -> None:
    job = factories.make_job(organization=organization, status=JobStatus.COMPLETED)
    factories.make_artifact(factories.make_result(job))
    body = client.get(f"/v1/jobs/{job.public_id}", headers=bearer).json()
    shapes = schema["components"]["schemas"]
    assert set(body) <= set(shapes["JobShape"]["properties"])
    assert set(body) >= set(shapes["JobShape"]["required"])
    for name, part in (
        ("ResultShape", body["result"]),
        ("MediaShape", body["media"]),
        ("BranchShape", body["result"]["per_branch"][0]),
        ("ArtifactShape", body["result"]["artifacts"][0]),
        ("ExplanationsShape", body["result"]["explanations"]),
    ):
        assert set(part) == set(shapes[name]["properties"]), name


# The written guide ----------------------------------------------------------------------------------------------------

CODE = re.compile(r"^\| `([a-z_]+)` \| \d{3}|^\| `([a-z_]+)` \| job", re.MULTILINE)


FROM_ELSEWHERE = {
    "second_factor_required",  # accounts/sign_in.py, whose other errors are for pages
    # REST framework:
    "authentication_failed",
    "method_not_allowed",
    "not_authenticated",
    "parse_error",
    "unsupported_media_type",
}
# Where in a call the code stands, by the name of what is called.
CODE_AT = {
    "DomainError": 1,
    "FetchError": 1,
    "StorageError": 1,
    "__init__": 1,
    "_fail_or_retry": 1,
    "_end": 3,
    "error_response": 2,
}


def codes_in_source() -> set[str]:
    """Every code that an error of ours may carry on its way through the API or into a failed job."""
    folders = ("detection", "detection/engine", "detection/engine/branches", "deepfake", "reports")
    sources = [path for folder in folders for path in (REPOSITORY / folder).glob("*.py")]
    sources += [
        REPOSITORY / "accounts" / name for name in ("authentication.py", "sign_in_middleware.py", "api_keys.py")
    ]
    # Threshold profiles and holds are changed on pages alone, as cases are; backups and rotation are commands.
    pages_and_commands = ("threshold_", "holds.", "backups.", "rotation.")
    sources = [path for path in sources if not path.name.startswith(pages_and_commands)]
    return {code for source in sources for code in codes_in(ast.parse(source.read_text()))}


def codes_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            at = CODE_AT.get(name, 99)
            given = [*node.args[at : at + 1], *[word.value for word in node.keywords if word.arg == "code"]]
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.arg):
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            value = getattr(node, "value", None)
            given = [value] if value is not None and [getattr(t, "id", "") for t in targets] == ["code"] else []
        elif isinstance(node, ast.FunctionDef):  # def __init__(self, message, code="storage_corrupt")
            named = zip(reversed(node.args.args), reversed(node.args.defaults), strict=False)
            given = [default for argument, default in named if argument.arg == "code"]
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and len(node.value.elts) == 4:
            given = [node.value.elts[1]]  # api_errors.explain: status, code, sentence, fields
        else:
            continue
        for part in given:
            for leaf in ast.walk(part):
                text = getattr(leaf, "value", None) if isinstance(leaf, ast.Constant) else None
                if isinstance(text, str) and re.fullmatch(r"[a-z]+(_[a-z]+)*", text):
                    yield text


def test_guide_lists_every_code_and_no_other() -> None:
    guide = (REPOSITORY / "docs/api.md").read_text()
    listed = [code or of_job for code, of_job in CODE.findall(guide)]
    assert len(listed) == len(set(listed))
    missing = codes_in_source() - set(listed)
    assert not missing, f"docs/api.md does not list {sorted(missing)}"
    invented = set(listed) - codes_in_source() - FROM_ELSEWHERE
    assert not invented, f"docs/api.md lists {sorted(invented)}, which nothing raises"


def test_guide_names_every_address(schema: dict[str, Any]) -> None:
    guide = (REPOSITORY / "docs/api.md").read_text()
    for path in schema["paths"]:
        assert re.sub(r"\{\w+_id\}", "{id}", path) in guide, path
