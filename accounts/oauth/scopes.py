"""The scopes that a program may ask for: those of the API, and those that tell who signed in."""

from __future__ import annotations

IDENTITY = {
    "openid": "Know that it is you",
    "profile": "Read your name, user name and role",
    "email": "Read your e-mail address",
}
API = {
    "detect:read": "See media, analyses and reports",
    "detect:write": "Submit media and start analyses",
    "webhooks:read": "See webhooks and their deliveries",
    "webhooks:write": "Change webhooks",
    "admin:read": "See settings and the audit log",
    "admin:write": "Change settings",
    "audit:read": "Read the audit log",
}
# What is offered: each of these opens something.
OFFERED = {**IDENTITY, **API}
# No address asks for these. Programs and keys that have them keep them.
OLDER = {
    "kyc:read": "See identity checks",
    "kyc:write": "Run identity checks",
    "documents:read": "See documents",
    "documents:write": "Submit documents",
    "review:read": "See review cases",
    "review:write": "Decide review cases",
}
ALL = {**OFFERED, **OLDER}
