"""Fit fusion.json to judged rows, and say how good such a fit is on sources that it did not see.

`fit` gives what ships. `cross_validate` repeats the whole fit, thresholds included, with sources left out, and lets
the engine's own fusion judge the rows that were left out: its figures are the headline.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detection.engine import fusion
from detection.engine.types import Channel, Kind, Verdict
from detection.training import metrics, stacking
from detection.training.calibration import KINDS, Judged, digests, domain_of, evidence_of, main_channel, rows_of

# A clip's face is swapped, driven or generated whole, and each check knows the traces of one of these: text-to-video
# looks more genuine than genuine to a check for pasted faces. None of them may vouch for a clip against the others.
ONE_SIDED = frozenset({"video_face"})
MIN_ROWS = 40
MIN_SOURCES = 3
OUTER_FOLDS = 8
INNER_FOLDS = 5
OUTER_MEMBERS = 16
# How clips are taken to be faked when the shares of the channels are fitted: one in four by its voice alone.
VOICE_FAKES = 0.25
COMPOSITES = 8
SHARES = (0.02, 0.04, 0.06, 0.09, 0.12, 0.16, 0.2, 0.25, 0.3)
SYNCHRONY_SHARE = 0.05
MIN_CLIPS = 30
MARGINS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 1.0)
CLEAR_MARGIN = 0.3
MAX_FPR = 0.02


@dataclass(frozen=True)
class Goals:
    """What the thresholds are chosen for: the share of genuine items called fake, and of fakes called real."""

    max_fpr: Mapping[Kind, float]
    max_fnr: float = 0.05
    clear_margin: float = 1.0

    @classmethod
    def of(cls, max_fpr: float, **more: float) -> Goals:
        return cls(dict.fromkeys(KINDS, max_fpr), **more)


@dataclass(frozen=True, eq=False)
class Judgement:
    """One row and the verdict of a fusion that did not see its source."""

    row: Judged
    verdict: Verdict

    @property
    def score(self) -> float:
        return fusion.CHANCE if self.verdict.score is None else self.verdict.score


def fit(judged: Sequence[Judged], goals: Goals, *, members: int = stacking.MEMBERS) -> dict[str, Any]:
    """Return the content of fusion.json, fitted to the rows; a domain with too few rows or sources is left out.

    Thresholds are chosen, kind by kind, on scores of rows whose sources a fit did not see.
    """
    content = fit_domains(judged, members=members)
    crossed = cross_scores(judged)
    content["thresholds"] = {}
    for kind in KINDS:
        mine = [(j.label, score) for j, score in crossed if j.kind == kind]
        y, scores = np.array([label for label, _ in mine]), np.array([score for _, score in mine])
        content["thresholds"][kind] = stacking.choose_thresholds(
            y, scores, max_fpr=goals.max_fpr[kind], max_fnr=goals.max_fnr
        )
    goal = {"max_fpr": dict(goals.max_fpr), "max_fnr": goals.max_fnr}
    return content | {"clear_margin": goals.clear_margin, "goals": goal}


def fit_domains(judged: Sequence[Judged], *, members: int) -> dict[str, Any]:
    """Return the content of fusion.json with thresholds at an even chance."""
    domains = {}
    for domain, rows in sorted(rows_of(judged).items()):
        labels = {r.label for r in rows}
        if len(labels) < 2 or len(rows) < MIN_ROWS or len({r.unit for r in rows}) < MIN_SOURCES:
            continue
        branches = sorted({b for r in rows for b in r.logits})
        is_one_sided = domain in ONE_SIDED and len(branches) > 1
        domains[domain] = stacking.fit_domain(rows, branches, members=members, is_one_sided=is_one_sided)
    content: dict[str, Any] = {
        "version": time.strftime("%Y.%m.%d", time.gmtime()),
        "prior": fusion.CHANCE,
        "fitted_with": digests(),
        "domains": domains,
        "thresholds": {kind: {"fake": 0.5, "real": 0.5} for kind in KINDS},
    }
    return content | {"channel_share": fit_shares(content, judged)}


def fit_shares(content: Mapping[str, Any], judged: Sequence[Judged]) -> dict[Channel, float]:
    """Return each channel's share of the ways a clip is faked, by the likelihood of clips with sound.

    Fake pictures are as measured. No clip here has a cloned voice over a genuine picture, so such clips are put
    together: log-odds of a genuine clip's picture with those of a fake recording.
    """
    stack = fusion.Stack.from_json(content)
    clips = [
        j for j in judged if j.kind == "video" and "voice" in j.channels.values() and len(set(j.channels.values())) > 1
    ]
    real, fake = ([j for j in clips if j.label == label] for label in (0, 1))
    clones = [j for j in judged if j.kind == "audio" and j.label]
    if min(len(real), len(fake)) < MIN_CLIPS / 2 or not clones:
        return dict(fusion.CHANNEL_SHARE)
    rng = np.random.default_rng(0)
    mixed = [_with_voice_of(j, clones[i]) for j in real for i in rng.integers(0, len(clones), COMPOSITES)]
    opinions = {
        name: [fusion.opinions_of("video", evidence_of(j), stack) for j in rows]
        for name, rows in (("real", real), ("picture", fake), ("voice", mixed))
    }
    losses = {share: _loss(opinions, share) for share in SHARES}
    best = min(losses, key=lambda share: losses[share])
    return {"picture": round(1 - best - SYNCHRONY_SHARE, 3), "voice": best, "synchrony": SYNCHRONY_SHARE}


def _with_voice_of(clip: Judged, recording: Judged) -> Judged:
    voices = {b for b, channel in recording.channels.items() if channel == "voice"}

    def mixed(name: str) -> dict[str, Any]:
        kept = {b: v for b, v in getattr(clip, name).items() if clip.channels.get(b) != "voice"}
        return kept | {b: v for b, v in getattr(recording, name).items() if b in voices}

    names = ("logits", "quality", "errors", "channels")
    return Judged(**{**vars(clip), **{name: mixed(name) for name in names}})


def _loss(opinions: Mapping[str, Sequence[Sequence[fusion.ChannelOpinion]]], voice_share: float) -> float:
    """Return the log loss with genuine clips at a half, fake voices at `VOICE_FAKES` of the other half."""
    shares = {"picture": 1 - voice_share - SYNCHRONY_SHARE, "voice": voice_share, "synchrony": SYNCHRONY_SHARE}
    mass = {"real": 0.5, "picture": 0.5 * (1 - VOICE_FAKES), "voice": 0.5 * VOICE_FAKES}
    total = 0.0
    for name, rows in opinions.items():
        scores = np.array([_overall(row, shares) for row in rows])
        p = np.clip(1 - scores if name == "real" else scores, 1e-4, 1)
        total -= mass[name] * float(np.log(p).mean())
    return total


def _overall(opinions: Sequence[fusion.ChannelOpinion], shares: Mapping[str, float]) -> float:
    if not opinions:
        return fusion.CHANCE
    shifted = [replace(o, share=shares.get(o.channel, o.share)) for o in opinions]
    return float(fusion.noisy_or(shifted, np.array([[o.logit for o in shifted]]))[0])


def folds_of(judged: Sequence[Judged], count: int) -> list[list[int]]:
    """Return row numbers by fold: whole sources, the folds alike in every kind and label."""
    cells: dict[str, Counter[tuple[str, int]]] = {}
    for j in judged:
        cells.setdefault(j.source, Counter())[(j.kind, j.label)] += 1
    filled: list[Counter[tuple[str, int]]] = [Counter() for _ in range(count)]
    fold_of = {}
    for source in sorted(cells, key=lambda s: (-sum(cells[s].values()), s)):
        mine = cells[source]
        fold = min(range(count), key=lambda f: (sum(filled[f][c] * n for c, n in mine.items()), f))
        filled[fold] += mine
        fold_of[source] = fold
    return [[i for i, j in enumerate(judged) if fold_of[j.source] == fold] for fold in range(count)]


def without_kin(judged: Sequence[Judged], held: Sequence[int]) -> list[Judged]:
    """Return the rows that share neither source nor generator nor subject with the held ones."""
    out = [judged[i] for i in held]
    sources, subjects = {j.source for j in out}, {_subject(j) for j in out}
    methods = {j.method for j in out if j.label}
    return [
        j
        for j in judged
        if j.source not in sources and _subject(j) not in subjects and not (j.label and j.method in methods)
    ]


def _subject(judged: Judged) -> str:
    return judged.group.removeprefix(judged.source + "/")


def cross_scores(judged: Sequence[Judged]) -> list[tuple[Judged, float]]:
    """Return the rows with their overall score by a fusion that did not see their source; those that got one."""
    result = []
    for held in folds_of(judged, INNER_FOLDS):
        stack = fusion.Stack.from_json(fit_domains(without_kin(judged, held), members=0))
        for i in held:
            score, _ = fusion.overall(fusion.opinions_of(judged[i].kind, evidence_of(judged[i]), stack), draws=0)
            if score is not None:
                result.append((judged[i], score))
    return result


def cross_validate(
    judged: Sequence[Judged], goals: Goals, count: int = OUTER_FOLDS, *, also: Sequence[Judged] = ()
) -> list[Judgement]:
    """Return every row's verdict by a fusion, thresholds included, that saw neither its source nor its generator.

    also: further rows to judge after the others, such as changed copies, by the fusion that did not see their source.
    """
    result, more = [], []
    for held in folds_of(judged, count):
        content = fit(without_kin(judged, held), goals, members=OUTER_MEMBERS)
        result += judge_with(content, [judged[i] for i in held])
        sources = {judged[i].source for i in held}
        more += judge_with(content, [j for j in also if j.source in sources])
    return result + more


def judge_with(content: Mapping[str, Any], judged: Sequence[Judged]) -> list[Judgement]:
    """Return the engine's verdict, apart from delivery stability, on each row."""
    stack = fusion.Stack.from_json(content)
    return [Judgement(j, fusion.fuse(j.kind, evidence_of(j), stack=stack)) for j in judged]


