"""The speech trainer: reads a manifest, keeps sources apart, learns a difference in seconds, exports what it learnt."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from detection.engine.branches import audio_net
from detection.training import audio, audio_augment, audio_baselines, audio_features, audio_head
from detection.training.audio_features import Clip

RATE_HZ = 16_000


@pytest.fixture(autouse=True)
def random_encoder(monkeypatch):
    """A small random encoder in place of the packaged one, which a machine that only serves does not have."""
    import torch

    torch.manual_seed(0)
    encoder = audio_net.PairEncoder().eval().requires_grad_(False)
    monkeypatch.setattr(audio, "load_pair", lambda: encoder)


def buzz(pitch_hz: float, is_fake: bool, seed: int, seconds: float = 1.2) -> np.ndarray:
    """A voice-like buzz in syllables; the fake one has a perfectly steady pitch and no breath."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    wobble = 0 if is_fake else np.cumsum(rng.standard_normal(len(t))) * 0.02
    breath = 0 if is_fake else 0.05 * rng.standard_normal(len(t))
    tone = sum(np.sin(k * 2 * np.pi * pitch_hz * t + k * wobble) / k for k in range(1, 12))
    return ((tone * (1.1 + np.sin(2 * np.pi * 4 * t)) + breath) * 0.1).astype(np.float32)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = []
    for number in range(12):
        is_fake = number % 2 == 1
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, buzz(90 + 12 * number, is_fake, number), RATE_HZ)
        source = number // 3
        rows.append([path.name, *(("fake", f"system{source}") if is_fake else ("real", "real")), f"source{source}"])
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "label", "system", "source_repo"], *rows])
    return tmp_path / "manifest.csv"


CONFIG = {
    "seed": 0, "penalties": {"c": 0.01}, "learn_channels": ["g711"], "source_power": 0.5,
    "kind_weight": {}, "learn_only": ["copy"], "folds": 2, "partitions": 1, "test_channels": ["mp3-48"],
}  # fmt: skip
PLAIN = {**CONFIG, "learn_channels": [], "test_channels": []}


def test_training_learns_a_handful_of_clips_and_exports_the_same_net(manifest, tmp_path):
    record = audio.train(CONFIG, [manifest], tmp_path / "run")
    entry = audio.export(tmp_path / "run", tmp_path / "weights")

    assert record["clips"] == {"real": 6, "fake": 6}
    assert set(record["baselines"]) >= {"30 simple features", "outer silence", "log-mel statistics"}
    assert entry["max_difference"]["logit"] < 0.02
    assert (tmp_path / "weights" / entry["files"]["openvino"][0][0]).is_file()

    import torch

    net = audio_net.SpeechNet()
    net.load_state_dict(torch.load(tmp_path / "run" / "speech.pt", weights_only=True))
    clips = audio_features.read_manifests([manifest])
    windows = torch.from_numpy(np.stack([audio_features.window(audio_features.load(c.path)) for c in clips]))
    with torch.inference_mode():
        logits = net.eval()(windows)["logit"].numpy()
    fake = np.array([c.is_fake for c in clips])
    assert logits[fake].min() > logits[~fake].max()


def test_the_saved_net_shares_the_say_out_as_its_heads_were_judged(manifest, tmp_path):
    import torch

    clips = audio_features.read_manifests([manifest])
    material = audio._material(CONFIG, clips, tmp_path)
    audio._save_net(CONFIG, material, tmp_path / "speech.pt")
    net = audio_net.SpeechNet()
    net.load_state_dict(torch.load(tmp_path / "speech.pt", weights_only=True))
    head = audio._fit(CONFIG, material, np.arange(len(clips)))
    assert head.weight.shape == (2, audio_net.FEATURES)
    assert audio_net.CHANNELS > 2  # so that a head without a channel must stay silent
    for view, change in ((material.clean, lambda x: x), (material.channels["g711"], audio_augment.g711)):
        windows = [audio_features.window(change(audio_features.load(clip.path))) for clip in clips]
        with torch.inference_mode():
            logits = net.eval()(torch.from_numpy(np.stack(windows)))["logit"].numpy()
        np.testing.assert_allclose(logits, head(view), atol=1e-2)


