"""`manage.py evaluate`: the contract of the command, and its arithmetic."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from detection import evaluation
from detection.evaluation import Item, Row
from tests.engine.scenes import ASTRONAUT

GROUP = {
    "n", "n_real", "n_fake", "scored", "auroc", "auroc_ci", "eer", "f1", "accuracy", "fpr", "ece", "coverage",
    "selective_accuracy", "threshold", "seconds_median", "pr_auc", "precision", "recall",
}  # fmt: skip


def item(label: str, score: float | None, verdict: str, **row: str) -> Item:
    return Item(Row(f"{label}{score}", label, **row), "image", score, verdict, 0.6, 0.5, None if score else "broken")


ITEMS = [
    item("fake", 0.9, "fake", method="swap"),
    item("fake", 0.7, "inconclusive", method="swap"),
    item("fake", 0.2, "real", method="gan"),
    item("fake", None, "error", method="gan"),
    item("real", 0.1, "real"),
    item("real", 0.3, "real"),
    item("real", 0.65, "fake"),
    item("real", 0.5, "inconclusive"),
]


def test_every_number_of_a_group() -> None:
    numbers = evaluation.measure(ITEMS)
    assert set(numbers) == GROUP
    assert (numbers["n"], numbers["n_real"], numbers["n_fake"]) == (8, 4, 4)
    assert numbers["scored"] == 7 / 8
    assert numbers["auroc"] == pytest.approx((4 + 4 + 1) / 12, abs=1e-6)
    assert numbers["f1"] == pytest.approx(2 * 2 / (2 * 2 + 1 + 2), abs=1e-6)  # the unreadable fake was missed
    assert (numbers["precision"], numbers["recall"]) == (pytest.approx(2 / 3, abs=1e-6), 2 / 4)
    assert numbers["pr_auc"] == pytest.approx((1 + 1 + 3 / 6) / 3, abs=1e-6)
    assert numbers["accuracy"] == 5 / 8
    assert numbers["fpr"] == 1 / 4
    assert numbers["coverage"] == 5 / 8
    assert numbers["selective_accuracy"] == 3 / 5
    assert numbers["threshold"] == 0.6
    assert numbers["seconds_median"] == 0.5


def test_an_unscored_genuine_file_is_wrong_but_no_false_alarm() -> None:
    numbers = evaluation.measure([item("real", None, "error"), item("real", 0.1, "real"), item("real", 0.9, "fake")])
    assert (numbers["fpr"], numbers["precision"]) == (0.5, 0.0)
    assert numbers["accuracy"] == pytest.approx(1 / 3, abs=1e-6)


def test_an_interval_needs_five_files_of_each_label() -> None:
    few = [item("real", 0.1 + n / 100, "real") for n in range(4)] + [
        item("fake", 0.9 - n / 100, "fake") for n in range(4)
    ]
    assert evaluation.measure(few)["auroc_ci"] is None
    more = [*few, item("real", 0.95, "fake"), item("fake", 0.05, "real")]
    low, high = evaluation.measure(more)["auroc_ci"]
    assert low < high


def test_one_class_has_no_auroc() -> None:
    numbers = evaluation.measure([item("real", 0.1, "real")])
    assert numbers["auroc"] is None
    assert numbers["auroc_ci"] is None


def test_a_method_is_measured_against_the_genuine_files_of_its_kind() -> None:
    report = evaluation.report(ITEMS)
    assert set(report["by_method"]) == {"swap", "gan"}
    assert report["by_method"]["swap"]["n_real"] == 4
    assert report["by_method"]["swap"]["auroc"] == 1.0
    assert [i["path"] for i in report["items"]] == [i.row.path for i in ITEMS]
    assert set(report["items"][0]) == {"path", "label", "score", "verdict", "seconds", "error"}


def write_manifest(folder: Path, text: str) -> Path:
    path = folder / "m.csv"
    path.write_text(text)
    return path


def test_the_command_writes_metrics_in_the_order_of_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(ASTRONAUT.read_bytes())
    (tmp_path / "broken.jpg").write_bytes(b"not a picture at all")
    manifest = write_manifest(
        tmp_path,
        "path,label,kind,method\na.jpg,real,image,\nbroken.jpg,fake,image,x\ngone.jpg,fake,image,x\na.jpg,real,,\n",
    )
    out = tmp_path / "metrics.json"
    arguments = ["--manifest", manifest, "--root", tmp_path, "--out", out, "--workers", 2, "--limit", 3]
    call_command("evaluate", *map(str, arguments), stdout=StringIO(), stderr=StringIO())
    report = json.loads(out.read_text())
    assert [i["path"] for i in report["items"]] == ["a.jpg", "broken.jpg", "gone.jpg"]
    assert report["items"][0]["error"] is None
    assert 0 <= report["items"][0]["score"] <= 1
    assert report["items"][1]["verdict"] == "error"
    assert len(report["items"][1]["error"]) > 10
    assert "FileNotFoundError" in report["items"][2]["error"]
    assert report["overall"]["n"] == 3
    assert report["overall"]["scored"] == pytest.approx(1 / 3, abs=1e-6)
    assert set(report["by_kind"]) == {"image"}


@pytest.mark.parametrize(
    ("text", "words"), [("file,label\n", "lacks the column path"), ("path,label\na.jpg,maybe\n", "line 2: the label")]
)
def test_a_faulty_manifest_is_named(tmp_path: Path, text: str, words: str) -> None:
    manifest = write_manifest(tmp_path, text)
    with pytest.raises(CommandError, match=words):
        call_command("evaluate", "--manifest", str(manifest), "--root", str(tmp_path), "--out", str(tmp_path / "o"))


def test_sources_are_measured_one_by_one_where_they_are_named() -> None:
    named = [item("fake", 0.9, "fake", source="a"), item("real", 0.1, "real", source="a"), item("real", 0.7, "fake")]
    assert set(evaluation.report(named)["by_source"]) == {"a"}
    assert evaluation.report(named)["by_source"]["a"]["n"] == 2
    assert "by_source" not in evaluation.report(ITEMS)


def test_a_wrong_root_is_said_at_once(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, "path,label\n" + "".join(f"{i}.jpg,real\n" for i in range(30)))
    arguments = ["--manifest", str(manifest), "--root", str(tmp_path / "elsewhere"), "--out", str(tmp_path / "o.json")]
    with pytest.raises(CommandError, match="None of the first 20 files"):
        call_command("evaluate", *arguments)
    assert not (tmp_path / "o.json").exists()


def test_a_killed_run_goes_on_where_it_ended(tmp_path: Path) -> None:
    rows = [Row(f"{i}.jpg", "real") for i in range(3)]
    partial = evaluation.Partial(tmp_path / "m.json.partial", {"model_version": "1"})
    assert partial.items(rows) == []
    partial.restart([])
    judged = Item(rows[0], "image", 0.25, "real", 0.6, 0.1)
    partial.add(judged)
    with partial.path.open("a") as file:
        file.write('{"path": "1.jpg", "kin')  # cut off by the kill
    assert partial.items(rows) == [judged]
    assert evaluation.Partial(partial.path, {"model_version": "2"}).items(rows) == []
    assert partial.items([Row("other.jpg", "real")]) == []


def test_documents_are_not_available_yet(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, "path,label\n")
    arguments = ["--manifest", str(manifest), "--root", str(tmp_path), "--out", str(tmp_path / "o")]
    with pytest.raises(CommandError, match="not available yet"):
        call_command("evaluate", *arguments, "--task", "documents")
