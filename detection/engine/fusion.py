"""Evidence in, verdict out: stacking per channel, calibrated noisy-or over channels, interval, abstention.

Everything happens in log-odds of the branch scores, x = logit(score). Per channel a stacked logistic regression with
non-negative weights, x_channel = intercept + sum of weight * (x - centre); a branch that did not run leaves its term
out, which equals its class-balanced mean. In a one-sided domain, whose branches look for different forgeries, a branch
below its centre says as much as one that did not run: a face without traces of pasting may still be generated whole,
so that such a channel never says "real".
All scores are meant for an even chance of real and fake before looking.
Pure functions, apart from `load`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detection.engine import registry, wording
from detection.engine.errors import WeightsInvalid
from detection.engine.runtime import check_file
from detection.engine.types import (
    Channel,
    ChannelVerdict,
    Evidence,
    FakeInterval,
    Kind,
    Label,
    Stability,
    Verdict,
)

FACE_BRANCHES = wording.FACE_BRANCHES
CHANCE = 0.5
STACKED_CHANNELS: tuple[Channel, ...] = ("picture", "voice", "synchrony")
# Where manipulation sits when a clip is manipulated: most often in the picture, under a genuine voice. `calibrate`
# fits the shares to clips; these stand in where there were too few.
CHANNEL_SHARE: dict[Channel, float] = {"picture": 0.7, "voice": 0.25, "synchrony": 0.05}
MAX_ABS_LOGIT = 8.0
INTERVAL_COVER = 0.90
DRAWS = 128
# A branch whose input is of no use still adds this much doubt, in log-odds, to its channel.
POOR_INPUT_SD = 1.0
MIN_QUALITY = 0.15
GRID_S = 0.25
MAX_GAP_S = 0.6
# A domain that was not calibrated by itself borrows the nearest one.
NEAREST_DOMAIN = {"video_scene": "image_scene", "video_face": "image_face", "image_face": "image_scene"}


@dataclass(frozen=True)
class Thresholds:
    """At or above `fake` the label is fake, below `real` it is real, between them inconclusive."""

    fake: float
    real: float

    def __post_init__(self) -> None:
        if not 0 <= self.real <= self.fake <= 1:
            raise ValueError(f"Thresholds need 0 <= real <= fake <= 1, not real={self.real}, fake={self.fake}.")

    def label(self, score: float) -> Label:
        if score >= self.fake:
            return "fake"
        return "real" if score < self.real else "inconclusive"


@dataclass(frozen=True, eq=False)
class Stacker:
    """One channel's fitted logistic regression; `members` are its refits on resampled sources."""

    domain: str
    channel: Channel
    branches: tuple[str, ...]
    weights: NDArray[np.float64]  # (b,), >= 0
    centres: NDArray[np.float64]  # (b,)
    intercept: float
    members: NDArray[np.float64]  # (m, 1 + b): intercept and weights
    ood_mean: NDArray[np.float64] | None = None  # (b,) of the logits seen in fitting
    ood_precision: NDArray[np.float64] | None = None  # (b, b)
    ood_limit: float = math.inf  # squared Mahalanobis distance that genuine and fake fitting items stay below
    auroc_low: float = 1.0  # lower end of the 95 % interval on left-out sources; near .5 it holds no usable evidence
    is_one_sided: bool = False  # terms are never below zero

    @property
    def can_tell(self) -> bool:
        return self.auroc_low > CHANCE

    @classmethod
    def from_json(cls, domain: str, entry: Mapping[str, Any]) -> Stacker:
        branches = tuple(entry["weights"])
        ood = entry.get("ood")
        return cls(
            domain=domain,
            channel=entry["channel"],
            branches=branches,
            weights=np.array([entry["weights"][b] for b in branches], float),
            centres=np.array([entry["centres"][b] for b in branches], float),
            intercept=float(entry["intercept"]),
            members=np.array(entry["members"], float).reshape(-1, 1 + len(branches)),
            ood_mean=np.array(ood["mean"], float) if ood else None,
            ood_precision=np.array(ood["precision"], float) if ood else None,
            ood_limit=float(ood["limit"]) if ood else math.inf,
            auroc_low=float(entry.get("metrics", {}).get("auroc_ci", (1.0, 1.0))[0]),
            is_one_sided=bool(entry.get("is_one_sided", False)),
        )

    def terms(self, logits: Mapping[str, float]) -> NDArray[np.float64]:
        """Return weight * (x - centre) per branch, zero for a branch that is not in `logits`."""
        return self.weights * self._offsets(logits)

    def logit(self, logits: Mapping[str, float]) -> float:
        return float(self.intercept + self.terms(logits).sum())

    def member_sd(self, logits: Mapping[str, float]) -> float:
        if len(self.members) < 2:
            return 0.0
        return float(np.std(self.members[:, 0] + self.members[:, 1:] @ self._offsets(logits)))

    def is_unlike_anything_fitted(self, logits: Mapping[str, float]) -> bool:
        """Whether the branches together say something that no fitting item made them say (open-set test)."""
        if self.ood_mean is None or self.ood_precision is None or any(b not in logits for b in self.branches):
            return False
        gap = np.array([logits[b] for b in self.branches]) - self.ood_mean
        return bool(gap @ self.ood_precision @ gap > self.ood_limit)

    def _offsets(self, logits: Mapping[str, float]) -> NDArray[np.float64]:
        offsets = [logits[b] - c if b in logits else 0.0 for b, c in zip(self.branches, self.centres, strict=True)]
        return np.maximum(offsets, 0.0) if self.is_one_sided else np.array(offsets)


