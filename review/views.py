"""Pages of review: the queue, one case, mentions, preferences, statistics, settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.authentication import organization_of
from accounts.models import User
from accounts.permissions import Permission, requires
from deepfake.errors import DomainError
from deepfake.reader_zone import in_readers_zone
from detection.models import Job
from detection.words import subject_in
from review import appeals, listing, marks, planting, presentation, services, words
from review.forms import (
    AnnotationForm,
    BulkForm,
    DecisionForm,
    KnownForm,
    PreferenceForm,
    QueueFilter,
    SettingsForm,
    ThresholdForm,
)
from review.models import (
    Annotation,
    AppealLink,
    Decision,
    KnownItem,
    Mention,
    Priority,
    ReviewCase,
    ReviewPreference,
)
from review.statistics import PERIODS, statistics

# Refusals that are told beside the field that they are about.
# The queue ------------------------------------------------------------------------------------------------------------


@require_GET
@requires(Permission.REVIEW_READ)
@in_readers_zone
def queue(request: HttpRequest) -> HttpResponse:
    return render(request, "review/queue.html", _queue_context(request))


@require_GET
@requires(Permission.REVIEW_READ)
@in_readers_zone
def rows(request: HttpRequest) -> HttpResponse:
    """The table alone, for live refresh and for filters without a page load."""
    return render(request, "review/_rows.html", _queue_context(request))


def _queue_context(request: HttpRequest) -> dict[str, Any]:
    member = _member(request)
    organization = organization_of(request)
    filters = QueueFilter(request.GET, member)
    found = filters.apply(ReviewCase.objects.visible_to(organization))
    after, before = request.GET.get("after", ""), request.GET.get("before", "")
    page = listing.page_of(found, is_done=filters.is_done, after=after, before=before)
    count = len(page.cases)
    if page.after or page.before or after:
        count = listing.count_up_to(found)
    preference = _preference(member)
    for case in page.cases:
        case.is_veiled = presentation.veil_for(case, preference).is_on  # type: ignore[attr-defined]
    return {
        "filters": filters,
        "page": page,
        "count": f"{listing.MAX_COUNTED}+" if count > listing.MAX_COUNTED else str(count),
        "kept_query": urlencode(filters.asked),
        "may_decide": member.can_review,
        "preference": preference,
        "unseen": Mention.objects.unseen_by(member).count(),
        "now": timezone.now(),
        **_undo_context(member, organization),
        **_bulk_context(),
    }


def _bulk_context() -> dict[str, Any]:
    return {
        "bulk_reasons": {
            "For real": words.REASONS_REAL,
            "For fake": words.REASONS_FAKE,
            "Undecided": words.REASONS_OPEN,
            "Any": {"context": words.REASONS_ANY["context"]},
        }
    }


def _undo_context(member: User, organization: Any) -> dict[str, Any]:
    own = services.settings_of(organization)
    last = presentation.latest_undoable(member, own)
    if last is None:
        return {"undoable": None}
    size = Decision.objects.standing().filter(batch=last.batch).count() if last.batch else 1
    return {"undoable": last, "undoable_count": size, "undo_until": services.undo_until(last, own)}


@require_POST
@requires(Permission.REVIEW)
@in_readers_zone
def take(request: HttpRequest) -> HttpResponse:
    """Take the best free case of the queue as it is filtered; whoever has one in hand goes to that."""
    member = _member(request)
    return _to_next(request, member)


def _to_next(request: HttpRequest, member: User) -> HttpResponse:
    filters = QueueFilter(request.GET, member)
    cases = ReviewCase.objects.visible_to(organization_of(request))
    in_hand = cases.unfinished().held_by(member).order_by("claimed_at").first()
    if in_hand is not None:
        messages.info(request, "You have this case in hand: decide it or give it back before the next one.")
        return _to_case(in_hand, filters)
    found = None if filters.is_done else services.take_next(queue=filters.apply(cases), actor=member)
    if found is None:
        messages.info(request, "There is no free case here that you may judge.")
        return _to_queue(filters)
    return _to_case(found, filters)


@require_POST
@requires(Permission.REVIEW)
@in_readers_zone
def bulk(request: HttpRequest) -> HttpResponse:
    member = _member(request)
    filters = QueueFilter(request.GET, member)
    form = BulkForm(request.POST)
    if not form.is_valid():
        messages.error(request, _sentences(form))
        return _to_queue(filters)
    wanted = [UUID(value) for value in form.cleaned_data["cases"] if _is_uuid(value)]
    cases = ReviewCase.objects.visible_to(member).filter(pk__in=wanted).select_related("job__media", "organization")
    try:
        batch = services.decide_many(cases=cases.in_queue_order(), actor=member, opinion=form.opinion())
    except DomainError as error:
        if error.status == 403:
            raise
        messages.error(request, error.message)
        return _to_queue(filters)
    if batch.decisions:
        messages.success(request, f"{_counted(len(batch.decisions), 'case')} decided.")
    for case, sentence in batch.refused:
        messages.warning(request, f"{case.job.media}: {sentence}")
    return _to_queue(filters)


@require_POST
@requires(Permission.REVIEW)
@in_readers_zone
def undo_batch(request: HttpRequest, batch: UUID) -> HttpResponse:
    member = _member(request)
    done = services.undo_batch(batch=batch, actor=member)
    if not done.decisions and not done.refused:
        raise Http404
    if done.decisions:
        messages.success(request, f"{_counted(len(done.decisions), 'decision')} taken back.")
    for case, sentence in done.refused:
        messages.warning(request, f"{case.job.media}: {sentence}")
    return _to_queue(QueueFilter(request.GET, member))


# One case -------------------------------------------------------------------------------------------------------------


@require_GET
@requires(Permission.REVIEW_READ)
@in_readers_zone
def case(request: HttpRequest, pk: UUID) -> HttpResponse:
    found, member = _open(request, pk)
    return _render_case(request, found, member)


def _render_case(
    request: HttpRequest, found: ReviewCase, member: User, *, form: Form | None = None, error: DomainError | None = None
) -> HttpResponse:
    job = found.job
    filters = QueueFilter(request.GET, member)
    preference = _preference(member)
    veil = presentation.veil_for(found, preference)
    if error is not None:  # the page comes back as it was left
        veil = presentation.VeilState(*(part in request.POST.getlist("veil") for part in ("blur", "grey", "mute")))
    context = {
        "case": found,
        "job": job,
        "media": job.media,
        "result": job.result,
        "sheet": presentation.case_page(found, job.result, member),
        "veil": veil,
        "starts_muted": veil.mutes,
        "preference": preference,
        "filters": filters,
        "kept_query": urlencode(filters.asked),
        "case_real": f"{100 * job.result.threshold_real:g}",
        "case_fake": f"{100 * job.result.threshold_fake:g}",
        "member": member,
        "form": form,
        "error": error,
        "first_refused": next(iter(error.fields), "") if error else "",
        "now": timezone.now(),
        **_undo_context(member, found.organization),
    }
    return render(request, "review/case.html", context, status=error.status if error else 200)


@require_GET
@requires(Permission.REVIEW_READ)
@in_readers_zone
def claim_bar(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Who has the case, alone, for live refresh."""
    found, member = _open(request, pk)
    holder = found.holder()
    filters = QueueFilter(request.GET, member)
    sheet = {"holder": holder, "is_mine": holder == member, "why_not": presentation.why_not(found, member)}
    context = {"case": found, "sheet": sheet, "member": member}
    return render(request, "review/_claim_bar.html", context | {"kept_query": urlencode(filters.asked)})


