"""Sign-in through an OpenID provider: whom it lets in, whom it links, whom it makes, and whom it never touches."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import pytest
from allauth.socialaccount.models import SocialAccount
from django.core.management import call_command
from django.test import Client
from django.urls import reverse

from accounts import sign_in
from accounts.models import AuditLog, EmailDomain, Role, SsoConnection, User
from accounts.sso import services
from deepfake.errors import DomainError
from tests import factories
from tests.accounts.sso.conftest import DEFAULTS, ISSUER, Provider, begin, come_back


@pytest.fixture
def alice(alice: User) -> User:
    alice.email = "alice@example.org"
    alice.save()
    return alice


def signed_in_as(client: Any) -> str:
    pk = client.session.get("_auth_user_id")
    return User.objects.get(pk=pk).username if pk else ""


def test_a_member_is_linked_by_a_proved_address_and_comes_back_by_the_link(
    client, make_oidc: Any, domain: EmailDomain, alice: User, provider: Provider
):
    connection = make_oidc()
    answer = come_back(client, connection)
    assert answer.status_code == 302, answer.content
    assert answer["Location"] == "/"
    assert signed_in_as(client) == "alice"
    link = SocialAccount.objects.get()
    assert (link.provider, link.uid, link.user) == (connection.provider_id, "person-1", alice)
    actions = list(AuditLog.objects.values_list("action", flat=True))
    assert "sso.linked" in actions
    assert "auth.signed_in" in actions
    client.logout()
    provider.userinfo = {"email": "new-name@elsewhere.example", "email_verified": False}  # the link counts from now on
    come_back(client, connection)
    assert signed_in_as(client) == "alice"
    connection.refresh_from_db()
    assert connection.last_used_at is not None


def test_the_request_to_the_provider_carries_pkce_and_state(client, make_oidc: Any, domain: Any, provider: Provider):
    connection = make_oidc()
    sent = begin(client, connection, next="/dashboard/")
    assert sent["code_challenge_method"] == "S256"
    assert sent["state"]
    assert sent["redirect_uri"] == f"http://testserver/accounts/oidc/{connection.provider_id}/login/callback/"
    factories.make_user(connection.organization, "alice")
    answer = client.get(
        f"/accounts/oidc/{connection.provider_id}/login/callback/", {"code": "c", "state": sent["state"]}
    )
    assert answer["Location"] == "/dashboard/"
    body = parse_qs(next(body for url, body in provider.asked if url.endswith("/token") and body).decode())
    assert body["code_verifier"]
    assert body["client_secret"] == ["geheim"]


def test_the_provider_is_told_our_name_whatever_host_was_asked(
    client, make_oidc: Any, domain: Any, provider: Provider, settings: Any
):
    connection = make_oidc()
    settings.PUBLIC_URL, settings.ALLOWED_HOSTS = "https://detect.example.org", ["127.0.0.1"]
    client.defaults["HTTP_HOST"] = "127.0.0.1:4444"
    address = f"https://detect.example.org/accounts/oidc/{connection.provider_id}/login/callback/"
    sent = begin(client, connection)
    assert sent["redirect_uri"] == address
    client.get(f"/accounts/oidc/{connection.provider_id}/login/callback/", {"code": "c", "state": sent["state"]})
    body = parse_qs(next(body for url, body in provider.asked if url.endswith("/token") and body).decode())
    assert body["redirect_uri"] == [address]


@pytest.mark.parametrize("wanted", ["https://evil.example/", "//evil.example/", "javascript:alert(1)"])
def test_the_way_on_stays_on_this_site(client, make_oidc: Any, domain: Any, alice: User, wanted: str):
    connection = make_oidc()
    sent = begin(client, connection, next=wanted)
    answer = client.get(
        f"/accounts/oidc/{connection.provider_id}/login/callback/", {"code": "c", "state": sent["state"]}
    )
    assert answer["Location"] == "/"


@pytest.mark.parametrize(
    ("userinfo", "sentence"),
    [
        ({"email_verified": False}, "does not say that your e-mail address is verified"),
        ({"email_verified": None}, "does not say that your e-mail address is verified"),
        ({"email_verified": "false"}, "does not say that your e-mail address is verified"),
        ({"email": "alice@else.example"}, "not among the verified domains"),
        ({"email": ""}, "named no e-mail address"),
        ({"email": "nobody@example.org"}, "no member of Example Newsroom yet"),
    ],
)
def test_who_is_not_linked(client, make_oidc: Any, domain: Any, alice: User, provider: Provider, userinfo, sentence):
    provider.userinfo = userinfo
    answer = come_back(client, make_oidc())
    assert answer.status_code == 403
    assert sentence in answer.content.decode()
    assert signed_in_as(client) == ""
    assert SocialAccount.objects.count() == 0
    assert AuditLog.objects.filter(action="sso.refused").count() == 1


def test_a_provider_that_vouches_need_not_say_verified_but_may_not_deny_it(
    client, make_oidc: Any, domain: Any, alice: User, provider: Provider
):
    connection = make_oidc(vouches_for_emails=True)
    provider.userinfo = {"email_verified": False}
    assert come_back(client, connection).status_code == 403
    provider.userinfo = {"email_verified": None}
    come_back(client, connection)
    assert signed_in_as(client) == "alice"


def test_an_unverified_domain_counts_for_nothing(client, make_oidc: Any, organization: Any, alice: User):
    EmailDomain.objects.create(organization=organization, domain="example.org")
    assert come_back(client, make_oidc(makes_members=True)).status_code == 403


def test_a_member_of_another_organisation_is_never_taken_over(
    client, make_oidc: Any, domain: Any, charlie: User, provider: Provider
):
    charlie.email = "charlie@example.org"
    charlie.save()
    provider.userinfo = {"email": "charlie@example.org"}
    answer = come_back(client, make_oidc(makes_members=True, vouches_for_emails=True))
    assert answer.status_code == 403
    assert "cannot be linked" in answer.content.decode()
    assert signed_in_as(client) == ""
    assert User.objects.filter(email="charlie@example.org").count() == 1


def test_operators_are_not_linked(client, make_oidc: Any, domain: Any, alice: User):
    alice.is_superuser = True
    alice.save()
    answer = come_back(client, make_oidc())
    assert answer.status_code == 403
    assert "Operators" in answer.content.decode()
    assert not SocialAccount.objects.exists()
    assert not AuditLog.objects.filter(action="sso.linked").exists()


@pytest.mark.parametrize("change", ["moved", "inactive", "operator"])
def test_a_link_ends_when_the_member_moves_is_switched_off_or_becomes_an_operator(
    client, make_oidc: Any, domain: Any, alice: User, other_organization: Any, change: str
):
    """Whoever holds an organisation's identity provider must not come in as the installation's operator."""
    connection = make_oidc()
    come_back(client, connection)
    client.logout()
    changes = {"moved": {"organization": other_organization}, "inactive": {"is_active": False}}
    User.objects.filter(pk=alice.pk).update(**changes.get(change, {"is_staff": True}))
    assert come_back(client, connection).status_code == 403
    assert signed_in_as(client) == ""


def test_the_same_subject_at_another_organisations_provider_is_somebody_else(
    client, make_oidc: Any, domain: Any, alice: User, other_organization: Any, administrator: User
):
    come_back(client, make_oidc())
    client.logout()
    theirs = make_oidc(organization=other_organization, makes_members=True)
    answer = come_back(client, theirs)  # the same sub and the same e-mail address
    assert answer.status_code == 403
    assert signed_in_as(client) == ""


def test_members_are_made_with_a_role_by_group(client, make_oidc: Any, domain: Any, provider: Provider):
    connection = make_oidc(
        makes_members=True, default_role="viewer", group_roles=[["leads", "reviewer"], ["desk", "analyst"]]
    )
    provider.userinfo = {
        "email": "nina@example.org",
        "preferred_username": "nina",
        "given_name": "Nina",
        "groups": ["desk"],
    }
    come_back(client, connection)
    nina = User.objects.get(username="nina")
    assert (nina.role, nina.organization, nina.email) == ("analyst", connection.organization, "nina@example.org")
    assert not nina.has_usable_password()
    assert signed_in_as(client) == "nina"
    client.logout()
    provider.userinfo |= {"groups": ["desk", "leads"]}
    come_back(client, connection)
    nina.refresh_from_db()
    assert nina.role == "reviewer"
    assert AuditLog.objects.filter(action="user.role_changed", target_id=str(nina.pk)).count() == 1
    provider.userinfo |= {"groups": []}
    come_back(client, connection)
    nina.refresh_from_db()
    assert nina.role == "reviewer"


def test_a_taken_user_name_gets_a_number(client, make_oidc: Any, domain: Any, bob: User, provider: Provider):
    provider.userinfo = {"email": "b@example.org", "preferred_username": "Bob"}
    come_back(client, make_oidc(makes_members=True))
    assert User.objects.get(email="b@example.org").username == "Bob2"


def test_the_last_administrator_keeps_the_role(client, make_oidc: Any, domain: Any, administrator: User, provider: Any):
    User.objects.filter(pk=administrator.pk).update(email="alice@example.org")
    provider.userinfo = {"groups": ["desk"]}
    come_back(client, make_oidc(group_roles=[["desk", "viewer"]]))
    administrator.refresh_from_db()
    assert administrator.role == Role.ADMIN
    assert signed_in_as(client) == "ada"


@pytest.mark.parametrize(
    "id_token",
    [
        {"iss": "https://else.example"},
        {"aud": "another-client"},
        {"exp": 1},
        {"sub": "person-2"},
    ],
)
def test_id_tokens_of_others_are_refused(
    client, make_oidc: Any, domain: Any, alice: User, provider: Provider, id_token
):
    provider.id_token = id_token
    assert come_back(client, make_oidc()).status_code == 403
    assert signed_in_as(client) == ""


def test_foreign_and_missing_states_are_refused(client, make_oidc: Any, domain: Any, alice: User):
    connection = make_oidc()
    assert come_back(client, connection, state="x").status_code == 403
    assert come_back(client, connection, state="").status_code == 403
    state = begin(Client(), connection)["state"]  # of another browser
    address = f"/accounts/oidc/{connection.provider_id}/login/callback/"
    assert client.get(address, {"code": "c", "state": state}).status_code == 403
    assert signed_in_as(client) == ""


def test_a_provider_that_answers_nonsense_gets_a_page(client, make_oidc: Any, domain: Any, provider: Provider):
    connection = make_oidc()
    state = begin(client, connection)["state"]
    address = f"/accounts/oidc/{connection.provider_id}/login/callback/"
    provider.discovery = {"issuer": ISSUER}
    answer = client.get(address, {"code": "c", "state": state})
    assert answer.status_code == 403
    assert "could not be accepted" in answer.content.decode()
    assert client.get(f"/accounts/organization/{connection.provider_id}/").status_code == 403
    provider.discovery = []  # type: ignore[assignment]
    assert client.get(f"/accounts/organization/{connection.provider_id}/").status_code == 403


def test_a_connection_that_is_off_or_unknown_is_not_there(client, make_oidc: Any):
    connection = make_oidc(is_enabled=False)
    for address in (
        f"/accounts/organization/{connection.provider_id}/",
        f"/accounts/oidc/{connection.provider_id}/login/",
        f"/accounts/oidc/{connection.provider_id}/login/callback/",
        "/accounts/organization/sso-nothing/",
        f"/accounts/saml/{connection.id.hex}/login/",
        f"/accounts/saml/{connection.id.hex}/sls/",
    ):
        assert client.get(address).status_code == 404, address


def test_nobody_links_from_inside_an_account(client, make_oidc: Any, domain: Any, alice: User, bob: User):
    connection = make_oidc()
    client.force_login(bob)
    answer = client.get(f"/accounts/oidc/{connection.provider_id}/login/?process=connect")
    assert answer.status_code == 302
    assert SocialAccount.objects.filter(user=bob).count() == 0


# Setting up -----------------------------------------------------------------------------------------------------------


def test_the_secret_is_sealed_and_kept_when_none_is_given(make_oidc: Any, administrator: User, provider: Provider):
    row = make_oidc()
    assert b"geheim" not in bytes(row.sealed_secret)
    kept = bytes(row.sealed_secret)
    again = make_oidc(connection=row, client_secret="", name="Renamed")
    assert bytes(SsoConnection.objects.get().sealed_secret) == kept
    assert again.name == "Renamed"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"issuer": "https://login.example.net/other"}, "url_failed|sso_discovery"),
        ({"client_secret": ""}, "invalid"),
        ({"default_role": "king"}, "invalid"),
        ({"group_roles": [["a", "king"]]}, "invalid"),
    ],
)
def test_wrong_connections_are_told(make_oidc: Any, changes: dict[str, Any], code: str):
    with pytest.raises(DomainError) as refused:
        make_oidc(**changes)
    assert refused.value.code in code.split("|")
    assert SsoConnection.objects.count() == 0


@pytest.mark.parametrize(
    "discovery", [{"issuer": "https://else.example"}, {"token_endpoint": "http://plain.example"}, {"jwks_uri": None}]
)
def test_a_provider_that_calls_itself_otherwise_is_refused(make_oidc: Any, provider: Provider, discovery: dict):
    provider.discovery = {name: value for name, value in (provider.discovery | discovery).items() if value}
    with pytest.raises(DomainError):
        make_oidc()


def test_inner_addresses_are_not_asked(organization: Any, administrator: User):
    for issuer in ("http://127.0.0.1:9", "http://169.254.169.254", "file:///etc/passwd", "https://localhost"):
        with pytest.raises(DomainError):
            services.save_connection(
                organization=organization,
                actor=administrator,
                **DEFAULTS | {"kind": "oidc", "issuer": issuer, "client_id": "c", "client_secret": "s"},
            )


# Finding it -----------------------------------------------------------------------------------------------------------


def test_the_organisation_is_found_by_name_and_by_address(client, make_oidc: Any, domain: EmailDomain):
    connection = make_oidc()
    address = reverse("sso_find")
    link = reverse("sso_start", args=[connection.provider_id])
    for text in ("example", "EXAMPLE", "someone@example.org", "example.org"):
        assert link in client.get(address, {"organization": text}).content.decode(), text
    for text in ("else", "someone@else.example", "@", "."):
        page = client.get(address, {"organization": text}).content.decode()
        assert link not in page
        assert "No single sign-on" in page
    domain.verified_at = None
    domain.save()
    assert link not in client.get(address, {"organization": "someone@example.org"}).content.decode()
    assert reverse("sso_find") in client.get(reverse("account_login")).content.decode()
    assert "Example login" not in client.get(reverse("account_login")).content.decode()


def test_the_page_takes_the_way_on_along(client, make_oidc: Any):
    make_oidc()
    page = client.get(reverse("account_login"), {"next": "/dashboard/"}).content.decode()
    assert f"{reverse('sso_find')}?next=/dashboard/" in page
    page = client.get(reverse("sso_find"), {"organization": "example", "next": "/dashboard/"}).content.decode()
    assert "?next=/dashboard/" in page
    assert client.post(reverse("sso_find")).status_code == 405


# Passwords off --------------------------------------------------------------------------------------------------------


def test_passwords_can_be_switched_off_by_who_has_come_in_through_sso(
    client, make_oidc: Any, domain: Any, alice: User, administrator: User, provider: Provider
):
    connection = make_oidc()
    with pytest.raises(DomainError, match="yourself first"):
        sign_in.allow_passwords(organization=connection.organization, is_allowed=False, actor=administrator)
    User.objects.filter(pk=administrator.pk).update(email="ada@example.org")
    provider.userinfo = {"email": "ada@example.org", "sub": "person-ada"}
    come_back(client, connection)
    sign_in.allow_passwords(organization=connection.organization, is_allowed=False, actor=administrator)
    client.logout()
    fields = {"login": "alice", "password": factories.PASSWORD}
    answer = client.post(reverse("account_login"), fields)
    assert "Use single sign-on or a passkey" in answer.content.decode()
    assert signed_in_as(client) == ""
    provider.userinfo = {}
    come_back(client, connection)
    assert signed_in_as(client) == "alice"
    with pytest.raises(DomainError, match="only way in"):
        services.remove_connection(connection=connection, actor=administrator)
    call_command("sso", "example", "--passwords-on")
    client.logout()
    client.post(reverse("account_login"), fields)
    assert signed_in_as(client) == "alice"
    services.remove_connection(connection=connection, actor=administrator)
    assert SocialAccount.objects.count() == 0
    assert User.objects.filter(username="alice").exists()


# Domains --------------------------------------------------------------------------------------------------------------


def test_a_domain_is_verified_by_its_web_server(organization: Any, other_organization: Any, administrator, monkeypatch):
    row = services.add_domain(organization=organization, domain="@News.Example.org.", actor=administrator)
    assert row.domain == "news.example.org"
    found = {"text": b"something else"}
    monkeypatch.setattr("accounts.sso.outgoing.read", lambda url, **options: found["text"])
    with pytest.raises(DomainError, match="does not hold"):
        services.verify_domain(domain=row, actor=administrator)
    found["text"] = f"a\n{row.token}\n".encode()
    services.verify_domain(domain=row, actor=administrator)
    row.refresh_from_db()
    assert row.verified_at is not None
    theirs = services.add_domain(organization=other_organization, domain="news.example.org", actor=administrator)
    found["text"] = theirs.token.encode()
    with pytest.raises(DomainError, match="another organisation"):
        services.verify_domain(domain=theirs, actor=administrator)


@pytest.mark.parametrize("text", ["", "org", "-a.org", "a b.org", "a..org", "http://a.org", "a.org/x", "ä.org"])
def test_what_is_no_domain(organization: Any, administrator: User, text: str):
    with pytest.raises(DomainError, match="such as"):
        services.add_domain(organization=organization, domain=text, actor=administrator)
