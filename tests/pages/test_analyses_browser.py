"""The list in a real browser: many uploads, folders, pasted items, choosing rows, undoing, keys, accessibility."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests import factories
from tests.chromium import ROOT, VERDICT_MS, Site, browsing, check_both_themes, sign_in
from tests.chromium import browser as browser
from tests.pages.test_browser import open_page as open_page
from tests.pages.test_browser import session as session

pytestmark = browsing()
SEED = "from tests.pages.seed_list import seed; seed()"
PICTURE = ROOT / "tests" / "media" / "astronaut.jpg"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("list"), SEED)
    yield site
    site.stop()


def rows(page: Page) -> Any:
    return page.locator("tr.job-row")


def chosen(page: Page) -> list[int]:
    boxes = page.locator("[data-choose]").all()
    return [number for number, box in enumerate(boxes) if box.is_checked()]


def never_reloads(page: Page) -> None:
    page.evaluate("window.neverReloaded = true")


def was_reloaded(page: Page) -> bool:
    return not page.evaluate("window.neverReloaded === true")


# Accessibility --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("url", ["/?label=fake&since=2020-01-01&sort=score_high", "/?q=nothing-like-it&kind=audio"])
def test_accessibility_with_filters_open_and_rows_chosen(open_page, site, url, width):
    page = open_page(site.url + url, width=width)
    expect(page.locator(".filters-more")).to_have_attribute("open", "") if "since" in url else page.locator(
        ".filters-more > summary"
    ).click()
    for number in range(min(2, rows(page).count())):
        page.locator("[data-choose]").nth(number).check()
    check_both_themes(page)
    page.emulate_media(color_scheme="light")
    page.locator(".view-save > summary").click()
    check_both_themes(page)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_accessibility_of_uploads_and_undo(open_page, site):
    page = open_page(site.url + "/?q=spare", allowed=("400 (Bad Request)",))
    page.locator(".upload-more > summary").click()
    page.get_by_label(re.compile("^Addresses")).fill("http://127.0.0.1/private.png")
    page.get_by_role("button", name="Analyse").click()
    expect(page.locator(".upload-item[data-state=refused]")).to_be_visible()
    page.locator("[data-choose]").first.check()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("[data-undo]")).to_be_visible()
    check_both_themes(page)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("[data-list-notice]")).to_contain_text("back")


# Uploads --------------------------------------------------------------------------------------------------------------


def test_many_files_are_sent_three_at_a_time_and_followed_to_their_verdicts(open_page, site, tmp_path):
    page = open_page(site.url + "/")
    never_reloads(page)
    page.evaluate(
        """() => {
          window.most = 0; window.now = 0;
          const send = XMLHttpRequest.prototype.send;
          XMLHttpRequest.prototype.send = function (body) {
            window.now += 1; window.most = Math.max(window.most, window.now);
            this.addEventListener("readystatechange", () => { if (this.readyState === 4) window.now -= 1; });
            return send.call(this, body);
          };
        }"""
    )
    files = []
    for number in range(5):
        files.append(tmp_path / f"many{number}.jpg")
        files[-1].write_bytes(PICTURE.read_bytes() + bytes([number]))
    page.locator("#upload-files").set_input_files(files)
    items = page.locator(".upload-item")
    expect(items).to_have_count(5)
    expect(page.locator(".upload-item[data-state=completed]")).to_have_count(5, timeout=VERDICT_MS)
    assert page.evaluate("window.most") == 3
    expect(page.locator("[data-upload-summary]")).to_have_text("5 of 5 done.")
    verdict = re.compile(r"^(Fake|Real|Inconclusive)(, probability of manipulation \d+(\.\d)? %)?$")
    expect(items.first.locator(".words")).to_have_text(verdict)
    expect(rows(page).filter(has_text="many4.jpg").locator(".verdict-badge")).to_be_visible()
    page.get_by_role("button", name="Clear the list").click()
    expect(items).to_have_count(0)
    assert not was_reloaded(page)


def test_a_chosen_folder_leaves_out_what_is_no_medium(open_page, site, tmp_path):
    (tmp_path / "album" / "inner").mkdir(parents=True)
    (tmp_path / "album" / "notes.txt").write_text("words")
    (tmp_path / "album" / ".hidden.jpg").write_bytes(b"x")
    (tmp_path / "album" / "inner" / "folder-item.jpg").write_bytes(PICTURE.read_bytes())
    page = open_page(site.url + "/")
    page.locator("[data-folder]").set_input_files(tmp_path / "album")
    expect(page.locator(".upload-item")).to_have_count(1)
    expect(page.locator(".upload-item .name")).to_have_text("album/inner/folder-item.jpg")
    expect(page.locator("[data-upload-summary]")).to_contain_text("One file was left out")
    expect(rows(page).filter(has_text="folder-item.jpg")).to_have_count(1)


def test_a_dropped_folder_is_read_to_its_depth(open_page, site):
    """Entries as a browser hands them over: folders in folders, and readers that give a few at a time."""
    page = open_page(site.url + "/")
    page.evaluate(
        """() => {
          const bytes = new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]);
          const file = (name) => new File([bytes], name, { type: name.endsWith("png") ? "image/png" : "" });
          const entry = (name) => ({ isFile: true, file: (done) => done(file(name)) });
          const folder = (inner) => ({
            isDirectory: true,
            createReader() {
              const left = [...inner];
              return { readEntries: (done) => done(left.splice(0, 2)) };
            },
          });
          const tree = folder([entry("a.png"), folder([entry("deep.png")]), entry("b.png"), entry("Thumbs.db")]);
          const event = new Event("drop", { bubbles: true, cancelable: true });
          event.dataTransfer = { types: ["Files"], files: [], items: [{ webkitGetAsEntry: () => tree }] };
          document.dispatchEvent(event);
        }"""
    )
    expect(page.locator(".upload-item")).to_have_count(3)
    expect(page.locator("[data-upload-summary]")).to_contain_text("One file was left out")


def test_pasted_addresses_and_a_pasted_picture(open_page, site):
    page = open_page(site.url + "/", allowed=("400 (Bad Request)",))
    page.evaluate(
        """() => {
          const data = new DataTransfer();
          data.setData("text", "http://127.0.0.1/one.png\\nhttp://127.0.0.1/two.png");
          document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
        }"""
    )
    refused = page.locator(".upload-item[data-state=refused]")
    expect(refused).to_have_count(2)
    expect(refused.first.locator(".words")).to_contain_text("never fetched")
    page.evaluate(
        """async () => {
          const canvas = new OffscreenCanvas(80, 60);
          canvas.getContext("2d").fillRect(10, 10, 30, 30);
          const blob = await canvas.convertToBlob({ type: "image/png" });
          const data = new DataTransfer();
          data.items.add(new File([blob], "image.png", { type: "image/png" }));
          document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
        }"""
    )
    expect(page.locator(".upload-item .name").last).to_have_text(re.compile(r"^pasted .*\.png$"))
    expect(rows(page).filter(has_text="pasted")).to_have_count(1)


def test_of_pasted_text_the_addresses_are_taken_and_the_rest_is_told(open_page, site):
    page = open_page(site.url + "/", allowed=("400 (Bad Request)",))
    paste = """(text) => {
      const data = new DataTransfer();
      data.setData("text", text);
      document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
    }"""
    page.evaluate(paste, "Look at this:\nhttp://127.0.0.1/mixed.png\n")
    expect(page.locator(".upload-item .name")).to_have_text("http://127.0.0.1/mixed.png")
    expect(page.locator("[data-upload-summary]")).to_contain_text(
        "One pasted line was not taken, because it is no address: “Look at this:”."
    )
    page.evaluate(paste, "Nothing but words")
    expect(page.locator(".upload-item")).to_have_count(1)


def test_a_pasted_picture_is_named_by_the_readers_clock(open_page, site):
    page = open_page(site.url + "/", allowed=("415",), timezone_id="Asia/Kolkata")
    page.clock.set_fixed_time("2026-03-01T22:15:07Z")
    page.evaluate(
        """() => {
          const data = new DataTransfer();
          data.items.add(new File(["no picture"], "image.png", { type: "image/png" }));
          document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
        }"""
    )
    expect(page.locator(".upload-item .name")).to_have_text("pasted 2026-03-02 03.45.07.png")


def test_a_broken_upload_is_tried_again_and_taken_once(open_page, site, tmp_path):
    page = open_page(site.url + "/", allowed=("ERR_FAILED",))
    picture = tmp_path / "once.jpg"
    picture.write_bytes(PICTURE.read_bytes())
    page.route("**/analyses/", lambda route: route.abort())
    page.locator("#upload-files").set_input_files(picture)
    refused = page.locator(".upload-item[data-state=refused]")
    expect(refused.locator(".words")).to_contain_text("The connection broke")
    page.unroute("**/analyses/")
    page.get_by_role("button", name="Try again: once.jpg").click()
    expect(rows(page).filter(has_text="once.jpg")).to_have_count(1)
    expect(page.locator(".upload-item[data-state=refused]")).to_have_count(0)


def test_an_ended_session_keeps_the_list_and_its_files(open_page, site, tmp_path):
    page = open_page(site.url + "/")
    page.wait_for_load_state("networkidle")
    never_reloads(page)
    picture = tmp_path / "afterwards.jpg"
    picture.write_bytes(PICTURE.read_bytes() + b"after")
    page.context.clear_cookies(name="sessionid")
    page.locator("#upload-files").set_input_files(picture)
    refused = page.locator(".upload-item[data-state=refused]")
    expect(refused.locator(".words")).to_have_text("You are signed out. Sign in in another tab, then try again here.")
    bar = page.locator("[data-signed-out] p")
    expect(bar).to_contain_text("You are signed out.")
    page.evaluate("document.querySelector('[data-live-panel]').dispatchEvent(new CustomEvent('refresh-now'))")
    check_both_themes(page)
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Sign in in another tab").click()
    other = opened.value
    other.get_by_label("User name or e-mail").fill("alice")
    other.get_by_label("Password", exact=True).fill(factories.PASSWORD)
    other.get_by_role("button", name="Sign in").click()
    expect(other.get_by_role("heading", name="Analyses", exact=True)).to_be_visible()
    other.close()
    expect(bar).to_be_hidden(timeout=15_000)
    page.get_by_role("button", name="Try again: afterwards.jpg").click()
    expect(rows(page).filter(has_text="afterwards.jpg")).to_have_count(1)
    expect(refused).to_have_count(0)
    assert not was_reloaded(page)


def test_a_session_that_was_begun_anew_elsewhere_is_taken_up(open_page, site, tmp_path):
    """The form's token is of the session before; nothing has told the page."""
    page = open_page(site.url + "/", allowed=("403 (Forbidden)",))
    picture = tmp_path / "renewed.jpg"
    picture.write_bytes(PICTURE.read_bytes() + b"renewed")
    other = page.context.new_page()
    page.context.clear_cookies(name="sessionid")
    sign_in(other, site)
    expect(other.get_by_role("heading", name="Analyses", exact=True)).to_be_visible()
    other.close()
    page.locator("#upload-files").set_input_files(picture)
    expect(rows(page).filter(has_text="renewed.jpg")).to_have_count(1)
    expect(page.locator(".upload-item[data-state=refused]")).to_have_count(0)


