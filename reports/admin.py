"""The back office: what was issued, to read and to take back, and what organisations let their reports say."""

from __future__ import annotations

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.db.models import QuerySet
from django.http import HttpRequest

from accounts.authentication import member_of
from deepfake.admin_site import ReadOnlyAdmin
from deepfake.errors import DomainError
from reports import services
from reports.models import ReportIssue, ReportSettings


class RevokeForm(ActionForm):
    reason = forms.CharField(required=False, max_length=300, label="Reason (public)")


@admin.register(ReportIssue)
class ReportIssueAdmin(ReadOnlyAdmin):
    """What was issued stays as it was; it can only be taken back."""

    list_display = ("public_id", "organization", "format", "label", "issued_at", "key_id", "revoked_at")
    list_filter = ("format", "label", "organization")
    list_select_related = ("organization",)
    search_fields = ("sha256", "json_sha256", "media_sha256", "key_id")
    action_form = RevokeForm
    actions = ("revoke",)

    @admin.action(description="Take back, with the reason given", permissions=["view"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[ReportIssue]) -> None:
        if not request.user.is_superuser:
            self.message_user(request, "Only an administrator of the installation takes reports back.", messages.ERROR)
            return
        try:
            for issue in chosen:
                services.revoke(issue=issue, reason=request.POST.get("reason", ""), actor=member_of(request))
        except DomainError as error:
            self.message_user(request, error.message, messages.ERROR)


@admin.register(ReportSettings)
class ReportSettingsAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    list_display = ("organization", "names_reviewers")
    list_select_related = ("organization",)
