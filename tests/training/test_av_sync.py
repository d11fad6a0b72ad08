"""Fitting lips to sound: a made-up world in which the sound fixes the lips, shifts, swaps, and folds without leaks."""

from __future__ import annotations

import copy
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from detection.engine import media
from detection.engine.branches import av_sync as served
from detection.engine.branches.av_sync_net import SyncNet
from detection.engine.types import Decoded, Frame, Span
from detection.training import av_sync, av_sync_data, av_sync_fakes
from detection.training.av_sync_data import Talk
from tests.engine import scenes

ROOT = Path(__file__).resolve().parents[2]
CONFIG = tomllib.loads((ROOT / "configs/av_sync.toml").read_text()) | {
    "folds": 2, "inner_folds": 2, "steps": 0, "batch": 8, "shifts_s": [-0.33, 0.21], "swaps": 1,
    "same_source": [["a", "b"]],
}  # fmt: skip
STEP = round(served.STEP_S * served.RATE_HZ)


def hearing(samples: torch.Tensor) -> torch.Tensor:
    """A stand-in encoder whose tokens are the samples themselves."""
    return samples.reshape(len(samples), 50, STEP)[..., :384]


def talk(number: int, source: str, *, seconds: float = 4.0, is_fake: bool = False) -> Talk:
    """Lips that repeat two of the sound's numbers, with noise."""
    rng = np.random.default_rng(number)
    steps = round(seconds / served.STEP_S)
    sound = rng.normal(0, 1, (steps, STEP)).astype(np.float32)
    sound[:, 16:] = 0  # the encoder's other numbers: as few clips can tell
    lips = rng.normal(0, 0.3, (steps, served.FEATURES)).astype(np.float32)
    lips[:, 0] += 2 * sound[:, 5]
    lips[:, 6] += 2 * sound[:, 9]
    made = Talk(f"{number}.mp4", is_fake, "lipsync" if is_fake else "none", "Wav2Lip" if is_fake else "real", source,
                f"person {number}", 0.0, lips, sound.ravel(), (Span(0.0, seconds),))  # fmt: skip
    av_sync_data.hear([made], hearing)
    return made


@pytest.fixture(scope="module")
def world() -> list[Talk]:
    return [talk(i, "abcd"[i % 4]) for i in range(8)] + [talk(20, "c", is_fake=True)]


@pytest.fixture(scope="module")
def net(world: list[Talk]) -> SyncNet:
    return av_sync.fit(world, CONFIG)


def test_the_true_lag_is_found_in_a_clip_that_was_never_seen(net):
    for shift_s in (0.0, 0.2, -0.32):
        stranger = talk(99, "e")
        found = av_sync.lag_scores(net, hearing, stranger, stranger, shift_s)
        match = served.match(found, 0.4)
        assert match.offset_ms == pytest.approx(1000 * shift_s, abs=25)
        assert match.confidence > 0.8


def test_another_persons_sound_fits_worse(world, net):
    own = served.match(av_sync.lag_scores(net, hearing, world[0], world[0], 0.0), 1.0)
    other = served.match(av_sync.lag_scores(net, hearing, world[0], world[1], 0.0), 1.0)
    assert own.lead > 1
    assert own.lead > other.lead + 1


def test_folds_hold_out_whole_sources_and_everyone_in_them(world):
    world = [*world, replace_person(talk(30, "d"), world[0].person)]
    for rest, held in av_sync.left_out(world, 3, CONFIG):
        assert {av_sync.source_of(t, CONFIG) for t in rest}.isdisjoint(av_sync.source_of(t, CONFIG) for t in held)
        assert {t.person for t in rest}.isdisjoint(t.person for t in held)
    assert {t.path for _, held in av_sync.left_out(world, 3, CONFIG) for t in held} == {t.path for t in world}


def replace_person(one: Talk, person: str) -> Talk:
    return replace(one, person=person)


