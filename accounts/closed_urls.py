"""Addresses of allauth that are not offered, hidden by these, which stand before its own.

Members' addresses come from administrators, from the invitation or from the identity provider, and a password is
replaced by whoever knows it or reads the mail: nothing of that hangs on an open session alone.
"""

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path
from django.views.generic import RedirectView


def _nothing(request: HttpRequest, **kwargs: str) -> HttpResponse:
    raise Http404


own_sign_in = login_required(RedirectView.as_view(pattern_name="accounts:security"))

urlpatterns = [
    path("email/", _nothing, name="account_email"),
    path("confirm-email/", _nothing, name="account_email_verification_sent"),
    path("confirm-email/<str:key>/", _nothing, name="account_confirm_email"),
    path("login/code/confirm/", _nothing, name="account_confirm_login_code"),
    path("3rdparty/", _nothing, name="socialaccount_connections"),
    path("3rdparty/signup/", _nothing, name="socialaccount_signup"),
    path("password/set/", own_sign_in, name="account_set_password"),
    # One page for what allauth spreads over several.
    path("2fa/", own_sign_in, name="mfa_index"),
    path("2fa/webauthn/", own_sign_in, name="mfa_list_webauthn"),
]
