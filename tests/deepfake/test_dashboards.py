"""Dashboards and alerts name metrics that exist, with labels that they have, and every alert says what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from accounts import audit, audit_verify
from deepfake import metrics, metrics_database
from detection.signals import analysis_finished
from tests import factories

ROOT = Path(__file__).resolve().parents[2]
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())
NAME = re.compile(r"\b((?:deepfake|process|python)_[a-z_]+)(\{[^}]*\})?")
RECORDED = re.compile(r"\bdeepfake:[a-z0-9_:]+")


def expressions() -> Iterator[tuple[str, str]]:
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]
    for group in RULES["groups"]:
        for rule in group["rules"]:
            yield rule.get("alert") or rule["record"], rule["expr"]


@pytest.fixture
def offered(db: None, client: Client, organization: Any) -> dict[str, set[str]]:
    """Every name that /metrics gives once something has happened, with its labels."""
    done = factories.make_job(organization=organization, status="completed", kind="image")
    factories.make_result(done, details={"seconds": {"spatial": 0.4}})
    for job in (done, factories.make_job(organization=organization, status="failed", kind="image")):
        analysis_finished.send_robust(sender=type(job), job=job)
    audit.record(action="auth.signed_in", organization=organization)
    audit_verify.hourly()
    client.get("/v1/health/live")
    metrics_database.collector.forget()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(client.get("/metrics").content.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_there_are_dashboards_and_rules() -> None:
    assert [path.stem for path in DASHBOARDS] == ["analyses", "audit", "service"]
    assert len(list(expressions())) > 30


def test_every_metric_that_is_named_exists_with_its_labels(offered: dict[str, set[str]]) -> None:
    own = {"job", "instance"}  # Prometheus adds these
    wrong = []
    for place, expression in expressions():
        names = NAME.findall(re.sub(RECORDED, "", expression))
        known = {rule["record"] for group in RULES["groups"] for rule in group["rules"] if "record" in rule}
        wrong += [f"{place}: {name}" for name in RECORDED.findall(expression) if name not in known]
        grouped = {
            label.strip() for labels in re.findall(r"\bby \(([^)]*)\)", expression) for label in labels.split(",")
        }
        for name, selector in names:
            if name not in offered:
                wrong.append(f"{place}: there is no {name}")
                continue
            asked = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", selector)) | grouped
            wrong += [f"{place}: {name} has no label {label}" for label in asked - own - offered[name]]
    assert wrong == []


def test_every_metric_is_shown_somewhere(offered: dict[str, set[str]]) -> None:
    """What nobody looks at is not worth counting."""
    shown = " ".join(expression for _, expression in expressions())
    ours = {re.sub(r"_(total|count|sum|bucket|created)$", "", name) for name in offered if name.startswith("deepfake_")}
    assert {name for name in ours if name not in shown} == set()


def test_every_metric_is_in_the_documentation(offered: dict[str, set[str]]) -> None:
    text = (ROOT / "docs" / "observability.md").read_text()
    ours = {name for name in offered if name.startswith("deepfake_") and not re.search(r"_(count|sum|created)$", name)}
    assert {name for name in ours if name.removesuffix("_bucket").removesuffix("_total") not in text} == set()


def test_every_alert_leads_to_what_to_do() -> None:
    text = (ROOT / "docs" / "observability.md").read_text()
    anchors = {re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") for title in re.findall(r"^#+ (.*)$", text, re.M)}
    for group in RULES["groups"]:
        for rule in group["rules"]:
            if "alert" not in rule:
                continue
            assert rule["labels"]["severity"] in ("page", "ticket")
            file, _, anchor = rule["annotations"]["runbook"].partition("#")
            assert file == "docs/observability.md"
            assert anchor in anchors, rule["alert"]


def test_panels_do_not_overlap() -> None:
    for path in DASHBOARDS:
        taken = set()
        for panel in json.loads(path.read_text())["panels"]:
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                     for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
            assert not cells & taken, panel["title"]
            assert place["x"] + place["w"] <= 24
            taken |= cells


def test_the_example_names_the_file_of_rules() -> None:
    example = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    assert (ROOT / "deploy" / "prometheus" / example["rule_files"][0]).exists()


def test_names_follow_the_customs_of_prometheus(db: None) -> None:
    for family in metrics.REGISTRY.collect():
        if family.name.startswith("deepfake_"):
            assert re.fullmatch(r"[a-z_]+", family.name)
            assert family.documentation
