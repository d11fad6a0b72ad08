"""A decoder that crashes, hangs, swallows memory or reaches out fails its own job and nothing else."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from detection.engine import sandbox, seccomp
from detection.engine.errors import DeadlineExceeded, DecoderCrashed, EngineError, MediaUnreadable
from detection.engine.sandbox import ChildLimits

JOBS = "tests.engine.hostile_jobs"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def some_file(tmp_path: Path) -> Path:
    path = tmp_path / "some.bin"
    path.write_bytes(b"0123456789")
    return path


def run(name: str, path: Path, **limits: float) -> sandbox.Answer:
    return sandbox.run(f"{JOBS}:{name}", path, {"n": 1}, limits=ChildLimits(**limits))  # type: ignore[arg-type]


def test_facts_and_arrays_come_back(some_file):
    answer = run("echo", some_file)
    assert answer.value == {"read": 10, "arguments": {"n": 1}}
    np.testing.assert_array_equal(answer.arrays[0], np.arange(6, dtype=np.float32).reshape(2, 3))
    assert answer.arrays[1].shape == (4, 5, 3)
    assert answer.arrays[1].max() == answer.arrays[1].min() == 7


def test_a_refusal_keeps_its_sentence(some_file):
    with pytest.raises(MediaUnreadable, match="Not a picture"):
        run("refuse", some_file)


@pytest.mark.parametrize("job", ["crash", "blunder", "vanish", "garble"])
def test_a_crash_fails_the_job_alone(some_file, job):
    with pytest.raises(DecoderCrashed) as caught:
        run(job, some_file)
    assert len(caught.value.message) > 30
    assert run("echo", some_file).value["read"] == 10


def test_a_hung_decoder_is_killed_at_its_deadline(some_file):
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        run("hang", some_file, wall_s=0.5)
    assert time.monotonic() - began < 3


def test_cpu_time_is_limited(some_file):
    with pytest.raises(DeadlineExceeded):
        run("burn", some_file, cpu_s=1, wall_s=60)


def test_memory_is_limited(some_file):
    with pytest.raises(MediaUnreadable, match="memory"):
        run("swallow_memory", some_file, memory_bytes=1 << 30)


def test_an_answer_cannot_grow_without_end(some_file):
    with pytest.raises(EngineError):
        run("flood", some_file, answer_bytes=64 << 20)


def test_the_child_reaches_nothing_outside(some_file, tmp_path):
    database = tmp_path / "db.sqlite3"
    database.write_bytes(b"secret")
    before = database.stat()
    with socket.create_server(("127.0.0.1", 0)) as server:
        arguments = {
            "port": server.getsockname()[1],
            "new_file": str(tmp_path / "new"),
            "database": str(database),
            "server": os.getpid(),
        }
        answer = sandbox.run(f"{JOBS}:reach_out", some_file, arguments)
    if "seccomp" in answer.shield:
        assert answer.value["worked"] == []
    elif "namespace" in answer.shield:
        assert "network" not in answer.value["worked"]
    else:
        pytest.skip("this kernel allows neither a system-call filter nor a network namespace")
    assert database.read_bytes() == b"secret"
    assert (database.stat().st_mode, database.stat().st_mtime) == (before.st_mode, before.st_mtime)
    assert not (tmp_path / "new").exists()
    assert len(answer.value["descriptors"]) <= 5  # three standard ones, the file, the shared memory


def test_the_child_keeps_no_right_of_root(some_file):
    answer = run("capabilities", some_file)
    assert answer.value == {"failed": 0, "held": [0, 0, 0, 0]}
    assert "capabilities" in answer.shield


# Each wall by itself, in a process that has no other: a gap in one must not hide behind the next.
WALL = """
import os, socket, sys
from pathlib import Path
from detection.engine import landlock, seccomp, shield
kept = open({database!r}, "rb")
if not {wall}:
    print("not here")
    sys.exit()
attempts = {{
    "read": lambda: open("/etc/passwd"),
    "database": lambda: open({database!r}, "r+b"),
    "new file": lambda: open({new_file!r}, "w"),
    "connect": lambda: socket.create_connection(("127.0.0.1", {port})),
    "execute": lambda: os.execv("/bin/true", ["true"]),
    "signal": lambda: os.kill({server}, 0),
}}
worked = []
for name, attempt in attempts.items():
    try:
        attempt()
    except OSError:
        continue
    worked.append(name)
