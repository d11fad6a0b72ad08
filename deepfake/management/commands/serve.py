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
import traceback
from argparse import ArgumentParser
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.db.migrations.executor import MigrationExecutor
from django.urls import get_resolver
from django.utils.module_loading import import_string

from deepfake import housekeeping, loop, metrics_views, storage, tls, tracing
from deepfake.staticfiles import collect_if_changed
from deepfake.worker import PERIODIC, RELEASE, Crew

logger = logging.getLogger(__name__)

OWN_NAMES = ("localhost", "127.0.0.1", "::1")  # whoever listens there alone needs no name for others


class Command(BaseCommand):
    help = "Serve pages, API and sockets, and answer the queue, in one process."
    requires_system_checks: list[str] = []  # they cost a third of the start; `manage.py check` runs them

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--role", choices=["web", "worker", "all"], default="all")
        parser.add_argument("--host", default=settings.HOST)
        parser.add_argument("--port", type=int, default=settings.PORT)
        parser.add_argument("--tls", action="store_true", help="serve https, with a certificate made by this server")
        parser.add_argument("--tls-cert", type=Path, help="serve https with this certificate (PEM, with its chain)")
        parser.add_argument("--tls-key", type=Path, help="the key of --tls-cert (PEM)")
        parser.add_argument("--prepare", action="store_true", help="run `manage.py prepare` first, in this process")

    def handle(self, *args: Any, **options: Any) -> None:
        role = options["role"]
        certificate = _certificate(options)
        if not os.environ.get("PUBLIC_URL"):
            settings.PUBLIC_URL = _public_url(options, certificate)
            if options["host"] not in OWN_NAMES:
                self.stderr.write(f"PUBLIC_URL is not set: links in e-mails and reports lead to {settings.PUBLIC_URL}.")
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
            _serve(options["host"], options["port"], crew, self, certificate)


def _certificate(options: dict[str, Any]) -> tls.Certificate | None:
    """The certificate to serve with, None for plain HTTP; makes cookies and links fit it."""
    cert_file, key_file = options["tls_cert"], options["tls_key"]
    if bool(cert_file) != bool(key_file):
        raise CommandError("--tls-cert and --tls-key go together: a certificate and its key.")
    if not options["tls"] and not cert_file:
        return None
    if settings.HTTPS:
        raise CommandError("HTTPS=yes says that a proxy in front ends TLS. Unset it, or serve without --tls.")
    try:
        certificate = tls.given(cert_file, key_file) if cert_file else tls.own(settings.KEYS_DIR, tls.local_names())
    except ValueError as error:
        raise CommandError(str(error)) from error
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = True
    settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"
    # No HSTS: it would lock browsers out of plain HTTP under these names, and of self-made certificates for good.
    settings.ALLOWED_HOSTS = [
        *settings.ALLOWED_HOSTS,
        *(f"[{name}]" if ":" in name else name.replace("*", "") for name in certificate.names),
    ]
    tls.serve_with(certificate)
    return certificate


def _public_url(options: dict[str, Any], certificate: tls.Certificate | None) -> str:
    """How others reach us, as far as it can be told from how we listen."""
    host = "localhost" if options["host"] in ("0.0.0.0", "::") else options["host"]  # nosec B104 # noqa: S104
    if certificate is None:
        return f"http://{_shown(host)}:{options['port']}"
    return f"https://{_shown(_public_name(options['host'], certificate))}:{options['port']}"


def _public_name(host: str, certificate: tls.Certificate) -> str:
    if host in certificate.names or not certificate.names:
        return host
    return certificate.names[0]


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _addresses(host: str, port: int, certificate: tls.Certificate | None) -> list[str]:
    """What to print once the server listens: where it is, where passkeys work, how others come to trust it."""
    if certificate is None:
        lines = [f"Serving http://{_shown(host)}:{port}"]
        if host in ("127.0.0.1", "::1", "0.0.0.0", "::"):  # nosec B104 # noqa: S104 -- compared, not bound
            lines.append(f"Passkeys work on http://localhost:{port}: browsers tie them to a name, not to a number.")
        return lines
    lines = [f"Serving https://{_shown(_public_name(host, certificate))}:{port}"]
    everywhere = host in ("0.0.0.0", "::")  # nosec B104 # noqa: S104 -- compared, not bound
    if everywhere:
        lines += [f"        https://{_shown(name)}:{port}" for name in certificate.names[1:]]
    if certificate.ca_file is None:
        return lines
    der = tls.served_ca() or b""
    lines += [
        f"Its certificate comes from its own authority: {certificate.ca_file}",
        f"SHA-256 {tls.fingerprint(der)}",
        "Browsers warn until they trust it. On each device open /trust/ at one of the addresses above,"
        " compare the fingerprint, and follow the steps.",
    ]
    if not everywhere:
        lines.append("For phones and other machines on your network: serve --tls --host 0.0.0.0")
    if certificate.left_out:
        lines.append(f"Left out, because the authority may not sign for them: {', '.join(certificate.left_out)}")
    return lines


def _check_database() -> None:
    connection = connections[DEFAULT_DB_ALIAS]
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise CommandError("The database is not up to date. Run `python manage.py migrate` first.")
    # SQLite: as long as one connection is open, the last request need not fold the journal back into the database.
    if connection.vendor != "sqlite":
        connection.close()


def _serve(
    host: str, port: int, crew: Crew | None, command: BaseCommand, certificate: tls.Certificate | None = None
) -> None:
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
        for line in _addresses(host, port, certificate):
            command.stdout.write(line)
        command.stdout.flush()

    server = HouseServer(application, host=host, port=port, ready=ready, certificate=certificate)

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
    if settings.METRICS_PORT:
        metrics_views.serve_apart(settings.HOST, settings.METRICS_PORT)
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
    if idle_loop is None:
        signal.signal(signal.SIGUSR1, _say_what_threads_do)
    else:
        idle_loop.add_signal_handler(signal.SIGUSR1, _say_what_threads_do)
    # For a server that stands still altogether, where no line of Python runs: it looks at threads without the
    # interpreter's lock, so one that still runs could break over it.
    faulthandler.register(signal.SIGUSR2)


def _say_what_threads_do(*_: object) -> None:
    """Write to standard error where every thread is; it disturbs none."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for number, frame in sys._current_frames().items():
        place = "".join(traceback.format_stack(frame))
        sys.stderr.write(f"Thread {names.get(number, number)}:\n{place}\n")
    sys.stderr.flush()


def _stop_and_say_so(stop: Any) -> None:
    logger.info("Stopping")
    try:
        stop()
    except Exception:
        logger.exception("Could not stop in order")
        _leave(1)


def _leave(code: int) -> None:
    with suppress(Exception):
        tracing.flush()
    # Past the interpreter's own end, which would wait for threads that may hang in native code.
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    os._exit(code)
