"""Actions of single sign-on: connections, domains, and who may come in."""

from __future__ import annotations

import json
import logging
import re
from typing import Any

from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone
from onelogin.saml2.idp_metadata_parser import OneLogin_Saml2_IdPMetadataParser

from accounts import audit, sign_in
from accounts.models import EmailDomain, Organization, Role, SsoConnection, SsoKind, User
from accounts.roles import check_every_right, is_last_administrator, set_role
from accounts.services import free_username
from accounts.sso import outgoing
from deepfake import storage
from deepfake.errors import DomainError

logger = logging.getLogger(__name__)

_DOMAIN = re.compile(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]")
MAX_CONNECTIONS = 10
MAX_DOMAINS = 50


# Connections ----------------------------------------------------------------------------------------------------------


def save_connection(
    *, organization: Organization, actor: User, connection: SsoConnection | None = None, **given: Any
) -> SsoConnection:
    """Make or change a connection after asking its provider who it is; an empty secret keeps the one that is there.

    Whoever its provider vouches for comes in as a member, so it takes every right. Raises DomainError.
    """
    check_every_right(actor)
    row = connection or SsoConnection(organization=organization, kind=given["kind"], created_by=actor)
    row.name = given["name"].strip()
    row.is_enabled = given["is_enabled"]
    row.vouches_for_emails = given["vouches_for_emails"]
    row.makes_members = given["makes_members"]
    row.default_role = _role(given["default_role"])
    row.group_attribute = given["group_attribute"].strip()
    row.group_roles = [[group, _role(role)] for group, role in given["group_roles"]]
    if row.kind == SsoKind.OIDC:
        _set_oidc(row, given["issuer"], given["client_id"], given["client_secret"])
    else:
        _set_saml(row, given["metadata_url"], given["metadata_xml"])
    with transaction.atomic():
        organization.lock()
        if connection is None and organization.sso_connections.count() >= MAX_CONNECTIONS:
            raise DomainError(f"An organisation can have {MAX_CONNECTIONS} connections.", "too_many", status=409)
        row.save()
        audit.record(
            action="sso_connection.changed" if connection else "sso_connection.created",
            organization=organization,
            actor=actor,
            target=row,
            details={
                "name": row.name,
                "kind": row.kind,
                "provider": row.issuer or row.idp_entity_id,
                "is_enabled": row.is_enabled,
                "makes_members": row.makes_members,
                "vouches_for_emails": row.vouches_for_emails,
                "group_roles": row.group_roles,
            },
        )
    return row


def remove_connection(*, connection: SsoConnection, actor: User) -> None:
    """Forget a provider and the links of members to it; the members stay."""
    with transaction.atomic():
        _check_somebody_can_sign_in(connection.organization, without=connection)
        SocialAccount.objects.filter(provider=connection.provider_id).delete()
        audit.record(
            action="sso_connection.removed",
            organization=connection.organization,
            actor=actor,
            target=connection,
            details={"name": connection.name},
        )
        connection.delete()


def _set_oidc(row: SsoConnection, issuer: str, client_id: str, secret: str) -> None:
    row.issuer, row.client_id = issuer.strip().rstrip("/").removesuffix("/.well-known/openid-configuration"), client_id
    if secret:
        row.sealed_secret = storage.seal(secret.encode(), context=str(row.id))
    if not row.client_id or not row.sealed_secret:
        raise DomainError("Give the client id and the client secret that your provider made.", "invalid")
    address = f"{row.issuer}/.well-known/openid-configuration"
    try:
        told = json.loads(outgoing.read(address))
        found, endpoints = str(told["issuer"]), [str(told[name]) for name in _OIDC_ENDPOINTS]
    except (ValueError, KeyError, TypeError):
        raise DomainError(f"{address} is not the document of an OpenID provider.", "sso_discovery") from None
    if found.rstrip("/") != row.issuer:
        raise DomainError(
            f"The provider calls itself {found}, not {row.issuer}. Enter its own name as issuer.", "sso_discovery"
        )
    if row.issuer.startswith("https://") and not all(endpoint.startswith("https://") for endpoint in endpoints):
        raise DomainError("An address of this provider is not https.", "sso_discovery")


_OIDC_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")


def _set_saml(row: SsoConnection, url: str, xml: str) -> None:
    row.metadata_url = url.strip()
    if row.metadata_url:
        xml = outgoing.read(row.metadata_url).decode("utf-8", "replace")
    row.metadata_xml = xml.strip() or row.metadata_xml
    if not row.metadata_xml:
        raise DomainError("Give the address of your provider's metadata, or paste the metadata.", "invalid")
    if "<!DOCTYPE" in row.metadata_xml or "<!ENTITY" in row.metadata_xml:
        raise DomainError("Metadata with a document type are not read.", "sso_metadata")
    try:
        idp = OneLogin_Saml2_IdPMetadataParser.parse(row.metadata_xml.encode())["idp"]
        row.idp_entity_id, row.idp_sso_url = idp["entityId"], idp["singleSignOnService"]["url"]
        many = idp.get("x509certMulti", {}).get("signing", [])
        row.idp_certificates = list(dict.fromkeys([idp["x509cert"]] if idp.get("x509cert") else many))
    except Exception:  # a stranger's XML: the parser raises whatever its parts raise
        logger.info("SAML metadata were not understood", exc_info=True)
        row.idp_certificates = []
    if not row.idp_certificates:
        raise DomainError(
            "These are not the metadata of a SAML identity provider with a signing certificate and a sign-in address "
            "for redirects.",
            "sso_metadata",
        )
    if not row.idp_sso_url.startswith(("https://", "http://")):
        raise DomainError("The sign-in address in the metadata is not a web address.", "sso_metadata")


