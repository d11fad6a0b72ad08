"""Who may come in where: every address × every method it has × everybody who may knock, against the declared rule.

The rules are read from the code itself (accounts/permissions.py says in which five ways an address declares one), the
addresses from the URL tree and the websocket routes. So a new address without a rule fails here, and so does one that
behaves otherwise than it says.

**A new address of yours fails here?** The sentence names it.

- "has no rule": decorate the view (`@requires(Permission.X)`, `@members_only`, `@own_account`, `@public("because …")`),
  or give the API view its scopes. A view of another package goes into deepfake/access.py, with the reason.
- "needs a sample": its address names an object. Add the address to SAMPLES in tests/authorisation.py: a function of the
  world (and of who asks, None for strangers) that returns what `reverse()` needs; under "?" a query string. Whatever it
  makes is undone after the request. Objects that many addresses share are made once, in `World`.
- "let in although …" and the like: the view does not keep its rule, or the sample is not an object of the world's
  organisation in a state in which the action is possible.
- An address with an object of one's own account only (a device, a token): the sample makes one of `who`.

What everybody of the cast sees must not contain MARK unless they belong to the organisation: objects of the world carry
it in their names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser
from django.core.cache import cache
from django.db import transaction
from django.http import HttpResponse
from django.urls import reverse

from accounts import permissions, roles
from accounts.authentication import scopes_of
from accounts.models import AuditLog, ProvisioningToken, Role, User
from accounts.permissions import PERMISSION_GROUPS, ROLE_PERMISSIONS, Permission
from accounts.scim import resources as provisioning
from accounts.sign_in_middleware import SETTING_UP, SignInMiddleware
from accounts.sso import outgoing
from deepfake import access
from reports.models import ReportIssue
from tests.authorisation import (
    ADDRESSES,
    API,
    MARK,
    PAGES,
    PUBLIC_BUT_SCOPED,
    ROOT,
    SAMPLES,
    STEPS,
    STRANGERS,
    Address,
    World,
    address_of,
    answer_of,
    client_of,
    knock,
    owing_client,
    page_methods,
    path_behind_gate,
    wrong,
)
from tests.authorisation import world as world


def test_every_address_declares_who_may_come_in() -> None:
    missing = [
        f"{address.path} ({address.name or 'without a name'}) has no rule: see the top of this file"
        for address in ADDRESSES
        if not address.has_rule
    ]
    assert not missing, "\n".join(missing)


def test_every_address_with_an_object_has_a_sample() -> None:
    known = {address.name for address in PAGES + API if address.has_object}
    lacking = [f"{name} needs a sample: add it to SAMPLES" for name in sorted(known - set(SAMPLES))]
    assert not lacking, "\n".join(lacking)
    assert set(SAMPLES) - known == set(), "gone: take them out of SAMPLES"


def test_what_is_listed_for_other_packages_is_there() -> None:
    names, paths = {address.name for address in ADDRESSES}, {address.path for address in ADDRESSES}
    assert (set(access.PUBLIC) | set(access.OWN_ACCOUNT)) - names == set()
    assert set(access.REDIRECTS) - paths == set()
    assert set(access.PUBLIC) & set(access.OWN_ACCOUNT) == set()


# Pages ----------------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(600)  # some seconds on a machine of its own; more where many suites share two cores
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse")
def test_every_page_keeps_its_rule(world: World) -> None:
    found: list[str] = []
    for address in PAGES:
        cache.clear()
        is_own = not (address.name in access.PUBLIC or address.name in access.OWN_ACCOUNT or not address.name)
        methods = page_methods(world, address) if is_own else ["GET", "POST"]
        if not methods:
            found.append(
                f"/{address.path} ({address.name}) does not say which methods it takes: @require_GET and the like"
            )
        for method in methods:
            found += list(_page_breaches(world, address, method, is_own))
    assert not found, "\n".join(found)


def _page_breaches(world: World, address: Address, method: str, is_own: bool) -> Iterator[str]:
    for name, client in world.clients.items():
        who = world.cast.get(name)
        answer, response = knock(world, client, address, method, who)
        wanted = _wanted_of_page(address, name, who, is_own)
        if (answer not in wanted) and not (name == "stranger" and _is_said_to_strangers(address, response)):
            yield wrong(address, method, name, answer, " or ".join(sorted(wanted)), response)
        if who is None and not address.public_because and MARK.encode() in response.seen:
            yield f"{method} /{address.path} ({address.name}): {name} could read “{MARK}”"
    if not address.public_because:
        # A key of the API opens no page.
        answer, response = knock(world, world.clients["anonymous"], address, method, None, key=world.all_scopes)
        if answer != "asked to sign in":
            yield wrong(address, method, "an API key", answer, "asked to sign in", response)


def _is_said_to_strangers(address: Address, response: Any) -> bool:
    return address.name in STRANGERS and response.status_code == STRANGERS[address.name][0]


def _wanted_of_page(address: Address, name: str, who: User | None, is_own: bool) -> set[str]:
    if address.public_because:
        if name == "stranger" and address.name in PUBLIC_BUT_SCOPED:
            return {"told that there is nothing"}
        # Other people's pages lead on to signing in, or say that a key is unknown; they never break.
        return (
            {"let in"}
            if is_own and who is None and address.name not in STEPS
            else {"let in", "asked to sign in", "refused", "told that there is nothing"}
        )
    if name == "anonymous":
        return {"asked to sign in"}
    if address.name in access.OWN_ACCOUNT:
        return {"let in", "told that there is nothing", "refused"}
    if who is None:
        return {"told that there is nothing"} if address.has_object else {"let in"}
    if not address.permissions or set(address.permissions) & who.permissions:
        return {"let in"}
    return {"refused"}


def test_the_walk_notices_what_is_wrong(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    revoke = next(address for address in PAGES if address.name == "reports:revoke")
    assert list(_page_breaches(world, revoke, "POST", True)) == []
    with monkeypatch.context() as careless:
        careless.setattr(type(ReportIssue.objects.all()), "visible_to", lambda rows, viewer: rows)
        [sentence] = _page_breaches(world, revoke, "POST", True)
        assert "(reports:revoke): stranger was let in" in sentence
    with monkeypatch.context() as careless:
        careless.setattr(permissions, "check", lambda member, *permissions: None)
        found = "".join(_page_breaches(world, revoke, "POST", True))
        assert all(f"{name} was let in" in found for name in ("viewer", "analyst", "data_scientist", "custom"))
        assert "admin was" not in found
    assert not Address("new", "new/", lambda request: HttpResponse()).has_rule


# The API --------------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(600)
def test_every_operation_of_the_api_keeps_its_rule(world: World) -> None:
    found = []
    for address in API:
        for method in address.methods:
            cache.clear()
            found += list(_operation_breaches(world, address, method))
    assert not found, "\n".join(found)


def _operation_breaches(world: World, address: Address, method: str) -> Iterator[str]:
    asked = address.scopes(method)
    anonymous = world.clients["anonymous"]
    answer, response = knock(world, anonymous, address, method, None)
    wanted = "let in" if address.public_because else "asked to sign in"
    if answer != wanted and not (address.public_because and response.status_code == 503):
        yield wrong(address, method, "anonymous", answer, wanted, response)
    if asked is None:
        return
    scopes, beyond = asked
    for name, who in world.cast.items():
        answer, response = knock(world, world.clients[name], address, method, who)
        is_allowed = scopes <= scopes_of(who) and (beyond is None or who.may(beyond))
        wanted = "let in" if is_allowed else "refused"
        if answer != wanted:
            yield wrong(address, method, name, answer, wanted, response)
    for held, key in world.keys.items():
        answer, response = knock(world, anonymous, address, method, None, key=key)
        wanted = "let in" if all(permissions.opens([held], scope) for scope in scopes) else "refused"
        if answer != wanted:
            yield wrong(address, method, f"a key with {held}", answer, wanted, response)
    answers = {
        "the stranger": knock(world, world.clients["stranger"], address, method, None),
        "a stranger's key": knock(world, anonymous, address, method, None, key=world.strange_key),
        "a key of nobody": knock(world, anonymous, address, method, None, key="dfk_00000000_nothing"),
    }
    for name, (answer, response) in answers.items():
        wanted = "told that there is nothing" if address.has_object else "let in"
        wanted = "asked to sign in" if name == "a key of nobody" else wanted
        if answer != wanted:
            yield wrong(address, method, name, answer, wanted, response)
        if MARK.encode() in response.seen:
            yield f"{method} /{address.path}: {name} could read “{MARK}”"


def test_strangers_cannot_name_foreign_objects_in_what_they_send(world: World) -> None:
    """Ids in bodies and queries are looked up in one's own organisation alone."""
    client, job = world.clients["stranger"], world.job
    sent = [
        client.post("/v1/detect", {"media_id": job.media.public_id}, content_type="application/json"),
        client.post("/v1/feedback", {"job_id": job.public_id, "label": "real"}, content_type="application/json"),
        client.post(reverse("detection:bulk"), {"action": "delete", "jobs": [str(job.pk)]}),
        client.post(reverse("detection:bulk"), {"action": "rerun", "jobs": [str(job.pk)]}),
        client.post(reverse("review:known_items"), {"job": str(job.pk), "truth": "fake"}),
        client.post(reverse("accounts:member_role", args=[world.stranger.pk]), {"role": str(world.role.pk)}),
        client.get(reverse("detection:jump"), {"q": str(job.pk)}),
        client.get(reverse("detection:states"), {"id": str(job.pk)}),
        client.get(reverse("detection:analyses"), {"same_as": str(job.pk), "uploader": str(world.admin.pk)}),
    ]
    assert [response.status_code for response in sent[:2]] == [404, 404]
    assert all(MARK.encode() not in response.content for response in sent)
    assert sent[-3].json()["results"] == []
    assert sent[-2].json()["jobs"] == []
    client.post(reverse("review:bulk"), {"cases": [str(world.case.pk)], "outcome": "confirm"})
    job.refresh_from_db()
    world.case.refresh_from_db()
    assert job.deleted_at is None
    assert world.case.closed_at is None
    assert world.organization.jobs.count() == 3
    assert User.objects.get(pk=world.stranger.pk).custom_role is None


