"""Every page of the product, walked from the addresses it has: axe in both themes, wide and narrow, Tab, one h1.

A new address is either a page, and then it is listed in PAGES, or it says in OTHERS why it is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import URLPattern, URLResolver, get_resolver
from playwright.sync_api import Browser, Page, expect

from detection import docs_page
from tests.chromium import RULES, Site, browsing, close, signed_in
from tests.chromium import browser as browser

SEED = "from tests.pages.seed_workspace import seed; seed()"
ACTION, FRAGMENT, FILE = "takes a form and redirects", "a part of a page", "a file or data"
UNUSED = "not offered, or only a sentence: accounts are made by administrators"
SIGNED_OUT = "-"

# Name of the address -> the pages that stand behind it; {…} is filled in from what the seed made.
PAGES: dict[str, tuple[str, ...]] = {
    "account_login": (SIGNED_OUT + "/accounts/login/",),
    "account_logout": ("/accounts/logout/",),
    "account_reset_password": (SIGNED_OUT + "/accounts/password/reset/",),
    "accounts:settings": ("/settings/",),
    "accounts:members": ("/settings/members/", "/settings/members/?q=nobody-like-this"),
    "accounts:invite": ("/settings/members/invite/",),
    "accounts:member": ("/settings/members/{member}/", "/settings/members/{invited}/"),
    "accounts:roles": ("/settings/roles/",),
    "accounts:role_new": ("/settings/roles/new/",),
    "accounts:role_change": ("/settings/roles/{role}/",),
    "accounts:invitation": (SIGNED_OUT + "{invitation}", SIGNED_OUT + "/invitation/over/"),
    "accounts:api_keys": ("/settings/api-keys/", "/settings/api-keys/?revoked=1"),
    "accounts:api_key_new": ("/settings/api-keys/new/",),
    "accounts:api_key": ("/settings/api-keys/{api_key}/", "/settings/api-keys/{revoked_key}/"),
    "accounts:api_key_revoke": ("/settings/api-keys/{api_key}/revoke/",),
    "api_docs": (SIGNED_OUT + "/v1/docs/",),
    "api_docs_guide": tuple(f"{SIGNED_OUT}/v1/docs/{name}/" for name in docs_page.GUIDES),
    "accounts:origins": ("/settings/browser-origins/",),
    "accounts:audit": ("/settings/audit/", "/settings/audit/?group=sign_in&q=nothing-like-this"),
    "accounts:data_requests": ("/settings/data-requests/",),
    "accounts:data_request": ("/settings/data-requests/{exported}/", "/settings/data-requests/{erased}/"),
    "accounts:oauth_clients": ("/settings/oauth-clients/",),
    "accounts:oauth_client_new": ("/settings/oauth-clients/new/",),
    "accounts:oauth_client": ("/settings/oauth-clients/{oauth_client}/",),
    "accounts:connected_programs": ("/settings/connected-programs/",),
    "accounts:sso": ("/settings/sso/",),
    "accounts:sso_new_oidc": ("/settings/sso/new/oidc/",),
    "accounts:sso_new_saml": ("/settings/sso/new/saml/",),
    "accounts:sso_connection": ("/settings/sso/{sso}/",),
    "accounts:provisioning": ("/settings/provisioning/",),
    "sso_find": (SIGNED_OUT + "/accounts/organization/?organization=example",),
    "oidc:authorization": ("{consent}",),
    "account_change_password": ("/accounts/password/change/",),
    "accounts:security": ("/settings/security/",),
    "accounts:sign_in_rules": ("/settings/sign-in/",),
    "mfa_activate_totp": ("/accounts/2fa/totp/activate/",),
    "mfa_add_webauthn": ("/accounts/2fa/webauthn/add/",),
    "detection:analyses": ("/", "/?q=nothing-like-this", "/?label=fake&score_from=50&sort=score_high"),
    "detection:related": ("/analyses/{job}/related/",),
    "detection:job": (
        "/analyses/{job}/",
        "/analyses/{picture_job}/",
        "/analyses/{voice_job}/",
        "/analyses/{failed_job}/",
    ),
    "detection:delete": ("/analyses/{job}/delete/",),
    "detection:hold": ("/analyses/{job}/hold/",),
    "detection:privacy": ("/settings/privacy/",),
    "detection:release_hold": ("/settings/privacy/holds/{hold}/release/",),
    "detection:thresholds": ("/settings/thresholds/", "/settings/thresholds/?kind=image&host=example.org"),
    "detection:threshold_new": ("/settings/thresholds/new/",),
    "detection:threshold_profile": ("/settings/thresholds/{profile}/", "/settings/thresholds/{shipped}/"),
    "detection:threshold_change": ("/settings/thresholds/{profile}/change/",),
    "detection:threshold_retire": ("/settings/thresholds/{profile}/retire/",),
    "detection:threshold_proposal": (
        "/settings/thresholds/proposals/{proposal}/",
        "/settings/thresholds/proposals/{approved}/",
    ),
    "detection:webhooks": ("/settings/webhooks/",),
    "detection:webhook_new": ("/settings/webhooks/new/",),
    "detection:webhook": ("/settings/webhooks/{webhook}/", "/settings/webhooks/{webhook_off}/?state=failed"),
    "detection:webhook_change": ("/settings/webhooks/{webhook}/change/",),
    "detection:webhook_delete": ("/settings/webhooks/{webhook}/delete/",),
    "detection:webhook_delivery": ("/settings/webhooks/{webhook}/deliveries/{delivery}/",),
    "detection:webhook_callbacks": ("/settings/webhooks/callbacks/",),
    "detection:webhook_callback": ("/settings/webhooks/callbacks/{callback}/",),
    "reports:dashboard": ("/dashboard/", "/dashboard/?period=30"),
    "reports:design": ("/design/",),
    "reports:report": ("/analyses/{job}/report",),
    "reports:issues": ("/reports/",),
    "reports:verify_any": (SIGNED_OUT + "/verify/",),
    "reports:verify": (SIGNED_OUT + "/verify/rpt_00000000000000000000000000000000/",),
    "review:queue": ("/review/", "/review/?state=decided"),
    "review:case": ("/review/cases/{clip}/", "/review/cases/{decided}/", "/review/cases/{voice}/"),
    "review:job_appeals": ("/review/jobs/{job}/appeals/",),
    "review:mentions": ("/review/mentions/",),
    "review:preferences": ("/review/preferences/",),
    "review:statistics": ("/review/statistics/",),
    "review:settings": ("/review/settings/",),
    "review:known_items": ("/review/known/",),
    "review:appeal": (SIGNED_OUT + "{appeal}",),
}
OTHERS: dict[str, str] = {
    **dict.fromkeys(
        ["accounts:invite_again", "accounts:member_role", "accounts:member_deactivate", "accounts:member_reactivate",
         "accounts:member_end_sessions", "accounts:member_reset_factor", "accounts:role_delete",
         "accounts:api_key_rotate",
         "accounts:oauth_client_rotate", "accounts:oauth_client_switch", "accounts:oauth_grant_revoke",
         "accounts:connected_program_disconnect", "accounts:sso_remove", "accounts:sso_domain_add",
         "accounts:provisioning_token", "accounts:provisioning_token_remove", "accounts:provisioning_default_role",
         "accounts:provisioning_group_role", "accounts:sso_domain_verify", "accounts:sso_domain_remove",
         "accounts:sso_passwords",
         "detection:bulk", "detection:undo_deletion", "detection:save_view", "detection:delete_view",
         "detection:default_view", "reports:revoke",
         "detection:webhook_secret", "detection:webhook_rotate", "detection:webhook_switch", "detection:webhook_test",
         "detection:webhook_replay",
         "detection:upload", "detection:cancel", "detection:rerun", "detection:threshold_decide", "review:take",
         "review:bulk", "review:undo_batch", "review:undo", "review:next", "review:previous", "review:claim",
         "review:release", "review:decide", "review:note", "review:annotate", "review:remove_annotation",
         "review:thresholds", "review:harsh", "review:for_job", "review:open", "review:make_appeal_link",
         "review:revoke_appeal_link", "review:remove_known_item"],
        ACTION,
    ),
    **dict.fromkeys(["detection:analyses_rows", "detection:job_panel", "review:rows", "review:claim_bar",
                     "reports:dashboard_panel"], FRAGMENT),
    **dict.fromkeys(["accounts:audit_export", "metrics", "security_txt"], FILE),
    **dict.fromkeys(["oidc:configuration", "oidc:server_metadata", "oidc:jwks", "oidc:token", "oidc:revoke",
                     "oidc:userinfo"], "for programs: OAuth 2 and OpenID Connect"),
    **dict.fromkeys(["sso_start", "sso_oidc_callback", "sso_oidc_login", "sso_saml_acs", "sso_saml_finish",
                     "sso_saml_metadata", "sso_saml_no_login", "sso_saml_no_logout", "openid_connect_login",
                     "openid_connect_callback", "saml_acs", "saml_finish_acs", "saml_sls", "saml_metadata",
                     "saml_login"], "on the way to an identity provider and back"),
    **dict.fromkeys(["detection:jump", "detection:states", "reports:export", "detection:media_file",
                     "detection:thumbnail", "detection:artifact", "accounts:data_archive",
                     "mfa_download_recovery_codes", "mfa_login_webauthn", "local_ca"], FILE),
    **dict.fromkeys(["mfa_index", "mfa_list_webauthn"], "leads to accounts:security"),
    **dict.fromkeys(["accounts:origin_remove", "accounts:member_revoke_keys"], ACTION),
    **dict.fromkeys(["accounts:end_session", "accounts:end_other_sessions", "accounts:reset_factors"], ACTION),
    "trust": "only of a server with a certificate of its own (tests/deepfake/test_tls.py)",
    **dict.fromkeys(
        ["account_inactive", "account_signup", "account_email", "account_email_verification_sent",
         "account_set_password", "account_confirm_login_code", "account_confirm_email", "socialaccount_signup",
         "socialaccount_login_cancelled", "socialaccount_login_error", "socialaccount_connections"],
        UNUSED,
    ),
    **dict.fromkeys(
        ["account_reauthenticate", "account_reset_password_from_key", "account_reset_password_from_key_done",
         "account_reset_password_done", "mfa_authenticate", "mfa_reauthenticate",
         "mfa_deactivate_totp", "mfa_view_recovery_codes", "mfa_generate_recovery_codes", "mfa_edit_webauthn",
         "mfa_remove_webauthn", "mfa_reauthenticate_webauthn", "accounts:second_factor"],
        "a step on the way of signing in, in the frame of the pages that are walked",
    ),
}  # fmt: skip
FOREIGN = (
    "admin/",
    "v1/",
    "scim/",
    "accounts/social/",
)  # Django's back office, the APIs (but for what PAGES names), old addresses

WALK = [address for addresses in PAGES.values() for address in addresses]
WITH_TAB = {addresses[0] for addresses in PAGES.values()}  # the others of a name show the same page in another state
MOST_FOLDS = 40  # opened of one page; only the page of the API has more, and a test of its own that opens them all
in_the_browser = browsing()


def names(patterns: Any, path: str = "", room: str = "") -> Iterator[tuple[str, str]]:
    """Every address of the product: its name with its namespace, and its path."""
    for pattern in patterns:
        here = path + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from names(pattern.url_patterns, here, pattern.namespace or room)
        elif isinstance(pattern, URLPattern):
            yield f"{room}:{pattern.name}" if room else str(pattern.name), here


def test_every_address_is_walked_or_says_why_not():
    everything = names(get_resolver().url_patterns)
    known = {name: path for name, path in everything if name in PAGES or not path.startswith(FOREIGN)}
    unknown = {name: path for name, path in known.items() if name not in PAGES and name not in OTHERS}
    assert unknown == {}, "list it in PAGES, or in OTHERS with the reason why it is no page"
    assert set(PAGES) | set(OTHERS) <= set(known), "gone: take it out of PAGES or OTHERS"
    assert not set(PAGES) & set(OTHERS)


# In the browser -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("site"), SEED)
    yield site
    site.stop()


@pytest.fixture(scope="module")
def session(site: Site, browser: Browser) -> Any:
    return signed_in(browser, site, "ada")


@pytest.fixture
def go(site: Site, browser: Browser, session: Any) -> Iterator[Any]:
    contexts = []

    def open_(address: str, **options: Any) -> Page:
        is_out = address.startswith(SIGNED_OUT)
        state = {} if is_out else {"storage_state": session}
        context = browser.new_context(**({"viewport": {"width": 1440, "height": 900}} | state | options))
        contexts.append(context)
        page = context.new_page()
        page.goto(site.url + address.removeprefix(SIGNED_OUT).format(**site.jobs))
        page.wait_for_load_state("networkidle")
        return page

    yield open_
    for context in contexts:
        close(context)


def apply(*marks: Any) -> Any:
    def decorate(function: Any) -> Any:
        for mark in marks:
            function = mark(function)
        return function

    return decorate


REACHABLE = """() => {
  const wanted = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
  const groups = new Set();
  const found = [...document.querySelectorAll(wanted)].filter((element) => {
    if (element.disabled || element.tabIndex < 0) return false;
    if (element.closest("dialog:not([open]), [inert], iframe")) return false;
    if (!element.checkVisibility({ visibilityProperty: true })) return false;
    if (element.type === "radio") { // one stop for the group
      const key = `${element.form?.action} ${element.name}`;
      if (groups.has(key)) return false;
      groups.add(key);
    }
    return true;
  });
  found.forEach((element, number) => { element.dataset.stop = element.type === "radio" ? element.name : number; });
  return found.map((element) => [element.dataset.stop, element.outerHTML.slice(0, 120)]);
}"""
REMEMBER_FOCUS = """() => {
  // A native player, and the calendar button of a date field, mark what is inside them, where a page cannot look.
  const hasInside = "video, audio, input[type=date], input[type=datetime-local]";
  const isMarked = (element) => {
    const rings = [element, element.parentElement, element.parentElement?.parentElement];
    if (element.labels) rings.push(...element.labels);
    return element.matches(hasInside) || rings.some((one) => {
      if (!one) return false;
      const style = getComputedStyle(one);
      return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1;
    });
  };
  window.reached = new Set();
  window.unmarked = new Set();
  document.addEventListener("focusin", ({ target }) => {
    window.reached.add(target.dataset.stop ?? (target.type === "radio" ? target.name : ""));
    if (!isMarked(target)) window.unmarked.add(target.outerHTML.slice(0, 120));
  });
  document.activeElement?.blur();
}"""


def check_tab(page: Page) -> None:
    """Tab reaches everything, and shows where it is."""
    stops = dict(page.evaluate(REACHABLE))
    page.evaluate(REMEMBER_FOCUS)
    left = set(stops)
    for presses in (len(stops) + 5, 20, 20, len(stops)):  # native players have stops of their own inside
        for _ in range(presses):
            page.keyboard.press("Tab")
        left = set(stops) - set(page.evaluate("[...window.reached]"))
        if not left:
            break
    assert {stop: html for stop, html in stops.items() if stop in left} == {}
    assert page.evaluate("[...window.unmarked]") == []


@apply(*in_the_browser)
@pytest.mark.parametrize("address", WALK)
def test_a_page(go, address):
    page = go(address)
    assert page.locator("h1").count() == 1
    if address in WITH_TAB:
        check_tab(page)
    for summary in page.locator("main details:not([open]) > summary").all()[:MOST_FOLDS]:
        if summary.is_visible():
            summary.press("Enter")  # an open menu may lie over the next one
    for width, theme in ((1440, "light"), (390, "dark")):  # both widths and themes; all four would double the time
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        found = Axe().run(page, options={"runOnly": RULES})
        assert found.violations_count == 0, f"{width} {theme}\n{found.generate_report()}"
    for width in (720, 390):  # 1440 at 200 % zoom, and a phone
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, width


@apply(*in_the_browser)
def test_titles_are_unique_and_say_where_one_is(go, site):
    page = go("/dashboard/")
    titles: dict[str, str] = {}
    for name, addresses in PAGES.items():
        address = addresses[0]
        if address.startswith(SIGNED_OUT):
            continue
        answer = page.request.get(site.url + address.format(**site.jobs))
        if "/reauthenticate/" in answer.url:  # the session of a long walk is not fresh any more: one page for both
            continue
        text = answer.text()
        found = re.search(r"<title>(.*?)</title>", text, re.DOTALL)
        assert found, address
        title = " ".join(found[1].split())
        assert title not in titles, f"{name} and {titles[title]} are both called {title}"
        titles[title] = name
    assert all(title not in ("", "Deepfake Detection") for title in titles)


# The shell around them ------------------------------------------------------------------------------------------------


@apply(*in_the_browser)
def test_the_palette_finds_pages_actions_and_analyses_and_gives_the_focus_back(go):
    page = go("/dashboard/")
    pause = page.get_by_role("button", name="Pause refreshing")
    pause.focus()
    page.keyboard.press("Control+k")
    box = page.get_by_role("combobox", name="Page, action")
    expect(box).to_be_focused()
    box.fill("clip-inter")
    option = page.get_by_role("option")
    expect(option.first).to_contain_text("clip-interview-statement.mp4")
    found = Axe().run(page, options={"runOnly": RULES})
    assert found.violations_count == 0, found.generate_report()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(pause).to_be_focused()
    page.keyboard.press("Control+k")
    box.fill("light dark")
    expect(option.first).to_contain_text("Switch between light and dark")
    page.keyboard.press("Enter")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.keyboard.press("Control+k")
    box.fill("clip-inter")
    expect(option.first).to_contain_text("clip-interview-statement.mp4")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("clip-interview-statement.mp4")


@apply(*in_the_browser)
def test_g_and_a_letter_goes_there_unless_one_types_or_has_switched_it_off(go):
    page = go("/")
    page.keyboard.press("g")
    page.keyboard.press("d")
    page.wait_for_url("**/dashboard/")
    page.wait_for_load_state("networkidle")
    page.keyboard.press("g")
    page.keyboard.press("a")
    page.wait_for_url(lambda url: url.endswith("/"))
    page.wait_for_load_state("networkidle")
    page.get_by_label("Search", exact=True).fill("")
    page.keyboard.type("gd")
    expect(page.get_by_label("Search", exact=True)).to_have_value("gd")
    page.get_by_role("heading", level=1).click()
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keys")
    expect(sheet).to_contain_text("Dashboard")
    found = Axe().run(page, options={"runOnly": RULES})
    assert found.violations_count == 0, found.generate_report()
    sheet.get_by_label("Single keys work").uncheck()
    expect(page.get_by_text("Single keys are off.")).to_be_visible()
    page.keyboard.press("g")
    page.keyboard.press("d")
    page.wait_for_timeout(300)
    assert "/dashboard/" not in page.url
    page.get_by_role("button", name="Undo").click()
    page.keyboard.press("g")
    page.keyboard.press("d")
    page.wait_for_url("**/dashboard/")


@apply(*in_the_browser)
def test_the_sheet_of_a_review_page_holds_its_own_keys_too(go):
    page = go("/review/")
    page.keyboard.press("?")
    sheet = page.get_by_role("dialog", name="Keys")
    expect(sheet).to_contain_text("take the next free one")
    expect(sheet).not_to_contain_text("analysis of the list")
    expect(sheet).to_contain_text("Go to a page, an action or an analysis")


@apply(*in_the_browser)
def test_the_sheet_collects_what_modules_export(go):
    page = go("/dashboard/")
    page.keyboard.press("p")
    expect(page.get_by_role("button", name="Pause refreshing")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("Pause refreshing, or go on")
    page.keyboard.press("Escape")
    page.goto(page.url.replace("/dashboard/", "/settings/thresholds/"))
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("Go to a page, an action or an analysis")
    expect(page.get_by_role("dialog", name="Keys")).not_to_contain_text("Pause refreshing")


@apply(*in_the_browser)
def test_a_lost_connection_is_told_and_found_again(go):
    page = go("/dashboard/")
    banner = page.get_by_text("No connection to the server.")
    expect(banner).to_be_hidden()
    page.context.set_offline(True)
    expect(banner).to_be_visible()
    page.context.set_offline(False)
    expect(banner).to_be_hidden()


@apply(*in_the_browser)
def test_without_a_script_there_is_no_dead_button(go):
    page = go("/dashboard/", java_script_enabled=False)
    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")
    for name in ("Go to", "Switch between light and dark", "Pause refreshing"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)


@apply(*in_the_browser)
def test_nothing_jumps_while_the_page_loads(go):
    """Cumulative layout shift of the frame and the dashboard, as browsers measure it."""
    page = go("/dashboard/")
    page.evaluate(
        "new PerformanceObserver((list) => { window.shift = (window.shift || 0) + list.getEntries()"
        ".reduce((sum, entry) => sum + entry.value, 0); }).observe({ type: 'layout-shift', buffered: true })"
    )
    page.wait_for_timeout(300)
    assert page.evaluate("window.shift || 0") < 0.02
