"""Fit the comparison of lips and sound to talking clips, by shifting and swapping; measure it on left-out sources.

Nobody labels anything: a genuine recording is in step with itself, and shifting its sound or swapping it makes the
rest. Few clips are at hand, so nearly all is fitted in closed form (canonical correlation between lips and the tokens
of a frozen speech encoder); only a small cross-attention learns by gradient steps.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from detection.engine.branches import av_sync
from detection.engine.branches.audio_net import WIDTH
from detection.engine.branches.av_sync_net import BASE, SHARED, Hearing, SyncNet
from detection.training import exporting, metrics
from detection.training.av_sync_data import SOUND_HOP_S, Talk, hear, read
from detection.training.whisper_encoder import load_encoder

log = logging.getLogger(__name__)

Config = dict[str, Any]
Wide = NDArray[np.float64]

LOOKS = BASE - len(av_sync.DISTANCES)
REACH_S = (av_sync.IN_STEP - 1) * av_sync.STEP_S


def train(config: Config, data: Sequence[Path], out: Path) -> dict[str, Any]:
    """Cross-validate over whole sources, fit to all, and write sync.pt and the figures into `out`."""
    talks = [talk for manifest in data for talk in read(manifest, out / "clips")]
    talks = [talk for talk in talks if not talk.is_fake or _is_driven(talk, config)]
    hearing = load_hearing()
    hear(talks, hearing)
    trials = list(try_all(talks, cross_validate(talks, config), hearing, config))
    figures, calibration = report(trials, config)
    net = fit(talks, config)
    net.hearing.load_state_dict(hearing.state_dict())
    torch.save({"state": net.state_dict(), "calibration": calibration}, out / "sync.pt")
    (out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    return figures | {"calibration": calibration}


def export(run: Path, weights_dir: Path) -> dict[str, Any]:
    """Write ml_weights/av_sync/ from a finished run; returns the registry's files, temperature, bias and parity."""
    saved = torch.load(run / "sync.pt", map_location="cpu", weights_only=True)
    net = SyncNet()
    net.load_state_dict(saved["state"], strict=True)
    torch.manual_seed(0)
    example = 0.1 * torch.randn(3, round(av_sync.SOUND_S * av_sync.RATE_HZ) + av_sync.LIP_STEPS * av_sync.FEATURES)
    entry = exporting.export(net, example, weights_dir / "av_sync", "av_sync")
    shutil.copy(run / "figures.json", weights_dir / "av_sync" / "figures.json")
    return {**entry, **saved["calibration"]}


def load_hearing() -> Hearing:
    """Return the frozen encoder's lower half."""
    hearing = Hearing()
    known = load_encoder().state_dict()
    hearing.load_state_dict({name: known[name] for name in hearing.state_dict()})
    return hearing.eval().requires_grad_(False)


def _is_driven(talk: Talk, config: Config) -> bool:
    return talk.kind in config["driven"] and talk.method not in config["driven_by_video"]


def source_of(talk: Talk, config: Config) -> str:
    """Return the source, the same for repositories that publish the same recordings."""
    return next((same[0] for same in config["same_source"] if talk.source in same), talk.source)


