"""The back office: verdicts to read, threshold profiles of organisations to edit."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from accounts import audit
from deepfake.admin_site import ReadOnlyAdmin
from detection.models import (
    BranchScore,
    ExplanationArtifact,
    Feedback,
    InferenceResult,
    Job,
    Media,
    ModelVersion,
    ThresholdProfile,
    ThresholdProposal,
    ThresholdVersion,
    WebhookDelivery,
    WebhookEndpoint,
)
from detection.threshold_services import content_of, keep_version


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
    organization_path = "job__organization"
    list_display = ("job", "label", "score", "abstain_reason", "model_version", "created_at")
    list_filter = ("label", "abstain_reason", "model_version")
    list_select_related = ("job", "model_version")
    inlines = (BranchScoreInline, ArtifactInline)


@admin.register(ModelVersion)
class ModelVersionAdmin(ReadOnlyAdmin):
    list_display = ("name", "created_at")


class ThresholdVersionInline(ReadOnlyInline):
    model = ThresholdVersion
    fields = ("number", "content", "proposal", "changed_by", "created_at")
    readonly_fields = fields


@admin.register(ThresholdProfile)
class ThresholdProfileAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """An operator's way past the two people: it stays open for repairs, and each use of it is written down."""

    list_display = ("name", "organization", "kind", "host", "platform", "codec", "fake_at", "real_below", "retired_at")
    readonly_fields = ("version", "retired_at")
    inlines = (ThresholdVersionInline,)
    list_filter = ("organization",)
    list_select_related = ("organization",)

    def has_change_permission(self, request: HttpRequest, obj: ThresholdProfile | None = None) -> bool:
        # The shipped ones follow the weights; an organisation's profile of the same name takes their place.
        if obj is not None and obj.organization_id is None:
            return False
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: ThresholdProfile | None = None) -> bool:
        return False  # verdicts point at it; a proposal retires it

    def save_model(self, request: HttpRequest, obj: ThresholdProfile, form: Any, change: bool) -> None:
        before = content_of(ThresholdProfile.objects.get(pk=obj.pk)) if change else {}
        obj.version = obj.version + 1 if change else 1
        super().save_model(request, obj, form, change)
        keep_version(obj, actor=request.user)  # type: ignore[arg-type]
        audit.record(
            action="threshold.changed_by_operator",
            organization=obj.organization,
            actor=request.user,
            target=obj,
            details={"name": obj.name, "version": obj.version, "before": before, "after": content_of(obj)},
        )


@admin.register(ThresholdProposal)
class ThresholdProposalAdmin(ReadOnlyAdmin):
    list_display = ("name", "organization", "action", "state", "proposed_by", "decided_by", "created_at")
    list_filter = ("state", "organization")
    list_select_related = ("organization", "proposed_by", "decided_by")


@admin.register(ThresholdVersion)
class ThresholdVersionAdmin(ReadOnlyAdmin):
    organization_path = "profile__organization"
    list_display = ("profile", "number", "content", "changed_by", "created_at")
    list_select_related = ("profile", "changed_by")


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    list_display = ("event", "url", "attempts", "last_status", "delivered_at", "gave_up_at", "next_attempt_at")
    list_filter = ("event", "organization")
    list_select_related = ("organization", "endpoint", "job")


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnlyAdmin):
    list_display = ("url", "organization", "is_enabled", "off_reason", "failures", "last_success_at", "created_at")
    list_filter = ("is_enabled", "organization")
    list_select_related = ("organization",)
    exclude = ("secret", "previous_secret")


@admin.register(Feedback)
class FeedbackAdmin(ReadOnlyAdmin):
    organization_path = "job__organization"
    list_display = ("job", "label", "created_at")
    list_select_related = ("job",)
