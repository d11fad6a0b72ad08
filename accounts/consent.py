"""Consent: who agreed to which text, for what, and when they took it back."""

from __future__ import annotations

import hashlib
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.crypto import salted_hmac

from accounts import audit
from accounts.models import Consent, Organization, User
from deepfake.errors import DomainError

# The texts that are in use, by purpose: version and words. A new wording is a new version.
TEXTS: dict[str, tuple[str, str]] = {
    "appeal_contact": (
        "1",
        "We use this address only to send you the answer, and erase it with the analysis.",
    ),
    "submit_media": (
        "1",
        "I may send this material for analysis: it is mine, or I have a right to have it examined.",
    ),
}


def text_of(purpose: str) -> str:
    return TEXTS[purpose][1]


def give(
    *,
    organization: Organization,
    purpose: str,
    user: User | None = None,
    subject: str = "",
    evidence: dict[str, Any] | None = None,
    about: tuple[str, str] = ("", ""),
    text: tuple[str, str] | None = None,
) -> Consent:
    """Keep that somebody agreed. Either a member or `subject`, a reference of somebody from outside.

    evidence: how it was given (page, address, what was ticked). about: what for, as ("job", id). text: version and
    words, for a purpose that is not in TEXTS. Raises DomainError.
    """
    if (user is None) == (not subject.strip()):
        raise DomainError("Consent is given by a member or by one person from outside.", "consent_invalid")
    if text is None and purpose not in TEXTS:
        raise DomainError(f"There is no text for the purpose {purpose}.", "consent_invalid")
    version, words = text or TEXTS[purpose]
    with transaction.atomic():
        row = Consent.objects.create(
            organization=organization,
            user=user,
            subject=subject.strip(),
            subject_digest=digest_of(subject) if subject.strip() else "",
            purpose=purpose,
            text_version=version,
            text_sha256=hashlib.sha256(words.encode()).hexdigest(),
            evidence=evidence or {},
            about_type=about[0],
            about_id=about[1],
        )
        _audit("consent.given", row, user)
    return row


def give_once(*, organization: Organization, purpose: str, user: User, evidence: dict[str, Any]) -> Consent:
    """A member's standing consent to the text of today; given anew only when the text has changed."""
    found = of(organization=organization, purpose=purpose, user=user).filter(text_version=TEXTS[purpose][0]).first()
    return found or give(organization=organization, purpose=purpose, user=user, evidence=evidence)


def withdraw(consent: Consent, *, how: str, actor: User | None = None) -> None:
    """From now on it holds no more. Raises DomainError when it did not."""
    with transaction.atomic():
        standing = Consent.objects.filter(pk=consent.pk, withdrawn_at=None)
        if not standing.update(withdrawn_at=timezone.now(), withdrawn_how=how[:200]):
            raise DomainError("This consent was withdrawn already.", "consent_withdrawn", 409)
        _audit("consent.withdrawn", consent, actor)
    consent.refresh_from_db()


def of(*, organization: Organization, purpose: str, user: User | None = None, subject: str = "") -> QuerySet[Consent]:
    """The standing consents of one person for a purpose, newest first."""
    who = {"user": user} if user is not None else {"subject_digest": digest_of(subject)}
    rows = Consent.objects.filter(organization=organization, purpose=purpose, withdrawn_at=None, **who)
    return rows.order_by("-given_at")


def holds(*, organization: Organization, purpose: str, user: User | None = None, subject: str = "") -> bool:
    return of(organization=organization, purpose=purpose, user=user, subject=subject).exists()


def digest_of(subject: str) -> str:
    """Finds the rows of a person by their address or number, without the column telling it."""
    return salted_hmac("accounts.consent", subject.strip().lower(), algorithm="sha256").hexdigest()


def _audit(action: str, row: Consent, actor: User | None) -> None:
    details = {"purpose": row.purpose, "text_version": row.text_version}
    audit.record(action=action, organization=row.organization, actor=actor, target=row, details=details)