def test_stopping_and_running_again_without_a_connection_say_so(open_page, site, tmp_path):
    page = open_page(site.url + "/", allowed=("ERR_",))
    picture = tmp_path / "holds.jpg"
    picture.write_bytes(PICTURE.read_bytes() + b"holds")
    job = "00000000-0000-4000-8000-000000000000"
    page.route(
        "**/analyses/",
        lambda route: route.fulfill(
            status=201, content_type="application/json", body=f'{{"id": "{job}", "url": "/analyses/{job}/"}}'
        ),
    )
    states = {"job": job, "status": "queued", "percent": 0}
    page.route("**/analyses/states/**", lambda route: route.fulfill(json={"jobs": [states]}))
    page.route("**/cancel/", lambda route: route.abort())
    page.route("**/rerun/", lambda route: route.abort())
    page.locator("#upload-files").set_input_files(picture)
    page.get_by_role("button", name="Stop: holds.jpg").click()
    expect(page.get_by_role("region", name="Messages")).to_contain_text("holds.jpg goes on. The connection broke.")
    states |= {"status": "cancelled"}
    page.get_by_role("button", name="Try again: holds.jpg").click(timeout=15_000)
    expect(page.locator(".upload-item[data-state=failed] .words")).to_contain_text("The connection broke")
    expect(page.get_by_role("button", name="Try again: holds.jpg")).to_be_visible()


