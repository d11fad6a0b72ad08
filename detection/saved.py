"""Saved views of the list: a member's own, and those that are shared with the organisation."""

from __future__ import annotations

from uuid import UUID

from django.db import IntegrityError, transaction
from django.shortcuts import get_object_or_404

from accounts import audit
from accounts.models import User
from accounts.permissions import Permission
from deepfake.errors import DomainError
from detection.models import DefaultView, SavedView

MOST_PER_MEMBER = 50


def may_share(member: User) -> bool:
    return member.may(Permission.VIEWS_SHARE)


def save_view(*, member: User, name: str, query: str, is_shared: bool = False, is_default: bool = False) -> SavedView:
    """Keep a list under a name; the same name again replaces the query. Raises DomainError."""
    if is_shared and not may_share(member):
        raise DomainError(
            "Your role does not let you share views. Save it for yourself.",
            "role_insufficient",
            403,
        )
    mine = SavedView.objects.filter(owner=member)
    with transaction.atomic():
        view = mine.filter(name__iexact=name).first()
        if view is None and mine.count() >= MOST_PER_MEMBER:
            raise DomainError(f"{MOST_PER_MEMBER} views are the most. Delete one first.", "too_many", 409)
        view = view or SavedView(owner=member, organization=member.organization)
        view.name, view.query, view.is_shared = name, query, is_shared
        try:
            with transaction.atomic():
                view.save()
        except IntegrityError:  # sent twice at once
            raise DomainError("There is a view of that name already.", "name_taken", 409) from None
        if is_default:
            DefaultView.objects.update_or_create(user=member, defaults={"view": view})
        _audit("view.shared" if is_shared else "view.saved", view, member)
    return view


def delete_view(*, view: SavedView, member: User) -> None:
    """Own views, and for administrators any shared one. Raises DomainError."""
    if view.owner_id != member.pk and not (view.is_shared and may_share(member)):
        raise DomainError("Only its owner or an administrator deletes a shared view.", "not_yours", 403)
    with transaction.atomic():
        _audit("view.deleted", view, member)
        view.delete()


def choose_default(*, view: SavedView, member: User) -> bool:
    """Open the list with this view; once more and it opens with all analyses again. Returns whether it now does."""
    with transaction.atomic():
        _audit("view.default_chosen", view, member)
        if DefaultView.objects.filter(user=member, view=view).delete()[0]:
            return False
        DefaultView.objects.update_or_create(user=member, defaults={"view": view})
        return True


def visible_view(member: User, pk: UUID) -> SavedView:
    return get_object_or_404(SavedView.objects.visible_to(member), pk=pk)


def default_query(member: User) -> str:
    """The query that the bare list opens with, blank without a default that the member can still see."""
    chosen = DefaultView.objects.filter(user=member).values("view")
    shown = SavedView.objects.visible_to(member).filter(pk__in=chosen)
    return shown.values_list("query", flat=True).first() or ""


def _audit(action: str, view: SavedView, member: User) -> None:
    details = {"name": view.name, "query": view.query}
    audit.record(action=action, organization=view.organization, actor=member, target=view, details=details)
