"""Waiting for the end of jobs and batches without a thread for each who waits.

All who wait in this process share one look at the database every 0.3 s, whatever their number; a coroutine each is
all that they cost. It asks rows, not sockets, so that an end is seen whichever process brought it about.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async
from django.db import DatabaseError, InterfaceError, close_old_connections

from deepfake import loop as house
from detection.models import FINAL_STATUSES, Batch, BatchStatus, Job

logger = logging.getLogger(__name__)

LOOK_S = 0.3
MOST_S = 60
MOST_WAITERS = 1000  # of one process; who comes later is answered at once

Thing = tuple[str, uuid.UUID]

_pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="waiting")


def _ended_jobs(wanted: Iterable[uuid.UUID]) -> Iterable[uuid.UUID]:
    waits = Job.objects.filter(pk__in=list(wanted), deleted_at=None).exclude(status__in=FINAL_STATUSES)
    return set(wanted) - set(waits.order_by().values_list("pk", flat=True))


def _ended_batches(wanted: Iterable[uuid.UUID]) -> Iterable[uuid.UUID]:
    waits = Batch.objects.filter(pk__in=list(wanted), status=BatchStatus.RUNNING)
    return set(wanted) - set(waits.order_by().values_list("pk", flat=True))


LOOKS: dict[str, Callable[[Iterable[uuid.UUID]], Iterable[uuid.UUID]]] = {
    "job": _ended_jobs,
    "batch": _ended_batches,
}


class _Watch:
    """Those who wait on one event loop."""

    def __init__(self) -> None:
        self.waiters: dict[Thing, set[asyncio.Future[None]]] = {}
        self.looking: asyncio.Task[None] | None = None

    async def until_ended(self, thing: Thing, seconds: float) -> None:
        if sum(map(len, self.waiters.values())) >= MOST_WAITERS or house.stopping.is_set():
            return
        ended = asyncio.get_running_loop().create_future()
        self.waiters.setdefault(thing, set()).add(ended)
        if self.looking is None or self.looking.done():
            self.looking = asyncio.ensure_future(self._look())
        try:
            await asyncio.wait_for(ended, seconds)
        except TimeoutError:
            return
        finally:
            self.waiters.get(thing, set()).discard(ended)
            if not self.waiters.get(thing):
                self.waiters.pop(thing, None)

    async def _look(self) -> None:
        while self.waiters:
            await asyncio.sleep(LOOK_S)
            if house.stopping.is_set():
                self._tell(list(self.waiters))
                return
            try:
                ended = await sync_to_async(_look_up, thread_sensitive=False, executor=_pool)(list(self.waiters))
            except (DatabaseError, InterfaceError):
                logger.exception("Who waits for jobs cannot be told of their end; looking again")
                continue
            self._tell(ended)

    def _tell(self, things: Iterable[Thing]) -> None:
        for thing in things:
            for ended in self.waiters.get(thing, set()):
                if not ended.done():
                    ended.set_result(None)


def _look_up(things: list[Thing]) -> list[Thing]:
    close_old_connections()
    try:
        return [
            (kind, identity)
            for kind, ended in LOOKS.items()
            for identity in ended([identity for name, identity in things if name == kind])
        ]
    finally:
        close_old_connections()


_watches: WeakKeyDictionary[asyncio.AbstractEventLoop, _Watch] = WeakKeyDictionary()


async def until_ended(kind: str, identity: uuid.UUID, seconds: float) -> None:
    """Return when the job or batch has ended or is gone, after `seconds` at the latest, or when the server stops."""
    watch = _watches.setdefault(asyncio.get_running_loop(), _Watch())
    await watch.until_ended((kind, identity), seconds)


def waiters() -> int:
    """How many wait in this process."""
    return sum(len(found) for watch in list(_watches.values()) for found in list(watch.waiters.values()))
