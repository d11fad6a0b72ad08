"""Rules of templates and static files: nothing inline, hashed modules, known words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings

from detection import words
from detection.models import Label

ROOT = Path(settings.BASE_DIR)
TEMPLATES = sorted((ROOT / "templates").rglob("*.*"))
STYLES = sorted(path for path in (ROOT / "static/css").rglob("*.css") if path.name not in ("tokens.css", "report.css"))
MODULES = sorted((ROOT / "static/js").glob("*.js"))


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_hold_no_inline_style_or_script(path):
    text = path.read_text()
    assert not re.search(r"\sstyle\s*=", text)
    assert "<style" not in text
    assert not re.search(r"\son[a-z]+\s*=\s*[\"']", text)
    for tag in re.findall(r"<script[^>]*>", text):
        assert "src=" in tag


@pytest.mark.parametrize("path", STYLES, ids=lambda path: path.name)
def test_colours_come_from_the_tokens(path):
    allowed = {"#ff8274", "#f4c466", "#7adba8"}  # boxes lie on the picture, which is dark in both themes
    found = set(re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[;\s])", path.read_text()))
    assert found <= allowed


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_import_so_that_hashing_sees_it(path):
    text = path.read_text()
    for line in re.findall(r"^import .*$", text, re.MULTILINE):
        assert re.fullmatch(r'import \{[^}]+\} from "\./[a-z]+\.js";', line), line
    assert "eval(" not in text
    assert path.name == "main.js" or "export function " in text


def test_hashed_modules_import_hashed_modules(tmp_path, settings):
    from django.core.management import call_command

    settings.STATIC_ROOT = tmp_path
    settings.STORAGES = settings.STORAGES | {
        "staticfiles": {"BACKEND": "deepfake.staticfiles.HashedStaticFilesStorage"}
    }
    call_command("collectstatic", interactive=False, verbosity=0)
    main = next(path for path in (tmp_path / "js").glob("main.*.js"))
    imports = re.findall(r'from "(\./[^"]+)"', main.read_text())
    assert len(imports) >= 5
    for name in imports:
        assert re.fullmatch(r"\./[a-z]+\.[0-9a-f]{12}\.js", name)
        assert (tmp_path / "js" / name).exists()


def test_every_label_and_icon_has_its_words():
    assert set(words.NEXT_STEPS) == set(Label.values)
    sprite = (ROOT / "static/img/icons.svg").read_text()
    used = {"fake", "real", "inconclusive", *words.SIGNALS, *(icon for _, icon in words.PROVENANCE_STATES.values())}
    for path in TEMPLATES:
        used |= set(re.findall(r'{% icon "([a-z]+)"', path.read_text()))
    for name in used:
        assert f'id="{name}"' in sprite, name


@pytest.mark.parametrize("kind", ["image", "video", "audio", ""])
def test_the_next_step_fits_the_kind_of_media(kind):
    said = words.next_step("inconclusive", kind)
    assert "{" not in said
    assert ("longer" in said) == (kind in ("video", "audio"))
    assert ("the speaker" in words.next_step("fake", kind)) == (kind == "audio")
    assert ("the person shown" in words.next_step("fake", kind)) == (kind != "audio")


def test_every_branch_is_explained():
    from detection.engine.registry import BRANCHES

    for name in BRANCHES:
        assert words.SIGNALS[name].what
        assert words.SIGNALS[name].fails
