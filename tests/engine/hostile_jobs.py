"""What a decoder that fails or was taken over might do; run in the sandbox by test_sandbox.py."""

from __future__ import annotations

import ctypes
import os
import socket
import time
from typing import Any

import numpy as np

from detection.engine.errors import MediaUnreadable


def echo(file: Any, arguments: dict[str, Any], sink: Any, output: Any) -> dict[str, Any]:
    sink.add(np.arange(6, dtype=np.float32).reshape(2, 3))
    sink.add(np.full((4, 5, 3), 7, np.uint8))
    return {"read": len(file.read()), "arguments": arguments}


def refuse(file: Any, arguments: dict[str, Any], sink: Any, output: Any) -> dict[str, Any]:
    raise MediaUnreadable("Not a picture.")


def crash(file: Any, arguments: dict[str, Any], sink: Any, output: Any) -> dict[str, Any]:
    ctypes.string_at(0)
    return {}


def blunder(file: Any, arguments: dict[str, Any], sink: Any, output: Any) -> dict[str, Any]:
    raise KeyError("bug in a codec")


def vanish(file: Any, arguments: dict[str, Any], sink: Any, output: Any) -> dict[str, Any]:
    os._exit(0)


def hang(file: Any, arguments: dict[str, Any], sink: Any, output: Any) -> dict[str, Any]:
    time.sleep(600)
    return {}


def burn(file: Any, arguments: dict[str, Any], sink: Any, output: Any) -> dict[str, Any]:
    while True:
        pass


def swallow_memory(file: Any, arguments: dict[str, Any], sink: Any, output: Any) -> dict[str, Any]:
    kept = []
    while True:
        kept.append(np.ones(64 << 20, np.uint8))


def flood(file: Any, arguments: dict[str, Any], sink: Any, output: Any) -> dict[str, Any]:
    while True:
        sink.add(np.ones(16 << 20, np.uint8))


def garble(file: Any, arguments: dict[str, Any], sink: Any, output: Any) -> dict[str, Any]:
    """Claim an array far outside the shared memory."""
    sink._arrays.append({"dtype": "uint8", "shape": [1 << 40], "offset": 1 << 50})
    return {}


def reach_out(file: Any, arguments: dict[str, Any], sink: Any, output: Any) -> dict[str, Any]:
    """Try each forbidden thing; answers which ones worked."""
    attempts = {
        "network": lambda: socket.create_connection(("127.0.0.1", arguments["port"]), timeout=2),
        "read a file": lambda: os.close(os.open("/etc/passwd", os.O_RDONLY)),
        "write a file": lambda: os.close(os.open(arguments["new_file"], os.O_WRONLY | os.O_CREAT)),
        "fork": os.fork,
        "execute": lambda: os.execv("/bin/true", ["true"]),
        "signal the server": lambda: os.kill(arguments["server"], 0),
    }
    worked = []
    for name, attempt in attempts.items():
        try:
            attempt()
        except OSError:
            continue
        worked.append(name)
    return {"worked": worked, "descriptors": sorted(int(fd) for fd in range(64) if _is_open(fd))}


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def write_output(file: Any, arguments: dict[str, Any], sink: Any, output: Any) -> dict[str, Any]:
    os.write(output, b"made in the child")
    return {}


def tell_pid(file: Any, arguments: dict[str, Any], sink: Any, output: Any) -> dict[str, Any]:
    """Announce the own process through the inherited descriptor, then wait."""
    os.write(output, str(os.getpid()).encode())
    time.sleep(600)
    return {}
