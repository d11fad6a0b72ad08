"""Imports run one way, the engine stands alone, and serving never loads torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

CELLAR = {
    "errors",
    "mails",
    "api_errors",
    "storage",
    "loop",
    "keys",
    "request_id",
    "environment",
    "pagination",
    "parsers",
    "reader_zone",
    "signing",
    "caller",
    "logs",
    "tracing",
    "rate_limits",
    "quarantine",
    "master_keys",
    "sealing",
    "sealed_fields",
    "log_privacy",
    "admin_site",
}
# Floor by floor: who may be imported from where. A room of a later floor joins here.
BELOW = {
    "accounts": set(),
    "detection": {"accounts"},
    "review": {"accounts", "detection"},
    "reports": {"accounts", "detection", "review"},
}
# What an app shows to the apps above it.
PUBLIC = {
    "accounts": {"models", "services", "signals", "audit", "audit_words", "authentication", "permissions"}
    | {"data_requests", "consent", "api_keys", "settings_nav"},
    "detection": {"models", "services", "signals", "engine", "webhooks", "cards", "forms", "words"} | {"api_limits"},
    "review": {"models", "services", "signals", "words"},
    "reports": {"models", "services", "signals"},
}  # fmt: skip


def python_files(folder: str) -> list[Path]:
    return [
        path
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "__pycache__" not in path.parts and "migrations" not in path.parts
    ]


def imports(path: Path, *, anywhere: bool = True) -> Iterator[str]:
    """Dotted names that a file imports, `from a import b` as "a.b"; without `anywhere` only at module level."""
    tree = ast.parse(path.read_text())
    nodes = list(ast.walk(tree)) if anywhere else list(_at_import_time(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _at_import_time(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _at_import_time(child)


@pytest.mark.parametrize("app", list(BELOW))
def test_apps_import_only_downwards_and_only_public_modules(app: str) -> None:
    wrong = []
    for path in python_files(app):
        for name in imports(path):
            other, _, rest = name.partition(".")
            if other not in BELOW or other == app:
                continue
            if other not in BELOW[app] or rest.split(".")[0] not in PUBLIC[other]:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


@pytest.mark.parametrize("app", list(BELOW))
def test_apps_use_only_the_cellar_of_the_house(app: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in python_files(app)
        for name in imports(path)
        if name.startswith("deepfake.") and name.split(".")[1] not in CELLAR
    ]
    assert wrong == []


def test_cellar_imports_no_app() -> None:
    wrong = [
        f"deepfake/{module}.py imports {name}"
        for module in sorted(CELLAR)
        for name in imports(ROOT / "deepfake" / f"{module}.py")
        if name.split(".")[0] in BELOW
    ]
    assert wrong == []


def test_engine_knows_no_django_and_no_torch_until_asked() -> None:
    """Layers lie inside build() or in a file of their own, branches/<name>_net.py, which only build() imports."""
    wrong = []
    for path in python_files("detection/engine"):
        for name in imports(path):
            if name.split(".")[0] in {"django", "rest_framework", "channels", "deepfake", "accounts"}:
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
        if path.stem.endswith("_net") or path.stem == "torch_compat":
            continue
        for name in imports(path, anywhere=False):
            if name.split(".")[-1].endswith("_net"):
                wrong.append(f"{path.relative_to(ROOT)} imports {name} at module level")
            if name.split(".")[0] in {"torch", "torchvision", "torchaudio", "timm", "silero_vad", "facenet_pytorch"}:
                wrong.append(f"{path.relative_to(ROOT)} imports {name} at module level")
    assert wrong == []


@pytest.mark.parametrize(
    "statement",
    [
        "import detection.engine.pipeline",
        "import django; django.setup(); import deepfake.asgi, detection.jobs, reports.views",
    ],
)
def test_serving_does_not_load_torch(statement: str, tmp_path: Path) -> None:
    code = (
        f"import sys; {statement}; print(sorted(sys.modules.keys() & {{'torch', 'torchvision', 'timm', 'matplotlib'}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"DJANGO_SETTINGS_MODULE": "deepfake.settings", "DATA_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_no_room_for_everything() -> None:
    wrong = [
        str(path.relative_to(ROOT))
        for folder in (*BELOW, "deepfake")
        for path in python_files(folder)
        if path.stem in {"utils", "helpers", "selectors", "misc", "common"}
    ]
    assert wrong == []
