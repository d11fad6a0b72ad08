"""What other packages do to accounts is in the audit log too: passwords, second factors, the back office."""

from __future__ import annotations

import io
from typing import Any

import pytest
from allauth.account.signals import email_changed
from allauth.mfa.models import Authenticator
from allauth.mfa.signals import authenticator_added, authenticator_removed, authenticator_reset
from django.core.management import call_command
from django.test import Client, RequestFactory

from accounts.models import AuditLog, Organization, User
from tests.factories import PASSWORD

pytestmark = [pytest.mark.django_db, pytest.mark.services]


def rows() -> list[tuple[str, str | None]]:
    return list(AuditLog.objects.order_by("id").values_list("action", "actor__username"))


@pytest.mark.parametrize(
    ("signal", "action"),
    [
        (authenticator_added, "auth.factor_added"),
        (authenticator_removed, "auth.factor_removed"),
        (authenticator_reset, "auth.recovery_codes_renewed"),
    ],
)
def test_second_factors(alice: User, signal: Any, action: str) -> None:
    request = RequestFactory().get("/")
    factor = Authenticator.objects.create(user=alice, type="totp", data={})
    signal.send(sender=Authenticator, request=request, user=alice, authenticator=factor)
    row = AuditLog.objects.filter(action=action).latest("id")
    assert row.actor == alice
    assert row.organization == alice.organization


@pytest.mark.parametrize(("signal", "action"), [(email_changed, "user.email_changed")])
def test_what_is_told_by_a_signal(alice: User, signal: Any, action: str) -> None:
    signal.send(sender=User, request=None, user=alice)
    row = AuditLog.objects.get()
    assert (row.action, row.actor, row.organization, row.target_id) == (
        action,
        alice,
        alice.organization,
        str(alice.pk),
    )
    assert "@" not in str(row.details)


@pytest.fixture
def back_office(client: Client, organization: Organization) -> Client:
    root = User.objects.create_superuser("root", password=PASSWORD)
    root.organization = organization
    root.save()
    client.force_login(root)
    return client


def test_the_back_office(back_office: Client, organization: Organization, charlie: User) -> None:
    page = f"/admin/accounts/organization/{organization.pk}/change/"
    assert back_office.post(page, {"name": "Another name", "slug": "example"}).status_code == 302
    back_office.post("/admin/accounts/organization/add/", {"name": "New", "slug": "new"})
    new = Organization.objects.get(slug="new")
    back_office.post(f"/admin/accounts/organization/{new.pk}/delete/", {"post": "yes"})
    assert [action for action, who in rows() if who == "root"][-3:] == ["admin.changed", "admin.added", "admin.deleted"]
    changed = AuditLog.objects.get(action="admin.changed")
    assert changed.details["row"] == str(organization.pk)
    assert "Name" in changed.details["changes"]
    assert "Another name" not in str(changed.details)


def test_exchanging_the_signing_key() -> None:
    call_command("report_keys", rotate=True, stdout=io.StringIO())
    call_command("report_keys", rotate=True, stdout=io.StringIO())
    first, second = AuditLog.objects.filter(action="signing_key.exchanged").order_by("id")
    assert second.details["old"] == first.details["new"]
