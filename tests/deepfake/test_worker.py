"""Worker threads: bells are heard at once, answered once, and none stops the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections, transaction
from django.utils import timezone
from django_q.models import OrmQ
from django_q.tasks import async_task

from deepfake import loop, worker
from deepfake.errors import TryLater
from deepfake.worker import Crew, answer, take_task

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.services]

HERE = "tests.deepfake.test_worker"
heard: list[tuple[str, str]] = []
hold = threading.Event()


def note(what: str) -> None:
    heard.append((what, threading.current_thread().name))


def fail(how: str) -> None:
    raise SystemExit if how == "exit" else RuntimeError("boom")


def later() -> None:
    raise TryLater("The mail server is away.")


def block(what: str) -> None:
    note(what)
    hold.wait(20)


def count_call() -> None:
    note("periodic")


def note_release(name: str) -> None:
    heard.append(("released", name))


def until(condition: Callable[[], Any], seconds: float = 10) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return bool(condition())


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    heard.clear()
    hold.clear()
    loop.stopping.clear()
    yield
    loop.stopping.clear()


@pytest.fixture
def crew() -> Iterator[Crew]:
    crew = Crew(2, periodic=())
    yield crew
    hold.set()
    crew.stop(10)
    for thread in crew.threads:
        thread.join(10)
    connections.close_all()


def test_task_is_answered_and_removed(crew: Crew) -> None:
    crew.start()
    async_task(f"{HERE}.note", "one")
    assert until(lambda: heard)
    assert heard[0][1].startswith("worker-")
    assert until(lambda: OrmQ.objects.count() == 0)


def test_bell_is_heard_without_waiting_for_the_poll(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "POLL_S", 30)
    crew.start()
    time.sleep(0.3)  # both threads wait by now
    async_task(f"{HERE}.note", "quick")
    assert until(lambda: heard, seconds=5)


def test_task_of_a_rolled_back_transaction_never_rings(crew: Crew) -> None:
    crew.start()
    with transaction.atomic():
        async_task(f"{HERE}.note", "never")
        transaction.set_rollback(True)
    async_task(f"{HERE}.note", "always")
    assert until(lambda: heard)
    assert [what for what, _ in heard] == ["always"]


@pytest.mark.parametrize("how", ["error", "exit"])
def test_failing_task_does_not_end_the_thread(how: str) -> None:
    crew = Crew(1, periodic=())
    crew.start()
    async_task(f"{HERE}.fail", how)
    async_task("no.such.module.function")
    async_task(f"{HERE}.note", "after")
    assert until(lambda: heard)
    assert until(lambda: OrmQ.objects.count() == 0)
    crew.stop(10)
    assert not any(thread.is_alive() for thread in crew.threads)


def test_unsigned_task_is_dropped(crew: Crew) -> None:
    OrmQ.objects.create(key="deepfake", payload="forged", lock=timezone.now())
    crew.start()
    assert until(lambda: OrmQ.objects.count() == 0)
    assert heard == []


def test_every_task_is_taken_once() -> None:
    for number in range(30):
        async_task(f"{HERE}.note", str(number))
    barrier = threading.Barrier(4)

    def take_all() -> None:
        barrier.wait()
        while task := take_task():
            answer(task)
        connections.close_all()

    threads = [threading.Thread(target=take_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A thread may find the ten oldest held by others and stop; what is left is taken by the next.
    while task := take_task():
        answer(task)
    assert sorted(int(what) for what, _ in heard) == list(range(30))


def test_task_of_a_killed_worker_rings_again() -> None:
    async_task(f"{HERE}.note", "again")
    assert take_task() is not None  # taken, never answered
    assert take_task() is None
    OrmQ.objects.update(lock=timezone.now() - timedelta(seconds=1))  # the hold has run out
    task = take_task()
    assert task is not None
    answer(task)
    assert [what for what, _ in heard] == ["again"]


def test_stop_gives_back_what_does_not_end(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "RELEASE", f"{HERE}.note_release")
    crew.start()
    async_task(f"{HERE}.block", "long")
    assert until(lambda: heard)
    began = time.monotonic()
    crew.stop(0.3)
    assert time.monotonic() - began < 3
    busy = heard[0][1]
    assert [name for what, name in heard if what == "released"] == [
        loop.worker_name(next(thread for thread in crew.threads if thread.name == busy))
    ]
    async_task(f"{HERE}.note", "late")
    time.sleep(0.3)
    assert "late" not in [what for what, _ in heard]


def test_stop_waits_for_what_ends_in_time(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "RELEASE", f"{HERE}.note_release")
    crew.start()
    async_task(f"{HERE}.block", "short")
    assert until(lambda: heard)
    threading.Timer(0.2, hold.set).start()
    crew.stop(10)
    assert [what for what, _ in heard] == ["short"]
    assert OrmQ.objects.count() == 0


def test_periodic_calls_repeat_and_survive_errors() -> None:
    crew = Crew(0, periodic=((f"{HERE}.count_call", 0.05), ("no.such.function", 0.05)))
    crew.start()
    assert until(lambda: len(heard) >= 3)
    assert all(thread.is_alive() for thread in crew.threads)
    crew.stop(1)
    for thread in crew.threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in crew.threads)


def test_periodic_paths_exist() -> None:
    from django.utils.module_loading import import_string

    for path in (*(path for path, _ in worker.PERIODIC), worker.RELEASE, "deepfake.housekeeping.tidy"):
        assert callable(import_string(path))


def test_a_task_that_asks_for_it_is_tried_again_and_given_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async_task(f"{HERE}.later", save=False)
    task = take_task()
    assert task is not None
    answer(task)
    assert take_task() is None  # not yet
    OrmQ.objects.update(lock=timezone.now())
    again = take_task()
    assert again is not None
    monkeypatch.setattr(worker, "TRY_FOR", timedelta(0))
    answer(again)
    assert not OrmQ.objects.exists()
