"""Run records: what a training, calibration or evaluation run was, and what came of it.

Every run leaves `record.json` in its folder: configuration, seed, commit, digests of the data lists, versions,
hardware, figures per epoch, duration and outcome. With MLFLOW_TRACKING_URI set to the http(s) address of a tracking
server, the same goes there over its REST interface; a server that does not answer never stops a run.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import importlib.metadata
import json
import logging
import math
import os
import platform
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

FILE = "record.json"
PACKAGES = ("torch", "timm", "torchvision", "torchaudio", "openvino", "onnxruntime", "numpy", "scipy", "scikit-learn")
TIMEOUT_S = 10

_current: ContextVar[Run | None] = ContextVar("run", default=None)


class Run:
    """One run while it goes on. A run that is taken up again adds to the record that it left."""

    def __init__(self, kind: str, name: str, config: Mapping[str, Any], data: Sequence[Path], folder: Path) -> None:
        self.folder = folder
        self._began = time.monotonic()
        earlier = _earlier(folder / FILE)
        self.record: dict[str, Any] = {
            "kind": kind,
            "name": name,
            "started_at": earlier.get("started_at") or datetime.now(UTC).isoformat(timespec="seconds"),
            "status": "running",
            "taken_up": int(earlier.get("taken_up", -1)) + 1,
            "seed": config.get("seed"),
            "config": _plain(dict(config)),
            "data": [fingerprint(path) for path in data],
            "code": commit(),
            "versions": versions(),
            "hardware": hardware(),
            "epochs": list(earlier.get("epochs", [])),
            "duration_s": float(earlier.get("duration_s", 0.0)),
        }
        self._before_s = self.record["duration_s"]
        self._tracker = _tracker(self.record, earlier.get("mlflow"))
        if self._tracker is not None:
            self.record["mlflow"] = {"run_id": self._tracker.run_id, "experiment": self._tracker.experiment}
        self._write()

    def epoch(self, number: int, **figures: float) -> None:
        """Keep the figures of one epoch (once: an epoch that is done again replaces what it said before)."""
        kept = [entry for entry in self.record["epochs"] if entry["epoch"] != number]
        self.record["epochs"] = [*kept, {"epoch": number, **_plain(figures)}]
        if self._tracker is not None:
            self._tracker.metrics(figures, number)
        self._write()

    def finish(self, result: Mapping[str, Any]) -> None:
        self._end("finished", result=_plain(dict(result)))

    def fail(self, error: BaseException) -> None:
        self._end("failed", error=f"{type(error).__name__}: {error}")

    def _end(self, status: str, **extra: Any) -> None:
        self.record |= {"status": status, "ended_at": datetime.now(UTC).isoformat(timespec="seconds"), **extra}
        self._write()
        if self._tracker is not None:
            self._tracker.metrics(flat_numbers(extra.get("result", {})), None)
            self._tracker.end(status)

    def _write(self) -> None:
        self.record["duration_s"] = round(self._before_s + time.monotonic() - self._began, 1)
        draft = self.folder / f"{FILE}.tmp"
        draft.write_text(json.dumps(self.record, indent=1) + "\n")
        draft.replace(self.folder / FILE)


@contextlib.contextmanager
def record(kind: str, name: str, config: Mapping[str, Any], data: Sequence[Path], folder: Path) -> Iterator[Run]:
    """Record what happens inside: the error when it fails; a run that is killed stays "running"."""
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(kind, name, config, data, folder)
    token = _current.set(run)
    try:
        yield run
    except BaseException as error:
        run.fail(error)
        raise
    finally:
        _current.reset(token)
    if run.record["status"] == "running":
        run.finish({})


def log_epoch(number: int, **figures: float) -> None:
    """Add the figures of an epoch to the run that is being recorded; nothing where none is."""
    run = _current.get()
    if run is not None:
        run.epoch(number, **figures)


def fingerprint(manifest: Path) -> dict[str, Any]:
    """Return the digest of a list of data, its rows and its place without the way to it."""
    content = manifest.read_bytes()
    rows = sum(1 for _ in csv.DictReader(content.decode("utf-8-sig").splitlines()))
    digest = hashlib.sha256(content).hexdigest()
    return {"manifest": f"{manifest.resolve().parent.name}/{manifest.name}", "sha256": digest, "rows": rows}


def commit() -> dict[str, Any]:
    """Return the commit of the code and whether files differ from it; empty outside of a repository."""
    folder = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.strip()

    try:
        return {
            "commit": git("rev-parse", "HEAD"),
            "changed": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return {}


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def hardware() -> dict[str, Any]:
    """Return processor, cores, memory and, where torch sees one, the accelerator."""
    facts: dict[str, Any] = {"processor": _processor(), "cores": os.cpu_count()}
    with contextlib.suppress(ValueError, OSError):
        facts["memory_gb"] = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    with contextlib.suppress(ModuleNotFoundError):
        import torch

        if torch.cuda.is_available():
            facts["gpu"] = torch.cuda.get_device_name(0)
    return facts


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def flat_numbers(tree: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the finite numbers of nested tables, by dotted names."""
    found: dict[str, float] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found |= flat_numbers(value, f"{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            found[name] = float(value)
    return found


def _plain(value: Any) -> Any:
    """What JSON can hold: paths and dates as text, numbers that are none as null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    return _plain(value.item()) if hasattr(value, "item") else str(value)


def _earlier(path: Path) -> dict[str, Any]:
    """The record of the same run before it was interrupted; empty when there is none or it had ended well."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("status") != "finished" else {}


class _Mlflow:
    """The few calls of MLflow's REST interface that a run needs. Documented at mlflow.org, REST API 2.0."""

    def __init__(self, address: str, record: Mapping[str, Any], known: Mapping[str, Any] | None) -> None:
        self.address = address.rstrip("/")
        self.experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", "deepfake-detection")
        self.run_id = str(known["run_id"]) if known else self._start(record)

    def _start(self, record: Mapping[str, Any]) -> str:
        try:
            found = self._call("GET", f"experiments/get-by-name?experiment_name={urllib.parse.quote(self.experiment)}")
            experiment = found["experiment"]["experiment_id"]
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
            experiment = self._call("POST", "experiments/create", {"name": self.experiment})["experiment_id"]
        tags = [{"key": "mlflow.source.git.commit", "value": str(record["code"].get("commit", ""))}]
        tags += [{"key": "kind", "value": record["kind"]}]
        body = {"experiment_id": experiment, "run_name": record["name"], "start_time": _now_ms(), "tags": tags}
        run_id = str(self._call("POST", "runs/create", body)["run"]["info"]["run_id"])
        params = [{"key": k[:250], "value": str(v)[:6000]} for k, v in _flat(record["config"]).items()]
        params += [
            {"key": f"data.{i}", "value": f"{d['manifest']} {d['sha256']}"} for i, d in enumerate(record["data"])
        ]
        for start in range(0, len(params), 100):  # the interface takes no more at once
            self._call("POST", "runs/log-batch", {"run_id": run_id, "params": params[start : start + 100]})
        return run_id

    def metrics(self, figures: Mapping[str, Any], step: int | None) -> None:
        numbers = flat_numbers(figures)
        entries = [{"key": k, "value": v, "timestamp": _now_ms(), "step": step or 0} for k, v in numbers.items()]
        if entries:
            self._try("runs/log-batch", {"run_id": self.run_id, "metrics": entries[:1000]})

    def end(self, status: str) -> None:
        said = {"finished": "FINISHED", "failed": "FAILED"}[status]
        self._try("runs/update", {"run_id": self.run_id, "status": said, "end_time": _now_ms()})

    def _try(self, name: str, body: Mapping[str, Any]) -> None:
        try:
            self._call("POST", name, body)
        except (OSError, ValueError) as error:
            log.warning("MLflow did not take %s: %s", name, error)

    def _call(self, method: str, name: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310  # the scheme was checked
            f"{self.address}/api/2.0/mlflow/{name}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **_authorisation()},
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # nosec B310 # noqa: S310
            return dict(json.loads(answer.read() or b"{}"))


def _tracker(record: Mapping[str, Any], known: Mapping[str, Any] | None) -> _Mlflow | None:
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not address:
        return None
    if not address.startswith(("http://", "https://")):
        log.warning("MLFLOW_TRACKING_URI is %s; only a tracking server's http(s) address is used.", address)
        return None
    try:
        return _Mlflow(address, record, known)
    except (OSError, ValueError, KeyError) as error:
        log.warning("The MLflow server at %s does not take runs (%s); the record is kept as JSON.", address, error)
        return None


def _authorisation() -> dict[str, str]:
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    if user := os.environ.get("MLFLOW_TRACKING_USERNAME"):
        pair = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _now_ms() -> int:
    return int(time.time() * 1000)
