"""What the server, its worker threads and the apps share: the event loop, the stop flag, a worker's name."""

from __future__ import annotations

import asyncio
import os
import socket
import threading

# Set once the process has been told to stop: nothing new is claimed from then on.
stopping = threading.Event()

_loop: asyncio.AbstractEventLoop | None = None


def set_server_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    global _loop
    _loop = loop


def server_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that serves this process's sockets (or, in a worker-only process, its channel layer); None elsewhere."""
    return _loop


def worker_name(thread: threading.Thread | None = None) -> str:
    """Name of a thread (the calling one) among all workers of all machines; a job row carries it while claimed."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{(thread or threading.current_thread()).name}"[:80]