def test_the_report_tells_step_from_shift_and_swap(world):
    nets = av_sync.cross_validate(world, CONFIG)
    trials = list(av_sync.try_all(world, nets, hearing, CONFIG))
    figures, calibration = av_sync.report(trials, CONFIG)
    assert figures["clips"] == {"real": 8, "driven fakes": 1, "sources of real": 3}
    assert {t.kind for t in trials} == {"in step", "shifted", "swapped", "lipsync"}
    assert figures["shifted"]["auroc"] > 0.85
    assert figures["swapped"]["auroc"] > 0.85
    assert figures["offset"]["mean_error_ms"] < 40
    assert calibration["temperature"] > 0


def test_attention_learns_by_gradient(world, net):
    net = copy.deepcopy(net)
    before = {name: value.clone() for name, value in net.matcher.state_dict().items()}
    clips = [(t, *av_sync.tokens_of(net, t)) for t in world]
    av_sync.train_attention(net, clips, CONFIG | {"steps": 2})
    assert any(not torch.equal(before[name], value) for name, value in net.matcher.state_dict().items())


def test_the_served_net_runs_what_was_fitted(world, net):
    """From a row of samples and lips, the assembled net gives the scores that the trainer measured."""
    net = copy.deepcopy(net)
    net.hearing = torch.nn.Identity()
    net.hearing.forward = hearing
    window = served.LipWindow(1.0, world[0].lips[25:50])
    row = torch.from_numpy(served.row_of(world[0].audio, window))[None]
    with torch.inference_mode():
        found = net(row)["logit"].numpy()
    measured = av_sync.lag_scores(
        net, hearing, replace(world[0], lips=world[0].lips[25:50], lips_from_s=1.0), world[0], 0.0
    )
    assert found == pytest.approx(measured, abs=1e-4)
    assert int(found.argmax()) == served.IN_STEP


def clip(seconds: float = 3.0, hz: float = 300.0) -> Decoded:
    """A click a second, at the moment when the picture turns white."""
    count = round(seconds * 25)
    images = [np.full((64, 64, 3), 255 if i % 25 == 12 else 20, np.uint8) for i in range(count)]
    times = np.arange(round(seconds * 16_000)) / 16_000
    sound = (0.4 * np.sin(2 * np.pi * hz * times) * ((times % 1 >= 0.48) & (times % 1 < 0.52))).astype(np.float32)
    info = replace(scenes.info("video"), fps=25.0)
    return Decoded(info, tuple(Frame(i, i / 25, image) for i, image in enumerate(images)), sound)


def lateness_s(found: Decoded) -> float:
    """By how much the first click follows the first white frame."""
    white = next(f.time_s for f in found.frames if f.image.mean() > 150)
    loud = np.flatnonzero(np.abs(found.audio) > 0.1) / 16_000
    return float(loud[loud > white - 0.45].min() - white)


@pytest.mark.parametrize("by_s", [-0.4, -0.12, 0.0, 0.2, 0.4])
def test_sound_is_shifted_by_what_was_asked(by_s):
    moved = av_sync_fakes.shift_sound(clip(), by_s)
    assert lateness_s(moved) == pytest.approx(by_s, abs=0.005)
    assert len(moved.audio) / 16_000 == pytest.approx(len(moved.frames) / 25, abs=0.05)
    assert len(moved.frames) == pytest.approx(75 - abs(by_s) * 25, abs=1)


def test_another_sound_is_cut_to_the_picture():
    swapped = av_sync_fakes.swap_sound(clip(3.0), clip(2.0, hz=900.0))
    assert len(swapped.frames) == 50
    assert len(swapped.audio) == 32_000
    with pytest.raises(ValueError, match="picture and sound"):
        av_sync_fakes.swap_sound(clip(), replace(clip(), audio=None))
    with pytest.raises(ValueError, match="nothing is left"):
        av_sync_fakes.shift_sound(clip(1.0), 1.5)


def test_a_written_shift_survives_coding(tmp_path):
    source, out = tmp_path / "honest.mp4", tmp_path / "late.mp4"
    av_sync_fakes.write(clip(), source)
    av_sync_fakes.make(source, out, shift_s=0.2)
    read = [media.decode(p, plan=media.DecodePlan(rate_hz=25, max_windows=50)) for p in (source, out)]
    assert lateness_s(read[0]) == pytest.approx(0.0, abs=0.06)
    assert lateness_s(read[1]) - lateness_s(read[0]) == pytest.approx(0.2, abs=0.045)
