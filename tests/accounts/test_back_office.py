"""Django's back office: superusers see all, staff the rows of their own organisation, others nothing."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission as TablePermission
from django.test import Client

from accounts import audit
from accounts.api_keys import create_api_key
from accounts.models import Organization, User
from deepfake.admin_site import HouseAdminSite
from tests import factories
from tests.pages.finished import make_finished

pytestmark = pytest.mark.django_db


@pytest.fixture
def helper(organization: Organization) -> User:
    """Staff with every permission that Django knows, and yet no superuser."""
    user = factories.make_user(organization, "helper", is_staff=True)
    user.user_permissions.set(TablePermission.objects.all())
    return user


@pytest.fixture
def theirs(other_organization: Organization, charlie: User) -> Any:
    return make_finished(other_organization, charlie, kind="image")


def test_the_whole_site_is_ours(client: Client) -> None:
    assert isinstance(admin.site, HouseAdminSite)
    assert all(hasattr(registered, "organization_path") for registered in admin.site._registry.values())


def test_staff_see_rows_of_their_own_organisation_alone(
    client: Client, helper: User, organization: Organization, other_organization: Organization, alice: User, theirs: Any
) -> None:
    ours = make_finished(organization, alice, kind="image")
    for owner in (organization, other_organization):
        create_api_key(organization=owner, scopes=["detect:read"], name=f"key of {owner.slug}")
        audit.record(action=f"test.{owner.slug}", organization=owner)
    client.force_login(helper)
    own, foreign = f"/admin/detection/job/{ours.pk}/change/", f"/admin/detection/job/{theirs.pk}/change/"
    assert client.get(own).status_code == 200
    assert client.get(foreign).status_code == 302  # to the beginning, as for an id that nobody has
    result = f"/admin/detection/inferenceresult/{theirs.result.pk}/change/"
    assert client.get(result).status_code == 302
    keys = client.get("/admin/accounts/apikey/").text
    assert "key of example" in keys
    assert "key of else" not in keys
    assert other_organization.name not in keys  # nor in its filters
    log = client.get("/admin/accounts/auditlog/").text
    assert "test.example" in log
    assert "test.else" not in log


@pytest.mark.parametrize("table", ["accounts/user", "accounts/organization", "accounts/customrole", "auth/group",
                                   "django_q/success", "mfa/authenticator", "detection/modelversion"])  # fmt: skip
def test_what_belongs_to_no_organisation_is_for_superusers(
    client: Client, helper: User, administrator: User, table: str
) -> None:
    client.force_login(helper)
    assert client.get(f"/admin/{table}/").status_code == 403
    assert client.post(f"/admin/{table}/add/", {}).status_code == 403
    User.objects.filter(pk=administrator.pk).update(is_staff=True, is_superuser=True)
    client.force_login(administrator)
    assert client.get(f"/admin/{table}/").status_code == 200


def test_staff_cannot_make_themselves_more(client: Client, helper: User) -> None:
    client.force_login(helper)
    sent = {"username": "helper", "is_superuser": "on", "role": "admin"}
    assert client.post(f"/admin/accounts/user/{helper.pk}/change/", sent).status_code == 403
    helper.refresh_from_db()
    assert not helper.is_superuser


def test_forms_offer_rows_of_the_own_organisation(
    client: Client, helper: User, other_organization: Organization
) -> None:
    client.force_login(helper)
    page = client.get("/admin/detection/thresholdprofile/add/")
    assert page.status_code == 200
    assert other_organization.name not in page.text
    sent = {"organization": str(other_organization.pk), "name": "planted", "kind": "image", "fake_at": "0.9",
            "real_below": "0.1", "versions-TOTAL_FORMS": "0", "versions-INITIAL_FORMS": "0"}  # fmt: skip
    assert "Select a valid choice" in client.post("/admin/detection/thresholdprofile/add/", sent).text


def test_staff_of_no_organisation_see_nothing(client: Client, helper: User, theirs: Any) -> None:
    User.objects.filter(pk=helper.pk).update(organization=None)
    client.force_login(helper)
    page = client.get("/admin/detection/job/")
    assert page.status_code == 200
    assert str(theirs.pk.hex) not in page.text
    assert "0 jobs" in page.text


def test_things_are_called_by_their_names(client: Client, administrator: User) -> None:
    administrator.is_staff = administrator.is_superuser = True
    administrator.save()
    client.force_login(administrator)
    page = client.get("/admin/").content.decode()
    for name in ("Webhook deliveries", "Media", "Feedback", "API keys"):
        assert f">{name}</a>" in page, name
    for wrong in ("deliverys", "Medias", "Feedbacks", "Api keys"):
        assert wrong not in page, wrong
