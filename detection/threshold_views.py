"""Pages of threshold profiles: the list, one profile with its history, proposals, and deciding on them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts.authentication import organization_of
from accounts.models import Organization, User
from accounts.permissions import Permission, requires
from deepfake.errors import DomainError
from deepfake.reader_zone import in_readers_zone
from detection import threshold_services as services
from detection.models import MediaKind, ThresholdProfile, ThresholdProposal
from detection.profile_matching import choose, profiles_for, rule_of
from detection.threshold_forms import ProposalForm, WhichForm
from detection.threshold_models import ProposalAction, ProposalState

DECIDED_SHOWN = 20


def _reader(request: HttpRequest) -> tuple[Organization, User]:
    organization = organization_of(request)
    assert isinstance(request.user, User)  # organization_of refuses everybody else
    return organization, request.user


@require_GET
@requires(Permission.VIEW)
@in_readers_zone
def profiles(request: HttpRequest) -> HttpResponse:
    organization, member = _reader(request)
    rows = list(profiles_for(organization))
    which = WhichForm(request.GET)
    item = which.item()
    found = choose([rule_of(row) for row in rows], item) if item else None
    proposals = ThresholdProposal.objects.filter(organization=organization).select_related("proposed_by", "decided_by")
    context = {
        "organization": organization,
        "profiles": sorted(rows, key=lambda row: (row.organization_id is None, row.name)),
        "open_proposals": list(proposals.filter(state=ProposalState.OPEN)),
        "decided": list(proposals.exclude(state=ProposalState.OPEN)[:DECIDED_SHOWN]),
        "may_propose": services.may_propose(member),
        "which": which,
        "item": item,
        "chosen": next((row for row in rows if found and row.name == found.name), None),
    }
    return render(request, "detection/thresholds.html", context)


@require_GET
@requires(Permission.VIEW)
@in_readers_zone
def profile(request: HttpRequest, pk: UUID) -> HttpResponse:
    organization, member = _reader(request)
    visible = ThresholdProfile.objects.filter(Q(organization=organization) | Q(organization=None))
    row = get_object_or_404(visible, pk=pk)
    context = {
        "profile": row,
        "is_shipped": row.organization_id is None,
        "versions": list(row.versions.select_related("changed_by", "proposal__proposed_by")),
        "open_proposal": row.proposals.filter(state=ProposalState.OPEN, organization=organization).first(),
        "may_propose": services.may_propose(member),
        "has_way_back": services.held_before(row) is not None,
    }
    return render(request, "detection/threshold_profile.html", context)


# Proposing ------------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@requires(Permission.THRESHOLDS_PROPOSE)
@in_readers_zone
def create(request: HttpRequest) -> HttpResponse:
    """A new profile; `?name=` begins with what is shipped under that name, `?again=` with one that was retired."""
    organization, _ = _reader(request)
    if again := request.GET.get("again", ""):
        row = get_object_or_404(ThresholdProfile, name=again, organization=organization, retired_at__isnull=False)
        again_start = _percent(services.content_of(row)) | {
            "name": row.name,
            "why": "Back to what held before it was retired.",
        }
        return _edit(request, organization, ProposalAction.CREATE, None, again_start)
    name = request.GET.get("name", "")
    shipped = ThresholdProfile.objects.filter(organization=None, name=name).first() if name else None
    start = _percent(services.content_of(shipped)) | {"name": name} if shipped else {"name": name}
    return _edit(request, organization, ProposalAction.CREATE, None, start)


@require_http_methods(["GET", "POST"])
@requires(Permission.THRESHOLDS_PROPOSE)
@in_readers_zone
def change(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Another content; `?back` begins with what held before the newest version, so that one press proposes it."""
    organization, _ = _reader(request)
    row = _own(organization, pk)
    start = services.content_of(row)
    if "back" in request.GET and (before := services.held_before(row)) is not None:
        start = before | {"why": f"Back to what held before version {row.version}."}
    return _edit(request, organization, ProposalAction.CHANGE, row, _percent(start))


@require_http_methods(["GET", "POST"])
@requires(Permission.THRESHOLDS_PROPOSE)
@in_readers_zone
def retire(request: HttpRequest, pk: UUID) -> HttpResponse:
    organization, _ = _reader(request)
    row = _own(organization, pk)
    return _edit(request, organization, ProposalAction.RETIRE, row, _percent(services.content_of(row)))


def _own(organization: Organization, pk: UUID) -> ThresholdProfile:
    return get_object_or_404(ThresholdProfile, pk=pk, organization=organization, retired_at=None)


def _percent(content: dict[str, Any]) -> dict[str, Any]:
    return content | {name: f"{100 * content[name]:g}" for name in ("fake_at", "real_below")}


