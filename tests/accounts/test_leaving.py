"""What remains when a member is switched off, one switch for passwords, rules for custom roles, set passwords."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.apps import apps
from django.test import Client
from django.urls import reverse

from accounts import jobs, members, roles, services, sign_in
from accounts.api_keys import create_api_key
from accounts.models import ApiKey, AuditLog, MemberSession, OAuthGrant, Organization, SignInRules, User
from accounts.oauth import services as oauth
from accounts.permissions import Permission
from deepfake.errors import DomainError
from tests.accounts.notices import send_moved_notices
from tests.factories import PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.services]
RULES = {"factors": "any", "grace_days": "0", "idle_minutes": "60", "session_hours": "8", "passwords_allowed": "on"}


def give_passkey(user: User) -> Authenticator:
    return Authenticator.objects.create(user=user, type=Authenticator.Type.WEBAUTHN, data={"name": "key"})


@pytest.fixture
def key(organization: Organization, alice: User) -> ApiKey:
    key, _ = create_api_key(organization=organization, scopes=["detect:read"], created_by=alice, name="hers")
    return key


@pytest.fixture
def grant(organization: Organization, alice: User, administrator: User) -> OAuthGrant:
    made = oauth.create_client(
        organization=organization, name="Desk", kind="native", scopes=["detect:read"], actor=administrator,
        redirect_uris=["http://localhost/callback"],
    )  # fmt: skip
    registration = made[0] if isinstance(made, tuple) else made
    return oauth.begin_grant(client=registration, user=alice, scopes=["detect:read"], code_hash="a" * 64)


# Switched off ---------------------------------------------------------------------------------------------------------


def test_programs_of_the_member_end_and_keys_are_told(
    alice: User, administrator: User, key: ApiKey, grant: OAuthGrant
) -> None:
    members.deactivate(member=alice, actor=administrator)
    grant.refresh_from_db()
    assert grant.revoked_at is not None
    assert AuditLog.objects.filter(action="oauth_grant.revoked").exists()
    key.refresh_from_db()
    assert key.revoked_at is None
    row = AuditLog.objects.get(action="user.deactivated")
    assert row.details["live_keys"] == [key.prefix]


def test_the_page_tells_of_the_keys_and_revokes_them(
    client: Client, alice: User, administrator: User, key: ApiKey
) -> None:
    client.force_login(administrator)
    page, address = reverse("accounts:member", args=[alice.pk]), reverse("accounts:member_revoke_keys", args=[alice.pk])
    assert address not in client.get(page).content.decode()
    members.deactivate(member=alice, actor=administrator)
    text = client.get(page).content.decode()
    assert key.prefix in text
    assert address in text
    assert "who is switched off" in client.get(reverse("accounts:api_keys")).content.decode()
    assert client.post(address).status_code == 302
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert key.prefix not in client.get(page).content.decode()
    assert AuditLog.objects.filter(action="api_key.revoked", actor=administrator).count() == 1


def test_who_may_not_revoke_them(client: Client, alice: User, bob: User, charlie: User, key: ApiKey) -> None:
    address = reverse("accounts:member_revoke_keys", args=[alice.pk])
    assert client.post(address).status_code == 302
    client.force_login(bob)
    assert client.post(address).status_code == 403
    charlie.role = "admin"
    charlie.save()
    client.force_login(charlie)
    assert client.post(address).status_code == 404
    assert client.get(address).status_code == 405
    key.refresh_from_db()
    assert key.revoked_at is None


# One switch -----------------------------------------------------------------------------------------------------------


def test_both_pages_show_and_set_the_same_switch(
    client: Client, administrator: User, organization: Organization
) -> None:
    client.force_login(administrator)
    refused = client.post(reverse("accounts:sso_passwords"), {"passwords": "off"}, follow=True)
    assert "yourself first" in refused.content.decode()
    assert sign_in.rules_of(organization.pk).passwords_allowed
    give_passkey(administrator)
    client.post(reverse("accounts:sso_passwords"), {"passwords": "off"})
    assert not sign_in.rules_of(organization.pk).passwords_allowed
    page = client.get(reverse("accounts:sign_in_rules")).content.decode()
    assert 'name="passwords_allowed" checked' not in page
    client.post(reverse("accounts:sign_in_rules"), RULES)
    assert "Members may sign in with a password" in client.get(reverse("accounts:sso")).content.decode()
    assert AuditLog.objects.filter(action="sign_in.rules_changed").count() == 2


def test_operators_keep_their_passwords(client: Client, alice: User, organization: Organization) -> None:
    SignInRules.objects.create(organization=organization, passwords_allowed=False)
    assert client.post("/accounts/login/", {"login": "alice", "password": PASSWORD}).status_code == 200
    User.objects.filter(pk=alice.pk).update(is_staff=True)
    assert client.post("/accounts/login/", {"login": "alice", "password": PASSWORD}).status_code == 302


def test_the_migration_carries_the_switch_over(organization: Organization) -> None:
    migration = import_module("accounts.migrations.0013_one_password_switch")

    class Policies:
        organization_id = organization.pk
        objects: Any = None

    Policies.objects = type("Rows", (), {"filter": lambda self, **kwargs: [Policies]})()
    fake = type("Apps", (), {"get_model": lambda self, app, name: Policies if name == "SsoPolicy" else SignInRules})()
    migration.into_rules(fake, None)
    assert SignInRules.objects.get(organization=organization).passwords_allowed is False
    assert "ssopolicy" not in apps.all_models["accounts"]


# Custom roles ---------------------------------------------------------------------------------------------------------


def test_a_second_factor_is_asked_of_a_custom_role(
    client: Client, alice: User, administrator: User, organization: Organization
) -> None:
    role = roles.create_role(
        organization=organization, name="Night desk", permissions=[Permission.VIEW], actor=administrator
    )
    roles.set_role(member=alice, custom_role=role, actor=administrator)
    client.force_login(administrator)
    page = client.get(reverse("accounts:sign_in_rules")).content.decode()
    assert "Night desk" in page
    counted = {row["words"]: row["members"] for row in sign_in.members_by_role(organization)}
    assert (counted["Night desk"], counted["Viewer"]) == (1, 0)
    client.post(reverse("accounts:sign_in_rules"), RULES | {"required_roles": ["viewer"]})
    alice.refresh_from_db()
    assert not sign_in.is_required(alice, sign_in.rules_of(organization.pk))  # a custom role is not the least one
    answer = client.post(reverse("accounts:sign_in_rules"), RULES | {"required_roles": [str(role.pk)]})
    assert answer.status_code == 302
    assert sign_in.is_required(alice, sign_in.rules_of(organization.pk))


def test_a_custom_role_of_another_organisation_is_refused(
    client: Client, administrator: User, charlie: User, other_organization: Organization
) -> None:
    charlie.role = "admin"
    charlie.save()
    foreign = roles.create_role(
        organization=other_organization, name="Theirs", permissions=[Permission.VIEW], actor=charlie
    )
    client.force_login(administrator)
    answer = client.post(reverse("accounts:sign_in_rules"), RULES | {"required_roles": [str(foreign.pk)]})
    assert answer.status_code == 400
    wish = {"required_roles": [str(foreign.pk)], "passwords_allowed": True, "factors": "any"}
    with pytest.raises(DomainError):
        sign_in.change_rules(organization=administrator.organization, actor=administrator, wish=wish)


# Passwords set by others ----------------------------------------------------------------------------------------------


@pytest.fixture
def notices(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    asked: list[Any] = []
    monkeypatch.setattr(services, "async_task", lambda name, pk, **more: asked.append((name, pk)))
    return asked


def test_a_password_set_by_somebody_else_is_told(
    alice: User, administrator: User, notices: list[Any], mailoutbox: Any
) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    alice.refresh_from_db()
    services.set_password(user=alice, password="green lamp under water 4", actor=alice)
    assert notices == []
    services.set_password(user=alice, password="green lamp under water 5", actor=administrator)
    assert notices == [("accounts.jobs.send_password_notice", alice.pk)]
    jobs.send_password_notice(alice.pk)
    assert mailoutbox[0].to == ["alice@example.org"]
    assert "/accounts/password/reset/" in mailoutbox[0].body


def test_a_password_set_in_the_back_office_is_recorded_and_ends_sessions(
    client: Client, alice: User, notices: list[Any]
) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    hers = Client()
    hers.force_login(alice)
    root = User.objects.create_superuser("root", password="not needed here")
    client.force_login(root)
    address = f"/admin/accounts/user/{alice.pk}/password/"
    wrong = {"password1": "green lamp under water 4", "password2": "other", "usable_password": "true"}
    assert client.post(address, wrong).status_code == 200
    assert not AuditLog.objects.filter(action="user.password_set").exists()
    right = wrong | {"password2": "green lamp under water 4"}
    assert client.post(address, right).status_code == 302
    row = AuditLog.objects.get(action="user.password_set")
    assert (row.actor, row.target_id) == (root, str(alice.pk))
    assert not MemberSession.objects.filter(user=alice).exists()
    assert notices == [("accounts.jobs.send_password_notice", alice.pk)]


def test_an_address_changed_in_the_back_office_is_told_to_the_old_one(
    client: Client, alice: User, mailoutbox: Any
) -> None:
    client.force_login(User.objects.create_superuser("root", password="not needed here"))
    address = f"/admin/accounts/user/{alice.pk}/change/"
    form = client.get(address).context["adminform"].form
    sent = {name: value for name in form.fields if (value := form.get_initial_for_field(form.fields[name], name))}
    joined = sent.pop("date_joined")
    sent |= {"date_joined_0": joined.date(), "date_joined_1": joined.time().replace(microsecond=0)}
    assert client.post(address, sent | {"first_name": "Alice"}).status_code == 302
    send_moved_notices()
    assert mailoutbox == []
    assert client.post(address, sent | {"email": "new@example.org"}).status_code == 302
    send_moved_notices()
    assert [mail.to for mail in mailoutbox] == [["alice@example.org"]]


def test_the_hub_of_settings_is_read_only(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert client.post(reverse("accounts:settings")).status_code == 405
