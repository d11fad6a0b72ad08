"""Whatever is written into addresses, bodies and forms, on any database: a refusal at the worst, never a fault of ours.

New input worth trying belongs into one of the lists; run this file on PostgreSQL, too (DATABASE_URL), which takes less
than SQLite does.
"""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
from django.core.cache import cache

from deepfake import middleware, reader_zone
from tests.authorisation import World
from tests.authorisation import world as world

HALF = "\ud800"  # of a character: JSON can write it, UTF-8 cannot
EDGES = [
    "9999-12-31", "0001-01-01", "9999-12-31T23:59", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00%2B14:00",
    "2026-02-30", "٢٠٢٦-١١-٢٧",
]  # fmt: skip
OF_PAGES = ["%00", "%ff", "9" * 30, "http://["]  # drawing a page takes its time
TEXTS = ["%00", "%ff", "%ED%A0%80", "NaN", "-1", "9" * 30, "9" * 5000, "x" * 3000, "[]", "http://[", "%F0%9F%98%80"]
# Places of cursors that are none: `p=%00`, a day, the edges of the calendar, an offset below nothing.
CURSORS = [
    quote(base64.b64encode(text.encode()))
    for text in ("p=%00", "p=2026-11-27", "p=9999-12-31T23:59:59-14:00", f"p={10**30}", "p=x", "o=-1", "r=x")
] + ["9e18_" + "0" * 32, "inf_" + "0" * 32, "1_%00"]

PLACES = {
    "/": ["since", "until", "hour", "q", "page", "after", "uploader"],
    "/analyses/rows/": ["until", "after"],
    "/settings/webhooks/callbacks/": ["since", "until", "event", "page"],
    "/settings/webhooks/{webhook}/": ["until"],
    "/settings/audit/": ["since", "until", "before", "q", "actor", "target", "ip"],
    "/settings/audit/export": ["until", "format"],
    "/settings/members/": ["q", "after", "state"],
    "/settings/security/second-factor/": ["next"],
    "/review/": ["q", "after", "before", "state=done&since"],
    "/accounts/login/": ["next"],
    "/accounts/organization/": ["organization", "next"],
    "/v1/jobs": ["since", "until", "cursor", "q", "limit", "key_id", "media_id", "domain", "score_from"],
    "/v1/audit": ["since", "until", "cursor", "actor", "target_id"],
    "/v1/media": ["cursor", "sha256", "limit"],
    "/v1/keys": ["cursor"],
    "/v1/batches": ["cursor"],
    "/v1/batches/{batch}/items": ["cursor", "status"],
    "/v1/webhooks/{delivering}/deliveries": ["cursor", "since", "until", "event"],
    "/v1/thresholds": ["kind"],
    "/scim/v2/Users": ["startIndex", "count", "filter", "sortBy", "attributes"],
    "/oauth/authorize": ["claims", "redirect_uri", "id_token_hint", "prompt", "scope", "client_id", "max_age"],
}


