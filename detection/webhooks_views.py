"""Pages of webhooks: the list with their health, one with its log, one delivery with its attempts."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.authentication import organization_of
from accounts.models import User
from accounts.permissions import Permission, requires
from deepfake.errors import DomainError
from deepfake.reader_zone import in_readers_zone
from detection import webhooks_services as services
from detection.models import WebhookAttempt, WebhookDelivery, WebhookEndpoint
from detection.querysets import start_of
from detection.webhooks import EVENTS
from detection.webhooks_forms import EndpointForm, LogForm, RangeForm, RotateForm

PAGE_SIZE = 50
SHOWN_CHARACTERS = 64 * 1024
COUNTED_DAYS = 7


def _member(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # the permission is asked for
    return request.user


def _endpoint(request: HttpRequest, pk: UUID) -> WebhookEndpoint:
    return get_object_or_404(
        WebhookEndpoint.objects.select_related("organization"), pk=pk, organization=organization_of(request)
    )


# The list -------------------------------------------------------------------------------------------------------------


@require_GET
@requires(Permission.WEBHOOKS)
@in_readers_zone
def webhooks(request: HttpRequest) -> HttpResponse:
    organization = organization_of(request)
    recent = Q(deliveries__created_at__gte=timezone.now() - timedelta(days=COUNTED_DAYS))
    rows = WebhookEndpoint.objects.filter(organization=organization).annotate(
        delivered=Count("deliveries", filter=recent & Q(deliveries__delivered_at__isnull=False)),
        failed=Count(
            "deliveries", filter=recent & Q(deliveries__delivered_at=None, deliveries__gave_up_at__isnull=False)
        ),
        open=Count("deliveries", filter=recent & Q(deliveries__delivered_at=None, deliveries__gave_up_at=None)),
    )
    context = {
        "organization": organization,
        "endpoints": list(rows),
        "days": COUNTED_DAYS,
        "callbacks": WebhookDelivery.objects.filter(organization=organization, endpoint=None).exists(),
    }
    return render(request, "detection/webhooks.html", context)


@require_http_methods(["GET", "POST"])
@requires(Permission.WEBHOOKS)
@never_cache
def create(request: HttpRequest) -> HttpResponse:
    services.check_sees_verdicts(request)
    organization = organization_of(request)
    form = EndpointForm(request.POST if request.method == "POST" else {"events": ["job.completed", "job.failed"]})
    error = ""
    if request.method == "POST":
        try:
            endpoint, secret = services.create_endpoint(
                organization=organization, actor=_member(request), **_wanted(form)
            )
        except DomainError as refused:
            error = refused.message
        else:
            messages.success(request, "The webhook is registered. Copy its secret, then send a test.")
            return _show(request, endpoint, secret=secret)
    context = _form_context(form, error)
    return render(request, "detection/webhook_form.html", context, status=400 if error else 200)


@require_http_methods(["GET", "POST"])
@requires(Permission.WEBHOOKS)
def change(request: HttpRequest, pk: UUID) -> HttpResponse:
    services.check_sees_verdicts(request)
    endpoint = _endpoint(request, pk)
    start = {"url": endpoint.url, "description": endpoint.description, "events": endpoint.events}
    form = EndpointForm(request.POST if request.method == "POST" else start | {"all_events": "*" in endpoint.events})
    error = ""
    if request.method == "POST":
        try:
            services.change_endpoint(endpoint=endpoint, actor=_member(request), **_wanted(form))
        except DomainError as refused:
            error = refused.message
        else:
            messages.success(request, "The webhook is changed.")
            return redirect(endpoint)
    context = _form_context(form, error) | {"endpoint": endpoint}
    return render(request, "detection/webhook_form.html", context, status=400 if error else 200)


def _wanted(form: EndpointForm) -> dict[str, Any]:
    if not form.is_valid():
        raise DomainError(_sentences(form), "invalid")
    return form.wanted()


def _form_context(form: EndpointForm, error: str) -> dict[str, Any]:
    return {
        "form": form, "error": error, "events": EVENTS, "chosen": _chosen(form),
        "allows_private": settings.FETCH_ALLOW_PRIVATE,
    }  # fmt: skip


def _sentences(form: Any) -> str:
    return " ".join(str(error) for errors in form.errors.values() for error in errors)


def _chosen(form: EndpointForm) -> list[str]:
    data: Any = form.data
    return list(data.getlist("events") if hasattr(data, "getlist") else data.get("events", []))


# One webhook and its log ----------------------------------------------------------------------------------------------


@require_GET
@requires(Permission.WEBHOOKS)
@in_readers_zone
def webhook(request: HttpRequest, pk: UUID) -> HttpResponse:
    return _show(request, _endpoint(request, pk))


@require_GET
@requires(Permission.WEBHOOKS)
@in_readers_zone
def callbacks(request: HttpRequest) -> HttpResponse:
    """The log of calls to callback_urls, which no webhook stands for."""
    rows = WebhookDelivery.objects.filter(organization=organization_of(request), endpoint=None)
    return render(request, "detection/webhook_callbacks.html", _log(request, rows))


def _show(request: HttpRequest, endpoint: WebhookEndpoint, *, secret: str = "") -> HttpResponse:
    context = _log(request, WebhookDelivery.objects.filter(endpoint=endpoint))
    context |= {"endpoint": endpoint, "secret": secret, "rotate": RotateForm(), "range": RangeForm(), "events": EVENTS}
    return render(request, "detection/webhook.html", context)


def _log(request: HttpRequest, rows: Any) -> dict[str, Any]:
    """One page of the log, narrowed by the filters in the address; what makes no sense narrows nothing."""
    form = LogForm(request.GET)
    form.is_valid()
    asked = form.cleaned_data
    rows = rows.in_state(asked.get("state", "")).defer("body")
    if asked.get("event"):
        rows = rows.filter(event=asked["event"])
    if asked.get("since"):
        rows = rows.filter(created_at__gte=start_of(asked["since"]))
    if asked.get("until"):
        rows = rows.filter(created_at__lt=start_of(asked["until"] + timedelta(days=1)))
    query = request.GET.copy()
    query.pop("page", None)
    return {
        "log": form,
        "is_narrowed": any(asked.values()),
        "page": Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page")),
        "query": query.urlencode(),
    }


@require_POST
@requires(Permission.WEBHOOKS)
@never_cache
@in_readers_zone
def show_secret(request: HttpRequest, pk: UUID) -> HttpResponse:
    endpoint = _endpoint(request, pk)
    return _show(request, endpoint, secret=services.show_secret(endpoint=endpoint, actor=_member(request)))


@require_POST
@requires(Permission.WEBHOOKS)
@never_cache
@in_readers_zone
def rotate(request: HttpRequest, pk: UUID) -> HttpResponse:
    endpoint, form = _endpoint(request, pk), RotateForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Say how long the old secret shall stay live.")
        return redirect(endpoint)
    overlap = timedelta(hours=form.cleaned_data["overlap_hours"])
    endpoint, secret = services.rotate_secret(endpoint=endpoint, overlap=overlap, actor=_member(request))
    messages.success(request, "There is a new secret. Copy it into your receiver.")
    return _show(request, endpoint, secret=secret)


@require_POST
@requires(Permission.WEBHOOKS)
def switch(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Off or on, by the button that was pressed."""
    endpoint = _endpoint(request, pk)
    is_enabled = request.POST.get("to") == "on"
    services.change_endpoint(endpoint=endpoint, is_enabled=is_enabled, actor=_member(request))
    words = "on. Replay what it missed." if is_enabled else "off. What waited has ended as failed."
    messages.success(request, f"The webhook is switched {words}")
    return redirect(endpoint)