@dataclass(frozen=True, eq=False)
class Stack:
    """What `ml_weights/fusion/fusion.json` holds."""

    version: str
    stackers: Mapping[str, Stacker]
    thresholds: Mapping[str, Thresholds]
    fitted_with: Mapping[str, str]  # branch -> sha256 of the weights whose scores were stacked
    channel_share: Mapping[Channel, float]
    clear_margin: float = math.inf  # how far the 90 % interval may reach beyond the threshold of a label that stands

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Stack:
        return cls(
            version=str(content["version"]),
            stackers={name: Stacker.from_json(name, entry) for name, entry in content["domains"].items()},
            thresholds={kind: Thresholds(**pair) for kind, pair in content["thresholds"].items()},
            fitted_with=dict(content.get("fitted_with", {})),
            channel_share=dict(content.get("channel_share", CHANNEL_SHARE)),
            clear_margin=float(content.get("clear_margin", math.inf)),
        )

    def stacker(self, channel: Channel, kind: Kind, branches: Sequence[str]) -> Stacker | None:
        """Return the regression for a channel, or None when this channel has never been calibrated."""
        domain: str = channel
        if channel == "picture":
            domain = f"{kind}_{'face' if FACE_BRANCHES.intersection(branches) else 'scene'}"
        return self.in_domain(domain)

    def in_domain(self, domain: str) -> Stacker | None:
        """Return the regression of a domain, or of the nearest one that was calibrated."""
        nearest: str | None = domain
        while nearest is not None:
            if nearest in self.stackers:
                return self.stackers[nearest]
            nearest = NEAREST_DOMAIN.get(nearest)
        return None


@lru_cache(maxsize=1)
def load() -> Stack:
    """Return the shipped fusion weights. Raises WeightsInvalid, naming the file."""
    relative, sha256 = registry.FUSION
    path = registry.WEIGHTS_DIR / relative
    check_file(path, sha256)
    try:
        return Stack.from_json(json.loads(path.read_text()))
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsInvalid(f"The weight file {path} does not fit its layout: {error!r}") from error


@dataclass(frozen=True, eq=False)
class ChannelOpinion:
    """One channel's log-odds of being fake, with how it came about."""

    channel: Channel
    logit: float
    sd: float
    terms: Mapping[str, float]  # branch -> log-odds it adds to this channel
    quality: float
    is_unlike_anything_fitted: bool = False
    can_tell: bool = True  # False: no better than chance on the sources it was fitted to
    is_one_sided: bool = False  # it may find traces of a fake; finding none does not make a face genuine
    share: float = 1.0  # of the ways a clip is faked
    is_prior_free: bool = False  # provenance: a separate cause, not one of the n places where a fake may show

    @property
    def score(self) -> float:
        return sigmoid(self.logit)