@require_GET
@requires(Permission.REVIEW_READ)
def for_job(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The newest case of an analysis."""
    job = get_object_or_404(Job.objects.visible_to(request.user), pk=pk)
    newest = job.review_cases.order_by("-opened_at").first()
    if newest is None:
        raise Http404
    return redirect(newest)


@require_GET
@requires(Permission.REVIEW_READ)
@in_readers_zone
def neighbour(request: HttpRequest, pk: UUID, direction: str) -> HttpResponse:
    """The next or previous case of the list that the address describes."""
    found, member = _open(request, pk)
    filters = QueueFilter(request.GET, member)
    cases = filters.apply(ReviewCase.objects.visible_to(member))
    other = listing.neighbour(cases, found, is_done=filters.is_done, forwards=direction == "next")
    if other is None:
        messages.info(request, "That was the last case of this list." if direction == "next" else "That was the first.")
        return _to_queue(filters)
    return _to_case(other, filters)


@require_POST
@requires(Permission.REVIEW)
@in_readers_zone
def claim(request: HttpRequest, pk: UUID) -> HttpResponse:
    found, member = _open(request, pk)
    try:
        services.claim(case=found, actor=member)
    except DomainError as error:
        if error.status != 409:
            raise
        messages.error(request, error.message)
    return _to_case(found, QueueFilter(request.GET, member))


@require_POST
@requires(Permission.REVIEW)
def release(request: HttpRequest, pk: UUID) -> HttpResponse:
    found, member = _open(request, pk)
    services.release(case=found, actor=member)
    return _to_queue(QueueFilter(request.GET, member))


@require_POST
@requires(Permission.REVIEW)
@in_readers_zone
def decide(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Give an opinion; what cannot be taken comes back with everything that was typed."""
    found, member = _open(request, pk)
    form = DecisionForm(request.POST)
    try:
        if not form.is_valid():
            raise DomainError(_sentences(form), "decision_incomplete")
        seen_state = form.cleaned_data["seen_state"]
        services.decide(case=found, actor=member, opinion=form.opinion(), seen_state=seen_state)
    except DomainError as error:
        if error.status == 403:
            raise
        found.refresh_from_db()
        return _render_case(request, found, member, form=form, error=error)
    if request.POST.get("then") == "next":
        return _to_next(request, member)
    return _to_case(found, QueueFilter(request.GET, member))


@require_POST
@requires(Permission.REVIEW)
@in_readers_zone
def undo(request: HttpRequest, pk: UUID) -> HttpResponse:
    member = _member(request)
    decision = get_object_or_404(Decision.objects.filter(organization=organization_of(request)), pk=pk)
    filters = QueueFilter(request.GET, member)
    try:
        found = services.undo(decision=decision, actor=member)
    except DomainError as error:
        if error.status == 403:
            raise
        messages.error(request, error.message)
        return redirect(decision.case)
    messages.success(request, "The decision was taken back; the case is yours again.")
    return _to_case(found, filters)


@require_POST
@requires(Permission.REVIEW_READ)
@in_readers_zone
def note(request: HttpRequest, pk: UUID) -> HttpResponse:
    found, member = _open(request, pk)

    def work() -> None:
        marks.add_note(case=found, actor=member, text=request.POST.get("text", ""))

    if not _stays_on_page(request):
        return _marked(request, found, member, "notes", work)
    context = _part_context(request, found, member, _refusal(work))
    if context["refused"]:
        context["typed"] = request.POST.get("text", "")
    return render(request, "review/_notes.html", context)


@require_POST
@requires(Permission.REVIEW)
@in_readers_zone
def annotate(request: HttpRequest, pk: UUID) -> HttpResponse:
    found, member = _open(request, pk)
    form = AnnotationForm(request.POST)

    def work() -> None:
        if not form.is_valid():
            raise DomainError(_sentences(form), "place_invalid")
        marks.annotate(case=found, actor=member, **form.place())

    return _places(request, found, member, work)


@require_POST
@requires(Permission.REVIEW)
@in_readers_zone
def remove_annotation(request: HttpRequest, pk: UUID, annotation: UUID) -> HttpResponse:
    found, member = _open(request, pk)
    hidden = marks.hidden_authors(found, member)
    mark = get_object_or_404(
        Annotation.objects.select_related("case__organization").exclude(author_id__in=hidden), pk=annotation, case=found
    )
    return _places(request, found, member, lambda: marks.remove_annotation(annotation=mark, actor=member))


def _places(request: HttpRequest, found: ReviewCase, member: User, work: Callable[[], None]) -> HttpResponse:
    """After a mark came or went: the marked places and the trail alone, for a page that stays as it is."""
    if not _stays_on_page(request):
        return _marked(request, found, member, "places", work)
    context = _part_context(request, found, member, _refusal(work))
    context |= {"media": found.job.media, "member": member}
    return render(request, "review/_places_and_trail.html", context)


@require_POST
@requires(Permission.REVIEW)
def thresholds(request: HttpRequest, pk: UUID) -> HttpResponse:
    found, member = _open(request, pk)
    form = ThresholdForm(request.POST)

    def work() -> None:
        if request.POST.get("withdraw"):
            marks.withdraw_thresholds(case=found, actor=member)
            return
        if not form.is_valid():
            raise DomainError(_sentences(form), "thresholds_invalid")
        given = form.cleaned_data
        limits = {name: given[name] / 100 for name in ("fake_at", "real_below")}
        marks.set_thresholds(case=found, actor=member, reason=given["reason"], **limits)

    return _marked(request, found, member, "thresholds", work)


@require_POST
@requires(Permission.REVIEW_READ)
def harsh(request: HttpRequest, pk: UUID) -> HttpResponse:
    found, member = _open(request, pk)
    is_harsh = request.POST.get("is_harsh") == "1"
    if not _stays_on_page(request):
        return _marked(
            request, found, member, "", lambda: marks.mark_harsh(case=found, actor=member, is_harsh=is_harsh)
        )
    marks.mark_harsh(case=found, actor=member, is_harsh=is_harsh)
    context = {"case": found, "media": found.job.media, "veil": presentation.veil_for(found, _preference(member))}
    query = urlencode(QueueFilter(request.GET, member).asked)
    return render(request, "review/_veil.html", context | {"kept_query": query})


def _marked(
    request: HttpRequest, found: ReviewCase, member: User, anchor: str, work: Callable[[], None]
) -> HttpResponse:
    """Do `work`, tell what refused it, and go back to its place on the page of the case."""
    if refused := _refusal(work):
        messages.error(request, refused)
    return _to_case(found, QueueFilter(request.GET, member), anchor)


def _refusal(work: Callable[[], None]) -> str:
    """Do `work`; what refused it, or blank. Whoever may not do it at all is told so by another page."""
    try:
        work()
    except DomainError as error:
        if error.status == 403:
            raise
        return error.message
    return ""


def _stays_on_page(request: HttpRequest) -> bool:
    return bool(request.htmx)  # type: ignore[attr-defined]


def _part_context(request: HttpRequest, found: ReviewCase, member: User, refused: str) -> dict[str, Any]:
    return {
        "case": found,
        "sheet": presentation.case_page(found, found.job.result, member),
        "refused": refused,
        "kept_query": urlencode(QueueFilter(request.GET, member).asked),
    }


# From the page of an analysis -----------------------------------------------------------------------------------------


@require_POST
@requires(Permission.REVIEW_READ)
def open_case(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Send an analysis to review by hand."""
    job = _job(request, pk)
    member = _member(request)
    wanted = request.POST.get("priority", "")
    priority = int(wanted) if wanted in {str(value) for value in Priority.values} else Priority.HIGH
    found = services.send_to_review(job=job, actor=member, priority=priority, note=request.POST.get("note", ""))
    messages.success(request, "The analysis is in review.")
    return redirect(found)


@require_GET
@requires(Permission.APPEALS)
@in_readers_zone
def job_appeals(request: HttpRequest, pk: UUID) -> HttpResponse:
    """The links that the person shown was given, and what came back."""
    job = _job(request, pk)
    links = job.appeal_links.select_related("created_by").order_by("-created_at")
    shown = [{"link": link, "url": appeals.url_of(link)} for link in links]
    received = job.appeals.select_related("case").order_by("-created_at")
    context = {"job": job, "media": job.media, "links": shown, "received": received}
    return render(request, "review/job_appeals.html", context)


@require_POST
@requires(Permission.APPEALS)
def make_appeal_link(request: HttpRequest, pk: UUID) -> HttpResponse:
    job = _job(request, pk)
    member = _member(request)
    days = services.settings_of(job.organization).appeal_days
    appeals.make_link(job=job, actor=member, days=days)
    messages.success(request, subject_in("The link is ready. Send it to the person shown.", job.media.kind))
    return redirect("review:job_appeals", pk=job.pk)


@require_POST
@requires(Permission.APPEALS)
def revoke_appeal_link(request: HttpRequest, pk: UUID, link: UUID) -> HttpResponse:
    job = _job(request, pk)
    member = _member(request)
    found = get_object_or_404(AppealLink.objects.select_related("job__organization"), pk=link, job=job)
    appeals.revoke_link(link=found, actor=member)
    return redirect("review:job_appeals", pk=job.pk)


# Mentions, preferences ------------------------------------------------------------------------------------------------


@require_GET
@requires(Permission.REVIEW_READ)
@in_readers_zone
def mentions(request: HttpRequest) -> HttpResponse:
    """Where somebody called this member; looking at the list is taking note of it."""
    member = _member(request)
    found = list(
        Mention.objects.visible_to(member)
        .select_related("note__author", "note__case__job__media")
        .defer("note__case__job__media__info")
        .order_by("-created_at")[:100]
    )
    hidden = marks.hidden_authors_of((mention.note.case for mention in found), member)
    for mention in found:
        mention.is_secret = mention.note.author_id in hidden.get(mention.note.case_id, ())  # type: ignore[attr-defined]
    names = frozenset(user.get_username().lower() for user in marks.callable_members(organization_of(request)))
    response = render(request, "review/mentions.html", {"mentions": found, "names": names})
    Mention.objects.filter(pk__in=[mention.pk for mention in found], seen_at=None).update(seen_at=timezone.now())
    return response


@require_http_methods(["GET", "POST"])
@requires(Permission.REVIEW_READ)
def preferences(request: HttpRequest) -> HttpResponse:
    member = _member(request)
    form = PreferenceForm(request.POST or None, instance=_preference(member))
    if request.method == "POST" and form.is_valid():
        services.save_preferences(form.instance)
        messages.success(request, "Your preferences are saved.")
        return redirect("review:preferences")
    return render(request, "review/preferences.html", {"form": form})


# Statistics and settings ----------------------------------------------------------------------------------------------


@require_GET
@requires(Permission.REVIEW_STATISTICS)
@in_readers_zone
def figures(request: HttpRequest) -> HttpResponse:
    member = _member(request)
    wanted = request.GET.get("days", "")
    days = int(wanted) if wanted in {str(period) for period in PERIODS} else 30
    found = statistics(organization_of(request), member, days)
    return render(request, "review/statistics.html", {"found": found, "periods": PERIODS})


@require_http_methods(["GET", "POST"])
@requires(Permission.REVIEW_RULES)
def settings(request: HttpRequest) -> HttpResponse:
    member = _member(request)
    organization = organization_of(request)
    form = SettingsForm(request.POST or None, instance=services.settings_of(organization))
    if request.method == "POST" and form.is_valid():
        services.save_settings(settings=form.save(commit=False), actor=member)
        messages.success(request, "The rules are saved. They hold for what is opened from now on.")
        return redirect("review:settings")
    return render(request, "review/settings.html", {"form": form})


@require_http_methods(["GET", "POST"])
@requires(Permission.REVIEW_PLANT)
@in_readers_zone
def known_items(request: HttpRequest) -> HttpResponse:
    """Planted items, behind a permission of their own: whoever judges must not know them."""
    member = _member(request)
    form = KnownForm(request.POST or None, initial={"job": request.GET.get("job", "")})
    if request.method == "POST" and form.is_valid():
        try:
            job = _named_job(request, form.cleaned_data["job"])
            planting.plant(job=job, actor=member, truth=form.cleaned_data["truth"], source=form.cleaned_data["source"])
            messages.success(request, f"{job.media} is planted.")
            return redirect("review:known_items")
        except DomainError as error:
            form.add_error("job", error.message)
    items = KnownItem.objects.filter(organization=organization_of(request)).select_related("job__media", "created_by")
    items = items.defer("job__media__info").order_by("-created_at")
    return render(request, "review/known_items.html", {"form": form, "items": items[:200]})


@require_POST
@requires(Permission.REVIEW_PLANT)
def remove_known_item(request: HttpRequest, pk: UUID) -> HttpResponse:
    member = _member(request)
    items = KnownItem.objects.filter(organization=organization_of(request)).select_related("job", "organization")
    planting.unplant(known=get_object_or_404(items, pk=pk), actor=member)
    return redirect("review:known_items")


# Shared ---------------------------------------------------------------------------------------------------------------


def _member(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def _open(request: HttpRequest, pk: UUID) -> tuple[ReviewCase, User]:
    """A case that this member may read; whoever belongs elsewhere finds nothing."""
    cases = ReviewCase.objects.visible_to(request.user).select_related(
        "organization", "claimed_by", "opened_by", "job__media", "job__result__model_version"
    )
    found = get_object_or_404(cases, pk=pk)
    return found, _member(request)


def _job(request: HttpRequest, pk: UUID) -> Job:
    return get_object_or_404(Job.objects.visible_to(request.user).select_related("media", "organization"), pk=pk)


def _named_job(request: HttpRequest, text: str) -> Job:
    """By id, with or without its prefix. Raises DomainError."""
    text = text.strip().rstrip("/").rpartition("/")[2].removeprefix("job_")
    job = Job.objects.visible_to(request.user).filter(pk=UUID(text)).first() if _is_uuid(text) else None
    if job is None:
        raise DomainError("There is no analysis of that id in your organisation.", "job_unknown", 404)
    return job


def _preference(member: User) -> ReviewPreference:
    return ReviewPreference.objects.filter(user=member).first() or ReviewPreference(user=member)


def _to_case(found: ReviewCase, filters: QueueFilter, anchor: str = "") -> HttpResponseRedirect:
    query = urlencode(filters.asked)
    return HttpResponseRedirect(
        found.get_absolute_url() + (f"?{query}" if query else "") + (f"#{anchor}" if anchor else "")
    )


def _to_queue(filters: QueueFilter) -> HttpResponseRedirect:
    query = urlencode(filters.asked)
    return HttpResponseRedirect(reverse("review:queue") + (f"?{query}" if query else ""))


def _sentences(form: Form) -> str:
    found: Iterable[str] = (str(error) for errors in form.errors.values() for error in errors)
    return " ".join(dict.fromkeys(found))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun if number == 1 else noun + 's'}"


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
