"""Tiny trees in the published layouts: labels, groups, splits, and errors that say what is missing."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from detection.training import readers, splits
from detection.training.readers import LayoutError


def plant(root: Path, tree: Mapping[str, str]) -> Path:
    """Write {relative path: text}; media are empty files, readers never open them."""
    for name, text in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def by_name(layout: str, root: Path) -> dict[str, readers.Row]:
    return {row.path.relative_to(root.resolve()).as_posix(): row for row in readers.read(layout, root)}


FFPP = {
    "original_sequences/youtube/c23/videos/071.mp4": "",
    "original_sequences/youtube/c23/videos/054.mp4": "",
    "original_sequences/youtube/c23/videos/900.mp4": "",
    "original_sequences/actors/c23/videos/01__talking.mp4": "",
    "manipulated_sequences/Deepfakes/c23/videos/071_054.mp4": "",
    "manipulated_sequences/FaceSwap/c40/videos/054_071.mp4": "",
    "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__talking__ABC.mp4": "",
    "splits/train.json": json.dumps([["071", "054"]]),
    "splits/test.json": json.dumps([["900", "901"]]),
}


def test_face_forensics(tmp_path):
    rows = by_name("ffpp", plant(tmp_path, FFPP))
    assert len(rows) == 7
    original = rows["original_sequences/youtube/c23/videos/071.mp4"]
    swap = rows["manipulated_sequences/Deepfakes/c23/videos/071_054.mp4"]
    assert (original.label, swap.label, swap.method, swap.split) == ("real", "fake", "Deepfakes-c23", "train")
    # Both ways of a swap and both people are one group.
    pair = {row.subject_group for name, row in rows.items() if "071" in name or "054" in name}
    assert pair == {"ffpp:054"}
    assert rows["original_sequences/youtube/c23/videos/900.mp4"].split == "test"
    acted = rows["manipulated_sequences/DeepFakeDetection/c23/videos/01_02__talking__ABC.mp4"]
    assert acted.subject_group == rows["original_sequences/actors/c23/videos/01__talking.mp4"].subject_group
    assert acted.split == ""
    assert acted.source_repo != swap.source_repo


def test_dfdc_parts(tmp_path):
    metadata = {
        "fake.mp4": {"label": "FAKE", "split": "train", "original": "real.mp4"},
        "real.mp4": {"label": "REAL", "split": "train"},
        "gone.mp4": {"label": "REAL", "split": "train"},
    }
    tree = {"part_0/metadata.json": json.dumps(metadata), "part_0/fake.mp4": "", "part_0/real.mp4": ""}
    rows = by_name("dfdc", plant(tmp_path, tree))
    assert set(rows) == {"part_0/fake.mp4", "part_0/real.mp4"}
    assert {row.subject_group for row in rows.values()} == {"dfdc:real.mp4"}
    assert rows["part_0/fake.mp4"].label == "fake"


def test_dfdc_with_a_label_that_is_none(tmp_path):
    plant(tmp_path, {"metadata.json": json.dumps({"a.mp4": {"label": "MAYBE"}}), "a.mp4": ""})
    with pytest.raises(LayoutError, match="labelled 'MAYBE'"):
        readers.read("dfdc", tmp_path)


def test_dfdc_preview(tmp_path):
    table = {
        "method_A/1/x.mp4": {"label": "fake", "target_id": "7", "swapped_id": "3", "set": "train"},
        "original_videos/3/y.mp4": {"label": "real", "target_id": "3", "swapped_id": None, "set": "test"},
    }
    rows = by_name("dfdc", plant(tmp_path, {"dataset.json": json.dumps(table), **dict.fromkeys(table, "")}))
    assert rows["method_A/1/x.mp4"].method == "method_A"
    assert len({row.subject_group for row in rows.values()}) == 1
    assert rows["original_videos/3/y.mp4"].split == "test"


def test_celeb_df(tmp_path):
    tree = {
        "Celeb-real/id0_0000.mp4": "",
        "YouTube-real/00170.mp4": "",
        "Celeb-synthesis/id0_id16_0003.mp4": "",
        "Celeb-synthesis/videos/id1_id0_0000.mp4": "",
        "List_of_testing_videos.txt": "1 YouTube-real/00170.mp4\n0 Celeb-synthesis/id0_id16_0003.mp4\n",
    }
    rows = by_name("celebdf", plant(tmp_path, tree))
    labels = {name.split("/")[-1]: (row.label, row.split) for name, row in rows.items()}
    assert labels == {
        "id0_0000.mp4": ("real", "train"),
        "00170.mp4": ("real", "test"),
        "id0_id16_0003.mp4": ("fake", "test"),
        "id1_id0_0000.mp4": ("fake", "train"),
    }
    assert rows["Celeb-real/id0_0000.mp4"].subject_group == rows["Celeb-synthesis/id0_id16_0003.mp4"].subject_group


def test_deeper_forensics(tmp_path):
    tree = {
        "manipulated_videos/end_to_end/000_M101.mp4": "",
        "manipulated_videos/end_to_end_level_5/001_W133.mp4": "",
        "lists/splits/train.txt": "000_M101.mp4\n",
        "lists/splits/val.txt": "001_W133.mp4\n",
    }
    rows = by_name("deeperforensics", plant(tmp_path, tree))
    first, second = (rows[name] for name in sorted(rows))
    assert (first.method, first.split, first.subject_group) == ("DF-VAE-end_to_end", "train", "deeperforensics:M101")
    assert (second.method, second.split) == ("DF-VAE-end_to_end_level_5", "calibration")
    plant(tmp_path, {"manipulated_videos/end_to_end/holiday.mp4": ""})
    with pytest.raises(LayoutError, match=r"<target>_<actor>"):
        readers.read("deeperforensics", tmp_path)


def test_wild_deepfake_takes_pictures_from_all_over_a_sequence(tmp_path):
    tree = {f"fake_train/12/fake/3/{n}.png": "" for n in range(40)}
    tree |= {f"{label}_{split}/1/{label}/0/5.png": "" for label in ("real", "fake") for split in ("train", "test")}
    rows = by_name("wilddeepfake", plant(tmp_path, tree))
    chosen = [int(Path(name).stem) for name in rows if name.startswith("fake_train/12")]
    assert chosen == [0, 5, 10, 15, 20, 25, 30, 35]
    assert {row.subject_group for name, row in rows.items() if "/12/" in name} == {"wilddeepfake:fake_train:12"}
    assert rows["real_test/1/real/0/5.png"].split == "test"


def test_fake_av_celeb(tmp_path):
    header = "source,target1,target2,method,category,type,race,gender,path,\n"
    line = "id00076,-,-,wav2lip,D,FakeVideo-FakeAudio,African,men,00109_10_id00476_wavtolip.mp4,FakeAVCeleb/x\n"
    tree = {"meta_data.csv": header + line}
    for category in ("RealVideo-RealAudio", "RealVideo-FakeAudio", "FakeVideo-RealAudio", "FakeVideo-FakeAudio"):
        tree[f"{category}/African/men/id00076/00109.mp4"] = ""
    tree["FakeVideo-FakeAudio/African/men/id00076/00109_10_id00476_wavtolip.mp4"] = ""
    rows = by_name("fakeavceleb", plant(tmp_path, tree))
    assert sorted(row.label for row in rows.values()) == ["fake", "fake", "fake", "fake", "real"]
    lipsync = rows["FakeVideo-FakeAudio/African/men/id00076/00109_10_id00476_wavtolip.mp4"]
    assert lipsync.method == "FakeVideo-FakeAudio:wav2lip"
    assert {row.subject_group for row in rows.values()} == {"fakeavceleb:id00076"}


ASV = {
    "LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt": (
        "LA_0079 LA_T_1 - - bonafide\nLA_0079 LA_T_2 - A01 spoof\nLA_0080 LA_T_3 - A02 spoof\n"
    ),
    "LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.dev.trl.txt": "LA_0069 LA_D_1 - - bonafide\n",
    "LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.eval.trl.txt": "LA_0039 LA_E_1 - A11 spoof\n",
    "LA/ASVspoof2019_LA_train/flac/LA_T_1.flac": "",
    "LA/ASVspoof2019_LA_train/flac/LA_T_2.flac": "",
    "LA/ASVspoof2019_LA_dev/flac/LA_D_1.flac": "",
    "LA/ASVspoof2019_LA_eval/flac/LA_E_1.flac": "",
}


def test_asvspoof_2019(tmp_path):
    rows = readers.read("asvspoof2019", plant(tmp_path, ASV))
    assert [(r.path.stem, r.label, r.method, r.split, r.subject_group) for r in rows] == [
        ("LA_T_1", "real", "real", "train", "asvspoof:LA_0079"),
        ("LA_T_2", "fake", "A01", "train", "asvspoof:LA_0079"),
        ("LA_D_1", "real", "real", "calibration", "asvspoof:LA_0069"),
        ("LA_E_1", "fake", "A11", "test", "asvspoof:LA_0039"),
    ]


def test_a_protocol_with_a_broken_line_names_it(tmp_path):
    protocol = "LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.dev.trl.txt"
    plant(tmp_path, {**ASV, protocol: "LA_0069 LA_D_1 - - bonafide\nLA_0069 LA_D_1\n"})
    with pytest.raises(LayoutError, match="line 2: 2 words, 5 were expected"):
        readers.read("asvspoof2019", tmp_path)


def test_asvspoof_2021_both_tracks(tmp_path):
    la = (
        "LA_0009 LA_E_9332881 alaw ita_tx A07 spoof notrim eval\n"
        "LA_0009 LA_E_5 none - bonafide bonafide notrim hidden\n"
    )
    df = (
        "LA_0023 DF_E_2000011 nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -\n"
        "TEF2 DF_E_2000013 low_m4a vcc2020 Task1-team20 spoof notrim eval neural_vocoder Task1 team20 FF E\n"
        "TEF2 DF_E_3 low_m4a vcc2020 - bonafide notrim eval bonafide - - - -\n"
    )
    tree = {"keys/LA/CM/trial_metadata.txt": la, "keys/DF/CM/trial_metadata.txt": df}
    tree |= {f"ASVspoof2021_LA_eval/flac/{name}.flac": "" for name in ("LA_E_9332881", "LA_E_5")}
    tree |= {f"ASVspoof2021_DF_eval/flac/{name}.flac": "" for name in ("DF_E_2000011", "DF_E_2000013", "DF_E_3")}
    rows = {row.path.stem: row for row in readers.read("asvspoof2021", plant(tmp_path, tree))}
    assert set(rows) == {"LA_E_9332881", "DF_E_2000011", "DF_E_2000013", "DF_E_3"}
    assert (rows["LA_E_9332881"].method, rows["LA_E_9332881"].split) == ("A07-alaw", "test")
    assert rows["DF_E_2000011"].split == "calibration"
    assert rows["DF_E_2000013"].source_repo == "ASVspoof 2021 DF/vcc2020"
    assert (rows["DF_E_3"].label, rows["DF_E_3"].method) == ("real", "real-low_m4a")


@pytest.mark.parametrize("layout", sorted(readers.LAYOUTS))
def test_a_folder_of_another_kind_is_refused(layout, tmp_path):
    plant(tmp_path, {"holiday/one.jpg": ""})
    with pytest.raises(LayoutError):
        readers.read(layout, tmp_path)


def test_a_right_but_empty_tree_is_refused(tmp_path):
    for folder in ("original_sequences", "manipulated_sequences"):
        (tmp_path / folder).mkdir()
    with pytest.raises(LayoutError, match="no media in them"):
        readers.read("ffpp", tmp_path)


def test_the_command_writes_a_manifest_that_training_understands(tmp_path):
    root = plant(tmp_path / "ff", FFPP)
    out, said = tmp_path / "lists" / "manifest.csv", StringIO()
    call_command("make_manifest", "--layout", "ffpp", "--root", str(root), "--out", str(out), stdout=said)
    assert json.loads(said.getvalue())["rows"] == 7
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all((out.parent / row["path"]).is_file() for row in rows)
    assigned = dict(zip((Path(r["path"]).stem for r in rows), splits.assign(rows), strict=True))
    assert (assigned["071_054"], assigned["900"]) == ("train", "test")


def test_the_command_explains_a_folder_that_does_not_fit(tmp_path):
    with pytest.raises(CommandError, match=r"original_sequences is missing"):
        call_command("make_manifest", "--layout", "ffpp", "--root", str(tmp_path), "--out", str(tmp_path / "m.csv"))
