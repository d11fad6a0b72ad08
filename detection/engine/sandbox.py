"""Run a parser of untrusted bytes in a child process with limits, which can be killed and disturbs nobody.

A small zygote process (`zygote.py`) has the decoding libraries loaded and forks one child per job: a fork takes
milliseconds, and the many-threaded server never forks itself. The answer comes back as JSON and raw arrays in shared
memory, never as pickle: a child that was taken over must not be able to run code here.
"""

from __future__ import annotations

import json
import logging
import mmap
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from detection.engine.errors import DeadlineExceeded, DecoderCrashed, EngineError, MediaUnreadable

logger = logging.getLogger(__name__)

HEADER = struct.Struct("<QQ")  # at the start of the shared memory: offset and length of the JSON answer
ARRAYS_AT = 4096  # where the first array starts
MAX_JSON_BYTES = 4 << 20
DTYPES = ("uint8", "float32", "int64", "float64")
ERRORS: dict[str, type[EngineError]] = {"media_unreadable": MediaUnreadable, "decoder_crashed": DecoderCrashed}


@dataclass(frozen=True)
class ChildLimits:
    """What one job may use; the kernel holds it to them."""

    memory_bytes: int = 2 << 30  # address space
    cpu_s: int = 60
    wall_s: float = 60.0
    answer_bytes: int = 1 << 30  # also the largest file it may write
    spare_files: int = 16  # descriptors beside those it is given


@dataclass(frozen=True, eq=False)
class Answer:
    value: dict[str, Any]
    arrays: tuple[NDArray[Any], ...]  # views of shared memory; copy what must outlive the memory saved
    shield: tuple[str, ...]  # which protections took hold: see shield.py


def run(
    job: str,
    source: Path | int,
    arguments: Mapping[str, Any],
    *,
    limits: ChildLimits = ChildLimits(),
    output: IO[bytes] | None = None,
) -> Answer:
    """Call `job` ("module:function") in a child on an open file and return its answer. Thread-safe.

    source: a path, opened here, or an open descriptor. arguments: JSON-ready. output: where the job may write a file.
    The function is called as function(file, arguments, sink, output) and returns a JSON-ready dict.
    Raises what the job raised (MediaUnreadable), DecoderCrashed, or DeadlineExceeded.
    """
    descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC) if isinstance(source, Path) else os.dup(source)
    memory = os.memfd_create("answer", os.MFD_CLOEXEC)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        request = {"job": job, "arguments": dict(arguments), "limits": asdict(limits), "writes": output is not None}
        files = [theirs.fileno(), descriptor, memory] + ([output.fileno()] if output is not None else [])
        _zygote.send(json.dumps(request).encode(), files)
        theirs.close()
        status, shield = _wait(ours, limits.wall_s)
        _note(shield)
        _raise_for(status)
        return _read_answer(memory, shield)
    finally:
        ours.close()
        theirs.close()
        os.close(memory)
        os.close(descriptor)


@dataclass(frozen=True)
class Protections:
    """What a decoder is behind on this machine."""

    held: tuple[str, ...]
    open: tuple[str, ...]  # what a decoder could do all the same; tried, not derived

    def __str__(self) -> str:
        said = f"behind {', '.join(self.held)}"
        return f"{said}; a decoder can still {' and '.join(self.open)}" if self.open else said


@lru_cache(maxsize=1)
def protections() -> Protections:
    """Send a job that tries to break out; once per process, since the kernel does not change. Raises EngineError."""
    answer = run("detection.engine.shield:probe", Path(os.devnull), {}, limits=ChildLimits(wall_s=20.0))
    return Protections(answer.shield, tuple(str(name) for name in answer.value["open"]))


@lru_cache(maxsize=4)
def _note(shield: tuple[str, ...]) -> None:
    """Once per process: the log says what protects, loudly where this kernel gives little."""
    if "seccomp" in shield or "landlock" in shield:
        logger.info("Decoders run behind %s.", ", ".join(shield))
    elif shield:
        logger.warning(
            "Decoders run behind %s only: this kernel allows neither Landlock nor a system-call filter. "
            "See docs/security.md.",
            ", ".join(shield),
        )


def warm_up() -> None:
    """Start the zygote now, so that the first file does not wait for its imports."""
    _zygote.start()


def shut_down() -> None:
    """Stop the zygote and every child. The next job starts a new one."""
    _zygote.stop()


