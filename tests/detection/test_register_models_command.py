"""register_models: one row per set of nets, figures as numbers, and files that are not understood."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from detection import model_metrics
from detection.engine import pipeline, registry
from detection.models import ModelVersion

SWAP = {"auroc": 0.91, "auroc_ci": [0.88, 0.94], "eer": 0.16, "n_real": 61, "n_fake": 43}


@pytest.fixture(autouse=True)
def fresh_figures() -> Any:
    model_metrics.figures.cache_clear()
    yield
    model_metrics.figures.cache_clear()


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """A figures file for the spatial net, without touching the shipped ones."""
    real = registry.WEIGHTS_DIR
    folder = tmp_path / "weights"
    folder.mkdir()
    for entry in real.iterdir():
        if entry.name != "spatial":
            (folder / entry.name).symlink_to(entry)
    (folder / "spatial").mkdir()
    for entry in (real / "spatial").iterdir():
        if entry.name != "metrics.json":
            (folder / "spatial" / entry.name).symlink_to(entry)
    monkeypatch.setattr(registry, "WEIGHTS_DIR", folder)
    return folder / "spatial" / "metrics.json"


def registered() -> dict[str, Any]:
    said = StringIO()
    call_command("register_models", stdout=said)
    return dict(json.loads(said.getvalue()))


def test_the_row_holds_digests_and_numbers(db, measured):
    measured.write_text(json.dumps({"leave-sources-out": {"face swap": SWAP}}))
    said = registered()
    row = ModelVersion.objects.get()
    assert (said["name"], said["new"]) == (pipeline.model_version(), True)
    assert row.name == said["name"]
    assert set(row.branches) == set(registry.BRANCHES)
    assert row.branches["spatial"]["sha256"] == pipeline.digest_of(registry.BRANCHES["spatial"])
    assert row.metrics["spatial"] == {"leave-sources-out": {"face swap": SWAP}}


def test_a_second_call_brings_figures_up_to_date_and_makes_no_second_row(db, measured):
    registered()
    assert "spatial" not in ModelVersion.objects.get().metrics
    measured.write_text(json.dumps({"protocol": "leave-sources-out", **SWAP}))
    model_metrics.figures.cache_clear()
    assert registered()["new"] is False
    assert ModelVersion.objects.get().metrics["spatial"] == {"leave-sources-out": {"all": SWAP}}


def test_a_verdict_uses_the_registered_row(db, measured):
    from detection import verdicts

    registered()
    found = {"model_version": pipeline.model_version(), "per_branch": []}
    assert verdicts._model_version(found) == ModelVersion.objects.get()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "no table"),
        ({"leave-sources-out": 3}, "no table of sets"),
        ({"leave-sources-out": {"a": {"eer": 0.1}}}, "has no auroc"),
        ({"p": {"a": {"auroc": "0.91"}}}, "auroc is '0.91'"),
        ({"p": {"a": {"auroc": float("nan")}}}, "auroc is nan"),
        ({"p": {"a": {"auroc": 91}}}, "above 1"),
        ({"p": {"a": {"auroc": 0.9, "auroc_ci": [0.8]}}}, "no pair"),
        ({"p": {"a": {"auroc": 0.9, "n_real": True}}}, "n_real is True"),
    ],
)
def test_figures_that_are_none_are_named(content, said):
    with pytest.raises(ValueError, match=said):
        model_metrics.parse(content)


def test_a_broken_file_is_logged_and_costs_only_itself(db, measured, caplog):
    measured.write_text("{")
    registered()
    assert "spatial" not in ModelVersion.objects.get().metrics
    assert "is not understood" in caplog.text


def test_every_shipped_file_is_understood():
    found = {path.parent.name for path in registry.WEIGHTS_DIR.glob("*/metrics.json")}
    understood = {name for name in found if model_metrics.figures(name)}
    assert understood == found


def test_the_api_gives_numbers(client, bearer, measured):
    measured.write_text(json.dumps({"leave-sources-out": {"face swap": SWAP}}))
    models = {model["name"]: model for model in client.get("/v1/models", headers=bearer).json()["models"]}
    assert models["spatial"]["metrics"]["measured"]["leave-sources-out"]["face swap"]["auroc"] == 0.91
    unmeasured = [name for name in models if not (registry.WEIGHTS_DIR / name / "metrics.json").is_file()]
    assert all(models[name]["metrics"]["measured"] == {} for name in unmeasured)


def test_an_installation_that_is_prepared_knows_its_models(organization):
    call_command("prepare", stdout=StringIO(), stderr=StringIO())
    assert ModelVersion.objects.get().name == pipeline.model_version()