def fuse(
    kind: Kind,
    evidence: Sequence[Evidence],
    *,
    stack: Stack,
    thresholds: Thresholds | None = None,
    stability: Stability | None = None,
    model_version: str = "",
    seconds: Mapping[str, float] | None = None,
) -> Verdict:
    """Return the verdict over everything the branches said. Branches without a score are left out, visibly."""
    thresholds = thresholds or stack.thresholds[kind]
    opinions = opinions_of(kind, evidence, stack)
    score, interval = overall(opinions)
    contributions = contributions_of(opinions)
    intervals = fake_intervals(kind, evidence, stack, thresholds)
    label, abstain = settle(kind, opinions, evidence, score, interval, thresholds, stability, stack)
    channels = tuple(ChannelVerdict(o.channel, o.score, _own_label(o, kind, thresholds, stack)) for o in opinions)
    verdict = Verdict(
        label=label,
        score=score,
        interval=interval,
        rationale="",
        abstain_reason=abstain,
        channels=channels,
        evidence=tuple(evidence),
        weights=shares_of(contributions),
        contributions=contributions,
        fake_intervals=intervals if label != "real" else (),
        stability=stability,
        thresholds={"fake": thresholds.fake, "real": thresholds.real},
        model_version=model_version,
        seconds=dict(seconds or {}),
    )
    return replace(verdict, rationale=wording.rationale(kind, verdict, doubtful=doubtful_channel(opinions)))


def settle(
    kind: Kind,
    opinions: Sequence[ChannelOpinion],
    evidence: Sequence[Evidence],
    score: float | None,
    interval: tuple[float, float] | None,
    thresholds: Thresholds,
    stability: Stability | None,
    stack: Stack,
) -> tuple[Label, str | None]:
    """Return the label under these thresholds, and why none is given: the last step, where thresholds come in."""
    abstain = abstain_reason(kind, opinions, evidence, score, thresholds, stability, contributions_of(opinions))
    if not abstain and kind == "video" and not _is_carried(opinions, score, thresholds, stack):
        abstain = "uncertain_band"
    if not abstain and score is not None and not is_clear(score, interval, thresholds, stack.clear_margin):
        abstain = "uncertain_band"
    return "inconclusive" if score is None or abstain else thresholds.label(score), abstain


def relabel(
    kind: Kind,
    evidence: Sequence[Evidence],
    score: float | None,
    interval: tuple[float, float] | None,
    *,
    thresholds: Thresholds,
    stability: Stability | None,
    stack: Stack,
) -> tuple[Label, str | None]:
    """Return label and abstention of a verdict that `stack` gave, had other thresholds held; curves are not needed.

    What re-saving did to the label is taken from `stability` as it was found under the thresholds of that time.
    """
    return settle(kind, opinions_of(kind, evidence, stack), evidence, score, interval, thresholds, stability, stack)


def _is_carried(opinions: Sequence[ChannelOpinion], score: float | None, thresholds: Thresholds, stack: Stack) -> bool:
    """Whether a "fake" said of a clip rests on a channel that can tell and says so by itself."""
    if score is None or thresholds.label(score) != "fake":
        return True
    return any(_own_label(o, "video", thresholds, stack) == "fake" for o in opinions)


def _own_label(opinion: ChannelOpinion, kind: Kind, thresholds: Thresholds, stack: Stack) -> Label:
    """Return a channel's label by itself: a voice's by the thresholds of recordings, in a clip as alone."""
    if not opinion.can_tell:
        return "inconclusive"
    limits = stack.thresholds["audio"] if opinion.channel == "voice" and kind == "video" else thresholds
    label = limits.label(opinion.score)
    return "inconclusive" if label == "real" and opinion.is_one_sided else label


def opinions_of(kind: Kind, evidence: Sequence[Evidence], stack: Stack) -> tuple[ChannelOpinion, ...]:
    """Return what each channel says, of those where a weighted branch ran.

    A channel that could not tell the classes apart when it was fitted speaks too, near an even chance: a voice that is
    genuine says nothing about such a picture.
    """
    opinions = []
    for channel in STACKED_CHANNELS:
        scored = {e.branch: e for e in evidence if e.channel == channel and e.score is not None}
        stacker = stack.stacker(channel, kind, list(scored)) if scored else None
        if stacker is None:
            continue
        used = {
            b: e for b, e in scored.items() if b in stacker.branches and stacker.weights[stacker.branches.index(b)] > 0
        }
        if used:
            opinions.append(replace(_opinion(channel, stacker, used), share=stack.channel_share.get(channel, 0.0)))
    declared = [e for e in evidence if e.channel == "provenance" and e.score is not None]
    if declared:
        logit_ = max(logit(e.score) for e in declared if e.score is not None)
        opinions.append(
            ChannelOpinion("provenance", logit_, 0.0, {declared[0].branch: logit_}, 1.0, is_prior_free=True)
        )
    return tuple(opinions)


