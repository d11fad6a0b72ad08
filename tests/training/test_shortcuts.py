"""The shortcut audit: the committed table passes, a planted leak is caught, and each number measures what it says."""

from __future__ import annotations

import itertools
import zlib
from dataclasses import replace
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from django.core.management import CommandError, call_command

from detection.engine import patches
from detection.training import shortcut_audit
from detection.training.shortcut_audit import Row
from tests.engine.scenes import ASTRONAUT

TABLE = Path(__file__).resolve().parents[1] / "data" / "shortcut_features.csv.gz"
PHOTO = np.ascontiguousarray(cv2.imread(str(ASTRONAUT))[..., ::-1])


@pytest.fixture(scope="module")
def stored() -> list[Row]:
    return shortcut_audit.load(TABLE)


def test_what_the_nets_see_does_not_tell_the_label_by_its_form(stored: list[Row]) -> None:
    findings = {one.modality: one for one in shortcut_audit.audit(stored)}
    assert set(findings) == {"picture", "face", "clip", "speech"}
    for one in findings.values():
        assert one.balanced_accuracy <= shortcut_audit.LIMIT, one
        assert one.n >= 150
        assert one.sources >= 10


@pytest.mark.parametrize(
    ("modality", "name"), [("speech", "sample_rate"), ("speech", "lead_s"), ("picture", "size"), ("face", "grey")]
)
def test_a_planted_leak_is_caught(stored: list[Row], modality: str, name: str) -> None:
    """Seven in ten fakes, and two in ten genuine files, differ in one number: far less than DATA's own leaks."""
    rng = np.random.default_rng(1)
    rows = [row for row in stored if row.modality == modality]
    leaky = [
        replace(
            row, values={**row.values, name: float(rng.random() < (0.7 if row.label else 0.2)) + rng.normal(0, 0.1)}
        )
        for row in rows
    ]
    (finding,) = shortcut_audit.audit(leaky)
    assert not finding.passes
    assert max(finding.alone, key=lambda one: finding.alone[one]) == name


def test_a_leak_of_one_source_alone_is_not_found_in_others(stored: list[Row]) -> None:
    """The classifier never learns from the source that it judges: what marks a source marks nothing else."""
    rows = [
        replace(row, values={**row.values, "mark": float(zlib.crc32(row.source.encode()) % 97)})
        for row in stored
        if row.modality == "speech"
    ]
    (finding,) = shortcut_audit.audit(rows)
    assert finding.balanced_accuracy <= 0.6


def test_folds_keep_sources_whole(stored: list[Row]) -> None:
    rows = [row for row in stored if row.modality == "picture"]
    y, sources = np.array([r.label for r in rows]), np.array([r.source for r in rows])
    folds = shortcut_audit.folds(y, sources)
    assert np.sum(folds, axis=0).tolist() == [1] * len(rows)
    assert all(not set(sources[a]) & set(sources[b]) for a, b in itertools.combinations(folds, 2))


def test_the_table_holds_no_names(stored: list[Row]) -> None:
    assert all(row.source[0] == "s" and row.source[1:].isdigit() for row in stored)
    assert TABLE.stat().st_size < 200_000


def test_a_table_survives_storing(tmp_path: Path) -> None:
    rows = [Row("speech", 1, "lab", {"dc": 0.5, "lead_s": 0.25}), Row("speech", 0, "home", {"dc": 0.125, "lead_s": 0})]
    shortcut_audit.save(rows, tmp_path / "t.csv.gz")
    assert shortcut_audit.load(tmp_path / "t.csv.gz") == [replace(rows[0], source="s1"), replace(rows[1], source="s0")]


def test_numbers_of_pictures_measure_form() -> None:
    plain = shortcut_audit.of_pieces(PHOTO)
    grey = shortcut_audit.of_pieces(np.repeat(cv2.cvtColor(PHOTO, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2))
    small = shortcut_audit.of_pieces(np.ascontiguousarray(PHOTO[:150, :150]))
    coarse = shortcut_audit.of_pieces(PHOTO // 32 * 32)
    assert (plain["grey"], grey["grey"]) == (0.0, 1.0)
    assert plain["mirrored"] == 0 < small["mirrored"]
    assert coarse["levels"] != plain["levels"]
    shifted = np.ascontiguousarray(patches.as_stored(PHOTO)[3:, 5:])
    blocky = cv2.imdecode(cv2.imencode(".jpg", PHOTO, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], cv2.IMREAD_COLOR)
    blocky = np.ascontiguousarray(blocky[3:, 5:])
    luma = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) for image in (shifted, blocky)]
    assert shortcut_audit.foreign_grid(luma[1]) > shortcut_audit.foreign_grid(luma[0]) + 0.2


def test_offset_and_loudness_do_not_reach_the_speech_net() -> None:
    rng = np.random.default_rng(0)
    voice = (0.1 * rng.standard_normal(32_000)).astype(np.float32)
    quiet = shortcut_audit._of_window(shortcut_audit.as_heard(voice))
    loud = shortcut_audit._of_window(shortcut_audit.as_heard(0.3 * voice + 0.2))
    assert loud["dc"] == pytest.approx(quiet["dc"], abs=1e-4)
    assert loud["loudness"] == pytest.approx(quiet["loudness"], abs=0.01)
    silent = voice.copy()
    silent[:8000] = 0
    assert shortcut_audit._of_window(silent)["lead_s"] == pytest.approx(0.5, abs=0.02)


def leaky_table(folder: Path) -> Path:
    rows = [
        Row("speech", i % 2, f"lab{i % 8 // 2}", {"dc": float(i % 2) if i % 5 else 0.5, "lead_s": 0.1})
        for i in range(80)
    ]
    shortcut_audit.save(rows, folder / "leaky.csv")
    return folder / "leaky.csv"


def test_the_command_fails_on_a_leak_and_names_it(tmp_path: Path) -> None:
    out = StringIO()
    with pytest.raises(CommandError, match="Shortcuts found in: speech"):
        call_command("audit_shortcuts", "--table", str(leaky_table(tmp_path)), stdout=out)
    assert "dc 0." in out.getvalue()


def test_the_command_measures_files(tmp_path: Path) -> None:
    lines = ["path,label,source_repo"]
    for i in range(4):
        (tmp_path / f"{i}.jpg").write_bytes(ASTRONAUT.read_bytes())
        lines.append(f"{i}.jpg,{'fake' if i % 2 else 'real'},s{i // 2}")
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    table = tmp_path / "t.csv"
    arguments = ["--manifest", str(tmp_path / "m.csv"), "--root", str(tmp_path), "--out", str(table)]
    with pytest.raises(CommandError, match="Too few rows"):
        call_command("audit_shortcuts", *arguments, stdout=StringIO(), stderr=StringIO())
    rows = shortcut_audit.load(table)
    assert [row.modality for row in rows] == ["picture", "face"] * 4
    assert rows[0].values == pytest.approx(rows[2].values)


def test_the_command_wants_a_table_or_manifests() -> None:
    with pytest.raises(CommandError, match="either --table or"):
        call_command("audit_shortcuts")


@pytest.mark.parametrize("content", [b"path,label\na.jpg,real\n", b"", b"\xff\xfe\x00"])
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_another_kind_of_table_is_refused_with_a_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CommandError, match="is not a table of this command"):
        call_command("audit_shortcuts", "--table", str(tmp_path / name))


def test_a_missing_table_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="is not a table of this command"):
        call_command("audit_shortcuts", "--table", str(tmp_path / "none.csv"))
