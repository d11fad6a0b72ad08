"""The settings page of provisioning."""

from __future__ import annotations

import re
from typing import Any

from django.test import Client
from django.urls import reverse

from accounts.models import AuditLog, Organization, ProvisioningToken, ScimGroup, User
from tests import factories
from tests.accounts.scim.conftest import Scim


def test_the_token_is_shown_once(client, administrator: User, organization: Organization):
    client.force_login(administrator)
    page = reverse("accounts:provisioning")
    assert "Make a token" in client.get(page).content.decode()
    answer = client.post(reverse("accounts:provisioning_token"))
    text = re.search(r"scim_[\w-]{43}", answer.content.decode())[0]
    assert "no-store" in answer["Cache-Control"]
    assert text not in client.get(page).content.decode()
    row = ProvisioningToken.objects.get(organization=organization)
    assert text not in row.hash
    assert Scim(Client(), text).get("/Users").status_code == 200
    again = client.post(reverse("accounts:provisioning_token")).content.decode()
    assert text not in again
    assert Scim(Client(), text).get("/Users").status_code == 401
    client.post(reverse("accounts:provisioning_token_remove"))
    assert not ProvisioningToken.objects.exists()
    actions = set(AuditLog.objects.values_list("action", flat=True))
    assert {"scim_token.created", "scim_token.rotated", "scim_token.removed"} <= actions


def test_roles_of_groups_are_set(client, administrator: User, organization: Organization, token: ProvisioningToken):
    group = ScimGroup.objects.create(organization=organization, display_name="Desk leads")
    client.force_login(administrator)
    assert "Desk leads" in client.get(reverse("accounts:provisioning")).content.decode()
    address = reverse("accounts:provisioning_group_role", args=[group.pk])
    assert client.post(address, {"role": "reviewer"}).status_code == 302
    group.refresh_from_db()
    assert group.role == "reviewer"
    assert client.post(address, {"role": "king"}).status_code == 400
    assert client.post(reverse("accounts:provisioning_default_role"), {"role": "analyst"}).status_code == 302
    assert client.post(reverse("accounts:provisioning_default_role"), {"role": "king"}).status_code == 400
    token.refresh_from_db()
    assert token.default_role == "analyst"


def test_only_who_sets_the_rules_of_sign_in_gets_in(
    client, bob: User, other_organization: Any, organization: Organization, token: ProvisioningToken
):
    group = ScimGroup.objects.create(organization=organization, display_name="Desk leads")
    page = reverse("accounts:provisioning")
    acting = [
        reverse("accounts:provisioning_token"),
        reverse("accounts:provisioning_token_remove"),
        reverse("accounts:provisioning_default_role"),
        reverse("accounts:provisioning_group_role", args=[group.pk]),
    ]
    for address in (page, *acting):
        ask = client.get if address == page else client.post
        client.logout()
        assert ask(address).status_code == 302, address
        client.force_login(bob)
        assert ask(address).status_code == 403, address
        assert client.put(address).status_code == 405, address
    client.force_login(factories.make_user(other_organization, "eve", "admin"))
    assert client.post(acting[3], {"role": "admin"}).status_code == 404
    assert client.post(acting[2], {"role": "admin"}).status_code == 404
    assert "Desk leads" not in client.get(page).content.decode()
    assert ProvisioningToken.objects.get(organization=organization).default_role == "viewer"
