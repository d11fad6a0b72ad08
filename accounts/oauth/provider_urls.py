"""Addresses of the OAuth 2 and OpenID Connect provider; allauth looks them up under the name idp:oidc."""

from allauth.idp.oidc import views as allauth_views
from django.urls import include, path

from accounts.oauth import views

_oidc = [
    path(".well-known/openid-configuration", views.configuration, name="configuration"),
    path(".well-known/oauth-authorization-server", views.configuration, name="server_metadata"),  # RFC 8414
    path(".well-known/jwks.json", allauth_views.jwks, name="jwks"),
    path("oauth/authorize", views.authorization, name="authorization"),
    path("oauth/token", views.token, name="token"),
    path("oauth/revoke", views.revoke, name="revoke"),
    path("oauth/userinfo", allauth_views.user_info, name="userinfo"),
]
urlpatterns = [path("", include(([path("", include((_oidc, "oidc")))], "idp")))]
