"""Django admin for accounts: limits of organisations, keys without their secrets, the audit log to read only."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.http import HttpRequest, HttpResponse

from accounts import audit
from accounts.api_keys import (
    LIMITS,
    OFFERED,
    change_api_key,
    create_api_key,
    parse_addresses,
    revoke_api_key,
    rotate_api_key,
)
from accounts.cors import allow_origin, origin_of, remove_origin
from accounts.models import AllowedOrigin, ApiKey, AuditLog, CustomRole, Organization, User
from accounts.services import email_was_changed, password_was_set
from deepfake.admin_site import ReadOnlyAdmin
from deepfake.errors import DomainError

ORGANIZATION_LIMITS: list[Any] = [*LIMITS, "max_waiting_jobs"]


@admin.register(Organization)
class OrganizationAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["name", "slug", "created_at"]
    search_fields = ["name", "slug"]
    readonly_fields = ["id", "created_at"]
    fieldsets = [
        (None, {"fields": ["name", "slug", "id", "created_at"]}),
        (
            "Limits",
            {
                "fields": ORGANIZATION_LIMITS,
                "description": "Requests a minute of all callers together; analyses that may wait at a time. "
                "Blank: what the settings of the installation say.",
            },
        ),
    ]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        limits = {name: form.cleaned_data.get(name) for name in form.changed_data if name in ORGANIZATION_LIMITS}
        super().save_model(request, obj, form, change)
        if change and limits:
            audit.record(
                action="organization.limits_changed",
                organization=obj,
                actor=request.user,
                target=obj,
                details=limits,
            )


@admin.register(User)
class MemberAdmin(UserAdmin):  # type: ignore[type-arg]
    list_display = ["username", "email", "organization", "role_name", "is_active", "is_staff"]
    list_filter = ["organization", "role", "is_active", "is_staff"]
    list_select_related = ["organization", "custom_role"]
    fieldsets = [*(UserAdmin.fieldsets or []), ("Organisation", {"fields": ["organization", "role", "custom_role"]})]
    add_fieldsets = [*(UserAdmin.add_fieldsets or []), ("Organisation", {"fields": ["organization", "role"]})]

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if change and "email" in form.changed_data:
            email_was_changed(user=obj, before=form.initial["email"])

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """Django's page; what it did is recorded, ends the member's sessions, and is told them by e-mail."""
        before = User.objects.filter(pk=id).values_list("password", flat=True).first() if id.isdecimal() else None
        response = super().user_change_password(request, id, form_url)
        member = User.objects.select_related("organization").filter(pk=id).first() if before is not None else None
        if member is not None and request.method == "POST" and member.password != before:
            password_was_set(
                user=member,
                actor=request.user,  # type: ignore[arg-type]
                keep=request.session.session_key if member == request.user else None,
            )
        return response


@admin.register(CustomRole)
class CustomRoleAdmin(ReadOnlyAdmin):
    """Put together on the page of roles, where nobody gives what they do not hold."""

    list_display = ["name", "organization", "permissions", "created_at"]
    list_select_related = ["organization"]


class ApiKeyAdminForm(forms.ModelForm):  # type: ignore[type-arg]
    """The operator may give any scope that opens something; the services check what else there is to check."""

    scopes = forms.MultipleChoiceField(widget=forms.CheckboxSelectMultiple)
    ip_allow_list = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 3}))
    sandbox = forms.BooleanField(required=False, help_text="Cannot be changed later.")

    class Meta:
        model = ApiKey
        fields = ["organization", "name", "scopes", "ip_allow_list", "expires_at", *LIMITS]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offered = dict.fromkeys([*OFFERED, *self.instance.scopes])
        self.fields["scopes"].choices = [(scope, scope) for scope in offered]  # type: ignore[attr-defined]
        self.initial["ip_allow_list"] = "\n".join(self.instance.ip_allow_list)

    def clean_ip_allow_list(self) -> list[str]:
        try:
            return parse_addresses(self.cleaned_data["ip_allow_list"])
        except DomainError as error:
            raise forms.ValidationError(error.message) from None


class AllowedOriginForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = AllowedOrigin
        fields = ["organization", "origin"]

    def clean_origin(self) -> str:
        try:
            return origin_of(self.cleaned_data["origin"])
        except DomainError as error:
            raise forms.ValidationError(error.message) from None


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Keys are made and changed by the services, so that secrets are hashed and everything is audited."""

    form = ApiKeyAdminForm
    list_display = [
        "name",
        "prefix",
        "organization",
        "scopes",
        "is_sandbox",
        "created_at",
        "last_used_at",
        "last_used_ip",
        "expires_at",
        "revoked_at",
    ]
    list_filter = ["organization", "is_sandbox"]
    list_select_related = ["organization"]
    search_fields = ["name", "prefix"]
    readonly_fields = [
        "prefix", "is_sandbox", "created_by", "created_at", "last_used_at", "last_used_ip", "rotated_at",
        "previous_valid_until", "revoked_at",
    ]  # fmt: skip
    actions = ["revoke", "rotate"]

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        typed = ["name", "scopes", "ip_allow_list", "expires_at", *LIMITS]
        return ["organization", "sandbox", *typed] if obj is None else ["organization", *self.readonly_fields, *typed]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [] if obj is None else ["organization", *self.readonly_fields]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return (obj is None or obj.revoked_at is None) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # a key is revoked: the audit log and its analyses name it

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        given = {name: form.cleaned_data[name] for name in ("name", "scopes", "ip_allow_list", "expires_at")}
        limits = {name: form.cleaned_data[name] for name in LIMITS}
        if change:
            key = ApiKey.objects.get(pk=obj.pk)  # `obj` holds what was typed already
            change_api_key(api_key=key, changes=given | limits, actor=request.user)  # type: ignore[arg-type]
            return
        key, text = create_api_key(
            organization=form.cleaned_data["organization"],
            created_by=request.user,  # type: ignore[arg-type]
            is_sandbox=form.cleaned_data["sandbox"],
            limits=limits,
            **given,
        )
        obj.pk, obj.prefix = key.pk, key.prefix
        self._show_once(request, text)

    def _show_once(self, request: HttpRequest, text: str) -> None:
        self.message_user(request, f"The key, shown this once: {text}", messages.WARNING)

    @admin.action(description="Revoke the selected keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: Any) -> None:
        for key in queryset.select_related("organization"):
            revoke_api_key(api_key=key, actor=request.user)  # type: ignore[arg-type]

    @admin.action(
        description="Give the selected keys a new secret (the old one works for a day)", permissions=["revoke"]
    )
    def rotate(self, request: HttpRequest, queryset: Any) -> None:
        for key in queryset.select_related("organization"):
            try:
                _, text = rotate_api_key(api_key=key, actor=request.user)  # type: ignore[arg-type]
            except DomainError as error:
                self.message_user(request, f"{key}: {error.message}", messages.ERROR)
            else:
                self._show_once(request, text)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.change_apikey")


@admin.register(AllowedOrigin)
class AllowedOriginAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Added and removed by the services, which check and record."""

    list_display = ["origin", "organization", "created_by", "created_at"]
    list_filter = ["organization"]
    list_select_related = ["organization", "created_by"]
    search_fields = ["origin"]
    fields = ["organization", "origin"]
    form = AllowedOriginForm

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        row = allow_origin(
            organization=obj.organization,
            origin=obj.origin,
            actor=request.user,  # type: ignore[arg-type]
        )
        obj.pk = row.pk

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        remove_origin(row=obj, actor=request.user)  # type: ignore[arg-type]

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for row in queryset.select_related("organization"):
            self.delete_model(request, row)


@admin.register(AuditLog)
class AuditLogAdmin(ReadOnlyAdmin):
    list_display = ["id", "created_at", "organization", "actor", "api_key_prefix", "action", "target_type", "target_id"]
    list_filter = ["organization", "action"]
    list_select_related = ["organization", "actor"]
    search_fields = ["action", "target_id", "api_key_prefix"]
    date_hierarchy = "created_at"
