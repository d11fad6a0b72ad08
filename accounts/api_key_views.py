"""Pages of API keys: the list, making one, one key with its form, rotating it, revoking it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import api_keys as services
from accounts.api_key_forms import LIMIT_WORDS, ApiKeyForm, RotationForm, as_typed, scope_choices
from accounts.authentication import may, organization_of
from accounts.models import ApiKey
from accounts.permissions import Permission, requires
from deepfake.errors import DomainError
from deepfake.reader_zone import in_readers_zone

# What a fresh key is shown at work with: the first of these that it may do.
EXAMPLES = (
    ("detect:write", '-X POST {base}/v1/detect -H "Authorization: Bearer {text}" -F "file=@statement.mp4"'),
    ("detect:read", '{base}/v1/jobs -H "Authorization: Bearer {text}"'),
    ("admin:read", '{base}/v1/keys -H "Authorization: Bearer {text}"'),
    ("webhooks:read", '{base}/v1/webhooks -H "Authorization: Bearer {text}"'),
)


@require_GET
@requires(Permission.KEYS)
@in_readers_zone
def api_keys(request: HttpRequest) -> HttpResponse:
    organization = organization_of(request)
    keys = ApiKey.objects.filter(organization=organization).select_related("created_by").order_by("-created_at", "-id")
    shows_revoked = request.GET.get("revoked") == "1"
    context = {
        "organization": organization,
        "keys": list(keys if shows_revoked else keys.filter(revoked_at=None)),
        "shows_revoked": shows_revoked,
        "revoked_count": keys.exclude(revoked_at=None).count(),
    }
    return render(request, "accounts/api_keys.html", context)


@require_http_methods(["GET", "POST"])
@requires(Permission.KEYS)
@never_cache
@in_readers_zone
def create(request: HttpRequest) -> HttpResponse:
    """The form; a key that was made is shown at once and never again, so there is nowhere to redirect to."""
    is_sandbox = request.POST.get("is_sandbox") == "1"
    form = ApiKeyForm(request.POST or {"scopes": ["detect:read", "detect:write"]}, choices=_choices(request))
    if request.method == "POST":
        try:
            _check(form)
            limits = {name: form.cleaned_data[name] for name in services.LIMITS}
            values = {name: value for name, value in form.values().items() if name not in limits}
            key, text = services.create_api_key(
                organization=organization_of(request),
                created_by=request.user,  # type: ignore[arg-type]  # `requires` lets only members in
                is_sandbox=is_sandbox,
                limits=limits,
                **_by(request),
                **values,
            )
            return _show_once(request, key, text, is_new=True)
        except DomainError as error:
            return _form(request, form, None, error.message, is_sandbox=is_sandbox)
    return _form(request, form, None, "", is_sandbox=is_sandbox)


@require_http_methods(["GET", "POST"])
@requires(Permission.KEYS)
@in_readers_zone
def api_key(request: HttpRequest, pk: UUID) -> HttpResponse:
    """One key: what became of it, and the form to change it."""
    key = _own(request, pk)
    is_sent = request.method == "POST"
    form = ApiKeyForm(request.POST if is_sent else as_typed(key), choices=_choices(request, key), api_key=key)
    if not is_sent:
        return _form(request, form, key, "")
    try:
        _check(form)
        services.change_api_key(api_key=key, changes=form.values(), actor=request.user, **_by(request))  # type: ignore[arg-type]
    except DomainError as error:
        return _form(request, form, key, error.message)
    messages.success(request, "The key was changed.")
    return redirect("accounts:api_key", key.pk)


@require_POST
@requires(Permission.KEYS)
@never_cache
@in_readers_zone
def rotate(request: HttpRequest, pk: UUID) -> HttpResponse:
    key = _own(request, pk)
    form = RotationForm(request.POST)
    try:
        if not form.is_valid():
            raise DomainError(" ".join(str(error) for error in form.errors["overlap_hours"]), "overlap_invalid")
        overlap = timedelta(hours=form.cleaned_data["overlap_hours"])
        key, text = services.rotate_api_key(api_key=key, overlap=overlap, actor=request.user, **_by(request))  # type: ignore[arg-type]
    except DomainError as error:
        messages.error(request, error.message)
        return redirect("accounts:api_key", key.pk)
    return _show_once(request, key, text, is_new=False)


@require_http_methods(["GET", "POST"])
@requires(Permission.KEYS)
@in_readers_zone
def revoke(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Asks first: what uses the key stops working at once."""
    key = _own(request, pk)
    if request.method == "GET":
        return render(request, "accounts/api_key_revoke.html", {"key": key})
    services.revoke_api_key(api_key=key, actor=request.user)  # type: ignore[arg-type]
    messages.success(request, f"{key.name} was revoked.")
    return redirect("accounts:api_keys")


def _own(request: HttpRequest, pk: UUID) -> ApiKey:
    keys = ApiKey.objects.select_related("organization", "created_by")
    return get_object_or_404(keys, pk=pk, organization=organization_of(request))


def _by(request: HttpRequest) -> dict[str, Any]:
    return {"holds": lambda scope: may(request, scope)}


def _choices(request: HttpRequest, key: ApiKey | None = None) -> list[tuple[str, str]]:
    return scope_choices(lambda scope: may(request, scope), key.scopes if key else [])


def _check(form: ApiKeyForm) -> None:
    if not form.is_valid():
        raise DomainError(" ".join(form.sentences), "invalid")


def _form(
    request: HttpRequest, form: ApiKeyForm, key: ApiKey | None, error: str, *, is_sandbox: bool = False
) -> HttpResponse:
    chosen = form.data.getlist("scopes") if hasattr(form.data, "getlist") else form.data.get("scopes", [])
    limits = [
        {
            "name": name,
            "word": word,
            "value": form.data.get(name, ""),
            "usual": getattr(settings, f"API_{name.upper()}"),
        }
        for name, word in LIMIT_WORDS.items()
    ]
    context = {
        "form": form,
        "key": key,
        "error": error,
        "is_sandbox": is_sandbox,
        "scopes": [(scope, about, scope in chosen) for scope, about in form.fields["scopes"].choices],  # type: ignore[attr-defined]
        "limits": limits,
        "usual_overlap": int(services.USUAL_OVERLAP.total_seconds() // 3600),
        "longest_overlap": services.LONGEST_OVERLAP.days * 24,
    }
    return render(request, "accounts/api_key.html", context, status=400 if error else 200)


def _show_once(request: HttpRequest, key: ApiKey, text: str, *, is_new: bool) -> HttpResponse:
    base = request.build_absolute_uri("/").rstrip("/")
    example = next((line.format(base=base, text=text) for scope, line in EXAMPLES if key.has_scope(scope)), "")
    context = {"key": key, "text": text, "example": f"curl {example}" if example else "", "is_new": is_new}
    return render(request, "accounts/api_key_made.html", context)
