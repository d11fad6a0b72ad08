"""The Analysis page in a real browser: frames, people, overlays, zoom, timeline, phone, themes, axe, no script."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.chromium import Site, browsing, check_both_themes, tabs
from tests.chromium import browser as browser
from tests.pages.seed_analyses import FACE
from tests.pages.test_browser import session as session

pytestmark = browsing()
SEED = "from tests.pages.seed_analyses import seed; seed()"
STATES = ("face", "plain", "clip", "silent", "audio", "failed", "running")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"), SEED)
    yield site
    site.stop()


@pytest.fixture
def open_page(browser: Browser, site: Site, session: Any) -> Iterator[Any]:
    """Open an analysis as Alice."""
    with tabs(browser) as opened:

        def open_(name: str, tail: str = "", **options: Any) -> Page:
            return opened.open(site.page(name) + tail, **({"storage_state": session} | options))

        yield open_


def clip(open_page: Any, **options: Any) -> Page:
    page = open_page("clip", **options)
    page.wait_for_function("document.querySelector('video').readyState >= 2")
    return page


# Where the bright square of the seeded clip begins, in its 64 pixels: the number of the frame on the screen.
PAINTED = """() => {
  const video = document.querySelector("video");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [64, 48];
  const pen = canvas.getContext("2d");
  pen.drawImage(video, 0, 0, 64, 48);
  const row = pen.getImageData(0, 24, 64, 1).data;
  for (let x = 0; x < 64; x += 1) if (row[4 * x] > 155) return x;
  return -1;
}"""


@pytest.mark.parametrize("name", STATES)
def test_accessibility(open_page, name):
    page = open_page(name)
    page.wait_for_load_state("networkidle")
    page.evaluate("document.querySelectorAll('main details').forEach((part) => { part.open = true; })")
    check_both_themes(page)


def test_accessibility_of_what_belongs_together(open_page):
    page = open_page("clip", "related/")
    expect(page.get_by_role("heading", name="What belongs together")).to_be_visible()
    check_both_themes(page)
    for width in (320, 390, 768):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, width


@pytest.mark.parametrize("name", STATES)
def test_nothing_scrolls_sideways_and_the_verdict_keeps_clear_of_the_edge(open_page, name):
    page = open_page(name)
    for width in (320, 390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, width
        gap = page.evaluate(
            """() => {
              const word = document.querySelector(".hero-word");
              const range = document.createRange();
              range.selectNodeContents(word);
              const card = word.closest(".hero").getBoundingClientRect();
              return card.right - range.getBoundingClientRect().right;
            }"""
        )
        assert gap >= 12, width


def test_frames_are_stepped_exactly(open_page):
    page = clip(open_page)
    page.get_by_role("slider", name="Position").press("Home")
    number = page.get_by_role("group", name="Frame by frame").locator("xpath=..").locator("[data-frame-number]")
    expect(number).to_have_text("1")
    for frame in (1, 2, 3):
        page.get_by_role("button", name="One frame on").click()
        expect(number).to_have_text(str(frame + 1))
        page.wait_for_function(f"() => !document.querySelector('video').seeking && ({PAINTED})() === {frame}")
    page.keyboard.press(",")
    expect(number).to_have_text("3")
    page.wait_for_function(f"() => !document.querySelector('video').seeking && ({PAINTED})() === 2")
    for _ in range(4):
        page.keyboard.press(",")
    expect(number).to_have_text("1")  # and no further


def test_arrows_go_from_window_to_window(open_page):
    page = clip(open_page)
    slider = page.get_by_role("slider", name="Position")
    slider.press("Home")
    for moment in ("1.0", "2.0", "3.0", "4.0"):
        slider.press("ArrowRight")
        expect(slider).to_have_attribute("aria-valuenow", moment)
    slider.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuenow", "3.0")
    slider.press("Shift+ArrowLeft")
    expect(slider).to_have_attribute("aria-valuenow", "2.0")


def test_a_click_on_the_timeline_and_a_row_of_the_table_seek(open_page):
    page = clip(open_page)
    slider = page.get_by_role("slider", name="Position")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 0.75 * box["width"], box["y"] + 20)
    page.wait_for_function("Math.abs(document.querySelector('video').currentTime - 3) < 0.1")
    page.get_by_text("The same in numbers").click()
    page.get_by_role("region", name="Scores over time").get_by_role("link", name="0:01.5").click()
    page.wait_for_function("Math.abs(document.querySelector('video').currentTime - 1.52) < 0.02")


def test_a_curve_can_be_taken_away(open_page):
    page = clip(open_page)
    lane = page.locator("[data-lane=av_sync]")
    expect(lane).to_be_visible()
    page.get_by_role("checkbox", name="Lips and speech").uncheck()
    expect(lane).to_be_hidden()


def test_speed_by_keys_and_by_choice(open_page):
    page = clip(open_page)
    page.get_by_role("slider", name="Position").press("[")
    assert page.evaluate("document.querySelector('video').playbackRate") == 0.5
    expect(page.get_by_label("Speed")).to_have_value("0.5")
    page.get_by_label("Speed").select_option("2")
    assert page.evaluate("document.querySelector('video').playbackRate") == 2


def test_a_fake_stretch_repeats(open_page):
    page = clip(open_page)
    page.get_by_label("Speed").select_option("2")
    page.evaluate(
        """() => {
          window.returns = 0;
          let last = 0;
          document.querySelector("video").addEventListener("timeupdate", (event) => {
            if (event.target.currentTime < last - 0.5) window.returns += 1;
            last = event.target.currentTime;
          });
        }"""
    )
    button = page.get_by_role("button", name="Repeat 0:01.0 to 0:03.0")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    page.wait_for_function("() => window.returns >= 2", timeout=30_000)
    assert page.evaluate("document.querySelector('video').currentTime") < 3.3
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")


def test_people_are_boxed_by_letter_and_one_is_followed(open_page):
    page = clip(open_page)
    expect(page.locator(".face-tag")).to_have_text(["Person A, 90 %", "Person B, 10 %"])
    page.get_by_role("button", name="Follow Person B").click()
    expect(page.get_by_role("img", name="Close-up of the person who is followed")).to_be_visible()
    expect(page.locator("rect.face-box.is-faint")).to_have_count(1)
    page.wait_for_function(
        """() => {
          const canvas = document.querySelector("[data-close-up]");
          return canvas.getContext("2d").getImageData(112, 112, 1, 1).data[3] === 255;
        }"""
    )
    page.get_by_role("slider", name="Position").press("o")  # after the last person, nobody
    expect(page.locator("[data-close-up]")).to_be_hidden()
    expect(page.locator(".is-faint")).to_have_count(0)


def test_boxes_lie_on_the_face(open_page):
    page = open_page("face")
    found = page.evaluate(
        """() => {
          const picture = document.querySelector("[data-media]").getBoundingClientRect();
          const box = document.querySelector(".face-box").getBoundingClientRect();
          const shown = Math.min(picture.width, picture.height); // a square picture, fitted inside
          const left = picture.left + (picture.width - shown) / 2;
          const top = picture.top + (picture.height - shown) / 2;
          return [box.left - left, box.top - top, box.width, box.height].map((v) => (512 * v) / shown);
        }"""
    )
    assert found == pytest.approx(FACE, abs=4)
    page.get_by_role("button", name="Faces").click()
    expect(page.locator(".face-box")).to_have_count(0)


def test_keys_of_the_player_work_on_the_whole_page(open_page):
    page = open_page("clip")
    page.wait_for_load_state("networkidle")
    faces = page.locator("[data-toggle-faces]")
    page.keyboard.press("f")
    expect(faces).to_have_attribute("aria-pressed", "false")
    page.keyboard.press(".")
    expect(page.locator("[data-frame-number]")).not_to_have_text("1")
    page.get_by_label("Speed").focus()
    page.keyboard.press("f")  # a field has the focus
    expect(faces).to_have_attribute("aria-pressed", "false")


def test_a_name_at_a_face_can_be_read_on_a_phone(open_page):
    page = open_page("clip", width=390)
    expect(page.locator(".face-tag").first).to_be_visible()
    assert page.locator(".face-tag").first.evaluate("tag => tag.getBoundingClientRect().height") >= 12


def test_overlays_have_a_strength_each(open_page):
    page = open_page("face")
    heat, detail = page.locator("[data-map]").last, page.locator("[data-map]").first
    page.get_by_label("Heatmap strength").fill("30")
    expect(heat).to_have_attribute("opacity", "0.3")
    expect(detail).to_have_class("heat is-off")
    page.get_by_role("button", name="Fine detail").click()
    expect(detail).to_have_class("heat")
    expect(detail).to_have_attribute("opacity", "0.8")
    page.locator("[data-stage]").first.press("h")
    expect(heat).to_have_class("heat is-off")


def test_the_map_nearest_in_time_says_of_which_frame_it_is(open_page):
    page = clip(open_page)
    page.get_by_role("button", name="Fine detail").click()
    page.get_by_role("slider", name="Position").press("Home")
    said = page.locator("[data-overlay-words]")
    expect(said).to_contain_text("Heatmap of the frame at 0:01.2 (number 30), 1.2 s after this moment.")
    expect(said).to_contain_text("Fine detail of the frame at 0:02.0 (number 50), 2.0 s after this moment.")


def test_the_parts_that_were_judged_are_shown_with_their_scores(open_page):
    page = open_page("face")
    expect(page.locator(".part-box")).to_have_count(0)
    page.get_by_role("button", name="Parts").click()
    expect(page.locator(".part-tag")).to_have_text(["20 %", "50 %", "90 %"])
    expect(page.locator(".part-box").last).to_have_class("part-box is-high")


def transforms(page: Page) -> list[str]:
    return page.evaluate("[...document.querySelectorAll('[data-inner]')].map((one) => one.style.transform)")


def test_both_views_zoom_and_move_together(open_page):
    page = open_page("face")
    page.get_by_role("button", name="Side by side").click()
    expect(page.locator("[data-stage]")).to_have_count(2)
    stage = page.locator("[data-stage]").last
    stage.press("+")
    stage.press("+")
    first, second = transforms(page)
    assert first == second
    assert "scale(1.96)" in first
    stage.press("ArrowRight")
    assert transforms(page)[0] == transforms(page)[1] != first
    stage.press("0")
    assert transforms(page) == ["", ""]
    expect(page.locator("[data-zoom-level]")).to_have_text("100 %")


def test_the_wheel_zooms_where_it_points_once_the_picture_has_the_focus(open_page):
    page = open_page("face")
    stage = page.locator("[data-stage]")
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.wheel(0, -100)
    page.wait_for_timeout(200)
    assert transforms(page) == [""]  # the page scrolls past a picture that nobody has chosen
    page.evaluate("scrollTo(0, 0)")
    stage.focus()
    box = stage.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.wheel(0, -400)
    page.wait_for_function("document.querySelector('[data-inner]').style.transform.includes('scale(2.7')")
    moved = page.evaluate("document.querySelector('[data-inner]').style.transform.match(/-?[\\d.]+/g).map(Number)")
    assert moved[0] == pytest.approx(-20 * 1.718, abs=3)  # the point under the pointer stays under it


def test_two_fingers_zoom_and_one_moves(open_page):
    page = open_page("face")
    touch = """([kind, id, x, y]) => {
      const stage = document.querySelector("[data-stage]");
      const box = stage.getBoundingClientRect();
      stage.dispatchEvent(new PointerEvent(kind, {
        bubbles: true, pointerId: id, pointerType: "touch", clientX: box.left + x, clientY: box.top + y,
      }));
    }"""
    for event in (["pointerdown", 1, 100, 100], ["pointerdown", 2, 200, 100], ["pointermove", 2, 300, 100]):
        page.evaluate(touch, event)
    assert "scale(2)" in transforms(page)[0]
    page.evaluate(touch, ["pointerup", 2, 300, 100])
    before = transforms(page)[0]
    page.evaluate(touch, ["pointermove", 1, 60, 80])
    assert "scale(2)" in transforms(page)[0] != before
    page.evaluate(touch, ["pointerup", 1, 60, 80])
    before = transforms(page)[0]
    page.evaluate(touch, ["pointermove", 1, 10, 10])
    assert transforms(page)[0] == before  # a finger that was lifted moves nothing


def test_a_picture_is_wiped(open_page):
    page = open_page("face")
    wipe = page.get_by_role("slider", name="Wipe")
    expect(wipe).to_be_hidden()
    page.get_by_role("button", name="Wipe").click()
    wipe.fill("20")
    assert page.evaluate("document.querySelector('[data-overlay]').style.clipPath") == "inset(0px 0px 0px 20%)"
    expect(page.locator("[data-wipe-line]")).to_be_visible()
    page.get_by_role("button", name="Over it").click()
    assert page.evaluate("document.querySelector('[data-overlay]').style.clipPath") == ""


def test_keys_are_listed_for_the_sheet(open_page):
    page = open_page("clip")
    source = page.evaluate("document.querySelector('script[type=module][src*=main]').src")
    found = page.evaluate(
        """async (source) => {
          const text = await (await fetch(source)).text();
          const name = text.match(/player[^"']*\\.js/)[0];
          return (await import(new URL(name, source))).KEYS;
        }""",
        source,
    )
    assert {"keys", "does", "when"} == set(found[0])
    assert ", ." in [one["keys"] for one in found]


def test_a_phone_begins_with_what_matters_and_opens_the_rest_on_demand(open_page):
    page = open_page("clip", width=390)
    expect(page.locator(".hero-word")).to_be_visible()
    expect(page.get_by_text("Perceptual hash")).to_be_hidden()
    page.get_by_role("heading", name="The file").click()
    expect(page.get_by_text("Perceptual hash")).to_be_visible()


def test_another_run_with_another_profile(open_page, site):
    page = open_page("plain")
    page.get_by_role("heading", name="Run it again, otherwise").click()
    page.get_by_label("Thresholds").select_option("strict")
    page.get_by_label("Test against re-saving").select_option("full")
    page.get_by_role("button", name="Start another run").click()
    page.wait_for_url(lambda url: site.jobs["plain"] not in url)
    expect(page.locator("#verdict-word")).to_be_visible(timeout=90_000)
    expect(page.get_by_text("real below 10 %, fake from 90 % (strict)")).to_be_visible()
    if page.locator("#stability-title").count():
        expect(page.get_by_text("full test", exact=True)).to_be_visible()
    expect(page.get_by_text("Started this analysis: thresholds strict, full re-saving test")).to_be_visible()


def test_reduced_motion_stills_the_working_sign(open_page):
    page = open_page("running", reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.querySelector('.spin')).animationIterationCount") == "1"


@pytest.mark.parametrize("name", ["face", "clip", "audio"])
def test_without_a_script_every_fact_can_be_read(open_page, name):
    page = open_page(name, width=390, java_script_enabled=False)
    for words in (
        "Perceptual hash" if name != "audio" else "Length",
        "The run and its history",
        "Run it again, otherwise",
    ):
        expect(page.get_by_text(words).first).to_be_visible()
    fold = page.locator("details.silent > summary")  # opens by itself, as every fold does
    if fold.count():
        fold.click()
    expect(page.locator(".branch-sentence").last).to_be_visible()
    expect(page.get_by_role("button", name="Side by side")).to_be_hidden()
    if name != "face":
        page.get_by_text("The same in numbers").click()
        expect(page.get_by_role("region", name="Scores over time")).to_be_visible()


def test_a_live_refresh_leaves_folds_as_they_were_left(open_page):
    page = open_page("clip", width=390)
    page.wait_for_load_state("networkidle")
    opened = page.locator("details[data-fold]").first
    expect(opened).not_to_have_attribute("open", "")
    opened.locator("> summary").click()
    expect(opened).to_have_attribute("open", "")
    page.evaluate("document.querySelector('[data-live-panel] > *').dataset.old = '1'")
    page.evaluate("document.querySelector('[data-live-panel]').dispatchEvent(new CustomEvent('refresh-now'))")
    expect(page.locator("[data-old]")).to_have_count(0)
    expect(opened).to_have_attribute("open", "")
    expect(page.locator("details[data-fold]").nth(1)).not_to_have_attribute("open", "")
