"""import_weights: what it writes, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from django.conf import settings
from django.core.management import CommandError, call_command

from detection.training import architectures, importing
from tests.training.published import made_up, shapes_of


@pytest.fixture
def published(tmp_path: Path) -> Path:
    net = architectures.build("minifasnet-v2")
    path = tmp_path / "2.7_80x80_MiniFASNetV2.pth"
    torch.save({f"module.{key}": value for key, value in made_up(shapes_of(net.state_dict())).items()}, path)
    return path


def imported(path: Path, *extra: str) -> dict[str, Any]:
    said = StringIO()
    call_command(
        "import_weights", str(path), "--layout", "minifasnet-v2", "--licence", "Apache-2.0", *extra, stdout=said
    )
    return dict(json.loads(said.getvalue()))


def test_it_writes_weights_contract_golden_outputs_and_a_card(published):
    said = imported(published)
    folder = Path(said["folder"])
    assert folder == Path(settings.DATA_DIR) / "models" / "minifasnet-v2"
    facts = json.loads((folder / "model.json").read_text())
    assert facts["source_sha256"] == importing.check_digest(published, None)
    assert facts["input"] == {"task": "image", "size": 80, "mean": [0, 0, 0], "std": [1, 1, 1], "bgr": True}
    assert len(facts["golden"]["logit"]) == 2
    card = (folder / "CARD.md").read_text()
    assert "Apache-2.0" in card
    assert facts["source_sha256"] in card
    assert "minivision-ai/Silent-Face-Anti-Spoofing" in card


def test_what_was_imported_can_be_loaded_and_is_checked(published, tmp_path):
    folder = Path(imported(published, "--out", str(tmp_path / "nets"), "--name", "fas")["folder"])
    assert folder == tmp_path / "nets" / "fas"
    net = importing.load_imported(folder)
    with torch.inference_mode():
        assert net(torch.zeros(1, 3, 80, 80))["logit"].isfinite().all()
    facts = json.loads((folder / "model.json").read_text())
    facts["golden"]["logit"][0] = 1.5 * facts["golden"]["logit"][0] + 1
    (folder / "model.json").write_text(json.dumps(facts))
    with pytest.raises(importing.WeightsRejected, match="outputs it gave when it was imported"):
        importing.load_imported(folder)
    (folder / "weights.pt").write_bytes(b"changed")
    with pytest.raises(importing.WeightsRejected, match="expected"):
        importing.load_imported(folder)


def test_another_digest_writes_nothing(published):
    with pytest.raises(CommandError, match="expected ab"):
        imported(published, "--sha256", "ab" * 32)
    assert not (Path(settings.DATA_DIR) / "models").exists()


def test_another_layout_is_refused_with_the_keys_that_do_not_fit(published):
    with pytest.raises(CommandError, match=r"no aasist checkpoint: \d+ missing: pos_S, "):
        call_command("import_weights", str(published), "--layout", "aasist", "--licence", "MIT")


def test_weights_that_overflow_are_refused(tmp_path):
    state = made_up(shapes_of(architectures.build("minifasnet-v2").state_dict()))
    state["linear.weight"] = state["linear.weight"] * 3e38
    torch.save(state, tmp_path / "huge.pth")
    with pytest.raises(CommandError, match="not finite"):
        imported(tmp_path / "huge.pth")


def test_it_may_be_called_with_a_dash():
    root = Path(settings.BASE_DIR)
    done = subprocess.run(
        [sys.executable, "manage.py", "import-weights", "--help"], cwd=root, capture_output=True, text=True, timeout=170
    )
    assert done.returncode == 0, done.stderr
    assert "--sha256" in done.stdout
