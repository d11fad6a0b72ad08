"""Folds of pictures: whole sources, no judged generator, no judged person among what is learnt from."""

from __future__ import annotations

from pathlib import Path

import pytest

from detection.training import picture_folds
from detection.training.pictures import Picture, evenly


def item(source: str, *, generator: str = "", kind: str = "picture", person: str = "x") -> Picture:
    return Picture(Path("x"), bool(generator), kind, source, generator, f"{source}/{person}")


ITEMS = [
    *[item(f"camera{n % 5}") for n in range(50)],
    *[item("first", generator="SDXL") for _ in range(10)],
    *[item("second", generator="stabilityai/stable-diffusion-xl-base-1.0") for _ in range(10)],
    *[item(f"gallery{n}", generator=f"generator {n}") for n in range(4) for _ in range(8)],
    *[item("third", generator="StyleGAN2 (a site)", kind="face") for _ in range(10)],
    *[item("third", kind="face", person="person:ada") for _ in range(10)],
    *[item("fourth", kind="face", person="person:ada") for _ in range(5)],
    *[item("fifth", generator="Swapper", kind="swap") for _ in range(5)],
]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_source_generator_or_person_is_on_both_sides(seed: int) -> None:
    fold_of = picture_folds.divide(ITEMS, 4, seed)
    judged_rows = []
    for fold in sorted(set(fold_of.tolist())):
        learn, judge = picture_folds.sides(ITEMS, fold_of, fold)
        learnt, judged = [ITEMS[row] for row in learn], [ITEMS[row] for row in judge]
        assert not {i.source for i in learnt} & {i.source for i in judged}
        families = [
            set().union(*(picture_folds.families(i.generator) for i in side if i.is_fake), set())
            for side in (learnt, judged)
        ]
        assert not families[0] & families[1]
        assert not ({picture_folds.person(i) for i in learnt} & {picture_folds.person(i) for i in judged}) - {""}
        assert not any(i.kind == "swap" for i in learnt)
        judged_rows += judge.tolist()
    assert sorted(judged_rows) == list(range(len(ITEMS)))


def test_one_generator_under_two_names_is_left_out_under_both() -> None:
    fold_of = picture_folds.divide(ITEMS, 4, 0)
    first = next(fold for fold, i in zip(fold_of, ITEMS, strict=True) if i.source == "first")
    learn, _ = picture_folds.sides(ITEMS, fold_of, first)
    assert not any(ITEMS[row].source == "second" for row in learn)


@pytest.mark.parametrize(
    ("label", "families"),
    [
        ("text-to-image mix: FLUX.1 schnell/dev/pro, SDXL, DALL-E 3", {"FLUX", "SDXL", "DALL-E 3"}),
        ("Stable Diffusion 1.x (512, k_lms)", {"Stable Diffusion 1, 2"}),
        ("stabilityai/stable-diffusion-3_5-large", {"Stable Diffusion 3"}),
        ("stabilityai/stable-diffusion-xl-base-1.0", {"SDXL"}),
        ("DALL-E mini / craiyon (borisdayma/dalle-mini)", {"DALL-E mini"}),
        ("AuraFlow", {"auraflow"}),
    ],
)
def test_labels_name_families(label: str, families: set[str]) -> None:
    assert picture_folds.families(label) == families


def test_a_material_of_one_class_is_refused() -> None:
    only = [item(f"camera{n % 2}") for n in range(8)] + [item("gen", generator="SDXL")]
    fold_of = picture_folds.divide(only, 3, 0)
    with pytest.raises(ValueError, match="Too few sources"):
        picture_folds.sides(only, fold_of, int(fold_of[-1]))


def test_weights_balance_classes_and_damp_large_sources() -> None:
    items = [item("big")] * 100 + [item("small")] * 4 + [item("gen", generator="SDXL")] * 10
    weights = picture_folds.source_weights(items, 1.0)
    assert weights[:104].sum() == pytest.approx(weights[104:].sum())
    assert weights[:100].sum() == pytest.approx(weights[100:104].sum())
    assert weights.mean() == pytest.approx(1.0)


def test_evenly_caps_reals_of_a_source_and_keeps_the_order_of_sources() -> None:
    items = [item("b")] * 9 + [item("a", generator="g")] * 9 + [item("a")] * 2
    assert [i.source for i in evenly(items, 3)] == ["b"] * 3 + ["a"] * 11
    assert len(evenly(items, 3, fakes_too=True)) == 3 + 3 + 2
