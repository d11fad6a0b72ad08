"""Backends: loaded once, and safe from the first call on."""

from __future__ import annotations

import subprocess
import sys

FIRST_LOOK = """
import sys
from detection.engine import third_party
tensor = third_party.load("face_short").compiled.create_infer_request().get_input_tensor()
called = []
sys.setprofile(lambda frame, event, arg: called.append(frame.f_code.co_name) if event == "call" else None)
tensor.data
sys.setprofile(None)
print(called)
"""


def test_the_first_look_at_a_tensor_runs_no_python_code() -> None:
    """Python code there lets another thread in, and two threads at their first inference then hold each other fast."""
    said = subprocess.run([sys.executable, "-c", FIRST_LOOK], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"
