"""Models of others are checked, named when missing, and fetched once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from detection.engine import third_party
from detection.engine.errors import WeightsInvalid


@pytest.mark.parametrize("name", [*third_party.MODELS, *third_party.MTCNN_SOURCES])
def test_every_model_loads(name):
    assert third_party.load(name).names


def test_nothing_is_fetched_when_all_is_there(monkeypatch):
    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError("set-up went out for what was there")

    monkeypatch.setattr(subprocess, "run", fail)
    assert third_party.install() == []


def test_an_unreachable_index_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(third_party, "FOLDER", tmp_path / "models")
    unreachable = subprocess.CompletedProcess([], 1, stdout="", stderr="ERROR: no route to host")
    monkeypatch.setattr(subprocess, "run", lambda *args, **kwargs: unreachable)
    with pytest.raises(WeightsInvalid, match=r"no route to host.*make setup"):
        third_party.install()


def test_an_altered_model_is_replaced_or_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(third_party, "FOLDER", tmp_path)
    model = third_party.MODELS["voice_activity"]
    model.path.write_bytes(b"altered")
    with pytest.raises(WeightsInvalid, match="altered"):
        third_party.load("voice_activity")
    with pytest.raises(WeightsInvalid, match="expected"):
        third_party._write(model, b"something else")


def test_serving_never_imports_torch():
    modules = "media, faces, voice, windows, sandbox, third_party"
    script = f"import sys; from detection.engine import {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
