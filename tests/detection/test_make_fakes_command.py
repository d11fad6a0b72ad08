"""`manage.py make_fakes`: pairs, masks and a manifest that no split can part; plain errors."""

from __future__ import annotations

import csv
import hashlib
from io import StringIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from django.core.management import CommandError, call_command

from detection.training import splits
from detection.training.forgeries import chains, making
from tests.engine.scenes import ASTRONAUT

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A manifest of two "persons", a cat, and a fake that must not be a parent."""
    folder = tmp_path / "album"
    folder.mkdir()
    image = cv2.imread(str(ASTRONAUT))
    cv2.imwrite(str(folder / "ada.png"), image)
    cv2.imwrite(str(folder / "bea.png"), cv2.convertScaleAbs(image[:, ::-1], alpha=0.9, beta=15))
    (folder / "cat.jpg").write_bytes((SAMPLES / "cat-photo.jpg").read_bytes())
    (folder / "fake.jpg").write_bytes((SAMPLES / "blended-face.jpg").read_bytes())
    rows = ["path,label,source_repo,subject_group,licence,split", "ada.png,real,nasa/photos,ada,public domain,train"]
    rows += ["bea.png,real,nasa/photos,bea,CC0,train", "cat.jpg,real,cats/cats,chelsea,CC0,test"]
    rows += ["fake.jpg,fake,nasa/photos,ada,CC0,train"]
    (folder / "manifest.csv").write_text("\n".join(rows) + "\n")
    return folder


def make(album: Path, out: Path, method: str, **options: Any) -> tuple[list[dict[str, str]], str]:
    said, errors = StringIO(), StringIO()
    call_command(
        "make_fakes", method=method, manifest=album / "manifest.csv", out=out, stdout=said, stderr=errors, **options
    )
    with (out / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file)), said.getvalue() + errors.getvalue()


def test_a_swap_belongs_to_both_parents(album: Path, tmp_path: Path) -> None:
    rows, said = make(album, tmp_path / "out", "face_swap", count=2)
    assert [row["label"] for row in rows] == ["real", "fake", "real", "fake"]
    for row in rows:
        assert row["subject_group"] == "ada+bea"
        assert row["source_repo"] == "nasa/photos"
        assert splits.split_of(row) == "train"
    fakes = [row for row in rows if row["label"] == "fake"]
    assert {(row["parent"], row["donor"]) for row in fakes} == {("ada.png", "bea.png"), ("bea.png", "ada.png")}
    assert all(row["method"] == "face_swap" and row["manipulation"] == "faceswap" for row in fakes)
    assert all(set(row["licence"].split(" AND ")) == {"public domain", "CC0"} for row in fakes)
    assert "2 pairs" in said


@pytest.mark.parametrize("method", ["copy_move", "stamp", "recapture", "expression"])
def test_real_and_fake_of_a_pair_are_worn_alike(album: Path, tmp_path: Path, method: str) -> None:
    rows, _ = make(album, tmp_path / "out", method, count=2, seed=3, format="png", chain=["resized", "screenshot"])
    for real, fake in zip(rows[::2], rows[1::2], strict=True):
        assert real["chain"] == fake["chain"]
        assert chains.parse(real["chain"]).name in ("resized", "screenshot")
        assert real["parent"] == fake["parent"]
        assert real["subject_group"] == fake["subject_group"] == making_group(album, fake["parent"])
        shown = [cv2.imread(str(tmp_path / "out" / row["path"])) for row in (real, fake)]
        mask = cv2.imread(str(tmp_path / "out" / fake["mask"]), cv2.IMREAD_GRAYSCALE)
        assert shown[0].shape == shown[1].shape
        assert mask.shape == shown[0].shape[:2]
        change = np.abs(shown[0].astype(int) - shown[1]).max(axis=2)
        near = cv2.dilate(mask, np.ones((33, 33), np.uint8)) > 0  # resampling and JPEG blocks reach a little further
        assert change[mask > 0].mean() > 2
        assert change[~near].max(initial=0) <= 2


def making_group(album: Path, path: str) -> str:
    sources = making.read_sources(album / "manifest.csv", album)
    return next(source.group for source in sources if source.path == path)


def test_the_seed_gives_the_same_files(album: Path, tmp_path: Path) -> None:
    def digests(name: str, seed: int) -> list[str]:
        make(album, tmp_path / name, "copy_move", count=2, seed=seed)
        return [hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((tmp_path / name).rglob("*.*"))]

    first = digests("a", 1)
    assert len(first) == 2 * 3 + 1
    assert first == digests("b", 1)
    assert first != digests("c", 2)


def test_what_cannot_be_forged_is_said_and_passed_over(album: Path, tmp_path: Path) -> None:
    rows, said = make(album, tmp_path / "out", "portrait_swap", count=50)
    assert {row["parent"] for row in rows} == {"ada.png", "bea.png"}
    assert "cat.jpg: its source holds no picture of another person" in said
    assert f"Only {len(rows) // 2} of 50" in said


def test_nothing_to_forge_is_an_error(album: Path, tmp_path: Path) -> None:
    (album / "manifest.csv").write_text("path,label\ncat.jpg,real\n")
    with pytest.raises(CommandError, match=r"No picture could be forged by face_swap.*another person"):
        make(album, tmp_path / "out", "face_swap")


def test_a_manifest_that_says_too_little_is_an_error(album: Path, tmp_path: Path) -> None:
    (album / "manifest.csv").write_text("file,label\ncat.jpg,real\n")
    with pytest.raises(CommandError, match="lacks the column path"):
        make(album, tmp_path / "out", "stamp")
    (album / "manifest.csv").write_text("path,label\nvoice.flac,real\nfake.jpg,fake\n")
    with pytest.raises(CommandError, match="no real picture"):
        make(album, tmp_path / "out", "stamp")
    (album / "manifest.csv").write_text("path,label\ngone.jpg,real\n")
    with pytest.raises(CommandError, match="does not exist"):
        make(album, tmp_path / "out", "stamp")
    with pytest.raises(CommandError, match="cannot be used"):
        make(album / "nowhere", tmp_path / "out", "stamp")


def test_earlier_fakes_are_not_written_over(album: Path, tmp_path: Path) -> None:
    make(album, tmp_path / "out", "stamp", count=1)
    with pytest.raises(CommandError, match="exists already"):
        make(album, tmp_path / "out", "stamp", count=1)


def test_an_unknown_method_is_an_error(album: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="invalid choice"):
        call_command("make_fakes", "--method", "magic", "--manifest", "m.csv", "--out", str(tmp_path / "out"))
    with pytest.raises(CommandError, match="at least 1"):
        make(album, tmp_path / "out", "stamp", count=0)


def test_circles_stay_within_a_source_and_a_split() -> None:
    sources = [
        making.Source(f"{repo}-{split}-{i}", Path("x"), repo, f"{repo}-{split}-{i}", "", split)
        for repo in ("a", "b")
        for split in ("train", "test")
        for i in range(9)
    ]
    named = making.circles(sources, seed=0)
    assert len(named) == len(sources)
    for (repo, group), name in named.items():
        members = name.split("+")
        assert group in members
        assert len(members) >= 4
        assert {member.rsplit("-", 1)[0] for member in members} == {group.rsplit("-", 1)[0]}
        assert all(named[repo, member] == name for member in members)
    assert named == making.circles(sources, seed=0)
    assert named != making.circles(sources, seed=1)