def test_held_out_logits_are_written_for_every_clip(manifest, tmp_path):
    audio.train(PLAIN, [manifest], tmp_path / "run")
    rows = list(csv.DictReader((tmp_path / "run" / "oof.csv").open()))
    assert len(rows) == 12
    assert rows[0]["path"] == f"{tmp_path.name}/0.wav"
    assert {row["split"] for row in rows} <= {"train", "calibration", "test"}
    assert all(np.isfinite(float(row["logit"])) for row in rows)


def test_fakes_made_for_training_are_learnt_from_but_never_counted(manifest, tmp_path):
    lines = manifest.read_text().splitlines()
    kinds = ["kind", *("copy" if line.startswith(("1.", "3.")) else "" for line in lines[1:])]
    manifest.write_text("\n".join(f"{line},{kind}" for line, kind in zip(lines, kinds, strict=True)))
    record = audio.train(PLAIN, [manifest], tmp_path / "run")
    assert record["clips"] == {"real": 6, "fake": 4}
    assert len(list(csv.DictReader((tmp_path / "run" / "oof.csv").open()))) == 10


def test_a_kind_of_weight_nothing_is_not_learnt_from(monkeypatch):
    seen = []
    monkeypatch.setattr(audio_head, "fit", lambda views, y, weights, penalties: seen.append((views, weights)))
    clips = [clip(f"s{n}", "real" if n % 2 else "tts") for n in range(4)] + [
        Clip(Path("x"), "x", True, "s9", "codec9", "codec", "en")
    ]
    material = audio.Material(clips, np.array([1, 0, 1, 0, 1]), np.arange(5, dtype=np.float32)[:, None], {})
    audio._fit({**PLAIN, "kind_weight": {"codec": 0.0}}, material, np.arange(5))
    (features,), weights = seen[0]
    assert features[:, 0].tolist() == [0, 1, 2, 3]
    assert (weights > 0).all()


