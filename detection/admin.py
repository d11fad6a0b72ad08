"""The back office: verdicts to read, threshold profiles of organisations to edit."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from detection.models import (
    BranchScore,
    ExplanationArtifact,
    Feedback,
    InferenceResult,
    Job,
    Media,
    ModelVersion,
    ThresholdProfile,
    WebhookDelivery,
)


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """What the product wrote down stays as it was written."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False  # deleting goes through the service, which destroys the data keys too


class ReadOnlyInline(admin.TabularInline):  # type: ignore[type-arg]
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class BranchScoreInline(ReadOnlyInline):
    model = BranchScore
    fields = ("branch", "channel", "state", "score", "weight", "contribution", "sentence")


class ArtifactInline(ReadOnlyInline):
    model = ExplanationArtifact
    fields = ("kind", "caption", "time_s", "track", "score")


@admin.register(Media)
class MediaAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "organization", "kind", "filename", "size_bytes", "created_at")
    list_filter = ("kind", "organization")
    list_select_related = ("organization",)
    search_fields = ("filename", "sha256", "source_url")


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    list_display = ("public_id", "organization", "status", "stage", "attempts", "failure_code", "created_at")
    list_filter = ("status", "failure_code", "organization")
    list_select_related = ("organization",)
    search_fields = ("id",)


@admin.register(InferenceResult)
class InferenceResultAdmin(ReadOnlyAdmin):
    list_display = ("job", "label", "score", "abstain_reason", "model_version", "created_at")
    list_filter = ("label", "abstain_reason", "model_version")
    list_select_related = ("job", "model_version")
    inlines = (BranchScoreInline, ArtifactInline)


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyAdmin):
    list_display = ("name", "created_at")


@admin.register(ThresholdProfile)
class ThresholdProfileAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("name", "organization", "domain", "fake_at", "real_below")
    list_filter = ("organization",)
    list_select_related = ("organization",)

    def has_change_permission(self, request: HttpRequest, obj: ThresholdProfile | None = None) -> bool:
        # The shipped ones follow the weights; an organisation's profile of the same name takes their place.
        if obj is not None and obj.organization_id is None:
            return False
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: ThresholdProfile | None = None) -> bool:
        if obj is not None and obj.organization_id is None:
            return False
        return super().has_delete_permission(request, obj)


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    list_display = ("event", "url", "attempts", "last_status", "delivered_at", "gave_up_at", "next_attempt_at")
    list_filter = ("event", "organization")
    list_select_related = ("organization",)


@admin.register(Feedback)
class FeedbackAdmin(ReadOnlyAdmin):
    list_display = ("job", "label", "created_at")
    list_select_related = ("job",)