def test_a_socket_that_is_closed_with_the_session_does_not_come_back_by_itself(open_page, site):
    page = open_page("about:blank")
    page.add_init_script(
        """window.opened = 0;
        window.WebSocket = class extends EventTarget {
          constructor() {
            super();
            window.opened += 1;
            setTimeout(() => this.dispatchEvent(new CloseEvent("close", { code: 4401 })), 100);
          }
        };"""
    )
    page.goto(site.url + "/")
    page.evaluate("void (fetch = () => new Promise(() => {}))")  # the bar hears of no new session
    expect(page.locator("[data-signed-out] p")).to_be_visible()
    page.wait_for_timeout(2500)  # the first two tries come within it
    assert page.evaluate("window.opened") == 1


def test_leaving_while_something_is_sent_is_warned_of(open_page, site, tmp_path):
    page = open_page(site.url + "/", allowed=("ERR_",))
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.route("**/analyses/", lambda route: None)  # never answered
    page.locator("#upload-files").set_input_files(PICTURE)
    expect(page.locator(".upload-item[data-state=sending]")).to_be_visible()
    page.get_by_role("link", name="Deepfake Detection").click()
    page.wait_for_url(site.url + "/")
    assert asked == ["beforeunload"]


# Choosing, acting, undoing --------------------------------------------------------------------------------------------