@pytest.fixture(autouse=True)
def _no_limits(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detection.api_limits.CallerThrottle.allow_request", lambda *given: True)
    cache.clear()


def headers_of(world: World, path: str) -> dict[str, str]:
    if path.startswith("/scim/"):
        return {"Authorization": f"Bearer {world.provisioning}"}
    return {"Authorization": f"Bearer {world.all_scopes}"} if path.startswith("/v1/") else {}


def ask(world: World, method: str, path: str, body: Any = None, **more: Any) -> Any:
    who = "admin" if not path.startswith(("/v1/", "/scim/", "/accounts/login")) else "anonymous"
    text = body if isinstance(body, str) else json.dumps(body) if body is not None else ""
    kind = more.pop("content_type", "application/json")
    return world.clients[who].generic(method, path, text, content_type=kind, headers=headers_of(world, path) | more)


def place(world: World, path: str) -> str:
    return path.format(
        webhook=world.webhook.pk,
        delivering=world.webhook.public_id,
        batch=world.batch.public_id,
        key=world.api_key.public_id,
    )


@pytest.mark.parametrize("path", PLACES)
def test_no_query_is_a_fault_of_ours(world: World, path: str) -> None:
    known = "client_id={0}&response_type=code&code_challenge_method=S256&code_challenge={1}&scope=detect:read&"
    start = known.format(world.program.pk, "a" * 43) if path.startswith("/oauth/") else ""
    texts = TEXTS if path.startswith(("/v1/", "/scim/", "/oauth/")) else OF_PAGES
    broken = []
    for name in PLACES[path]:
        for value in [*texts, *(CURSORS if name in ("cursor", "after", "before") else EDGES), f"1&{name}=2"]:
            address = f"{place(world, path)}?{start}{name}={value}"
            if ask(world, "GET", address).status_code >= 500:
                broken.append(address[:200])
    assert not broken


BODIES: dict[str, dict[str, Any]] = {
    "POST /v1/detect": {
        "url": "https://media.example.org/a.png",
        "callback_url": "https://app.example.org/",
        "mode": "auto",
    },
    "POST /v1/media": {"url": "https://media.example.org/a.png"},
    "POST /v1/batches": {"items": [{"url": "https://media.example.org/a.png", "reference": "r"}], "name": "n"},
    "POST /v1/keys": {"name": "n", "scopes": ["detect:read"], "ip_allow_list": [], "expires_at": None},
    "PATCH /v1/keys/{key}": {"name": "n", "expires_at": None},
    "POST /v1/webhooks": {"url": "https://hooks.example.org/a", "events": ["job.completed"], "description": "d"},
    "POST /v1/webhooks/{delivering}/replay": {"since": "2026-11-27T09:00:00Z", "until": "2026-11-27T10:00:00Z"},
    "POST /v1/uploads": {"filename": "n.png", "size_bytes": 10},
    "POST /scim/v2/Users": {"userName": "n", "name": {"givenName": "N"}, "emails": [{"value": "n@example.org"}]},
    "POST /scim/v2/Groups": {"displayName": "n", "externalId": "e", "members": []},
    "POST /scim/v2/Users/.search": {"filter": "userName pr", "startIndex": 1, "count": 1, "sortBy": "userName"},
}
VALUES: list[Any] = [
    HALF, "a\x00b", 10**30, -1, 1.5, 1e308, "x" * 10_000, [], {}, [HALF], ["\x00"], {HALF: 1}, [[1]], [None], [{}],
    None, "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", "٢٠٢٦", "http://[", "https://[::1", "https://x:99999/",
    f"https://{'a' * 300}.example.org/", "NaN",
]  # fmt: skip
RAW = [
    '{"a": NaN}',
    '{"a": 1e999}',
    '{"a": ' + "9" * 5000 + "}",
    "[" * 50_000,
    '"\\ud800"',
    '{"\\ud800": 1}',
    "\x00",
    "",
]


@pytest.mark.parametrize("request_line", BODIES)
def test_no_body_is_a_fault_of_ours(world: World, request_line: str) -> None:
    method, path = request_line.split()
    path, usual = place(world, path), BODIES[request_line]
    bodies: list[Any] = [usual | {name: value} for name in usual for value in VALUES]
    bodies += [*RAW, usual | {HALF: 1}, usual | {"a\x00": 1}, *(json.dumps(value) for value in VALUES)]
    broken = []
    for number, body in enumerate(bodies):
        key = {"Idempotency-Key": f"key-{number}"} if number % 2 else {}
        if ask(world, method, path, body, **key).status_code >= 500:
            broken.append(str(body).encode("ascii", "backslashreplace")[:200])
    assert not broken


@pytest.mark.parametrize("body", [{HALF: 1}, {"mode": HALF}, {"url": [{"a": HALF}]}, [HALF]])
def test_half_a_character_in_json_is_refused(world: World, body: Any) -> None:
    answer = ask(world, "POST", "/v1/detect", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "parse_error")


@pytest.mark.parametrize(
    "path", ["/v1/media", "/v1/batches", "/v1/keys", "/v1/audit", "/v1/webhooks/{delivering}/deliveries"]
)
@pytest.mark.parametrize("cursor", CURSORS[:5])
def test_a_cursor_that_is_none_is_called_so(world: World, path: str, cursor: str) -> None:
    answer = ask(world, "GET", f"{place(world, path)}?cursor={cursor}")
    assert (answer.status_code, answer.json()["code"]) == (400, "cursor_invalid")


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00%2B14:00", "9999-12-31"])
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/audit"])
def test_a_moment_that_no_zone_has_is_refused(world: World, path: str, moment: str) -> None:
    answer = ask(world, "GET", f"{path}?until={moment}")
    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["until"])


def test_what_makes_no_sense_narrows_no_list(world: World) -> None:
    for day in ("9999-12-31", "0001-01-01"):
        assert len(ask(world, "GET", f"/?until={day}").context["page"].jobs) == 3


@pytest.mark.parametrize("path", ["/settings/members/invite/", "/accounts/login/", "/review/known/"])
def test_nul_in_a_form_is_refused(world: World, path: str) -> None:
    form = "username=a%00&email=a%00@example.org&role=viewer&login=a%00&password=b&job=%00&truth=fake"
    answer = ask(world, "POST", path, form, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 400
    assert middleware.NO_NUL in answer.content.decode()


@pytest.mark.parametrize(
    "path", ["/verify/%00/", "/settings/oauth-clients/%00/", "/v1/thresholds/%00", "/scim/v2/Users/%00", "/%00"]
)
def test_no_address_holds_nul(world: World, path: str) -> None:
    assert ask(world, "GET", path).status_code == 404


def test_a_referrer_that_is_no_address_is_none(world: World) -> None:
    assert ask(world, "GET", f"/analyses/{world.job.pk}/", Referer="http://[").status_code == 200


def test_days_and_moments_of_forms_have_neighbours() -> None:
    assert reader_zone.DayField().clean("9000-12-31") == reader_zone.LAST_DAY
    for field, value in ((reader_zone.DayField(), "9001-01-01"), (reader_zone.MomentField(), "1969-12-31T23:59")):
        with pytest.raises(reader_zone.ValidationError):
            field.clean(value)
