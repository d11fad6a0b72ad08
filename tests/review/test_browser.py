"""Review in a real browser: queue, take, decide, next; two reviewers at once; keys, drawing, themes, axe, no script."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import factories
from tests.chromium import Site, browsing, check_both_themes, signed_in, tabs
from tests.chromium import browser as browser

pytestmark = browsing()
SEED = "from tests.review.seed_site import seed; seed()"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"), SEED)
    yield site
    site.stop()


@pytest.fixture(scope="module")
def sessions(site: Site, browser: Browser) -> dict[str, Any]:
    return {name: signed_in(browser, site, name) for name in ("bob", "rita", "ada")}


@pytest.fixture
def open_page(browser: Browser, site: Site, sessions: dict[str, Any]) -> Iterator[Any]:
    """Open a page as somebody, or as nobody."""
    with tabs(browser) as opened:

        def open_(path: str, who: str | None = "bob", *, width: int = 1440, **options: Any) -> Page:
            state = {"storage_state": sessions[who]} if who else {}
            return opened.open(site.url + path, width=width, **(state | options))

        yield open_


def case(site: Site, name: str) -> str:
    return f"/review/cases/{site.jobs[name]}/"


PAGES = {
    "queue": ("bob", "/review/"),
    "decided list": ("bob", "/review/?state=decided"),
    "nothing": ("bob", "/review/?q=nothing-like-this"),
    "clip": ("ada", "clip"),
    "picture": ("bob", "picture"),
    "voice": ("bob", "voice"),
    "appealed": ("bob", "appealed"),
    "decided": ("bob", "decided"),
    "mentions": ("bob", "/review/mentions/"),
    "preferences": ("bob", "/review/preferences/"),
    "statistics": ("ada", "/review/statistics/"),
    "rules": ("ada", "/review/settings/"),
    "known": ("ada", "/review/known/"),
    "appeal": (None, "appeal"),
}


def open_named(open_page: Any, site: Site, name: str) -> Page:
    who, path = PAGES[name]
    if path == "appeal":
        return open_page(site.jobs["appeal"], who)
    return open_page(path if path.startswith("/") else case(site, path), who)


@pytest.mark.parametrize("name", PAGES)
def test_accessibility_and_width(open_page, site, name):
    page = open_named(open_page, site, name)
    page.wait_for_load_state("networkidle")
    if name == "picture":
        page.get_by_role("button", name="Take this case").click()
        page.get_by_text("Override: it is fake").click()
    page.evaluate("document.querySelectorAll('main details').forEach((part) => { part.open = true; })")
    check_both_themes(page)
    for width in (320, 390, 768, 1024, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, width
    if name == "picture":
        page.get_by_role("button", name="Give it back").click()


def test_queue_take_decide_next_and_undo(open_page, site):
    page = open_page("/review/?kind=image&reason=audit")
    row = page.locator("tr.queue-row")
    expect(row).to_have_count(1)
    page.get_by_role("button", name="Take the next case").click()
    expect(page.get_by_role("heading", name="spare-interview-statement.png")).to_be_visible()
    expect(page.get_by_text("You have this case")).to_be_visible()
    expect(page.get_by_label("Traces that a person can see or hear")).to_be_hidden()
    page.get_by_text("Override: it is fake").click()
    page.get_by_label("Traces that a person can see or hear").check()
    page.get_by_label("Why you decide so").fill("The left ear flickers, @rita")
    page.get_by_label("4 of 5").check()
    page.get_by_role("button", name="Decide and take next").click()
    expect(page.get_by_text("There is no free case here that you may judge.")).to_be_visible()
    bar = page.locator(".undo-bar")
    expect(bar).to_contain_text("spare-interview-statement.png")
    bar.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("The decision was taken back; the case is yours again.")).to_be_visible()
    expect(page.get_by_text("You have this case")).to_be_visible()
    page.get_by_role("button", name="Give it back").click()


def test_what_was_typed_outlives_the_session(open_page, site):
    page = open_page(case(site, "race"), "ada")
    page.get_by_role("button", name="Take this case").click()
    page.wait_for_load_state("networkidle")
    page.get_by_text("Override: it is fake").click()
    page.get_by_label("Traces that a person can see or hear").check()
    page.get_by_label("Why you decide so").fill("The left ear flickers")
    page.context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Decide and take next").click()
    expect(page.get_by_text("What you sent was not saved, because you are signed out.")).to_be_visible()
    page.get_by_label("User name or e-mail").fill("ada")
    page.get_by_label("Password", exact=True).fill(factories.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("You have this case")).to_be_visible()
    expect(page.get_by_label("Why you decide so")).to_have_value("The left ear flickers")
    expect(page.get_by_label("Override: it is fake")).to_be_checked()
    expect(page.get_by_label("Traces that a person can see or hear")).to_be_checked()
    page.reload()
    expect(page.get_by_label("Why you decide so")).to_have_value("")
    page.get_by_role("button", name="Give it back").click()


def test_a_decision_without_a_connection_stays_on_the_page(open_page, site):
    page = open_page(case(site, "race"), "ada", allowed=("Failed to load resource", "WebSocket connection"))
    page.get_by_role("button", name="Take this case").click()
    page.get_by_text("Override: it is fake").click()
    page.get_by_label("Traces that a person can see or hear").check()
    page.get_by_label("Why you decide so").fill("The left ear flickers")
    page.context.set_offline(True)
    page.get_by_label("Why you decide so").press("Control+Enter")
    expect(page.locator("[data-offline] p")).to_be_visible()
    expect(page.get_by_role("region", name="Messages")).to_contain_text("Not sent: there is no connection.")
    page.get_by_role("button", name="Decide", exact=True).click()
    expect(page.get_by_label("Why you decide so")).to_have_value("The left ear flickers")
    expect(page.get_by_text("You have this case")).to_be_visible()
    page.context.set_offline(False)
    expect(page.locator("[data-offline] p")).to_be_hidden(timeout=10_000)
    page.get_by_role("button", name="Give it back").click()
    expect(page.get_by_role("heading", name="Review", exact=True)).to_be_visible()


def test_two_reviewers_want_the_same_case(open_page, site):
    path = case(site, "race")
    ours, theirs = open_page(path, "bob", allowed=("ERR_FAILED",)), open_page(path, "rita")
    for page in (ours, theirs):
        expect(page.get_by_role("button", name="Take this case")).to_be_visible()
        page.wait_for_load_state("networkidle")
    ours.route("**/claim-bar/**", lambda route: route.abort())  # bob's page does not hear of it in time
    theirs.get_by_role("button", name="Take this case").click()
    expect(theirs.get_by_text("You have this case")).to_be_visible()
    ours.get_by_role("button", name="Take this case").click()
    expect(ours.get_by_text(re.compile("rita has had this case since"))).to_be_visible()
    expect(ours.get_by_role("button", name="Decide and take next")).to_have_count(0)
    theirs.get_by_role("button", name="Give it back").click()
    expect(theirs.get_by_role("heading", name="Review", exact=True)).to_be_visible()


def test_an_open_page_hears_who_has_the_case(open_page, site):
    ours, theirs = open_page(case(site, "last"), "bob"), open_page(case(site, "last"), "rita")
    ours.evaluate("window.neverReloaded = true")
    ours.wait_for_load_state("networkidle")
    theirs.get_by_role("button", name="Take this case").click()
    expect(ours.get_by_text("rita has this case")).to_be_visible(timeout=15_000)
    theirs.get_by_role("button", name="Give it back").click()
    expect(ours.get_by_text("Nobody has this case.")).to_be_visible(timeout=15_000)
    assert ours.evaluate("window.neverReloaded") is True


def test_by_keyboard_alone(open_page, site):
    page = open_page("/review/")
    page.wait_for_load_state("networkidle")
    first, second = page.locator("[data-row-link]").nth(0), page.locator("[data-row-link]").nth(1)
    page.keyboard.press("j")
    expect(first).to_be_focused()
    page.keyboard.press("j")
    expect(second).to_be_focused()
    page.keyboard.press("k")
    expect(first).to_be_focused()
    page.keyboard.press("x")
    expect(page.get_by_text("1 case chosen")).to_be_visible()
    page.keyboard.press("x")
    expect(page.get_by_text("1 case chosen")).to_be_hidden()
    page.keyboard.press("/")
    page.keyboard.type("picture")
    expect(page.locator("tr.queue-row")).to_have_count(1)
    assert page.url.endswith("?q=picture")
    page.get_by_role("link", name="picture-interview-statement.png").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="picture-interview-statement.png")).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.type("c4wn")  # as fast as one types, before the page with the decision has come
    expect(page.get_by_text("You have this case")).to_be_visible()
    expect(page.get_by_label("Cannot tell")).to_be_checked()
    note = page.get_by_label("Why you decide so")
    expect(note).to_have_value("n")
    expect(note).to_be_focused()
    page.keyboard.type(" and p are letters here, j too")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("There is no free case here that you may judge.")).to_be_visible()
    page.wait_for_load_state("networkidle")
    page.keyboard.press("u")
    expect(page.get_by_text("The decision was taken back; the case is yours again.")).to_be_visible()
    page.get_by_role("button", name="Give it back").click()


def test_a_decision_without_a_reason_says_so_in_place(open_page, site):
    page = open_page(case(site, "spare"))
    page.get_by_role("button", name="Take this case").click()
    page.wait_for_load_state("networkidle")
    page.get_by_label("Blur").uncheck()
    page.evaluate("window.neverReloaded = true")
    page.keyboard.press("2")
    assert page.evaluate("scrollY") == 0
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Choose at least one reason for overriding the verdict.")).to_be_in_viewport()
    expect(page.locator("input[name=reasons]:focus")).to_have_count(1)
    assert page.evaluate("window.neverReloaded && scrollY") == 0
    expect(page.get_by_label("Blur")).not_to_be_checked()
    page.keyboard.press("6")
    expect(page.locator("input[name=reasons]:checked")).to_have_count(1)
    expect(page.get_by_text("Choose at least one reason")).to_be_hidden()
    page.keyboard.press("w")
    page.keyboard.type("Esc ends this.")
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    expect(page.get_by_label("Cannot tell")).to_be_checked()
    expect(page.get_by_label("Why you decide so")).to_have_value("Esc ends this.")
    page.get_by_role("button", name="Give it back").click()


def test_the_decision_is_in_view_at_once(open_page, site):
    page = open_page(case(site, "appealed"))
    page.get_by_role("button", name="Take this case").click()
    page.wait_for_load_state("networkidle")
    for name in ("Confirm: fake", "Escalate"):
        expect(page.get_by_label(name)).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("button", name="Decide and take next")).to_be_in_viewport(ratio=1)
    page.get_by_role("button", name="Give it back").click()


def test_the_queues_search_is_left_by_enter_and_escape(open_page, site):
    page = open_page("/review/")
    page.wait_for_load_state("networkidle")
    for key in ("Enter", "Escape"):
        page.keyboard.press("/")
        page.keyboard.type("interview")
        page.keyboard.press(key)
        page.keyboard.press("j")
        expect(page.locator("[data-row-link]").first).to_be_focused()
        expect(page.get_by_label("Search")).to_have_value("interview")
        page.get_by_label("Search").fill("")
        page.keyboard.press("Escape")
        expect(page).not_to_have_url(re.compile("interview"))


def test_a_note_suggests_members_and_moves_nothing(open_page, site):
    page = open_page(case(site, "voice"))
    page.wait_for_load_state("networkidle")
    page.evaluate("window.neverReloaded = true")
    field = page.get_by_label("Note for colleagues")
    field.click()
    page.keyboard.type("Listen to this, @ri")
    expect(page.get_by_role("option", name="@")).to_have_text("@rita")
    page.keyboard.press("Escape")
    expect(page.get_by_role("option", name="@")).to_have_count(0)
    expect(field).to_be_focused()
    page.keyboard.type("t")
    page.keyboard.press("Enter")
    expect(field).to_have_value("Listen to this, @rita ")
    page.keyboard.type("and @")
    page.get_by_role("option", name="@ada").click()
    expect(field).to_have_value("Listen to this, @rita and @ada ")
    place = page.evaluate("scrollY")
    page.get_by_role("button", name="Add the note").click()
    expect(page.locator(".note-text strong")).to_have_text(["@rita", "@ada"])
    expect(page.get_by_label("Note for colleagues")).to_be_focused()
    expect(page.get_by_label("Note for colleagues")).to_have_value("")
    assert page.evaluate("window.neverReloaded && scrollY") == place


def test_next_and_previous_by_key(open_page, site):
    page = open_page(case(site, "appealed") + "?kind=image")
    page.wait_for_load_state("networkidle")
    page.keyboard.press("n")
    expect(page.get_by_role("heading", level=1)).not_to_have_text("appealed-interview-statement.png")
    assert page.url.endswith("?kind=image")
    page.wait_for_load_state("networkidle")
    page.keyboard.press("p")
    expect(page.get_by_role("heading", level=1)).to_have_text("appealed-interview-statement.png")


def test_the_cover_is_lifted_without_a_jump(open_page, site):
    page = open_page(case(site, "clip"))
    video = page.locator("video")
    place = video.bounding_box()
    assert "blur(20px) grayscale(1)" in video.evaluate("element => getComputedStyle(element).filter")
    assert video.evaluate("element => element.muted") is True
    page.get_by_label("Blur").uncheck()
    page.get_by_label("Grey").uncheck()
    page.get_by_label("Muted").uncheck()
    assert "blur(0px) grayscale(0)" in video.evaluate("element => getComputedStyle(element).filter")
    assert video.evaluate("element => element.muted") is False
    assert video.bounding_box() == place


def test_a_region_is_drawn_or_typed(open_page, site):
    page = open_page(case(site, "clip"))
    page.wait_for_function("document.querySelector('video').readyState >= 1")
    page.get_by_text("Mark a place").click()
    page.get_by_role("button", name="Draw on the picture").click()
    box = page.locator(".mark-layer").bounding_box()
    assert box
    page.locator(".mark-layer").scroll_into_view_if_needed()
    box = page.locator(".mark-layer").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.7)
    page.mouse.up()
    assert float(page.get_by_label("Left, px").input_value()) == pytest.approx(32, abs=3)
    assert float(page.get_by_label("Width, px").input_value()) > 3
    expect(page.locator(".mark-layer rect.draft")).to_have_count(1)
    page.get_by_label("Left, px").fill("10")
    page.get_by_role("button", name="From here").click()
    assert float(page.get_by_label("From, s").input_value()) == pytest.approx(1.2, abs=0.1)
    page.get_by_label("What is to be seen there").fill("A smeared eyebrow")
    page.get_by_role("button", name="Keep the mark").click()
    expect(page.locator(".place", has_text="A smeared eyebrow")).to_contain_text("region 10")


def stay(page: Page) -> tuple[float, float]:
    """Where the page and its player are; asked again, the page must be the one it was."""
    page.evaluate("window.neverReloaded = true")
    return page.evaluate("[scrollY, document.querySelector('video').currentTime]")


def same_place(page: Page, place: tuple[float, float]) -> None:
    assert page.evaluate("window.neverReloaded === true")
    assert page.evaluate("[scrollY, document.querySelector('video').currentTime]") == place


def test_a_place_is_kept_removed_and_brought_back_where_one_is(open_page, site):
    page = open_page(case(site, "clip"))
    page.wait_for_function("document.querySelector('video').readyState >= 1")
    page.evaluate("document.querySelector('video').currentTime = 2.5")
    page.locator(".trail-card > summary").click()
    page.get_by_text("Mark a place").click()
    text = page.get_by_label("What is to be seen there")
    text.fill("A blink that is cut")
    page.get_by_label("From, s").fill("2.2")
    place = stay(page)
    text.press("Enter")
    row = page.locator(".place", has_text="A blink that is cut")
    expect(row).to_have_count(1)
    expect(text).to_be_focused()
    expect(text).to_have_value("")
    messages = page.get_by_role("region", name="Messages")
    expect(messages).to_contain_text(re.compile(r"Mark \d is kept\."))
    expect(page.locator(".trail-card")).to_contain_text("Place marked")
    same_place(page, place)
    # What is refused is told, and nothing that was typed is lost.
    text.fill("Beyond the end")
    page.get_by_label("From, s").fill("2")
    page.get_by_label("To, s").fill("1")
    page.get_by_role("button", name="Keep the mark").click()
    expect(page.locator("#places").get_by_role("alert")).to_have_text("The stretch ends before it begins.")
    expect(text).to_have_value("Beyond the end")
    expect(page.get_by_role("button", name="Keep the mark")).to_be_focused()
    # Taken away by keyboard, and brought back.
    row.get_by_role("button", name="Remove").focus()
    place = stay(page)
    page.keyboard.press("Enter")
    expect(row).to_have_count(0)
    assert page.evaluate("document.activeElement.closest('#places') !== null")
    gone = page.locator(".toast", has_text="is removed.")
    gone.get_by_role("button", name="Undo").click()
    expect(row).to_have_count(1)
    expect(messages).to_contain_text("The mark is back.")
    same_place(page, place)
    row.get_by_role("link").click()  # the fresh link leads to its moment
    page.wait_for_function("Math.abs(document.querySelector('video').currentTime - 2.2) < 0.1")
    page.reload()
    expect(row).to_have_count(1)
    row.get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)


def test_harsh_is_marked_where_one_is(open_page, site):
    page = open_page(case(site, "clip"))
    page.wait_for_function("document.querySelector('video').readyState >= 1")
    page.evaluate("document.querySelector('video').currentTime = 1.5")
    page.get_by_label("Blur").uncheck()
    page.get_by_label("Muted").uncheck()
    place = stay(page)
    page.get_by_role("button", name="Mark as harsh").press("Enter")
    button = page.get_by_role("button", name="Not harsh after all")
    expect(button).to_be_focused()
    expect(page.get_by_label("Blur")).to_be_checked()
    assert page.locator("video").evaluate("element => element.muted") is True
    note = page.locator(".toast", has_text="Marked as harsh")
    check_both_themes(page)
    same_place(page, place)
    note.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Mark as harsh")).to_be_focused()
    expect(page.get_by_label("Blur")).not_to_be_checked()  # as it was seen before
    assert page.locator("video").evaluate("element => element.muted") is False
    same_place(page, place)


def test_marking_without_a_connection_loses_nothing(open_page, site):
    page = open_page(case(site, "clip"), allowed=("Failed to load resource", "htmx:"))
    page.wait_for_load_state("networkidle")
    page.get_by_text("Mark a place").click()
    page.get_by_label("What is to be seen there").fill("A shadow")
    page.get_by_label("From, s").fill("1")
    page.evaluate("window.neverReloaded = true")
    page.route(re.compile("/places/"), lambda route: route.abort())
    page.get_by_role("button", name="Keep the mark").click()
    expect(page.get_by_role("region", name="Messages")).to_contain_text("The connection broke")
    expect(page.get_by_label("What is to be seen there")).to_have_value("A shadow")
    assert page.evaluate("window.neverReloaded === true")


def test_marking_without_scripts(open_page, site):
    page = open_page(case(site, "clip"), java_script_enabled=False)
    page.get_by_text("Mark a place").click()
    page.get_by_label("What is to be seen there").fill("A seam without scripts")
    page.get_by_label("From, s").fill("1")
    page.get_by_role("button", name="Keep the mark").click()
    row = page.locator(".place", has_text="A seam without scripts")
    expect(row).to_have_count(1)
    row.get_by_role("button", name="Remove").click()
    expect(row).to_have_count(0)
    page.get_by_role("button", name="Mark as harsh").click()
    page.get_by_role("button", name="Not harsh after all").click()
    expect(page.get_by_role("button", name="Mark as harsh")).to_be_visible()


def test_thresholds_show_how_it_would_read(open_page, site):
    page = open_page(case(site, "clip"))
    page.locator("#thresholds > summary").click()
    expect(page.locator("[data-threshold-reading]")).to_have_text("It would read: fake.")
    page.get_by_label("Fake from, %").fill("95")
    expect(page.locator("[data-threshold-reading]")).to_have_text("It would read: inconclusive.")


def test_what_was_chosen_stays_while_rows_change(open_page, site):
    page = open_page("/review/")
    page.wait_for_load_state("networkidle")
    page.get_by_label("Choose voice-interview-statement.wav").check()
    page.locator("[data-live-panel]").dispatch_event("refresh-now")
    page.wait_for_load_state("networkidle")
    expect(page.get_by_label("Choose voice-interview-statement.wav")).to_be_checked()
    expect(page.get_by_text("1 case chosen")).to_be_visible()


def test_without_a_script(open_page, site):
    page = open_page("/review/?kind=audio", java_script_enabled=False)
    page.get_by_role("link", name="voice-interview-statement.wav").click()
    page.get_by_role("button", name="Take this case").click()
    page.get_by_label("Confirm: inconclusive").check()
    page.get_by_role("button", name="Decide", exact=True).click()
    expect(page.get_by_text("Decided.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("You have this case")).to_be_visible()
    page.get_by_role("button", name="Give it back").click()


def test_an_appeal_is_answered_under_its_link(open_page, site):
    page = open_page(case(site, "appealed"), "ada", allowed=("400 (Bad Request)",))
    page.get_by_role("button", name="Take this case").click()
    page.get_by_label("Override: it is real").check()
    page.get_by_role("button", name="Decide", exact=True).click()
    expect(page.get_by_role("alert")).to_have_text([re.compile("at least one reason"), re.compile("write the answer")])
    expect(page.locator("input[name=reasons]:focus")).to_have_count(1)
    page.get_by_label("Confirm: fake").check()
    expect(page.get_by_role("alert")).to_have_count(1)
    page.get_by_role("button", name="Decide", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("write the answer")
    page.get_by_label("Answer to the person who appealed").fill("The background repeats in a way no camera records.")
    page.get_by_role("button", name="Decide", exact=True).click()
    expect(page.get_by_text("Decided.")).to_be_visible()
    public = open_page(site.jobs["appeal"], None, width=390)
    expect(public.get_by_text("The background repeats in a way no camera records.")).to_be_visible()
