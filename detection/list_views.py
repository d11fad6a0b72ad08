"""Pages: the list of analyses, what is sent to it, what is done with many at once, and saved views."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import redirect, render
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_GET, require_POST

from accounts import consent
from accounts.authentication import organization_of
from accounts.models import User
from accounts.permissions import Permission, requires
from deepfake import api_errors
from deepfake.errors import DomainError
from deepfake.reader_zone import in_readers_zone, is_within_reason
from detection import bulk, deletion, idempotency, likeness, listing, retention, saved, services
from detection.engine.wording import percent_beside
from detection.forms import ACCEPTED_TYPES, MOST_ADDRESSES, AnalysisFilter, SavedViewForm, SubmitForm
from detection.models import Job, SavedView
from detection.querysets import JobQuerySet

STATE = ("status", "stage", "percent", "final_label", "score", "failure_message")
MOST_STATES = 100  # jobs that an open page asks the state of at once
MORE_FILTERS = (
    "review", "hold", "reviewer", "uploader", "key", "sandbox", "domain", "score_from", "score_to", "within", "since",
    "until",
)  # fmt: skip
# Why an analysis failed, where the same item may pass a second time.
MAY_PASS = {"url_unreachable", "url_timeout", "url_failed", "out_of_memory", "storage_full", "internal_error"}
EXPORT_PART = "reports/_export.html"  # the reports app's menu for the list as it is filtered, where it has one


# The list -------------------------------------------------------------------------------------------------------------


@require_GET
@requires(Permission.VIEW)
@in_readers_zone
def analyses(request: HttpRequest) -> HttpResponse:
    member = _member(request)
    organization = organization_of(request)
    default = saved.default_query(member)
    if default and not request.GET:
        return redirect(f"{reverse('detection:analyses')}?{default}")
    context = _rows_context(request)
    context |= {
        "organization": organization,
        "views": _views_of(member, context["filters"], default),
        "more_open": any(request.GET.get(name) for name in MORE_FILTERS),
        "may_share": saved.may_share(member),
        "accepted_types": ACCEPTED_TYPES,
        "most_addresses": MOST_ADDRESSES,
        "upload_token": uuid4().hex,
        "statement": consent.text_of("submit_media"),
        "allows_zero_retention": retention.settings_of(organization).allows_zero_retention,
    }
    return render(request, "detection/analyses.html", context)


@require_GET
@requires(Permission.VIEW)
@in_readers_zone
def analyses_rows(request: HttpRequest) -> HttpResponse:
    """The table alone, for live refresh and for filters without a page load."""
    return render(request, "detection/_rows.html", _rows_context(request))


def _rows_context(request: HttpRequest) -> dict[str, Any]:
    member, organization = _member(request), organization_of(request)
    filters = AnalysisFilter(request.GET, organization=organization)
    page = listing.page_of(
        filters.rows(), order=filters.order, after=request.GET.get("after", ""), before=request.GET.get("before", "")
    )
    page.same.update(likeness.counts((job.media.look for job in page.jobs), organization.pk))
    return {
        "filters": filters,
        "page": page,
        "order": listing.ORDERS[filters.order],
        "kept_query": filters.query,
        "listed_at": timezone.now().isoformat(),
        "can_submit": member.can_submit,
        "can_delete": member.can_delete,
        "actions": bulk.actions_for(member),
        "most_at_once": bulk.MOST,
        "pending": deletion.pending_of(member),
        "export_part": _template_or_none(EXPORT_PART),
    }


def _template_or_none(name: str) -> Any:
    try:
        return get_template(name).template  # type: ignore[attr-defined]
    except TemplateDoesNotExist:
        return None


def _views_of(member: User, filters: AnalysisFilter, default: str) -> list[dict[str, Any]]:
    current = _same_query(filters.query)
    return [
        {
            "view": view,
            "is_current": bool(current) and _same_query(view.query) == current,
            "is_default": view.query == default and bool(default),
            "may_delete": view.owner_id == member.pk or saved.may_share(member),
        }
        for view in SavedView.objects.visible_to(member)
    ]


def _same_query(query: str) -> Mapping[str, str]:
    return QueryDict(query).dict()


def _member(request: HttpRequest) -> User:
    """The signed-in person; `requires` has let nobody else in."""
    member = request.user
    if not isinstance(member, User):
        raise DomainError("Sign in first.", "not_signed_in", 401)
    return member


@require_GET
@requires(Permission.VIEW)
def states(request: HttpRequest) -> JsonResponse:
    """How far some jobs are, for a page that hears nothing through its socket."""
    wanted = [pk for pk in (_uuid(text) for text in request.GET.getlist("id")[:MOST_STATES]) if pk]
    rows = Job.objects.visible_to(organization_of(request)).filter(pk__in=wanted).order_by()
    found = rows.values(*STATE, "pk", "failure_code", "result__threshold_real", "result__threshold_fake")
    return JsonResponse({"jobs": [_state(row) for row in found]})


def _state(row: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: row[name] for name in STATE}
    limits = (row["result__threshold_real"], row["result__threshold_fake"])
    is_scored = row["score"] is not None and None not in limits
    words = percent_beside(row["score"], *limits) if is_scored else ""
    return {"job": str(row["pk"]), **told, "score_words": words, "may_pass": row["failure_code"] in MAY_PASS}


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


# Sending items --------------------------------------------------------------------------------------------------------


@require_POST
@requires(Permission.SUBMIT)
def upload(request: HttpRequest) -> HttpResponse:
    """Take files and addresses. A script sends one item and reads JSON; a plain form sends many and is redirected."""
    member = _member(request)
    form = SubmitForm(request.POST, request.FILES)
    if not form.is_valid():
        sentences = [str(error) for errors in form.errors.values() for error in errors]
        raise DomainError(" ".join(sentences), "nothing_sent")
    items: list[dict[str, Any]] = [{"file": file, "filename": file.name or ""} for file in form.cleaned_data["files"]]
    items += [{"url": url} for url in form.cleaned_data["url"]]
    items = [item | {"keeps": "none" if form.cleaned_data["keeps_nothing"] else ""} for item in items]
    with _once(request, member, items) as once:
        if once.answer is None:
            response = _take(request, member, items)
            once.finish(response.status_code, {"location": response.get("Location"), "body": response.content.decode()})
            return response
    status, first = once.answer
    if first["location"]:
        return redirect(first["location"])
    return HttpResponse(first["body"], status=status, content_type="application/json")


def _once(request: HttpRequest, member: User, items: list[dict[str, Any]]) -> AbstractContextManager[idempotency.Once]:
    """A form that is sent twice (a double click, a reload) does its work once; other content is another request."""
    token, key, digest = request.POST.get("token", "")[:64], "", ""
    if token:
        files = {str(number): item["file"] for number, item in enumerate(items) if "file" in item}
        digest = idempotency.fingerprint("POST", request.path, [item.get("url") for item in items], files)
        key = f"{token}:{digest}"
    owner = f"user:{member.pk}"
    return idempotency.once(organization=organization_of(request), owner=owner, key=key, request_hash=digest)


def _take(request: HttpRequest, member: User, items: list[dict[str, Any]]) -> HttpResponse:
    consent.give_once(
        organization=organization_of(request), purpose="submit_media", user=member, evidence={"page": request.path}
    )
    if not api_errors.wants_problem(request):
        return _submit_all(request, member, items)
    job = services.submit_and_start(organization=organization_of(request), actor=member, **items[0])
    return JsonResponse({"id": str(job.id), "url": job.get_absolute_url()}, status=201)


def _submit_all(request: HttpRequest, member: User, items: list[dict[str, Any]]) -> HttpResponse:
    started = []
    for item in items:
        try:
            started.append(services.submit_and_start(organization=organization_of(request), actor=member, **item))
        except DomainError as error:
            messages.error(request, f"{item.get('filename') or item.get('url')}: {error.message}")
    if len(started) == 1 and len(items) == 1:
        return redirect(started[0])
    if started:
        noun = "analysis" if len(started) == 1 else "analyses"
        messages.success(request, f"{len(started)} {noun} started.")
    return redirect("detection:analyses")


# Many at once ---------------------------------------------------------------------------------------------------------


@require_POST
@requires(Permission.SUBMIT, Permission.DELETE, Permission.REVIEW_READ)
@in_readers_zone
def bulk_action(request: HttpRequest) -> HttpResponse:
    """Do one thing with the chosen analyses, or with all that match the list's filters."""
    member = _member(request)
    jobs, is_cut = _chosen(request)
    name = request.POST.get("action", "")
    if name == "delete":
        pending = deletion.delete_soon(jobs=jobs, organization=organization_of(request), actor=member)
        noun = "analysis" if pending.count == 1 else "analyses"
        sentence = f"{pending.count:,} {noun} deleted."
        if pending.held:
            sentence += f" {pending.held:,} stayed: a legal hold keeps them."
    else:
        sentence = bulk.run(name=name, jobs=jobs, actor=member).sentence
    if is_cut:
        sentence += f" These were the first {bulk.MOST:,} that match; do it again for the rest."
    return _answer(request, sentence)


