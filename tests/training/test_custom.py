"""The generic trainer: it learns, goes on after a kill as if there had been none, and refuses nonsense."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import soundfile
import torch

from detection.training import architectures, custom, custom_data, records
from detection.training.custom_data import Draw, Item, Loader

SPEECH: dict[str, Any] = {
    "seed": 3, "architecture": "lcnn", "size": 8000, "epochs": 3, "steps": 6, "batch": 8, "learning_rate": 5e-3,
    "warm_up": 2, "wear": 0.0, "ema": 0.8, "settings": {"width": 8, "dropout": 0.0},
}  # fmt: skip


def speech_manifest(folder: Path, per_split: int = 8) -> Path:
    """Noise; fakes hum at 3 kHz."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for split in ("train", "calibration", "test"):
        for number in range(per_split):
            is_fake = number % 2 == 1
            t = np.arange(9000) / 16_000
            sound = rng.normal(0, 0.05, 9000) + is_fake * 0.05 * np.sin(2 * np.pi * 3000 * t)
            name = f"{split}{number}.wav"
            soundfile.write(folder / name, sound.astype(np.float32), 16_000)
            label = "fake" if is_fake else "real"
            rows.append({"path": name, "label": label, "split": split, "source_repo": f"s{split}", "method": "hum"})
    return _write(folder / "manifest.csv", rows)


def picture_manifest(folder: Path, size: int = 40) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for split in ("train", "calibration", "test"):
        for number in range(4):
            image = rng.integers(0, 255, (size, size + 8, 3)).astype(np.uint8)
            cv2.imwrite(str(folder / f"{split}{number}.png"), image)
            rows.append({"path": f"{split}{number}.png", "label": ("real", "fake")[number % 2], "split": split})
    return _write(folder / "manifest.csv", rows)


def _write(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def states(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / "last.pt", weights_only=True)["net"]


def run(out: Path, manifest: Path, **changes: Any) -> dict[str, Any]:
    out.mkdir(exist_ok=True)
    return custom.train({**SPEECH, **changes}, [manifest], out)


def test_it_learns_what_tells_fakes_on_sources_left_out(tmp_path):
    result = run(tmp_path / "run", speech_manifest(tmp_path / "data"), epochs=5, steps=8)
    assert result["test"]["auroc"] >= 0.9
    assert (result["test"]["n_real"], result["test"]["n_fake"]) == (4, 4)
    assert result["items"] == {
        f"{split}/{label}": 4 for split in ("calibration", "test", "train") for label in ("fake", "real")
    }
    assert result["test"]["auroc_by_method"] == {"hum": result["test"]["auroc"]}


def test_a_run_that_was_killed_between_epochs_ends_as_if_it_had_not_been(tmp_path, monkeypatch):
    manifest = speech_manifest(tmp_path / "data")
    run(tmp_path / "whole", manifest, hard_mining=1.0)
    real_step, taken = custom._Run._one_step, []

    def killed(self: custom._Run, *args: Any) -> float:
        taken.append(1)
        if len(taken) > SPEECH["steps"] + 2:  # in the midst of the second epoch
            raise KeyboardInterrupt
        return real_step(self, *args)

    monkeypatch.setattr(custom._Run, "_one_step", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", manifest, hard_mining=1.0)
    monkeypatch.setattr(custom._Run, "_one_step", real_step)
    result = run(tmp_path / "cut", manifest, hard_mining=1.0)
    assert [entry["epoch"] for entry in result["epochs"]] == [1, 2, 3]
    whole, cut = states(tmp_path / "whole"), states(tmp_path / "cut")
    assert all(torch.equal(whole[key], cut[key]) for key in whole)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    manifest = speech_manifest(tmp_path / "data")
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        run(tmp_path / name, manifest, epochs=1, steps=2, seed=seed)
    a, b, c = (states(tmp_path / name)["head.weight"] for name in "abc")
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "focal"},
        {"loss": "am-softmax"},
        {"loss": "oc-softmax"},
        {"label_smoothing": 0.1, "mixup": 0.4},
        {"cutmix": 1.0},
        {"sam": 0.05},
        {"curriculum_epochs": 2, "wear": 1.0},
    ],
    ids=lambda changes: next(iter(changes)) + str(next(iter(changes.values()))),
)
def test_every_option_trains(changes, tmp_path):
    result = run(tmp_path / "run", speech_manifest(tmp_path / "data"), epochs=2, steps=4, **changes)
    assert np.isfinite([entry["loss"] for entry in result["epochs"]]).all()
    again = custom.load_run(tmp_path / "run")
    assert again(torch.randn(2, 8000) * 0.1)["logit"].isfinite().all()


