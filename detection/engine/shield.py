"""What is taken from a process before it parses untrusted bytes, and a job that looks whether it is really gone.

Three walls, one behind the other: Landlock (paths, TCP, signals), a system-call filter, and no capabilities. Where the
kernel has no filter, a network namespace is tried instead. The limits of zygote.py hold everywhere.
"""

from __future__ import annotations

import ctypes
import os
import socket
from typing import Any

from detection.engine import landlock, seccomp

CLONE_NEWNET, CLONE_NEWUSER = 0x40000000, 0x10000000
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
CAPABILITY_VERSION_3 = 0x20080522


def cut_off() -> list[str]:
    """Take away network, files by name, other processes and root's rights. Returns what took hold."""
    held = ["landlock"] if landlock.restrict() else []
    if seccomp.install():
        held.append("seccomp")
    elif _leave_network():
        held.append("namespace")
    if _drop_capabilities():
        held.append("capabilities")
    return held


def _leave_network() -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.unshare(CLONE_NEWNET) == 0 or libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0)


def _drop_capabilities() -> bool:
    """A server in a container often runs as root; the decoder needs none of what root may do."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, each in two halves
    return bool(libc.capset(ctypes.byref(header), ctypes.byref(none)) == 0)


def probe(file: Any, arguments: dict[str, Any], sink: Any, output: Any) -> dict[str, Any]:
    """A job: try what no decoder may do, and say what worked."""
    attempts = {
        "read files": lambda: os.close(os.open("/proc/self/status", os.O_RDONLY)),
        "open sockets": lambda: socket.socket().bind(("127.0.0.1", 0)),
    }
    return {"open": [name for name, attempt in attempts.items() if _works(attempt)]}


def _works(attempt: Any) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True
