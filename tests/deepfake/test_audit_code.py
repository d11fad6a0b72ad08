"""What `make audit-code` finds, what it lets through, and that docs/security.md names tests that exist."""

from __future__ import annotations

import json
import re
import tomllib
from datetime import date
from email.message import Message
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from packaging.utils import canonicalize_name

from deepfake import environment
from deploy import audit_code

ROOT = Path(__file__).parents[2]
TODAY = date(2026, 6, 1)
FOUND = [
    {"name": "good", "version": "1", "vulns": []},
    {
        "name": "bad",
        "version": "2",
        "vulns": [{"id": "PYSEC-2026-1", "aliases": ["CVE-2026-1"], "fix_versions": ["3"]}],
    },
]


def accepted(**changes: Any) -> dict[str, Any]:
    return {"CVE-2026-1": {"package": "bad", "reason": "not called", "until": date(2026, 7, 1), **changes}}


def test_a_known_vulnerability_fails_unless_accepted_with_reason_and_day() -> None:
    assert audit_code.judged(FOUND, {}, TODAY) == ["bad 2: PYSEC-2026-1, fixed in: 3"]
    assert audit_code.judged(FOUND, accepted(), TODAY) == []
    assert "accepted until" in audit_code.judged(FOUND, accepted(), date(2026, 7, 1))[0]
    assert "needs a reason" in audit_code.judged(FOUND, accepted(reason=""), TODAY)[0]
    assert "needs a reason" in audit_code.judged(FOUND, accepted(until="soon"), TODAY)[0]
    assert audit_code.judged(FOUND, accepted(package="another"), TODAY) == ["bad 2: PYSEC-2026-1, fixed in: 3"]


def test_the_file_of_accepted_ones_can_be_read() -> None:
    entries = tomllib.loads((ROOT / "deploy/audit/vulnerabilities.toml").read_text())
    assert not audit_code.judged([], entries, date.today())


@pytest.mark.parametrize("answers", [[], [{"name": "jinja2", "skip_reason": "not found"}]])
def test_a_service_that_knows_nothing_is_not_believed(monkeypatch: Any, answers: list[Any]) -> None:
    monkeypatch.setattr(audit_code, "_ask_about", lambda pins: answers)
    said, problems = audit_code.vulnerabilities()
    assert said.startswith("not checked: no network")
    assert problems == []


def test_with_a_service_every_package_is_asked_about(monkeypatch: Any) -> None:
    asked: list[str] = []

    def answer(pins: list[str]) -> list[dict[str, Any]]:
        asked.extend(pins)
        return FOUND

    monkeypatch.setattr(audit_code, "_ask_about", answer)
    said, problems = audit_code.vulnerabilities(TODAY)
    assert problems == ["bad 2: PYSEC-2026-1, fixed in: 3"]
    assert "packages checked" in said
    names = {pin.partition("==")[0].lower() for pin in asked}
    assert {"django", "pillow", "av", "torch", "cryptography"} <= names
    assert not any("+" in pin for pin in asked)  # the service knows no local versions


