"""Landlock: the kernel itself takes all paths, TCP and outside signals from a process, whatever call is used."""

from __future__ import annotations

import ctypes

CREATE_RULESET, RESTRICT_SELF = 444, 446  # the same numbers on every architecture
ASK_VERSION = 1
PR_SET_NO_NEW_PRIVS = 38


class _Ruleset(ctypes.Structure):
    _fields_ = [("paths", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


def version() -> int:
    """Which edition of Landlock this kernel speaks; 0 for none."""
    return max(0, int(ctypes.CDLL(None, use_errno=True).syscall(CREATE_RULESET, None, 0, ASK_VERSION)))


def restrict() -> int:
    """Refuse this thread, for good, everything that Landlock knows. Returns the edition in force, 0 where none is.

    No rule allows anything: what was opened before stays open, and nothing else can be reached by name.
    """
    edition = version()
    if not edition:
        return 0
    # Rights that later editions learnt: 13 renaming across folders, 14 truncating, 15 device controls.
    paths = {1: 13, 2: 14, 3: 15, 4: 15}.get(edition, 16)
    rules = _Ruleset(
        paths=(1 << paths) - 1,
        network=0b11 if edition >= 4 else 0,  # TCP: bind and connect
        scoped=0b11 if edition >= 6 else 0,  # abstract sockets and signals of processes outside
    )
    size = 8 if edition < 4 else 16 if edition < 6 else 24
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(CREATE_RULESET, ctypes.byref(rules), size, 0)
    if descriptor < 0:
        return 0
    try:
        if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or libc.syscall(RESTRICT_SELF, descriptor, 0) != 0:
            return 0
    finally:
        libc.close(descriptor)
    return edition
