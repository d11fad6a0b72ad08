"""The card of fusion.json: what it was fitted to, what each check weighs, what is reached."""

from __future__ import annotations

from typing import Any

HEAD = """# Fusion

Version {version}. Fitted by `manage.py calibrate` to the scores of the branches on sources that the scoring nets had
not learnt from: the calibration and test splits, and every row for which a branch brings the score of a head that did
not know its source (`ml_weights/<branch>/oof.csv`).

- Per channel a logistic regression over the log-odds of the branches, weights not below zero, every source counted by
  the square root of its size, both classes alike: a score means "with an even chance beforehand".
- Calibrated (Platt) on predictions for left-out sources. The members for the interval are refits on resampled sources.
- Over channels: noisy-or. The picture keeps its even chance, with or without sound; a voice adds the doubt of its
  share. Of the ways a clip is faked the picture takes {picture:.0%}, the voice {voice:.0%},
  their synchrony {synchrony:.0%}.
- Thresholds: {thresholds}. Chosen, kind by kind, on scores of rows whose sources the fit did not see.
- A branch with weight 0 is shown and does not count.
- A label whose 90 % interval reaches more than {margin} beyond its threshold is not given.
- "real" takes every channel: a genuine voice does not make a doubtful picture genuine.

**How to read the figures.** "Sources left out" is the headline: the whole fit, thresholds included, was repeated eight
times, each time without a share of the sources and without every generator and subject that these share with others,
and the engine's own fusion judged what was left out. `ece` is over the rows as they are, `ece_even` with both classes
counted alike. "Calibration to test" fits to the calibration split alone. "As fitted" flatters and is there to compare.

A domain whose interval reaches down to .50 holds no usable evidence yet: its weights are close to zero, its scores stay
near an even chance, and its files come out inconclusive unless another channel gives them away. Clips are labelled by
their picture alone; the row "video" counts a fake picture under a genuine voice against the voice check, too.

Most source material states no licence or a research licence (see the branches' cards). The weights here are a few
numbers per branch; refit them on your own media with the same command.
"""


ONE_SIDED = """Unfitted and one-sided, by decision 6: {domains}. Every check weighs alike in units of its spread, one
that finds less than usual says nothing, and the channel says "fake" or nothing, never "real".
"""


def card(content: dict[str, Any]) -> str:
    """Return the card as Markdown."""
    pairs = content["thresholds"].items()
    said = "; ".join(f"{kind} fake at {t['fake']}, real below {t['real']}" for kind, t in pairs)
    head = HEAD.format(
        version=content["version"], thresholds=said, margin=content["clear_margin"], **content["channel_share"]
    )
    sided = [name for name, entry in content["domains"].items() if entry["is_one_sided"]]
    parts = [head, "## Weights\n", *([ONE_SIDED.format(domains=", ".join(sided))] if sided else []), _weights(content)]
    parts += ["\n## Sources left out (headline)\n", _table(content["cross_validated"])]
    parts += ["\n## Calibration to test\n", _table(content["test"])]
    parts += ["\n## As fitted\n", _table(content["in_sample"])]
    return "\n".join(parts) + "\n"


def _weights(content: dict[str, Any]) -> str:
    branches = sorted({b for entry in content["domains"].values() for b in entry["weights"]})
    lines = ["| domain | " + " | ".join(branches) + " | intercept |", "|---|" + "---|" * (len(branches) + 1)]
    for domain, entry in content["domains"].items():
        cells = [f"{entry['weights'][b]:.2f}" if b in entry["weights"] else "" for b in branches]
        lines.append(f"| {domain} | " + " | ".join(cells) + f" | {entry['intercept']:.2f} |")
    return "\n".join(lines)


NAMES = (
    *("n", "n_fake", "sources", "auroc", "auroc_ci", "eer", "ece", "ece_even"),
    *("f1", "fpr", "coverage", "selective_accuracy"),
)


def _table(entries: dict[str, Any]) -> str:
    lines = ["| | " + " | ".join(NAMES) + " |", "|---|" + "---|" * len(NAMES)]
    for name, row in entries.items():
        lines.append(f"| {name} | " + " | ".join(_cell(row.get(n)) for n in NAMES) + " |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return "–".join(f"{v:.2f}" for v in value)
    return f"{value:.3f}" if isinstance(value, float) else str(value)
