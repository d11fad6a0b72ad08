"""What a member may do: permissions, the roles that hold them, and the rules that addresses declare.

Every address declares who may come in, in one of five ways that a program can read back (tests/test_authorisation.py
reads them and tries each):

- `@requires(Permission.X)` on a page: members who hold the permission (one of them, where several are named);
- `@members_only` on a page: every member of an organisation;
- `@own_account` on a page: whoever is signed in, for it acts on that person's own account alone;
- `permission_classes = [HasScope(...)]`, which ApiView makes of read_scope and write_scope, on the API;
- `@public("because …")`, or `public_because = "…"` on a class, for what needs no sign-in. Addresses of other people's
  packages cannot be decorated; deepfake/access.py lists those with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth.decorators import login_required
from django.db import models
from django.http import HttpRequest

from deepfake.errors import DomainError

View = TypeVar("View", bound=Callable[..., Any])


class Permission(models.TextChoices):
    VIEW = "media.view", "See media, analyses and reports"
    SUBMIT = "media.submit", "Submit media and start analyses"
    DELETE = "media.delete", "Delete analyses"
    VIEWS_SHARE = "views.share", "Share views of the list, delete shared ones"
    REPORTS_REVOKE = "reports.revoke", "Take issued reports back"
    NAMES = "figures.names", "See colleagues by name in figures"
    REVIEW_READ = "review.read", "Open review cases, send analyses to review, write notes"
    REVIEW = "review.decide", "Take and decide review cases"
    APPEALS = "review.appeals", "Make and withdraw appeal links"
    REVIEW_STATISTICS = "review.statistics", "See the figures of review"
    REVIEW_OVERSEE = "review.oversee", "Take cases off colleagues, end cases of one's own, remove others' marks"
    REVIEW_RULES = "review.rules", "Set the rules of review"
    REVIEW_PLANT = "review.plant", "Plant known items"
    THRESHOLDS_PROPOSE = "thresholds.propose", "Propose threshold profiles"
    THRESHOLDS_APPROVE = "thresholds.approve", "Approve threshold profiles of others"
    MEMBERS = "members.manage", "Manage members and roles"
    KEYS = "keys.manage", "Manage API keys and OAuth clients"
    WEBHOOKS = "webhooks.manage", "Manage webhooks"
    SIGN_IN = "sign_in.manage", "Set the rules of sign-in, single sign-on and provisioning"
    PRIVACY = "privacy.manage", "Set retention and legal holds, export and erase personal data"
    AUDIT = "audit.read", "Read and export the audit log"


_P = Permission
# How the permissions stand on the page of roles; a test sees that each stands there once.
PERMISSION_GROUPS: tuple[tuple[str, tuple[Permission, ...]], ...] = (
    ("Analyses", (_P.VIEW, _P.SUBMIT, _P.DELETE, _P.VIEWS_SHARE, _P.REPORTS_REVOKE, _P.NAMES)),
    (
        "Review",
        (_P.REVIEW_READ, _P.REVIEW, _P.APPEALS, _P.REVIEW_STATISTICS, _P.REVIEW_OVERSEE, _P.REVIEW_RULES,
         _P.REVIEW_PLANT),
    ),
    ("Thresholds", (_P.THRESHOLDS_PROPOSE, _P.THRESHOLDS_APPROVE)),
    ("Organisation", (_P.MEMBERS, _P.KEYS, _P.WEBHOOKS, _P.SIGN_IN, _P.PRIVACY, _P.AUDIT)),
)  # fmt: skip

_VIEWER = frozenset({_P.VIEW})
_ANALYST = _VIEWER | {_P.SUBMIT, _P.DELETE, _P.REVIEW_READ, _P.APPEALS}
_REVIEWER = _ANALYST | {
    _P.REVIEW, _P.REVIEW_STATISTICS, _P.REPORTS_REVOKE, _P.THRESHOLDS_PROPOSE, _P.THRESHOLDS_APPROVE
}  # fmt: skip

# By the values of accounts.models.Role.
ROLE_PERMISSIONS: dict[str, frozenset[Permission]] = {
    "viewer": _VIEWER,
    "analyst": _ANALYST,
    "reviewer": _REVIEWER,
    "data_scientist": _VIEWER | {_P.REVIEW_STATISTICS, _P.THRESHOLDS_PROPOSE},
    "admin": frozenset(Permission),
}
# What each permission allows through the API.
PERMISSION_SCOPES: dict[Permission, tuple[str, ...]] = {
    _P.VIEW: ("detect:read",),
    _P.SUBMIT: ("detect:write",),
    _P.REVIEW_READ: ("review:read",),
    _P.REVIEW: ("review:read", "review:write"),
    _P.WEBHOOKS: ("webhooks:read", "webhooks:write"),
    _P.KEYS: ("admin:read", "admin:write"),
    _P.AUDIT: ("audit:read",),
}
# A scope opens these too: before the audit log had one of its own, admin:read opened it. Whoever gives it gives both.
SCOPES_WITHIN: dict[str, tuple[str, ...]] = {"admin:read": ("audit:read",)}


def opens(held: Iterable[str], scope: str) -> bool:
    """Whether the scopes of a key or a token open `scope`: by name, by the wildcard of its family, or by another's."""
    held = set(held)
    if scope in held or f"{scope.partition(':')[0]}:*" in held:
        return True
    return any(opens(held, wider) for wider, within in SCOPES_WITHIN.items() if scope in within)


