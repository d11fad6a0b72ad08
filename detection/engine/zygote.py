"""The process that decoding children are forked from: single-threaded, libraries loaded, knows no secret.

Started by `sandbox.py` as `python -m detection.engine.zygote <descriptor>`; ends when that socket closes.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from detection.engine import shield
from detection.engine.errors import EngineError
from detection.engine.sink import Sink

PRELOAD = ("detection.engine.stills", "detection.engine.recordings", "detection.engine.rendition")
PR_SET_PDEATHSIG = 1
MESSAGE_BYTES = 1 << 16


@dataclass
class _Child:
    pid: int
    pidfd: int
    report: socket.socket
    shield: tuple[str, ...]


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in PRELOAD:
        loaded = importlib.import_module(module)
        getattr(loaded, "preload", lambda: None)()
    gc.collect()
    gc.freeze()  # a collection in a child would copy every shared page
    shields = _available_shields()
    children: dict[int, _Child] = {}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for descriptor, events in poll.poll():
            if descriptor == control.fileno():
                if not _accept(control, poll, children, shields):
                    return _kill_all(children)
            else:
                _attend(descriptor, events, poll, children)


def _available_shields() -> tuple[str, ...]:
    """Try in a throw-away child what this kernel allows, so that each job can say what protected it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writer, " ".join(["limits", *shield.cut_off()]).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    found = os.read(reader, 200).decode().split()
    os.close(reader)
    os.close(writer)
    return tuple(found)


def _accept(control: socket.socket, poll: Any, children: dict[int, _Child], shields: tuple[str, ...]) -> bool:
    """Fork a child for the next job. False when the server is gone."""
    message, files, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 8)
    if not message:
        return False
    request = json.loads(message)
    report = socket.socket(fileno=files[0])
    pid = -1
    try:
        module, _, name = request["job"].partition(":")
        function = getattr(importlib.import_module(module), name)
        pid = os.fork()
    except (ImportError, AttributeError, OSError):  # no such job, or no memory for another process
        traceback.print_exc()
        report.close()  # the server reads the end of the stream: this job failed, the others go on
        return True
    finally:
        if pid != 0:
            for descriptor in files[1:]:
                os.close(descriptor)
    if pid == 0:
        _be_child(function, request, files)
    child = _Child(pid, os.pidfd_open(pid), report, shields)
    for descriptor in (child.pidfd, report.fileno()):
        children[descriptor] = child
        poll.register(descriptor, select.POLLIN)
    return True


def _attend(descriptor: int, events: int, poll: Any, children: dict[int, _Child]) -> None:
    """A child ended: tell the server. The server hung up: kill the child."""
    child = children.get(descriptor)
    if child is None:
        return
    if descriptor == child.report.fileno():
        os.kill(child.pid, signal.SIGKILL)
        poll.unregister(descriptor)
        return
    _, status = os.waitpid(child.pid, 0)
    del children[child.pidfd], children[child.report.fileno()]
    poll.unregister(child.pidfd)
    try:
        poll.unregister(child.report.fileno())
        child.report.send(json.dumps({"status": status, "shield": child.shield}).encode())
    except (KeyError, OSError):
        pass  # the server no longer waits for this one
    os.close(child.pidfd)
    child.report.close()


def _kill_all(children: dict[int, _Child]) -> None:
    for child in children.values():
        os.kill(child.pid, signal.SIGKILL)


# --- the child ---------------------------------------------------------------------------------------------------


def _be_child(function: Callable[..., dict[str, Any]], request: dict[str, Any], files: list[int]) -> None:
    """Never returns. Order matters: first the limits, then the work."""
    try:
        # Killed with its zygote, however that dies.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        source, memory = files[1], files[2]
        output = files[3] if request["writes"] else None
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)  # codecs chatter about broken files; what matters travels in the answer
        _close_all_but({0, 1, 2, source, memory} | ({output} if output is not None else set()))
        _limit(request["limits"])
        shield.cut_off()
        sink = Sink(memory)
        sink.finish(*_work(function, request["arguments"], source, sink, output))
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def _work(
    function: Callable[..., dict[str, Any]], arguments: dict[str, Any], source: int, sink: Sink, output: int | None
) -> tuple[dict[str, Any] | None, dict[str, str] | None]:
    """Return (value, error)."""
    try:
        with os.fdopen(source, "rb", buffering=0) as file:
            return function(file, arguments, sink, output), None
    except EngineError as error:
        return None, {"code": error.code, "message": error.message}
    except MemoryError:
        message = "This file needs more memory to decode than is allowed. Send a smaller or simpler version."
        return None, {"code": "media_unreadable", "message": message}
    except Exception as error:
        message = f"The decoder failed on this file ({type(error).__name__}). Re-encode it and try again."
        return None, {"code": "decoder_crashed", "message": message, "traceback": traceback.format_exc(limit=8)[-2000:]}


def _close_all_but(kept: set[int]) -> None:
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:
                continue  # the directory's own descriptor, already closed


def _limit(limits: dict[str, Any]) -> None:
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    cpu_s = int(limits["cpu_s"])
    for kind, soft, hard in (
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_AS, limits["memory_bytes"], limits["memory_bytes"]),
        (resource.RLIMIT_CPU, cpu_s, cpu_s + 1),
        (resource.RLIMIT_FSIZE, limits["answer_bytes"], limits["answer_bytes"]),
        (resource.RLIMIT_NOFILE, highest + limits["spare_files"], highest + limits["spare_files"]),
    ):
        resource.setrlimit(kind, (soft, hard))
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # when the machine runs out of memory, this process goes first
    except OSError:
        return  # not allowed everywhere; the address-space limit holds anyway


if __name__ == "__main__":
    main()
