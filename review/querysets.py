"""Questions about many cases, opinions, mentions and appeals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from django.apps import apps
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from accounts.models import Organization
from accounts.permissions import Permission

if TYPE_CHECKING:
    from review.models import Appeal, Decision, Mention, ReviewCase  # noqa: F401  (named in text below)


def _organization_of(viewer: Any) -> Organization | None:
    return viewer if isinstance(viewer, Organization) else getattr(viewer, "organization", None)


class CaseQuerySet(models.QuerySet["ReviewCase"]):
    def visible_to(self, viewer: Any) -> Self:
        organization = _organization_of(viewer)
        if organization is None:
            return self.none()
        return self.filter(organization=organization, job__deleted_at=None)  # what waits for its deletion is gone

    def unfinished(self) -> Self:
        return self.filter(closed_at=None)

    def finished(self) -> Self:
        return self.filter(closed_at__isnull=False)

    def in_queue_order(self) -> Self:
        return self.order_by("-priority", "due_at", "id")

    def overdue(self) -> Self:
        return self.filter(closed_at=None, due_at__lt=timezone.now())

    def free_for(self, user: Any) -> Self:
        """Nobody holds them, or this person does."""
        return self.filter(Q(claimed_by=None) | Q(claimed_until__lt=timezone.now()) | Q(claimed_by=user))

    def held_by_others(self, user: Any) -> Self:
        return self.filter(claimed_until__gte=timezone.now()).exclude(claimed_by=user).exclude(claimed_by=None)

    def held_by(self, user: Any) -> Self:
        return self.filter(claimed_by=user, claimed_until__gte=timezone.now())

    def workable_by(self, user: Any) -> Self:
        """Unfinished, and not for somebody else's eyes: who gave an opinion does not give the second or the last.

        Whoever oversees review may end an escalated case all the same: a small team may have nobody else.
        """
        decisions = apps.get_model("review", "Decision")
        own = Exists(decisions.objects.filter(case=OuterRef("pk"), reviewer=user, undone_at=None))
        barred = Q(state="second_opinion")
        if not user.may(Permission.REVIEW_OVERSEE):
            barred |= Q(state="escalated")
        return self.unfinished().exclude(own & barred)

    def matching(self, q: str) -> Self:
        return self.filter(
            Q(job__media__filename__icontains=q)
            | Q(job__media__source_url__icontains=q)
            | Q(job__media__sha256__startswith=q.lower())
        )


class DecisionQuerySet(models.QuerySet["Decision"]):
    def standing(self) -> Self:
        return self.filter(undone_at=None)


class MentionQuerySet(models.QuerySet["Mention"]):
    def visible_to(self, user: Any) -> Self:
        """Those of this member in cases that they can open: in their organisation, and not waiting for deletion."""
        here = self.filter(user=user, note__case__organization_id=user.organization_id)
        return here.filter(note__case__job__deleted_at=None)

    def unseen_by(self, user: Any) -> Self:
        return self.visible_to(user).filter(seen_at=None)


class AppealQuerySet(models.QuerySet["Appeal"]):
    def unanswered(self) -> Self:
        return self.filter(answered_at=None)