def test_rules_of_sign_in_give_nothing_that_their_author_lacks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who speaks for an identity provider can be any member and give any role: only who holds every right may."""
    narrow = roles.create_role(
        organization=world.organization,
        name="Keeper of doors",
        permissions=set(Permission) - {Permission.AUDIT},
        actor=world.admin,
    )
    roles.set_role(member=world.target, custom_role=narrow, actor=world.admin)
    monkeypatch.setattr(outgoing, "read", _never)
    group, oidc, domain = [world.group.pk], [world.oidc.pk], [world.domain.pk]
    provider = {"name": "Mine", "default_role": "viewer", "is_enabled": "on", "vouches_for_emails": "on"}
    mine = provider | {"issuer": "https://mine.example.org", "client_id": "a", "client_secret": "b"}
    before = _provisioned(world)
    client = client_of(world.target)
    for name, args, sent, status in (
        ("accounts:provisioning_token", [], {}, 403),
        ("accounts:provisioning_group_role", group, {"role": "viewer"}, 403),
        ("accounts:provisioning_default_role", [], {"role": "viewer"}, 403),
        ("accounts:sso_new_oidc", [], mine, 400),
        ("accounts:sso_new_saml", [], provider | {"metadata_xml": "<x/>"}, 400),
        ("accounts:sso_connection", oidc, mine, 400),
        ("accounts:sso_domain_verify", domain, {}, 302),
    ):
        response = client.post(reverse(name, args=args), sent)
        assert response.status_code == status, name
        said = response if status != 302 else client.get(response["Location"])
        assert b"Only somebody who holds every right" in said.content, name
    assert _provisioned(world) == before
    for name in ("accounts:provisioning", "accounts:sso", "accounts:sso_new_oidc"):
        page = client.get(reverse(name)).text
        assert "Only somebody who holds every right can" in page, name
        assert ">Make a new token<" not in page
    assert (
        world.clients["admin"]
        .post(reverse("accounts:provisioning_group_role", args=group), {"role": "admin"})
        .status_code
        == 302
    )
    # What takes a way in away stays possible.
    assert client.post(reverse("accounts:provisioning_token_remove")).status_code == 302


def _never(*args: Any, **kwargs: Any) -> bytes:
    raise AssertionError("a provider was asked for somebody who may not connect it")


def _provisioned(world: World) -> list[Any]:
    token = ProvisioningToken.objects.get(organization=world.organization)
    world.group.refresh_from_db()
    world.domain.refresh_from_db()
    return [token.hash, token.default_role, world.group.role, world.domain.verified_at, _connections(world)]


def _connections(world: World) -> list[Any]:
    return list(world.organization.sso_connections.order_by("pk").values_list("pk", "name", "issuer", "is_enabled"))


def test_the_last_who_holds_every_right_is_counted_by_rights(world: World) -> None:
    """A role of the organisation's own may hold them all, and one who has another role by hand holds them no longer."""
    everything = roles.create_role(
        organization=world.organization, name="Board", permissions=list(Permission), actor=world.admin
    )
    assert not roles.is_last_administrator(world.admin)
    roles.set_role(member=world.spare, custom_role=everything, actor=world.admin)
    world.spare.refresh_from_db()
    assert not roles.is_last_administrator(world.admin)
    roles.set_role(member=world.spare, role=Role.VIEWER, actor=world.admin)
    assert roles.is_last_administrator(world.admin)


