"""Static files: names carry hashes, and modules import each other by those names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from deepfake.staticfiles import collect_if_changed

IMPORT = re.compile(r"""^\s*(?:import|export)\b[^'"]*?from\s*["']([^"']+)["']|^\s*import\s*["']([^"']+)["']""", re.M)
HASHED = re.compile(r"\.[0-9a-f]{12}\.(js|css)$")


@pytest.fixture
def collected(tmp_path: Path, settings: Any) -> Path:
    settings.STATIC_ROOT = tmp_path / "static"
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "deepfake.staticfiles.HashedStaticFilesStorage"},
    }
    assert collect_if_changed() is True
    assert collect_if_changed() is False
    return tmp_path / "static"


def test_modules_import_hashed_names_that_exist(collected: Path) -> None:
    modules = [path for path in (collected / "js").rglob("*.js") if HASHED.search(path.name)]
    assert modules
    for module in modules:
        for found in IMPORT.finditer(module.read_text()):
            target = found[1] or found[2]
            assert HASHED.search(target), f"{module.name} imports {target} without its hash"
            assert (module.parent / target).resolve().exists() or (collected / target.lstrip("/")).exists(), target


def test_styles_refer_to_hashed_names(collected: Path) -> None:
    styles = [path for path in (collected / "css").rglob("*.css") if HASHED.search(path.name)]
    assert styles
    for style in styles:
        for target in re.findall(r"@import\s+url\([\"']?([^\"')]+)", style.read_text()):
            assert HASHED.search(target), f"{style.name} imports {target} without its hash"
