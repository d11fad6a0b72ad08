"""Two installations in Chromium: one is the identity provider of the other. Consent, CSP and redirects are real."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser, expect

from tests.chromium import Site, browsing
from tests.chromium import browser as browser

pytestmark = browsing(seconds=600)
CONNECTION = UUID("5ca1ab1e-0000-4000-8000-000000000001")
NOTHING = "print('{}')"
PROVIDER = """
import json
from allauth.account.models import EmailAddress
from accounts.models import Organization, Role
from accounts.oauth.services import create_client
from tests.factories import make_user
there = Organization.objects.create(name="Login House", slug="house")
ada = make_user(there, "ada", Role.ADMIN)
nina = make_user(there, "nina", Role.REVIEWER)
EmailAddress.objects.create(user=nina, email=nina.email, verified=True, primary=True)
row, secret = create_client(organization=there, name="Newsroom desk", kind="web", redirect_uris=["{callback}"],
                            scopes=["openid", "profile", "email"], actor=ada)
print(json.dumps({{"client_id": row.pk, "secret": secret}}))
"""
CONSUMER = """
import json
from django.utils import timezone
from accounts.models import EmailDomain, Organization, SsoConnection, User
from deepfake import storage
here = Organization.objects.create(name="Newsroom", slug="newsroom")
EmailDomain.objects.create(organization=here, domain="example.org", verified_at=timezone.now())
SsoConnection.objects.create(id="{pk}", organization=here, kind="oidc", name="Login House", issuer="{issuer}",
    client_id="{client_id}", sealed_secret=storage.seal(b"{secret}", context="{pk}"), makes_members=True,
    group_roles=[["reviewer", "analyst"]])
print("{{}}")
"""

MEMBERS = """
import json
from accounts.models import User
print(json.dumps(list(User.objects.values_list("username", "role", "organization__slug"))))
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """The provider at 127.0.0.1 and the consumer at localhost: cookies do not look at ports."""
    os.environ["FETCH_ALLOW_PRIVATE"] = "yes"
    consumer = Site(tmp_path_factory.mktemp("consumer"), NOTHING, name="localhost")
    callback = f"{consumer.url}/accounts/oidc/sso-{CONNECTION.hex}/login/callback/"
    provider = Site(tmp_path_factory.mktemp("provider"), PROVIDER.format(callback=callback))
    del os.environ["FETCH_ALLOW_PRIVATE"]
    known: dict[str, Any] = provider.jobs
    consumer.manage("shell", "-v0", "-c", CONSUMER.format(pk=CONNECTION, issuer=provider.url, **known))
    yield provider, consumer
    provider.stop()
    consumer.stop()


def test_a_person_signs_in_at_one_and_works_at_the_other(two: tuple[Site, Site], browser: Browser):
    provider, consumer = two
    page = browser.new_context().new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(f"{consumer.url}/accounts/login/?next=/settings/")
    page.get_by_role("link", name="Sign in with your organisation").click()
    page.get_by_label("Your e-mail address").fill("nina@example.org")
    page.get_by_role("button", name="Find it").click()
    page.get_by_role("link", name="Continue with Login House").click()
    page.wait_for_url(f"{provider.url}/accounts/login/**")
    page.get_by_label("User name").fill("nina")
    page.get_by_label("Password").fill("correct horse battery staple")
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Let Newsroom desk in?")
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/consent.png")
    page.get_by_role("button", name="Let it in").click()
    page.wait_for_url(f"{consumer.url}/settings/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Settings")
    expect(page.locator("main")).to_contain_text("Newsroom")
    assert complaints == []
    members = json.loads(consumer.manage("shell", "-v0", "-c", MEMBERS).splitlines()[-1])
    assert members == [["nina", "analyst", "newsroom"]]
    page.goto(f"{provider.url}/settings/connected-programs/")
    expect(page.get_by_role("heading", name="Newsroom desk")).to_be_visible()


def test_refusing_leads_back_without_a_sign_in(two: tuple[Site, Site], browser: Browser):
    _, consumer = two
    page = browser.new_context().new_page()
    page.goto(f"{consumer.url}/accounts/organization/?organization=newsroom")
    page.get_by_role("link", name="Continue with Login House").click()
    page.get_by_label("User name").fill("nina")
    page.get_by_label("Password").fill("correct horse battery staple")
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_role("button", name="Refuse").click()
    page.wait_for_url(f"{consumer.url}/**")
    expect(page.get_by_role("heading", level=1)).to_have_text("You were not signed in")
    page.goto(f"{consumer.url}/settings/")
    page.wait_for_url("**/accounts/login/**")
