"""Chromium and a served process to open in it: what the tests of pages share."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests import factories, migrated

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VERDICT_MS = 90_000  # a picture takes a second; a busy test machine may need much longer
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]


def browsing(*, seconds: int = 300) -> list[pytest.MarkDecorator]:
    """The marks of a test that needs the browser."""
    return [
        pytest.mark.browser,
        pytest.mark.timeout(seconds),
        pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
    ]


class Site:
    def __init__(self, folder: Path, seed: str, name: str = "127.0.0.1") -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://{name}:{port}"
        dropped = ("DJANGO_SETTINGS_MODULE", "DATABASE_URL", "REDIS_URL", "DEBUG")
        kept = {name: value for name, value in os.environ.items() if name not in dropped}
        own = {"DATA_DIR": str(folder), "PORT": str(port), "PUBLIC_URL": self.url, "WORKER_THREADS": "1"}
        self.environment = kept | own
        migrated.copy_to(folder / "db.sqlite3")
        self.jobs: dict[str, str] = json.loads(self.manage("shell", "-v0", "-c", seed).splitlines()[-1])
        self.log = (folder / "serve.log").open("w")
        command = [sys.executable, "manage.py", "serve"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=self.log, stderr=self.log)
        self._wait()

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _wait(self) -> None:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{self.url}/accounts/login/", timeout=2)
                return
            except OSError:
                assert self.process.poll() is None, Path(self.log.name).read_text()
                time.sleep(0.2)
        raise AssertionError("the site did not start")

    def page(self, name: str) -> str:
        return f"{self.url}/analyses/{self.jobs[name]}/"

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Closed with this module: its event loop would stand in the way of Django's own tests.
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


class Tabs:
    """Pages of one test, each with cookies of its own; what they log as errors or the policy refuses is kept."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.complaints: list[str] = []

    def open(
        self, url: str, *, width: int = 1280, height: int = 900, allowed: tuple[str, ...] = (), **options: Any
    ) -> Page:
        """allowed: parts of complaints that belong to the test. options: those of a context in Playwright."""

        def note(text: str) -> None:
            if not any(one in text for one in allowed):
                self.complaints.append(text)

        context = self._browser.new_context(viewport={"width": width, "height": height}, **options)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: note(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(url)
        return page

    def close(self) -> None:
        for context in self._contexts:
            close(context)


@contextmanager
def tabs(browser: Browser) -> Iterator[Tabs]:
    """All are closed at the end, and nothing may have been complained of."""
    opened = Tabs(browser)
    try:
        yield opened
    finally:
        opened.close()
    assert opened.complaints == []


def close(context: BrowserContext) -> None:
    """Close a context wherever its pages are on their way to.

    Chromium 156 never answers when a page is closed in the moment in which it follows a form or link (one closing in
    twenty, measured): each goes somewhere else first, which waits for that.
    """
    for page in context.pages:
        page.goto("about:blank")
    context.close()


def sign_in(page: Page, site: Site, name: str = "alice") -> None:
    page.goto(site.url + "/")
    page.get_by_label("User name or e-mail").fill(name)
    page.get_by_label("Password", exact=True).fill(factories.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/accounts/login/" not in url)


def signed_in(browser: Browser, site: Site, name: str = "alice") -> Any:
    """Somebody's cookies, taken by signing in through the form; for `storage_state` of a context."""
    context = browser.new_context()
    page = context.new_page()
    sign_in(page, site, name)
    state = context.storage_state()
    close(context)
    return state


def check_both_themes(page: Page) -> None:
    found = Axe().run(page, options={"runOnly": RULES})
    assert found.violations_count == 0, found.generate_report()
    page.emulate_media(color_scheme="dark")
    found = Axe().run(page, options={"runOnly": {"type": "rule", "values": ["color-contrast"]}})
    assert found.violations_count == 0, found.generate_report()