def _edit(
    request: HttpRequest,
    organization: Organization,
    action: ProposalAction,
    row: ThresholdProfile | None,
    start: dict[str, Any],
) -> HttpResponse:
    """The form, its preview, and what becomes of it; what is refused comes back with all that was typed."""
    _, member = _reader(request)
    is_sent = request.method == "POST"
    data = request.POST if is_sent else start
    if action == ProposalAction.RETIRE:
        data = start | {"why": request.POST.get("why", "")}
    form = ProposalForm(data)
    if row is not None and (kind := row.name.removeprefix("default_")) in MediaKind.values:
        words = f"{MediaKind(kind).label}, by its name"
        form.fields["kind"].choices = [("", words), *MediaKind.choices]  # type: ignore[attr-defined]
    effect, error = None, ""
    if is_sent:
        try:
            if not form.is_valid():
                raise DomainError(" ".join(_sentences(form)), "thresholds_invalid")
            wanted = {
                "organization": organization,
                "actor": member,
                "action": action,
                "profile": row,
                "name": form.cleaned_data["name"].strip().lower(),
                "after": form.content(),
            }
            if "preview" not in request.POST:
                made = services.propose(**wanted, why=form.cleaned_data["why"])
                messages.success(request, "The proposal waits for a second person.")
                return redirect(made)
            effect = services.preview(services.drafted(**wanted, why=form.cleaned_data["why"] or "preview"))
        except DomainError as refused:
            if refused.status == 403:
                raise
            error = refused.message
    context = {"form": form, "action": action, "profile": row, "effect": effect, "error": error}
    return render(request, "detection/threshold_form.html", context, status=400 if error else 200)


def _sentences(form: ProposalForm) -> list[str]:
    return [str(error) for errors in form.errors.values() for error in errors]


# Deciding -------------------------------------------------------------------------------------------------------------


@require_GET
@requires(Permission.VIEW)
@in_readers_zone
def proposal(request: HttpRequest, pk: UUID) -> HttpResponse:
    organization, member = _reader(request)
    rows = ThresholdProposal.objects.select_related("profile", "proposed_by", "decided_by", "organization")
    found = get_object_or_404(rows, pk=pk, organization=organization)
    context = {
        "proposal": found,
        "fields": _differences(found),
        "effect": services.preview(found) if found.is_open else None,
        "kept_effect": None if found.is_open else found.effect,
        "may_decide": found.is_open and services.may_decide(member, found),
        "is_own": found.proposed_by_id == member.pk,
        "way_back": _way_back(found) if services.may_propose(member) else None,
    }
    return render(request, "detection/threshold_proposal.html", context)


def _way_back(found: ThresholdProposal) -> tuple[str, str] | None:
    """Where the opposite of an approved proposal is proposed, and its words, while nothing has changed since."""
    profile = found.profile
    if found.state != ProposalState.APPROVED or profile is None or profile.versions.all()[:1].get().proposal != found:
        return None
    if found.action == ProposalAction.CHANGE:
        return reverse("detection:threshold_change", args=[profile.pk]) + "?back", "Propose the version before again"
    if found.action == ProposalAction.CREATE:
        return reverse("detection:threshold_retire", args=[profile.pk]), "Propose to retire it again"
    return reverse("detection:threshold_new") + f"?again={profile.name}", "Propose it again"


WORDS = {
    "kind": "Kind",
    "platform": "Platform",
    "host": "Host",
    "codec": "Codec or container",
    "real_below": "Real below",
    "fake_at": "Fake from",
}


def _differences(found: ThresholdProposal) -> list[tuple[str, str, str, bool]]:
    rows = []
    for name, word in WORDS.items():
        one, other = (_shown(name, _value(found, content, name)) for content in (found.before, found.after))
        rows.append((word, one, other, one != other))
    return rows


def _value(found: ThresholdProposal, content: dict[str, Any], name: str) -> Any:
    """A profile called default_<kind> is that of the kind by its name, whatever its rule leaves open."""
    value = content.get(name)
    kind = found.name.removeprefix("default_")
    if name != "kind" or value is None:
        return value
    is_by_name = value == "" and found.name != kind and kind in MediaKind.values
    return str(MediaKind(kind if is_by_name else value).label) if is_by_name or value else value


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "–"
    return f"{100 * value:g}\N{NO-BREAK SPACE}%" if name in ("fake_at", "real_below") else str(value) or "any"


@require_POST
@requires(Permission.THRESHOLDS_PROPOSE, Permission.THRESHOLDS_APPROVE)
def decide(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Approve, reject or withdraw, by the button that was pressed."""
    organization, member = _reader(request)
    found = get_object_or_404(
        ThresholdProposal.objects.select_related("organization"), pk=pk, organization=organization
    )
    answer = request.POST.get("answer", "")
    try:
        if "approve" in request.POST:
            services.approve(proposal=found, actor=member, answer=answer)
            messages.success(request, f"{found.name} holds from now on.")
        elif "reject" in request.POST:
            services.reject(proposal=found, actor=member, answer=answer)
            messages.success(request, "The proposal was rejected.")
        elif "withdraw" in request.POST:
            services.withdraw(proposal=found, actor=member)
            messages.success(request, "The proposal was withdrawn.")
    except DomainError as error:
        if error.status == 403:
            raise
        messages.error(request, error.message)
    return redirect(found)