def test_choosing_a_range_and_all(open_page, site):
    page = open_page(site.url + "/?q=spare")
    bar = page.locator("[data-bulk]")
    expect(bar).to_be_hidden()
    boxes = page.locator("[data-choose]")
    boxes.nth(1).check()
    boxes.nth(4).click(modifiers=["Shift"])
    assert chosen(page) == [1, 2, 3, 4]
    expect(page.locator("[data-bulk-count]")).to_have_text("4 chosen")
    boxes.nth(2).uncheck()
    assert chosen(page) == [1, 3, 4]
    page.locator("[data-choose-all]").check()
    assert len(chosen(page)) == rows(page).count()
    page.get_by_role("button", name="Choose none").click()
    expect(bar).to_be_hidden()


def test_all_that_match_is_offered_beyond_the_page(open_page, site):
    page = open_page(site.url + "/?q=filler")
    expect(rows(page)).to_have_count(50)
    page.locator("[data-choose]").first.check()
    expect(page.locator("[data-bulk-all]")).to_be_hidden()
    page.locator("[data-choose-all]").check()
    page.get_by_label("All 60 that match").check()
    expect(page.locator("[data-bulk-count]")).to_have_text("All 60 chosen")
    page.get_by_role("button", name="Send to review").click()
    expect(page.locator("[data-list-notice]")).to_have_text("Sent to review: 60 analyses.")


def test_deleting_and_bringing_back(open_page, site):
    page = open_page(site.url + "/?q=spare")
    never_reloads(page)
    before = rows(page).count()
    page.locator("[data-choose]").nth(0).check()
    page.locator("[data-choose]").nth(1).check()
    page.get_by_role("button", name="Delete").click()
    expect(rows(page)).to_have_count(before - 2)
    told = page.get_by_role("region", name="Messages").locator("[data-undo]")  # live: it is read out
    expect(told).to_contain_text("2 analyses are deleted")
    expect(told).to_be_in_viewport(ratio=1)
    expect(told.get_by_role("button", name="Undo")).to_be_focused()
    page.locator("h1").click()
    page.keyboard.press("u")
    expect(rows(page)).to_have_count(before)
    expect(page.locator("[data-undo]")).to_have_count(0)
    page.set_viewport_size({"width": 1280, "height": 300})  # the list is longer than the window
    page.locator("[data-choose]").nth(before - 1).check()
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("[data-undo]")).to_be_in_viewport(ratio=1)
    expect(page.locator("[data-undo]")).to_have_count(0, timeout=14_000)
    expect(rows(page).first.locator("[data-row-link]")).to_be_focused()  # it was on the button that went
    expect(rows(page)).to_have_count(before - 1)
    assert not was_reloaded(page)


