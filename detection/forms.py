"""What a person may send to the Analyses page: files, addresses, filters, and a view's name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from django.utils import timezone
from django.utils.formats import date_format

from accounts.models import ApiKey, Organization, User
from deepfake.reader_zone import DayField, MomentField
from detection import holds, search
from detection.listing import DEFAULT_ORDER, ORDERS, ordered
from detection.models import Job, JobStatus, Label, Media, MediaKind, ModelVersion, ReviewOutcome, ReviewState
from detection.querysets import JobQuerySet, start_of
from detection.walking import walked

MOST_ADDRESSES = 50
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
    # One a line. Not a URLField: the service refuses addresses with sentences that say more than "enter a valid URL".
    url = forms.CharField(required=False, max_length=MOST_ADDRESSES * 2001)

    keeps_nothing = forms.BooleanField(required=False)

    def clean_url(self) -> list[str]:
        lines = [line.strip() for line in self.cleaned_data["url"].splitlines()]
        addresses = list(dict.fromkeys(line for line in lines if line))
        if len(addresses) > MOST_ADDRESSES:
            raise forms.ValidationError(
                f"At most {MOST_ADDRESSES} addresses are taken at once. Send the rest after these."
            )
        if any(len(address) > 2000 for address in addresses):
            raise forms.ValidationError("An address may have 2,000 characters at most.")
        return addresses

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not self.errors and not cleaned.get("files") and not cleaned.get("url"):
            raise forms.ValidationError("Choose at least one file, or paste the address of one.")
        return cleaned


REVIEW_CHOICES = [
    ("", "Reviewed or not"),
    ("waiting", "In review"),
    (ReviewState.DECIDED, "Decided"),
    ("confirmed", "Decided: confirmed"),
    ("overridden", "Decided: overridden"),
    ("never", "Never in review"),
]
WAITING = (ReviewState.OPEN, ReviewState.SECOND_OPINION, ReviewState.ESCALATED)
SANDBOX_CHOICES = [("", "Without sandbox"), ("only", "Sandbox only"), ("with", "With sandbox")]
WITHIN_CHOICES = [("", "Any time"), ("1", "Last 24 hours"), ("7", "Last 7 days"), ("30", "Last 30 days")]
HOLD_CHOICES = [("", "On hold or not"), ("held", "On legal hold")]
BY_API = "api"  # an uploader that is no person


@dataclass(frozen=True)
class Chip:
    """One filter that narrows the list, and the query without it."""

    text: str
    query: str


class AnalysisFilter(forms.Form):
    """Filters live in the address, so that a view of the list can be kept and shared."""

    q = forms.CharField(required=False, max_length=200)
    label = forms.ChoiceField(required=False, choices=[("", "Any verdict"), *Label.choices])
    kind = forms.ChoiceField(required=False, choices=[("", "Any kind"), *MediaKind.choices])
    status = forms.ChoiceField(required=False, choices=[("", "Any state"), *JobStatus.choices])
    review = forms.ChoiceField(required=False, choices=REVIEW_CHOICES)
    reviewer = forms.ChoiceField(required=False)
    uploader = forms.ChoiceField(required=False)
    key = forms.ChoiceField(required=False)
    domain = forms.CharField(required=False, max_length=253)
    score_from = forms.IntegerField(required=False, min_value=0, max_value=100)
    score_to = forms.IntegerField(required=False, min_value=0, max_value=100)
    hold = forms.ChoiceField(required=False, choices=HOLD_CHOICES)
    within = forms.ChoiceField(required=False, choices=WITHIN_CHOICES)
    since = DayField(required=False)
    until = DayField(required=False)
    sandbox = forms.ChoiceField(required=False, choices=SANDBOX_CHOICES)
    # Asked by links alone; the form keeps them while the other filters change.
    same_as = forms.UUIDField(required=False, widget=forms.HiddenInput)
    hour = MomentField(required=False, input_formats=["%Y-%m-%dT%H:%M"], widget=forms.HiddenInput)
    model = forms.CharField(required=False, max_length=120, widget=forms.HiddenInput)
    sort = forms.ChoiceField(required=False, choices=[(name, order.word) for name, order in ORDERS.items()])

    def __init__(self, data: Any, *, organization: Organization) -> None:
        super().__init__(data)
        self.organization = organization
        self.found: search.Found | None = None  # what the text search found, once applied
        members = User.objects.filter(organization=organization).order_by("first_name", "last_name", "username")
        names = ("first_name", "last_name", "username")
        people = list(members.select_related("custom_role").only(*names, "role", "custom_role__permissions"))
        named = [(str(user.pk), user.get_full_name() or user.get_username()) for user in people]
        reviewers = {str(user.pk) for user in people if user.can_review}
        self._choices("reviewer", [("", "Any reviewer"), *(choice for choice in named if choice[0] in reviewers)])
        self._choices("uploader", [("", "Anybody"), *named, (BY_API, "An API key")])
        keys = ApiKey.objects.filter(organization=organization).order_by("name", "prefix")
        keys = keys.only("name", "prefix", "is_sandbox", "revoked_at")
        self.sandbox_keys = {str(key.pk) for key in keys if key.is_sandbox}
        self._choices("key", [("", "Any key or none"), *((str(key.pk), _key_words(key)) for key in keys)])

    def _choices(self, name: str, choices: Sequence[tuple[str, str]]) -> None:
        self.fields[name].choices = choices  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if _is_reversed(cleaned.get("score_from"), cleaned.get("score_to")):
            self.add_error("score_to", "The second score must not be lower than the first.")
        if _is_reversed(cleaned.get("since"), cleaned.get("until")):
            self.add_error("until", "The second date must not lie before the first.")
        return cleaned

    @property
    def asked(self) -> dict[str, Any]:
        """What narrows the list: filters that were given and make sense."""
        self.is_valid()
        return {name: value for name, value in self.cleaned_data.items() if name != "sort" and value not in ("", None)}

    @property
    def is_narrowed(self) -> bool:
        return bool(self.asked)

    @property
    def order(self) -> str:
        self.is_valid()
        return self.cleaned_data.get("sort") or DEFAULT_ORDER

    @property
    def query(self) -> str:
        """The address of this list, without a page: blank for the list as it is."""
        self.is_valid()
        return self._without("")

    def _without(self, left_out: str) -> str:
        query = QueryDict(mutable=True)
        for name in self.fields:
            given = str(self.data.get(name) or "").strip()
            is_default = name == "sort" and given == DEFAULT_ORDER
            if given and name not in self.errors and name != left_out and not is_default:
                query[name] = given
        return query.urlencode()

    def rows(self) -> JobQuerySet:
        """Every filter that makes sense, of the organisation; one that does not is told in the form and left out."""
        jobs = Job.objects.visible_to(self.organization)
        asked = self.asked
        if {"q", "same_as", "hold"} & set(asked):
            # Few items are looked at, by their ids: the organisation must not tempt the database to walk all it has.
            jobs = Job.objects.filter(walked(Job, "organization", self.organization.pk), deleted_at=None)
        if "sandbox" not in asked and asked.get("key") not in self.sandbox_keys:
            jobs = jobs.filter(walked(Job, "is_sandbox", False))
        for name, value in asked.items():
            narrow = getattr(self, f"_by_{name}", None)
            jobs = narrow(jobs, value) if narrow else jobs.filter(walked(Job, COLUMNS[name], value))
        return jobs

    def in_order(self) -> JobQuerySet:
        """All that match, in the order that they are shown in."""
        return ordered(self.rows(), self.order)

    def _by_q(self, jobs: JobQuerySet, value: str) -> JobQuerySet:
        self.found = search.look_up(value, self.organization.pk)
        return jobs.filter(self.found.condition())

    def _by_same_as(self, jobs: JobQuerySet, value: Any) -> JobQuerySet:
        first = Media.objects.visible_to(self.organization).filter(pk=value).values_list("look", flat=True).first()
        alike = Media.objects.visible_to(self.organization).filter(look=first) if first else Media.objects.none()
        return jobs.filter(media_id__in=list(alike.values_list("pk", flat=True)[: search.MOST]))

    def _by_review(self, jobs: JobQuerySet, value: str) -> JobQuerySet:
        if value == "waiting":
            return jobs.filter(walked(Job, "review_state", *WAITING))
        if value == "never":
            return jobs.filter(walked(Job, "review_state", ""))
        if value == ReviewState.DECIDED:
            return jobs.filter(walked(Job, "review_state", value))
        outcome = ReviewOutcome.CONFIRM if value == "confirmed" else ReviewOutcome.OVERRIDE
        return jobs.filter(walked(Job, "review_state", ReviewState.DECIDED), walked(Job, "review_decision", outcome))

    def _by_sandbox(self, jobs: JobQuerySet, value: str) -> JobQuerySet:
        return jobs.filter(walked(Job, "is_sandbox", True)) if value == "only" else jobs

    def _by_hold(self, jobs: JobQuerySet, value: str) -> JobQuerySet:
        return jobs.filter(media_id__in=holds.held_media_ids(self.organization, search.MOST))

    def _by_uploader(self, jobs: JobQuerySet, value: str) -> JobQuerySet:
        return jobs.filter(created_by=None) if value == BY_API else jobs.filter(walked(Job, "created_by", int(value)))

    def _by_key(self, jobs: JobQuerySet, value: str) -> JobQuerySet:
        return jobs.filter(walked(Job, "api_key", UUID(value)))

    def _by_reviewer(self, jobs: JobQuerySet, value: str) -> JobQuerySet:
        return jobs.filter(walked(Job, "reviewer", int(value)))

    def _by_domain(self, jobs: JobQuerySet, value: str) -> JobQuerySet:
        return jobs.filter(walked(Job, "source_host", clean_host(value)))

    def _by_score_from(self, jobs: JobQuerySet, value: int) -> JobQuerySet:
        return jobs.filter(score__gte=value / 100)

    def _by_score_to(self, jobs: JobQuerySet, value: int) -> JobQuerySet:
        return jobs.filter(score__lte=value / 100)

    def _by_within(self, jobs: JobQuerySet, value: str) -> JobQuerySet:
        return jobs.filter(created_at__gte=timezone.now() - timedelta(days=int(value)))

    def _by_since(self, jobs: JobQuerySet, value: Any) -> JobQuerySet:
        return jobs.filter(created_at__gte=start_of(value))

    def _by_until(self, jobs: JobQuerySet, value: Any) -> JobQuerySet:
        return jobs.filter(created_at__lt=start_of(value + timedelta(days=1)))

    def _by_hour(self, jobs: JobQuerySet, value: Any) -> JobQuerySet:
        return jobs.filter(created_at__gte=value, created_at__lt=value + timedelta(hours=1))

    def _by_model(self, jobs: JobQuerySet, value: str) -> JobQuerySet:
        version = ModelVersion.objects.filter(name=value).values_list("pk", flat=True).first()
        return jobs.filter(result__model_version_id=version) if version else jobs.none()

    def chips(self) -> list[Chip]:
        return [Chip(self._words(name, value), self._without(name)) for name, value in self.asked.items()]

    def _words(self, name: str, value: Any) -> str:
        field = self.fields[name]
        if isinstance(field, forms.ChoiceField):
            word = dict(field.choices)[value]  # type: ignore[arg-type]
            return f"{SAID[name]} {word}" if name in SAID else str(word)
        if name in ("since", "until"):
            return f"{SAID[name]} {date_format(value, 'j M Y')}"
        if name == "hour":
            start = timezone.localtime(value)
            return f"{date_format(start, 'j M Y, H:i')}\N{EN DASH}{start + timedelta(hours=1):%H:%M}"
        if name in ("score_from", "score_to"):
            return f"{SAID[name]} {value}\N{NO-BREAK SPACE}%"
        if name == "same_as":
            return "Same or alike items"
        return f"{SAID[name]} \N{LEFT DOUBLE QUOTATION MARK}{value}\N{RIGHT DOUBLE QUOTATION MARK}"


COLUMNS = {"label": "final_label", "kind": "kind", "status": "status"}
SAID = {
    "q": "Search for",
    "reviewer": "Reviewer",
    "uploader": "Sent by",
    "key": "API key",
    "domain": "Fetched from",
    "score_from": "Score from",
    "score_to": "Score to",
    "since": "From",
    "until": "Until",
    "model": "Judged by",
}


def _key_words(key: ApiKey) -> str:
    return f"{key}{', revoked' if key.revoked_at else ''}"


def clean_host(value: str) -> str:
    """A host as people type it, or the host of a whole address."""
    host = value.strip().lower().partition("//")[2] or value.strip().lower()
    return host.partition("/")[0].partition(":")[0].removeprefix("www.")[:100]


class SavedViewForm(forms.Form):
    name = forms.CharField(max_length=60, error_messages={"required": "Give the view a name."})
    query = forms.CharField(required=False, max_length=2000)
    is_shared = forms.BooleanField(required=False)
    is_default = forms.BooleanField(required=False)

    def clean_query(self) -> str:
        """Only what a list can be asked for is kept: no page, and nothing that is not ours."""
        given = QueryDict(self.cleaned_data["query"].removeprefix("?"))
        kept = QueryDict(mutable=True)
        for name in AnalysisFilter.base_fields:
            if given.get(name) and (name, given[name]) != ("sort", DEFAULT_ORDER):
                kept[name] = given[name]
        return kept.urlencode()


def _is_reversed(first: Any, second: Any) -> bool:
    return first is not None and second is not None and second < first