@require_http_methods(["GET", "POST"])
@requires(Permission.WEBHOOKS)
def delete(request: HttpRequest, pk: UUID) -> HttpResponse:
    endpoint = _endpoint(request, pk)
    if request.method == "POST":
        services.delete_endpoint(endpoint=endpoint, actor=_member(request))
        messages.success(request, "The webhook and its log are deleted.")
        return redirect("detection:webhooks")
    return render(request, "detection/webhook_delete.html", {"endpoint": endpoint})


@require_POST
@requires(Permission.WEBHOOKS)
def test(request: HttpRequest, pk: UUID) -> HttpResponse:
    endpoint = _endpoint(request, pk)
    delivery = services.send_test(endpoint=endpoint, actor=_member(request))
    attempt = delivery.log.first()
    if delivery.delivered_at and attempt:
        messages.success(request, f"The receiver took it: {delivery.last_status} after {attempt.milliseconds} ms.")
    else:
        messages.error(request, f"The test did not arrive. {delivery.last_error}")
    return redirect("detection:webhook_delivery", pk=endpoint.pk, delivery_pk=delivery.pk)


@require_POST
@requires(Permission.WEBHOOKS)
@in_readers_zone
def replay(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Send again one delivery, or a time range."""
    endpoint = _endpoint(request, pk)
    chosen: dict[str, Any] = {}
    if "delivery" in request.POST:
        chosen["delivery"] = _delivery(endpoint, request.POST["delivery"])
    else:
        form = RangeForm(request.POST)
        if not form.is_valid():
            messages.error(request, _sentences(form))
            return redirect(endpoint)
        chosen |= form.cleaned_data
    try:
        count = services.replay(endpoint=endpoint, actor=_member(request), **chosen)
    except DomainError as refused:
        messages.error(request, refused.message)
    else:
        messages.success(request, f"{count} {'delivery is' if count == 1 else 'deliveries are'} sent again.")
    if "delivery" in chosen:
        return redirect("detection:webhook_delivery", pk=endpoint.pk, delivery_pk=chosen["delivery"].pk)
    return redirect(endpoint)


# One delivery ---------------------------------------------------------------------------------------------------------


def _delivery(endpoint: WebhookEndpoint, pk: Any) -> WebhookDelivery:
    try:
        pk = pk if isinstance(pk, UUID) else UUID(str(pk))
    except ValueError:
        raise DomainError("There is no such delivery.", "not_found", 404) from None
    return get_object_or_404(WebhookDelivery.objects.select_related("job__media", "batch"), pk=pk, endpoint=endpoint)


@require_GET
@requires(Permission.WEBHOOKS)
@in_readers_zone
def delivery(request: HttpRequest, pk: UUID, delivery_pk: UUID) -> HttpResponse:
    endpoint = _endpoint(request, pk)
    return _show_delivery(request, _delivery(endpoint, delivery_pk), endpoint)


@require_GET
@requires(Permission.WEBHOOKS)
@in_readers_zone
def callback(request: HttpRequest, delivery_pk: UUID) -> HttpResponse:
    rows = WebhookDelivery.objects.select_related("job__media", "batch")
    found = get_object_or_404(rows, pk=delivery_pk, organization=organization_of(request), endpoint=None)
    return _show_delivery(request, found, None)


def _show_delivery(request: HttpRequest, found: WebhookDelivery, endpoint: WebhookEndpoint | None) -> HttpResponse:
    services.check_sees_verdicts(request)
    log = list(found.log.all())
    signature = log[0].signature if log else None
    body = {**found.body, "signature": signature} if signature else found.body
    text = json.dumps(body, indent=2, ensure_ascii=False, sort_keys=True)
    context = {
        "delivery": found,
        "endpoint": endpoint,
        "attempts": [(attempt, _lines(attempt.headers), _lines(attempt.response_headers)) for attempt in log],
        "missing": found.attempts - len(log) - (1 if _is_at_it(found, log) else 0),
        "body": text[:SHOWN_CHARACTERS],
        "is_cut": len(text) > SHOWN_CHARACTERS,
    }
    return render(request, "detection/webhook_delivery.html", context)


def _is_at_it(found: WebhookDelivery, log: list[WebhookAttempt]) -> bool:
    """Whether the newest attempt is being made at this moment."""
    is_claimed = bool(found.claimed_until and found.claimed_until > timezone.now())
    return is_claimed and all(attempt.number != found.attempts for attempt in log)


def _lines(headers: dict[str, str]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in headers.items())