def test_a_new_secret_is_found(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(audit_code, "BASELINE", tmp_path / "secrets.json")
    audit_code.BASELINE.write_text(json.dumps({"a.py": {"11": "Secret Keyword"}}))
    monkeypatch.setattr(audit_code, "_secrets", lambda: {"a.py": {"11": "Secret Keyword", "22": "Private Key"}})
    said, problems = audit_code.secrets()
    assert said == "2 that were looked at, 1 new"
    assert problems[0].startswith("a.py: Private Key.")


def test_a_real_key_would_be_seen(monkeypatch: Any, tmp_path: Path) -> None:
    """The scanner itself, on one file: it takes what git lists."""
    (tmp_path / "settings.py").write_text('AWS = "AKIA' + "IOSFODNN7ABCDEFG" + '"\n')
    monkeypatch.setattr(audit_code, "ROOT", tmp_path)
    monkeypatch.setattr(audit_code.subprocess, "run", _git_lists("settings.py", audit_code.subprocess.run))
    assert list(audit_code._secrets()["settings.py"].values()) == ["AWS Access Key"]


def _git_lists(names: str, run: Any) -> Any:
    def instead(command: Any, **options: Any) -> Any:
        return CompletedProcess(command, 0, names, "") if command[0] == "git" else run(command, **options)

    return instead


# Materials ------------------------------------------------------------------------------------------------------------

RULES = tomllib.loads((ROOT / "deploy/audit/licences.toml").read_text())


def test_every_requirement_is_delivered_with_a_licence_that_is_allowed() -> None:
    delivered = audit_code.delivered_packages()
    assert set(audit_code.asked_for()) <= delivered
    assert {"sqlparse", "asgiref", "numpy", "autobahn", "lxml"} <= delivered  # what others need
    assert not {"pytest", "mypy", "bandit", "playwright"} & delivered
    installed = audit_code._installed()
    wrong = {name: problem for name in delivered if (problem := audit_code.licence_of(installed[name], RULES)[1])}
    assert wrong == {}


def test_exceptions_have_reasons_and_are_for_packages_that_are_here() -> None:
    for name, entry in RULES["packages"].items():
        assert name == canonicalize_name(name)
        assert len(entry["reason"]) > 10, name
        assert name in audit_code._installed(), f"{name} is gone: take its exception out"


def package(name: str = "some", **fields: Any) -> Any:
    data = Message()
    for field, values in fields.items():
        for value in values if isinstance(values, list) else [values]:
            data[field.replace("_", "-")] = value
    return SimpleNamespace(name=name, metadata=data)


@pytest.mark.parametrize(
    ("fields", "licence", "is_allowed"),
    [
        ({"License_Expression": "MIT"}, "MIT", True),
        ({"License_Expression": "MIT AND GPL-3.0-only"}, "MIT AND GPL-3.0-only", False),
        ({"License_Expression": "MIT OR GPL-3.0-only"}, "MIT OR GPL-3.0-only", True),
        ({"License_Expression": "GPL-2.0-only OR GPL-3.0-only"}, "GPL-2.0-only OR GPL-3.0-only", False),
        ({"License": "BSD"}, "BSD-3-Clause", True),
        ({"License": "AGPL-3.0"}, "AGPL-3.0", False),
        ({"Classifier": ["License :: OSI Approved :: MIT License"]}, "MIT", True),
        ({"Classifier": ["License :: OSI Approved :: GNU General Public License v3 (GPLv3)"]}, "", False),
        ({"License": "UNKNOWN"}, "", False),
        ({}, "", False),
    ],
)
def test_licences_are_read_and_judged(fields: dict[str, Any], licence: str, is_allowed: bool) -> None:
    found, problem = audit_code.licence_of(package(**fields), RULES)
    assert found == licence
    assert (problem == "") is is_allowed


def test_the_list_is_held_to_what_is_installed(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(audit_code, "ROOT", ROOT)
    listed = [{"name": one.name} for name, one in audit_code._installed().items() if name != "django"]

    def write(*command: str) -> Any:
        Path(command[command.index("-o") + 1]).write_text(json.dumps({"components": listed}))
        return CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(audit_code, "_run", write)
    monkeypatch.setattr(audit_code, "SBOM", ROOT / "build" / "sbom-of-test.json")
    try:
        _, problems = audit_code.bill_of_materials()
        written = {one["name"]: one for one in json.loads(audit_code.SBOM.read_text())["components"]}
    finally:
        audit_code.SBOM.unlink(missing_ok=True)
    assert problems == ["django: delivered, but not in the list"]
    assert written["pytest"]["scope"] == "excluded"
    assert written["numpy"]["scope"] == "required"
    assert written["psycopg"]["licenses"] == [{"expression": "LGPL-3.0-only"}]


# The page -------------------------------------------------------------------------------------------------------------


def test_the_security_page_names_tests_that_exist() -> None:
    page = (ROOT / "docs/security.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)
    assert len(named) > 70
    missing = [
        f"{path}::{name}"
        for path, name in sorted(set(named))
        if not (ROOT / path).is_file() or not re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.M)
    ]
    assert missing == []
    for chapter in range(1, 17):
        assert re.search(rf"\| {chapter}\.\d+\.\d+", page), f"no row of V{chapter}"
    rows = [line for line in page.splitlines() if re.match(r"\| \d+\.\d+\.\d+", line)]
    assert all("`tests/" in row for row in rows)


# Where to report ------------------------------------------------------------------------------------------------------


def test_where_to_report_is_told_once_the_operator_says(client: Client, settings: Any) -> None:
    assert client.get("/.well-known/security.txt").status_code == 404
    settings.SECURITY_CONTACT = "mailto:security@example.org"
    answer = client.get("/.well-known/security.txt")
    lines = answer.content.decode().splitlines()
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert lines[0] == "Contact: mailto:security@example.org"
    assert re.fullmatch(r"Expires: \d{4}-\d\d-\d\dT00:00:00Z", lines[1])
    assert client.post("/.well-known/security.txt").status_code == 405


@pytest.mark.parametrize("value", ["security@example.org", "http://example.org", "mailto:a@b.example\nX: y"])
def test_a_contact_that_is_no_address_is_refused(monkeypatch: Any, value: str) -> None:
    monkeypatch.setenv("SECURITY_CONTACT", value)
    with pytest.raises(ImproperlyConfigured, match="SECURITY_CONTACT"):
        environment.contact("SECURITY_CONTACT")