def requires(*permissions: Permission) -> Callable[[View], View]:
    """Let only members of an organisation in that hold one of `permissions`; others get a sign-in page or a 403."""

    def decorate(view: View) -> View:
        guarded = _guarded(view, permissions)
        guarded.required_permission = permissions[0]  # type: ignore[attr-defined]
        guarded.required_permissions = permissions  # type: ignore[attr-defined]
        return guarded

    if not permissions or not all(isinstance(permission, Permission) for permission in permissions):
        raise TypeError("Name the permission: @requires(Permission.VIEW).")
    return decorate


def members_only(view: View) -> View:
    """Let every member of an organisation in, whatever the role; others get a sign-in page or a 403."""
    guarded = _guarded(view, ())
    guarded.is_for_members = True  # type: ignore[attr-defined]
    return guarded


def own_account(view: View) -> View:
    """Let everybody in who is signed in: the page shows and changes that person's own account, nothing else."""
    guarded: View = login_required(view)
    guarded.is_own_account = True  # type: ignore[attr-defined]
    return guarded


def public(because: str) -> Callable[[View], View]:
    """Say that a page needs no sign-in, and why."""

    def decorate(view: View) -> View:
        view.public_because = because  # type: ignore[attr-defined]
        return view

    return decorate


def _guarded(view: View, permissions: Iterable[Permission]) -> View:
    guarded: Callable[..., Any]
    if iscoroutinefunction(view):

        async def guarded_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            await sync_to_async(check)(await request.auser(), *permissions)
            return await view(request, *args, **kwargs)

        guarded = guarded_async
    else:

        def guarded_sync(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            check(request.user, *permissions)
            return view(request, *args, **kwargs)

        guarded = guarded_sync
    return cast(View, login_required(wraps(view)(guarded)))


def check(member: Any, *permissions: Permission) -> None:
    """Raise DomainError 403 unless the member belongs to an organisation and holds one of `permissions`, if any."""
    if getattr(member, "organization_id", None) is None:
        raise DomainError("Your account belongs to no organisation yet.", "no_organization", status=403)
    if permissions and not any(member.may(permission) for permission in permissions):
        raise refusal(member, *permissions)


def refusal(member: Any, *permissions: Permission) -> DomainError:
    """The error for a member whose role lacks what is needed; it names the role and the right to ask for."""
    words = ", or ".join(f"“{permission.label}”" for permission in permissions)
    return DomainError(
        f"Your role ({member.role_name.lower()}) does not include: {words}. Ask an administrator of your organisation.",
        "role_insufficient",
        status=403,
    )
