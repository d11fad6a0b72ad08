"""The pages of settings: one list, from which the hub, the side navigation and the palette are drawn."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from django.urls import reverse

from accounts.permissions import Permission


@dataclass(frozen=True)
class Entry:
    url_name: str
    words: str
    about: str
    permission: Permission | None = None  # None: for every member


@dataclass(frozen=True)
class Group:
    words: str
    entries: tuple[Entry, ...]


GROUPS = (
    Group(
        "You",
        (
            Entry("accounts:security", "Your sign-in", "Password, second factor, passkeys, devices that are signed in"),
            Entry("accounts:connected_programs", "Connected programs", "What you let act for you, and taking it back"),
            Entry("review:preferences", "Review material", "Blur, grey and mute", Permission.REVIEW_READ),
        ),
    ),
    Group(
        "Organisation",
        (
            Entry("accounts:members", "Members", "Who belongs here, and with which role", Permission.MEMBERS),
            Entry("accounts:roles", "Roles", "What each role may do, and roles of your own", Permission.MEMBERS),
            Entry("accounts:sign_in_rules", "Sign-in rules", "Second factor, length of sessions", Permission.SIGN_IN),
            Entry("accounts:sso", "Single sign-on", "OpenID Connect and SAML", Permission.SIGN_IN),
            Entry("accounts:provisioning", "Provisioning", "SCIM 2.0 for users and groups", Permission.SIGN_IN),
        ),
    ),
    Group(
        "Integration",
        (
            Entry("accounts:api_keys", "API keys", "Keys, scopes, addresses, limits, rotation", Permission.KEYS),
            Entry("accounts:oauth_clients", "OAuth clients", "Programs that sign in by OAuth 2", Permission.KEYS),
            Entry("accounts:origins", "Browser origins", "Web pages that may ask the API (CORS)", Permission.KEYS),
            Entry("detection:webhooks", "Webhooks", "Where events go, and what became of each", Permission.WEBHOOKS),
        ),
    ),
    Group(
        "Decisions",
        (
            Entry("detection:thresholds", "Threshold profiles", "From which score a verdict is given", Permission.VIEW),
            Entry("review:settings", "Review rules", "What comes into the queue, how soon", Permission.REVIEW_RULES),
        ),
    ),
    Group(
        "Privacy and records",
        (
            Entry("detection:privacy", "Retention and holds", "How long media are kept, and holds", Permission.PRIVACY),
            Entry("accounts:data_requests", "Data requests", "Export or erase a person's data", Permission.PRIVACY),
            Entry("accounts:audit", "Audit log", "Who did what, and when; proof that it is whole", Permission.AUDIT),
        ),
    ),
)  # fmt: skip

# Pages with navigations of their own, for whoever looks for one by name. Those of the header are known to every page.
ELSEWHERE = (
    Entry("review:mentions", "Mentioned you", "Notes on cases that call you with @", Permission.REVIEW_READ),
    Entry("review:statistics", "Review statistics", "Reviewers, agreement, kappa, time", Permission.REVIEW_STATISTICS),
    Entry("review:known_items", "Known items", "Planted in the queue to see how people judge", Permission.REVIEW_PLANT),
    Entry("reports:issues", "Issued reports", "Signed reports, and revoking them", Permission.VIEW),
    Entry("reports:verify_any", "Verify a report", "Check the signature of a report, or whether a file is the one"),
    Entry("reports:design", "Design", "How the pages are drawn: components, colours, both themes"),
)


def called(member: Any, typed: str) -> list[tuple[Entry, str]]:
    """The pages that this member may open and that `typed` means: each word begins one of a name or its explanation.

    Those that the name alone answers come first.
    """
    words = typed.lower().split()
    if not words:
        return []
    pages = [pair for _, pairs in groups_for(member) for pair in pairs]
    pages += _open_to(member, ELSEWHERE)
    meant = [pair for pair in pages if _begins(words, f"{pair[0].words} {pair[0].about}")]
    return sorted(meant, key=lambda pair: not _begins(words, pair[0].words))


def _begins(words: list[str], text: str) -> bool:
    parts = re.split(r"[^\w]+", text.lower())
    return all(any(part.startswith(word) for part in parts) for word in words)


def groups_for(member: Any) -> list[tuple[str, list[tuple[Entry, str]]]]:
    """Per group its words and the (entry, address) pairs that this member may open."""
    found = []
    for group in GROUPS:
        if pairs := _open_to(member, group.entries):
            found.append((group.words, pairs))
    return found


def _open_to(member: Any, entries: tuple[Entry, ...]) -> list[tuple[Entry, str]]:
    return [
        (entry, reverse(entry.url_name))
        for entry in entries
        if entry.permission is None or member.may(entry.permission)
    ]
