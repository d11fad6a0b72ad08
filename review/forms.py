"""What a person may send to the review pages."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any

from django import forms
from django.utils import timezone

from accounts.models import User
from deepfake.reader_zone import DayField
from detection.models import Label, MediaKind, ReviewOutcome, ReviewState
from review import marks, words
from review.models import Decision, Priority, Reason, ReviewPreference, ReviewSettings
from review.querysets import CaseQuerySet
from review.services import Opinion

DONE = "decided"
HOLDERS = [("", "Free or held"), ("free", "Free"), ("mine", "Held by me"), ("others", "Held by others")]


class QueueFilter(forms.Form):
    """Filters live in the address, so that a view of the queue can be kept and shared."""

    q = forms.CharField(required=False, max_length=200)
    state = forms.ChoiceField(required=False, choices=[("", "All unfinished"), *ReviewState.choices])
    reason = forms.ChoiceField(required=False, choices=[("", "Any reason"), *Reason.choices])
    priority = forms.ChoiceField(
        required=False, choices=[("", "Any priority"), *[(str(value), word) for value, word in Priority.choices[::-1]]]
    )
    kind = forms.ChoiceField(required=False, choices=[("", "Any kind"), *MediaKind.choices])
    label = forms.ChoiceField(required=False, choices=[("", "Any verdict"), *Label.choices])
    holder = forms.ChoiceField(required=False, choices=HOLDERS)
    overdue = forms.BooleanField(required=False)
    since = DayField(required=False)  # decided on that day or later; asked by the dashboard alone

    def __init__(self, data: Any, user: User) -> None:
        super().__init__(data)
        self.user = user
        self.is_valid()

    @property
    def asked(self) -> dict[str, Any]:
        return {name: value for name, value in self.cleaned_data.items() if value}

    @property
    def is_done(self) -> bool:
        return bool(self.asked.get("state") == DONE)

    @property
    def is_narrowed(self) -> bool:
        return bool(self.asked)

    def apply(self, cases: CaseQuerySet) -> CaseQuerySet:
        """Narrow by every filter that makes sense; one that does not is left out."""
        asked = self.asked
        cases = cases.finished() if self.is_done else cases.unfinished()
        plain = {"reason": "reason", "priority": "priority", "kind": "job__media__kind", "label": "job__result__label"}
        if not self.is_done:
            plain["state"] = "state"
        else:
            plain["label"] = "label"  # the final one, which leads in the list
        if self.is_done and asked.get("since"):
            cases = cases.filter(closed_at__gte=timezone.make_aware(datetime.combine(asked["since"], time.min)))
        cases = cases.filter(**{column: asked[name] for name, column in plain.items() if name in asked})
        if asked.get("q"):
            cases = cases.matching(asked["q"])
        if asked.get("overdue"):
            cases = cases.overdue()
        return self._held(cases, asked.get("holder", ""))

    def _held(self, cases: CaseQuerySet, holder: str) -> CaseQuerySet:
        if self.is_done:
            own = Decision.objects.standing().filter(reviewer=self.user).values("case")
            return cases.filter(pk__in=own) if holder == "mine" else cases
        if not holder:
            return cases
        if holder == "mine":
            return cases.held_by(self.user)
        if holder == "others":
            return cases.held_by_others(self.user)
        return cases.free_for(self.user)


# What the form calls an outcome, and what it stands for: (outcome, label of an override).
CHOICES = {
    "confirm": (ReviewOutcome.CONFIRM, ""),
    "override_real": (ReviewOutcome.OVERRIDE, Label.REAL),
    "override_fake": (ReviewOutcome.OVERRIDE, Label.FAKE),
    "cannot_tell": (ReviewOutcome.CANNOT_TELL, ""),
    "escalate": (ReviewOutcome.ESCALATE, ""),
}


class ReasonsField(forms.MultipleChoiceField):
    """A list that may come from a plain select, whose first entry is blank."""

    def to_python(self, value: Any) -> list[str]:
        return [code for code in super().to_python(value) if code]


class DecisionForm(forms.Form):
    outcome = forms.ChoiceField(
        choices=[(name, name) for name in CHOICES], error_messages={"required": "Choose what you decide."}
    )
    reasons = ReasonsField(required=False, choices=list(words.REASONS.items()))
    note = forms.CharField(required=False, max_length=marks.MAX_NOTE)
    helpfulness = forms.TypedChoiceField(
        required=False, choices=[(str(n), str(n)) for n in range(1, 6)], coerce=int, empty_value=None
    )
    asks_second = forms.BooleanField(required=False)
    answer = forms.CharField(required=False, max_length=4000)
    seen_state = forms.ChoiceField(required=False, choices=ReviewState.choices)

    def opinion(self) -> Opinion:
        given = self.cleaned_data
        outcome, label = CHOICES[given["outcome"]]
        return Opinion(
            outcome=outcome,
            label=label,
            reasons=tuple(given["reasons"]),
            note=given["note"],
            helpfulness=given["helpfulness"],
            asks_second=given["asks_second"],
            answer=given["answer"],
        )


class BulkForm(DecisionForm):
    cases = forms.TypedMultipleChoiceField(required=False)

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        sent = data.getlist("cases") if data else []
        self.fields["cases"].choices = [(value, value) for value in sent]  # type: ignore[attr-defined]
        self.order_fields(["cases"])


class AnnotationForm(forms.Form):
    text = forms.CharField(max_length=500, error_messages={"required": "Say what is to be seen there."})
    start_s = forms.FloatField(required=False, min_value=0)
    end_s = forms.FloatField(required=False, min_value=0)
    x = forms.FloatField(required=False, min_value=0)
    y = forms.FloatField(required=False, min_value=0)
    width = forms.FloatField(required=False, min_value=0)
    height = forms.FloatField(required=False, min_value=0)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        sides = [cleaned.get(name) for name in ("x", "y", "width", "height")]
        given = [side for side in sides if side is not None]
        if given and len(given) < 4 and not self.errors:
            raise forms.ValidationError("A region needs all four numbers: left, top, width and height.")
        cleaned["box"] = tuple(given) if len(given) == 4 else None
        return cleaned

    def place(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in ("text", "start_s", "end_s", "box")}


class ThresholdForm(forms.Form):
    """Percent, as people read them."""

    real_below = forms.FloatField(min_value=0, max_value=100)
    fake_at = forms.FloatField(min_value=0, max_value=100)
    reason = forms.CharField(required=False, max_length=1000)


class PreferenceForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = ReviewPreference
        fields = ["veil", "blurs", "greys", "mutes", "has_shortcuts"]


class SettingsForm(forms.ModelForm):  # type: ignore[type-arg]
    """Shares are asked for in percent; the fields carry the limits."""

    audit_percent = forms.FloatField(min_value=0, max_value=100)
    second_percent = forms.FloatField(min_value=0, max_value=100)
    from_percent = forms.FloatField(min_value=0, max_value=100)
    margin_percent = forms.FloatField(min_value=0, max_value=50)
    gap_percent = forms.FloatField(min_value=0, max_value=100)

    SHARES = {
        "audit_percent": "audit_rate",
        "second_percent": "second_opinion_rate",
        "from_percent": "uncertain_from",
        "margin_percent": "uncertain_margin",
        "gap_percent": "disagreement_gap",
    }

    class Meta:
        model = ReviewSettings
        fields = [
            "opens_uncertain",
            "opens_disagreement",
            "sla_urgent_h",
            "sla_high_h",
            "sla_normal_h",
            "sla_low_h",
            "claim_minutes",
            "undo_minutes",
            "appeal_days",
        ]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, column in self.SHARES.items():
            self.initial[name] = f"{100 * getattr(self.instance, column):g}"

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        for name in ("sla_urgent_h", "sla_high_h", "sla_normal_h", "sla_low_h", "claim_minutes", "appeal_days"):
            if cleaned.get(name) == 0:
                self.add_error(name, "At least 1.")
        for name, column in self.SHARES.items():
            if cleaned.get(name) is not None:
                setattr(self.instance, column, cleaned[name] / 100)
        return cleaned


class AppealForm(forms.Form):
    text = forms.CharField(max_length=4000, error_messages={"required": "Write what is wrong with the result."})
    email = forms.EmailField(required=False)


class KnownForm(forms.Form):
    job = forms.CharField(max_length=60)
    truth = forms.ChoiceField(choices=[("real", "Real"), ("fake", "Fake")])
    source = forms.CharField(required=False, max_length=300)
