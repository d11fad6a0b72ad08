"""Look for known weaknesses in our code and in the packages it stands on (`make audit-code`, `make sbom`).

bandit over the code, pip-audit over the installed packages, detect-secrets over the files under version control, and a
list of materials whose licences are held to deploy/audit/licences.toml. `--sbom` writes the list alone,
`--accept-secrets` takes what detect-secrets finds now as looked at.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "deploy" / "audit"
SBOM = ROOT / "build" / "sbom.json"
BASELINE = RULES / "secrets.json"
OUR_CODE = ("accounts", "deepfake", "detection", "review", "reports", "deploy", "sdk/python/src", "manage.py")
DELIVERED = ("requirements.txt", "requirements-nodeps.txt", "requirements-telemetry.txt")
# A release whose vulnerabilities everybody knows: a service that finds nothing in it has not looked.
CANARY = "jinja2==2.4.1"
# No text, or made by machines: weights, tables of figures, migrations, samples.
NO_SECRETS_IN = re.compile(
    r"^(ml_weights|samples|docs/quality|docs/experiments|static/img)/|/migrations/|^deploy/audit/secrets\.json$"
    r"|\.(bin|png|jpg|woff2|mp4|flac|csv|svg|lock)$|package-lock\.json$"
)


def main() -> int:
    if "--accept-secrets" in sys.argv:
        BASELINE.write_text(json.dumps(_secrets(), indent=1, sort_keys=True) + "\n")
        return 0
    checks = [bill_of_materials] if "--sbom" in sys.argv else [secrets, code, bill_of_materials, vulnerabilities]
    with ThreadPoolExecutor(len(checks)) as pool:
        results = list(pool.map(lambda check: (check.__name__, *check()), checks))
    for name, said, problems in results:
        print(f"{name.replace('_', ' ')}: {said}")
        for problem in problems:
            print(f"  {problem}")
    return int(any(problems for *_, problems in results))


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)


# Our code -------------------------------------------------------------------------------------------------------------


def code() -> tuple[str, list[str]]:
    done = _run("bandit", "-q", "-r", *OUR_CODE, "-c", "pyproject.toml", "-f", "json")
    try:
        found = json.loads(done.stdout)
    except ValueError:
        return "bandit did not run", [done.stderr.strip()[-500:]]
    problems = [
        f"{one['filename']}:{one['line_number']} {one['test_id']} {one['issue_text']}" for one in found["results"]
    ]
    problems += [f"{one['filename']}: {one['reason']}" for one in found["errors"]]
    lines = sum(one["loc"] for name, one in found["metrics"].items() if name != "_totals")
    return f"bandit read {lines:,} lines, {len(problems)} findings", problems


# Secrets --------------------------------------------------------------------------------------------------------------


def secrets() -> tuple[str, list[str]]:
    found = _secrets()
    known = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    new = [
        f"{path}: {kind}. Take it out (and change it where it was used); if it is none, run "
        "python deploy/audit_code.py --accept-secrets"
        for path, kinds in found.items()
        for digest, kind in kinds.items()
        if digest not in known.get(path, {})
    ]
    return f"{sum(map(len, found.values()))} that were looked at, {len(new)} new", new


def _secrets() -> dict[str, dict[str, str]]:
    """File -> digest of what looks like a secret -> its kind."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [name for name in listed.splitlines() if not NO_SECRETS_IN.search(name) and (ROOT / name).is_file()]
    done = _run("detect_secrets", "scan", "--no-verify", *files)
    if done.returncode:
        raise SystemExit(f"detect-secrets failed: {done.stderr[-500:]}")
    return {
        path: {one["hashed_secret"]: one["type"] for one in found}
        for path, found in sorted(json.loads(done.stdout)["results"].items())
    }


# Vulnerabilities ------------------------------------------------------------------------------------------------------


def vulnerabilities(today: date | None = None) -> tuple[str, list[str]]:
    if not any(one.get("vulns") for one in _ask_about([CANARY])):
        return "not checked: no network, or none that leads to a service which knows vulnerabilities", []
    wanted = sorted(f"{one.name}=={one.version.partition('+')[0]}" for one in _installed().values())
    answers = _ask_about(wanted)
    if not answers:
        return "not checked: the service broke off", []
    skipped = [one["name"] for one in answers if "skip_reason" in one]
    accepted = tomllib.loads((RULES / "vulnerabilities.toml").read_text())
    said = f"{len(answers) - len(skipped)} of {len(wanted)} packages checked"
    if skipped:
        said += f"; not checked, for the service does not know them: {', '.join(skipped)}"
    return said, judged(answers, accepted, today or date.today())


