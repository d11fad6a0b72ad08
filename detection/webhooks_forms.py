"""What a person may send to the pages of webhooks. The services check the rest, and say it in sentences."""

from __future__ import annotations

from typing import Any

from django import forms

from deepfake.reader_zone import DayField, MomentField
from detection.webhooks import EVENTS, TEST_EVENT

STATES = [
    ("", "All"),
    ("waiting", "Waiting"),
    ("retrying", "Retrying"),
    ("delivered", "Delivered"),
    ("failed", "Failed"),
]
OVERLAPS = [("0", "Not at all"), ("1", "1 hour"), ("24", "24 hours"), ("168", "7 days")]


class EndpointForm(forms.Form):
    url = forms.CharField(max_length=2000, error_messages={"required": "Give the address that shall be called."})
    description = forms.CharField(required=False, max_length=200)
    all_events = forms.BooleanField(required=False)
    events = forms.MultipleChoiceField(required=False, choices=list(EVENTS.items()))

    def wanted(self) -> dict[str, Any]:
        given = self.cleaned_data
        events = ["*"] if given["all_events"] else given["events"]
        return {"url": given["url"], "description": given["description"], "events": events}


class LogForm(forms.Form):
    """The filters of the log."""

    state = forms.ChoiceField(required=False, choices=STATES)
    event = forms.ChoiceField(required=False, choices=[("", "All"), *[(name, name) for name in (*EVENTS, TEST_EVENT)]])
    since = DayField(required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = DayField(required=False, widget=forms.DateInput(attrs={"type": "date"}))


class RangeForm(forms.Form):
    """A time range to send again."""

    since = MomentField(error_messages={"required": "Say from when on.", "invalid": "Say from when on."})
    until = MomentField(required=False)
    state = forms.ChoiceField(choices=[("failed", "What failed"), ("all", "Everything")], initial="failed")


class RotateForm(forms.Form):
    overlap_hours = forms.TypedChoiceField(choices=OVERLAPS, coerce=int, initial="24")
