"""Custom roles: what they allow, who may make and give them, and what they cost."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from accounts import roles
from accounts.models import AuditLog, CustomRole, Organization, Role, User
from accounts.permissions import Permission
from deepfake.errors import DomainError
from detection.forms import AnalysisFilter
from tests import factories

pytestmark = pytest.mark.django_db
P = Permission


@pytest.fixture
def desk(organization: Organization, administrator: User) -> CustomRole:
    return roles.create_role(
        organization=organization, name="Desk", permissions=[P.VIEW, P.MEMBERS], actor=administrator
    )


@pytest.fixture
def dora(organization: Organization, administrator: User, desk: CustomRole) -> User:
    """Manages members, and may otherwise only look."""
    dora = factories.make_user(organization, "dora", Role.VIEWER)
    roles.set_role(member=dora, custom_role=desk, actor=administrator)
    return dora


def test_a_member_may_what_the_custom_role_says(dora: User, desk: CustomRole):
    assert dora.permissions == {P.VIEW, P.MEMBERS}
    assert dora.role_name == "Desk"
    assert dora.can["members"]
    assert not dora.can["submit"]
    assert User.objects.get(pk=dora.pk).role == Role.VIEWER  # the least, should the custom role ever be overlooked


def test_asking_costs_no_query(client: Client, dora: User, django_assert_num_queries):
    client.force_login(dora)
    url = reverse("accounts:settings")
    client.get(url)
    with django_assert_num_queries(3):  # session, user with the role, organisation
        client.get(url)


def test_the_list_of_analyses_asks_once_for_all_members(organization, dora, desk, django_assert_num_queries):
    for number in range(5):
        factories.make_user(organization, f"m{number}", Role.VIEWER, custom_role=desk)
    with django_assert_num_queries(2):  # members with their roles, API keys
        AnalysisFilter({}, organization=organization)


def test_a_permission_of_a_newer_release_is_left_out(desk: CustomRole):
    desk.permissions = ["media.view", "time.travel"]
    assert desk.permission_set == {P.VIEW}


def test_who_may_what_is_found_in_one_go(organization, administrator, bob, dora, desk):
    assert set(organization.members_who_may(P.MEMBERS)) == {administrator, dora}
    assert set(organization.members_who_may(P.REVIEW)) == {administrator, bob}
    dora.is_active = False
    dora.save()
    assert set(organization.members_who_may(P.MEMBERS)) == {administrator}


# Granting -------------------------------------------------------------------------------------------------------------


def test_nobody_gives_what_they_do_not_hold(organization, dora, vera, desk):
    with pytest.raises(DomainError) as refused:
        roles.set_role(member=vera, role=Role.REVIEWER, actor=dora)
    assert (refused.value.code, refused.value.status) == ("role_above_yours", 403)
    with pytest.raises(DomainError, match="do not hold"):
        roles.create_role(organization=organization, name="More", permissions=[P.AUDIT], actor=dora)
    with pytest.raises(DomainError, match="do not hold"):
        roles.change_role(role=desk, name="Desk", permissions=[P.VIEW, P.KEYS], actor=dora)
    roles.set_role(member=vera, custom_role=desk, actor=dora)
    assert vera.role_name == "Desk"


def test_nobody_touches_whoever_may_more(dora, bob, administrator):
    for member in (bob, administrator):
        with pytest.raises(DomainError, match="may do more than you"):
            roles.set_role(member=member, role=Role.VIEWER, actor=dora)


def test_nobody_changes_a_role_that_allows_more(organization, administrator, dora):
    strong = roles.create_role(organization=organization, name="Strong", permissions=[P.AUDIT], actor=administrator)
    for change in (
        lambda: roles.change_role(role=strong, name="Weak", permissions=[P.VIEW], actor=dora),
        lambda: roles.delete_role(role=strong, actor=dora),
    ):
        with pytest.raises(DomainError) as refused:
            change()
        assert refused.value.code == "role_above_yours"


def test_the_last_administrator_stays(organization, administrator, bob):
    with pytest.raises(DomainError) as refused:
        roles.set_role(member=administrator, role=Role.VIEWER, actor=administrator)
    assert refused.value.code == "last_administrator"
    assert User.objects.get(pk=administrator.pk).may(P.MEMBERS)
    roles.set_role(member=bob, role=Role.ADMIN, actor=administrator)
    roles.set_role(member=administrator, role=Role.VIEWER, actor=administrator)
    assert not administrator.may(P.MEMBERS)


def test_a_role_with_everything_counts_as_administrator_and_cannot_be_made_smaller(organization, administrator, bob):
    everything = roles.create_role(
        organization=organization, name="Owner", permissions=Permission.values, actor=administrator
    )
    roles.set_role(member=bob, custom_role=everything, actor=administrator)
    bob = User.objects.get(pk=bob.pk)
    roles.set_role(member=administrator, role=Role.VIEWER, actor=bob)
    with pytest.raises(DomainError) as refused:
        roles.change_role(role=everything, name="Owner", permissions=[P.VIEW], actor=bob)
    assert refused.value.code == "last_administrator"
    assert CustomRole.objects.get().permission_set == set(Permission)


def test_provisioning_is_no_person_and_still_leaves_an_administrator(administrator, vera):
    roles.set_role(member=vera, role=Role.REVIEWER, actor=None)
    assert vera.may(P.REVIEW)
    with pytest.raises(DomainError, match="nobody who holds every right"):
        roles.set_role(member=administrator, role=Role.VIEWER, actor=None)


def test_a_role_of_another_organisation_is_none(other_organization, administrator, vera):
    theirs = CustomRole.objects.create(organization=other_organization, name="Theirs", permissions=["media.view"])
    with pytest.raises(DomainError, match="no such role"):
        roles.set_role(member=vera, custom_role=theirs, actor=administrator)


@pytest.mark.parametrize(("name", "permissions", "code"), [
    ("", ["media.view"], "name_invalid"),
    ("x" * 41, ["media.view"], "name_invalid"),
    ("administrator", ["media.view"], "name_taken"),
    ("DESK", ["media.view"], "name_taken"),
    ("Other", [], "permissions_missing"),
    ("Other", ["media.fly"], "permission_unknown"),
])  # fmt: skip
def test_what_no_role_can_be(organization, administrator, desk, name, permissions, code):
    with pytest.raises(DomainError) as refused:
        roles.create_role(organization=organization, name=name, permissions=permissions, actor=administrator)
    assert refused.value.code == code


def test_all_of_it_is_audited(organization, administrator, vera, desk):
    roles.set_role(member=vera, custom_role=desk, actor=administrator)
    roles.set_role(member=vera, custom_role=desk, actor=administrator)  # nothing changes, nothing is written
    roles.change_role(role=desk, name="Front desk", permissions=[P.VIEW], actor=administrator)
    roles.set_role(member=vera, role=Role.VIEWER, actor=administrator)
    roles.delete_role(role=desk, actor=administrator)
    actions = list(AuditLog.objects.order_by("id").values_list("action", flat=True))
    assert actions == ["role.created", "user.role_changed", "role.changed", "user.role_changed", "role.deleted"]
    changed = AuditLog.objects.get(action="role.changed").details
    assert changed["before"]["permissions"] == ["media.view", "members.manage"]
    assert changed["after"]["name"] == "Front desk"


# Pages ----------------------------------------------------------------------------------------------------------------


def test_make_change_and_delete_on_the_pages(client: Client, administrator, organization):
    client.force_login(administrator)
    sent = {"name": "Night  desk", "permissions": ["media.view", "review.read"]}
    assert client.post(reverse("accounts:role_new"), sent).status_code == 302
    role = organization.custom_roles.get()
    assert role.name == "Night desk"
    page = client.get(reverse("accounts:roles")).text
    assert "Night desk" in page
    assert "nobody has it" in page
    change = reverse("accounts:role_change", args=[role.pk])
    assert 'value="review.read" checked' in client.get(change).text
    client.post(change, {"name": "Day desk", "permissions": ["media.view"]})
    role.refresh_from_db()
    assert (role.name, role.permissions) == ("Day desk", ["media.view"])
    assert client.post(reverse("accounts:role_delete", args=[role.pk])).status_code == 302
    assert not organization.custom_roles.exists()


def test_a_role_in_use_cannot_be_deleted(client: Client, administrator, dora, desk):
    client.force_login(administrator)
    assert reverse("accounts:role_delete", args=[desk.pk]) not in client.get(reverse("accounts:roles")).text
    response = client.post(reverse("accounts:role_delete", args=[desk.pk]))
    assert response.status_code == 409
    assert "1 member has this role" in response.text
    assert CustomRole.objects.filter(pk=desk.pk).exists()


def test_what_is_refused_comes_back_with_what_was_typed(client: Client, dora):
    client.force_login(dora)
    page = client.get(reverse("accounts:role_new")).text
    assert 'value="audit.read" disabled' in page
    response = client.post(reverse("accounts:role_new"), {"name": "Sly", "permissions": ["audit.read"]})
    assert response.status_code == 403
    assert 'value="Sly"' in response.text
    assert not CustomRole.objects.filter(name="Sly").exists()


def test_whoever_may_not_see_analyses_begins_with_the_settings(client: Client, administrator, organization):
    keeper = roles.create_role(organization=organization, name="Key keeper", permissions=[P.KEYS], actor=administrator)
    factories.make_user(organization, "kim", Role.VIEWER, custom_role=keeper)
    response = client.post("/accounts/login/", {"login": "kim", "password": factories.PASSWORD}, follow=True)
    assert response.status_code == 200
    assert response.redirect_chain == [(reverse("accounts:settings"), 302)]
    assert reverse("reports:dashboard") not in response.text
    assert client.get("/").status_code == 403


def test_access(client: Client, vera, charlie, other_organization, desk):
    url, change = reverse("accounts:roles"), reverse("accounts:role_change", args=[desk.pk])
    assert client.get(url).status_code == 302
    client.force_login(vera)
    assert client.get(url).status_code == 403
    client.force_login(factories.make_user(other_organization, "otto", Role.ADMIN))
    assert client.get(change).status_code == 404
    assert client.post(url).status_code == 405
    assert "Desk" not in client.get(url).text


def test_queries_do_not_grow_with_roles(client: Client, administrator, organization, django_assert_num_queries):
    for number in range(6):
        roles.create_role(organization=organization, name=f"R{number}", permissions=[P.VIEW], actor=administrator)
    client.force_login(administrator)
    with django_assert_num_queries(5):  # session, user, organisation, roles; the header's open cases
        client.get(reverse("accounts:roles"))


def test_a_role_is_judged_as_it_stands(administrator, vera, organization):
    """Whoever has read a role before it grew, or before it was deleted, gains nothing by that."""
    role = roles.create_role(organization=organization, name="Desk", permissions=[Permission.VIEW], actor=administrator)
    read_before = CustomRole.objects.get(pk=role.pk)
    roles.change_role(role=role, name="Desk", permissions=list(Permission.values), actor=administrator)
    for act in (
        lambda: roles.change_role(role=read_before, name="Mine", permissions=[Permission.VIEW], actor=vera),
        lambda: roles.delete_role(role=read_before, actor=vera),
    ):
        with pytest.raises(DomainError) as refused:
            act()
        assert refused.value.code == "role_above_yours"
    roles.delete_role(role=role, actor=administrator)
    with pytest.raises(DomainError, match="deleted meanwhile"):
        roles.change_role(role=read_before, name="Again", permissions=[Permission.VIEW], actor=administrator)
    assert not CustomRole.objects.exists()
