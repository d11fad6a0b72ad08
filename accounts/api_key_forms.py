"""What a person may type about an API key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from accounts.api_keys import LIMITS, LONGEST_OVERLAP, OFFERED, check_expiry, holds_all, parse_addresses
from accounts.models import MOST_PER_MINUTE, ApiKey
from deepfake.errors import DomainError
from deepfake.reader_zone import DayField

ABOUT = {
    "detect:read": "read analyses, items, models and reports",
    "detect:write": "submit, start, cancel and delete analyses",
    "kyc:read": "read identity checks",
    "kyc:write": "run identity checks",
    "documents:read": "read checks of documents",
    "documents:write": "check documents",
    "review:read": "read review cases",
    "review:write": "take and decide review cases",
    "webhooks:read": "read webhooks and their deliveries",
    "webhooks:write": "set up webhooks, send deliveries again",
    "admin:read": "read keys and the audit log",
    "admin:write": "make, change and revoke keys",
    "audit:read": "read the audit log",
}
LIMIT_WORDS = {
    "reads_per_minute": "Reading",
    "writes_per_minute": "Writing",
    "submissions_per_minute": "Submitting",
    "reports_per_minute": "Reports as PDF or bundle",
}


def scope_choices(holds: Callable[[str], bool], kept: list[str]) -> list[tuple[str, str]]:
    """Scopes that the member holds and so may give, and those that the key has already."""
    offered = [scope for scope in OFFERED if not scope.endswith(":*") and holds_all(scope, holds)]
    found = dict.fromkeys([*offered, *kept])
    return [(scope, ABOUT.get(scope, "everything of this family")) for scope in found]


class ApiKeyForm(forms.Form):
    name = forms.CharField(max_length=80, error_messages={"required": "Say what the key is for."})
    scopes = forms.MultipleChoiceField(error_messages={"required": "Choose at least one thing that the key may do."})
    ip_allow_list = forms.CharField(required=False, max_length=6000)
    expires_on = DayField(required=False)

    def __init__(self, data: Any, *, choices: list[tuple[str, str]], api_key: ApiKey | None = None) -> None:
        super().__init__(data)
        self.api_key = api_key
        self.fields["scopes"].choices = choices  # type: ignore[attr-defined]
        for name in LIMITS:
            self.fields[name] = forms.IntegerField(required=False, min_value=1, max_value=MOST_PER_MINUTE)

    def clean_ip_allow_list(self) -> list[str]:
        return list(_refused_here(parse_addresses, self.cleaned_data["ip_allow_list"]))

    def clean_expires_on(self) -> datetime | None:
        """The end of that day where the reader is; a day that was not changed keeps its exact moment."""
        day = self.cleaned_data["expires_on"]
        before = self.api_key.expires_at if self.api_key else None
        if day is None or (before is not None and day == day_of(before)):
            return None if day is None else before
        end: datetime = timezone.make_aware(datetime.combine(day + timedelta(days=1), time.min))
        _refused_here(check_expiry, end)
        return end

    def values(self) -> dict[str, Any]:
        given = self.cleaned_data
        found = {name: given[name] for name in ("name", "scopes", "ip_allow_list", *LIMITS)}
        return found | {"expires_at": given["expires_on"]}

    @property
    def sentences(self) -> list[str]:
        return [str(error) for errors in self.errors.values() for error in errors]


def day_of(moment: datetime) -> Any:
    """The day at whose end a key expires: its first moment past that day belongs to the day before."""
    return (timezone.localtime(moment) - timedelta(microseconds=1)).date()


def as_typed(key: ApiKey) -> dict[str, Any]:
    """A key as its form shows it."""
    return {
        "name": key.name,
        "scopes": key.scopes,
        "ip_allow_list": "\n".join(key.ip_allow_list),
        "expires_on": day_of(key.expires_at).isoformat() if key.expires_at else "",
        **{name: getattr(key, name) or "" for name in LIMITS},
    }


class RotationForm(forms.Form):
    overlap_hours = forms.IntegerField(
        min_value=0,
        max_value=LONGEST_OVERLAP.days * 24,
        error_messages={"required": "Say for how many hours the old secret works on; 0 ends it now."},
    )


def _refused_here(check: Callable[[Any], Any], value: Any) -> Any:
    try:
        return check(value)
    except DomainError as error:
        raise forms.ValidationError(error.message) from None
