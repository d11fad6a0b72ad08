"""Django admin for accounts: keys without their secrets, the audit log to read only."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.http import HttpRequest

from accounts.models import ApiKey, AuditLog, Organization, User
from accounts.services import revoke_api_key


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Organization)
class OrganizationAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["name", "slug", "created_at"]
    search_fields = ["name", "slug"]
    readonly_fields = ["id", "created_at"]


@admin.register(User)
class MemberAdmin(UserAdmin):  # type: ignore[type-arg]
    list_display = ["username", "email", "organization", "role", "is_active", "is_staff"]
    list_filter = ["organization", "role", "is_active", "is_staff"]
    list_select_related = ["organization"]
    fieldsets = [*(UserAdmin.fieldsets or []), ("Organisation", {"fields": ["organization", "role"]})]
    add_fieldsets = [*(UserAdmin.add_fieldsets or []), ("Organisation", {"fields": ["organization", "role"]})]


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """A key's text exists only when it is made, so keys are made by command and never here."""

    list_display = [
        "name",
        "prefix",
        "organization",
        "scopes",
        "created_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
    ]
    list_filter = ["organization"]
    list_select_related = ["organization"]
    search_fields = ["name", "prefix"]
    exclude = ["secret_hash", "signing_secret"]
    actions = ["revoke"]

    @admin.action(description="Revoke the selected keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: Any) -> None:
        for key in queryset.select_related("organization"):
            revoke_api_key(api_key=key, actor=request.user)  # type: ignore[arg-type]

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("accounts.change_apikey")


@admin.register(AuditLog)
class AuditLogAdmin(ReadOnlyAdmin):
    list_display = ["id", "created_at", "organization", "actor", "api_key_prefix", "action", "target_type", "target_id"]
    list_filter = ["organization", "action"]
    list_select_related = ["organization", "actor"]
    search_fields = ["action", "target_id", "api_key_prefix"]
    date_hierarchy = "created_at"
