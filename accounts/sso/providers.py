"""Our connections as allauth's apps, and SAML with every signing certificate and no assertion twice."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin, urlsplit
from uuid import UUID

from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.saml.provider import SAMLProvider
from allauth.socialaccount.providers.saml.utils import build_saml_config
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from onelogin.saml2.auth import OneLogin_Saml2_Auth

from accounts.models import SsoConnection, SsoKind
from deepfake import storage

# An assertion that names no end is remembered for a day.
REMEMBER_S = 24 * 3600


def app_of(connection: SsoConnection) -> SocialApp:
    is_oidc = connection.kind == SsoKind.OIDC
    app = SocialApp(
        provider="openid_connect" if is_oidc else "saml",
        provider_id=connection.provider_id,
        name=connection.name,
        client_id=connection.client_id if is_oidc else connection.id.hex,
        settings=_oidc(connection) if is_oidc else _saml(connection),
    )
    if is_oidc and connection.sealed_secret:
        app.secret = storage.unseal(bytes(connection.sealed_secret), context=str(connection.id)).decode()
    app.connection = connection
    return app


def find(*, provider: str, client_id: str | None) -> SsoConnection | None:
    """The connection that allauth means by provider "sso-<hex>", or by "saml" and the hex as client id."""
    text = client_id if provider == "saml" else provider.removeprefix("sso-")
    try:
        pk = UUID(hex=text or "")
    except ValueError:
        return None
    return SsoConnection.objects.select_related("organization").filter(pk=pk, is_enabled=True).first()


def _oidc(connection: SsoConnection) -> dict[str, Any]:
    return {
        "server_url": connection.issuer.rstrip("/"),
        "oauth_pkce_enabled": True,
        "scope": ["openid", "profile", "email"],
    }


def _saml(connection: SsoConnection) -> dict[str, Any]:
    certificates = connection.idp_certificates
    return {
        "idp": {
            "entity_id": connection.idp_entity_id,
            "sso_url": connection.idp_sso_url,
            "x509cert": certificates[0] if certificates else "",
        },
        "advanced": {
            "strict": True,
            "reject_deprecated_algorithm": True,
            "reject_idp_initiated_sso": True,
            "want_name_id": True,
            "want_attribute_statement": False,
            "allow_repeat_attribute_name": True,
            "allow_single_label_domains": True,  # the host is ours, and localhost is one
        },
        "attribute_mapping": {
            name: [*keys, *_MORE_ATTRIBUTES.get(name, ())]
            for name, keys in SAMLProvider.default_attribute_mapping.items()
            if name != "email_verified"
        },
    }


_MORE_ATTRIBUTES = {
    "email": ("email", "mail", "emailAddress"),
    "first_name": ("first_name", "firstName", "givenName"),
    "last_name": (
        "last_name", "lastName", "sn", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname",
    ),
    "username": ("uid", "username"),
}  # fmt: skip


def by_our_name(request: HttpRequest) -> HttpRequest:
    """Let allauth build our addresses below PUBLIC_URL: a provider is never told the host that a request names."""

    def build_absolute_uri(location: str | None = None) -> str:
        return urljoin(settings.PUBLIC_URL + "/", location or request.get_full_path())

    request.build_absolute_uri = build_absolute_uri  # type: ignore[method-assign]
    return request


class OrganizationSaml(SAMLProvider):  # type: ignore[misc]
    """allauth's provider with our own `saml_auth`."""

    def redirect(
        self, request: HttpRequest, process: str, next_url: str | None = None, data: Any = None, **kwargs: Any
    ) -> HttpResponse:
        auth = saml_auth(request, self.app.connection, fields={})
        address = auth.login(return_to="")
        self.stash_redirect_state(request, process, next_url, data, state_id=auth.get_last_request_id(), **kwargs)
        return HttpResponseRedirect(address)


def saml_auth(request: HttpRequest, connection: SsoConnection, *, fields: dict[str, str]) -> OneLogin_Saml2_Auth:
    """`fields` is what came to our assertion consumer service, whose address the answer has to name."""
    app = app_of(connection)
    config = build_saml_config(request, app.settings, app.client_id)
    # A provider that exchanges its certificate signs with either for a while.
    config["idp"]["x509certMulti"] = {"signing": connection.idp_certificates, "encryption": []}
    ours = urlsplit(settings.PUBLIC_URL)
    asked = {
        "https": "on" if ours.scheme == "https" else "off",
        "http_host": ours.netloc,
        "script_name": reverse("saml_acs", args=[app.client_id]),
        "get_data": {},
        "post_data": fields,
    }
    return OneLogin_Saml2_Auth(asked, config)


def refuse_second_use(connection: SsoConnection, auth: OneLogin_Saml2_Auth) -> None:
    """Raise PermissionDenied when this assertion was taken before."""
    ends = auth.get_last_assertion_not_on_or_after()
    left = int(ends - timezone.now().timestamp()) + 60 if ends else REMEMBER_S
    name = f"saml-assertion:{connection.id.hex}:{auth.get_last_assertion_id()}"
    if not cache.add(name, 1, timeout=max(left, 60)):
        raise PermissionDenied("This sign-in was used already. Start again from the sign-in page.")
