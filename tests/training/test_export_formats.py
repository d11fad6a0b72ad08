"""ONNX and INT8 of a small net: same answers, stated losses, refusals."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from django.core.management import CommandError, call_command

from detection.training import conversion, custom, exporting
from tests.training.test_custom import SPEECH, speech_manifest


class Blobs(torch.nn.Module):
    """Bright pictures are fakes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.head = torch.nn.Linear(8, 1)

    def forward(self, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        maps = torch.relu(self.conv(batch)) + batch.mean(dim=1, keepdim=True)
        return {"logit": self.head(maps.mean(dim=(2, 3)))[:, 0], "embedding": maps.mean(dim=(2, 3))}


def samples(count: int = 12) -> list[conversion.Sample]:
    rng = np.random.default_rng(0)
    return [
        conversion.Sample((rng.normal(0.5 * (n % 2), 1, (2, 3, 16, 16))).astype(np.float32), n % 2 == 1)
        for n in range(count)
    ]


@pytest.fixture
def ir(tmp_path: Path) -> Path:
    exporting.export(Blobs(), torch.randn(2, 3, 16, 16), tmp_path / "blobs", "blobs")
    return tmp_path / "blobs" / "blobs.xml"


def test_onnx_says_the_same_for_batches_of_any_length(tmp_path):
    net = Blobs()
    difference = conversion.to_onnx(net, torch.randn(2, 3, 16, 16), tmp_path / "blobs.onnx")
    assert set(difference) == {"logit", "embedding"}
    assert max(difference.values()) < 1e-4
    five = torch.randn(5, 3, 16, 16)
    found = conversion.onnx_net(tmp_path / "blobs.onnx")(five.numpy())
    with torch.inference_mode():
        assert found["logit"] == pytest.approx(net.eval()(five)["logit"].numpy(), abs=1e-4)


def test_int8_is_quantised_and_its_loss_is_stated(ir, tmp_path):
    pytest.importorskip("nncf", reason="requirements-train.txt")
    path = tmp_path / "blobs-int8.xml"
    conversion.to_int8(ir, samples(), path)
    assert "FakeQuantize" in path.read_text()
    compared = conversion.compare(conversion.openvino_net(ir), conversion.openvino_net(path), samples())
    assert compared["n"] == 12
    assert 0 < compared["logit_drift"]["max"] < 0.5
    assert set(compared["auroc"]) == {"before", "after"}


def test_too_few_files_are_not_quantised(ir, tmp_path):
    pytest.importorskip("nncf", reason="requirements-train.txt")
    with pytest.raises(ValueError, match="at least 8"):
        conversion.to_int8(ir, samples(3), tmp_path / "x.xml")


def test_a_net_that_turned_around_is_seen_in_the_comparison():
    def right(batch: np.ndarray) -> dict[str, np.ndarray]:
        return {"logit": batch.mean(axis=(1, 2, 3)) - 0.25}

    def wrong(batch: np.ndarray) -> dict[str, np.ndarray]:
        return {"logit": 0.25 - batch.mean(axis=(1, 2, 3))}

    compared = conversion.compare(right, wrong, samples())
    assert compared["auroc"] == {"before": 1.0, "after": 0.0}
    assert compared["auroc_change_ci"] == [-1.0, -1.0]
    assert compared["verdicts_changed"] == 12


def test_held_out_files_of_both_classes_are_chosen(tmp_path):
    manifest = speech_manifest(tmp_path / "data")
    files = conversion.chosen_files(manifest, 6)
    assert [is_fake for _, is_fake in files] == [False] * 3 + [True] * 3
    assert not any(path.name.startswith("train") for path, _ in files)


def exported(*words: str) -> dict[str, Any]:
    said = StringIO()
    call_command("export", *words, stdout=said)
    return dict(json.loads(said.getvalue()))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    result = custom.train({**SPEECH, "epochs": 1, "steps": 2}, [speech_manifest(tmp_path / "data")], folder)
    (folder / "run.json").write_text(json.dumps(result))
    return folder


def test_the_command_exports_a_custom_run_in_three_formats(run, tmp_path):
    pytest.importorskip("nncf", reason="requirements-train.txt")
    nets, manifest = str(tmp_path / "nets"), str(tmp_path / "data" / "manifest.csv")
    entry = exported("custom", "--run", str(run), "--weights-dir", nets)
    assert entry["max_difference"]["logit"] < 0.05
    assert (tmp_path / "nets" / "custom-lcnn" / "custom-lcnn.xml").is_file()
    for name, ending in (("onnx", "custom-lcnn.onnx"), ("int8", "custom-lcnn-int8.xml")):
        said = exported(
            "custom", "--run", str(run), "--weights-dir", nets, "--format", name, "--manifest", manifest,
            "--samples", "12", "--out", str(tmp_path / "out"),
        )  # fmt: skip
        assert Path(said["file"]) == tmp_path / "out" / ending
        assert Path(said["file"]).is_file()
        assert said["bytes"]["this"] > 0
        assert said["compared"]["n"] == 12
        assert said["compared"]["logit_drift"]["mean"] < 1.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["spatial"], "Name the finished run"),
        (["spatial", "--format", "int8"], "name a --manifest"),
        (["spatial", "--run", "/nowhere"], "Train first"),
        (["spatial", "--format", "int8", "--manifest", "/nowhere.csv"], "does not exist"),
        (["fusion", "--format", "onnx"], "no branch called 'fusion'"),
    ],
)
def test_what_cannot_be_done_is_said(words, said):
    with pytest.raises(CommandError, match=said):
        call_command("export", *words)


def test_a_manifest_that_gives_no_sample_is_refused(tmp_path):
    (tmp_path / "m.csv").write_text("path,label,source_repo,split\na.jpg,real,a,test\nb.jpg,fake,b,test\n")
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"no picture")
    with pytest.raises(CommandError, match=r"gave no sample for frequency: [012] held-out files were tried"):
        call_command("export", "frequency", "--format", "onnx", "--manifest", str(tmp_path / "m.csv"))
