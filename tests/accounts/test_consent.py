"""Consent: given, found again, withdrawn; never readable in the database."""

from __future__ import annotations

import hashlib

import pytest
from django.db import connection

from accounts import consent
from accounts.models import AuditLog, Consent
from deepfake.errors import DomainError


def test_given_and_withdrawn(organization, alice):
    given = consent.give(organization=organization, purpose="submit_media", user=alice, evidence={"page": "/"})
    assert given.text_sha256 == hashlib.sha256(consent.text_of("submit_media").encode()).hexdigest()
    assert consent.holds(organization=organization, purpose="submit_media", user=alice)
    consent.withdraw(given, how="By letter", actor=alice)
    assert not consent.holds(organization=organization, purpose="submit_media", user=alice)
    with pytest.raises(DomainError, match="withdrawn already"):
        consent.withdraw(given, how="again")
    assert list(AuditLog.objects.values_list("action", flat=True)) == ["consent.given", "consent.withdrawn"]


def test_somebody_from_outside_is_found_without_being_readable(organization, other_organization):
    consent.give(organization=organization, purpose="appeal_contact", subject="Anna@Example.org ", about=("job", "1"))
    ask = {"purpose": "appeal_contact", "subject": "anna@example.org"}
    assert consent.holds(organization=organization, **ask)
    assert not consent.holds(organization=other_organization, **ask)
    assert Consent.objects.get().subject == "Anna@Example.org"
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM accounts_consent")
        assert b"nna@" not in repr(cursor.fetchall()).encode()


def test_a_text_of_another_room(organization):
    row = consent.give(organization=organization, purpose="kyc_biometrics", subject="+49 1", text=("3", "I agree."))
    assert (row.text_version, row.text_sha256) == ("3", hashlib.sha256(b"I agree.").hexdigest())
    with pytest.raises(DomainError, match="no text"):
        consent.give(organization=organization, purpose="kyc_biometrics", subject="+49 1")
    with pytest.raises(DomainError, match="one person"):
        consent.give(organization=organization, purpose="submit_media")


def test_sending_keeps_the_statement_once(client, alice, organization):
    client.force_login(alice)
    assert consent.text_of("submit_media") in client.get("/").content.decode()
    for number in range(2):
        client.post("/analyses/", {"url": f"https://media.example.org/{number}.png"})
    row = Consent.objects.get()
    assert (row.user, row.purpose, row.evidence) == (alice, "submit_media", {"page": "/analyses/"})
