"""The settings: each member sees the pages that the role allows, and nothing else."""

from __future__ import annotations

import pytest
from django.urls import reverse

from accounts.models import User
from accounts.permissions import ROLE_PERMISSIONS, Permission
from accounts.settings_nav import groups_for


def words(member: User) -> set[str]:
    return {entry.words for _, pairs in groups_for(member) for entry, _ in pairs}


def test_hub_lists_what_the_role_allows(client, administrator: User, vera: User):
    assert "Review rules" in words(administrator)
    assert "Review rules" not in words(vera)
    client.force_login(vera)
    page = client.get(reverse("accounts:settings")).content.decode()
    assert "Threshold profiles" in page
    assert "Review rules" not in page


def test_anonymous_is_sent_to_sign_in(client):
    assert client.get(reverse("accounts:settings")).status_code == 302


def test_member_of_no_organisation_is_told(client, alice: User):
    alice.organization = None
    alice.save()
    client.force_login(alice)
    assert client.get(reverse("accounts:settings")).status_code == 403


@pytest.mark.parametrize("role", list(ROLE_PERMISSIONS))
def test_every_role_may_look_and_only_administrators_manage_members(role: str):
    assert Permission.VIEW in ROLE_PERMISSIONS[role]
    assert (Permission.MEMBERS in ROLE_PERMISSIONS[role]) == (role == "admin")
