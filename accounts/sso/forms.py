"""What may be sent to the pages of single sign-on."""

from __future__ import annotations

from typing import Any

from django import forms

from accounts.models import Role, SsoConnection, SsoKind

MAX_MAPPINGS = 200


class ConnectionForm(forms.Form):
    """Fields of both kinds; the service asks for what its kind needs."""

    name = forms.CharField(max_length=60, error_messages={"required": "Give the connection a name."})
    is_enabled = forms.BooleanField(required=False)
    issuer = forms.CharField(required=False, max_length=500)
    client_id = forms.CharField(required=False, max_length=191)
    client_secret = forms.CharField(required=False, max_length=500)
    metadata_url = forms.CharField(required=False, max_length=500)
    metadata_xml = forms.CharField(required=False, max_length=500_000)
    vouches_for_emails = forms.BooleanField(required=False)
    makes_members = forms.BooleanField(required=False)
    default_role = forms.ChoiceField(choices=Role.choices)
    group_attribute = forms.CharField(required=False, max_length=200)
    group_roles = forms.CharField(required=False, max_length=20_000)

    def clean_group_roles(self) -> list[list[str]]:
        pairs = []
        for line in self.cleaned_data["group_roles"].splitlines():
            if not line.strip():
                continue
            group, separator, role = line.rpartition("=")
            if not separator or not group.strip() or role.strip() not in Role.values:
                raise forms.ValidationError(
                    f'Write "group = role" in each line, with one of {", ".join(Role.values)}. Wrong: {line.strip()}'
                )
            pairs.append([group.strip(), role.strip()])
        if len(pairs) > MAX_MAPPINGS:
            raise forms.ValidationError(f"At most {MAX_MAPPINGS} lines.")
        return pairs

    def content(self) -> dict[str, Any]:
        return dict(self.cleaned_data)

    @staticmethod
    def of(row: SsoConnection) -> dict[str, Any]:
        names = (
            "name", "is_enabled", "issuer", "client_id", "metadata_url", "vouches_for_emails", "makes_members",
            "default_role", "group_attribute",
        )  # fmt: skip
        mapping = "\n".join(f"{group} = {role}" for group, role in row.group_roles)
        return {name: getattr(row, name) for name in names} | {"group_roles": mapping}


class NewConnectionForm(ConnectionForm):
    kind = forms.ChoiceField(choices=SsoKind.choices)
