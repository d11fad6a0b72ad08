"""Public data sets, as their authors lay them out, into manifests of ours."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from detection.training.readers import faces, speech
from detection.training.readers.layout import LayoutError, Row

__all__ = ["LAYOUTS", "LayoutError", "Row", "read", "summary", "write"]

COLUMNS = ("path", "label", "kind", "method", "source_repo", "subject_group", "split")

LAYOUTS: dict[str, Callable[[Path], Iterator[Row]]] = {
    "ffpp": faces.face_forensics,
    "dfdc": faces.dfdc,
    "celebdf": faces.celeb_df,
    "deeperforensics": faces.deeper_forensics,
    "wilddeepfake": faces.wild_deepfake,
    "fakeavceleb": faces.fake_av_celeb,
    "asvspoof2019": speech.asvspoof_2019,
    "asvspoof2021": speech.asvspoof_2021,
}


def read(layout: str, root: Path) -> list[Row]:
    """Return all files of a data set. Raises LayoutError when the folder does not fit or holds nothing."""
    if layout not in LAYOUTS:
        raise LayoutError(f"There is no layout called {layout!r}. Known: {', '.join(LAYOUTS)}.")
    if not root.is_dir():
        raise LayoutError(f"{root} is no folder.")
    rows = list(LAYOUTS[layout](root.resolve()))
    if not rows:
        raise LayoutError(f"{root} has the folders of {layout}, but no media in them.")
    return rows


def write(rows: Iterable[Row], out: Path) -> None:
    """Write a manifest whose paths count from its own folder."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in rows:
            path = Path(os.path.relpath(row.path, out.parent.resolve())).as_posix()
            writer.writerow([path, *(getattr(row, name) for name in COLUMNS[1:])])


def summary(rows: Iterable[Row]) -> dict[str, int]:
    """Return counts by label, method and split, for people."""
    counts = Counter[str]()
    for row in rows:
        counts.update([row.label, f"{row.label}/{row.method}", f"split/{row.split or 'none'}"])
    return dict(sorted(counts.items()))
