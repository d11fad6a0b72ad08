"""The back office of review: what was decided to read, the rules to edit."""

from __future__ import annotations

from django.contrib import admin

from deepfake.admin_site import ReadOnlyAdmin
from review.models import Appeal, Decision, ReviewCase, ReviewSettings


@admin.register(ReviewCase)
class ReviewCaseAdmin(ReadOnlyAdmin):
    list_display = ["public_id", "organization", "state", "reason", "priority", "due_at", "claimed_by", "label"]
    list_filter = ["organization", "state", "reason", "priority"]
    list_select_related = ["organization", "claimed_by"]
    date_hierarchy = "opened_at"


@admin.register(Decision)
class DecisionAdmin(ReadOnlyAdmin):
    list_display = ["case_id", "reviewer", "round", "outcome", "label", "machine_label", "created_at", "undone_at"]
    list_filter = ["organization", "outcome", "round"]
    list_select_related = ["reviewer"]
    date_hierarchy = "created_at"


@admin.register(Appeal)
class AppealAdmin(ReadOnlyAdmin):
    list_display = ["job_id", "created_at", "answered_at", "label"]
    exclude = ["email"]  # for one message, not for lists
    date_hierarchy = "created_at"


@admin.register(ReviewSettings)
class ReviewSettingsAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ["organization", "audit_rate", "second_opinion_rate", "undo_minutes"]
    list_select_related = ["organization"]
