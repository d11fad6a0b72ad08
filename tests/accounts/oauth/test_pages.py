"""Settings pages of OAuth clients and of what members let in."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from allauth.idp.oidc.models import Client, Token
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone

from accounts import roles
from accounts.models import AuditLog, ClientKind, GrantEnd, OAuthClient, OAuthGrant, Organization, User
from accounts.oauth import keys, services
from accounts.oauth.validator import is_secret_of
from accounts.permissions import Permission
from deepfake.errors import DomainError
from tests import factories

NEW = {"name": "Archive", "kind": "web", "redirect_uris": "https://a.example.org/cb", "scopes": ["detect:read"]}


@pytest.fixture
def registration(make_client: Any) -> OAuthClient:
    return make_client()[0]


@pytest.fixture
def grant(registration: OAuthClient, alice: User) -> OAuthGrant:
    return services.begin_grant(client=registration, user=alice, scopes=["detect:read"], code_hash="0" * 64)


def addresses(registration: OAuthClient, grant: OAuthGrant) -> dict[str, str]:
    pk = registration.pk
    return {
        "list": reverse("accounts:oauth_clients"),
        "new": reverse("accounts:oauth_client_new"),
        "one": reverse("accounts:oauth_client", args=[pk]),
        "rotate": reverse("accounts:oauth_client_rotate", args=[pk]),
        "switch": reverse("accounts:oauth_client_switch", args=[pk]),
        "revoke": reverse("accounts:oauth_grant_revoke", args=[pk, grant.pk]),
    }


def test_create_shows_the_secret_once_and_keeps_its_hash(client, administrator: User):
    client.force_login(administrator)
    assert client.get(reverse("accounts:oauth_client_new")).status_code == 200
    answer = client.post(reverse("accounts:oauth_client_new"), NEW)
    page = answer.content.decode()
    secret = re.search(r"ocs_[\w-]{43}", page)[0]
    row = OAuthClient.objects.get()
    assert is_secret_of(row, secret)
    assert secret not in row.secret_hash
    assert Client.objects.get().secret == "!"
    assert "no-store" in answer["Cache-Control"]
    assert secret not in client.get(reverse("accounts:oauth_client", args=[row.pk])).content.decode()
    assert AuditLog.objects.get(action="oauth_client.created").details["scopes"] == ["detect:read"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": ""}, "Give the program a name"),
        ({"scopes": []}, "Choose at least one scope"),
        ({"scopes": ["root"]}, "root"),
        ({"kind": "robot"}, "robot"),
        ({"redirect_uris": ""}, "at least one address"),
        ({"redirect_uris": "http://a.example.org/cb"}, "use https"),
        ({"redirect_uris": "https://a.example.org/cb#x"}, "no fragment"),
        ({"redirect_uris": "https://u:p@a.example.org/cb"}, "no fragment, user name"),
        ({"redirect_uris": "https://a.example.org;script-src/cb"}, "character"),
        ({"redirect_uris": "https://*.example.org/cb"}, "character"),
        ({"redirect_uris": "javascript:alert(1)"}, "character|use https"),
        ({"redirect_uris": "com.example.app:/cb"}, "use https"),
        ({"redirect_uris": "https://[::1/cb"}, "valid address"),
        ({"kind": "service"}, "no redirect address"),
        ({"kind": "service", "redirect_uris": "", "scopes": ["openid"]}, "cannot have openid"),
    ],
)
def test_wrong_input_is_told_in_a_sentence(client, administrator: User, changes: dict[str, Any], sentence: str):
    client.force_login(administrator)
    answer = client.post(reverse("accounts:oauth_client_new"), NEW | changes)
    assert answer.status_code == 400
    assert any(part in answer.content.decode() for part in sentence.split("|"))
    assert OAuthClient.objects.count() == 0


def test_an_app_may_have_a_scheme_of_its_own(client, administrator: User):
    client.force_login(administrator)
    body = NEW | {"kind": "native", "redirect_uris": "com.example.app:/cb\nhttp://127.0.0.1/cb"}
    page = client.post(reverse("accounts:oauth_client_new"), body).content.decode()
    assert "ocs_" not in page
    assert OAuthClient.objects.get().client.type == "public"


def test_change_rotate_switch_and_revoke(client, administrator: User, registration: OAuthClient, grant: OAuthGrant):
    client.force_login(administrator)
    there = addresses(registration, grant)
    assert "alice" in client.get(there["one"]).content.decode()
    body = {"name": "Renamed", "redirect_uris": "https://b.example.org/cb", "scopes": ["detect:write"]}
    assert client.post(there["one"], body).status_code == 302
    changed = Client.objects.get()
    assert (changed.name, changed.get_redirect_uris(), changed.get_scopes()) == (
        "Renamed",
        ["https://b.example.org/cb"],
        ["detect:write"],
    )
    assert client.post(there["one"], body | {"redirect_uris": "x"}).status_code == 400
    assert re.search(r"ocs_[\w-]{43}", client.post(there["rotate"], {"overlap_hours": 5}).content.decode())
    assert client.post(there["rotate"], {"overlap_hours": 900}).status_code == 400
    assert client.post(there["revoke"]).status_code == 302
    grant.refresh_from_db()
    assert grant.revoked_because == GrantEnd.ADMINISTRATOR
    assert client.post(there["switch"], {"to": "off"}).status_code == 302
    registration.refresh_from_db()
    assert not registration.is_active
    assert client.post(there["rotate"], {"overlap_hours": 0}).status_code == 409
    assert client.post(there["switch"], {"to": "on"}).status_code == 302
    registration.refresh_from_db()
    assert registration.is_active
    actions = set(AuditLog.objects.values_list("action", flat=True))
    assert {
        "oauth_client.changed", "oauth_client.secret_rotated", "oauth_client.disabled", "oauth_client.enabled",
        "oauth_grant.revoked",
    } <= actions  # fmt: skip


def test_only_those_who_manage_keys_get_in(
    client, alice: User, charlie: User, other_organization: Organization, registration: OAuthClient, grant: OAuthGrant
):
    there = addresses(registration, grant)
    foreign = factories.make_user(other_organization, "eve", "admin")
    for name, address in there.items():
        method = client.get if name in ("list", "new", "one") else client.post
        client.logout()
        assert method(address).status_code == 302, name
        client.force_login(alice)
        assert method(address).status_code == 403, name
        client.force_login(foreign)
        assert method(address).status_code == (200 if name in ("list", "new") else 404), name
        wrong = client.put(address)
        assert wrong.status_code == 405, name
    assert registration.name not in client.get(there["list"]).content.decode()


def test_the_list_asks_the_database_a_fixed_number_of_times(
    client, administrator: User, make_client: Any, django_assert_num_queries
):
    for number in range(4):
        make_client(name=f"Program {number}")
    make_client(ClientKind.SERVICE, name="Robot")
    client.force_login(administrator)
    with django_assert_num_queries(5):
        page = client.get(reverse("accounts:oauth_clients")).content.decode()
    assert "Program 3" in page
    assert "Robot" in page


def test_members_see_and_end_their_own_grants(client, alice: User, bob: User, vera: User, grant: OAuthGrant):
    listed, end = (
        reverse("accounts:connected_programs"),
        reverse("accounts:connected_program_disconnect", args=[grant.pk]),
    )
    assert client.get(listed).status_code == 302
    client.force_login(bob)
    assert "Newsroom tool" not in client.get(listed).content.decode()
    assert client.post(end).status_code == 404
    client.force_login(alice)
    assert "Newsroom tool" in client.get(listed).content.decode()
    assert client.get(end).status_code == 405
    assert client.post(listed).status_code == 405
    assert client.post(end).status_code == 302
    grant.refresh_from_db()
    assert grant.revoked_because == GrantEnd.MEMBER
    client.get(listed)  # the message that it ended
    assert "Newsroom tool" not in client.get(listed).content.decode()


def test_nobody_gives_a_program_what_they_do_not_hold(
    client, administrator: User, organization: Organization, vera: User, make_client: Any
):
    """The rule of API keys: neither by making a program, nor by changing one, nor by getting hold of its secret."""
    keeper = roles.create_role(
        organization=organization, name="Keeper of keys", permissions=[Permission.KEYS], actor=administrator
    )
    strong, _ = make_client(ClientKind.SERVICE, name="Strong")
    web, _ = make_client(name="Web")
    roles.set_role(member=vera, custom_role=keeper, actor=administrator)
    client.force_login(vera)
    new = reverse("accounts:oauth_client_new")
    for kind, uris in (("service", ""), ("web", "https://a.example.org/cb"), ("native", "https://a.example.org/cb")):
        for scope in ("detect:read", "kyc:read", "admin:read", "audit:read"):
            refused = client.post(new, NEW | {"kind": kind, "redirect_uris": uris, "scopes": [scope]})
            assert refused.status_code == 400, (kind, scope)
            assert "You do not hold" in refused.text
    assert OAuthClient.objects.count() == 2
    page = client.get(new).text
    assert "admin:write" in page
    assert "detect:read" not in page
    assert client.post(new, NEW | {"scopes": ["openid", "admin:write"]}).status_code == 200
    secret = OAuthClient.objects.get(pk=strong.pk).secret_hash
    assert (
        client.post(reverse("accounts:oauth_client_rotate", args=[strong.pk]), {"overlap_hours": 1}).status_code == 403
    )
    assert OAuthClient.objects.get(pk=strong.pk).secret_hash == secret
    one = reverse("accounts:oauth_client", args=[strong.pk])
    held = {"name": "Strong", "redirect_uris": "", "scopes": ["detect:read", "detect:write"]}
    assert client.post(one, held | {"scopes": ["detect:read", "review:read"]}).status_code == 400
    assert client.post(one, held | {"name": "Renamed", "scopes": ["detect:read"]}).status_code == 302
    switch = reverse("accounts:oauth_client_switch", args=[strong.pk])
    assert client.post(switch, {"to": "off"}).status_code == 302
    assert client.post(switch, {"to": "on"}).status_code == 403
    # The codes of members go to its redirect addresses.
    kept = {"name": "Web", "scopes": web.client.get_scopes(), "redirect_uris": "https://client.example.org/callback"}
    web_page = reverse("accounts:oauth_client", args=[web.pk])
    assert "detect:read" in client.get(web_page).text
    assert client.post(web_page, kept | {"redirect_uris": "https://mine.example.org/cb"}).status_code == 400
    assert client.post(web_page, kept | {"name": "Web 2"}).status_code == 302
    client.force_login(administrator)
    assert client.post(switch, {"to": "on"}).status_code == 302


def test_services_refuse_what_no_form_would_send(registration: OAuthClient, make_client: Any, administrator: User):
    app, _ = make_client(ClientKind.NATIVE, name="App")
    with pytest.raises(DomainError, match="no secret"):
        services.rotate_secret(registration=app, overlap_hours=0, actor=administrator)
    with pytest.raises(DomainError, match="At most 20"):
        make_client(redirect_uris=[f"https://a.example.org/{number}" for number in range(21)])


def test_housekeeping_forgets_what_has_expired(grant: OAuthGrant, alice: User):
    past = timezone.now() - timedelta(days=40)
    Token.objects.create(type="at", hash="1" * 64, client_id=grant.client_id, user=alice, expires_at=past)
    call_command("clear_oauth_tokens")
    assert Token.objects.count() == 0
    assert OAuthGrant.objects.count() == 1
    OAuthGrant.objects.update(last_used_at=past)
    call_command("clear_oauth_tokens")
    assert OAuthGrant.objects.count() == 0


def test_the_key_is_rotated_by_command(data_dir: Any, db: None):
    first = keys.all_keys()
    call_command("rotate_oauth_key", "--now")
    assert len(keys.all_keys()) == len(first) + 1
    assert AuditLog.objects.filter(action="oauth.key_rotated").exists()
    for path in keys.folder().glob("*.pem"):
        assert path.stat().st_mode & 0o077 == 0
