"""The one split of all data: by whole sources, stable, and open to a user's own manifests."""

import pytest

from detection.training import splits


def row(**fields: str) -> dict[str, str]:
    return {"path": "a.jpg", "label": "real", **fields}


def test_no_source_is_named_twice():
    named = [source for names in splits.SOURCES.values() for source in names.split()]
    assert len(named) == len(set(named))


def test_a_source_lies_in_one_split_whatever_its_rows_say():
    rows = [row(source_repo="tanshuai0219/EDTalk", subject_group=f"edtalk:pose{i}", path=f"{i}.mp4") for i in range(20)]
    assert set(splits.assign(rows)) == {"train"}


def test_an_unknown_source_lies_in_one_split():
    rows = [row(source_repo="someone/new-faces", subject_group=f"person:{i}", path=f"{i}.jpg") for i in range(50)]
    assert len(set(splits.assign(rows))) == 1


def test_unknown_sources_spread_over_all_splits():
    found = splits.assign(row(source_repo=f"someone/set-{i}") for i in range(300))
    assert {name: found.count(name) > 20 for name in splits.SPLITS} == dict.fromkeys(splits.SPLITS, True)


def test_a_person_known_from_several_sources_stays_on_one_side():
    sources = ("tanshuai0219/EDTalk", "iperov/DeepFaceLive", "clone95/Speech-to_lips")
    assert {splits.split_of(row(source_repo=s, subject_group="person:barack_obama")) for s in sources} == {"test"}


def test_a_pair_of_original_and_swap_stays_together_and_is_never_trained_on():
    for name in ("Emily_Winston_1", "Ava_de_Addario_0", "Keanu_Reeves_2"):
        note = "{} half of a side-by-side demo; pair=" + name + "; path in repo: doc/x.mp4"
        pair = [row(source_repo="iperov/DeepFaceLive", note=note.format(half), label=label)
                for half, label in (("LEFT", "real"), ("RIGHT", "fake"))]  # fmt: skip
        found = set(splits.assign(pair))
        assert len(found) == 1
        assert found <= {"calibration", "test"}


def test_models_that_share_a_target_lie_together():
    names = ("Emily_Winston_1", "Natasha_Former_2", "Yohanna_Coralson_1")
    found = {splits.split_of(row(source_repo="iperov/DeepFaceLive", note=f"pair={name}; x")) for name in names}
    assert found == {"calibration"}


def test_generated_faces_go_with_the_photos_they_were_learnt_from():
    rows = [row(source_repo="dinablachman/realorfake", subject_group=g) for g in ("ffhq:1", "tpdne:1")]
    assert splits.assign(rows) == ["train", "train"]


def test_a_stated_split_wins():
    assert splits.split_of(row(source_repo="tanshuai0219/EDTalk", split="test")) == "test"


def test_a_wrong_stated_split_is_an_error():
    with pytest.raises(ValueError, match="validation"):
        splits.split_of(row(split="validation"))


def test_without_a_source_the_group_decides():
    a, b = (splits.split_of(row(group="person-7", path=path)) for path in ("1.jpg", "2.jpg"))
    assert a == b
