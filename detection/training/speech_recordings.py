"""Which rule makes one logit of a recording's windows: tried on recordings put together from held-out windows.

A genuine recording holds windows of genuine speech of one source, a fake one windows of one synthesizer of the source,
a partly cloned one both. No real long recording with a cloned part is at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from detection.engine.branches.audio import overall
from detection.training import metrics
from detection.training.audio_features import Clip, Floats

WINDOWS = 10
CLONED_SHARE = 0.3
Rule = Callable[[Floats], float]


def trimmed_mean(logits: Floats, cut: float = 0.2) -> float:
    """Mean without the highest and lowest `cut` of the windows."""
    drop = int(len(logits) * cut)
    return float(np.sort(logits)[drop : len(logits) - drop].mean())


def top_quarter(logits: Floats) -> float:
    """Mean of the most suspicious quarter."""
    return float(np.sort(logits)[-max(1, len(logits) // 4) :].mean())


RULES: dict[str, Rule] = {
    "mean": lambda logits: float(logits.mean()),
    "median": lambda logits: float(np.median(logits)),
    "trimmed mean": trimmed_mean,
    "top quarter": top_quarter,
    "highest": lambda logits: float(logits.max()),
    "shipped": overall,
}


def compare(clips: Sequence[Clip], logits: Floats, *, seed: int, per_source: int = 40) -> dict[str, dict[str, float]]:
    """Return rule -> AUROC against genuine recordings of "wholly" and "partly" synthetic ones (nan without any)."""
    rng = np.random.default_rng(seed)
    made: dict[str, list[Floats]] = {"genuine": [], "wholly": [], "partly": []}
    cloned = round(WINDOWS * CLONED_SHARE)
    for source in sorted({clip.source for clip in clips}):
        real = np.array([z for c, z in zip(clips, logits, strict=True) if c.source == source and not c.is_fake])
        systems = sorted({clip.system for clip in clips if clip.source == source and clip.is_fake})
        for _ in range(per_source if len(real) >= 3 else 0):
            made["genuine"].append(rng.choice(real, WINDOWS))
        for _ in range(per_source if systems else 0):
            system = str(rng.choice(systems))
            fake = np.array(
                [
                    z
                    for c, z in zip(clips, logits, strict=True)
                    if (c.source, c.system) == (source, system) and c.is_fake
                ]
            )
            made["wholly"].append(rng.choice(fake, WINDOWS))
            if len(real) >= 3:
                partly = [rng.choice(fake, cloned), rng.choice(real, WINDOWS - cloned)]
                made["partly"].append(np.concatenate(partly))
    return {
        name: {what: _auroc(rule, made["genuine"], made[what]) for what in ("wholly", "partly")}
        for name, rule in RULES.items()
    }


def _auroc(rule: Rule, genuine: Sequence[Floats], fake: Sequence[Floats]) -> float:
    scores = [rule(windows) for windows in [*genuine, *fake]]
    return metrics.auroc([0] * len(genuine) + [1] * len(fake), scores) if genuine and fake else float("nan")
