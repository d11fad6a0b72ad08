"""Saved views of the list: own, shared by administrators, the one that opens first."""

from __future__ import annotations

import pytest
from django.urls import reverse

from accounts.models import AuditLog
from detection import saved
from detection.models import DefaultView, SavedView
from tests import factories

pytestmark = pytest.mark.services

URL = "/views/"


def save(client, name="Clear fakes", query="label=fake&sort=score_high", **fields):
    return client.post(URL, {"name": name, "query": query, **fields})


def titles(client) -> list[str]:
    return [item["view"].name for item in client.get("/?sort=newest").context["views"]]


def test_a_view_is_its_query(client, alice):
    client.force_login(alice)
    response = save(client, query="?label=fake&after=1_x&sort=score_high&evil=%3Cscript%3E")
    assert response.headers["Location"] == "/?label=fake&sort=score_high"
    page = client.get("/?sort=score_high&label=fake").content.decode()
    assert 'href="/?label=fake&amp;sort=score_high" aria-current="page">Clear fakes' in page


def test_own_views_are_nobody_elses(client, alice, bob, charlie):
    client.force_login(alice)
    save(client)
    view = SavedView.objects.get()
    for person in (bob, charlie):
        client.force_login(person)
        assert titles(client) == []
        for name in ("delete_view", "default_view"):
            assert client.post(reverse(f"detection:{name}", args=[view.pk])).status_code == 404
    assert SavedView.objects.exists()


def test_administrators_share_with_their_organisation(client, administrator, alice, charlie):
    client.force_login(administrator)
    save(client, is_shared="on")
    view = SavedView.objects.get()
    assert AuditLog.objects.filter(action="view.shared").count() == 1
    client.force_login(alice)
    assert titles(client) == ["Clear fakes"]
    assert client.post(reverse("detection:delete_view", args=[view.pk])).status_code == 403
    client.force_login(charlie)
    assert titles(client) == []
    client.force_login(administrator)
    client.post(reverse("detection:delete_view", args=[view.pk]))
    assert not SavedView.objects.exists()


@pytest.mark.parametrize("person", ["alice", "bob", "vera"])
def test_others_do_not_share(client, request, person):
    client.force_login(request.getfixturevalue(person))
    response = save(client, is_shared="on")
    assert response.status_code == 403
    assert "Your role does not let you share views" in response.content.decode()
    assert 'name="is_shared"' not in client.get("/").content.decode()
    assert not SavedView.objects.exists()


def test_the_same_name_replaces(client, alice):
    client.force_login(alice)
    save(client)
    save(client, name="clear FAKES", query="label=real")
    assert [(view.name, view.query) for view in SavedView.objects.all()] == [("clear FAKES", "label=real")]


def test_the_default_opens_the_bare_list(client, alice, bob, organization):
    client.force_login(alice)
    save(client, is_default="on")
    assert client.get("/").headers["Location"] == "/?label=fake&sort=score_high"
    assert client.get("/?sort=newest").status_code == 200
    view = SavedView.objects.get()
    response = client.post(reverse("detection:default_view", args=[view.pk]), follow=True)
    assert "The list now opens with all analyses." in response.content.decode()
    assert client.get("/").status_code == 200
    client.post(reverse("detection:default_view", args=[view.pk]))
    client.force_login(bob)
    assert client.get("/").status_code == 200
    client.force_login(alice)
    client.post(reverse("detection:delete_view", args=[view.pk]))
    assert not DefaultView.objects.exists()
    assert client.get("/").status_code == 200


def test_a_default_that_is_shared_no_longer_is_none(client, administrator, alice):
    client.force_login(administrator)
    save(client, is_shared="on")
    view = SavedView.objects.get()
    client.force_login(alice)
    client.post(reverse("detection:default_view", args=[view.pk]))
    assert client.get("/").status_code == 302
    client.force_login(administrator)
    save(client)
    client.force_login(alice)
    assert client.get("/").status_code == 200


def test_a_view_needs_a_name_and_there_is_an_end(client, alice, monkeypatch):
    client.force_login(alice)
    response = save(client, name=" ")
    assert response.status_code == 400
    assert "Give the view a name." in response.content.decode()
    monkeypatch.setattr(saved, "MOST_PER_MEMBER", 1)
    save(client)
    assert save(client, name="Another").status_code == 409


def test_anonymous_and_wrong_method(client, alice, organization):
    view = SavedView.objects.create(organization=organization, owner=alice, name="Mine")
    urls = [URL, *(reverse(f"detection:{name}", args=[view.pk]) for name in ("delete_view", "default_view"))]
    for url in urls:
        assert client.post(url).status_code == 302
    client.force_login(alice)
    for url in urls:
        assert client.get(url).status_code == 405
    assert SavedView.objects.count() == 1


def test_a_member_of_no_organisation(client, alice):
    alice.organization = None
    alice.save()
    client.force_login(alice)
    assert save(client).status_code == 403


def test_views_of_a_member_who_left_do_not_follow(client, alice, charlie, other_organization):
    client.force_login(alice)
    save(client, is_default="on")
    alice.organization = other_organization
    alice.save()
    factories.make_job(organization=other_organization)
    assert client.get("/").status_code == 200
    assert titles(client) == []
