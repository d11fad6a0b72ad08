"""The API against its own document: made-up requests, valid and not, find no fault of ours and no breach."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deepfake.conftest import demo_key as demo_key
from tests.deepfake.conftest import prepared as prepared
from tests.deepfake.conftest import start as start

HERE = Path(__file__).parent
SECONDS = int(os.environ.get("CONTRACT_SECONDS", "75"))
PHASES = os.environ.get("CONTRACT_PHASES", "examples,fuzzing")


@pytest.mark.contract
@pytest.mark.timeout(SECONDS + 240)
def test_no_server_error_and_no_breach(start, demo_key, tmp_path):
    serving = start(API_READS_PER_MINUTE="1000000", API_WRITES_PER_MINUTE="1000000")
    serving.first_line()
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        f"--config-file={HERE / 'schemathesis.toml'}",
        "run",
        f"http://127.0.0.1:{serving.port}/v1/openapi.json",
        f"--header=Authorization: Bearer {demo_key}",
        f"--phases={PHASES}",
        f"--max-time={SECONDS}",
        "--max-examples=5",
        "--seed=11",
        "--generation-database=none",
        "--request-timeout=30",
        "--continue-on-failure",
        "--no-shrink",
        "--no-color",
        "--warnings=off",
    ]
    variables = os.environ | {"SCHEMATHESIS_HOOKS": "tests.contract.hooks", "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]
    assert "Tested:" in done.stdout
