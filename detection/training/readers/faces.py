"""Readers of face data sets: FaceForensics++, DFDC, Celeb-DF, DeeperForensics, WildDeepfake, FakeAVCeleb."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from detection.training.readers.layout import (
    CLIP_ENDINGS,
    PICTURE_ENDINGS,
    SPLITS,
    Groups,
    LayoutError,
    Row,
    files,
    need,
)

FRAMES_PER_SEQUENCE = 8  # of WildDeepfake, which comes as pictures


def face_forensics(root: Path) -> Iterator[Row]:
    """FaceForensics++ (Rössler et al. 2019), any compression, with DeepFakeDetection where it was downloaded.

    original_sequences/<youtube|actors>/<c23>/videos/*.mp4,
    manipulated_sequences/<method>/<c23>/videos/<target>_<source>.mp4, and
    the authors' train.json, val.json, test.json (lists of pairs) in the root or in splits/. Without these files the
    split stays empty. A group is a pair of people that were swapped with each other.
    """
    originals = need(root / "original_sequences", "FaceForensics++ keeps its real clips there")
    fakes = need(root / "manipulated_sequences", "FaceForensics++ keeps its fakes there")
    split_of = _pair_splits(root)
    groups = Groups()
    for path in files(fakes, CLIP_ENDINGS, "*/*/videos/*"):
        groups.join(*_people(path))
    for folder, label in ((originals, "real"), (fakes, "fake")):
        for path in files(folder, CLIP_ENDINGS, "*/*/videos/*"):
            method, compression = path.parts[-4], path.parts[-3]
            people = _people(path)
            yield Row(
                path,
                label,
                "video",
                f"{method}-{compression}" if label == "fake" else f"real-{compression}",
                "FaceForensics++/DeepFakeDetection" if _is_acted(path) else "FaceForensics++",
                f"ffpp:{groups.of(people[0])}",
                split_of.get(path.stem[:3], "") if not _is_acted(path) else "",
            )


def _is_acted(path: Path) -> bool:
    return path.parts[-4] in ("actors", "DeepFakeDetection")


def _people(path: Path) -> list[str]:
    """071_054 -> both; of DeepFakeDetection 01_02__talking__XY -> actor01, actor02; 01__talking -> actor01."""
    numbers = path.stem.split("__")[0].split("_")
    return [f"actor{n}" for n in numbers] if _is_acted(path) else numbers


def _pair_splits(root: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in ("train", "val", "test"):
        for path in (root / f"{name}.json", root / "splits" / f"{name}.json"):
            if path.is_file():
                pairs = json.loads(path.read_text())
                if not isinstance(pairs, list) or not all(isinstance(p, list) for p in pairs):
                    raise LayoutError(f'{path} is no list of pairs such as [["071", "054"]].')
                found |= {str(person): SPLITS[name] for pair in pairs for person in pair}
    return found


def dfdc(root: Path) -> Iterator[Row]:
    """DFDC (Dolhansky et al. 2020): metadata.json beside the clips of each part, or the preview's dataset.json.

    metadata.json: {"a.mp4": {"label": "FAKE", "split": "train", "original": "b.mp4"}}. A group is an original with all
    fakes made from it; in the preview, the people of a swap.
    """
    parts = sorted([root / "metadata.json", *root.glob("*/metadata.json"), *root.glob("*/*/metadata.json")])
    parts = [path for path in parts if path.is_file()]
    if parts:
        for part in parts:
            yield from _dfdc_part(part)
    elif (root / "dataset.json").is_file():
        yield from _dfdc_preview(root)
    else:
        raise LayoutError(f"Neither metadata.json nor dataset.json lies below {root}: this is no DFDC folder.")


def _dfdc_part(metadata: Path) -> Iterator[Row]:
    for name, facts in sorted(_table(metadata).items()):
        path = metadata.parent / name
        if path.is_file():
            split = SPLITS.get(str(facts.get("split", "")), "")
            yield Row(
                path, _label(facts, path), "video", "dfdc", "DFDC", f"dfdc:{facts.get('original') or name}", split
            )


def _dfdc_preview(root: Path) -> Iterator[Row]:
    table = _table(root / "dataset.json")
    groups = Groups()
    for facts in table.values():
        groups.join(*(str(facts[key]) for key in ("target_id", "swapped_id") if facts.get(key)))
    for name, facts in sorted(table.items()):
        path = root / name
        if path.is_file():
            method, split = name.split("/")[0], SPLITS.get(str(facts.get("set", "")), "")
            group = f"dfdc-preview:{groups.of(str(facts.get('target_id')))}"
            yield Row(path, _label(facts, path), "video", method, "DFDC preview", group, split)


def _table(path: Path) -> dict[str, dict[str, object]]:
    table = json.loads(path.read_text())
    if not isinstance(table, dict) or not all(isinstance(facts, dict) for facts in table.values()):
        raise LayoutError(f"{path} is no table of clips and their facts.")
    return table


def _label(facts: dict[str, object], path: Path) -> str:
    label = str(facts.get("label", "")).lower()
    if label not in ("real", "fake"):
        raise LayoutError(f"{path} is labelled {facts.get('label')!r}, not REAL or FAKE.")
    return label


def celeb_df(root: Path) -> Iterator[Row]:
    """Celeb-DF v1 and v2 (Li et al. 2020): Celeb-real, YouTube-real, Celeb-synthesis, List_of_testing_videos.txt.

    Clips lie in these folders or in their videos/. The list names the test clips; all others are for training. A group
    is the person whose clip it was (id0 of id0_id16_0003.mp4), with the original.
    """
    listed = need(root / "List_of_testing_videos.txt", "Celeb-DF names its test clips there")
    tested = {line.split()[-1] for line in listed.read_text().splitlines() if line.strip()}
    folders = {"Celeb-real": "real", "YouTube-real": "real", "Celeb-synthesis": "fake"}
    for name, label in folders.items():
        folder = need(root / name, "Celeb-DF has it")
        for path in (*files(folder, CLIP_ENDINGS), *files(folder, CLIP_ENDINGS, "videos/*")):
            split = "test" if f"{name}/{path.name}" in tested else "train"
            person = path.stem.split("_")[0] if name != "YouTube-real" else f"youtube-{path.stem}"
            yield Row(
                path, label, "video", "Celeb-DF" if label == "fake" else "real", "Celeb-DF", f"celebdf:{person}", split
            )


def deeper_forensics(root: Path) -> Iterator[Row]:
    """DeeperForensics-1.0 (Jiang et al. 2020): manipulated_videos/<variant>/<target>_<actor>.mp4, lists/splits/*.txt.

    Its real clips are those of FaceForensics++ and are read with that layout; the source videos are no part of the
    published protocol and are left out. Groups follow the actor, as the authors ask.
    """
    fakes = need(root / "manipulated_videos", "DeeperForensics keeps its fakes there")
    split_of: dict[str, str] = {}
    for name in ("train", "val", "test"):
        path = root / "lists" / "splits" / f"{name}.txt"
        if path.is_file():
            split_of |= {
                Path(line.split()[0]).name: SPLITS[name] for line in path.read_text().splitlines() if line.strip()
            }
    for path in files(fakes, CLIP_ENDINGS, "*/*"):
        if not re.fullmatch(r"\d{3}_[MW]\d{3}", path.stem):
            raise LayoutError(f"{path} is not named <target>_<actor>, such as 000_M101.mp4.")
        actor = path.stem.split("_")[1]
        yield Row(
            path,
            "fake",
            "video",
            f"DF-VAE-{path.parent.name}",
            "DeeperForensics-1.0",
            f"deeperforensics:{actor}",
            split_of.get(path.name, ""),
        )