def _wait(channel: socket.socket, wall_s: float) -> tuple[int | None, tuple[str, ...]]:
    """Wait for the zygote's report: the child's wait status (None: out of time) and the protections in force."""
    deadline = time.monotonic() + wall_s
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if selector.select(left):
                message = channel.recv(4096)
                if not message:
                    raise DecoderCrashed("The decoder stopped unexpectedly. Try again.", retryable=True)
                report = json.loads(message)
                return int(report["status"]), tuple(report["shield"])
    # Closing our end tells the zygote to kill the child.
    return None, ()


def _raise_for(status: int | None) -> None:
    too_long = "Reading this file took too long and was stopped. Send a shorter or simpler file, or re-encode it."
    if status is None:
        raise DeadlineExceeded(too_long)
    if not os.WIFSIGNALED(status):
        return
    number = os.WTERMSIG(status)
    if number == signal.SIGXCPU:
        raise DeadlineExceeded(too_long)
    name = signal.Signals(number).name
    raise DecoderCrashed(
        f"The decoder crashed on this file ({name}) and was stopped safely. "
        "The file is damaged or malicious; re-encode it with a trusted program and try again."
    )


def _read_answer(memory: int, shield: tuple[str, ...]) -> Answer:
    """Map the shared memory and believe nothing in it: every offset is checked against its size."""
    size = os.fstat(memory).st_size
    if size < ARRAYS_AT:
        raise DecoderCrashed("The decoder ended without an answer. The file is probably damaged; re-encode it.")
    mapped = mmap.mmap(memory, size, prot=mmap.PROT_READ | mmap.PROT_WRITE, flags=mmap.MAP_PRIVATE)
    try:
        offset, length = HEADER.unpack_from(mapped)
        if offset < ARRAYS_AT or offset + length > size or length > MAX_JSON_BYTES:
            raise ValueError("answer out of bounds")
        answer = json.loads(mapped[offset : offset + length])
        arrays = tuple(_array(mapped, size, entry) for entry in answer["arrays"])
        error = answer["error"]
        value = answer["value"]
    except (ValueError, KeyError, TypeError, struct.error) as problem:
        raise DecoderCrashed("The decoder gave a garbled answer. Re-encode the file and try again.") from problem
    if error is not None:
        if error.get("traceback"):
            logger.error("decoder failed: %s", error["traceback"])
        raise ERRORS.get(error.get("code", ""), DecoderCrashed)(str(error.get("message", "")))
    return Answer(value, arrays, shield)


def _array(mapped: mmap.mmap, size: int, entry: Mapping[str, Any]) -> NDArray[Any]:
    dtype, shape, offset = str(entry["dtype"]), tuple(int(n) for n in entry["shape"]), int(entry["offset"])
    if dtype not in DTYPES or any(n < 0 for n in shape):
        raise ValueError("unknown array")
    count = 1
    for n in shape:
        count *= n
    if offset < ARRAYS_AT or offset + count * np.dtype(dtype).itemsize > size:
        raise ValueError("array out of bounds")
    return np.frombuffer(mapped, dtype=dtype, count=count, offset=offset).reshape(shape)


class _Zygote:
    """The process that forks children; started on first use, again when it died, and once per forked copy of us."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._owner = 0

    def start(self) -> None:
        with self._lock:
            self._ensure()

    def stop(self) -> None:
        with self._lock:
            self._forget()

    def send(self, message: bytes, files: list[int]) -> None:
        with self._lock:
            for attempt in (1, 2):
                channel = self._ensure()
                try:
                    socket.send_fds(channel, [message], files)
                    return
                except OSError as error:
                    self._forget()
                    if attempt == 2:
                        raise DecoderCrashed("The decoder could not be started.", retryable=True) from error

    def _ensure(self) -> socket.socket:
        if self._channel is not None and self._process is not None:
            if self._owner == os.getpid() and self._process.poll() is None:
                return self._channel
            self._forget()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        root = Path(__file__).resolve().parents[2]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "detection.engine.zygote", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            cwd=root,
            env=_bare_environment(root),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is the server's to handle
        )
        theirs.close()
        self._channel, self._owner = ours, os.getpid()
        return ours

    def _forget(self) -> None:
        """Closing the channel ends the zygote and its children."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None and self._owner == os.getpid():
            try:
                self._process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._channel = self._process = None


def _bare_environment(root: Path) -> dict[str, str]:
    """What the zygote needs and no more: no secrets of the server, no threads before the fork."""
    kept = {
        name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH") if name in os.environ
    }
    one_thread = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # Each malloc arena reserves 64 MB of the address space that the limit counts.
    return {**kept, **one_thread, "PYTHONPATH": str(root), "MALLOC_ARENA_MAX": "2", "PYTHONHASHSEED": "0"}


_zygote = _Zygote()
