"""What a person may send to the Analyses page: files, an address, and filters."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.files.uploadedfile import UploadedFile

from detection.models import JobStatus, Label, MediaKind
from detection.querysets import JobQuerySet

ACCEPTED_TYPES = "image/*,video/*,audio/*,.heic,.heif,.mkv,.mov,.avi,.mpeg,.mpg,.m4a,.opus,.flac,.ogg"


class ManyFilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class ManyFilesField(forms.FileField):
    widget = ManyFilesInput

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile[Any]]:
        return [super(ManyFilesField, self).clean(file, initial) for file in data or []]


class SubmitForm(forms.Form):
    # The form class itself loses this name to its fields, so it does not hide BaseForm.files.
    files = ManyFilesField(required=False, allow_empty_file=True, max_length=255)  # type: ignore[assignment]
    # Not a URLField: the service refuses addresses with sentences that say more than "enter a valid URL".
    url = forms.CharField(required=False, max_length=2000)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors and not cleaned.get("files") and not cleaned.get("url"):
            raise forms.ValidationError("Choose at least one file, or paste the address of one.")
        return cleaned


class AnalysisFilter(forms.Form):
    """Filters live in the address, so that a view of the list can be kept and shared."""

    q = forms.CharField(required=False, max_length=200)
    label = forms.ChoiceField(required=False, choices=[("", "Any verdict"), *Label.choices])
    kind = forms.ChoiceField(required=False, choices=[("", "Any kind"), *MediaKind.choices])
    status = forms.ChoiceField(required=False, choices=[("", "Any state"), *JobStatus.choices])
    score_from = forms.IntegerField(required=False, min_value=0, max_value=100)
    score_to = forms.IntegerField(required=False, min_value=0, max_value=100)
    since = forms.DateField(required=False)
    until = forms.DateField(required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if _is_reversed(cleaned.get("score_from"), cleaned.get("score_to")):
            self.add_error("score_to", "The second score must not be lower than the first.")
        if _is_reversed(cleaned.get("since"), cleaned.get("until")):
            self.add_error("until", "The second date must not lie before the first.")
        return cleaned

    @property
    def is_narrowed(self) -> bool:
        return any(self.data.get(name) for name in self.fields)

    def apply(self, jobs: JobQuerySet) -> JobQuerySet:
        """Narrow by every filter that makes sense; one that does not is told in the form and left out."""
        self.is_valid()
        asked = self.cleaned_data
        named = {name: asked.get(name) for name in ("q", "label", "kind", "status", "since", "until")}
        jobs = jobs.filtered(**{name: value for name, value in named.items() if value})
        if asked.get("score_from") is not None:
            jobs = jobs.filter(result__score__gte=asked["score_from"] / 100)
        if asked.get("score_to") is not None:
            jobs = jobs.filter(result__score__lte=asked["score_to"] / 100)
        return jobs


def _is_reversed(first: Any, second: Any) -> bool:
    return first is not None and second is not None and second < first