@dataclass(eq=False)
class Moments:
    """Sums over one clip from which the correlation is fitted; those of a left-out source are simply not added."""

    talk: Talk
    stands: Wide  # (steps, BASE)
    weight: float

    @cached_property
    def lips(self) -> Wide:
        """(steps, 2 * BASE): where the mouth stands and how it moves, as SyncNet.lip_tokens has it."""
        padded = np.concatenate([self.stands[:1], self.stands, self.stands[-1:]])
        return np.concatenate([self.stands, padded[2:] - padded[:-2]], axis=1)

    @cached_property
    def sums(self) -> tuple[Wide, Wide, Wide]:
        """(3·384 + 1)² of the sound around a step and a one, its products with the lips, and those of the lips."""
        sound, lips, spoken = self._steps()
        one = np.concatenate([sound, np.ones((len(sound), 1))], axis=1) * spoken[:, None]
        lips = np.concatenate([lips, np.ones((len(lips), 1))], axis=1)
        by = self.weight
        return by * one.T @ one, by * one.T @ lips, by * (lips * spoken[:, None]).T @ lips

    def _steps(self) -> tuple[Wide, Wide, Wide]:
        """Sound around each step of the lips, the lips, and whether somebody speaks."""
        talk = self.talk
        times = talk.lips_from_s + av_sync.STEP_S * np.arange(len(self.lips))
        times = times[times < talk.ends_s - av_sync.STEP_S]
        sound = []
        for time_s in times:
            tokens, start_s = talk.sound_at(time_s - 1.0)
            n = int(np.clip(math.floor((time_s - start_s) / av_sync.STEP_S), 1, len(tokens) - 2))
            sound.append(tokens[n - 1 : n + 2].reshape(-1).numpy())
        spoken = [any(s.start_s - 0.1 <= t <= s.end_s + 0.1 for s in talk.speech) for t in times]
        return np.array(sound, float), self.lips[: len(times)], np.array(spoken, float)


def moments_of(talks: Sequence[Talk], base: Wide) -> list[Moments]:
    """A person seen in n clips weighs as much as the square root of n."""
    seen = {talk.person: sum(t.person == talk.person for t in talks) for talk in talks}
    return [Moments(t, np.asarray(t.lips, float) @ base.T, seen[t.person] ** -0.5) for t in talks]


def patterns(talks: Sequence[Talk], config: Config) -> Wide:
    """Return (BASE, FEATURES): distances as they are, and the main patterns of the mouth picture, evenly loud."""
    n = len(av_sync.DISTANCES)
    lips = np.concatenate([t.lips for t in talks]).astype(float)
    looks = lips[::3, n:]
    _, spread, axes = np.linalg.svd(looks - looks.mean(axis=0), full_matrices=False)
    base = np.zeros((BASE, av_sync.FEATURES))
    base[:n, :n] = np.eye(n) / lips[:, :n].std()
    base[n:, n:] = config["look_share"] * axes[:LOOKS] / (spread[:LOOKS, None] / math.sqrt(len(looks)) + 1e-6)
    return base


def fit_correlation(moments: Sequence[Moments], config: Config) -> tuple[Wide, Wide, Wide]:
    """Return (SHARED, 2 * BASE) lips' map, and weight (SHARED, 3 * 384) and bias (SHARED,) of what the sound asks for.

    Regularised canonical correlation (Hotelling 1936; Vinod 1976): directions of the lips that the sound foretells.
    """
    (whole, mixed, lips) = (sum(part) for part in zip(*(m.sums for m in moments), strict=True))
    n = whole[-1, -1]
    mean, lip_mean = whole[-1, :-1] / n, lips[-1, :-1] / n
    scale = 1 / np.sqrt(np.diag(whole)[:-1] / n - mean**2 + 1e-6)
    sound = (whole[:-1, :-1] / n - np.outer(mean, mean)) * np.outer(scale, scale)
    cross = (mixed[:-1, :-1] / n - np.outer(mean, lip_mean)) * scale[:, None]
    spread = lips[:-1, :-1] / n - np.outer(lip_mean, lip_mean)
    foretold = np.linalg.solve(sound + config["sound_ridge"] * np.eye(len(sound)), cross)
    floor = config["lip_ridge"] * np.trace(spread) / len(spread)
    values, axes = np.linalg.eigh(spread + floor * np.eye(len(spread)))
    whiten = (axes / np.sqrt(values)) @ axes.T
    strength, directions = np.linalg.eigh(whiten @ (cross.T @ foretold) @ whiten)
    best = np.argsort(-strength)[:SHARED]
    see = whiten @ directions[:, best] * np.sqrt(np.maximum(strength[best], 0))
    expect = scale[:, None] * (foretold @ see)
    return see.T, expect.T, -mean @ expect


