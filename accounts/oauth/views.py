"""The provider's own pages: where a member consents, and the document that describes the provider."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from allauth.idp.oidc import views as allauth_views
from allauth.idp.oidc.internal.oauthlib.server import get_server
from allauth.idp.oidc.internal.oauthlib.utils import extract_params
from allauth.idp.oidc.models import Client
from allauth.idp.oidc.views import AuthorizationView, _ClientHttpResponseRedirect
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET
from oauthlib.oauth2.rfc6749 import errors

from accounts.authentication import scopes_of
from accounts.models import User
from accounts.oauth import scopes
from accounts.oauth.adapter import issuer
from accounts.permissions import public
from deepfake.errors import DomainError


class ConsentView(AuthorizationView):  # type: ignore[misc]
    """allauth's authorization endpoint, for members of the organisation that the program belongs to."""

    template_name = "accounts/oauth/consent.html"
    public_because = "wrong requests are answered before the sign-in; right ones ask for it"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        # Wrong requests are answered before the sign-in: after it, form-action would stop the way back to the program.
        try:
            found = get_server().validate_authorization_request(*extract_params(request))
        except (errors.FatalClientError, ValidationError) as error:
            return _refused(request, getattr(error, "description", None) or "The request could not be read.")
        except errors.OAuth2Error as error:
            back: HttpResponse = _ClientHttpResponseRedirect(error.in_uri(error.redirect_uri))
            return back
        registration = found[1]["request"].client.registration
        user = request.user
        if isinstance(user, User) and user.organization_id != registration.organization_id:
            return _refused(
                request,
                f"{registration.name} belongs to another organisation than you ({user.get_username()}) do. "
                "Sign out and come back as a member of that organisation.",
                status=403,
            )
        response: HttpResponse = super().get(request, *args, **kwargs)
        # The consent is a form, and the answer to it leads to the program: Chromium wants to know that beforehand.
        response._csp_update = {"form-action": [_source(found[1])]}  # type: ignore[attr-defined]
        return response

    def form_valid(self, form: Any) -> HttpResponse:
        try:
            response: HttpResponse = super().form_valid(form)
        except errors.OAuth2Error as error:  # what changed since the page was shown
            return _refused(self.request, error.description or "The request was refused.")
        return response

    def get_form_kwargs(self) -> dict[str, Any]:
        kwargs: dict[str, Any] = super().get_form_kwargs()
        held = set(scopes.IDENTITY) | scopes_of(self.request.user)
        kwargs["requested_scopes"] = [scope for scope in self._scopes if scope in held]
        return kwargs

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context_data(**kwargs)
        client = Client.objects.select_related("registration__organization").get(id=self._request_info["client_id"])
        asked = context["form"].fields["scopes"].choices
        offered = {name for name, _ in asked}
        if not offered:
            raise DomainError(
                f"{client.name} asks for rights that your role does not have.", "role_insufficient", status=403
            )
        uri = str(self._request_info["redirect_uri"])
        return context | {
            "client": client,
            "identity": [(name, words) for name, words in scopes.IDENTITY.items() if name in offered],
            "rights": [(name, words) for name, words in (scopes.API | scopes.OLDER).items() if name in offered],
            "left_out": [scopes.ALL[name] for name in self._scopes if name not in offered and name in scopes.ALL],
            "goes_to": urlsplit(uri).netloc or uri,
        }


authorization = ConsentView.as_view()


GRANT_TYPES = ("authorization_code", "refresh_token", "client_credentials")


def _asks_for_basic(answer: HttpResponse) -> HttpResponse:
    """Who is refused as a client is told how clients sign in (RFC 6749, 5.2); oauthlib tells it of bearer tokens."""
    if answer.status_code == 401:
        answer["WWW-Authenticate"] = 'Basic realm="oauth"'
    return answer


class TokenView(allauth_views.TokenView):  # type: ignore[misc]
    def post(self, request: HttpRequest) -> HttpResponse:
        asked = request.POST.get("grant_type")
        if asked and asked not in GRANT_TYPES:  # oauthlib knows more of them than programs here can have
            sentence = f"There is no such grant_type here. There are {', '.join(GRANT_TYPES)}."
            error = errors.UnsupportedGrantTypeError(description=sentence)
            return JsonResponse(dict(error.twotuples), status=error.status_code)
        return _asks_for_basic(super().post(request))


class RevokeView(allauth_views.RevokeView):  # type: ignore[misc]
    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return _asks_for_basic(super().post(request, *args, **kwargs))


token = TokenView.as_view()
revoke = RevokeView.as_view()


@require_GET
@public("programs read it before they have a token")
def configuration(request: HttpRequest) -> JsonResponse:
    """OpenID Connect Discovery 1.0 and RFC 8414, of what is really there."""
    base = issuer()

    def at(name: str) -> str:
        return base + reverse(f"idp:oidc:{name}")

    response = JsonResponse(
        {
            "issuer": base,
            "authorization_endpoint": at("authorization"),
            "token_endpoint": at("token"),
            "revocation_endpoint": at("revoke"),
            "userinfo_endpoint": at("userinfo"),
            "jwks_uri": at("jwks"),
            "scopes_supported": list(scopes.OFFERED),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": list(GRANT_TYPES),
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "revocation_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "claims_supported": [
                "sub", "name", "given_name", "family_name", "preferred_username", "email", "email_verified",
                "groups", "organization",
            ],
        }
    )  # fmt: skip
    response["Access-Control-Allow-Origin"] = "*"
    return response


def _refused(request: HttpRequest, sentence: str, status: int = 400) -> HttpResponse:
    return render(request, "accounts/oauth/refused.html", {"sentence": sentence}, status=status)


def _source(info: dict[str, Any]) -> str:
    """The redirect address as a source of a Content-Security-Policy; its characters were checked when it was saved."""
    parts = urlsplit(str(info["redirect_uri"]))
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else f"{parts.scheme}:"
