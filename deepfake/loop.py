"""What the server, its worker threads and the apps share: the event loop, the stop flag, a worker's name."""

from __future__ import annotations

import asyncio
import os
import socket
import threading

# Set once the process has been told to stop: a running job then gives itself back at its next step.
stopping = threading.Event()

_loop: asyncio.AbstractEventLoop | None = None


def set_server_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    global _loop
    _loop = loop


def server_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that serves this process's sockets (or, in a worker-only process, its channel layer); None elsewhere."""
    return _loop


def worker_name() -> str:
    """Name of the calling thread among all workers of all machines; a job row carries it while it is claimed."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{threading.current_thread().name}"[:80]
