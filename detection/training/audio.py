"""Train the speech branch: frozen features, one head, figures from sources left out; then export it."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from detection.engine.branches.audio_net import CHANNELS, EMBEDDING, FEATURES, GATED, RATE_HZ, WINDOW_SAMPLES, SpeechNet
from detection.training import (
    audio_augment,
    audio_baselines,
    audio_features,
    audio_head,
    exporting,
    metrics,
    speech_recordings,
    speech_report,
    splits,
)
from detection.training.audio_features import Clip, Floats
from detection.training.whisper_encoder import load_pair

ALL = 10**9  # components: a baseline is given every direction, as a plain regression has them
NEVER = -30.0  # gate of a channel that is not there


@dataclass(frozen=True, eq=False)
class Material:
    """Clips and what the frozen encoder says of them: untouched, and through channels."""

    clips: list[Clip]
    labels: NDArray[np.int64]
    clean: Floats
    channels: Mapping[str, Floats]

    def take(self, rows: NDArray[np.int64]) -> Material:
        """Return the same of some clips only."""
        return Material(
            clips=[self.clips[i] for i in rows],
            labels=self.labels[rows],
            clean=self.clean[rows],
            channels={name: features[rows] for name, features in self.channels.items()},
        )


def train(config: Mapping[str, Any], data: Sequence[Path], out: Path) -> dict[str, Any]:
    """Fit the head to all clips and write speech.pt, oof.csv and the record to out.

    The shipped head has learnt from every source, so every figure and the calibration come from heads that have not
    seen the source (nor any system of it) they judge.
    """
    torch.set_num_threads(int(config.get("threads", 1)))
    out.mkdir(parents=True, exist_ok=True)
    material = _material(config, audio_features.read_manifests(data), out)
    _save_net(config, material, out / "speech.pt")
    runs = [_cross_validate(config, material, partition) for partition in range(config["partitions"])]
    judged = np.flatnonzero([clip.kind not in config.get("learn_only", ()) for clip in material.clips])
    runs = [{name: logits[judged] for name, logits in run.items()} for run in runs]
    material = material.take(judged)
    oof = runs[0]["clean"]
    weights = audio_head.source_weights(material.clips, 0.5, {})
    temperature, bias = audio_head.calibration(oof, material.labels, weights)
    _write_oof(material, oof, out / "oof.csv")
    record = {
        "config": dict(config),
        "clips": {"real": int((material.labels == 0).sum()), "fake": int((material.labels == 1).sum())},
        "temperature": temperature,
        "bias": bias,
        **speech_report.figures(material.clips, runs, temperature, bias),
        "recordings": speech_recordings.compare(material.clips, oof, seed=config["seed"]),
        "baselines": _baselines(config, material),
    }
    (out / "run.json").write_text(json.dumps(record, indent=2) + "\n")
    return record


def export(run: Path, weights_dir: Path) -> dict[str, Any]:
    """Write audio/audio.{xml,bin,pt} and oof.csv below weights_dir; return what the registry needs."""
    net = SpeechNet()
    net.load_state_dict(torch.load(run / "speech.pt", weights_only=True))
    example = torch.from_numpy(_test_tone())[None].repeat(2, 1)
    record = json.loads((run / "run.json").read_text())
    entry = exporting.export(net, example, weights_dir / "audio", "audio")
    (weights_dir / "audio" / "oof.csv").write_bytes((run / "oof.csv").read_bytes())
    return {**entry, "temperature": record["temperature"], "bias": record["bias"], "input_size": WINDOW_SAMPLES}


def _test_tone() -> Floats:
    t = np.arange(WINDOW_SAMPLES) / RATE_HZ
    return np.asarray(0.1 * np.sin(2 * np.pi * 150 * t) * (1 + np.sin(2 * np.pi * 4 * t)), np.float32)


def _material(config: Mapping[str, Any], clips: list[Clip], out: Path) -> Material:
    if len({clip.is_fake for clip in clips}) < 2:
        raise ValueError("the manifests must hold real and fake clips")
    if len(config["learn_channels"]) >= CHANNELS:
        raise ValueError(f"the net has room for {CHANNELS - 1} channels besides untouched speech")
    encoder = load_pair()
    cache = out / "features"
    cache.mkdir(exist_ok=True)

    def features(name: str, change: Callable[[Floats], Floats]) -> Floats:
        facts = [name, str(config["seed"]), str(FEATURES), *(clip.name for clip in clips)]
        key = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
        path = cache / f"{name}-{key}.npy"
        if not path.exists():
            np.save(path, audio_features.features(encoder, _windows(clips, change)))
        loaded: Floats = np.load(path)
        return loaded

    wanted = {*config["learn_channels"], *config["test_channels"]}
    return Material(
        clips=clips,
        labels=np.array([int(clip.is_fake) for clip in clips]),
        clean=features("clean", lambda samples: samples),
        channels={name: features(name, _through(name, config["seed"])) for name in sorted(wanted)},
    )


def _windows(clips: Sequence[Clip], change: Callable[[Floats], Floats]) -> Iterator[Floats]:
    for clip in clips:
        yield audio_features.window(change(audio_features.load(clip.path)))


def _through(name: str, seed: int) -> Callable[[Floats], Floats]:
    """Return the channel of a name: "g711", a codec and its kbit/s like "mp3-24", or "copy1": one drawn at random."""
    if name == "g711":
        return audio_augment.g711
    if name.startswith("copy"):
        rng = np.random.default_rng(seed + int(name.removeprefix("copy")))
        return lambda samples: audio_augment.random_channel(samples, rng)[0]
    codec, _, kbit = name.partition("-")
    return lambda samples: audio_augment.coded(samples, audio_augment.CODECS[codec], int(kbit) * 1000)


def _fit(config: Mapping[str, Any], material: Material, rows: NDArray[np.int64]) -> audio_head.Head:
    clips = [material.clips[i] for i in rows]
    weights = audio_head.source_weights(
        clips, config["source_power"], config["kind_weight"], config.get("system_power", 0.0)
    )
    known, weights = rows[weights > 0], weights[weights > 0]
    heard = [material.clean, *(material.channels[name] for name in config["learn_channels"])]
    penalties = audio_head.Penalties(**config["penalties"])
    return audio_head.fit([view[known] for view in heard], material.labels[known], weights, penalties)


def _cross_validate(config: Mapping[str, Any], material: Material, partition: int) -> dict[str, Floats]:
    """Return logits per channel, each clip judged by a head that knows neither its source nor its system."""
    fold_of = audio_head.divide(material.clips, config["folds"], partition)
    views = {"clean": material.clean, **{name: material.channels[name] for name in config["test_channels"]}}
    logits = {name: np.zeros(len(material.clips), np.float32) for name in views}
    for fold in range(config["folds"]):
        if not (fold_of == fold).any():
            continue
        learn, judge = audio_head.sides(material.clips, fold_of, fold, config.get("learn_only", ()))
        head = _fit(config, material, learn)
        for name, features in views.items():
            logits[name][judge] = head(features[judge])
    return logits


def _save_net(config: Mapping[str, Any], material: Material, path: Path) -> None:
    head = _fit(config, material, np.arange(len(material.clips)))
    matrix, offset = audio_head.whitening(
        np.concatenate([material.clean, *material.channels.values()])[::6], head, EMBEDDING
    )
    net = SpeechNet()
    net.encoder = load_pair()
    with torch.no_grad():
        net.mean.copy_(torch.from_numpy(head.mean))
        net.scale.copy_(torch.from_numpy(head.scale))
        # Fewer channels than the net has room for: heads that the gate never listens to.
        net.heads.weight.zero_()
        net.heads.bias.zero_()
        net.gate.weight.zero_()
        net.gate.bias.fill_(NEVER)
        net.heads.weight[: len(head.weight)] = torch.from_numpy(head.weight)
        net.heads.bias[: len(head.bias)] = torch.from_numpy(head.bias)
        net.gate.weight[: len(head.gate), : head.gate.shape[1]] = torch.from_numpy(head.gate)
        net.gate.bias[: len(head.gate_bias)] = torch.from_numpy(head.gate_bias)
        net.whitening.weight.zero_()
        net.whitening.bias.zero_()
        net.whitening.weight[: len(matrix)] = torch.from_numpy(matrix)
        net.whitening.bias[: len(offset)] = torch.from_numpy(offset)
    torch.save(net.state_dict(), path)


def _baselines(config: Mapping[str, Any], material: Material) -> dict[str, Any]:
    raw = [audio_features.read_mono(clip.path) for clip in material.clips]
    sets = {
        "file size, length, rate": ([audio_baselines.file_facts(c.path) for c in material.clips], 1.0),
        "outer silence": ([audio_baselines.outer_silence(samples) for samples in raw], 1.0),
        "30 simple features": ([audio_baselines.simple_features(samples) for samples in raw], 0.1),
        "log-mel statistics": (material.clean[:, :GATED], config["penalties"]["c"]),
        "linear probe on the encoders": (material.clean[:, GATED:], 0.001),
    }
    plain = {**config, "kind_weight": {}, "system_power": 0.0, "learn_channels": [], "test_channels": []}
    return {
        name: _baseline({**plain, "penalties": {"c": c, "components": ALL}}, material, np.array(x, np.float32))
        for name, (x, c) in sets.items()
    }


def _baseline(config: Mapping[str, Any], material: Material, features: Floats) -> dict[str, Any]:
    only = Material(material.clips, material.labels, features, {})
    logits = [_cross_validate(config, only, partition)["clean"] for partition in range(config["partitions"])]
    return {
        "auroc": metrics.auroc(material.labels, logits[0]),
        "eer": metrics.eer(material.labels, logits[0]),
        "auroc_partitions": [metrics.auroc(material.labels, z) for z in logits],
    }


def _write_oof(material: Material, logits: Floats, path: Path) -> None:
    """Held-out logits for fitting the fusion: the shipped head itself has learnt from these sources."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "label", "source", "system", "split", "logit"])
        for clip, logit in zip(material.clips, logits, strict=True):
            row = {"path": clip.name, "source_repo": clip.source}
            writer.writerow(
                [
                    f"{clip.folder}/{clip.name}",
                    "fake" if clip.is_fake else "real",
                    clip.source,
                    clip.system,
                    splits.split_of(row),
                    f"{logit:.4f}",
                ]
            )
