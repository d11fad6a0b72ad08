"""The list of issued reports: one's own, findable, and a report can be taken back by those who may."""

from __future__ import annotations

import pytest
from django.urls import reverse

from accounts.models import Role
from reports import services
from reports.models import ReportIssue
from tests import factories

pytestmark = pytest.mark.services
URL = "/reports/"


def test_a_member_sees_what_was_issued(client, vera, issued_json, finished) -> None:
    client.force_login(vera)
    page = client.get(URL).content.decode()
    assert issued_json.issue.public_id in page
    assert finished.media.filename in page
    assert "Stands" in page
    assert f'href="{URL}"' in client.get("/").content.decode()  # in the account menu
    assert "Take back" not in page  # a viewer looks


def test_access(client, charlie, issued_json) -> None:
    assert client.get(URL).status_code == 302
    client.force_login(charlie)
    assert issued_json.issue.public_id not in client.get(URL).content.decode()
    assert client.post(URL).status_code == 405


@pytest.mark.parametrize("ask", ["id", "name", "digest", "job"])
def test_a_report_is_found(client, alice, issued_json, finished, ask) -> None:
    client.force_login(alice)
    q = {
        "id": issued_json.issue.public_id,
        "name": finished.media.filename[2:6],
        "digest": issued_json.issue.sha256[:12].upper(),
        "job": finished.public_id,
    }[ask]
    assert issued_json.issue.public_id in client.get(URL, {"q": q}).content.decode()
    assert "Nothing fits" in client.get(URL, {"q": "something else"}).content.decode()


def test_an_empty_list_says_what_to_do(client, alice) -> None:
    client.force_login(alice)
    assert "Open a finished analysis" in client.get(URL).content.decode()


def test_a_reviewer_takes_a_report_back(client, bob, issued_json) -> None:
    client.force_login(bob)
    address = reverse("reports:revoke", args=[issued_json.issue.pk])
    assert client.get(address).status_code == 405
    assert client.post(address, {"reason": ""}).status_code == 400
    page = client.post(address, {"reason": "Wrong item."}, follow=True).content.decode()
    assert "Taken back" in page
    assert "Wrong item." in page
    assert ReportIssue.objects.get().revoked_at is not None


def test_who_may_not_take_a_report_back(client, alice, charlie, issued_json) -> None:
    address = reverse("reports:revoke", args=[issued_json.issue.pk])
    client.force_login(alice)
    assert client.post(address, {"reason": "x"}).status_code == 403
    client.force_login(charlie)
    assert client.post(address, {"reason": "x"}).status_code == 403
    client.force_login(factories.make_user(charlie.organization, "otto", Role.REVIEWER))
    assert client.post(address, {"reason": "x"}).status_code == 404
    assert ReportIssue.objects.get().revoked_at is None


def test_queries_do_not_grow_with_the_list(client, alice, finished, django_assert_max_num_queries) -> None:
    for _ in range(5):
        services.issue(job=finished, wanted="json", actor=alice)
    client.force_login(alice)
    with django_assert_max_num_queries(6):  # session, user, organisation, mentions, count, list
        client.get(URL)