def _chosen(request: HttpRequest) -> tuple[list[Job], bool]:
    organization = organization_of(request)
    shown = Job.objects.visible_to(organization)
    if request.POST.get("all") == "1":
        filters = AnalysisFilter(QueryDict(request.POST.get("query", "").removeprefix("?")), organization=organization)
        # What arrived after the list was shown was not seen by whoever chose "all".
        listed_at = _moment(request.POST.get("listed_at", "")) or timezone.now()
        ids = list(filters.in_order().filter(created_at__lte=listed_at).values_list("pk", flat=True)[: bulk.MOST + 1])
    else:
        ids = [pk for pk in (_uuid(text) for text in request.POST.getlist("jobs")) if pk]
    if not ids:
        raise DomainError("Choose at least one analysis.", "nothing_chosen")
    return _loaded(shown, ids[: bulk.MOST]), len(ids) > bulk.MOST


def _moment(text: str) -> datetime | None:
    try:
        found = parse_datetime(text)
    except ValueError:
        return None
    return found if found is not None and timezone.is_aware(found) and is_within_reason(found) else None


def _loaded(shown: JobQuerySet, ids: list[UUID]) -> list[Job]:
    rows = shown.filter(pk__in=ids).select_related("media", "organization", "threshold_profile").defer("media__info")
    return list(rows)