def test_keys(open_page, site):
    page = open_page(site.url + "/?q=spare")
    for _ in range(3):
        page.keyboard.press("j")
    page.keyboard.press("k")
    link = rows(page).nth(1).locator("[data-row-link]")
    expect(link).to_be_focused()
    page.keyboard.press("x")
    assert chosen(page) == [1]
    expect(link).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Shift+X")
    assert chosen(page) == [1, 2, 3]
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("jx")
    assert chosen(page) == [1, 2, 3] or rows(page).count() == 0
    page.keyboard.press("Escape")  # leaves the field, and keeps what was typed
    expect(page.get_by_role("searchbox")).not_to_be_focused()
    expect(page.get_by_role("searchbox")).to_have_value("jxspare")
    page.keyboard.press("g")
    page.keyboard.press("a")
    page.wait_for_url(site.url + "/")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/analyses/*/")


def test_every_key_of_the_sheet_is_told(open_page, site):
    page = open_page(site.url + "/")
    keys = page.evaluate(
        """async () => {
          const source = [...performance.getEntriesByType("resource")].find((e) => e.name.includes("listkeys")).name;
          return (await import(source)).KEYS.map((entry) => [entry.keys, entry.does]);
        }"""
    )
    assert {name for name, _ in keys} >= {"j", "k", "Enter", "x", "/", "e", "u"}
    assert all(does for _, does in keys)


# Filters and live rows ------------------------------------------------------------------------------------------------


def test_chips_and_the_address_follow_without_a_reload(open_page, site):
    page = open_page(site.url + "/?q=spare")
    never_reloads(page)
    page.get_by_label("Verdict", exact=True).select_option("fake")
    expect(page.locator(".chip")).to_have_text([re.compile("spare"), re.compile("Fake")])
    assert "label=fake" in page.url
    assert "q=spare" in page.url
    page.locator(".chip", has_text="spare").click()
    expect(page.locator(".chip")).to_have_count(1)
    assert "q=" not in page.url
    expect(page.get_by_role("searchbox")).to_have_value("")
    page.get_by_role("link", name="Clear all").click()
    expect(page.locator(".chip")).to_have_count(0)
    expect(page.get_by_label("Verdict", exact=True)).to_have_value("")
    assert not was_reloaded(page)


def test_scores_that_are_the_wrong_way_round_are_told_at_the_field(open_page, site):
    page = open_page(site.url + "/?q=spare")
    page.locator(".filters-more > summary").click()
    page.get_by_label("Score from, %").fill("80")
    page.get_by_label("Score to, %").fill("20")
    page.get_by_label("Score to, %").blur()
    expect(page.get_by_label("Score to, %")).to_have_accessible_description(
        "The second score must not be lower than the first."
    )
    page.get_by_label("Score to, %").fill("90")
    page.get_by_label("Score to, %").blur()
    expect(page.locator(".field-error")).to_have_count(0)
    expect(page.get_by_label("Score to, %")).not_to_have_attribute("aria-invalid", "true")


def test_the_list_begins_in_the_upper_half_and_the_form_stays_as_it_was_left(open_page, site, tmp_path):
    page = open_page(site.url + "/", width=1440, allowed=("415 (Unsupported Media Type)",))
    top = "document.querySelector('tr.job-row').getBoundingClientRect().top"
    assert page.evaluate(top) < 400
    for number in range(8):
        (tmp_path / f"words{number}.txt").write_text("words")
    page.locator("#upload-files").set_input_files(sorted(tmp_path.glob("*.txt")))
    expect(page.locator(".upload-item[data-state=refused]")).to_have_count(8)
    assert page.evaluate(top) < 700
    page.locator(".upload-more > summary").click()
    page.reload()
    expect(page.get_by_label(re.compile("^Addresses"))).to_be_visible()
    page.locator(".upload-more > summary").click()
    page.reload()
    expect(page.get_by_label(re.compile("^Addresses"))).to_be_hidden()


def test_problems_stand_first_and_new_ones_are_in_sight(open_page, site, tmp_path):
    page = open_page(site.url + "/", width=1440, allowed=("Failed to load resource",))
    for number in range(31):
        (tmp_path / f"words{number:02}.txt").write_text(f"words {number}")
    good = tmp_path / "good.jpg"
    good.write_bytes(PICTURE.read_bytes() + b"good")
    held = tmp_path / "held.jpg"
    held.write_bytes(PICTURE.read_bytes() + b"held")
    page.locator("#upload-files").set_input_files(good)
    page.locator("#upload-files").set_input_files(sorted(tmp_path.glob("*.txt")))
    refused = page.locator(".upload-item[data-state=refused]")
    expect(refused).to_have_count(31)
    items = page.locator(".upload-item")
    expect(items.first).to_have_attribute("data-state", "refused")
    expect(items.last.locator(".name")).to_have_text("good.jpg")
    before = page.evaluate("scrollY")
    page.route("**/analyses/", lambda route: None)  # never answered
    page.locator("#upload-files").set_input_files(held)
    last = items.filter(has_text="held.jpg")
    inside = """(row) => {
      const view = row.parentElement.getBoundingClientRect();
      const place = row.getBoundingClientRect();
      return place.top >= view.top - 1 && place.bottom <= view.bottom + 1;
    }"""
    expect(last).to_be_visible()
    assert last.evaluate(inside)
    page.get_by_role("button", name="Stop: held.jpg").focus()
    page.unroute("**/analyses/")
    page.evaluate("document.querySelector('[data-upload-items]').scrollTop = 0")
    page.get_by_role("button", name="Stop: held.jpg").press("Enter")
    expect(page.get_by_role("button", name="Try again: held.jpg")).to_be_focused()
    page.evaluate("document.activeElement.blur()")
    page.route("**/analyses/", lambda route: route.fulfill(status=503, json={"detail": "Busy."}))
    page.get_by_role("button", name="Try again: held.jpg").press("Enter")
    expect(last).to_have_attribute("data-state", "refused")
    expect(items.nth(31).locator(".name")).to_have_text("held.jpg")  # before good.jpg now, and with the focus still
    expect(page.get_by_role("button", name="Try again: held.jpg")).to_be_focused()
    assert page.evaluate("scrollY") == before


