"""Forms of second factors, throttled and audited, and of the sign-in rules."""

from __future__ import annotations

from typing import Any

from allauth.core import context
from allauth.mfa import signals as mfa_signals
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value, yield_hotp_counters_from_time
from allauth.mfa.utils import decrypt
from allauth.mfa.webauthn.forms import (
    AddWebAuthnForm,
    AuthenticateWebAuthnForm,
    EditWebAuthnForm,
    LoginWebAuthnForm,
    ReauthenticateWebAuthnForm,
)
from django import forms
from django.db import transaction

from accounts import sign_in, sign_in_throttle
from accounts.models import Factors, Organization, SignInRules

_Base = forms.Form
MOST_NAME = 60


class _CodeMixin(_Base):
    """Codes of an app or of the recovery sheet: growing waits, each code once, no app where only passkeys count."""

    user: Any
    authenticator: Authenticator

    def clean_code(self) -> str:
        name = str(self.user.pk)
        if wait := sign_in_throttle.reserve("factor", name):
            raise forms.ValidationError(sign_in_throttle.sentence(wait), "throttled")
        code: str = super().clean_code()  # type: ignore[misc]
        if self.authenticator.type == Authenticator.Type.TOTP:
            self._refuse_app_where_passkeys_are_asked()
            self._use_once(code)
        sign_in_throttle.succeeded("factor", name)
        return code

    def _refuse_app_where_passkeys_are_asked(self) -> None:
        rules = sign_in.rules_of(self.user.organization_id)
        if (
            rules.factors == Factors.PASSKEY
            and sign_in.is_required(self.user, rules)
            and sign_in.has_second_factor(self.user, rules)
        ):
            raise forms.ValidationError("Your organisation asks for a passkey here, not for a code of an app.")

    def _use_once(self, code: str) -> None:
        """A code is good for a minute and a half; whoever saw it typed must not use it again within that time."""
        digits = "".join(letter for letter in code if letter.isdigit())
        with transaction.atomic():
            row = Authenticator.objects.select_for_update().get(pk=self.authenticator.pk)
            secret = decrypt(row.data["secret"])
            used = next(
                (n for n in yield_hotp_counters_from_time() if format_hotp_value(hotp_value(secret, n)) == digits), None
            )
            if used is None or used <= row.data.get("last_counter", -1):
                raise forms.ValidationError("This code was used already. Wait for the next one.", "code_used")
            row.data["last_counter"] = used
            row.save(update_fields=["data"])
        self.authenticator.data = row.data


class CodeForm(_CodeMixin, AuthenticateForm):  # type: ignore[misc]
    pass


class ReauthenticateCodeForm(_CodeMixin, ReauthenticateForm):  # type: ignore[misc]
    pass


class ActivateAppForm(ActivateTOTPForm):  # type: ignore[misc]
    """Setting up an app: the same waits for wrong codes."""

    def clean_code(self) -> str:
        name = f"setup:{self.user.pk}"
        if wait := sign_in_throttle.reserve("factor", name):
            raise forms.ValidationError(sign_in_throttle.sentence(wait), "throttled")
        code: str = super().clean_code()
        sign_in_throttle.succeeded("factor", name)
        return code


class _PasskeyMixin(_Base):
    """allauth says nothing of passkeys that do not fit; the audit log should hold them, too."""

    user: Any
    reauthenticated = False

    def clean_credential(self) -> Authenticator:
        try:
            found: Authenticator = super().clean_credential()  # type: ignore[misc]
        except forms.ValidationError:
            mfa_signals.authentication_failed.send(
                sender=Authenticator,
                request=context.request,
                user=self.user,
                authenticator=None,
                reauthentication=self.reauthenticated,
            )
            raise
        return found


class PasskeyForm(_PasskeyMixin, AuthenticateWebAuthnForm):  # type: ignore[misc]
    pass


class PasskeySignInForm(_PasskeyMixin, LoginWebAuthnForm):  # type: ignore[misc]
    pass


class ReauthenticatePasskeyForm(_PasskeyMixin, ReauthenticateWebAuthnForm):  # type: ignore[misc]
    pass


class AddPasskeyForm(AddWebAuthnForm):  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("initial", {}).setdefault("passwordless", True)
        super().__init__(*args, **kwargs)
        self.fields["name"].max_length = MOST_NAME

    def clean_name(self) -> str:
        return str(super().clean_name())[:MOST_NAME]


class RenamePasskeyForm(EditWebAuthnForm):  # type: ignore[misc]
    name = forms.CharField(
        label="Name", max_length=MOST_NAME, widget=forms.TextInput(attrs={"maxlength": str(MOST_NAME)})
    )


class RulesForm(forms.Form):
    """The sign-in rules of an organisation."""

    required_roles = forms.MultipleChoiceField(required=False)
    factors = forms.ChoiceField(choices=Factors.choices)
    grace_days = forms.IntegerField(min_value=0, max_value=sign_in.HIGH_GRACE_DAYS)
    idle_minutes = forms.IntegerField(min_value=sign_in.LOW_IDLE_MINUTES, max_value=sign_in.HIGH_IDLE_MINUTES)
    session_hours = forms.IntegerField(min_value=sign_in.LOW_SESSION_HOURS, max_value=sign_in.HIGH_SESSION_HOURS)
    passwords_allowed = forms.BooleanField(required=False)

    def __init__(self, *args: Any, organization: Organization, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["required_roles"].choices = list(sign_in.role_choices(organization).items())  # type: ignore[attr-defined]

    @classmethod
    def of(cls, rules: SignInRules, organization: Organization) -> RulesForm:
        initial = {name: getattr(rules, name) for name in cls.base_fields}
        return cls(initial=initial, organization=organization)

    def clean(self) -> dict[str, Any]:
        wish = super().clean() or {}
        idle, hours = wish.get("idle_minutes"), wish.get("session_hours")
        if idle and hours and idle > hours * 60:
            self.add_error(
                "idle_minutes",
                f"A session ends after {hours} hours whatever happens; an idle one cannot last longer than that.",
            )
        return wish
