"""Changing threshold profiles by two people: one proposes, another decides."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import audit
from accounts.models import Organization, User
from accounts.permissions import Permission, check, refusal
from deepfake.errors import DomainError
from detection.models import MediaKind, ThresholdProfile, ThresholdProposal, ThresholdVersion
from detection.profile_matching import PLATFORMS, Rule, profiles_for, rule_of
from detection.threshold_models import ProposalAction, ProposalState
from detection.what_if import WhatIf, what_if

RULE_FIELDS = ("kind", "platform", "host", "codec")
FIELDS = (*RULE_FIELDS, "fake_at", "real_below")
MAX_WHY = 2000
_HOST = re.compile(r"(?=.{1,253}$)([a-z0-9](-?[a-z0-9])*\.)+[a-z0-9-]{2,63}")
_CODEC = re.compile(r"[a-z0-9][a-z0-9._-]{0,29}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{1,59}")


def may_propose(user: User) -> bool:
    return user.may(Permission.THRESHOLDS_PROPOSE)


def may_decide(user: User, proposal: ThresholdProposal) -> bool:
    return user.may(Permission.THRESHOLDS_APPROVE) and user.pk != proposal.proposed_by_id


def content_of(profile: ThresholdProfile) -> dict[str, Any]:
    return {name: getattr(profile, name) for name in FIELDS}


# Proposing ------------------------------------------------------------------------------------------------------------


def propose(
    *,
    organization: Organization,
    actor: User,
    action: str,
    why: str,
    profile: ThresholdProfile | None = None,
    name: str = "",
    after: dict[str, Any] | None = None,
) -> ThresholdProposal:
    """Put a change before a second person. Raises DomainError."""
    proposal = drafted(
        organization=organization, actor=actor, action=action, why=why, profile=profile, name=name, after=after
    )
    try:
        with transaction.atomic():
            proposal.save()
            _audit("threshold.proposed", proposal, actor, {"action": action, "before": proposal.before,
                                                          "after": proposal.after, "why": proposal.why})  # fmt: skip
    except IntegrityError:
        raise DomainError(
            f"Somebody has proposed a change of {proposal.name} already. Decide on that one first.",
            "proposal_open",
            409,
        ) from None
    return proposal


def drafted(
    *,
    organization: Organization,
    actor: User,
    action: str,
    why: str,
    profile: ThresholdProfile | None = None,
    name: str = "",
    after: dict[str, Any] | None = None,
) -> ThresholdProposal:
    """A proposal that has been checked and is not kept yet. Raises DomainError."""
    if not may_propose(actor):
        raise refusal(actor, Permission.THRESHOLDS_PROPOSE)
    if action != ProposalAction.CREATE:
        profile = _own(organization, profile)
        name = profile.name
    elif profile is not None or not _NAME.fullmatch(name):
        raise DomainError("A name has small letters, digits, - and _, at least two of them.", "name_invalid")
    elif ThresholdProfile.objects.filter(organization=organization, name=name, retired_at=None).exists():
        raise DomainError(f"There is a profile called {name} already; propose to change that one.", "name_taken", 409)
    content = {} if action == ProposalAction.RETIRE else _checked(name, after or {})
    stands = profile or ThresholdProfile.objects.filter(organization=None, name=name).first()
    before = content_of(stands) if stands is not None else {}
    if action == ProposalAction.CHANGE and content == before:
        raise DomainError("That is how the profile stands already.", "nothing_changed")
    if not why.strip():
        raise DomainError("Say why: whoever decides reads it, and so does everybody later.", "why_required")
    return ThresholdProposal(
        organization=organization,
        profile=profile,
        action=action,
        name=name,
        base_version=profile.version if profile is not None else 0,
        before=before,
        after=content,
        why=why.strip()[:MAX_WHY],
        proposed_by=actor,
    )


def _own(organization: Organization, profile: ThresholdProfile | None) -> ThresholdProfile:
    if profile is None or profile.organization_id is None:
        raise DomainError(
            "The shipped profiles follow the weights and cannot be changed. Propose a profile of the same name: it "
            "takes the shipped one's place for your organisation.",
            "profile_shipped",
        )
    if profile.organization_id != organization.pk or profile.retired_at is not None:
        raise DomainError("There is no such profile.", "profile_unknown", 404)
    return profile


def _checked(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Rule and thresholds, in the form in which they are stored. Raises DomainError."""
    rule = {field: str(given.get(field) or "").strip().lower() for field in RULE_FIELDS}
    if name.startswith("default_"):
        kind = name.removeprefix("default_")
        if kind not in MediaKind.values:
            raise DomainError(f"default_… is for {', '.join(MediaKind.values)}; choose another name.", "name_invalid")
        rule = dict.fromkeys(RULE_FIELDS, "") | {"kind": kind}
    if rule["kind"] and rule["kind"] not in MediaKind.values:
        raise DomainError("There is no such kind of media.", "rule_invalid")
    if rule["platform"] and rule["platform"] not in PLATFORMS:
        raise DomainError(f"Known platforms: {', '.join(PLATFORMS)}.", "rule_invalid")
    if rule["host"] and not _HOST.fullmatch(rule["host"]):
        raise DomainError("A host looks like example.org, without https:// and without a path.", "rule_invalid")
    if rule["codec"] and not _CODEC.fullmatch(rule["codec"]):
        raise DomainError("A codec or container looks like h264, opus or matroska.", "rule_invalid")
    fake_at, real_below = given.get("fake_at"), given.get("real_below")
    if not isinstance(fake_at, float) or not isinstance(real_below, float) or not 0 <= real_below <= fake_at <= 1:
        raise DomainError(
            "“Fake from” must not lie below “real below”, and both lie between 0 and 100 %.", "thresholds_invalid"
        )
    return {**rule, "fake_at": round(fake_at, 4), "real_below": round(real_below, 4)}