def test_only_what_may_pass_is_offered_again(open_page, site, tmp_path):
    page = open_page(site.url + "/", allowed=("Failed to load resource",))
    answers = {"broken.png": 503, "full.png": 507, "words.txt": 415}
    for number, name in enumerate(answers):
        (tmp_path / name).write_bytes(PICTURE.read_bytes() + bytes([number]))

    def refuse(route: Any) -> None:
        [status] = [answers[name] for name in answers if name.encode() in route.request.post_data_buffer]
        route.fulfill(status=status, content_type="application/problem+json", body='{"detail": "No."}')

    page.route("**/analyses/", refuse)
    page.locator("#upload-files").set_input_files([tmp_path / name for name in answers])
    expect(page.locator(".upload-item[data-state=refused]")).to_have_count(3)
    again = page.get_by_role("button", name=re.compile("^Try again"))
    expect(again).to_have_count(2)
    expect(page.locator(".upload-item").filter(has_text="words.txt").get_by_role("button")).to_have_text(["Dismiss"])
    page.unroute_all()
    page.get_by_role("button", name="Try the failed ones again").click()
    expect(again).to_have_count(0)
    expect(page.locator(".upload-item").filter(has_text="words.txt")).to_have_attribute("data-state", "refused")


def test_a_choice_survives_a_live_row(open_page, site, tmp_path):
    page = open_page(site.url + "/?sort=newest")
    never_reloads(page)
    page.locator("[data-choose]").nth(0).check()
    kept = page.locator("[data-choose]").nth(0).get_attribute("value")
    picture = tmp_path / "arrives.jpg"
    picture.write_bytes(PICTURE.read_bytes() + b"1")
    page.locator("#upload-files").set_input_files(picture)
    row = rows(page).filter(has_text="arrives.jpg")
    expect(row).to_be_visible()
    expect(page.locator(f"[data-choose][value='{kept}']")).to_be_checked()
    expect(row.locator(".verdict-badge")).to_be_visible(timeout=VERDICT_MS)
    expect(row.locator(".thumb-mark")).to_be_visible()
    expect(page.locator(f"[data-choose][value='{kept}']")).to_be_checked()
    assert not was_reloaded(page)


