"""Settings pages of single sign-on."""

from django.urls import path

from accounts.sso import pages

urlpatterns = [
    path("sso/", pages.overview, name="sso"),
    path("sso/new/oidc/", pages.create, {"kind": "oidc"}, name="sso_new_oidc"),
    path("sso/new/saml/", pages.create, {"kind": "saml"}, name="sso_new_saml"),
    path("sso/<uuid:pk>/", pages.change, name="sso_connection"),
    path("sso/<uuid:pk>/remove/", pages.remove, name="sso_remove"),
    path("sso/domains/", pages.add_domain, name="sso_domain_add"),
    path("sso/domains/<uuid:pk>/verify/", pages.verify_domain, name="sso_domain_verify"),
    path("sso/domains/<uuid:pk>/remove/", pages.remove_domain, name="sso_domain_remove"),
    path("sso/passwords/", pages.passwords, name="sso_passwords"),
]
