"""Worker threads on the django-q2 queue, and the periodic calls that keep it honest.

The queue is a bell: a task says "there may be work" and the function it names looks for itself. So a bell is answered
at least once, a lost one is rung again by the sweep, and one that comes twice does no harm.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from django.core.signing import BadSignature
from django.db import DatabaseError, InterfaceError, close_old_connections, connections, transaction
from django.db.models.signals import post_save
from django.utils import timezone
from django.utils.module_loading import import_string
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from deepfake.errors import TryLater
from deepfake.loop import stopping, worker_name

logger = logging.getLogger(__name__)

POLL_S = 0.5  # how late a bell rung by another process is heard
SWEEP_S = 5.0
WEBHOOKS_S = 1.0
SCHEDULE_S = 30.0
DATABASE_PAUSE_S = 2.0
TRY_AGAIN = timedelta(minutes=10)
TRY_FOR = timedelta(days=7)

PERIODIC: tuple[tuple[str, float], ...] = (
    ("detection.jobs.sweep", SWEEP_S),
    ("detection.webhooks_sending.deliver_due", WEBHOOKS_S),
    ("django_q.scheduler.scheduler", SCHEDULE_S),
)
RELEASE = "detection.jobs.release"

_bell = threading.Event()
_crews: list[Crew] = []  # of this process: one, but for tests


def hear_new_tasks() -> None:
    """Ring in this process as soon as a task is committed, without waiting for the poll."""
    post_save.connect(_on_new_task, sender=OrmQ, dispatch_uid="deepfake.worker")


def _on_new_task(sender: Any, created: bool, using: str, **kwargs: Any) -> None:
    if created:
        transaction.on_commit(_bell.set, using=using)


# One bell -------------------------------------------------------------------------------------------------------------


def take_task() -> OrmQ | None:
    """Take the oldest task that nobody holds, by a conditional update."""
    key = get_broker().list_key
    for task in OrmQ.objects.filter(key=key, lock__lte=timezone.now()).order_by("id")[:10]:
        held_until = timezone.now() + timedelta(seconds=Conf.RETRY)
        if OrmQ.objects.filter(pk=task.pk, lock=task.lock).update(lock=held_until):
            return task
    return None


def answer(task: OrmQ) -> None:
    """Call what the task names and remove it; a failure is logged, because the rows know what is left to do."""
    try:
        package = SignedPackage.loads(task.payload)
        import_string(package["func"])(*package["args"], **package.get("kwargs", {}))
    except TryLater as refused:
        if timezone.now() - package["started"] < TRY_FOR:
            logger.warning("Task %s is tried again in %s: %s", task.pk, TRY_AGAIN, refused)
            OrmQ.objects.filter(pk=task.pk).update(lock=timezone.now() + TRY_AGAIN)
            return
        logger.error("Task %s was given up after %s: %s", task.pk, TRY_FOR, refused)
    except BadSignature:
        logger.error("Task %s is not signed with this installation's SECRET_KEY; it was dropped.", task.pk)
    except (Exception, SystemExit):  # django-q2 itself and some libraries end a task with SystemExit
        logger.exception("Task %s failed", task.pk)
    OrmQ.objects.filter(pk=task.pk).delete()


# Threads --------------------------------------------------------------------------------------------------------------


@dataclass
class Crew:
    """The worker threads of this process."""

    size: int
    periodic: tuple[tuple[str, float], ...] = PERIODIC
    threads: list[threading.Thread] = field(default_factory=list)
    busy: set[threading.Thread] = field(default_factory=set)

    def start(self) -> None:
        hear_new_tasks()
        _crews.append(self)
        for number in range(1, self.size + 1):
            self._thread(f"worker-{number}", self._answer_bells)
        for path, every_s in self.periodic:
            self._thread(path, partial(self._repeat, path, every_s))

    def stop(self, grace_s: float) -> None:
        """Take no more tasks, give running ones `grace_s` to end, and give back the jobs of those that do not."""
        stopping.set()
        _bell.set()
        end = time.monotonic() + grace_s
        for thread in [thread for thread in self.threads if thread.name.startswith("worker-")]:
            thread.join(max(0.0, end - time.monotonic()))
        for thread in list(self.busy):
            logger.warning("%s is still at work; its job goes back to the queue.", thread.name)
            import_string(RELEASE)(worker_name(thread))
        close_old_connections()

    def _thread(self, name: str, target: Callable[[], None]) -> None:
        # Daemons: a thread cannot be killed, and the process must not wait for one that hangs.
        thread = threading.Thread(target=target, name=name, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _answer_bells(self) -> None:
        me = threading.current_thread()
        while not stopping.is_set():
            _bell.clear()
            try:
                task = take_task()
                if task is None:
                    _bell.wait(POLL_S)
                    continue
                self.busy.add(me)
                answer(task)
            except (DatabaseError, InterfaceError):
                _rest_after_database_error()
            finally:
                self.busy.discard(me)
            close_old_connections()
        connections.close_all()

    def _repeat(self, path: str, every_s: float) -> None:
        while not stopping.is_set():
            try:
                import_string(path)()
            except (DatabaseError, InterfaceError):
                _rest_after_database_error()
            except Exception:
                logger.exception("%s failed", path)
            close_old_connections()
            stopping.wait(every_s)
        connections.close_all()


def count_busy() -> int:
    """How many worker threads of this process are at a task."""
    return sum(len(crew.busy) for crew in _crews)


def count_all() -> int:
    return sum(thread.is_alive() for crew in _crews for thread in crew.threads if thread.name.startswith("worker-"))


def _rest_after_database_error() -> None:
    logger.exception("The database did not answer; trying again in %.0f s", DATABASE_PAUSE_S)
    connections.close_all()
    stopping.wait(DATABASE_PAUSE_S)
