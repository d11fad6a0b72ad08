"""What a person may ask about somebody's data."""

from __future__ import annotations

import re
import uuid
from typing import Any

from django import forms

from accounts.models import DataRequest, Organization, User

MOST_NAMED = 500
DIGEST = re.compile(r"[0-9a-f]{64}")


class RequestForm(forms.Form):
    kind = forms.ChoiceField(choices=DataRequest.Kind.choices)
    sure = forms.BooleanField(required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("kind") == DataRequest.Kind.ERASE and not cleaned.get("sure"):
            raise forms.ValidationError("Tick that you are sure: what is erased cannot be brought back.")
        return cleaned


class MemberRequestForm(RequestForm):
    member = forms.ModelChoiceField(
        queryset=User.objects.none(),
        error_messages={"required": "Choose a member.", "invalid_choice": "Choose a member."},
    )
    uploads = forms.BooleanField(required=False)

    def __init__(self, data: Any, *, organization: Organization) -> None:
        super().__init__(data)
        members = User.objects.filter(organization=organization).order_by("username")
        self.fields["member"].queryset = members  # type: ignore[attr-defined]

    def wish(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        return {
            "kind": cleaned["kind"],
            "about": DataRequest.About.MEMBER,
            "member": cleaned["member"],
            "wanted": {"uploads": cleaned["uploads"]},
        }


class PersonRequestForm(RequestForm):
    subject = forms.CharField(
        max_length=300, error_messages={"required": "Note whom it is about, as the name or the number of their letter."}
    )
    named = forms.CharField(
        max_length=MOST_NAMED * 80, error_messages={"required": "Give the analyses or digests that show the person."}
    )
    alike = forms.BooleanField(required=False)

    def clean_named(self) -> dict[str, list[str]]:
        """Ids of analyses (also whole addresses of their pages) and SHA-256 digests, in any order."""
        jobs, digests = [], []
        for word in re.split(r"[\s,;]+", self.cleaned_data["named"].strip().lower()):
            word = word.rstrip("/").rpartition("/")[2]
            if DIGEST.fullmatch(word):
                digests.append(word)
                continue
            try:
                jobs.append(str(uuid.UUID(word.removeprefix("job_"))))
            except ValueError:
                raise forms.ValidationError(
                    f"\N{LEFT DOUBLE QUOTATION MARK}{word[:80]}\N{RIGHT DOUBLE QUOTATION MARK} is neither the id of an "
                    "analysis nor a SHA-256 digest."
                ) from None
        if len(jobs) + len(digests) > MOST_NAMED:
            raise forms.ValidationError(f"At most {MOST_NAMED} can be named at once.")
        return {"jobs": jobs, "sha256": digests}

    def wish(self) -> dict[str, Any]:
        cleaned = self.cleaned_data
        return {
            "kind": cleaned["kind"],
            "about": DataRequest.About.PERSON,
            "subject": cleaned["subject"],
            "wanted": cleaned["named"] | {"alike": cleaned["alike"]},
        }