def assemble(base: Wide, correlation: tuple[Wide, Wide, Wide]) -> SyncNet:
    """Return a net that holds the fitted correlation; its attention is untrained and silent."""
    net = SyncNet()
    see, expect, bias = correlation
    with torch.no_grad():
        net.base.weight.copy_(torch.from_numpy(base))
        net.see.weight.copy_(torch.from_numpy(see))
        net.expect.weight.copy_(torch.from_numpy(expect.reshape(SHARED, 3, WIDTH).transpose(0, 2, 1)))
        net.expect.bias = nn.Parameter(torch.from_numpy(bias).float())
    return net.eval()


def fit(talks: Sequence[Talk], config: Config) -> SyncNet:
    """Fit the correlation to all clips, and the attention to what inner fits say of clips they had not seen."""
    base = patterns(talks, config)
    moments = moments_of(talks, base)
    net = assemble(base, fit_correlation(moments, config))
    if config["steps"]:
        inner = []
        for rest, held in left_out(talks, int(config["inner_folds"]), config):
            if rest and held:
                seen = assemble(base, fit_correlation([m for m in moments if m.talk in rest], config))
                inner += [(talk, *tokens_of(seen, talk)) for talk in held]
        train_attention(net, inner, config)
    return net.eval()


def left_out(talks: Sequence[Talk], folds: int, config: Config) -> Iterator[tuple[list[Talk], list[Talk]]]:
    """Yield (rest, held out): whole sources are held out, and nobody who appears in them stays in the rest."""
    names = sorted({source_of(t, config) for t in talks})
    names = [str(n) for n in np.random.default_rng(config["seed"]).permutation(names)]
    for fold in range(min(folds, len(names))):
        held = [t for t in talks if source_of(t, config) in names[fold::folds]]
        people = {t.person for t in held}
        yield [t for t in talks if t not in held and t.person not in people], held


def cross_validate(talks: Sequence[Talk], config: Config) -> dict[str, SyncNet]:
    """Return path -> a net that has seen neither the clip's source nor its person."""
    nets: dict[str, SyncNet] = {}
    for rest, held in left_out(talks, int(config["folds"]), config):
        if any(not t.is_fake for t in held):
            net = fit(rest, config)
            nets |= {talk.path: net for talk in held}
            log.info("fold of %d clips done", len(held))
    return nets


Tokens = tuple[torch.Tensor, torch.Tensor]  # lips (steps, SHARED), sounds (windows, 49, SHARED)


def tokens_of(net: SyncNet, talk: Talk) -> Tokens:
    with torch.inference_mode():
        lips = net.lip_tokens(torch.from_numpy(talk.lips)[None])[0]
        return lips.clone(), net.sound_tokens(talk.sound).clone()


