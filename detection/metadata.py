"""The metadata of a file in the order in which an analyst asks: device and program, dates, place, the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

Rows = tuple[tuple[str, str], ...]

DEVICE = ("make", "model", "lensmodel", "lensmake", "cameraownername", "bodyserialnumber", "hostcomputer")
PROGRAM = ("software", "processingsoftware", "creatortool", "encoder", "encoding_tool", "handler_name", "major_brand")
PROGRAM_ENDINGS = ("encoder", "handler_name")
DATES = ("date", "time")
NOT_DATES = ("exposuretime", "timescale", "shutter", "offsettime", "subsectime")
PLACE = ("gps", "location", "xyz", "city", "country")
UNNAMED = ("und", "VideoHandler", "SoundHandler")  # what programs write when they have nothing to say
_JOINT = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=GPS)(?=[A-Z])")


@dataclass(frozen=True)
class Metadata:
    device: Rows
    program: Rows
    dates: Rows
    place: Rows  # shown on demand only: it may be somebody's home
    rest: Rows

    @property
    def count(self) -> int:
        return sum(len(rows) for rows in (self.device, self.program, self.dates, self.place, self.rest))

    @property
    def groups(self) -> tuple[tuple[str, Rows], ...]:
        named = (("Device", self.device), ("Program", self.program), ("Dates", self.dates))
        return tuple((title, rows) for title, rows in named if rows)


def metadata_of(tags: Mapping[str, str]) -> Metadata:
    """Sort the tags that the decoder kept (EXIF names or container keys) into groups."""
    groups: dict[str, list[tuple[str, str]]] = {name: [] for name in ("device", "program", "dates", "place", "rest")}
    for name, value in sorted(tags.items()):
        group = _group_of(name, value)
        groups[group].append((_spaced(name), _readable_date(value) if group == "dates" else value))
    return Metadata(**{name: tuple(rows) for name, rows in groups.items()})


def _group_of(name: str, value: str) -> str:
    key = name.lower()
    if any(part in key for part in PLACE):
        return "place"
    if key in DEVICE:
        return "device"
    if value not in UNNAMED and (key in PROGRAM or key.endswith(PROGRAM_ENDINGS)):
        return "program"
    if any(part in key for part in DATES) and not any(part in key for part in NOT_DATES):
        return "dates"
    return "rest"


def _readable_date(value: str) -> str:
    """EXIF's `2020:03:26 10:30:06` → `26 Mar 2020, 10:30:06`; anything else stays as it is."""
    try:
        moment = datetime.strptime(value.strip(), "%Y:%m:%d %H:%M:%S")
    except ValueError:
        return value
    return f"{moment.day} {moment:%b %Y, %H:%M:%S}"


def _spaced(name: str) -> str:
    """`DateTimeOriginal` → `Date time original`, `encoding_tool` → `Encoding tool`; dotted names stay as they are."""
    if "." in name or not name.strip("_ "):
        return name
    first, *rest = _JOINT.sub(" ", name.replace("_", " ")).split()
    return " ".join([first[0].upper() + first[1:], *(word if word.isupper() else word.lower() for word in rest)])