def _role(role: str) -> str:
    if role not in Role.values:
        raise DomainError(f"There is no role {role}. Known: {', '.join(Role.values)}.", "invalid")
    return role


# Domains --------------------------------------------------------------------------------------------------------------


def add_domain(*, organization: Organization, domain: str, actor: User) -> EmailDomain:
    name = domain.strip().lower().removeprefix("@").rstrip(".")
    if not _DOMAIN.fullmatch(name):
        raise DomainError("Give a domain such as example.org.", "invalid", fields={"domain": ["Not a domain."]})
    with transaction.atomic():
        organization.lock()
        if organization.email_domains.filter(domain=name).exists():
            raise DomainError(f"{name} is in the list already.", "domain_exists", status=409)
        if organization.email_domains.count() >= MAX_DOMAINS:
            raise DomainError(f"An organisation can have {MAX_DOMAINS} domains.", "too_many", status=409)
        row = EmailDomain.objects.create(organization=organization, domain=name)
        audit.record(action="email_domain.added", organization=organization, actor=actor, target=row, details=_of(row))
    return row


def verify_domain(*, domain: EmailDomain, actor: User | None, by_operator: bool = False) -> None:
    """Look for the proof on the domain's web server; an operator's word counts without it.

    From then on connections let its addresses in, with their roles, so it takes every right. Raises DomainError.
    """
    check_every_right(actor)
    if not by_operator:
        found = outgoing.read(domain.proof_url, max_bytes=10_000).decode("utf-8", "replace")
        if domain.token not in found.split():
            raise DomainError(
                f"{domain.proof_url} does not hold the text that is shown beside the domain.", "domain_unproved"
            )
    try:
        with transaction.atomic():
            EmailDomain.objects.filter(pk=domain.pk).update(verified_at=timezone.now())
            audit.record(
                action="email_domain.verified",
                organization=domain.organization,
                actor=actor,
                target=domain,
                details=_of(domain) | {"by_operator": by_operator},
            )
    except IntegrityError:
        raise DomainError(
            f"{domain.domain} is verified for another organisation of this installation.", "domain_taken", status=409
        ) from None


def remove_domain(*, domain: EmailDomain, actor: User) -> None:
    with transaction.atomic():
        audit.record(
            action="email_domain.removed",
            organization=domain.organization,
            actor=actor,
            target=domain,
            details=_of(domain),
        )
        domain.delete()


def _of(domain: EmailDomain) -> dict[str, Any]:
    return {"domain": domain.domain}


def _check_somebody_can_sign_in(organization: Organization, *, without: SsoConnection) -> None:
    others = organization.sso_connections.filter(is_enabled=True).exclude(pk=without.pk)
    is_off = not sign_in.rules_of(organization.pk).passwords_allowed
    if is_off and not others.exists() and not sign_in.somebody_has_passkey(organization):
        raise DomainError(
            "Passwords are off, and this is the only way in. Switch passwords on first.", "sso_last", status=409
        )


# Who comes in ---------------------------------------------------------------------------------------------------------


def connections_for(text: str) -> list[SsoConnection]:
    """What a person finds by the organisation's short name or by an e-mail address of a verified domain."""
    name = text.strip().lower()
    enabled = SsoConnection.objects.filter(is_enabled=True).select_related("organization").order_by("name")
    if "@" in name or "." in name:
        domain = EmailDomain.objects.filter(domain=name.rpartition("@")[2]).exclude(verified_at=None).first()
        return list(enabled.filter(organization_id=domain.organization_id)) if domain else []
    return list(enabled.filter(organization__slug=name)) if name else []


@transaction.atomic
def admit(*, connection: SsoConnection, sociallogin: Any, request: HttpRequest) -> None:
    """Point the sign-in at a member of the connection's organisation, linking or making one. Raises DomainError."""
    claims = _claims(connection, sociallogin)
    is_linked = sociallogin.is_existing
    member = sociallogin.user if is_linked else _member_for(connection, sociallogin, claims)
    _check_may_come(connection, member)
    if not is_linked:
        sociallogin.connect(request, member)
    _apply_groups(connection, member, claims)
    SsoConnection.objects.filter(pk=connection.pk).update(last_used_at=timezone.now())


