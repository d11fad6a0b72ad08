"""Start the product: web server, worker threads, or both in one process."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
import sys
import tempfile
import threading
from argparse import ArgumentParser
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.db.migrations.executor import MigrationExecutor
from django.urls import get_resolver
from django.utils.module_loading import import_string

from deepfake import housekeeping, loop, storage
from deepfake.staticfiles import collect_if_changed
from deepfake.worker import PERIODIC, RELEASE, Crew

logger = logging.getLogger(__name__)


class Command(BaseCommand):
    help = "Serve pages, API and sockets, and answer the queue, in one process."
    requires_system_checks: list[str] = []  # they cost a third of the start; `manage.py check` runs them

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--role", choices=["web", "worker", "all"], default="all")
        parser.add_argument("--host", default=settings.HOST)
        parser.add_argument("--port", type=int, default=settings.PORT)
        parser.add_argument("--prepare", action="store_true", help="run `manage.py prepare` first, in this process")

    def handle(self, *args: Any, **options: Any) -> None:
        role = options["role"]
        tempfile.tempdir = str(settings.SPOOL_DIR)  # where Twisted spools request bodies
        try:
            if options["prepare"]:
                call_command("prepare", stdout=self.stdout, stderr=self.stderr)
            _check_database()
        except OperationalError as error:
            raise CommandError(f"The database does not answer; check DATABASE_URL. It said: {error}") from error
        storage.ensure_master_key()
        if role != "all" and not settings.REDIS_URL:
            self.stderr.write("REDIS_URL is not set: pages learn of progress by polling, not at once.")
        crew = Crew(settings.WORKER_THREADS) if role != "web" else None
        if crew:
            housekeeping.schedule()
        if role == "worker":
            _work(crew or Crew(1), self)
        else:
            _serve(options["host"], options["port"], crew, self)


def _check_database() -> None:
    connection = connections[DEFAULT_DB_ALIAS]
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise CommandError("The database is not up to date. Run `python manage.py migrate` first.")
    # SQLite: as long as one connection is open, the last request need not fold the journal back into the database.
    if connection.vendor != "sqlite":
        connection.close()


def _serve(host: str, port: int, crew: Crew | None, command: BaseCommand) -> None:
    collect_if_changed()
    _import_pages()
    if crew:
        _import_work()
    from daphne.server import twisted_loop  # first of Twisted: it chooses the reactor
    from twisted.internet import reactor as twisted_reactor

    from deepfake.asgi import application
    from deepfake.server import HouseServer, wait_for_requests

    reactor: Any = twisted_reactor

    def ready() -> None:
        loop.set_server_loop(twisted_loop)
        if crew:
            _warm_up()
            crew.start()
        shown = f"[{host}]" if ":" in host else host
        command.stdout.write(f"Serving http://{shown}:{port}")
        command.stdout.flush()

    server = HouseServer(application, host=host, port=port, ready=ready)

    def stop() -> None:
        reactor.callFromThread(server.stop_listening)
        if crew:
            crew.stop(settings.STOP_GRACE_S)
        wait_for_requests(server, 1.0)
        reactor.callFromThread(reactor.stop)

    _on_signals(stop)
    server.run()
    if server.failure:
        raise CommandError(f"Cannot listen on {host}:{port}: {server.failure}")
    _leave(0)


# Imported here, by one thread, and not by whichever threads happen to need them first.


def _import_pages() -> None:
    len(get_resolver().url_patterns)


def _import_work() -> None:
    for path in (*(path for path, _ in PERIODIC), RELEASE):
        import_string(path)
    import_module("detection.engine.pipeline")


def _work(crew: Crew, command: BaseCommand) -> None:
    """Workers without a web server; a loop of their own carries messages to the channel layer."""
    _import_work()
    own_loop = asyncio.new_event_loop()

    def stop() -> None:
        crew.stop(settings.STOP_GRACE_S)
        own_loop.call_soon_threadsafe(own_loop.stop)

    _on_signals(stop, own_loop)
    loop.set_server_loop(own_loop)
    crew.start()
    _warm_up()
    command.stdout.write(f"Working with {crew.size} thread(s)")
    command.stdout.flush()
    own_loop.run_forever()
    _leave(0)


def _warm_up() -> None:
    """Load the nets in the background, so that the first job does not wait for them."""

    def load() -> None:
        try:
            import_module("detection.engine.pipeline").warm_up()
        except Exception:
            # A weight that does not load fails the jobs that need it, each with its own sentence.
            logger.exception("The models could not be loaded at the start")

    threading.Thread(target=load, name="warm-up", daemon=True).start()


def _on_signals(stop: Any, idle_loop: asyncio.AbstractEventLoop | None = None) -> None:
    """The first SIGTERM or SIGINT stops in order, the second at once.

    idle_loop: the main thread's, where nothing else wakes it. A signal that comes in the instant before such a loop
    begins to wait would be heard only at its next event, which may never come; the loop's own handlers wake it.
    """

    def handle(number: int, frame: object = None) -> None:
        if loop.stopping.is_set():
            _leave(1)
        loop.stopping.set()
        threading.Thread(target=_stop_and_say_so, args=(stop,), name="stop", daemon=True).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        if idle_loop is None:
            signal.signal(number, handle)
        else:
            idle_loop.add_signal_handler(number, handle, number)
    faulthandler.register(signal.SIGUSR1)  # what every thread is doing, to standard error: for a server that hangs


def _stop_and_say_so(stop: Any) -> None:
    logger.info("Stopping")
    try:
        stop()
    except Exception:
        logger.exception("Could not stop in order")
        _leave(1)


def _leave(code: int) -> None:
    # Past the interpreter's own end, which would wait for threads that may hang in native code.
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    os._exit(code)
