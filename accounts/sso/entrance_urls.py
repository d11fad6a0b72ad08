"""Addresses of single sign-on that stand before allauth's own, and hide those that are not offered."""

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path

from accounts.sso import views


def _nothing(request: HttpRequest, **kwargs: str) -> HttpResponse:
    raise Http404


urlpatterns = [
    path("organization/", views.find, name="sso_find"),
    path("organization/<str:provider_id>/", views.start, name="sso_start"),
    path("oidc/<str:provider_id>/login/callback/", views.oidc_callback, name="sso_oidc_callback"),
    path("oidc/<str:provider_id>/login/", views.start, name="sso_oidc_login"),
    path("saml/<str:organization_slug>/acs/", views.saml_acs, name="sso_saml_acs"),
    path("saml/<str:organization_slug>/acs/finish/", views.finish_saml, name="sso_saml_finish"),
    path("saml/<str:organization_slug>/metadata/", views.saml_metadata, name="sso_saml_metadata"),
    path("saml/<str:organization_slug>/login/", _nothing, name="sso_saml_no_login"),
    path("saml/<str:organization_slug>/sls/", _nothing, name="sso_saml_no_logout"),
]