def test_pictures_do_not_move_the_rows(open_page, site):
    page = open_page("about:blank", allowed=("ERR_FAILED",))
    page.route("**/thumbnail", lambda route: route.abort())
    page.goto(site.url + "/?q=spare")
    without = page.evaluate(
        "[...document.querySelectorAll('tr.job-row')].map((row) => row.getBoundingClientRect().height)"
    )
    page.unroute("**/thumbnail")
    page.goto(site.url + "/?q=spare")
    page.wait_for_load_state("networkidle")
    with_them = page.evaluate(
        "[...document.querySelectorAll('tr.job-row')].map((row) => row.getBoundingClientRect().height)"
    )
    assert without == with_them


def test_a_view_is_kept_and_opens_first(open_page, site):
    page = open_page(site.url + "/?sort=newest")
    page.get_by_label("Verdict", exact=True).select_option("real")
    expect(page.locator(".chip")).to_have_count(1)
    page.locator(".view-save > summary").click()
    page.get_by_label("Keep this list as").fill("Real ones")
    page.get_by_label("Open the list with it").check()
    page.get_by_role("button", name="Save view").click()
    expect(page.locator(".view[aria-current]")).to_contain_text("Real ones")
    page.goto(site.url + "/")
    assert "label=real" in page.url
    page.locator(".view-save > summary").click()
    page.get_by_role("button", name="Delete the view Real ones").click()
    expect(page.locator(".view")).to_have_count(1)


def test_without_a_script_many_are_chosen_and_brought_back(open_page, site):
    page = open_page(site.url + "/?q=spare", java_script_enabled=False)
    before = rows(page).count()
    page.locator("[data-choose]").nth(0).check()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("1 analysis deleted.")).to_be_visible()
    expect(rows(page)).to_have_count(before - 1)
    page.get_by_role("button", name="Undo").click()
    expect(rows(page)).to_have_count(before)
    page.locator(".upload-more > summary").click()
    page.get_by_label("Addresses of pictures, clips or recordings, one a line").fill("http://127.0.0.1/x.png")
    page.get_by_role("button", name="Analyse").last.click()
    expect(page.get_by_text("never fetched")).to_be_visible()


def test_printed_the_list_is_a_plain_table(open_page, site, tmp_path: Path):
    page = open_page(site.url + "/?q=spare")
    page.emulate_media(media="print")
    for hidden in (".upload", ".filters", ".views", ".job-row .cell-choose"):
        expect(page.locator(hidden).first).to_be_hidden()
    expect(rows(page).first.locator(".item-name")).to_be_visible()


def test_a_browser_that_keeps_nothing_has_the_whole_page(open_page, site):
    """With site data blocked, to ask for the storage is an error; what is remembered must not cost what is there."""
    page = open_page(site.url + "/")
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('', 'SecurityError'); }});"
    )
    page.reload()
    expect(page.locator("html")).to_have_class(re.compile(r"\bscripted\b"))
    page.locator(".upload-more > summary").click()
    expect(page.locator(".upload-more")).to_have_attribute("open", "")


def test_a_browser_that_blocks_storage_loses_nothing_else(open_page, site):
    page = open_page("about:blank")
    page.add_init_script(
        """for (const name of ["localStorage", "sessionStorage"]) {
          Object.defineProperty(window, name, { get() { throw new DOMException("denied", "SecurityError"); } });
        }"""
    )
    page.goto(site.url + "/")
    page.wait_for_load_state("networkidle")
    page.keyboard.press("Control+k")
    expect(page.get_by_role("dialog", name="Go to")).to_be_visible()