def _opinion(channel: Channel, stacker: Stacker, used: Mapping[str, Evidence]) -> ChannelOpinion:
    logits = logits_of(used)
    terms = dict(zip(stacker.branches, stacker.terms(logits).tolist(), strict=True))
    mass = {b: stacker.weights[stacker.branches.index(b)] for b in used}
    total = sum(mass.values())
    quality = sum(mass[b] * (1.0 if e.quality is None else e.quality) for b, e in used.items()) / total
    spread = sum((mass[b] * curve_error(e)) ** 2 for b, e in used.items())
    sd = math.sqrt(stacker.member_sd(logits) ** 2 + spread + (POOR_INPUT_SD * (1 - quality)) ** 2)
    return ChannelOpinion(
        channel=channel,
        logit=stacker.logit(logits),
        sd=sd,
        terms={b: terms[b] for b in used},
        quality=quality,
        is_unlike_anything_fitted=stacker.is_unlike_anything_fitted(logits),
        can_tell=stacker.can_tell,
        is_one_sided=stacker.is_one_sided,
    )


def logits_of(evidence: Mapping[str, Evidence]) -> dict[str, float]:
    return {name: logit(e.score) for name, e in evidence.items() if e.score is not None}


def curve_error(evidence: Evidence) -> float:
    """Return the standard error, in log-odds, of a branch's score, from how much it differs along the clip."""
    if len(evidence.curve) < 2:
        return 0.0
    points = [logit(p.score) for p in evidence.curve]
    return float(np.std(points, ddof=1) / math.sqrt(len(points)))


def overall(
    opinions: Sequence[ChannelOpinion], *, draws: int = DRAWS
) -> tuple[float | None, tuple[float, float] | None]:
    """Return (p_fake, 90 % interval) over the channels; (None, None) when no stacked channel could speak.

    draws: how many the interval is taken from; without any it is left out.
    """
    if not any(not o.is_prior_free for o in opinions) and not any(o.score >= 0.5 for o in opinions):
        return None, None
    score = noisy_or(opinions, np.array([o.logit for o in opinions])[None])[0]
    if not draws:
        return float(score), None
    noise = np.random.default_rng(20261121).standard_normal((draws, len(opinions)))
    drawn = np.array([o.logit for o in opinions]) + noise * [o.sd for o in opinions]
    tail = (1 - INTERVAL_COVER) / 2
    low, high = np.quantile(noisy_or(opinions, drawn), [tail, 1 - tail])
    return float(score), (float(min(low, score)), float(max(high, score)))