print(kept.read().decode(), *worked)
"""


def behind(wall: str, tmp_path: Path) -> str:
    database = tmp_path / "db.sqlite3"
    database.write_bytes(b"inherited")
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = WALL.format(
            wall=wall,
            database=str(database),
            new_file=str(tmp_path / "new"),
            port=server.getsockname()[1],
            server=os.getpid(),
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    return done.stdout.strip() or done.stderr


@pytest.mark.parametrize("wall", ["landlock.restrict() >= 6", "seccomp.install()", "shield.cut_off()"])
def test_each_wall_holds_by_itself(tmp_path, wall):
    said = behind(wall, tmp_path)
    if said == "not here":
        pytest.skip("this kernel does not have it")
    assert said == "inherited"


def test_without_a_wall_the_same_attempts_work(tmp_path):
    """Else the test above would pass for whatever reason."""
    said = behind("landlock.version() >= 0", tmp_path)
    assert said == ""  # `execute` worked: the process became /bin/true


@pytest.mark.parametrize("machine", sorted(seccomp._MACHINES))
def test_the_filter_is_a_program_that_the_kernel_takes(machine):
    """Of the other architecture, too: every jump lands inside, and every way ends in an answer."""
    code = seccomp._assemble(*seccomp._MACHINES[machine], own_pid=1)
    steps = list(struct.iter_unpack("=HBBI", code))
    assert len(steps) < 4096  # BPF_MAXINSNS
    for at, (kind, if_true, if_false, _) in enumerate(steps):
        if kind & 0x07 == 0x05:
            assert at + 1 + max(if_true, if_false) < len(steps)
    assert steps[-1][0] == 0x06
    numbers = list(seccomp._MACHINES[machine][1].values())
    assert len(numbers) == len(set(numbers)), "two calls of one number: one of them is wrong"


@pytest.mark.skipif(not Path("/usr/include/asm-generic/unistd.h").exists(), reason="no headers of the kernel here")
@pytest.mark.parametrize(
    ("machine", "header"),
    [("x86_64", "x86_64-linux-gnu/asm/unistd_64.h"), ("aarch64", "asm-generic/unistd.h")],
)
def test_the_numbers_are_the_kernels(machine, header):
    text = (Path("/usr/include") / header).read_text()
    defined = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    refused, judged = seccomp._MACHINES[machine][1:]
    for name, number in {**refused, **judged}.items():
        assert defined.get(name, number) == number, name
    known = [name for name in refused if name in defined]
    assert len(known) > 0.9 * len(refused)


def test_what_protects_is_tried_and_said():
    found = sandbox.protections()
    assert "limits" in found.held
    if "seccomp" in found.held or "landlock" in found.held:
        assert found.open == ()
        assert str(found).startswith("behind limits")
    weak = sandbox.Protections(("limits",), ("read files", "open sockets"))
    assert str(weak) == "behind limits; a decoder can still read files and open sockets"


@pytest.mark.parametrize(("shield", "level"), [(("limits", "landlock"), "INFO"), (("limits",), "WARNING")])
def test_the_log_says_what_protects_once(caplog, shield, level):
    sandbox._note.cache_clear()
    with caplog.at_level("INFO"):
        sandbox._note(shield)
        sandbox._note(shield)
    assert [record.levelname for record in caplog.records] == [level]


def test_output_goes_to_the_given_file_only(some_file, tmp_path):
    with (tmp_path / "out").open("wb") as output:
        sandbox.run(f"{JOBS}:write_output", some_file, {}, output=output)
    assert (tmp_path / "out").read_bytes() == b"made in the child"


def test_parallel_calls_do_not_disturb_each_other(some_file):
    def one(number: int) -> str:
        try:
            return str(run("crash" if number % 4 == 0 else "echo", some_file).value["read"])
        except DecoderCrashed:
            return "crashed"

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(one, range(24)))
    assert outcomes == ["crashed" if number % 4 == 0 else "10" for number in range(24)]


def test_a_killed_zygote_is_replaced(some_file):
    run("echo", some_file)
    process = sandbox._zygote._process
    assert process is not None
    process.kill()
    process.wait()
    assert run("echo", some_file).value["read"] == 10


def test_a_job_that_does_not_exist_fails_alone(some_file):
    run("echo", some_file)
    process = sandbox._zygote._process
    with pytest.raises(DecoderCrashed):
        run("no_such_function", some_file)
    assert run("echo", some_file).value["read"] == 10
    assert sandbox._zygote._process is process


def test_a_job_whose_zygote_dies_says_try_again(some_file):
    run("echo", some_file)
    process = sandbox._zygote._process
    assert process is not None
    threading.Timer(0.3, process.kill).start()
    with pytest.raises(DecoderCrashed) as caught:
        run("hang", some_file, wall_s=30)
    assert caught.value.retryable


def test_children_die_with_the_server(some_file, tmp_path):
    told = tmp_path / "pid"
    script = (
        "import sys; from pathlib import Path; from detection.engine import sandbox\n"
        f"sandbox.run('{JOBS}:tell_pid', Path({str(some_file)!r}), {{}}, output=open({str(told)!r}, 'wb'))"
    )
    server = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    child = int(_wait_for(lambda: told.exists() and told.read_text()))
    assert _is_alive(child)
    server.send_signal(signal.SIGKILL)
    server.wait()
    assert _wait_for(lambda: not _is_alive(child))


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("did not happen in time")


def test_a_warm_sandbox_answers_fast(some_file):
    run("echo", some_file)
    began = time.process_time()
    times = []
    for _ in range(10):
        start = time.monotonic()
        run("echo", some_file)
        times.append(time.monotonic() - start)
    assert min(times) < 0.15, f"a fork and an answer took {min(times):.3f} s at best"
    assert time.process_time() - began < 0.5
