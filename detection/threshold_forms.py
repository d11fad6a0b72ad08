"""What a person may send to the pages of threshold profiles."""

from __future__ import annotations

from typing import Any

from django import forms

from detection.models import MediaKind
from detection.profile_matching import PLATFORMS, Item

KINDS = [("", "Any kind"), *MediaKind.choices]


class ProposalForm(forms.Form):
    """Percent on the page, shares below. The service checks the rest, and says it in sentences."""

    name = forms.CharField(required=False, max_length=60)
    kind = forms.ChoiceField(required=False, choices=KINDS)
    platform = forms.ChoiceField(required=False, choices=[("", "Any"), *[(name, name) for name in PLATFORMS]])
    host = forms.CharField(required=False, max_length=253)
    codec = forms.CharField(required=False, max_length=30)
    real_below = forms.FloatField(
        min_value=0, max_value=100, error_messages={"required": "Say below which score an item reads real."}
    )
    fake_at = forms.FloatField(
        min_value=0, max_value=100, error_messages={"required": "Say from which score on an item reads fake."}
    )
    why = forms.CharField(required=False, max_length=2000)

    def content(self) -> dict[str, Any]:
        given = self.cleaned_data
        limits = {name: given[name] / 100 for name in ("fake_at", "real_below")}
        return {name: given[name] for name in ("kind", "platform", "host", "codec")} | limits


class WhichForm(forms.Form):
    """An upload that is thought of: which profile would it get?"""

    kind = forms.ChoiceField(required=False, choices=MediaKind.choices)
    host = forms.CharField(required=False, max_length=253)
    codec = forms.CharField(required=False, max_length=30)

    def item(self) -> Item | None:
        if not self.is_valid() or not self.cleaned_data["kind"]:
            return None
        given = {name: value.strip().lower() for name, value in self.cleaned_data.items()}
        return Item(given["kind"], given["host"], frozenset({given["codec"]} - {""}))
