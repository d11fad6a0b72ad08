"""Pages of members: the list, one member, inviting, and the page behind an invitation."""

from __future__ import annotations

from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from accounts import members, roles, sign_in
from accounts.api_keys import live_keys_of
from accounts.authentication import organization_of
from accounts.models import CustomRole, Organization, Role, User
from accounts.permissions import ROLE_PERMISSIONS, Permission, public, requires
from deepfake.errors import DomainError
from deepfake.reader_zone import in_readers_zone

PAGE_SIZE = 50
STATES = {"": "All", "active": "Active", "invited": "Invited", "off": "Switched off"}
_FRESH_LINK = "accounts.fresh_link"  # in the session of whoever invited: the link is shown on one page, once


# The list -------------------------------------------------------------------------------------------------------------


@require_GET
@requires(Permission.MEMBERS)
@in_readers_zone
def member_list(request: HttpRequest) -> HttpResponse:
    """By user name, page by page from the last name shown, so that the thousandth member costs what the first does."""
    q, state = request.GET.get("q", "")[:150].strip(), request.GET.get("state", "")
    state = state if state in STATES else ""
    after = request.GET.get("after", "")[:150]
    rows = _matching(_members(organization_of(request)), q, state).order_by("username")
    page = list((rows.filter(username__gt=after) if after else rows)[: PAGE_SIZE + 1])
    shown = page[:PAGE_SIZE]
    kept = {name: value for name, value in (("q", q), ("state", state)) if value}
    context = {
        "members": shown,
        "q": q,
        "state": state,
        "states": STATES.items(),
        "next_query": urlencode(kept | {"after": shown[-1].username}) if len(page) > PAGE_SIZE else "",
        "first_query": urlencode(kept) if after else None,
    }
    return render(request, "accounts/members.html", context)


def _members(organization: Organization) -> QuerySet[User]:
    factors = Authenticator.objects.filter(user=OuterRef("pk")).exclude(type=Authenticator.Type.RECOVERY_CODES)
    return organization.users.select_related("custom_role").annotate(has_second_factor=Exists(factors))


def _matching(rows: QuerySet[User], q: str, state: str) -> QuerySet[User]:
    if q:
        names = ("username", "email", "first_name", "last_name")
        for word in q.split()[:5]:
            found = Q()
            for name in names:
                found |= Q(**{f"{name}__icontains": word})
            rows = rows.filter(found)
    invited = members.INVITED
    wanted = {"active": Q(is_active=True) & ~invited, "invited": invited, "off": Q(is_active=False)}.get(state)
    return rows.filter(wanted) if wanted is not None else rows


# One member -----------------------------------------------------------------------------------------------------------


@require_GET
@requires(Permission.MEMBERS)
@in_readers_zone
@never_cache
def member(request: HttpRequest, pk: int) -> HttpResponse:
    return _render_member(request, _found(request, pk))


def _render_member(request: HttpRequest, found: User, error: DomainError | None = None) -> HttpResponse:
    actor = _actor(request)
    link = request.session.get(_FRESH_LINK, {})
    if link:
        del request.session[_FRESH_LINK]
    context = {
        "member": found,
        "is_self": found.pk == actor.pk,
        "is_invited": members.is_invited(found),
        "is_in_reach": roles.reaches(actor, found),
        "choices": _choices(actor, found.organization, found),
        "link": link.get("link", "") if link.get("member") == found.pk else "",
        "days": members.INVITATION_DAYS,
        "permissions": [permission for permission in Permission if permission in found.permissions],
        "keys": list(live_keys_of(found)),
        "error": error,
    }
    return render(request, "accounts/member.html", context, status=error.status if error else 200)


def _choices(actor: User, organization: Organization | None, member: User | None = None) -> list[dict[str, Any]]:
    """The roles that the actor can give: the built-in ones and the organisation's own."""
    own = roles.custom_roles(organization) if organization else []
    held = (member.custom_role_id or member.role) if member else Role.VIEWER.value
    found = [(role.value, str(role.label), ROLE_PERMISSIONS[role.value]) for role in Role]
    found += [(str(role.pk), role.name, role.permission_set) for role in own]
    return [
        {"value": value, "name": name, "is_held": value == str(held), "is_open": roles.grantable_by(actor, permissions)}
        for value, name, permissions in found
    ]


@require_http_methods(["GET", "POST"])
@requires(Permission.MEMBERS)
def invite(request: HttpRequest) -> HttpResponse:
    """Make a member and get a link that sets their password; what is refused comes back with all that was typed."""
    actor, organization = _actor(request), organization_of(request)
    error = None
    if request.method == "POST":
        try:
            role, custom_role = _chosen_role(request, organization)
            made = members.invite(
                organization=organization,
                username=request.POST.get("username", ""),
                email=request.POST.get("email", ""),
                full_name=request.POST.get("full_name", "")[:300],
                role=role,
                custom_role=custom_role,
                actor=actor,
                is_sent=request.POST.get("is_sent") == "1",
            )
            return _with_link(request, made)
        except DomainError as refused:
            error = refused
    context = {
        "choices": _choices(actor, organization),
        "given": request.POST,
        "error": error,
        "days": members.INVITATION_DAYS,
    }
    return render(request, "accounts/invite.html", context, status=error.status if error else 200)