# Before a second factor is set up -------------------------------------------------------------------------------------


def test_a_session_that_owes_a_factor_opens_nothing_but_its_set_up(world: World) -> None:
    """Every address, with every method: with the session alone, and with headers that are no key beside it."""
    client, found, asked = owing_client(world), [], 0
    headers = ({}, {"Authorization": ""}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer nothing"})
    for address in ADDRESSES:
        if address.name in SETTING_UP:
            continue
        with transaction.atomic():
            path = path_behind_gate(address) if address.gate else address_of(address, world, None)
            transaction.set_rollback(True)
        for method in (*address.methods, "OPTIONS") if address.is_api else ("GET", "POST"):
            for sent in headers:
                if sent.get("Authorization") == "Bearer nothing" and address.public_because:
                    continue  # whoever is asked for no key need not look at one
                asked += 1
                cache.clear()
                response = client.generic(method, path, b"{}", content_type="application/json", headers=sent)
                if not _is_kept_out(response):
                    found.append(f"{method} /{address.path} ({address.name}) with {sent}: {response.status_code}")
    assert not found, "\n".join(found)
    assert asked > 1500
    owing = User.objects.get(username=f"board-{MARK}")
    assert AuditLog.objects.filter(actor=owing).exclude(action__startswith="auth.").count() == 0
    assert client.get(reverse("accounts:second_factor")).status_code == 200


def _is_kept_out(response: Any) -> bool:
    to = response.headers.get("Location", "")
    if response.status_code == 302:
        return to.startswith(reverse("accounts:second_factor"))
    if response.status_code == 403:
        return response.json()["code"] == "second_factor_required"
    return bool(response.status_code == 401)


def test_the_factor_is_asked_for_where_the_session_speaks_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the middleware may one day let pass."""
    client = owing_client(world)
    monkeypatch.setattr(SignInMiddleware, "process_view", lambda *args: None)
    assert client.get(reverse("detection:analyses")).status_code == 200
    refused = client.get("/v1/jobs")
    assert (refused.status_code, refused.json()["code"]) == (403, "second_factor_required")
    assert client.get("/v1/jobs", headers={"Authorization": f"Bearer {world.all_scopes}"}).status_code == 200


# Sockets --------------------------------------------------------------------------------------------------------------

SOCKET_SAMPLES: dict[str, Callable[[World], dict[str, Any]]] = {"job_id": lambda world: {"job_id": world.job.pk}}


def socket_routes() -> list[Any]:
    from deepfake import asgi

    inner: Any = asgi._sockets
    while not hasattr(inner, "routes"):
        inner = getattr(inner, "application", None) or inner.inner
    return list(inner.routes)


@pytest.mark.django_db(transaction=True)
def test_every_socket_keeps_its_rule(world: World) -> None:
    found = []
    for route in socket_routes():
        consumer = route.callback.consumer_class
        permission = getattr(consumer, "required_permission", None)
        if permission is None:
            found.append(f"/{route.pattern} has no rule: give {consumer.__name__} a required_permission")
            continue
        path = "/" + re.sub(
            r"<(?:\w+:)?(\w+)>", lambda match: str(SOCKET_SAMPLES[match[1]](world)[match[1]]), str(route.pattern)
        )
        people = {**world.cast, "stranger": world.stranger, "anonymous": AnonymousUser()}
        for name, who in people.items():
            is_in = async_to_sync(_connects)(path, who)
            is_ours = name != "anonymous" and (name != "stranger" or "<" not in str(route.pattern))
            if is_in != (is_ours and who.may(permission)):
                found.append(f"{path}: {name} was {'let in' if is_in else 'turned away'}")
    assert not found, "\n".join(found)


async def _connects(path: str, who: Any) -> bool:
    from channels.routing import URLRouter

    socket = WebsocketCommunicator(URLRouter(socket_routes()), path)
    socket.scope["user"] = who
    is_in = (await socket.connect())[0]
    await socket.disconnect()
    return bool(is_in)


# The gate of the back office ------------------------------------------------------------------------------------------


def test_the_back_office_is_closed_to_members(world: World) -> None:
    open_, asked = [], 0
    for address in ADDRESSES:
        # The last one leads to the page where members change their own.
        if (
            not address.path.startswith("admin/")
            or address.name in ("admin:login", "admin:logout")
            or (address.path == "admin/password_change/")
        ):
            continue
        path = path_behind_gate(address)
        for name in ("anonymous", "admin", "custom"):
            asked += 1
            answer = answer_of(world.clients[name].get(path))
            if answer not in ("asked to sign in", "told that there is nothing"):
                open_.append(f"{path}: {name} was {answer}")
    assert not open_, "\n".join(open_)
    assert asked > 100


# Provisioning ---------------------------------------------------------------------------------------------------------


def test_provisioning_takes_its_token_alone(world: World) -> None:
    """SCIM: no session and no key of the API counts, and a token shows its own organisation's people alone."""
    provisioning.ensure_records(world.organization)
    user = world.organization.scim_users.first()
    samples = {"scim_user": user.pk, "scim_group": world.group.pk, "scim_schema": "x", "scim_resource_type": "x"}
    found, asked = [], 0
    for address in ADDRESSES:
        if not address.path.startswith("scim/v2/"):
            continue
        path = "/" + re.sub(r"<\w+:\w+>", lambda _, a=address: str(samples[a.name]), address.path).replace("^.*$", "x")
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            visitors = {
                "anonymous": (world.clients["anonymous"], ""),
                "an administrator's session": (world.clients["admin"], ""),
                "an API key": (world.clients["anonymous"], world.all_scopes),
                "a stranger's token": (world.clients["anonymous"], world.strange_provisioning),
            }
            for name, (client, key) in visitors.items():
                asked += 1
                headers = {"Authorization": f"Bearer {key}"} if key else {}
                with transaction.atomic():
                    response = client.generic(
                        method, path, b"{}", content_type="application/scim+json", headers=headers
                    )
                    transaction.set_rollback(True)
                if "token" not in name and response.status_code != 401:
                    found.append(f"{method} {path}: {name} was answered with {response.status_code}")
                is_ours = address.name in ("scim_user", "scim_group")
                if "token" in name and is_ours and response.status_code not in (404, 405):
                    found.append(f"{method} {path}: {name} was answered with {response.status_code}")
                if MARK.encode() in response.content:
                    found.append(f"{method} {path}: {name} could read “{MARK}”")
    assert not found, "\n".join(found)
    assert asked > 200
    right = {"Authorization": f"Bearer {world.provisioning}"}
    assert MARK.encode() in world.clients["anonymous"].get("/scim/v2/Users", headers=right).content


# Words ----------------------------------------------------------------------------------------------------------------

_COMPARES = re.compile(
    r"\.role\s*(?:==|!=|in\b|not in\b)|(?:==|!=|\bin)\s*\(?Role\.[A-Z]|role__in|role=Role\.|get_role_display"
    r"|\bRole\.[A-Z_]+\s*(?:==|!=|in\b)"
)
# Where built-in roles are named for another reason than to ask what somebody may do.
_NAMES_ROLES = {
    "accounts/models.py": "says which permissions a built-in role has",
    "accounts/scim/services.py": "gives built-in roles by the groups of an identity provider",
    "accounts/scim/resources.py": "gives a group the built-in role that it is named after",
    "templates/accounts/scim/provisioning.html": "marks the role that is chosen in a list of the built-in ones",
    "accounts/management/commands/seed_demo.py": "makes the people of the demonstration",
    "deepfake/demo_week.py": "picks the people of the demonstration by the role that they were made with",
    "deepfake/management/commands/prepare.py": "picks a member of the demonstration",
}


def test_nothing_compares_roles() -> None:
    """What somebody may do is asked by permission: a custom role would slip past a comparison."""
    found = []
    rooms = ("accounts", "deepfake", "detection", "review", "reports", "templates")
    for path in sorted(path for room in rooms for path in (ROOT / room).rglob("*") if path.suffix in (".py", ".html")):
        name = str(path.relative_to(ROOT))
        if "migrations" in path.parts or name in _NAMES_ROLES:
            continue
        lines = enumerate(path.read_text().splitlines(), 1)
        found += [f"{name}:{number}: {line.strip()}" for number, line in lines if _COMPARES.search(line)]
    assert not found, "\n".join(found)


def test_every_permission_stands_once_on_the_page_of_roles() -> None:
    listed = [one for _, rows in PERMISSION_GROUPS for one in rows]
    assert sorted(listed) == sorted(Permission)


def test_the_table_in_the_documentation_is_true() -> None:
    held = [ROLE_PERMISSIONS[role.value] for role in Role]
    lines = ["| Permission | " + " | ".join(str(role.label) for role in Role) + " |", "|---|" + ":-:|" * len(held)]
    for words, rows in PERMISSION_GROUPS:
        lines.append(f"| **{words}** |" + " |" * len(held))
        for one in rows:
            marks = " | ".join("●" if one in allowed else "" for allowed in held)
            lines.append(f"| {one.label} (`{one.value}`) | {marks} |")
    table = "\n".join(lines)
    assert table in (ROOT / "docs" / "roles.md").read_text(), f"docs/roles.md should have this table:\n{table}"
