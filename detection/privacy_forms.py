"""What a person may set about keeping and holding."""

from __future__ import annotations

from typing import Any

from django import forms

from detection.models import MediaKind, RetentionRule, RetentionSettings
from detection.privacy_models import MOST_DAYS
from detection.retention import FIELDS

KINDS = [("", "Every kind"), *((str(value), f"{word} only") for value, word in MediaKind.choices)]
COLUMNS = {"media_days": "The item", "artifact_days": "Pictures that explain", "result_days": "The whole analysis"}


class RetentionForm(forms.Form):
    """A table of days: one row per kind of media, one column per sort of thing; blank is "no time limit"."""

    review_extra_days = forms.IntegerField(min_value=0, max_value=MOST_DAYS)
    request_days_from = forms.IntegerField(min_value=1, max_value=MOST_DAYS)
    request_days_to = forms.IntegerField(min_value=1, max_value=MOST_DAYS)
    allows_zero_retention = forms.BooleanField(required=False)

    def __init__(self, data: Any, *, rules: dict[str, RetentionRule], own: RetentionSettings) -> None:
        super().__init__(data)
        for name in ("review_extra_days", "request_days_from", "request_days_to", "allows_zero_retention"):
            self.fields[name].initial = getattr(own, name)
        for kind, _ in KINDS:
            for column in FIELDS:
                self.fields[self._name(kind, column)] = forms.IntegerField(
                    required=False,
                    min_value=1,
                    max_value=MOST_DAYS,
                    initial=getattr(rules[kind], column) if kind in rules else None,
                )

    @staticmethod
    def _name(kind: str, column: str) -> str:
        return f"{kind or 'any'}_{column}"

    def table(self) -> list[tuple[str, list[tuple[str, Any]]]]:
        """Rows for the page: the kind in words, and its cells as (label, bound field)."""
        return [
            (word, [(f"{word}: {COLUMNS[column]}", self[self._name(kind, column)]) for column in FIELDS])
            for kind, word in KINDS
        ]

    def rules(self) -> dict[str, dict[str, int | None]]:
        return {kind: {column: self.cleaned_data[self._name(kind, column)] for column in FIELDS} for kind, _ in KINDS}

    def own(self) -> dict[str, Any]:
        names = ("review_extra_days", "request_days_from", "request_days_to", "allows_zero_retention")
        return {name: self.cleaned_data[name] for name in names}

    def first_error(self) -> str:
        return f"Days are whole numbers from 1 to {MOST_DAYS:,}; leave a field blank for no time limit."


class ReasonForm(forms.Form):
    reason = forms.CharField(required=False, max_length=1000)


class HoldForm(ReasonForm):
    scope = forms.ChoiceField(required=False, choices=[("item", "The item"), ("job", "This analysis")])
