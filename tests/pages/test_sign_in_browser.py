"""Sign-in in a real browser: passkeys by a virtual authenticator, an app, and a second factor that is asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests import factories
from tests.chromium import Site, browsing, close, sign_in
from tests.chromium import browser as browser

pytestmark = browsing(seconds=400)
SEED = """
import json
from accounts.models import Organization, Role, SignInRules
from tests import factories
one = Organization.objects.create(name="Example Newsroom", slug="example")
for name in ("alice", "anna", "andy"):
    factories.make_user(one, name, Role.ANALYST)
from accounts import members
admin = factories.make_user(one, "ada", Role.ADMIN)
ivy = members.invite(organization=one, username="ivy", email="", role=Role.ANALYST, actor=admin)
strict = Organization.objects.create(name="Strict Newsroom", slug="strict")
factories.make_user(strict, "sam", Role.ANALYST)
SignInRules.objects.create(organization=strict, required_roles=["analyst"])
print(json.dumps({"invitation": members.invitation_link(ivy)}))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"), SEED)
    site.url = site.url.replace("127.0.0.1", "localhost")
    yield site
    site.stop()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.set_default_timeout(60_000)
    yield context
    close(context)


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page that fails the test on anything the strict CSP refuses or a script trips over."""
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console", lambda message: wrong.append(message.text) if "Content Security Policy" in message.text else None
    )
    yield page
    assert wrong == []


def add_authenticator(context: BrowserContext, page: Page) -> Any:
    devtools = context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    devtools.send(
        "WebAuthn.addVirtualAuthenticator",
        {
            "options": {
                "protocol": "ctap2",
                "transport": "internal",
                "hasResidentKey": True,
                "hasUserVerification": True,
                "isUserVerified": True,
                "automaticPresenceSimulation": True,
            }
        },
    )
    return devtools


def sign_out(page: Page, site: Site) -> None:
    page.goto(site.url + "/accounts/logout/")
    page.locator("main").get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def code_of(secret: str, ahead: int = 0) -> str:
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + ahead))


def test_passkey_from_adding_to_signing_in_with_it(site: Site, context: BrowserContext, page: Page) -> None:
    add_authenticator(context, page)
    sign_in(page, site, "alice")
    page.goto(site.url + "/settings/security/")
    page.get_by_role("link", name="Add a passkey").click()
    page.get_by_label("Name", exact=True).fill("Test key")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    expect(page.locator(".codes li")).to_have_count(10)
    page.goto(site.url + "/settings/security/")
    row = page.get_by_role("row", name="Test key")
    expect(row).to_contain_text("sign-in alone")
    sign_out(page, site)
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", level=1, name="Analyses")).to_be_visible()
    # And as the second step after the password.
    sign_out(page, site)
    sign_in(page, site, "alice")
    expect(page.get_by_role("heading", name="Second step")).to_be_visible()
    page.get_by_role("button", name="Use your passkey").click()
    expect(page.get_by_role("heading", level=1, name="Analyses")).to_be_visible()
    page.goto(site.url + "/settings/security/")
    expect(page.get_by_role("row", name="Test key")).not_to_contain_text("never")


def test_joining_by_an_invitation(site: Site, page: Page) -> None:
    page.goto(site.url + "/invitation/" + site.jobs["invitation"].partition("/invitation/")[2])
    page.get_by_label("Password", exact=True).fill(factories.PASSWORD)
    page.get_by_label("The same once more").fill(factories.PASSWORD)
    page.get_by_role("button", name="Set the password").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("User name or e-mail").fill("ivy")
    page.get_by_label("Password", exact=True).fill(factories.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1, name="Analyses")).to_be_visible()


def test_browser_without_a_passkey_is_told(site: Site, context: BrowserContext, page: Page) -> None:
    add_authenticator(context, page)
    page.goto(site.url + "/accounts/login/")
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.locator("[data-passkey-error]")).to_contain_text("Nothing was confirmed")


def test_app_from_adding_to_signing_in_with_it(site: Site, page: Page) -> None:
    sign_in(page, site, "anna")
    page.goto(site.url + "/settings/security/")
    page.get_by_role("link", name="Add an app").click()
    secret = page.locator(".secret").inner_text()
    page.get_by_label("Code that the app shows", exact=True).fill(code_of(secret))
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator(".codes li")).to_have_count(10)
    recovery = page.locator(".codes li").first.inner_text()
    sign_out(page, site)
    sign_in(page, site, "anna")
    code = code_of(secret, ahead=1)
    page.get_by_label("Code", exact=True).fill(code)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1, name="Analyses")).to_be_visible()
    sign_out(page, site)
    sign_in(page, site, "anna")
    page.get_by_label("Code", exact=True).fill(code)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".field-error").first).to_be_visible()
    page.get_by_label("Code", exact=True).fill(recovery)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1, name="Analyses")).to_be_visible()
    page.goto(site.url + "/settings/security/")
    expect(page.get_by_text("9 left.")).to_be_visible()


def test_member_who_must_have_one_is_led_to_it(site: Site, context: BrowserContext, page: Page) -> None:
    add_authenticator(context, page)
    sign_in(page, site, "sam")
    expect(page.get_by_role("heading", name="Add a second factor")).to_be_visible()
    page.goto(site.url + "/dashboard/")
    expect(page.get_by_role("heading", name="Add a second factor")).to_be_visible()
    answer = page.evaluate("fetch('/v1/jobs').then(async (got) => [got.status, (await got.json()).code])")
    assert answer == [403, "second_factor_required"]
    page.get_by_role("link", name="Passkey").click()
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    page.goto(site.url + "/dashboard/")
    expect(page.get_by_role("heading", level=1, name="Dashboard")).to_be_visible()


def test_passkeys_on_a_numbered_address_lead_to_localhost(site: Site, page: Page) -> None:
    numbered = site.url.replace("localhost", "127.0.0.1")
    page.goto(numbered + "/accounts/login/")
    page.get_by_label("User name or e-mail").fill("andy")
    page.get_by_label("Password", exact=True).fill(factories.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.goto(numbered + "/accounts/2fa/webauthn/add/")
    link = page.get_by_role("link", name=site.url)
    expect(link).to_have_attribute("href", site.url + "/accounts/2fa/webauthn/add/")


def test_password_can_be_looked_at(site: Site, page: Page) -> None:
    page.goto(site.url + "/accounts/login/")
    field = page.get_by_label("Password", exact=True)
    field.fill("what I typed")
    page.get_by_role("button", name="Show password").click()
    expect(field).to_have_attribute("type", "text")
    page.get_by_role("button", name="Hide password").click()
    expect(field).to_have_attribute("type", "password")


@pytest.mark.parametrize("shot", ["security", "sign-in"])
def test_pages_fit_narrow_screens(site: Site, browser: Browser, shot: str, tmp_path: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    sign_in(page, site, "andy")
    page.goto(f"{site.url}/settings/{shot}/")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    close(context)
