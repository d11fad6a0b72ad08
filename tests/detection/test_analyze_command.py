"""`manage.py analyze`: the contract of the command."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from tests.engine.scenes import ASTRONAUT


def analyze(*arguments: str) -> str:
    out = StringIO()
    call_command("analyze", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_prints_json_and_writes_the_same_with_artifacts(tmp_path: Path) -> None:
    printed = json.loads(analyze(str(ASTRONAUT), "--json", "--save-heatmaps", "--output-dir", str(tmp_path)))
    assert printed == json.loads((tmp_path / "result.json").read_text())
    assert printed["label"] in ("real", "fake", "inconclusive")
    kinds = {a["kind"] for a in printed["artifacts"]}
    assert "frequency_heatmap" in kinds
    for artifact in printed["artifacts"]:
        assert (tmp_path / artifact["path"]).is_file()


def test_prints_words_and_writes_into_the_data_folder() -> None:
    printed = analyze(str(ASTRONAUT))
    assert printed.startswith("Verdict: ")
    assert "provenance" in printed
    (result,) = Path(settings.DATA_DIR).glob("analyses/astronaut-*/result.json")
    assert {a["kind"] for a in json.loads(result.read_text())["artifacts"]} == {"face"}


def test_one_model_alone(tmp_path: Path) -> None:
    printed = json.loads(analyze(str(ASTRONAUT), "--json", "--model", "provenance", "--output-dir", str(tmp_path)))
    assert [b["branch"] for b in printed["per_branch"]] == ["provenance"]
    assert printed["abstain_reason"] == "too_little_evidence"


def test_unknown_model_names_the_choices(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="choose from"):
        analyze(str(ASTRONAUT), "--model", "xception", "--output-dir", str(tmp_path))


def test_missing_and_broken_files_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="There is no file"):
        analyze(str(tmp_path / "nothing.jpg"))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypmp42" + b"\0" * 100)
    with pytest.raises(CommandError, match="media_unreadable"):
        analyze(str(broken))