def figures(judgements: Sequence[Judgement]) -> dict[str, Any]:
    """Return what is reached per kind of media, and per domain where a kind has several."""
    groups: dict[str, list[Judgement]] = {kind: [j for j in judgements if j.row.kind == kind] for kind in KINDS}
    for j in judgements:
        groups.setdefault(domain_of(j.row, main_channel(j.row.kind)) or "", []).append(j)
    return {name: measure(mine) for name, mine in groups.items() if name and len({j.row.label for j in mine}) == 2}


def measure(judgements: Sequence[Judgement]) -> dict[str, Any]:
    """Return the figures of one group; a row without a score counts as an even chance."""
    y = np.array([j.row.label for j in judgements])
    scores = np.array([j.score for j in judgements])
    said = np.array([j.score >= j.verdict.thresholds["fake"] for j in judgements])
    decided = np.array([j.verdict.label != "inconclusive" for j in judgements])
    right = np.array([j.verdict.label == ("fake" if j.row.label else "real") for j in judgements])
    groups = [j.row.group for j in judgements]
    called = decided & np.array([j.verdict.label == "fake" for j in judgements])
    return (
        stacking.measure(y, scores, groups)
        | {
            "sources": len({j.row.source for j in judgements}),
            "ap": metrics.average_precision(y, scores),
            "ece_even": metrics.ece(y, scores, weights=metrics.even(y)),
            "reliability": metrics.reliability(y, scores),
        }
        | metrics.at_threshold(y, said.astype(float), 0.5)
        | {
            "fpr_ci": metrics.proportion_ci(int((said & (y == 0)).sum()), int((y == 0).sum())),
            "fpr_label": float(called[y == 0].mean()),
            "coverage": float(decided.mean()),
            "selective_accuracy": float(right[decided].mean()) if decided.any() else None,
        }
    )