def heard_twice(n: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Feature 0 is loud in the channel; 1 tells the label of untouched clips, 2 the other way round in the channel."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    clean, changed = (rng.standard_normal((n, 5)).astype(np.float32) for _ in range(2))
    clean[:, 1] += 3 * labels
    changed[:, 0] += 8
    changed[:, 2] -= 3 * labels
    return clean, changed, labels


def test_each_channel_has_a_head_that_the_gate_chooses():
    clean, changed, labels = heard_twice()
    penalties = audio_head.Penalties(c=1.0, gate_c=1.0, gated=1, components=5)
    both = audio_head.fit([clean, changed], labels, np.ones(len(labels)), penalties)
    one = audio_head.fit([clean], labels, np.ones(len(labels)), penalties)
    assert right(both, clean, labels) > 0.9
    assert right(both, changed, labels) > 0.9 > 0.6 > right(one, changed, labels)


def right(head: audio_head.Head, features: np.ndarray, labels: np.ndarray) -> float:
    return float(((head(features) > 0) == (labels == 1)).mean())


def test_an_unsure_gate_listens_to_every_head():
    clean, changed, labels = heard_twice()
    penalties = audio_head.Penalties(c=1.0, gate_c=1.0, gate_softness=1e6, gated=1, components=5)
    head = audio_head.fit([clean, changed], labels, np.ones(len(labels)), penalties)
    standard = (clean - head.mean) * head.scale
    np.testing.assert_allclose(head(clean), standard @ head.weight.mean(0) + head.bias.mean(), atol=1e-3)


def test_more_channels_than_the_net_has_heads_are_refused(manifest, tmp_path):
    channels = ["g711", "mp3-24", "opus-16"]
    assert len(channels) == audio_net.CHANNELS
    with pytest.raises(ValueError, match="room for 2"):
        audio.train({**PLAIN, "learn_channels": channels}, [manifest], tmp_path / "run")


def test_a_synthesizer_of_many_clips_does_not_decide():
    clips = [clip("a", "big")] * 9 + [clip("a", "small")] * 1 + [clip("b", "real")] * 10
    weights = audio_head.source_weights(clips, 0.5, {}, system_power=1.0)
    assert weights[:9].sum() == pytest.approx(weights[9])
    assert weights[:10].sum() == pytest.approx(weights[10:].sum())


def clip(source: str, system: str) -> Clip:
    return Clip(Path("x"), "x", system != "real", source, system, "", "en")


def test_no_source_and_no_system_is_on_both_sides():
    clips = [clip(f"s{n % 7}", f"tts{n % 7 // 2}" if n % 2 else "real") for n in range(56)]
    fold_of = audio_head.divide(clips, 3, seed=1)
    for fold in range(3):
        learn, judge = audio_head.sides(clips, fold_of, fold)
        assert not {clips[i].source for i in learn} & {clips[i].source for i in judge}
        assert not {clips[i].system for i in learn if clips[i].is_fake} & {clips[i].system for i in judge}


def test_copies_stay_with_their_source_and_are_not_judged():
    clips = [clip(f"s{n % 6}", f"tts{n % 6}" if n % 2 else "real") for n in range(24)]
    copies = [Clip(Path("x"), "x", True, f"s{n}", "griffin_lim", "copy", "en") for n in range(6)]
    fold_of = audio_head.divide(clips + copies, 3, seed=1)
    for fold in range(3):
        learn, judge = audio_head.sides(clips + copies, fold_of, fold, ["copy"])
        assert judge.max() < len(clips)
        assert {i for i in learn if i >= len(clips)} == {24 + n for n in range(6) if fold_of[24 + n] != fold}


def test_large_sources_do_not_decide():
    clips = [clip("big", "real")] * 16 + [clip("small", "real")] * 4 + [clip("big", "a")] * 20
    weights = audio_head.source_weights(clips, 0.5, {})
    assert weights[:16].sum() == pytest.approx(2 * weights[16:20].sum())
    assert weights[:20].sum() == pytest.approx(weights[20:].sum())


def test_too_few_sources_to_leave_any_out_is_said(manifest, tmp_path):
    lines = [line.rsplit(",", 1)[0] + ",one" for line in manifest.read_text().splitlines()]
    manifest.write_text("\n".join([lines[0].replace(",one", ",source_repo"), *lines[1:]]))
    with pytest.raises(ValueError, match="too few sources"):
        audio.train(PLAIN, [manifest], tmp_path / "run")


def test_a_manifest_with_an_unknown_label_is_refused(tmp_path):
    (tmp_path / "m.csv").write_text("path,label\na.wav,maybe\n")
    with pytest.raises(ValueError, match="maybe"):
        audio_features.read_manifests([tmp_path / "m.csv"])


def test_outer_silence_is_cut_and_dc_removed(tmp_path):
    silence = np.zeros(RATE_HZ // 2, np.float32)
    sound = buzz(120, True, 1, 1.0)
    soundfile.write(tmp_path / "a.wav", np.concatenate([silence, sound, silence]) + 0.1, RATE_HZ)
    loaded = audio_features.load(tmp_path / "a.wav")
    assert len(loaded) == pytest.approx(len(sound), abs=RATE_HZ // 10)
    assert audio_baselines.outer_silence(np.concatenate([sound, silence]))[1] == pytest.approx(0.5, abs=0.1)


def test_short_speech_is_repeated_not_padded():
    window = audio_features.window(np.full(9_000, 0.5, np.float32))
    assert window.shape == (32_000,)
    assert window.min() == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize("name", audio_augment.CHANNELS)
def test_a_channel_keeps_length_and_voice(name):
    before = buzz(140, False, 3, 1.0)
    after = audio_augment.apply(name, before, np.random.default_rng(0))
    assert after.shape == before.shape
    assert after.dtype == np.float32
    assert np.corrcoef(before, after)[0, 1] > 0.5
    assert not np.array_equal(before, after)


def test_the_telephone_has_no_treble():
    noise = np.random.default_rng(0).standard_normal(RATE_HZ).astype(np.float32) * 0.1
    spectrum = np.abs(np.fft.rfft(audio_augment.g711(noise)))
    assert spectrum[4500:].mean() < 0.05 * spectrum[:3500].mean()


def test_simple_features_are_thirty():
    assert len(audio_baselines.simple_features(buzz(100, True, 0))) == 30
