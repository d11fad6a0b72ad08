"""The pages in a real browser, against a served process: live progress, keyboard, themes, accessibility, the CSP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.chromium import ROOT, RULES, VERDICT_MS, Site, browsing, check_both_themes, signed_in, tabs
from tests.chromium import browser as browser

pytestmark = browsing()
SEED = "from tests.pages.seed_site import seed; seed()"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"), SEED)
    yield site
    site.stop()


@pytest.fixture(scope="module")
def session(site: Site, browser: Browser) -> Any:
    return signed_in(browser, site)


@pytest.fixture
def open_page(browser: Browser, session: Any) -> Iterator[Any]:
    """Open an address as Alice."""
    with tabs(browser) as opened:
        yield lambda url, **options: opened.open(url, **({"storage_state": session} | options))


def address(site: Site, name: str) -> str:
    fixed = {
        "list": "/",
        "empty": "/?q=nothing-like-this",
        "two-factor": "/settings/security/",
        "password": "/accounts/password/change/",
        "missing": "/nowhere",
    }
    if name in fixed:
        return site.url + fixed[name]
    if name.startswith("delete"):
        return site.page("video") + "delete/"
    if name == "report":
        return site.page("video").removesuffix("/") + "/report"
    return site.page(name)


PAGES = (
    "list",
    "empty",
    "video",
    "image",
    "audio",
    "failed",
    "cancelled",
    "delete",
    "report",
    "two-factor",
    "password",
    "missing",
)


@pytest.mark.parametrize("name", PAGES)
def test_accessibility(open_page, site, name):
    allowed = ("404 (Not Found)",) if name == "missing" else ()
    page = open_page(address(site, name), allowed=allowed)
    page.wait_for_load_state("networkidle")
    page.evaluate("document.querySelectorAll('main details').forEach((part) => { part.open = true; })")
    check_both_themes(page)


def test_accessibility_of_sign_in(open_page, site):
    check_both_themes(open_page(site.url + "/accounts/login/", storage_state=None))


def test_accessibility_check_finds_faults(open_page, site):
    page = open_page(site.url + "/")
    page.evaluate("document.querySelector('#filter-q').labels[0].remove()")
    page.evaluate("document.querySelector('#filter-q').removeAttribute('placeholder')")
    assert Axe().run(page, options={"runOnly": RULES}).violations_count > 0


@pytest.mark.parametrize("name", PAGES)
def test_nothing_scrolls_sideways(open_page, site, name):
    page = open_page(address(site, name), allowed=("404 (Not Found)",) if name == "missing" else ())
    for width in (320, 390, 768, 1024, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, width


def test_upload_becomes_a_verdict_without_a_reload(open_page, site, tmp_path):
    page = open_page(site.url + "/")
    page.evaluate("window.neverReloaded = true")
    picture = ROOT / "tests" / "media" / "astronaut.jpg"
    page.locator("#upload-files").set_input_files(picture)
    row = page.locator("tr.job-row", has_text="astronaut.jpg").first
    expect(row).to_be_visible()
    expect(row.locator(".verdict-badge")).to_be_visible(timeout=VERDICT_MS)
    assert page.evaluate("window.neverReloaded") is True
    row.get_by_role("link").click()
    expect(page.locator("#verdict-word")).to_be_visible()
    expect(page.locator(".branch").first).to_be_visible()


def test_an_analysis_that_is_open_finishes_by_itself(open_page, site):
    page = open_page(site.page("image"))
    page.get_by_role("button", name="Run again").click()
    page.wait_for_url(lambda url: site.jobs["image"] not in url)
    page.evaluate("window.neverReloaded = true")
    outcome = page.locator("#verdict-word, #outcome:has-text('No result')")
    expect(outcome).to_be_visible(timeout=VERDICT_MS)
    expect(page.locator("[data-live-status]")).to_contain_text("The analysis")
    assert page.evaluate("window.neverReloaded") is True


def test_a_refused_file_says_why(open_page, site):
    page = open_page(site.url + "/", allowed=("415",))
    page.locator("#upload-files").set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"words"})
    refused = page.locator(".upload-item[data-state=refused]")
    expect(refused).to_contain_text("a.txt")
    refused.get_by_role("button", name="Dismiss").click()
    expect(refused).to_have_count(0)


def test_filters_follow_at_once_and_live_in_the_address(open_page, site):
    page = open_page(site.url + "/")
    page.get_by_label("Kind").select_option("audio")
    expect(page.locator("tr.job-row")).to_have_count(1)
    assert "kind=audio" in page.url
    page.reload()
    expect(page.locator("tr.job-row")).to_have_count(1)
    page.get_by_role("link", name="Clear all").click()
    expect(page.locator("tr.job-row", has_text="speech.mp4")).to_be_visible()


def test_the_theme_is_remembered_and_painted_by_the_server(open_page, site):
    page = open_page(site.url + "/", color_scheme="light")
    page.get_by_role("button", name="Switch between light and dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"


def test_timeline_by_keyboard_and_pointer(open_page, site):
    page = open_page(site.page("video"))
    page.wait_for_function("document.querySelector('video').readyState >= 1")
    slider = page.get_by_role("slider", name="Position")
    slider.focus()
    expect(slider).to_have_attribute("aria-valuenow", "1.2")  # a fake opens at its strongest frame
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuenow", "1.0")
    page.keyboard.press(".")
    page.wait_for_function(
        "Math.abs(document.querySelector('video').currentTime - 1.06) < 0.001"
    )  # the middle of frame 26
    page.keyboard.press("End")
    expect(slider).to_have_attribute("aria-valuenow", "4.0")
    box = slider.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 10)
    page.wait_for_function("Math.abs(document.querySelector('video').currentTime - 2) < 0.1")


def test_a_key_frame_seeks_and_shows_its_heatmap(open_page, site):
    page = open_page(site.page("video"))
    page.wait_for_function("document.querySelector('video').readyState >= 1")
    heat = page.locator("[data-heat] image").last
    expect(heat).to_have_class("heat")
    expect(heat).to_have_attribute("opacity", "0.8")
    page.get_by_role("slider", name="Position").press("Home")
    expect(heat).to_have_attribute("opacity", "0.4")  # of another moment, and said so
    expect(page.locator("[data-overlay-words]")).to_contain_text("(number 30), 1.2 s after this moment")
    page.locator(".frame-card").first.click()
    expect(heat).to_have_class("heat")
    page.wait_for_function("Math.abs(document.querySelector('video').currentTime - 1.2) < 0.05")
    page.get_by_role("button", name="Heatmap").click()
    expect(heat).to_have_class("heat is-off")


def test_faces_are_boxed(open_page, site):
    page = open_page(site.page("image"))
    expect(page.locator(".face-tag")).to_have_text("Person A, 90 %")
    page.get_by_role("button", name="Faces").click()
    expect(page.locator(".face-tag")).to_have_count(0)


def test_without_a_script_everything_is_still_there(open_page, site):
    page = open_page(site.url + "/", java_script_enabled=False)
    picture = ROOT / "tests" / "media" / "astronaut.jpg"
    page.locator("#upload-files").set_input_files(picture)
    page.get_by_role("button", name="Analyse").click()
    expect(page.get_by_role("heading", name="astronaut.jpg")).to_be_visible()
    page.goto(site.page("video"))
    expect(page.locator("#verdict-word")).to_be_visible()
    expect(page.locator(".lane-plot").first).to_be_visible()
    page.get_by_role("link", name="Delete").click()
    expect(page.get_by_role("button", name="Delete for good")).to_be_visible()


def test_keyboard_reaches_the_content_first(open_page, site):
    page = open_page(site.url + "/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_the_page_of_the_api_opens_what_an_address_leads_to(open_page, site):
    page = open_page(f"{site.url}/v1/docs/", storage_state=None)
    assert page.evaluate("document.documentElement.scrollHeight") < 5000
    expect(page.locator("details.doc-group[open]")).to_have_count(0)
    page.goto(f"{site.url}/v1/docs/#get_job")
    expect(page.locator("details.doc-group[open]")).to_have_count(1)
    expect(page.locator("#get_job")).to_be_in_viewport()
    # The filter finds operations, and Enter opens the first.
    page.get_by_label("Find an operation").fill("webhook post")
    page.keyboard.press("Enter")
    page.wait_for_url("**#create_webhook")
    expect(page.locator("#create_webhook")).to_be_in_viewport()
    # Closed by keyboard; the same link opens it once more, though the address does not change.
    group = page.locator("details.doc-group", has=page.locator("#create_webhook"))
    group.locator("> summary").press("Enter")
    expect(page.locator("#create_webhook")).to_be_hidden()
    page.locator(".doc-index a[href='#create_webhook']").click()
    expect(page.locator("#create_webhook")).to_be_in_viewport()
    # A part of the guide, and all at once.
    page.goto(f"{site.url}/v1/docs/#errors")
    expect(page.get_by_text("All codes")).to_be_visible()
    page.get_by_role("button", name="Open all").click()
    expect(page.locator("[data-doc-group]:not([open])")).to_have_count(0)
    page.set_viewport_size({"width": 390, "height": 900})
    check_both_themes(page)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.get_by_role("button", name="Close all").click()
    expect(page.locator("[data-doc-group][open]")).to_have_count(0)


def test_the_page_of_the_api_opens_by_hand_without_scripts(open_page, site):
    page = open_page(f"{site.url}/v1/docs/", storage_state=None, java_script_enabled=False)
    page.locator("#tag-jobs").click()
    expect(page.locator("#get_job")).to_be_visible()