def judged(answers: list[dict[str, Any]], accepted: dict[str, dict[str, Any]], today: date) -> list[str]:
    """What is left of the findings once those are taken off that are accepted, with a reason, until a day to come."""
    problems = []
    for name, entry in accepted.items():
        if not entry.get("reason") or not isinstance(entry.get("until"), date):
            problems.append(f"{name} in vulnerabilities.toml needs a reason and a day (until)")
        elif entry["until"] <= today:
            problems.append(
                f"{name} was accepted until {entry['until']}: update {entry.get('package', 'it')} or decide anew"
            )
    for one in answers:
        for found in one.get("vulns", ()):
            names = {found["id"], *found.get("aliases", ())}
            if not any(name in accepted and accepted[name].get("package") == one["name"] for name in names):
                fixed = ", ".join(found.get("fix_versions", ())) or "none yet"
                problems.append(f"{one['name']} {one['version']}: {found['id']}, fixed in: {fixed}")
    return problems


def _ask_about(pins: list[str]) -> list[dict[str, Any]]:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pins))
        file.flush()
        done = _run(
            "pip_audit", "-r", file.name, "--no-deps", "--disable-pip", "-f", "json",
            "--progress-spinner", "off", "--timeout", "5",
        )  # fmt: skip
    try:
        return list(json.loads(done.stdout)["dependencies"])
    except (ValueError, KeyError):
        return []


# Materials ------------------------------------------------------------------------------------------------------------


def bill_of_materials() -> tuple[str, list[str]]:
    SBOM.parent.mkdir(exist_ok=True)
    done = _run("cyclonedx_py", "environment", "--no-validate", "--of", "JSON", "-o", str(SBOM), sys.executable)
    if done.returncode:
        return "cyclonedx-py did not run", [done.stderr.strip()[-500:]]
    bill = json.loads(SBOM.read_text())
    rules = tomllib.loads((RULES / "licences.toml").read_text())
    installed, delivered, problems = _installed(), delivered_packages(), []
    for part in bill["components"]:
        name = canonicalize_name(part["name"])
        part["scope"] = "required" if name in delivered else "excluded"
        licence, problem = licence_of(installed[name], rules) if name in installed else ("", "is not installed")
        if licence:
            part["licenses"] = [{"expression": licence}]
        if problem:
            problems.append(f"{part['name']}: {problem}")
    listed = {canonicalize_name(part["name"]) for part in bill["components"]}
    problems += [f"{name}: delivered, but not in the list" for name in sorted(delivered - listed)]
    SBOM.write_text(json.dumps(bill, indent=1) + "\n")
    return f"{len(delivered)} packages delivered, {len(listed)} installed ({SBOM.relative_to(ROOT)})", problems


def _installed() -> dict[str, Distribution]:
    return {canonicalize_name(one.name): one for one in distributions()}


def asked_for() -> dict[str, Requirement]:
    """What the requirement files of the product name."""
    lines = (line for file in DELIVERED for line in (ROOT / file).read_text().splitlines())
    found = [Requirement(line.partition(" #")[0]) for line in lines if line.strip() and line[0] not in "#-"]
    return {canonicalize_name(one.name): one for one in found}


def delivered_packages() -> set[str]:
    """What those need, too, and so on."""
    installed, found = _installed(), set()
    waiting = list(asked_for().values())
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        mark = f"{name}[{','.join(sorted(wanted.extras))}]"
        if mark in found:
            continue
        found.add(mark)
        for line in (installed[name].requires or ()) if name in installed else ():
            needed = Requirement(line)
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in (wanted.extras or {""})
            ):
                waiting.append(needed)
    # facenet-pytorch asks for versions that we do not follow, but not for other packages.
    return {mark.partition("[")[0] for mark in found} & set(installed)


def licence_of(package: Distribution, rules: dict[str, Any]) -> tuple[str, str]:
    """Return (SPDX expression, what is wrong with it)."""
    exception = rules["packages"].get(canonicalize_name(package.name))
    if exception is not None:
        return exception["licence"], "" if exception.get("reason") else "is an exception without a reason"
    said = declared(package, rules["names"])
    if not said:
        return "", "says no licence that is known: name it in deploy/audit/licences.toml"
    refused = sorted(set(re.split(r" AND | OR | WITH |[()]+", said)) - set(rules["allowed"]) - {""})
    if refused and not (" OR " in said and " AND " not in said and len(refused) < said.count(" OR ") + 1):
        return said, f"{', '.join(refused)} is not allowed by deploy/audit/licences.toml"
    return said, ""


def declared(package: Distribution, names: dict[str, str]) -> str:
    data: Any = package.metadata
    if expression := data.get("License-Expression"):
        return str(expression)
    field = str(data.get("License") or "").strip()
    said = [one.rpartition(" :: ")[2] for one in data.get_all("Classifier") or () if one.startswith("License ::")]
    known = [names.get(one, "") for one in said]
    if said and all(known):
        return " AND ".join(sorted(set(known)))
    first = field.splitlines()[0].strip() if field else ""
    if first in names:
        return names[first]
    # An SPDX expression in the old field.
    return (
        field if re.fullmatch(r"[A-Za-z0-9.+-]+( (AND|OR|WITH) [A-Za-z0-9.+-]+)*", field) and field != "UNKNOWN" else ""
    )


if __name__ == "__main__":
    sys.exit(main())