def held_before(profile: ThresholdProfile) -> dict[str, Any] | None:
    """What the profile said before its newest version, to be proposed again; None when there is no way back."""
    versions = list(profile.versions.select_related("proposal")[:2])
    if profile.retired_at is not None or not versions:
        return None
    newest = versions[0]
    if newest.proposal is not None:
        return newest.proposal.before if newest.proposal.action == ProposalAction.CHANGE else None
    before = versions[1].content if len(versions) > 1 else {"is_retired": True}
    return None if before["is_retired"] else {name: before[name] for name in FIELDS}


# Deciding -------------------------------------------------------------------------------------------------------------


def approve(*, proposal: ThresholdProposal, actor: User, answer: str) -> ThresholdProfile:
    """Let a proposal become true, for a reason; never by the person who made it. Raises DomainError."""
    effect = preview(proposal).as_json()
    with transaction.atomic():
        proposal = _locked(proposal)
        _check_decider(proposal, actor, "approve")
        if not answer.strip():
            raise DomainError("Say why it is approved: it holds at once, and the reason stays.", "reason_required")
        profile = _applied(proposal)
        _close(proposal, ProposalState.APPROVED, actor, answer, effect, profile)
        keep_version(profile, actor=actor, proposal=proposal)
        _audit(
            "threshold.approved",
            proposal,
            actor,
            {"profile": str(profile.pk), "version": profile.version, "before": proposal.before, "after": proposal.after,
             "proposed_by": proposal.proposed_by_id, "effect": effect, "answer": proposal.answer},
        )  # fmt: skip
    return profile


def reject(*, proposal: ThresholdProposal, actor: User, answer: str) -> ThresholdProposal:
    if not answer.strip():
        raise DomainError("Say why it is rejected.", "reason_required")
    with transaction.atomic():
        proposal = _locked(proposal)
        _check_decider(proposal, actor, "reject")
        _close(proposal, ProposalState.REJECTED, actor, answer, {}, proposal.profile)
        _audit("threshold.rejected", proposal, actor, {"answer": proposal.answer})
    return proposal


def withdraw(*, proposal: ThresholdProposal, actor: User) -> ThresholdProposal:
    """Take one's own proposal back."""
    with transaction.atomic():
        proposal = _locked(proposal)
        if proposal.proposed_by_id != actor.pk:
            raise DomainError("Only the person who proposed it can withdraw it.", "not_yours", 403)
        _close(proposal, ProposalState.WITHDRAWN, actor, "", {}, proposal.profile)
        _audit("threshold.withdrawn", proposal, actor, {})
    return proposal