def _member_for(connection: SsoConnection, sociallogin: Any, claims: dict[str, Any]) -> User:
    """The member with the proved e-mail address, or a new one where the connection makes members."""
    organization = connection.organization
    email, is_proved = _email(connection, sociallogin, claims)
    if not email:
        raise DomainError("Your identity provider named no e-mail address.", "sso_refused", status=403)
    domain = email.rpartition("@")[2].lower()
    if not organization.email_domains.filter(domain=domain).exclude(verified_at=None).exists():
        raise DomainError(
            f"Addresses of {domain} are not among the verified domains of {organization.name}.",
            "sso_refused",
            status=403,
        )
    if not is_proved:
        raise DomainError(
            "Your identity provider does not say that your e-mail address is verified.", "sso_refused", status=403
        )
    found = User.objects.filter(email__iexact=email).first()
    if found is not None and found.organization_id == organization.pk:
        return _link(connection, found)
    if found is not None:
        raise DomainError(
            "This e-mail address belongs to an account that cannot be linked. Ask an administrator.",
            "sso_refused",
            status=403,
        )
    if not connection.makes_members:
        raise DomainError(
            f"You are no member of {organization.name} yet. Ask an administrator to add you.", "sso_refused", status=403
        )
    return _make_member(connection, sociallogin.user, email, claims)


def _link(connection: SsoConnection, member: User) -> User:
    audit.record(
        action="sso.linked",
        organization=connection.organization,
        actor=member,
        target=member,
        details={"connection": str(connection.pk)},
    )
    return member


def _check_may_come(connection: SsoConnection, member: User) -> None:
    """Raise DomainError for whom no identity provider of an organisation may vouch, at every sign-in anew."""
    if member.organization_id != connection.organization_id:
        sentence = "Your account here belongs to another organisation now. Ask an administrator."
    elif member.is_staff or member.is_superuser:
        # Whoever holds the provider would hold the whole installation.
        sentence = "Operators of the installation sign in with their password."
    elif not member.is_active:
        sentence = "Your account here is switched off. Ask an administrator."
    else:
        return
    raise DomainError(sentence, "sso_refused", status=403)


def _make_member(connection: SsoConnection, suggested: User, email: str, claims: dict[str, Any]) -> User:
    role = role_by_groups(connection, claims) or connection.default_role
    member = User(
        username=free_username(suggested.username or email),
        email=email,
        first_name=suggested.first_name[:150],
        last_name=suggested.last_name[:150],
        organization=connection.organization,
        role=role,
    )
    member.set_unusable_password()
    try:
        with transaction.atomic():
            member.save()
    except IntegrityError:  # of two at once
        raise DomainError(
            "An account with this address or name was made this moment. Sign in once more.", "email_taken", 409
        ) from None
    EmailAddress.objects.create(user=member, email=email, verified=True, primary=True)
    audit.record(
        action="user.created",
        organization=connection.organization,
        actor=member,
        target=member,
        details={"role": role, "by": "single sign-on", "connection": str(connection.pk)},
    )
    return member


def role_by_groups(connection: SsoConnection, claims: dict[str, Any]) -> str:
    """The role of the first line of the mapping that fits, or ""."""
    told = claims.get(connection.group_attribute) or []
    groups = {str(group) for group in (told if isinstance(told, list) else [told])}
    return next((role for group, role in connection.group_roles if group in groups), "")


def _apply_groups(connection: SsoConnection, member: User, claims: dict[str, Any]) -> None:
    """Whoever has a group that is mapped gets its role, at every sign-in."""
    role = role_by_groups(connection, claims)
    if not role or role == member.role:
        return
    if member.custom_role_id is not None:
        return  # a role of the organisation's own was given here, by hand: no group of the provider's stands for it
    if is_last_administrator(member):
        return  # an organisation without an administrator could not mend its mapping
    set_role(member=member, role=role, actor=None)


def _claims(connection: SsoConnection, sociallogin: Any) -> dict[str, Any]:
    """What the provider said about the person, after checking that it speaks of one person and as itself."""
    data = sociallogin.account.extra_data or {}
    if connection.kind == SsoKind.SAML:
        return dict(data)
    token, told = data.get("id_token") or {}, data.get("userinfo") or {}
    if str(token.get("iss", "")).rstrip("/") != connection.issuer:
        raise DomainError("The identity provider signed as somebody else.", "sso_refused", status=403)
    if not token.get("sub") or (told and told.get("sub") != token["sub"]):
        raise DomainError("The identity provider spoke of two different persons.", "sso_refused", status=403)
    return {**token, **told}


def _email(connection: SsoConnection, sociallogin: Any, claims: dict[str, Any]) -> tuple[str, bool]:
    email = str(sociallogin.user.email or "")
    said = claims.get("email_verified") if connection.kind == SsoKind.OIDC else None
    if said is False or str(said).lower() == "false":
        return email, False
    return email, said is True or connection.vouches_for_emails


def record_refusal(*, connection: SsoConnection, error: DomainError) -> None:
    audit.record(
        action="sso.refused",
        organization=connection.organization,
        target=connection,
        details={"reason": error.message},
    )