@require_POST
@requires(Permission.DELETE)
def undo_deletion(request: HttpRequest, deletion_id: UUID) -> HttpResponse:
    count = deletion.bring_back(deletion=deletion_id, organization=organization_of(request), actor=_member(request))
    return _answer(request, f"{count:,} {'analysis is' if count == 1 else 'analyses are'} back.")


def _answer(request: HttpRequest, sentence: str) -> HttpResponse:
    if api_errors.wants_problem(request):
        return JsonResponse({"message": sentence})
    messages.success(request, sentence)
    return redirect(_back(request))


def _back(request: HttpRequest) -> str:
    """The list as it was filtered; never a page, whose rows may be gone."""
    query = SavedViewForm({"name": "-", "query": request.POST.get("query", "")})
    kept = query.cleaned_data["query"] if query.is_valid() else ""
    return f"{reverse('detection:analyses')}?{kept or 'sort=newest'}"  # a bare address opens the member's default


# Saved views ----------------------------------------------------------------------------------------------------------


@require_POST
@requires(Permission.VIEW)
def save_view(request: HttpRequest) -> HttpResponse:
    form = SavedViewForm(request.POST)
    if not form.is_valid():
        raise DomainError(" ".join(str(error) for errors in form.errors.values() for error in errors), "view_unnamed")
    organization_of(request)
    view = saved.save_view(member=_member(request), **form.cleaned_data)
    messages.success(
        request, f"The view \N{LEFT DOUBLE QUOTATION MARK}{view.name}\N{RIGHT DOUBLE QUOTATION MARK} is kept."
    )
    return redirect(f"{reverse('detection:analyses')}?{view.query or 'sort=newest'}")


@require_POST
@requires(Permission.VIEW)
def delete_view(request: HttpRequest, pk: UUID) -> HttpResponse:
    member = _member(request)
    view = saved.visible_view(member, pk)
    saved.delete_view(view=view, member=member)
    messages.success(
        request, f"The view \N{LEFT DOUBLE QUOTATION MARK}{view.name}\N{RIGHT DOUBLE QUOTATION MARK} was deleted."
    )
    return redirect(f"{reverse('detection:analyses')}?sort=newest")


@require_POST
@requires(Permission.VIEW)
def default_view(request: HttpRequest, pk: UUID) -> HttpResponse:
    member = _member(request)
    view = saved.visible_view(member, pk)
    if saved.choose_default(view=view, member=member):
        sentence = f"The list now opens with \N{LEFT DOUBLE QUOTATION MARK}{view.name}\N{RIGHT DOUBLE QUOTATION MARK}."
    else:
        sentence = "The list now opens with all analyses."
    messages.success(request, sentence)
    return redirect(f"{reverse('detection:analyses')}?{view.query or 'sort=newest'}")