def noisy_or(opinions: Sequence[ChannelOpinion], logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (k,) overall p_fake of (k, n) channel log-odds: fake when any channel is.

    Each channel's log-odds assume an even chance beforehand. The channel where manipulation mostly sits keeps it,
    whether or not another one is there: else a clip would look more genuine for having sound at all. Any other channel
    adds only the doubt of its own `share`, p0 = 1 - (1/2)**share: a genuine voice leaves what the picture says as it
    is, a doubtful one does not drown it, a confidently fake one decides. One channel alone passes through unchanged.
    """
    whole = sum(o.share for o in opinions if not o.is_prior_free)
    most = max((o.share for o in opinions if not o.is_prior_free), default=0.0)
    shares = np.array([o.share / whole if whole and not o.is_prior_free and o.share < most else 1.0 for o in opinions])
    p0 = 1 - CHANCE**shares
    shift = np.where([o.is_prior_free for o in opinions], 0.0, np.log(p0 / (1 - p0)))
    p_channel = 1 / (1 + np.exp(-(logits + shift)))
    return np.asarray(1 - np.prod(1 - p_channel, axis=1), float)


def contributions_of(opinions: Sequence[ChannelOpinion]) -> dict[str, float]:
    """Return branch -> signed log-odds it adds to the overall score.

    A channel passes on its terms by the slope of the noisy-or, d overall / d channel = p_channel / p_overall.
    """
    result: dict[str, float] = {}
    for opinion, slope in zip(opinions, _slopes(opinions), strict=True):
        for branch, term in opinion.terms.items():
            result[branch] = result.get(branch, 0.0) + slope * term
    return result


def doubtful_channel(opinions: Sequence[ChannelOpinion]) -> Channel | None:
    """Return the channel that a doubt comes from: what its checks found raised the overall score, and more than any
    other channel's; and it is the likeliest of them to be fake, as the noisy-or counts it.

    None where these are not one and the same, or only one channel was looked at. A channel's own score is no measure:
    it stands near an even chance where nothing was found.
    """
    slopes = {o.channel: slope for o, slope in zip(opinions, _slopes(opinions), strict=True) if not o.is_prior_free}
    if len(slopes) < 2:
        return None
    added = {o.channel: slopes[o.channel] * sum(o.terms.values()) for o in opinions if o.channel in slopes}
    most = max(added, key=lambda channel: added[channel])
    return most if added[most] > 0 and slopes[most] == max(slopes.values()) else None


def _slopes(opinions: Sequence[ChannelOpinion]) -> list[float]:
    """Return p_channel / p_overall of each channel, with p_channel as it enters the noisy-or."""
    if not opinions:
        return []
    total = noisy_or(opinions, np.array([[o.logit for o in opinions]]))[0]
    found = []
    for i in range(len(opinions)):
        alone = [o if j == i else _silenced(o) for j, o in enumerate(opinions)]
        p_channel = noisy_or(alone, np.array([[o.logit for o in alone]]))[0]
        found.append(float(p_channel / total) if total > 0 else 0.0)
    return found


def _silenced(opinion: ChannelOpinion) -> ChannelOpinion:
    return replace(opinion, logit=-50.0, sd=0.0, terms={})


def shares_of(contributions: Mapping[str, float]) -> dict[str, float]:
    total = sum(abs(c) for c in contributions.values())
    return {b: abs(c) / total if total else 0.0 for b, c in contributions.items()}


def is_clear(score: float, interval: tuple[float, float] | None, thresholds: Thresholds, margin: float) -> bool:
    """Whether a label respects its own interval: the interval reaches at most `margin` beyond the threshold."""
    if interval is None:
        return True
    if score >= thresholds.fake:
        return interval[0] >= thresholds.fake - margin
    return score >= thresholds.real or interval[1] <= thresholds.real + margin


def abstain_reason(
    kind: Kind,
    opinions: Sequence[ChannelOpinion],
    evidence: Sequence[Evidence],
    score: float | None,
    thresholds: Thresholds,
    stability: Stability | None,
    contributions: Mapping[str, float],
) -> str | None:
    """Return why no label is given, the most basic reason first; None when the verdict stands."""
    stacked = [o for o in opinions if not o.is_prior_free]
    if any(o.is_prior_free and o.score >= thresholds.fake for o in opinions):
        return None  # the file itself declares, under a signature that holds, that it was generated
    if score is None or not stacked or all(o.quality < MIN_QUALITY for o in stacked):
        return "too_little_evidence"
    label = thresholds.label(score)
    if kind == "video" and label == "real" and not any(o.channel == "picture" and o.can_tell for o in stacked):
        return "too_little_evidence"  # only the sound of a clip could be checked
    if not any(o.can_tell for o in stacked):
        return "cannot_tell"
    if _is_out_of_distribution(stacked, evidence, contributions):
        return "out_of_distribution"
    if stability is not None and stability.flips:
        return "unstable"
    # A genuine voice does not make a doubtful picture genuine: "real" takes every channel.
    doubtful = label == "real" and any(thresholds.label(o.score) != "real" for o in stacked)
    if label == "inconclusive" or doubtful:
        return "uncertain_band"
    if label == "real" and wording.shows_unchecked_face(evidence, contributions):
        return "face_not_checked"
    return "cannot_vouch" if label == "real" and any(o.is_one_sided for o in stacked) else None


def _is_out_of_distribution(
    stacked: Sequence[ChannelOpinion], evidence: Sequence[Evidence], contributions: Mapping[str, float]
) -> bool:
    """Whether the channel that carries the verdict saw an input unlike its training material."""
    leading = max(stacked, key=lambda o: o.logit)
    if leading.is_unlike_anything_fitted:
        return True
    strange = {e.branch for e in evidence if ood_ratio(e) > 1}
    mass = sum(abs(contributions.get(b, 0.0)) for b in leading.terms)
    return bool(mass) and sum(abs(contributions.get(b, 0.0)) for b in strange & set(leading.terms)) > mass / 2


def ood_ratio(evidence: Evidence) -> float:
    """Return a branch's open-set statistic over its limit; 0 when it has none.

    A branch states it as `data["ood"]` = {"distance": .., "limit": ..}.
    """
    ood = evidence.data.get("ood")
    if not isinstance(ood, Mapping) or not ood.get("limit"):
        return 0.0
    return float(ood["distance"]) / float(ood["limit"])


def fake_intervals(
    kind: Kind, evidence: Sequence[Evidence], stack: Stack, thresholds: Thresholds
) -> tuple[FakeInterval, ...]:
    """Return who looks or sounds fake, when and in which channel, from the branch curves through the same stacking."""
    found: list[FakeInterval] = []
    for channel in STACKED_CHANNELS:
        scored = {e.branch: e for e in evidence if e.channel == channel and e.score is not None}
        stacker = stack.stacker(channel, kind, list(scored)) if scored else None
        if stacker is None:
            continue
        for track in people_of(scored):
            times, scores = local_scores(stacker, scored, track)
            found += _spans_above(times, scores, thresholds.fake, channel, track)
    return tuple(sorted(found, key=lambda i: (i.start_s, i.channel)))


def people_of(scored: Mapping[str, Evidence]) -> list[int | None]:
    """Return the track numbers in the curves; [None] when no curve belongs to a person."""
    tracks: list[int | None] = []
    tracks += sorted({p.track for e in scored.values() for p in e.curve if p.track is not None})
    return tracks or [None]


def local_scores(
    stacker: Stacker, scored: Mapping[str, Evidence], track: int | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (t,) times and (t,) channel scores of one person (or of the sound) on a fixed grid; empty without curves.

    A branch without a curve keeps its overall log-odds everywhere.
    """
    curves = {b: [p for p in e.curve if p.track in (track, None)] for b, e in scored.items() if b in stacker.branches}
    curves = {b: c for b, c in curves.items() if c and stacker.weights[stacker.branches.index(b)] > 0}
    points = [p for c in curves.values() for p in c if p.end_s > p.start_s]
    if not points:
        return np.zeros(0), np.zeros(0)
    times = np.arange(min(p.start_s for p in points), max(p.end_s for p in points), GRID_S) + GRID_S / 2
    columns = []
    for b, e in scored.items():
        if b not in stacker.branches:
            continue
        fallback = logit(e.score if e.score is not None else 0.5)
        columns.append((b, _sample(curves.get(b, []), times, fallback)))
    total = np.full(len(times), stacker.intercept)
    for b, values in columns:
        i = stacker.branches.index(b)
        offsets = values - stacker.centres[i]
        total += stacker.weights[i] * (np.maximum(offsets, 0.0) if stacker.is_one_sided else offsets)
    covered = np.zeros(len(times), bool)
    for p in points:
        covered |= (times >= p.start_s) & (times < p.end_s)
    return times[covered], 1 / (1 + np.exp(-total[covered]))


def _sample(curve: Sequence[Any], times: NDArray[np.float64], fallback: float) -> NDArray[np.float64]:
    values = np.zeros(len(times))
    count = np.zeros(len(times))
    for p in curve:
        inside = (times >= p.start_s) & (times < max(p.end_s, p.start_s + GRID_S))
        values[inside] += logit(p.score)
        count[inside] += 1
    return np.where(count > 0, values / np.maximum(count, 1), fallback)


def _spans_above(
    times: NDArray[np.float64], scores: NDArray[np.float64], limit: float, channel: Channel, track: int | None
) -> list[FakeInterval]:
    spans: list[list[int]] = []
    for i in np.flatnonzero(scores >= limit):
        if spans and times[i] - times[spans[-1][-1]] <= MAX_GAP_S:
            spans[-1].append(int(i))
        else:
            spans.append([int(i)])
    half = GRID_S / 2
    return [
        FakeInterval(float(times[s[0]] - half), float(times[s[-1]] + half), channel, float(np.mean(scores[s])), track)
        for s in spans
    ]


def aggregate(scores: Sequence[float], rule: str) -> float:
    """Return one score of many: mean, max, median, or topk (mean of the highest fifth), in log-odds."""
    values = np.sort([logit(s) for s in scores])
    if rule == "mean":
        picked = values.mean()
    elif rule == "max":
        picked = values[-1]
    elif rule == "median":
        picked = np.median(values)
    elif rule == "topk":
        picked = values[-max(1, math.ceil(len(values) / 5)) :].mean()
    else:
        raise ValueError(f"Unknown aggregation {rule!r}; choose mean, max, median or topk.")
    return sigmoid(float(picked))


def logit(p: float) -> float:
    """Return the log-odds of p, bounded so that one saturated branch cannot outvote the rest for good."""
    edge = sigmoid(-MAX_ABS_LOGIT)
    p = min(max(p, edge), 1 - edge)
    return math.log(p / (1 - p))


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
