"""The back office shows what was issued, changes nothing of it, and takes a report back only with a reason."""

from __future__ import annotations

import pytest
from django.urls import reverse

from accounts.models import AuditLog
from tests import factories

pytestmark = pytest.mark.services
LIST = "/admin/reports/reportissue/"


@pytest.fixture
def operator(organization):
    return factories.make_user(organization, "operator", is_staff=True, is_superuser=True)


def take_back(client, issue, reason: str):
    form = {"action": "revoke", "_selected_action": [str(issue.pk)], "reason": reason}
    return client.post(LIST, form, follow=True)


def test_issues_are_listed_and_cannot_be_changed(client, operator, issued_json) -> None:
    client.force_login(operator)
    assert issued_json.issue.public_id in client.get(LIST).content.decode()
    change = reverse("admin:reports_reportissue_change", args=[issued_json.issue.pk])
    assert client.post(change, {"label": "real"}).status_code == 403
    assert client.get(reverse("admin:reports_reportissue_add")).status_code == 403


def test_a_report_is_taken_back_with_a_reason(client, operator, issued_json) -> None:
    client.force_login(operator)
    assert "Say why" in take_back(client, issued_json.issue, "").content.decode()
    issued_json.issue.refresh_from_db()
    assert issued_json.issue.revoked_at is None
    take_back(client, issued_json.issue, "The wrong file was examined.")
    issued_json.issue.refresh_from_db()
    assert issued_json.issue.revoked_reason == "The wrong file was examined."
    assert AuditLog.objects.get(action="report.revoked").actor == operator


def test_an_analyst_has_no_business_here(client, alice, issued_json) -> None:
    client.force_login(alice)
    assert client.get(LIST).status_code == 302
