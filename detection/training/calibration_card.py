"""The card of fusion.json: what it was fitted to, what each check weighs, what is reached."""

from __future__ import annotations

from typing import Any

HEAD = """# Fusion

Version {version}. Fitted by `manage.py calibrate` to the scores of the branches on **calibration** sources, which no
net was trained on; the figures at the end are from **test** sources, to which nothing was fitted, not even a threshold.
The speech head has learnt from all of its sources: for it the scores of heads that did not know the source stand in
(`ml_weights/audio/oof.csv`), here and in the figures.

- Per channel a logistic regression over the log-odds of the branches, weights not below zero, every source counted by
  the square root of its size, both classes alike: a score means "with an even chance beforehand".
- Calibrated (Platt) on predictions for left-out sources. The members for the interval are refits on resampled sources.
- Over channels: noisy-or, shifted so that an even chance overall stays an even chance.
- Thresholds: fake at {fake}, real below {real}, for pictures, clips and recordings alike.
- A branch with weight 0 is shown and does not count.

- "fake" is said of few genuine items and "real" of few fakes (chosen on the calibration sources), so recall is low
  where the checks are weak; what lies between is inconclusive.
- "real" takes every channel: a genuine voice does not make a doubtful picture genuine.

A domain whose interval reaches down to .50 holds no usable evidence yet: its weights are close to zero, its scores stay
near an even chance, and its files come out inconclusive unless another channel gives them away. Clips are labelled by
their picture alone; the row "video" counts a fake picture under a genuine voice against the voice check, too.

Most source material states no licence or a research licence (see the branches' cards). The weights here are a few
numbers per branch; refit them on your own media with the same command.
"""


def card(content: dict[str, Any]) -> str:
    """Return the card as Markdown."""
    limits = content["thresholds"]["image"]
    parts = [HEAD.format(version=content["version"], **limits), "## Weights\n", _weights(content)]
    parts += ["\n## Left-out calibration sources (cross-validated)\n", _table(content["domains"], of="metrics")]
    parts += ["\n## Test sources\n", _table(content["test"])]
    return "\n".join(parts) + "\n"


def _weights(content: dict[str, Any]) -> str:
    branches = sorted({b for entry in content["domains"].values() for b in entry["weights"]})
    lines = ["| domain | " + " | ".join(branches) + " | intercept |", "|---|" + "---|" * (len(branches) + 1)]
    for domain, entry in content["domains"].items():
        cells = [f"{entry['weights'][b]:.2f}" if b in entry["weights"] else "" for b in branches]
        lines.append(f"| {domain} | " + " | ".join(cells) + f" | {entry['intercept']:.2f} |")
    return "\n".join(lines)


def _table(entries: dict[str, Any], of: str | None = None) -> str:
    names = ("n", "n_fake", "sources", "auroc", "auroc_ci", "eer", "ece", "f1", "fpr", "coverage")
    rows = {name: (entry[of] if of else entry) for name, entry in entries.items()}
    shown = [n for n in names if any(n in row for row in rows.values())]
    lines = ["| | " + " | ".join(shown) + " |", "|---|" + "---|" * len(shown)]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(_cell(row.get(n)) for n in shown) + " |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return "–".join(f"{v:.2f}" for v in value)
    return f"{value:.3f}" if isinstance(value, float) else str(value)
