"""Addresses of the whole house."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from accounts import sign_in_views
from deepfake import metrics_views, security_txt, tls_views

# The admin's own form knows neither second factors nor waits after failures.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

urlpatterns = [
    path("admin/password_change/", RedirectView.as_view(pattern_name="account_change_password")),
    path("accounts/", include("accounts.closed_urls")),
    path("accounts/2fa/webauthn/keys/<int:pk>/remove/", sign_in_views.remove_passkey, name="mfa_remove_webauthn"),
    path("accounts/2fa/webauthn/keys/<int:pk>/edit/", sign_in_views.rename_passkey, name="mfa_edit_webauthn"),
    path("accounts/", include("accounts.sso.entrance_urls")),
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("trust/", tls_views.trust, name="trust"),
    path("trust/ca.crt", tls_views.local_ca, name="local_ca"),
    path(".well-known/security.txt", security_txt.security_txt, name="security_txt"),
    path("v1/", include("detection.api_urls")),
    path("metrics", metrics_views.show, name="metrics"),
    path("scim/v2/", include("accounts.scim.protocol_urls")),
    path("", include("accounts.oauth.provider_urls")),
    path("", include("accounts.urls")),
    path("", include("review.urls")),
    path("", include("reports.urls")),
    path("", include("detection.urls")),
]

handler400 = "deepfake.error_views.bad_request"
handler403 = "deepfake.error_views.permission_denied"
handler404 = "deepfake.error_views.not_found"
handler429 = "deepfake.error_views.too_many"
handler500 = "deepfake.error_views.server_error"
