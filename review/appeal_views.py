"""The page behind an appeal link: public, in plain words, without a word about anybody else."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.permissions import public
from deepfake.errors import DomainError
from deepfake.reader_zone import in_readers_zone
from detection.models import Job
from review import appeals, limits, words
from review.forms import AppealForm
from review.models import AppealLink


@public("the signed link is what opens it; the person shown has no account here")
@require_http_methods(["GET", "POST"])
@never_cache
@in_readers_zone
def appeal(request: HttpRequest, token: str) -> HttpResponse:
    if wait := limits.wait_s("appeal-view", limits.caller(request), limits.VIEWS_PER_HOUR):
        return _refuse(request, wait)
    link = appeals.find_link(token)
    if link is None:
        return render(request, "review/appeal_gone.html", status=404)
    if request.method == "GET":
        return _page(request, link, AppealForm())
    form = AppealForm(request.POST)
    if not form.is_valid():
        return _page(request, link, form, status=400)
    for who in (str(link.id), limits.caller(request)):
        if wait := limits.wait_s("appeal", who, limits.APPEALS_PER_HOUR):
            return _refuse(request, wait)
    try:
        appeals.appeal(link=link, text=form.cleaned_data["text"], email=form.cleaned_data["email"])
    except DomainError as error:
        form.add_error(None, error.message)
        return _page(request, link, form, status=error.status)
    return redirect(appeals.path(link))


def _page(request: HttpRequest, link: AppealLink, form: AppealForm, status: int = 200) -> HttpResponse:
    """Show what the link is about; the item's name, its sender and the reviewers are nobody's business here."""
    job = link.job
    result = getattr(job, "result", None)
    if result is None:
        raise Http404
    received = list(link.job.appeals.filter(link=link).order_by("-created_at"))
    waiting = next((found for found in received if found.answered_at is None), None)
    context = {
        "organization": job.organization,
        "kind_words": words.APPEAL_KINDS.get(job.media.kind, "An item that may show you"),
        "checked_at": job.finished_at or job.created_at,
        "check_words": _what_stands(job, result.label),
        "reference": job.id.hex[:8],
        "waiting": waiting,
        "elsewhere": waiting is None and job.appeals.unanswered().exists(),
        "answered": [(found, words.APPEAL_OUTCOMES[found.label]) for found in received if found.answered_at],
        "form": form,
        "expires_at": link.expires_at,
    }
    response = render(request, "review/appeal.html", context, status=status)
    response["X-Robots-Tag"] = "noindex, nofollow"
    return response


def _what_stands(job: Job, checked: str) -> str:
    """What people decided, where they did; else what the check said."""
    return words.APPEAL_DECIDED[job.review_label] if job.review_label else words.APPEAL_CHECKS[checked]


def _refuse(request: HttpRequest, wait: int) -> HttpResponse:
    minutes = max(1, round(wait / 60))
    response = render(request, "review/appeal_slow.html", {"minutes": minutes}, status=429)
    response["Retry-After"] = str(wait)
    return response
