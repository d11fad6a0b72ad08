"""Django's back office, in which staff see the rows of their own organisation and superusers all.

Which rows those are follows from the model: `organization`, or what its ModelAdmin names in `organization_path`. A
table that leads to no organisation is for superusers alone, whoever registered it. So a new table is closed until it
says whose its rows are, and no app has to remember it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.apps import AdminConfig
from django.core.exceptions import FieldDoesNotExist
from django.db.models import ForeignKey, Model, QuerySet
from django.http import HttpRequest

# Members are managed on the pages of the settings, where nobody gives what they do not hold.
SUPERUSERS_ONLY = {"accounts.user", "accounts.organization", "accounts.customrole"}


class HouseAdminConfig(AdminConfig):
    default_site = "deepfake.admin_site.HouseAdminSite"


class HouseAdminSite(admin.AdminSite):
    site_header = site_title = "Deepfake Detection, back office"

    def register(
        self, model_or_iterable: Any, admin_class: type[admin.ModelAdmin[Any]] | None = None, **options: Any
    ) -> None:
        models: Iterable[type[Model]] = (
            [model_or_iterable] if isinstance(model_or_iterable, type) else model_or_iterable
        )
        for model in models:
            base = admin_class or admin.ModelAdmin
            path = None if model._meta.label_lower in SUPERUSERS_ONLY else path_to_organization(model, base)
            scoped = type(base.__name__, (Scoped, base), {"organization_path": path, "__module__": base.__module__})
            super().register(model, scoped, **options)


def path_to_organization(model: type[Model], admin_class: type) -> str | None:
    named: str | None = getattr(admin_class, "organization_path", None)
    if named is not None:
        return named
    try:
        model._meta.get_field("organization")
    except FieldDoesNotExist:
        return None
    return "organization"


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """What the product wrote down stays as it was written; deleting is for services, which destroy the keys too."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Scoped:
    """Laid over every ModelAdmin; for superusers it changes nothing."""

    organization_path: str | None = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)  # type: ignore[misc]
        if is_superuser(request):
            return rows
        organization_id = getattr(request.user, "organization_id", None)
        if self.organization_path is None or organization_id is None:
            return rows.none()
        return rows.filter(**{self.organization_path: organization_id})

    def get_list_filter(self, request: HttpRequest) -> Any:
        """Filters over related rows would name those of other organisations."""
        filters = super().get_list_filter(request)  # type: ignore[misc]
        if is_superuser(request):
            return filters
        return [name for name in filters if isinstance(name, str) and not self._is_relation(name)]

    def _is_relation(self, name: str) -> bool:
        return bool(self.model._meta.get_field(name.split("__")[0]).is_relation)  # type: ignore[attr-defined]

    def formfield_for_foreignkey(self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        """Rows that point to a row offer those of the same organisation, or itself, and nothing of others."""
        if not is_superuser(request):
            kwargs["queryset"] = _own_rows(db_field.related_model, request)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)  # type: ignore[misc]

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._is_open(request) and super().has_module_permission(request)  # type: ignore[misc]

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_open(request) and super().has_view_permission(request, obj)  # type: ignore[misc]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._is_open(request) and super().has_add_permission(request)  # type: ignore[misc]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_open(request) and super().has_change_permission(request, obj)  # type: ignore[misc]

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self._is_open(request) and super().has_delete_permission(request, obj)  # type: ignore[misc]

    def _is_open(self, request: HttpRequest) -> bool:
        return is_superuser(request) or self.organization_path is not None


def is_superuser(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_superuser)


def _own_rows(model: Any, request: HttpRequest) -> QuerySet[Any]:
    rows: QuerySet[Any] = model._default_manager.all()
    organization_id = getattr(request.user, "organization_id", None)
    if model._meta.label_lower == "accounts.organization":
        return rows.filter(pk=organization_id)
    try:
        model._meta.get_field("organization")
    except FieldDoesNotExist:
        return rows.none()
    return rows.filter(organization=organization_id)
