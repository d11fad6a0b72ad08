"""Settings pages of single sign-on."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts import sign_in
from accounts.models import AuditLog, EmailDomain, Organization, SsoConnection, User
from tests import factories
from tests.accounts.sso.conftest import ISSUER, Provider, SamlIdp

OIDC = {
    "name": "Login",
    "is_enabled": "on",
    "issuer": ISSUER,
    "client_id": "client-1",
    "client_secret": "geheim",
    "default_role": "viewer",
    "group_attribute": "groups",
    "group_roles": "leads = reviewer\n\ndesk=analyst",
}


def test_make_change_and_remove_an_oidc_connection(client, administrator: User, provider: Provider):
    client.force_login(administrator)
    assert client.get(reverse("accounts:sso_new_oidc")).status_code == 200
    assert client.post(reverse("accounts:sso_new_oidc"), OIDC).status_code == 302
    row = SsoConnection.objects.get()
    assert row.group_roles == [["leads", "reviewer"], ["desk", "analyst"]]
    address = reverse("accounts:sso_connection", args=[row.pk])
    page = client.get(address).content.decode()
    assert f"/accounts/oidc/{row.provider_id}/login/callback/" in page
    assert "geheim" not in page
    assert "leads = reviewer" in page
    changed = OIDC | {"name": "Renamed", "client_secret": ""}
    changed.pop("is_enabled")
    assert client.post(address, changed).status_code == 302
    row.refresh_from_db()
    assert (row.name, row.is_enabled) == ("Renamed", False)
    answer = client.post(address, OIDC | {"group_roles": "leads reviewer"})
    assert answer.status_code == 400
    assert "group = role" in answer.content.decode()
    answer = client.post(address, OIDC | {"issuer": "https://login.example.net/x"})
    assert answer.status_code == 400
    assert client.post(reverse("accounts:sso_remove", args=[row.pk])).status_code == 302
    assert SsoConnection.objects.count() == 0
    actions = set(AuditLog.objects.values_list("action", flat=True))
    assert {"sso_connection.created", "sso_connection.changed", "sso_connection.removed"} <= actions


def test_make_a_saml_connection(client, administrator: User, idp: SamlIdp):
    client.force_login(administrator)
    body = {"name": "SAML", "is_enabled": "on", "default_role": "viewer", "metadata_xml": idp.metadata()}
    assert client.post(reverse("accounts:sso_new_saml"), body).status_code == 302
    row = SsoConnection.objects.get()
    page = client.get(reverse("accounts:sso_connection", args=[row.pk])).content.decode()
    assert f"/accounts/saml/{row.id.hex}/acs/" in page
    assert idp.entity_id in page


def test_domains_and_passwords(client, administrator: User, organization: Organization, monkeypatch: Any):
    client.force_login(administrator)
    overview = reverse("accounts:sso")
    client.post(reverse("accounts:sso_domain_add"), {"domain": "example.org"})
    row = EmailDomain.objects.get()
    page = client.get(overview).content.decode()
    assert row.token in page
    assert row.proof_url in page
    answer = client.post(reverse("accounts:sso_domain_add"), {"domain": "example.org"}, follow=True)
    assert "in the list already" in answer.content.decode()
    monkeypatch.setattr("accounts.sso.outgoing.read", lambda url, **options: row.token.encode())
    client.post(reverse("accounts:sso_domain_verify", args=[row.pk]))
    row.refresh_from_db()
    assert row.verified_at is not None
    assert AuditLog.objects.get(action="email_domain.verified").actor == administrator
    answer = client.post(reverse("accounts:sso_passwords"), {"passwords": "off"}, follow=True)
    assert "yourself first" in answer.content.decode()
    client.post(reverse("accounts:sso_passwords"), {"passwords": "on"})
    assert sign_in.rules_of(organization.pk).passwords_allowed
    client.post(reverse("accounts:sso_domain_remove", args=[row.pk]))
    assert EmailDomain.objects.count() == 0


def test_only_who_sets_the_rules_of_sign_in_gets_in(
    client, bob: User, other_organization: Organization, make_oidc: Any, organization: Organization
):
    row = make_oidc()
    domain = EmailDomain.objects.create(organization=organization, domain="example.org", verified_at=timezone.now())
    foreign = factories.make_user(other_organization, "eve", "admin")
    reading = [reverse("accounts:sso"), reverse("accounts:sso_new_oidc"), reverse("accounts:sso_new_saml")]
    own = [reverse("accounts:sso_connection", args=[row.pk])]
    acting = [
        reverse("accounts:sso_remove", args=[row.pk]),
        reverse("accounts:sso_domain_verify", args=[domain.pk]),
        reverse("accounts:sso_domain_remove", args=[domain.pk]),
    ]
    general = [reverse("accounts:sso_domain_add"), reverse("accounts:sso_passwords")]
    for address in (*reading, *own, *acting, *general):
        ask = client.post if address in (*acting, *general) else client.get
        client.logout()
        assert ask(address).status_code == 302, address
        assert "/accounts/login/" in ask(address)["Location"]
        client.force_login(bob)
        assert ask(address).status_code == 403, address
        assert client.put(address).status_code == 405, address
        client.force_login(foreign)
        assert (ask(address).status_code == 404) == (address in (*own, *acting)), address
    assert SsoConnection.objects.count() == 1
    assert EmailDomain.objects.filter(organization=organization).count() == 1
    assert "Example login" not in client.get(reverse("accounts:sso")).content.decode()


@pytest.mark.parametrize("count", [1, 6])
def test_the_overview_asks_the_database_a_fixed_number_of_times(
    client, administrator: User, organization: Organization, django_assert_num_queries, count: int
):
    for number in range(count):
        SsoConnection.objects.create(organization=organization, kind="oidc", name=f"c{number}")
        EmailDomain.objects.create(organization=organization, domain=f"d{number}.example")
    client.force_login(administrator)
    with django_assert_num_queries(6):
        client.get(reverse("accounts:sso"))
