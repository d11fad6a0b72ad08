"""Keys and limits in the back office: made, changed and revoked by the same services as everywhere."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from accounts.api_keys import create_api_key
from accounts.models import ApiKey, AuditLog, Organization, User

pytestmark = pytest.mark.django_db

LIST = "/admin/accounts/apikey/"


@pytest.fixture
def root(client: Client, organization: Organization) -> Client:
    client.force_login(User.objects.create_superuser("root", "root@example.org", "x"))
    return client


def typed(organization: Organization, **more: Any) -> dict[str, Any]:
    return {
        "organization": str(organization.pk),
        "name": "Scanner",
        "scopes": ["webhooks:read"],
        "ip_allow_list": "",
    } | more


def test_make_one(root: Client, organization: Organization) -> None:
    page = root.post(f"{LIST}add/", typed(organization, ip_allow_list="10.0.0.0/8", sandbox="on"), follow=True)
    text = re.search(r"test_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", page.content.decode())
    assert text is not None
    key = ApiKey.objects.get()
    assert (key.scopes, key.ip_allow_list, key.is_sandbox) == (["webhooks:read"], ["10.0.0.0/8"], True)
    assert AuditLog.objects.filter(action="api_key.created", target_id=str(key.pk)).exists()
    again = root.post(f"{LIST}add/", typed(organization, ip_allow_list="10.0.0.1/8"))
    assert "Write 10.0.0.0/8 for the network" in again.content.decode()


def test_change_rotate_and_revoke_one(root: Client, organization: Organization) -> None:
    key, _ = create_api_key(organization=organization, scopes=["detect:read"], ip_allow_list=["10.0.0.0/8"])
    assert "10.0.0.0/8" in root.get(f"{LIST}{key.pk}/change/").content.decode()
    changed = root.post(f"{LIST}{key.pk}/change/", typed(organization, reads_per_minute="5"))
    assert changed.status_code == 302
    key.refresh_from_db()
    assert (key.name, key.scopes, key.ip_allow_list, key.reads_per_minute) == ("Scanner", ["webhooks:read"], [], 5)
    chosen = {"_selected_action": [str(key.pk)]}
    page = root.post(LIST, chosen | {"action": "rotate"}, follow=True).content.decode()
    assert re.search(r"dfk_[0-9a-f]{8}_[A-Za-z0-9_-]{43}", page)
    root.post(LIST, chosen | {"action": "revoke"})
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert "revoked" in root.post(LIST, chosen | {"action": "rotate"}, follow=True).content.decode()
    assert root.post(f"{LIST}{key.pk}/change/", typed(organization)).status_code == 403
    assert root.post(f"{LIST}{key.pk}/delete/", {"post": "yes"}).status_code == 403
    for secret in (key.secret_hash, key.previous_secret_hash):
        assert secret not in root.get(f"{LIST}{key.pk}/change/").content.decode()


def test_limits_of_an_organisation(root: Client, organization: Organization) -> None:
    address = f"/admin/accounts/organization/{organization.pk}/change/"
    given = {"name": organization.name, "slug": organization.slug, "reads_per_minute": "90", "max_waiting_jobs": "7"}
    assert root.post(address, given).status_code == 302
    organization.refresh_from_db()
    assert (organization.reads_per_minute, organization.max_waiting_jobs) == (90, 7)
    row = AuditLog.objects.get(action="organization.limits_changed")
    assert row.details == {"reads_per_minute": 90, "max_waiting_jobs": 7}
    assert root.post(address, given | {"max_waiting_jobs": "0"}).status_code == 200  # the form with its error