def coverage_curve(judgements: Sequence[Judgement], steps: int = 20) -> list[dict[str, float]]:
    """Return the accuracy on the surest share of the rows, sure being far from an even chance, by share."""
    y = np.array([j.row.label for j in judgements])
    scores = np.array([j.score for j in judgements])
    order = np.argsort(-np.abs(scores - fusion.CHANCE), kind="stable")
    right = ((scores >= fusion.CHANCE) == (y == 1))[order]
    counts = np.unique(np.ceil(np.arange(1, steps + 1) / steps * len(y)).astype(int))
    return [{"coverage": float(n / len(y)), "accuracy": float(right[:n].mean())} for n in counts]


def summary(judged: Sequence[Judged], crossed: Sequence[Judgement], goals: Goals) -> dict[str, Any]:
    """Return what fusion.json and its card say about quality.

    cross_validated: the whole fit repeated without the source, kind by kind and domain by domain (the headline).
    test: fitted to the calibration split alone and measured on the test split.
    in_sample: the shipped fit on the rows that it was fitted to.
    coverage: accuracy on the surest share. margins: what a rule for intervals would cost and bring.
    """
    calibration_rows = [j for j in judged if j.split == "calibration"]
    test_rows = [j for j in judged if j.split == "test"]
    shipped = fit(judged, goals, members=OUTER_MEMBERS)
    test = judge_with(fit(calibration_rows, goals, members=OUTER_MEMBERS), test_rows) if calibration_rows else []
    found = figures(crossed)
    return {
        "cross_validated": found,
        "test": figures(test),
        "in_sample": figures(judge_with(shipped, judged)),
        "coverage": {k: coverage_curve([j for j in crossed if j.row.kind == k]) for k in KINDS if k in found},
        "margins": margins(crossed),
    }


def margins(judgements: Sequence[Judgement]) -> dict[str, list[dict[str, float | None]]]:
    """Return, per kind, coverage and accuracy if labels had to respect their interval by each margin."""
    found: dict[str, list[dict[str, float | None]]] = {}
    for kind in KINDS:
        mine = [j for j in judgements if j.row.kind == kind]
        found[kind] = [{"margin": margin, **_with_margin(mine, margin)} for margin in MARGINS] if mine else []
    return found


def _with_margin(judgements: Sequence[Judgement], margin: float) -> dict[str, float | None]:
    stands = [
        j
        for j in judgements
        if j.verdict.label != "inconclusive"
        and fusion.is_clear(j.score, j.verdict.interval, fusion.Thresholds(**j.verdict.thresholds), margin)
    ]
    right = sum(j.verdict.label == ("fake" if j.row.label else "real") for j in stands)
    return {"coverage": len(stands) / len(judgements), "accuracy": right / len(stands) if stands else None}
