"""Rules of an organisation: who needs a second factor, how long sessions last, whether passwords are let in."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import roles, sign_in
from accounts.models import AuditLog, Organization, Role, SignInRules, User
from accounts.permissions import Permission
from tests import factories
from tests.factories import PASSWORD

pytestmark = pytest.mark.django_db

SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
FORM = {"factors": "any", "grace_days": "0", "idle_minutes": "60", "session_hours": "8", "passwords_allowed": "on"}


def give_app(user: User) -> Authenticator:
    row: Authenticator = TOTP.activate(user, SECRET).instance
    return row


def give_passkey(user: User) -> Authenticator:
    return Authenticator.objects.create(
        user=user, type=Authenticator.Type.WEBAUTHN, data={"name": "Key", "credential": {}}
    )


def code(ahead: int = 0) -> str:
    return format_hotp_value(hotp_value(SECRET, int(time.time()) // 30 + ahead))


def ask(organization: Organization, **values: Any) -> None:
    cache.clear()
    SignInRules.objects.update_or_create(
        organization=organization, defaults={"required_roles": ["analyst"], "required_since": timezone.now(), **values}
    )


def password_step(login: str) -> Client:
    client = Client()
    client.post("/accounts/login/", {"login": login, "password": PASSWORD})
    return client


def second_step(client: Client, text: str) -> Any:
    return client.post("/accounts/2fa/authenticate/", {"code": text})


def is_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


# The page -------------------------------------------------------------------------------------------------------------


def test_page_shows_roles_and_saves(administrator: User, alice: User, client: Client) -> None:
    give_app(alice)
    client.force_login(administrator)
    page = client.get(reverse("accounts:sign_in_rules"))
    assert page.status_code == 200
    assert "Data scientist" in page.text
    answer = client.post(reverse("accounts:sign_in_rules"), {**FORM, "required_roles": ["viewer", "analyst"]})
    assert answer.status_code == 302
    rules = sign_in.rules_of(administrator.organization_id)
    assert (rules.required_roles, rules.idle_minutes, rules.session_hours) == (["viewer", "analyst"], 60, 8)
    row = AuditLog.objects.get(action="sign_in.rules_changed")
    assert row.details["before"]["idle_minutes"] == 240
    assert row.details["after"]["idle_minutes"] == 60
    client.post(reverse("accounts:sign_in_rules"), {**FORM, "required_roles": ["viewer", "analyst"]})
    assert AuditLog.objects.filter(action="sign_in.rules_changed").count() == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"idle_minutes": "2"}, "greater than or equal to 5"),
        ({"idle_minutes": "600", "session_hours": "8"}, "cannot last longer"),
        ({"session_hours": "1000"}, "less than or equal to 168"),
        ({"grace_days": "-1"}, "greater than or equal to 0"),
        ({"required_roles": ["emperor"]}, "not one of the available choices"),
        ({"factors": "carrier pigeon"}, "Nothing was saved"),
    ],
)
def test_nonsense_is_refused(administrator: User, client: Client, change: dict[str, Any], words: str) -> None:
    client.force_login(administrator)
    answer = client.post(reverse("accounts:sign_in_rules"), FORM | change)
    assert answer.status_code == 400
    assert words in answer.text
    assert not SignInRules.objects.exists()


def test_page_is_for_administrators(client: Client, alice: User) -> None:
    address = reverse("accounts:sign_in_rules")
    assert client.get(address).status_code == 302
    client.force_login(alice)
    assert client.get(address).status_code == 403
    assert client.post(address, FORM).status_code == 403
    assert client.put(address).status_code == 405


def test_rules_are_each_organisations_own(administrator: User, charlie: User, client: Client) -> None:
    client.force_login(administrator)
    client.post(reverse("accounts:sign_in_rules"), {**FORM, "required_roles": ["analyst"]})
    client.force_login(charlie)
    assert client.get("/").status_code == 200


# A second factor that is asked for ------------------------------------------------------------------------------------


def test_member_is_led_to_set_up(client: Client, alice: User, bob: User, organization: Organization) -> None:
    ask(organization)
    client.force_login(alice)
    answer = client.get("/dashboard/?period=30")
    assert answer.status_code == 302
    assert answer["Location"] == "/settings/security/second-factor/?next=%2Fdashboard%2F%3Fperiod%3D30"
    assert client.post("/settings/thresholds/new/").status_code == 302
    assert client.get(reverse("accounts:second_factor")).status_code == 200
    for allowed in ("/accounts/2fa/totp/activate/", "/accounts/2fa/webauthn/add/", "/accounts/logout/"):
        assert client.get(allowed).status_code == 200, allowed
    refused = client.get("/v1/jobs")
    assert (refused.status_code, refused.json()["code"]) == (403, "second_factor_required")
    give_app(alice)
    assert client.get("/dashboard/").status_code == 200
    assert client.get("/settings/security/second-factor/?next=/dashboard/")["Location"] == "/dashboard/"
    assert (
        client.get("/settings/security/second-factor/?next=https://evil.example/")["Location"] == "/settings/security/"
    )
    client.force_login(bob)
    assert client.get("/dashboard/").status_code == 200


def test_keys_of_programs_go_on(
    client: Client, alice: User, organization: Organization, bearer: dict[str, str]
) -> None:
    ask(organization)
    client.force_login(alice)
    assert client.get("/v1/jobs", headers=bearer).status_code == 200


def test_an_app_is_not_enough_where_passkeys_are_asked(client: Client, alice: User, organization: Organization) -> None:
    ask(organization, factors="passkey")
    give_app(alice)
    client.force_login(alice)
    assert client.get("/").status_code == 302
    assert "Authenticator app" not in client.get(reverse("accounts:second_factor")).text
    give_passkey(alice)
    assert client.get("/").status_code == 200


def test_days_of_grace(client: Client, alice: User, organization: Organization) -> None:
    ask(organization, grace_days=7)
    client = password_step("alice")
    page = client.get("/", follow=True)
    assert page.status_code == 200
    assert "asks you to add a second factor by" in page.text
    User.objects.filter(pk=alice.pk).update(date_joined=timezone.now() - timedelta(days=30))
    ask(organization, grace_days=7, required_since=timezone.now() - timedelta(days=8))
    alice.refresh_from_db()
    assert sign_in.needs_second_factor(alice, SignInRules.objects.get())


def test_last_factor_cannot_be_removed(client: Client, alice: User, organization: Organization) -> None:
    ask(organization)
    row = give_app(alice)
    client.force_login(alice)
    assert "Add another one before" in client.post("/accounts/2fa/totp/deactivate/").text
    assert Authenticator.objects.filter(pk=row.pk).exists()
    key = give_passkey(alice)
    assert sign_in.may_lose(row)
    assert sign_in.may_lose(key)
    row.delete()
    client.post(f"/accounts/2fa/webauthn/keys/{key.pk}/remove/")
    assert Authenticator.objects.filter(pk=key.pk).exists()


def test_removing_is_mailed_and_recorded(client: Client, alice: User, bob: User, mailoutbox: Any) -> None:
    key = give_passkey(alice)
    client.force_login(bob)
    assert client.post(f"/accounts/2fa/webauthn/keys/{key.pk}/remove/").status_code == 404
    client.force_login(alice)
    assert client.get(f"/accounts/2fa/webauthn/keys/{key.pk}/remove/").status_code == 200
    client.post(f"/accounts/2fa/webauthn/keys/{key.pk}/remove/")
    assert not Authenticator.objects.filter(pk=key.pk).exists()
    assert [mail.subject for mail in mailoutbox] == ["A passkey of your account was removed"]
    assert AuditLog.objects.filter(action="auth.factor_removed", actor=alice).exists()


# Codes ----------------------------------------------------------------------------------------------------------------


def test_secret_is_sealed(alice: User) -> None:
    row = give_app(alice)
    assert SECRET not in str(row.data)


def test_code_works_once(alice: User) -> None:
    give_app(alice)
    client = password_step("alice")
    assert not is_in(client)
    used = code()  # asked for anew, it would be another one where half a minute ends
    answer = second_step(client, used)
    assert answer.status_code == 302
    assert is_in(client)
    assert AuditLog.objects.get(action="auth.signed_in").details["by"] == ["password", "totp"]
    again = password_step("alice")
    cache.clear()  # the library's own memory of codes is shorter than a code is good for
    assert "used already" in second_step(again, used).text
    assert not is_in(again)


def test_wrong_codes_make_wait_and_are_recorded(alice: User) -> None:
    give_app(alice)
    client = password_step("alice")
    for _ in range(5):
        assert "wrong or has run out" in second_step(client, "000000").text
    assert "Too many failed attempts" in second_step(client, code()).text
    assert not is_in(client)
    assert AuditLog.objects.filter(action="auth.factor_refused", actor=alice).count() == 5


def test_recovery_code_works_once_is_recorded_and_mailed(alice: User, mailoutbox: Any) -> None:
    give_app(alice)
    text = RecoveryCodes.activate(alice).generate_codes()[0]
    client = password_step("alice")
    assert second_step(client, text).status_code == 302
    assert is_in(client)
    assert AuditLog.objects.get(action="auth.recovery_code_used").details == {"left": 9}
    assert "A recovery code of your account was used" in [mail.subject for mail in mailoutbox]
    again = password_step("alice")
    second_step(again, text)
    assert not is_in(again)


def test_app_is_refused_where_a_passkey_is_there_and_asked(alice: User, organization: Organization) -> None:
    ask(organization, factors="passkey")
    give_app(alice)
    client = password_step("alice")
    give_passkey(alice)
    with pytest.MonkeyPatch.context() as patch:
        # The passkey of this test has no key material for the page to offer.
        patch.setattr("allauth.mfa.webauthn.internal.auth.get_credentials", lambda user: [])
        assert "asks for a passkey" in second_step(client, code()).text
    assert not is_in(client)


def test_forged_passkey_is_refused_and_recorded(client: Client, alice: User) -> None:
    client.get("/accounts/2fa/webauthn/login/", headers={"Accept": "application/json"})
    for forged in ("{}", "[]", '{"id": "x", "rawId": "eA", "type": "public-key", "response": {}}', "no json"):
        answer = client.post("/accounts/2fa/webauthn/login/", {"credential": forged})
        assert answer.status_code == 302
        assert not is_in(client)
    assert AuditLog.objects.filter(action="auth.factor_refused").exists()


# Passwords turned off -------------------------------------------------------------------------------------------------


def test_passwords_can_be_turned_off_by_whoever_has_a_passkey(administrator: User, alice: User, client: Client) -> None:
    client.force_login(administrator)
    wish = {name: value for name, value in FORM.items() if name != "passwords_allowed"}
    assert "Add a passkey to your own account first" in client.post(reverse("accounts:sign_in_rules"), wish).text
    key = give_passkey(administrator)
    assert client.post(reverse("accounts:sign_in_rules"), wish).status_code == 302
    assert not sign_in.may_lose(key)
    refused = Client().post("/accounts/login/", {"login": "alice", "password": PASSWORD})
    assert "does not let its members sign in with a password" in refused.text
    wrong = Client().post("/accounts/login/", {"login": "alice", "password": "wrong"})
    assert "does not let" not in wrong.text


def test_setting_up_needs_a_fresh_sign_in(client: Client, alice: User) -> None:
    client.force_login(alice)
    assert client.get("/accounts/2fa/totp/activate/").status_code == 200
    session = client.session
    session["device"] = session["device"] | {"started": (timezone.now() - timedelta(minutes=6)).isoformat()}
    session.save()
    answer = client.get("/accounts/2fa/totp/activate/")
    assert answer.status_code == 302
    assert "/accounts/reauthenticate/" in answer["Location"]


def test_lost_factors_are_removed_by_an_administrator(
    administrator: User, alice: User, charlie: User, client: Client, mailoutbox: Any
) -> None:
    for member in (alice, charlie, administrator):
        give_app(member)
    hers = Client()
    hers.force_login(alice)
    address = reverse("accounts:reset_factors")
    assert client.post(address, {"member": alice.pk}).status_code == 302
    assert hers.post(address, {"member": alice.pk}).status_code == 403
    client.force_login(administrator)
    assert client.get(address).status_code == 405
    for nobody in (charlie.pk, "x", 999_999):
        assert client.post(address, {"member": nobody}).status_code == 404
    assert client.post(address, {"member": ""}).status_code == 400
    assert client.post(address, {"member": administrator.pk}).status_code == 409
    assert f'<option value="{alice.pk}">' in client.get(reverse("accounts:sign_in_rules")).text
    assert client.post(address, {"member": alice.pk}).status_code == 302
    assert set(Authenticator.objects.values_list("user__username", flat=True)) == {"ada", "charlie"}
    assert hers.get(reverse("accounts:security")).status_code == 302
    row = AuditLog.objects.get(action="auth.factors_reset")
    assert (row.actor, row.target_id) == (administrator, str(alice.pk))
    assert [mail.to for mail in mailoutbox] == [["alice@example.org"]]
    assert client.post(address, {"member": alice.pk}).status_code == 400


def test_factors_are_removed_by_whoever_may_do_as_much(
    administrator: User, alice: User, vera: User, organization: Organization, client: Client
) -> None:
    """Whoever sets the rules of sign-in reaches nobody who may do more, nor an operator of the installation."""
    keeper = roles.create_role(
        organization=organization,
        name="Keeper of doors",
        permissions=[Permission.SIGN_IN, Permission.VIEW],
        actor=administrator,
    )
    roles.set_role(member=vera, custom_role=keeper, actor=administrator)
    low, operator = (factories.make_user(organization, name, Role.VIEWER) for name in ("low", "root"))
    User.objects.filter(pk=operator.pk).update(is_superuser=True)
    for member in (administrator, alice, low, operator):
        give_app(member)
    client.force_login(vera)
    page = client.get(reverse("accounts:sign_in_rules")).text
    for member in (administrator, alice, operator):
        refused = client.post(reverse("accounts:reset_factors"), {"member": member.pk})
        assert refused.status_code == 403, member
        assert "may do more than you" in refused.text
        assert f'<option value="{member.pk}">' not in page
    assert Authenticator.objects.filter(type="totp").count() == 4
    assert not AuditLog.objects.filter(action="auth.factors_reset").exists()
    assert client.post(reverse("accounts:reset_factors"), {"member": low.pk}).status_code == 302
    client.force_login(administrator)
    assert client.post(reverse("accounts:reset_factors"), {"member": operator.pk}).status_code == 403


@pytest.mark.parametrize("address", ["email/", "confirm-email/", "confirm-email/x/", "3rdparty/", "3rdparty/signup/"])
def test_what_is_not_offered_is_not_there(client: Client, alice: User, address: str) -> None:
    client.force_login(alice)
    form = {"email": "thief@example.org", "action_add": ""}
    assert client.get(f"/accounts/{address}").status_code == 404
    assert client.post(f"/accounts/{address}", form).status_code == 404
    assert not EmailAddress.objects.filter(email="thief@example.org").exists()


def test_an_open_session_sets_no_password(client: Client, alice: User) -> None:
    alice.set_unusable_password()
    alice.save()
    client.force_login(alice)
    form = {"password1": "a new password of a thief", "password2": "a new password of a thief"}
    assert client.post("/accounts/password/set/", form).status_code == 302
    alice.refresh_from_db()
    assert not alice.has_usable_password()
    assert "None: you sign in at your organisation" in client.get("/settings/security/").content.decode()
