"""What may be sent to the pages of OAuth clients; the services check the rest."""

from __future__ import annotations

from typing import Any

from django import forms

from accounts.models import ClientKind
from accounts.oauth import scopes
from accounts.oauth.services import MAX_OVERLAP_HOURS


class ClientForm(forms.Form):
    name = forms.CharField(max_length=100, error_messages={"required": "Give the program a name."})
    redirect_uris = forms.CharField(required=False, max_length=10_000)
    scopes = forms.MultipleChoiceField(
        choices=list(scopes.ALL.items()), error_messages={"required": "Choose at least one scope."}
    )

    def content(self) -> dict[str, Any]:
        given = self.cleaned_data
        return {
            "name": given["name"],
            "redirect_uris": given["redirect_uris"].split(),
            "scopes": given["scopes"],
        }


class NewClientForm(ClientForm):
    kind = forms.ChoiceField(
        choices=ClientKind.choices, error_messages={"required": "Choose what kind of program it is."}
    )

    def content(self) -> dict[str, Any]:
        return super().content() | {"kind": self.cleaned_data["kind"]}


class RotateForm(forms.Form):
    overlap_hours = forms.IntegerField(min_value=0, max_value=MAX_OVERLAP_HOURS)
