"""train: what it asks of its arguments, and the record it leaves."""

from __future__ import annotations

import json
import tomllib
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from detection.training import architectures, custom
from tests.training.test_custom import SPEECH, speech_manifest

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "configs" / "examples").glob("*.toml"))


def configured(path: Path, **changes: Any) -> Path:
    lines = [f"{key} = {json.dumps(value)}" for key, value in {**SPEECH, **changes}.items() if key != "settings"]
    path.write_text("\n".join(lines) + "\n[settings]\nwidth = 8\ndropout = 0.0\n")
    return path


def trained(tmp_path: Path, *extra: str, branch: str = "custom", **changes: Any) -> dict[str, Any]:
    manifest = speech_manifest(tmp_path / "data", per_split=4)
    config, out, said = configured(tmp_path / "c.toml", **changes), tmp_path / "run", StringIO()
    words = ["train", branch, "--config", str(config), "--data", str(manifest), "--out", str(out), *extra]
    call_command(*words, stdout=said)
    return dict(json.loads(said.getvalue()))


def test_a_custom_net_is_trained_recorded_and_ready_to_score(tmp_path):
    result = trained(tmp_path, epochs=2, steps=2, batch=4)
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert record["status"] == "finished"
    assert [entry["epoch"] for entry in record["epochs"]] == [1, 2]
    assert record["result"]["test"]["auroc"] == result["test"]["auroc"]
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == result
    assert custom.load_run(tmp_path / "run") is not None


def test_a_failed_run_says_why_and_is_recorded(tmp_path):
    with pytest.raises(CommandError, match="no architecture called 'resnet1'"):
        trained(tmp_path, architecture="resnet1")
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert (record["status"], record["error"][:10]) == ("failed", "ValueError")


def test_pretrained_without_a_connection_says_what_to_do(tmp_path, monkeypatch):
    import timm

    def unreachable(*_: Any, **options: Any) -> Any:
        if options.get("pretrained"):
            raise OSError("no route to the hub")
        return real(*_, **options)

    real = timm.create_model
    monkeypatch.setattr(timm, "create_model", unreachable)
    from tests.training.test_custom import picture_manifest

    config = tmp_path / "c.toml"
    config.write_text('architecture = "timm:resnet10t"\nsize = 64\n')
    manifest = picture_manifest(tmp_path / "pictures")
    words = ["train", "custom", "--config", str(config), "--data", str(manifest), "--out", str(tmp_path / "run")]
    with pytest.raises(CommandError, match=r"resnet10t could not be fetched \(no route to the hub\)"):
        call_command(*words, "--pretrained")


def test_pretrained_is_refused_where_no_hub_has_weights(tmp_path):
    with pytest.raises(CommandError, match="audio has no hub weights"):
        trained(tmp_path, "--pretrained", branch="audio")


@pytest.mark.parametrize("branch", ["nothing", "metrics", "../spatial"])
def test_only_trainers_train(branch, tmp_path):
    with pytest.raises(CommandError, match="no trainer"):
        trained(tmp_path, branch=branch)


def test_a_configuration_that_is_no_toml_is_named(tmp_path):
    config = tmp_path / "broken.toml"
    config.write_text("seed =")
    manifest = speech_manifest(tmp_path / "data", per_split=2)
    with pytest.raises(CommandError, match=r"broken\.toml is no TOML"):
        call_command("train", "custom", "--config", str(config), "--data", str(manifest))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_configure_nets_that_exist(path):
    config = custom.checked(tomllib.loads(path.read_text()))
    assert custom.contract_of(config).task in ("image", "video", "audio")
    assert config["architecture"] in architectures.ARCHITECTURES


def test_there_are_examples_for_every_task():
    tasks = {architectures.get(tomllib.loads(path.read_text())["architecture"]).task for path in EXAMPLES}
    assert tasks == {"image", "video", "audio"}
