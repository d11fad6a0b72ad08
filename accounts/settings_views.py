"""The first page of the settings."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.permissions import members_only
from accounts.settings_nav import groups_for


@require_GET
@members_only
def hub(request: HttpRequest) -> HttpResponse:
    return render(request, "accounts/settings.html", {"groups": groups_for(request.user)})
