"""Readers of speech data sets: ASVspoof 2019 (logical access) and 2021 (logical access, deepfake)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from detection.training.readers.layout import SPLITS, LayoutError, Row, need

LABELS = {"bonafide": "real", "spoof": "fake"}


def asvspoof_2019(root: Path) -> Iterator[Row]:
    """ASVspoof 2019 LA (Wang et al. 2020): ASVspoof2019_LA_cm_protocols/*.txt and ASVspoof2019_LA_<part>/flac.

    A protocol line is "LA_0079 LA_T_1138215 - A01 spoof": speaker, file, environment, system, key.
    """
    root = root / "LA" if (root / "LA").is_dir() else root
    protocols = need(root / "ASVspoof2019_LA_cm_protocols", "ASVspoof 2019 keeps its keys there")
    for part, ending in (("train", "trn"), ("dev", "trl"), ("eval", "trl")):
        protocol = need(protocols / f"ASVspoof2019.LA.cm.{part}.{ending}.txt", "every part has a protocol")
        folder = need(root / f"ASVspoof2019_LA_{part}" / "flac", "its sound lies there")
        for number, line in enumerate(protocol.read_text().splitlines(), start=1):
            fields = line.split()
            if not fields:
                continue
            _check(fields, 5, protocol, number)
            speaker, name, _, system, key = fields[:5]
            yield from _row(folder / f"{name}.flac", key, system, "ASVspoof 2019 LA", speaker, part, protocol, number)


def asvspoof_2021(root: Path) -> Iterator[Row]:
    """ASVspoof 2021 LA or DF (Yamagishi et al. 2021): keys/<track>/CM/trial_metadata.txt and flac/.

    A line is "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval …"; in DF the fourth word is the source corpus.
    The codec is part of the method. Lines of part "hidden" are left out, and sounds that were not downloaded.
    """
    found = False
    for track in ("LA", "DF"):
        for keys in (root / "keys" / track / "CM", root / "keys" / "CM", root / f"{track}-keys-full/keys/{track}/CM"):
            table = keys / "trial_metadata.txt"
            if table.is_file() and (folder := _sounds(root, track)) is not None:
                found = True
                yield from _trials(table, folder, track)
                break
    if not found:
        raise LayoutError(
            f"{root} has no keys/<LA|DF>/CM/trial_metadata.txt beside a folder ASVspoof2021_<LA|DF>_eval/flac."
        )


def _sounds(root: Path, track: str) -> Path | None:
    folders = (root / f"ASVspoof2021_{track}_eval" / "flac", root / "flac")
    return next((folder for folder in folders if folder.is_dir()), None)


def _trials(table: Path, folder: Path, track: str) -> Iterator[Row]:
    for number, line in enumerate(table.read_text().splitlines(), start=1):
        fields = line.split()
        if not fields:
            continue
        _check(fields, 8, table, number)
        speaker, name, codec, channel, system, key, _, part = fields[:8]
        if part == "hidden" or not name.startswith(f"{track}_"):
            continue
        source = f"ASVspoof 2021 {track}" if track == "LA" else f"ASVspoof 2021 DF/{channel}"
        path = folder / f"{name}.flac"
        for row in _row(path, key, system, source, speaker, part, table, number):
            yield Row(row.path, row.label, "audio", f"{row.method}-{codec}", source, row.subject_group, row.split)


def _row(
    path: Path, key: str, system: str, source: str, speaker: str, part: str, table: Path, number: int
) -> Iterator[Row]:
    """One row, or none when the sound was not downloaded."""
    if key not in LABELS:
        raise LayoutError(f"{table}, line {number}: the key is {key!r}, not bonafide or spoof.")
    if part not in SPLITS:
        raise LayoutError(f"{table}, line {number}: {part!r} is no part that is known.")
    if path.is_file():
        method = "real" if key == "bonafide" else system
        yield Row(path, LABELS[key], "audio", method, source, f"asvspoof:{speaker}", SPLITS[part])


def _check(fields: list[str], count: int, table: Path, number: int) -> None:
    if len(fields) < count:
        raise LayoutError(f"{table}, line {number}: {len(fields)} words, {count} were expected.")