def train_attention(net: SyncNet, clips: Sequence[tuple[Talk, torch.Tensor, torch.Tensor]], config: Config) -> None:
    """Teach the matcher to find the true lag among all lags of the true sound and of somebody else's."""
    torch.manual_seed(config["seed"])
    rng = np.random.default_rng(config["seed"])
    matcher, count = net.matcher.train(), int(config["batch"])
    optimizer = torch.optim.AdamW(matcher.parameters(), lr=config["rate"], weight_decay=config["decay"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, int(config["steps"]))
    chances = np.array([sum(t.person == other.person for other, _, _ in clips) ** -0.5 for t, _, _ in clips])
    lags = torch.arange(av_sync.LAGS)
    for _ in range(int(config["steps"])):
        picked = rng.choice(len(clips), count, p=chances / chances.sum())
        drawn = [_draw(clips[i][0], clips[i][1], clips[i][2], rng) for i in picked]
        lips, sound = torch.stack([d[0] for d in drawn]), torch.stack([d[1] for d in drawn])
        true = torch.tensor([d[2] for d in drawn])
        other = sound[torch.roll(torch.arange(count), int(rng.integers(1, count)))]
        scores = torch.cat([matcher(lips, sound), matcher(lips, other)], 1)
        target = torch.exp(-0.5 * ((lags[None] - true[:, None]) / config["smear_steps"]) ** 2)
        target = target / target.sum(1, keepdim=True)
        loss = -(torch.log_softmax(scores, 1)[:, : av_sync.LAGS] * target).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(matcher.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    matcher.eval()


def _draw(
    talk: Talk, lips: torch.Tensor, sounds: torch.Tensor, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Return one second of lips, two seconds of its sound, and the lag, in steps, at which they belong together."""
    start = int(rng.integers(0, len(lips) - av_sync.LIP_STEPS + 1))
    lips_s = talk.lips_from_s + start * av_sync.STEP_S
    n = int(
        np.clip(round((lips_s - rng.uniform(0, 2 * REACH_S) - talk.first_sound_s) / SOUND_HOP_S), 0, len(sounds) - 1)
    )
    lag = (lips_s - talk.first_sound_s - SOUND_HOP_S * n) / av_sync.STEP_S
    return lips[start : start + av_sync.LIP_STEPS], sounds[n], float(np.clip(lag, 0, av_sync.LAGS - 1))


@dataclass(frozen=True, eq=False)
class Trial:
    """One clip, as it is or changed, scored as served by a net that knows neither its source nor its person."""

    talk: Talk
    source: str
    kind: str  # "in step", "shifted", "swapped", or how a fake was made
    shift_s: float
    logits: NDArray[np.float64]  # (windows, LAGS)


def try_all(talks: Sequence[Talk], nets: dict[str, SyncNet], hearing: Hearing, config: Config) -> Iterator[Trial]:
    """Yield every genuine clip in step, shifted and under other people's sound, and every driven fake as it is."""
    rng = np.random.default_rng(config["seed"])
    genuine = [t for t in talks if not t.is_fake]
    for talk in (t for t in talks if t.path in nets):
        others = [t for t in genuine if t.person != talk.person]
        swaps = rng.choice(len(others), min(int(config["swaps"]), len(others)), replace=False)
        changes: list[tuple[str, Talk, float]] = [(talk.kind if talk.is_fake else "in step", talk, 0.0)]
        if not talk.is_fake:
            changes += [("shifted", talk, float(s)) for s in config["shifts_s"]]
            changes += [("swapped", others[i], 0.0) for i in swaps]
        for kind, sound_of, shift_s in changes:
            logits = lag_scores(nets[talk.path], hearing, talk, sound_of, shift_s)
            if logits is not None:
                yield Trial(talk, source_of(talk, config), kind, shift_s, logits)


def lag_scores(net: SyncNet, hearing: Hearing, talk: Talk, sound_of: Talk, shift_s: float) -> Any:
    """Return (windows, LAGS) as served, with sound_of's sound shift_s later; None when no second of speech is left."""
    rows, lips = [], []
    step = round(av_sync.HOP_S / av_sync.STEP_S)
    for start in range(0, len(talk.lips) - av_sync.LIP_STEPS + 1, step):
        heard_s = talk.lips_from_s + start * av_sync.STEP_S - shift_s  # of the lips, in the sound's own time
        if av_sync.spoken_s(sound_of.speech, heard_s, heard_s + 1) >= av_sync.MIN_SPOKEN_S:
            rows.append(av_sync.sound_at(sound_of.audio, heard_s - av_sync.IN_STEP * av_sync.STEP_S))
            lips.append(talk.lips[start : start + av_sync.LIP_STEPS])
    if not rows:
        return None
    with torch.inference_mode():
        sound = net.sound_tokens(hearing(torch.from_numpy(np.stack(rows))))
        return net.matcher(net.lip_tokens(torch.from_numpy(np.stack(lips))), sound).double().numpy()


def report(trials: Sequence[Trial], config: Config) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the figures on left-out sources, and temperature and bias for the registry."""
    temperature = fit_temperature(trials)
    leads = [av_sync.match(t.logits, temperature).lead for t in trials]
    changed = ("shifted", "swapped")
    judged = [(int(t.kind in changed), x) for t, x in zip(trials, leads, strict=True) if not t.talk.is_fake]
    bias = fit_bias(judged, temperature)

    def auroc(kinds: Collection[str]) -> dict[str, Any]:
        rows = [(int(t.kind != "in step"), -x, t.source) for t, x in zip(trials, leads, strict=True) if t.kind in kinds]
        y, scores, groups = zip(*rows, strict=True)
        low, high = metrics.bootstrap_ci(y, scores, groups=groups)
        return {"n": len(y), "auroc": round(metrics.auroc(y, scores), 4), "ci": [round(low, 4), round(high, 4)]}

    genuine = [t for t in trials if t.kind == "in step"]
    figures = {
        "clips": {
            "real": len(genuine),
            "driven fakes": sum(t.talk.is_fake for t in trials),
            "sources of real": len({t.source for t in genuine}),
        },
        "shifted": auroc({"in step", "shifted"}),
        "swapped": auroc({"in step", "swapped"}),
        "shifted or swapped": auroc({"in step", *changed}),
        "real against driven fakes": auroc({"in step", *config["driven"]}),
        "offset": offsets(trials, temperature),
    }
    return figures, {"temperature": round(temperature, 4), "bias": round(bias, 4)}


def within_reach(trials: Sequence[Trial]) -> list[Trial]:
    """Return the genuine clips whose shift the lags can show."""
    return [t for t in trials if t.kind in ("in step", "shifted") and abs(t.shift_s) <= av_sync.REACH * av_sync.STEP_S]


def fit_temperature(trials: Sequence[Trial]) -> float:
    """Return the temperature at which the lags within NEAR of the true one are likeliest, over known shifts."""

    def cost(temperature: float) -> float:
        losses = []
        for trial in within_reach(trials):
            odds = av_sync.lag_odds(trial.logits, temperature)
            true = av_sync.REACH + round(trial.shift_s / av_sync.STEP_S)
            losses.append(-math.log(odds[max(0, true - av_sync.NEAR) : true + av_sync.NEAR + 1].sum() + 1e-9))
        return float(np.mean(losses))

    grid = np.geomspace(0.1, 20, 60)
    return float(grid[np.argmin([cost(t) for t in grid])])


def fit_bias(leads: Sequence[tuple[int, float]], temperature: float) -> float:
    """Return the bias at which shifted and swapped clips, both classes counted alike, are told best from the rest."""
    y = np.array([label for label, _ in leads])
    x = np.array([lead for _, lead in leads]) / temperature
    even = metrics.even(y)
    grid = np.linspace(x.min(), x.max(), 400)
    return float(grid[np.argmin([even @ np.logaddexp(0, np.where(y == 1, x - b, b - x)) for b in grid])])


def offsets(trials: Sequence[Trial], temperature: float) -> dict[str, Any]:
    """Return how far the offsets found lie from the shifts made, in ms, and where each source lies unshifted.

    "against the clip itself": the offset found without a shift is taken as the clip's own, which recording leaves.
    """
    found = {(t.talk.path, t.shift_s): av_sync.match(t.logits, temperature) for t in within_reach(trials)}
    wrong = {key: abs(match.offset_ms - 1000 * key[1]) for key, match in found.items()}
    sure = [wrong[key] for key, match in found.items() if match.confidence >= 0.5]
    relative = [
        abs(match.offset_ms - found[path, 0.0].offset_ms - 1000 * shift_s)
        for (path, shift_s), match in found.items()
        if shift_s and (path, 0.0) in found
    ]
    own: dict[str, list[int]] = {}
    for trial in trials:
        if trial.kind == "in step":
            own.setdefault(trial.source, []).append(found[trial.talk.path, 0.0].offset_ms)
    errors = np.array(list(wrong.values()))
    return {
        "n": len(errors),
        "mean_error_ms": round(float(errors.mean())),
        "median_error_ms": round(float(np.median(errors))),
        "within_120_ms": round(float((errors <= 120).mean()), 3),
        "confident": round(len(sure) / len(errors), 3),
        "within_120_ms_where_confident": round(float((np.array(sure) <= 120).mean()), 3),
        "mean_error_against_the_clip_itself_ms": round(float(np.mean(relative))),
        "median_error_against_the_clip_itself_ms": round(float(np.median(relative))),
        "unshifted_by_source_ms": own,
    }
