"""Run records: what is kept, what a kill leaves, and what MLflow's server hears."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from detection.training import records

CONFIG = {"seed": 7, "arch": "slowfast", "optimizer": {"learning_rate": 1e-3}, "weights": Path("x.pt")}


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "faces" / "manifest.csv"
    path.parent.mkdir()
    path.write_text("path,label\na.jpg,real\nb.jpg,fake\n")
    return path


@pytest.fixture(autouse=True)
def no_tracking(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def saved(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "record.json").read_text())


def test_a_record_says_what_was_run_on_what_and_what_came_of_it(manifest, tmp_path):
    out = tmp_path / "run"
    with records.record("train", "custom", CONFIG, [manifest], out) as run:
        assert saved(out)["status"] == "running"
        records.log_epoch(1, loss=0.6, auroc=float("nan"))
        records.log_epoch(2, loss=0.4, auroc=0.75)
        run.finish({"test": {"auroc": 0.7}})
    kept = saved(out)
    assert (kept["status"], kept["seed"], kept["taken_up"]) == ("finished", 7, 0)
    assert kept["config"]["weights"] == "x.pt"
    assert kept["epochs"] == [{"epoch": 1, "loss": 0.6, "auroc": None}, {"epoch": 2, "loss": 0.4, "auroc": 0.75}]
    assert kept["data"][0]["manifest"] == "faces/manifest.csv"
    assert kept["data"][0]["rows"] == 2
    assert len(kept["data"][0]["sha256"]) == 64
    assert {"python", "numpy"} <= set(kept["versions"])
    assert kept["hardware"]["cores"] >= 1
    assert kept["duration_s"] >= 0
    assert kept["result"] == {"test": {"auroc": 0.7}}


def test_no_way_on_this_machine_enters_the_record(manifest, tmp_path):
    with records.record("evaluate", "image", {}, [manifest], tmp_path / "run"):
        pass
    assert str(tmp_path) not in (tmp_path / "run" / "record.json").read_text()


def test_an_error_is_recorded_and_goes_on(manifest, tmp_path):
    def run() -> None:
        with records.record("train", "x", {}, [manifest], tmp_path / "run"):
            records.log_epoch(1, loss=1.0)
            _ = 1 / 0

    with pytest.raises(ZeroDivisionError):
        run()
    kept = saved(tmp_path / "run")
    assert (kept["status"], kept["error"]) == ("failed", "ZeroDivisionError: division by zero")


def test_a_run_that_was_killed_is_taken_up(manifest, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    killed = records.Run("train", "x", CONFIG, [manifest], out)
    killed.epoch(1, loss=0.9)
    killed.epoch(2, loss=0.8)
    with records.record("train", "x", CONFIG, [manifest], out) as run:
        run.epoch(2, loss=0.7)
        run.epoch(3, loss=0.6)
    kept = saved(out)
    assert [(e["epoch"], e["loss"]) for e in kept["epochs"]] == [(1, 0.9), (2, 0.7), (3, 0.6)]
    assert kept["taken_up"] == 1
    assert kept["started_at"] == killed.record["started_at"]


def test_a_finished_run_is_not_continued(manifest, tmp_path):
    for _ in range(2):
        with records.record("train", "x", {}, [manifest], tmp_path / "run"):
            records.log_epoch(1, loss=0.5)
    assert saved(tmp_path / "run")["taken_up"] == 0


def test_epochs_outside_of_a_run_go_nowhere(tmp_path, monkeypatch):
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    records.log_epoch(1, loss=0.5)
    assert sorted(tmp_path.rglob("*")) == before


class Server(HTTPServer):
    """Answers as MLflow's REST interface does, and remembers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.heard: list[tuple[str, str, dict[str, Any], str | None]] = []
        self.knows_experiment = False
        self.broken = False


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def _answer(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        name = self.path.removeprefix("/api/2.0/mlflow/")
        self.server.heard.append((method, name, body, self.headers.get("Authorization")))
        if self.server.broken:
            return self._send(500, {"error_code": "INTERNAL_ERROR"})
        if name.startswith("experiments/get-by-name") and not self.server.knows_experiment:
            return self._send(404, {"error_code": "RESOURCE_DOES_NOT_EXIST"})
        answers = {
            "experiments/get-by-name": {"experiment": {"experiment_id": "5"}},
            "experiments/create": {"experiment_id": "6"},
            "runs/create": {"run": {"info": {"run_id": "r1"}}},
        }
        self._send(200, answers.get(name.split("?")[0], {}))

    def _send(self, code: int, body: dict[str, Any]) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}/")
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_mlflow_hears_parameters_figures_and_the_end(server, manifest, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0ken")
    with records.record("train", "custom", CONFIG, [manifest], tmp_path / "run") as run:
        records.log_epoch(3, loss=0.5, auroc=float("nan"))
        run.finish({"test": {"auroc": 0.8}})
    calls = [(name.split("?")[0], body) for _, name, body, _ in server.heard]
    assert [name for name, _ in calls] == [
        "experiments/get-by-name", "experiments/create", "runs/create", "runs/log-batch",
        "runs/log-batch", "runs/log-batch", "runs/update",
    ]  # fmt: skip
    assert calls[2][1]["experiment_id"] == "6"
    params = {p["key"]: p["value"] for p in calls[3][1]["params"]}
    assert params["optimizer.learning_rate"] == "0.001"
    assert params["data.0"].startswith("faces/manifest.csv ")
    epoch = calls[4][1]["metrics"]
    assert [(m["key"], m["value"], m["step"]) for m in epoch] == [("loss", 0.5, 3)]
    assert calls[5][1]["metrics"][0]["key"] == "test.auroc"
    assert calls[6][1]["status"] == "FINISHED"
    assert {authorisation for *_, authorisation in server.heard} == {"Bearer t0ken"}


def test_a_run_that_is_taken_up_is_the_same_run_there(server, manifest, tmp_path):
    server.knows_experiment = True
    out = tmp_path / "run"
    out.mkdir()
    records.Run("train", "x", CONFIG, [manifest], out)
    with records.record("train", "x", CONFIG, [manifest], out):
        pass
    assert sum(name == "runs/create" for _, name, *_ in server.heard) == 1
    assert server.heard[-1][2]["run_id"] == "r1"


def test_a_server_that_fails_stops_nothing(server, manifest, tmp_path, caplog):
    server.broken = True
    with records.record("train", "x", CONFIG, [manifest], tmp_path / "run"):
        records.log_epoch(1, loss=0.5)
    assert saved(tmp_path / "run")["status"] == "finished"
    assert "does not take runs" in caplog.text


def test_a_server_that_dies_midway_stops_nothing(server, manifest, tmp_path, caplog):
    with records.record("train", "x", CONFIG, [manifest], tmp_path / "run"):
        server.broken = True
        records.log_epoch(1, loss=0.5)
    assert saved(tmp_path / "run")["epochs"] == [{"epoch": 1, "loss": 0.5}]
    assert "did not take runs/log-batch" in caplog.text


def test_an_address_that_is_no_server_is_named(manifest, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:/somewhere")
    with records.record("train", "x", {}, [manifest], tmp_path / "run"):
        pass
    assert "file:/somewhere" in caplog.text
