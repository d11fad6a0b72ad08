"""The measured figures of a model card: every table of its Markdown that has a column AUROC."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import groupby
from typing import Any

from detection.engine import registry


@lru_cache
def figures(name: str) -> list[dict[str, Any]]:
    """Return [{"title", "rows": [{column: text}], "numbers"}] of the card beside the weights; empty without a card."""
    try:
        text = (registry.WEIGHTS_DIR / name / "CARD.md").read_text()
    except FileNotFoundError:
        return []
    return parse(text)


def parse(text: str) -> list[dict[str, Any]]:
    found, title = [], ""
    for is_table, lines in groupby(text.splitlines(), key=lambda line: line.startswith("|")):
        if not is_table:
            title = next((line.lstrip("# ").strip() for line in reversed(list(lines)) if line.startswith("#")), title)
            continue
        header, _, *rows = [_cells(line) for line in lines] + [[], []]
        if "AUROC" in header:
            names = [header[0] or "set", *header[1:]]  # of what the figures are: some cards leave that unsaid
            shown = [_named(names, row) for row in rows if row]
            found.append({"title": title, "rows": shown, "numbers": [numbers(row) for row in shown]})
    return found


def _named(names: list[str], row: list[str]) -> dict[str, str]:
    return {name: cell for name, cell in zip(names, row, strict=False) if name}


def numbers(row: Mapping[str, str]) -> dict[str, Any]:
    """One line of a card as numbers; some cards write the interval beside the figure, some an error rate in percent.

    {"set", "auroc", "auroc_ci", "eer"}, all but the first 0 to 1 or None.
    """
    figure, _, interval = row.get("AUROC", "").partition(" (")
    interval = interval or next((text for name, text in row.items() if name.startswith("95 %")), "")
    bounds = _numbers_in(interval)
    return {
        "set": next(iter(row.values()), ""),
        "auroc": next(iter(_numbers_in(figure)), None),
        "auroc_ci": bounds[:2] if len(bounds) >= 2 else None,
        "eer": next(iter(_numbers_in(row.get("EER", ""))), None),
    }


def _numbers_in(text: str) -> list[float]:
    """The numbers of a cell, none of them negative; percentages as shares of one."""
    is_percent = "%" in text
    return [
        round(float(number) / 100, 4) if is_percent else float(number) for number in re.findall(r"\d*\.\d+|\d+", text)
    ]


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("**", "") for cell in line.strip().strip("|").split("|")]
