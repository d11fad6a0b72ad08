"""The flows of RFC 7644 by hand: members, groups, filters, patches, versions, errors, and whose members are touched."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from accounts import members, roles
from accounts.models import AuditLog, OAuthGrant, ProvisioningToken, Role, ScimGroup, ScimUser, User
from accounts.oauth import services as oauth
from accounts.scim import resources, services
from deepfake.errors import DomainError
from tests import factories
from tests.accounts.notices import send_moved_notices
from tests.accounts.scim.conftest import Scim

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
NINA = {
    "schemas": [USER],
    "userName": "nina@example.org",
    "externalId": "ext-1",
    "name": {"givenName": "Nina", "familyName": "Berg", "formatted": "Nina Berg"},
    "displayName": "Nina",
    "emails": [{"value": "nina@example.org", "type": "work", "primary": True}],
    "active": True,
    "password": "ignored by us",
    "phoneNumbers": [{"value": "+1"}],
}


@pytest.fixture
def nina(scim: Scim) -> dict[str, Any]:
    answer = scim.post("/Users", NINA)
    assert answer.status_code == 201, answer.content
    made: dict[str, Any] = answer.json()
    return made


def names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [one["userName"] for one in answer.json().get("Resources", [])]


def error(answer: Any, status: int, scim_type: str | None = None) -> str:
    body = answer.json()
    assert answer.status_code == status, body
    assert body["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    assert body["status"] == str(status)
    assert body.get("scimType") == scim_type
    assert answer["Content-Type"] == "application/scim+json"
    return str(body["detail"])


# Members --------------------------------------------------------------------------------------------------------------


def test_create_makes_a_member_without_a_password(nina: dict[str, Any], scim: Scim, token: ProvisioningToken):
    member = User.objects.get(email="nina@example.org")
    assert (member.organization, member.role, member.first_name) == (token.organization, "viewer", "Nina")
    assert not member.has_usable_password()
    assert nina["meta"]["resourceType"] == "User"
    assert nina["meta"]["location"].endswith(f"/scim/v2/Users/{nina['id']}")
    assert nina["externalId"] == "ext-1"
    assert "password" not in nina
    assert "phoneNumbers" not in nina
    assert AuditLog.objects.filter(action="user.created", api_key_prefix="scim").count() == 1
    error(scim.post("/Users", NINA), 409, "uniqueness")


def test_what_the_house_refuses_is_told_in_the_shape_of_scim(scim: Scim, monkeypatch: pytest.MonkeyPatch):
    def refuse(wanted: str) -> str:
        raise DomainError(f"No free user name was found for {wanted}.", "username_taken", 409)

    monkeypatch.setattr(resources, "free_username", refuse)
    assert "No free user name" in error(scim.post("/Users", NINA), 409)
    assert not User.objects.filter(email="nina@example.org").exists()


def test_a_fault_of_ours_is_told_in_the_shape_of_scim(scim: Scim, monkeypatch: pytest.MonkeyPatch):
    def fail(organization: Any) -> None:
        raise RuntimeError("a detail that nobody is told")

    monkeypatch.setattr(resources, "ensure_records", fail)
    assert "nobody" not in error(scim.get("/Users"), 500)


INVITED = "jane@corp.local"  # of a domain that no public mail server knows


def test_members_with_addresses_of_inner_domains_stop_nobody(scim: Scim, organization: Any):
    jane = User.objects.create(username="jane", email=INVITED, organization=organization)
    User.objects.create(username="dana", email="dana@demo.invalid", organization=organization)
    assert {"jane", "dana"} <= set(names(scim.get("/Users")))
    assert names(scim.get(f'/Users?filter=emails.value eq "{INVITED}"')) == ["jane"]
    search = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:SearchRequest"], "filter": 'userName eq "jane"'}
    assert names(scim.post("/.search", search)) == names(scim.post("/Users/.search", search)) == ["jane"]
    # What a provider does on finding her: a conflict, a look-up, and her record taken over.
    wanted = NINA | {"userName": INVITED, "emails": [{"value": INVITED, "primary": True}]}
    error(scim.post("/Users", wanted), 409, "uniqueness")
    path = f"/Users/{jane.scim.pk}"
    answer = scim.put(path, wanted)
    assert answer.status_code == 200, answer.content
    assert answer.json()["emails"] == [{"value": INVITED, "primary": True}]
    bob = wanted | {"userName": "bob@corp.local", "emails": [{"value": "bob@corp.local", "type": "work"}]}
    assert scim.post("/Users", bob).status_code == 201
    assert User.objects.get(email="bob@corp.local").scim.user_name == "bob@corp.local"


@pytest.mark.parametrize("value", ["", "nobody", "a@b", "a@b..example", "a b@example.org", "a@example.org\n"])
def test_what_is_no_address_is_refused(scim: Scim, value: str):
    error(scim.post("/Users", NINA | {"emails": [{"value": value}]}), 400, "invalidValue")


def test_an_address_that_was_kept_before_is_not_judged_again(scim: Scim, nina: dict[str, Any]):
    ScimUser.objects.filter(pk=nina["id"]).update(emails=[{"value": "nina@intranet"}])
    User.objects.filter(scim=nina["id"]).update(email="nina@intranet")
    answer = scim.patch(f"/Users/{nina['id']}", {"op": "replace", "path": "displayName", "value": "N. Berg"})
    assert answer.status_code == 200, answer.content
    assert answer.json()["emails"] == [{"value": "nina@intranet"}]


HALF = "\ud800"  # of a character: JSON can write it, UTF-8 cannot


@pytest.mark.parametrize(
    "body",
    [
        *(NINA | {"userName": f"n{text}"} for text in (HALF, "\x00")),
        *(NINA | {"name": {"givenName": f"N{text}"}} for text in (HALF, "\x00")),
        *(NINA | {"emails": [{"value": "n@example.org", "display": text}]} for text in (HALF, "\x00")),
        NINA | {"emails": [{"value": "n@example.org", "type": "\x00"}]},
        NINA | {HALF: 1},
    ],
)
def test_what_is_no_text_is_refused(scim: Scim, body: dict[str, Any]):
    answer = scim.post("/Users", body)
    error(answer, 400, answer.json().get("scimType"))


def test_edges_of_lists(scim: Scim, nina: dict[str, Any]):
    beyond = scim.get(f"/Users?startIndex={10**20}")
    assert (beyond.status_code, beyond.json()["totalResults"], beyond.json().get("Resources")) == (200, 2, [])
    assert scim.get(f"/Users?count={10**20}").json()["itemsPerPage"] == 2


@pytest.mark.parametrize("written", ["%00", r"\u0000", r"\ud800"])
def test_a_filter_for_what_is_no_text_is_refused(scim: Scim, written: str):
    error(scim.get(f"/Users?filter=userName%20eq%20%22{written}%22"), 400, "invalidFilter")


def test_replace_and_patch(scim: Scim, nina: dict[str, Any]):
    address = f"/Users/{nina['id']}"
    body = NINA | {"displayName": "N.", "name": {"givenName": "Nina", "familyName": "Berg-Holm"}}
    changed = scim.put(address, body).json()
    assert changed["displayName"] == "N."
    assert changed["name"]["familyName"] == "Berg-Holm"
    assert changed["meta"]["version"] != nina["meta"]["version"]
    patched = scim.patch(
        address,
        {"op": "replace", "path": "name.givenName", "value": "Ninette"},
        {"op": "add", "value": {"externalId": "ext-2"}},
        {"op": "remove", "path": "displayName"},
        {"op": "replace", "path": 'emails[type eq "work"].value', "value": "ninette@example.org"},
    ).json()
    assert patched["name"]["givenName"] == "Ninette"
    assert patched["externalId"] == "ext-2"
    assert "displayName" not in patched
    member = User.objects.get(first_name="Ninette")
    assert member.email == "ninette@example.org"
    row = AuditLog.objects.filter(action="user.changed").last()
    assert row is not None
    assert "emails" in row.details["changed"]


def moved(scim: Scim, pk: Any, to: str) -> Any:
    return scim.patch(f"/Users/{pk}", {"op": "replace", "path": "emails", "value": [{"value": to, "primary": True}]})


def test_another_address_is_told_to_the_old_one_and_ends_the_links_that_went_there(
    scim: Scim, organization: Any, administrator: User, mailoutbox: Any
):
    ivy = members.invite(organization=organization, username="ivy", email="ivy@example.org", role="viewer", actor=None)
    invitation = members.invitation_link(ivy).rstrip("/").rpartition("/")[2]
    alice = factories.make_user(organization, "alice", Role.ANALYST)
    Client().post("/accounts/password/reset/", {"email": "alice@example.org"})
    link = re.search(r"https?://[^/\s]+(/\S+)", mailoutbox.pop().body)[1]
    assert "At least 12 characters" in Client().get(link, follow=True).text
    assert members.invited_by_token(invitation) == ivy
    pks = {row["userName"]: row["id"] for row in scim.get("/Users").json()["Resources"]}
    for name in ("alice", "ivy"):
        mailoutbox.clear()
        assert moved(scim, pks[name], f"{name}@elsewhere.example").status_code == 200
        send_moved_notices()
        assert [mail.to for mail in mailoutbox] == [[f"{name}@example.org"]]
        assert "another" in mailoutbox[0].subject
    moved(scim, pks["alice"], "ALICE@elsewhere.example")
    send_moved_notices()
    assert len(mailoutbox) == 1
    alice.refresh_from_db()
    assert alice.email == "alice@elsewhere.example"
    assert "This link no longer works" in Client().get(link, follow=True).text
    assert members.invited_by_token(invitation) is None


def test_a_token_reaches_no_higher_than_whoever_made_it(
    scim: Scim, organization: Any, administrator: User, token: ProvisioningToken
):
    """A token outlives the rights of its maker."""
    boss, low = (factories.make_user(organization, name, role) for name, role in (("bo", "admin"), ("lo", "viewer")))
    keeper = roles.create_role(
        organization=organization, name="Keeper of doors", permissions=["sign_in.manage", "media.view"], actor=boss
    )
    roles.set_role(member=administrator, custom_role=keeper, actor=boss)
    pks = {row["userName"]: row["id"] for row in scim.get("/Users").json()["Resources"]}
    refused = moved(scim, pks["bo"], "mine@example.org")
    assert (refused.status_code, "whoever made the provisioning token" in refused.json()["detail"]) == (403, True)
    boss.refresh_from_db()
    assert boss.email == "bo@example.org"
    assert moved(scim, pks["lo"], "lo@elsewhere.example").status_code == 200
    made = scim.post("/Groups", {"schemas": [GROUP], "displayName": "reviewer", "members": [{"value": pks["lo"]}]})
    assert made.status_code == 201
    assert ScimGroup.objects.get().role == ""
    low.refresh_from_db()
    assert low.role == "viewer"
    # Somebody who leaves is switched off whatever they may.
    assert scim.patch(f"/Users/{pks['lo']}", {"op": "replace", "path": "active", "value": False}).status_code == 200


def test_a_change_that_changes_nothing_keeps_the_version(scim: Scim, nina: dict[str, Any]):
    same = scim.patch(f"/Users/{nina['id']}", {"op": "replace", "path": "displayName", "value": "Nina"})
    assert same.json()["meta"]["version"] == nina["meta"]["version"]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "active", "value": False},
        {"op": "Replace", "path": "active", "value": "False"},
        {"op": "replace", "value": {"active": False}},
    ],
)
def test_deactivation_ends_sessions_and_grants(
    scim: Scim, nina: dict[str, Any], operation: dict[str, Any], administrator: User, organization: Any
):
    member = User.objects.get(email="nina@example.org")
    browser = Client()
    browser.force_login(member)
    bystander = Client()
    bystander.force_login(administrator)
    program, _ = oauth.create_client(
        organization=organization, name="P", kind="web", redirect_uris=["https://a.example/c"], scopes=["detect:read"],
        actor=administrator,
    )  # fmt: skip
    oauth.begin_grant(client=program, user=member, scopes=["detect:read"], code_hash="0" * 64)
    assert browser.get(reverse("accounts:settings")).status_code == 200
    answer = scim.patch(f"/Users/{nina['id']}", operation)
    assert answer.json()["active"] is False
    assert browser.get(reverse("accounts:settings")).status_code == 302
    assert bystander.get(reverse("accounts:settings")).status_code == 200
    assert OAuthGrant.objects.get().revoked_at is not None
    member.refresh_from_db()
    assert not member.is_active
    assert AuditLog.objects.filter(action="user.deactivated").count() == 1
    kept = scim.put(f"/Users/{nina['id']}", {name: value for name, value in NINA.items() if name != "active"})
    assert kept.json()["active"] is False  # silence brings nobody back
    scim.patch(f"/Users/{nina['id']}", {"op": "replace", "path": "active", "value": True})
    member.refresh_from_db()
    assert member.is_active


def test_delete_switches_off_and_create_brings_back(scim: Scim, nina: dict[str, Any]):
    address = f"/Users/{nina['id']}"
    assert scim.delete(address).status_code == 204
    error(scim.get(address), 404)
    error(scim.delete(address), 404)
    assert "nina@example.org" not in names(scim.get("/Users"))
    member = User.objects.get(email="nina@example.org")
    assert not member.is_active
    again = scim.post("/Users", NINA | {"displayName": "Back"})
    assert again.status_code == 201, again.content
    member.refresh_from_db()
    assert member.is_active
    assert User.objects.filter(email="nina@example.org").count() == 1


def test_members_that_were_here_before_are_found(scim: Scim, alice: User):
    found = scim.get('/Users?filter=userName eq "alice"').json()
    assert found["totalResults"] == 1
    pk = found["Resources"][0]["id"]
    scim.patch(f"/Users/{pk}", {"op": "replace", "path": "active", "value": False})
    alice.refresh_from_db()
    assert not alice.is_active


def test_the_last_administrator_stays(scim: Scim, administrator: User, organization: Any):
    pk = scim.get('/Users?filter=userName eq "ada"').json()["Resources"][0]["id"]
    error(scim.patch(f"/Users/{pk}", {"op": "replace", "path": "active", "value": False}), 403)
    error(scim.delete(f"/Users/{pk}"), 403)
    factories.make_user(organization, "second", Role.ADMIN)
    assert scim.delete(f"/Users/{pk}").status_code == 204


def test_operators_of_the_installation_are_out_of_reach(scim: Scim, organization: Any):
    root = factories.make_user(organization, "root", Role.ADMIN, is_superuser=True, is_staff=True)
    resources.ensure_records(organization)
    assert "root" not in names(scim.get("/Users"))
    row = ScimUser.objects.create(organization=organization, user=root, user_name="root")
    error(scim.get(f"/Users/{row.pk}"), 404)
    error(scim.delete(f"/Users/{row.pk}"), 404)


# Whose members --------------------------------------------------------------------------------------------------------


def test_members_of_others_are_not_seen_and_not_touched(
    scim: Scim, other_scim: Scim, nina: dict[str, Any], charlie: User
):
    address = f"/Users/{nina['id']}"
    for answer in (
        other_scim.get(address),
        other_scim.put(address, NINA),
        other_scim.patch(address, {"op": "replace", "path": "active", "value": False}),
        other_scim.delete(address),
    ):
        error(answer, 404)
    assert names(other_scim.get("/Users")) == ["charlie"]
    assert "charlie" not in names(scim.get("/Users"))
    error(other_scim.post("/Users", NINA), 409, "uniqueness")  # one address, one account
    assert User.objects.get(email="nina@example.org").is_active
    group = other_scim.post("/Groups", {"schemas": [GROUP], "displayName": "g", "members": [{"value": nina["id"]}]})
    error(group, 400, "invalidValue")
    mine = scim.post("/Groups", {"schemas": [GROUP], "displayName": "g"}).json()
    for answer in (other_scim.get(f"/Groups/{mine['id']}"), other_scim.delete(f"/Groups/{mine['id']}")):
        error(answer, 404)


def test_a_taken_user_name_of_another_organisation_is_no_obstacle(other_scim: Scim, alice: User):
    made = other_scim.post("/Users", {"schemas": [USER], "userName": "alice"})
    assert made.status_code == 201
    assert made.json()["userName"] == "alice"
    assert User.objects.get(scim__pk=made.json()["id"]).username == "alice2"


def test_a_member_who_moved_away_is_out_of_reach(scim: Scim, nina: dict[str, Any], other_organization: Any):
    User.objects.filter(email="nina@example.org").update(organization=other_organization)
    error(scim.delete(f"/Users/{nina['id']}"), 404)
    assert User.objects.get(email="nina@example.org").is_active


# Lists ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def crowd(scim: Scim) -> None:
    for number in range(5):
        scim.post(
            "/Users",
            {
                "schemas": [USER],
                "userName": f"person{number}@example.org",
                "externalId": f"x{number}",
                "displayName": f"Person {number}",
                "emails": [{"value": f"p{number}@mail.example", "primary": True}],
                "active": number % 2 == 0,
            },
        )


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ('userName eq "PERSON1@example.org"', [1]),
        ('externalId eq "x3"', [3]),
        ('emails eq "p2@mail.example"', [2]),
        ('emails.value eq "p2@mail.example"', [2]),
        ('emails[value eq "p4@mail.example"]', [4]),
        ('displayName eq "Person 4"', [4]),
        ('displayName co "son 1"', [1]),
        ('userName sw "person" and active eq false', [1, 3]),
        ('externalId eq "x0" or externalId eq "x4"', [0, 4]),
        ('userName sw "person" and not (active eq true)', [1, 3]),
        ('userName ew "3@example.org"', [3]),
        ("externalId pr and active eq true", [0, 2, 4]),
        ('urn:ietf:params:scim:schemas:core:2.0:User:userName eq "person1@example.org"', [1]),
        ('userName eq "nobody"', []),
        ("externalId eq 'x", None),
        ("nonsense", None),
        ('unknownName eq "x"', None),
        ('userName xx "x"', None),
    ],
)
def test_filters(scim: Scim, crowd: None, wanted: str, found: list[int] | None):
    answer = scim.client.get("/scim/v2/Users", {"filter": wanted}, headers={"Authorization": f"Bearer {scim.text}"})
    if found is None:
        error(answer, 400, "invalidFilter")
    else:
        assert names(answer) == [f"person{number}@example.org" for number in found]
        assert answer.json()["totalResults"] == len(found)


def test_deep_and_long_filters_are_refused(scim: Scim):
    for wanted in ("(" * 900 + 'userName eq "x"' + ")" * 900, "x" * 3000, "not (" * 300 + "userName pr" + ")" * 300):
        answer = scim.post("/Users/.search", {"filter": wanted})
        assert answer.status_code in (200, 400), wanted[:20]
    headers = {"Authorization": f"Bearer {scim.text}"}
    deep = b'{"a":' * 20_000 + b"1" + b"}" * 20_000
    answer = scim.client.generic("POST", "/scim/v2/Users", deep, content_type="application/json", headers=headers)
    assert answer.status_code == 400


def test_pages_and_order(scim: Scim, crowd: None):
    everybody = scim.get("/Users").json()
    assert everybody["totalResults"] == 6  # ada too
    first = scim.get("/Users?startIndex=1&count=4").json()
    second = scim.get("/Users?startIndex=5&count=4").json()
    assert (first["itemsPerPage"], second["itemsPerPage"], second["startIndex"]) == (4, 2, 5)
    together = [one["id"] for one in first["Resources"] + second["Resources"]]
    assert together == [one["id"] for one in everybody["Resources"]]
    assert scim.get("/Users?count=0").json()["totalResults"] == 6
    assert scim.get("/Users?startIndex=-3&count=1").json()["startIndex"] == 1
    turned = names(scim.get("/Users?sortBy=userName&sortOrder=descending"))
    assert turned == sorted(turned, reverse=True)
    error(scim.get("/Users?count=many"), 400, "invalidValue")
    searched = scim.post("/Users/.search", {"filter": 'externalId eq "x1"', "attributes": ["userName"]}).json()
    assert list(searched["Resources"][0]) == ["schemas", "id", "userName"]


def test_a_list_asks_the_database_a_fixed_number_of_times(scim: Scim, crowd: None, django_assert_num_queries):
    scim.get("/Users")
    with django_assert_num_queries(7):  # two for the savepoint; token, missing records, count, members, their groups
        scim.get("/Users")


def test_attributes_can_be_chosen(scim: Scim, nina: dict[str, Any]):
    few = scim.get(f"/Users/{nina['id']}?attributes=userName").json()
    assert set(few) == {"schemas", "id", "userName"}
    less = scim.get(f"/Users/{nina['id']}?excludedAttributes=emails,name").json()
    assert "emails" not in less
    assert "userName" in less


# Versions -------------------------------------------------------------------------------------------------------------


def test_versions_keep_two_writers_apart(scim: Scim, nina: dict[str, Any]):
    address = f"/Users/{nina['id']}"
    answer = scim.get(address)
    version = answer["ETag"]
    assert version == answer.json()["meta"]["version"]
    assert scim.get(address, If_None_Match=version).status_code == 304
    change = {"op": "replace", "path": "displayName", "value": "First"}
    assert scim.patch(address, change, If_Match=version).status_code == 200
    error(scim.patch(address, change | {"value": "Second"}, If_Match=version), 412)
    error(scim.put(address, NINA, If_Match=version), 412)
    error(scim.delete(address, If_Match=version), 412)
    assert scim.get(address, If_None_Match=version).status_code == 200
    assert scim.get(address).json()["displayName"] == "First"
    assert scim.delete(address, If_Match="*").status_code == 204


# Groups and roles -----------------------------------------------------------------------------------------------------


def role_of(email: str = "nina@example.org") -> str:
    return User.objects.get(email=email).role


def test_groups_give_roles(scim: Scim, nina: dict[str, Any], token: ProvisioningToken, administrator: User):
    member = {"value": nina["id"]}
    made = scim.post("/Groups", {"schemas": [GROUP], "displayName": "Desk", "externalId": "g1", "members": [member]})
    assert made.status_code == 201, made.content
    desk = made.json()
    assert desk["members"][0]["value"] == nina["id"]
    assert scim.get(f"/Users/{nina['id']}").json()["groups"][0]["display"] == "Desk"
    assert role_of() == "viewer"
    row = ScimGroup.objects.get()
    services.set_group_role(token=token, row=row, role="analyst", actor=administrator)
    assert role_of() == "analyst"
    leads = scim.post("/Groups", {"schemas": [GROUP], "displayName": "Reviewer", "members": [member]}).json()
    assert role_of() == "reviewer"
    remove = {"op": "remove", "path": f'members[value eq "{nina["id"]}"]'}
    assert scim.patch(f"/Groups/{leads['id']}", remove).status_code == 200
    assert role_of() == "analyst"
    scim.patch(f"/Groups/{leads['id']}", {"op": "add", "path": "members", "value": [member]})
    assert role_of() == "reviewer"
    scim.patch(f"/Groups/{leads['id']}", {"op": "Remove", "path": "members", "value": [member]})  # as Entra writes it
    assert role_of() == "analyst"
    scim.put(f"/Groups/{desk['id']}", {"schemas": [GROUP], "displayName": "Desk 2", "members": []})
    assert role_of() == "viewer"
    scim.patch(f"/Groups/{desk['id']}", {"op": "replace", "path": "members", "value": [member]})
    assert role_of() == "analyst"
    assert scim.delete(f"/Groups/{desk['id']}").status_code == 204
    assert role_of() == "viewer"
    assert AuditLog.objects.filter(action="user.role_changed").count() == 8
    assert {"scim_group.created", "scim_group.changed", "scim_group.deleted"} <= set(
        AuditLog.objects.values_list("action", flat=True)
    )


def test_a_group_called_admin_gives_nothing_by_itself(scim: Scim, nina: dict[str, Any]):
    scim.post("/Groups", {"schemas": [GROUP], "displayName": "admin", "members": [{"value": nina["id"]}]})
    assert role_of() == "viewer"


def test_groups_are_filtered_and_unique(scim: Scim, nina: dict[str, Any]):
    scim.post("/Groups", {"schemas": [GROUP], "displayName": "Desk", "members": [{"value": nina["id"]}]})
    error(scim.post("/Groups", {"schemas": [GROUP], "displayName": "desk"}), 409, "uniqueness")
    assert scim.get('/Groups?filter=displayName eq "Desk"').json()["totalResults"] == 1
    assert scim.get(f'/Groups?filter=members[value eq "{nina["id"]}"]').json()["totalResults"] == 1
    assert scim.get('/Groups?filter=displayName eq "x"').json()["totalResults"] == 0
    assert "members" not in scim.get("/Groups?excludedAttributes=members").json()["Resources"][0]


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer wrong", "Basic abc", "Bearer \u00e4"])
def test_without_a_token_nothing_is_told(scim: Scim, value: str):
    for path in ("/Users", "/Groups", "/Schemas", "/ServiceProviderConfig", "/nothing", "/Users/x"):
        answer = Client().get(f"/scim/v2{path}", headers={"Authorization": value})
        error(answer, 401)
        assert answer["WWW-Authenticate"].startswith("Bearer")


def test_a_new_token_ends_the_old_one(scim: Scim, organization: Any, administrator: User):
    new = services.make_token(organization=organization, actor=administrator)
    error(scim.get("/Users"), 401)
    assert Scim(Client(), new).get("/Users").status_code == 200
    services.remove_token(organization=organization, actor=administrator)
    error(Scim(Client(), new).get("/Users"), 401)


@pytest.mark.parametrize(
    ("body", "scim_type"),
    [
        ({"schemas": [USER]}, "invalidValue"),
        ({"schemas": [USER], "userName": ""}, "invalidValue"),
        ({"schemas": [USER], "userName": 7}, "invalidValue"),
        ({"schemas": [USER], "userName": "x" * 300}, "invalidValue"),
        ({"schemas": [USER], "userName": "a\x00b"}, "invalidValue"),
        ({"schemas": [USER], "userName": "a", "emails": [{"value": "no address"}]}, "invalidValue"),
        ({"schemas": [USER], "userName": "a", "active": "perhaps"}, "invalidValue"),
        ([], "invalidSyntax"),
        ("text", "invalidSyntax"),
    ],
)
def test_wrong_members_are_refused_in_scims_shape(scim: Scim, body: Any, scim_type: str):
    error(scim.post("/Users", body), 400, scim_type)
    assert ScimUser.objects.filter(is_provisioned=True).count() == 0


def test_wrong_bodies_and_patches(scim: Scim, nina: dict[str, Any]):
    headers = {"Authorization": f"Bearer {scim.text}"}
    address = f"/Users/{nina['id']}"
    broken = scim.client.generic("POST", "/scim/v2/Users", b"{", content_type="application/scim+json", headers=headers)
    error(broken, 400, "invalidSyntax")
    error(scim.patch(address), 400, "invalidValue")
    error(scim.patch(address, {"op": "jump", "path": "displayName", "value": "x"}), 400, "invalidValue")
    error(scim.patch(address, {"op": "remove"}), 400, "noTarget")
    error(scim.patch(address, {"op": "replace", "path": "id", "value": "x"}), 400, "mutability")
    error(scim.patch(address, {"op": "replace", "path": "userName", "value": ""}), 400, "invalidValue")
    error(scim.patch(address, {"op": "replace", "path": "userName", "value": "ada"}), 409, "uniqueness")
    error(scim.ask("PATCH", address, {"Operations": "x"}), 400, "invalidValue")
    error(scim.ask("PATCH", address, {"Operations": [7]}), 400, "invalidValue")
    assert scim.get(address).json()["meta"]["version"] == nina["meta"]["version"]


def test_wrong_addresses_and_methods(scim: Scim, nina: dict[str, Any]):
    error(scim.get("/Users/not-a-uuid"), 404)
    error(scim.get("/Users/00000000-0000-0000-0000-000000000000"), 404)
    error(scim.get("/Bulk"), 404)
    error(scim.get("/"), 404)
    error(scim.post("/Nothing", {}), 404)
    error(scim.get("/a%0D%0Ab"), 404)
    error(scim.ask("DELETE", "/Users"), 405)
    error(scim.post(f"/Users/{nina['id']}", {}), 405)
    error(scim.post("/Schemas", {}), 405)
    error(scim.get('/Schemas?filter=id eq "x"'), 403)
    error(scim.get("/Schemas/urn:none"), 404)


def test_the_service_describes_itself(scim: Scim):
    config = scim.get("/ServiceProviderConfig").json()
    assert config["patch"]["supported"] is True
    assert config["filter"] == {"supported": True, "maxResults": 200}
    assert config["etag"]["supported"] is True
    assert config["bulk"]["supported"] is False
    schemas = scim.get("/Schemas").json()
    assert [one["id"] for one in schemas["Resources"]] == [USER, GROUP]
    assert scim.get(f"/Schemas/{USER}").json()["id"] == USER
    types = scim.get("/ResourceTypes").json()
    assert [one["endpoint"] for one in types["Resources"]] == ["/Users", "/Groups"]
    assert scim.get("/ResourceTypes/User").json()["schema"] == USER
