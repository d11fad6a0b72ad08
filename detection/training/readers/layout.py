"""What all readers of public data sets share: a row, an error that says what was expected, connected groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

CLIP_ENDINGS = (".mp4", ".avi", ".mov", ".mkv", ".webm")
PICTURE_ENDINGS = (".png", ".jpg", ".jpeg")

# How the authors call their splits -> how splits.py does. What only tunes is calibration, what only measures is test.
SPLITS = {
    "train": "train",
    "val": "calibration",
    "validation": "calibration",
    "dev": "calibration",
    "progress": "calibration",
    "test": "test",
    "eval": "test",
}


class LayoutError(ValueError):
    """A folder is not what a layout expects; the message says what was looked for and where."""


@dataclass(frozen=True)
class Row:
    """One line of a manifest. path: absolute; split: "" where the authors give none."""

    path: Path
    label: str  # real | fake
    kind: str  # image | video | audio
    method: str
    source_repo: str
    subject_group: str
    split: str = ""


def need(folder: Path, why: str) -> Path:
    """Return a path that must exist. Raises LayoutError."""
    if not folder.exists():
        raise LayoutError(f"{folder} is missing: {why}.")
    return folder


def files(folder: Path, endings: Iterable[str], pattern: str = "*") -> Iterator[Path]:
    """Files of a folder in order of their names."""
    wanted = tuple(endings)
    return (p for p in sorted(folder.glob(pattern)) if p.is_file() and p.suffix.lower() in wanted)


class Groups:
    """Names that belong together because a fake joins them: two people of one swap are one group."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def of(self, name: str) -> str:
        """Return the first name (in order) of the group of `name`."""
        parent = self._parent.setdefault(name, name)
        return name if parent == name else self.of(parent)

    def join(self, *names: str) -> None:
        first, *others = sorted(self.of(name) for name in names)
        for other in others:
            self._parent[other] = first