def _with_link(request: HttpRequest, found: User) -> HttpResponse:
    request.session[_FRESH_LINK] = {"member": found.pk, "link": members.invitation_link(found)}
    return redirect("accounts:member", pk=found.pk)


def _chosen_role(request: HttpRequest, organization: Organization) -> tuple[str | None, CustomRole | None]:
    wanted = request.POST.get("role", "")
    if wanted in Role.values:
        return wanted, None
    for role in organization.custom_roles.all():
        if str(role.pk) == wanted:
            return None, role
    raise DomainError("Choose a role.", "role_unknown")


@require_POST
@requires(Permission.MEMBERS)
def invite_again(request: HttpRequest, pk: int) -> HttpResponse:
    found = _found(request, pk)
    try:
        members.invite_again(member=found, actor=_actor(request), is_sent=request.POST.get("is_sent") == "1")
    except DomainError as error:
        return _render_member(request, found, error)
    return _with_link(request, found)


@require_POST
@requires(Permission.MEMBERS)
def change_role(request: HttpRequest, pk: int) -> HttpResponse:
    found = _found(request, pk)
    try:
        role, custom_role = _chosen_role(request, organization_of(request))
        roles.set_role(member=found, role=role, custom_role=custom_role, actor=_actor(request))
    except DomainError as error:
        return _render_member(request, found, error)
    messages.success(request, f"{found.get_username()} is now: {found.role_name}.")
    # Whoever gave up their own right to manage members would find a refusal there.
    is_self_out = found.pk == request.user.pk and not found.may(Permission.MEMBERS)
    return redirect("accounts:settings") if is_self_out else redirect("accounts:member", pk=found.pk)


@require_POST
@requires(Permission.MEMBERS)
def deactivate(request: HttpRequest, pk: int) -> HttpResponse:
    return _done(request, pk, members.deactivate, "{} is switched off and signed out everywhere.")


@require_POST
@requires(Permission.MEMBERS)
def reactivate(request: HttpRequest, pk: int) -> HttpResponse:
    return _done(request, pk, members.reactivate, "{} can sign in again.")


@require_POST
@requires(Permission.KEYS)
def revoke_keys(request: HttpRequest, pk: int) -> HttpResponse:
    """Of a member who left: whoever looks after keys decides, since programs stop with them."""
    found = _found(request, pk)
    count = members.revoke_keys(member=found, actor=_actor(request))
    messages.success(request, f"{count} key{'' if count == 1 else 's'} of {found.get_username()} revoked.")
    is_back = _actor(request).may(Permission.MEMBERS)
    return redirect("accounts:member", pk=found.pk) if is_back else redirect("accounts:api_keys")


@require_POST
@requires(Permission.MEMBERS)
def end_sessions(request: HttpRequest, pk: int) -> HttpResponse:
    return _done(request, pk, members.end_sessions, "{} is signed out everywhere.")


@require_POST
@requires(Permission.MEMBERS)
def reset_factors(request: HttpRequest, pk: int) -> HttpResponse:
    return _done(
        request, pk, sign_in.reset_factors, "{} has no second factor any more, is signed out, and is told by e-mail."
    )


def _done(request: HttpRequest, pk: int, action: Any, sentence: str) -> HttpResponse:
    found, actor = _found(request, pk), _actor(request)
    try:
        action(member=found, actor=actor)
    except DomainError as error:
        return _render_member(request, found, error)
    messages.success(request, sentence.format(found.get_username()))
    return redirect("accounts:member", pk=found.pk)


def _actor(request: HttpRequest) -> User:
    assert isinstance(request.user, User)  # `requires` has let nobody else in
    return request.user


def _found(request: HttpRequest, pk: int) -> User:
    return get_object_or_404(_members(organization_of(request)).select_related("organization", "custom_role"), pk=pk)


# Behind the link ------------------------------------------------------------------------------------------------------


@public("the signed link, which expires and works once, is what opens it; whoever is invited has no password yet")
@require_http_methods(["GET", "POST"])
@never_cache
def invitation(request: HttpRequest, token: str) -> HttpResponse:
    invited = members.invited_by_token(token)
    if invited is None:
        return _quiet(render(request, "accounts/invitation_gone.html", {"days": members.INVITATION_DAYS}, status=404))
    error = None
    if request.method == "POST":
        password = request.POST.get("password", "")
        try:
            if password != request.POST.get("again", ""):
                raise DomainError("The two passwords differ. Type the same one twice.", "passwords_differ")
            members.accept(member=invited, password=password)
            messages.success(request, "Your password is set. Sign in with it.")
            return redirect("account_login")
        except DomainError as refused:
            error = refused
    context = {"invited": invited, "error": error}
    return _quiet(render(request, "accounts/invitation.html", context, status=error.status if error else 200))


def _quiet(response: HttpResponse) -> HttpResponse:
    """The address is a secret: no search engine keeps it.

    No other site is told it either: the Referrer-Policy is same-origin everywhere. It may not be no-referrer: browsers
    then send "Origin: null" with the form, which the check against foreign pages refuses.
    """
    response["X-Robots-Tag"] = "noindex, nofollow"
    return response