def _locked(proposal: ThresholdProposal) -> ThresholdProposal:
    rows = ThresholdProposal.objects.select_for_update(of=("self",)).select_related("organization", "profile")
    found = rows.get(pk=proposal.pk)
    if not found.is_open:
        raise DomainError("This proposal has been decided.", "proposal_closed", 409)
    return found


def _check_decider(proposal: ThresholdProposal, actor: User, what: str) -> None:
    check(actor, Permission.THRESHOLDS_APPROVE)
    if actor.pk == proposal.proposed_by_id:
        raise DomainError(f"You made this proposal; a second person has to {what} it.", "own_proposal", 403)


def _applied(proposal: ThresholdProposal) -> ThresholdProfile:
    if proposal.action == ProposalAction.CREATE:
        return _created(proposal)
    profile = ThresholdProfile.objects.select_for_update().get(organization=proposal.organization, name=proposal.name)
    if profile.version != proposal.base_version or profile.retired_at is not None:
        raise DomainError(
            "The profile has changed since this was proposed. Withdraw it and propose anew.", "profile_changed", 409
        )
    profile.version += 1
    if proposal.action == ProposalAction.RETIRE:
        profile.retired_at = timezone.now()
    for name, value in proposal.after.items():
        setattr(profile, name, value)
    profile.save()
    return profile


def _created(proposal: ThresholdProposal) -> ThresholdProfile:
    """A new row, or the retired one of that name brought back: analyses of the past point at it."""
    rows = ThresholdProfile.objects.select_for_update()
    profile = rows.filter(organization=proposal.organization, name=proposal.name).first()
    if profile is None:
        return ThresholdProfile.objects.create(organization=proposal.organization, name=proposal.name, **proposal.after)
    if profile.retired_at is None:
        raise DomainError(f"There is a profile called {proposal.name} by now.", "name_taken", 409)
    profile.version, profile.retired_at = profile.version + 1, None
    for name, value in proposal.after.items():
        setattr(profile, name, value)
    profile.save()
    return profile


def _close(
    proposal: ThresholdProposal,
    state: ProposalState,
    actor: User,
    answer: str,
    effect: dict[str, Any],
    profile: ThresholdProfile | None,
) -> None:
    proposal.state, proposal.decided_by, proposal.decided_at = state, actor, timezone.now()
    proposal.answer, proposal.effect, proposal.profile = answer.strip()[:MAX_WHY], effect, profile
    proposal.save()


def keep_version(
    profile: ThresholdProfile, *, actor: User | None, proposal: ThresholdProposal | None = None
) -> ThresholdVersion:
    content = content_of(profile) | {"is_retired": profile.retired_at is not None}
    return ThresholdVersion.objects.create(
        profile=profile, number=profile.version, content=content, proposal=proposal, changed_by=actor
    )


# What it would do -----------------------------------------------------------------------------------------------------


def preview(proposal: ThresholdProposal) -> WhatIf:
    """What the proposal would have changed among the newest analyses, beside the profiles as they are now."""
    rules = [rule_of(profile) for profile in profiles_for(proposal.organization)]
    return what_if(proposal.organization, rules, rules_after(proposal, rules))


def rules_after(proposal: ThresholdProposal, rules: Sequence[Rule]) -> list[Rule]:
    others = [rule for rule in rules if rule.name != proposal.name]
    if proposal.action == ProposalAction.RETIRE:
        # Retiring what stands in the place of a shipped profile brings that one back.
        shipped = ThresholdProfile.objects.filter(organization=None, name=proposal.name, retired_at=None)
        return [*others, *(rule_of(profile) for profile in shipped)]
    return [*others, Rule(name=proposal.name, is_own=True, **proposal.after)]


def _audit(action: str, proposal: ThresholdProposal, actor: User, details: dict[str, Any]) -> None:
    audit.record(
        action=action,
        organization=proposal.organization,
        actor=actor,
        target=proposal,
        details={"name": proposal.name} | details,
    )