def test_epochs_reach_the_record(tmp_path):
    manifest = speech_manifest(tmp_path / "data")
    with records.record("train", "custom", SPEECH, [manifest], tmp_path / "run"):
        run(tmp_path / "run", manifest, epochs=2, steps=1)
    kept = json.loads((tmp_path / "run" / "record.json").read_text())
    assert [set(entry) for entry in kept["epochs"]] == [{"epoch", "loss", "auroc", "eer"}] * 2


def test_a_run_of_another_net_is_not_overwritten(tmp_path):
    manifest = speech_manifest(tmp_path / "data")
    run(tmp_path / "run", manifest, epochs=1, steps=1)
    with pytest.raises(ValueError, match="another net"):
        run(tmp_path / "run", manifest, epochs=1, steps=1, settings={"width": 12})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": "resnet1"}, "no architecture called 'resnet1'"),
        ({"loss": "hinge"}, "no loss called 'hinge'"),
        ({"loss": "oc-softmax", "mixup": 0.2}, "takes whole labels"),
        ({"learning_rat": 1}, "not known: learning_rat"),
        ({"settings": {"depth": 3}}, "does not take these settings"),
    ],
)
def test_nonsense_is_refused_with_its_name(changes, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        run(tmp_path / "run", speech_manifest(tmp_path / "data"), **changes)


def test_a_manifest_without_fakes_is_refused(tmp_path):
    manifest = speech_manifest(tmp_path / "data")
    manifest.write_text(manifest.read_text().replace(",fake,", ",real,"))
    with pytest.raises(ValueError, match="no real and fake audio files"):
        run(tmp_path / "run", manifest)


def test_pictures_are_squared_and_scaled_as_the_net_asks(tmp_path):
    manifest = picture_manifest(tmp_path / "data")
    item = custom_data.read_items([manifest], "image")[0]
    image = cv2.imread(str(item.path))
    for name, expected in (("meso4", image[..., ::-1] / 255.0), ("minifasnet-v2", image.astype(float))):
        loader = Loader(architectures.resized(architectures.get(name), 40, None))
        batch = loader.batch([loader(item)])
        assert batch.shape == (1, 3, 40, 40)
        square = expected[:, 4:44]
        assert batch[0].numpy().transpose(1, 2, 0) == pytest.approx(square, abs=1e-4)


def test_a_short_clip_repeats_its_last_frame(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(5):
            picture = np.full((48, 64, 3), 40 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    loader = Loader(architectures.resized(architectures.get("slowfast"), 32, 8), frame_step=1)
    clip = loader(Item(path, False, "train", "", "", ""))
    assert clip.shape == (8, 32, 32, 3)
    assert clip.mean(axis=(1, 2, 3)) == pytest.approx([0, 40, 80, 120, 160, 160, 160, 160], abs=6)
    assert loader.batch([clip]).shape == (1, 8, 3, 32, 32)


def draw_of(sizes: dict[tuple[str, bool], int], power: float, hardness: float = 0.0) -> Draw:
    items = [Item(Path(f"{s}{n}"), f, "train", s, "", "") for (s, f), count in sizes.items() for n in range(count)]
    return Draw(items, power, hardness)


def test_small_sources_are_heard_as_often_as_large_ones():
    draw = draw_of({("big", False): 90, ("small", False): 10, ("x", True): 100}, power=1.0)
    chosen = [draw.items[i] for i in draw.indices(4000, np.random.default_rng(0))]
    reals = [item.source for item in chosen if not item.is_fake]
    assert len(reals) == 2000
    assert reals.count("small") / len(reals) == pytest.approx(0.5, abs=0.05)


def test_what_is_judged_wrongly_comes_more_often():
    draw = draw_of({("a", False): 2, ("b", True): 2}, power=0.0, hardness=3.0)
    for _ in range(5):
        draw.learnt([0, 1], [4.0, 0.01])
    chosen = draw.indices(4000, np.random.default_rng(0))
    assert chosen.count(0) / chosen.count(1) == pytest.approx(4.0, rel=0.15)
