"""The measured figures of a model card: every table of its Markdown that has a column AUROC."""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from typing import Any

from detection.engine import registry


@lru_cache
def figures(name: str) -> list[dict[str, Any]]:
    """Return [{"title", "rows": [{column: value}]}] of the card beside the weights; empty when there is no card."""
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
            found.append({"title": title, "rows": [dict(zip(header, row, strict=False)) for row in rows if row]})
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip().replace("**", "") for cell in line.strip().strip("|").split("|")]