def wild_deepfake(root: Path) -> Iterator[Row]:
    """WildDeepfake (Zi et al. 2020): <real|fake>_<train|test>/<video>/<real|fake>/<sequence>/*.png, unpacked.

    Of a sequence, pictures spread over its length are taken. A group is a video.
    """
    for split in ("train", "test"):
        for label in ("real", "fake"):
            folder = need(root / f"{label}_{split}", "WildDeepfake has four such folders")
            for sequence in _sequences(folder):
                pictures = _in_order(files(sequence, PICTURE_ENDINGS))
                step = max(1, len(pictures) // FRAMES_PER_SEQUENCE)
                video = sequence.relative_to(folder).parts[0]
                group = f"wilddeepfake:{label}_{split}:{video}"
                for path in islice(pictures[::step], FRAMES_PER_SEQUENCE):
                    method = "in the wild" if label == "fake" else "real"
                    yield Row(path, label, "image", method, "WildDeepfake", group, SPLITS[split])


def _sequences(folder: Path) -> Iterator[Path]:
    """Every folder that holds pictures, however deep the archives were unpacked."""
    return (path for path in sorted(folder.rglob("*")) if path.is_dir() and any(files(path, PICTURE_ENDINGS)))


def _in_order(paths: Iterator[Path]) -> list[Path]:
    return sorted(paths, key=lambda p: (int(p.stem) if p.stem.isdigit() else 0, p.name))


def fake_av_celeb(root: Path) -> Iterator[Row]:
    """FakeAVCeleb (Khalid et al. 2021): <category>/<origin>/<sex>/<id>/*.mp4 and meta_data.csv.

    A clip counts as fake when its picture or its sound is; method tells which. Groups are people. There is no official
    split.
    """
    categories = ["RealVideo-RealAudio", "RealVideo-FakeAudio", "FakeVideo-RealAudio", "FakeVideo-FakeAudio"]
    methods = _av_methods(root / "meta_data.csv")
    for category in categories:
        folder = need(root / category, "FakeAVCeleb has four categories")
        for path in files(folder, CLIP_ENDINGS, "*/*/*/*"):
            label = "real" if category == categories[0] else "fake"
            method = methods.get((category, path.parent.name, path.name), "unknown")
            named = "real" if label == "real" else f"{category}:{method}"
            yield Row(path, label, "video", named, "FakeAVCeleb", f"fakeavceleb:{path.parent.name}")


def _av_methods(table: Path) -> dict[tuple[str, str, str], str]:
    """(category, person, file) -> method. The published header names the file `path` and leaves its folder nameless."""
    if not table.is_file():
        return {}
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if rows and not {"source", "method", "type"} <= set(rows[0]):
        raise LayoutError(f"{table} lacks source, method or type.")
    return {(row["type"], row["source"], row.get("filename") or row.get("path") or ""): row["method"] for row in rows}
