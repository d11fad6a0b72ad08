"""What a decoder that fails or was taken over might do; run in the sandbox by test_sandbox.py."""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import time
from typing import Any

import numpy as np

from detection.engine import seccomp
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
        "read the database": lambda: os.close(os.open(arguments["database"], os.O_RDONLY)),
        "change the database": lambda: os.close(os.open(arguments["database"], os.O_RDWR)),
        "empty the database": lambda: os.truncate(arguments["database"], 0),
        "delete the database": lambda: os.unlink(arguments["database"]),
        "rename the database": lambda: os.rename(arguments["database"], arguments["new_file"]),
        "open the database to all": lambda: os.chmod(arguments["database"], 0o777),
        "date the database back": lambda: os.utime(arguments["database"], (1, 1)),
        "label the database": lambda: os.setxattr(arguments["database"], "user.mark", b"1"),
        "list a folder": lambda: os.listdir("/"),
        "datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9)),
        "local socket": lambda: socket.socket(socket.AF_UNIX).connect(b"\0nobody"),
        "listen": lambda: socket.create_server(("127.0.0.1", 0)),
        "new root": lambda: os.chroot("/tmp"),
        "open by handle": lambda: _call("open_by_handle_at"),
        "rename the machine": lambda: socket.sethostname(socket.gethostname()),
        "signal with a value": lambda: _call(
            "rt_sigqueueinfo", arguments["server"], 0, ctypes.create_string_buffer(128)
        ),
        "trace the server": lambda: _call("ptrace", 16, arguments["server"], None, None),
        "read the server's memory": lambda: _call("process_vm_readv", arguments["server"], None, 0, None, 0, 0),
        "io_uring": lambda: _call("io_uring_setup", 1, ctypes.create_string_buffer(256)),
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


def _call(name: str, *arguments: Any) -> None:
    """A system call by its number: libraries have no say in it."""
    number = seccomp._MACHINES[platform.machine()][1][name]
    if ctypes.CDLL(None, use_errno=True).syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


def capabilities(file: Any, arguments: dict[str, Any], sink: Any, output: Any) -> dict[str, Any]:
    """What of root's rights this process holds: capget's "effective" and "permitted", both halves."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    failed = ctypes.CDLL(None, use_errno=True).capget(ctypes.byref(header), ctypes.byref(sets))
    return {"failed": failed, "held": [sets[0], sets[1], sets[3], sets[4]]}


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
