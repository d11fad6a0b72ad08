"""Addresses whose views belong to other people's packages, which cannot carry a rule themselves: who may come in, why.

By the name of the address (`room:name` where it has a namespace). Our own views declare their rule where they are
written (accounts/permissions.py); tests/test_authorisation.py fails for an address that has none, and for one that is
listed here and gone.
"""

# No sign-in is needed.
PUBLIC: dict[str, str] = {
    "account_login": "this is where one signs in",
    "account_logout": "a GET of a stranger only leads on; a POST ends the session of whoever sends it",
    "account_signup": "says that nobody registers here: members are invited",
    "account_inactive": "says that the account is switched off",
    "account_reset_password": "for whoever has forgotten the password; answers alike for every address",
    "account_reset_password_done": "a sentence after that",
    "account_reset_password_from_key": "the key in the link, which expires, is what opens it",
    "account_reset_password_from_key_done": "a sentence after that",
    "mfa_authenticate": "the second step of signing in: nothing without the first",
    "socialaccount_login_cancelled": "says that signing in at a provider was cancelled",
    "socialaccount_login_error": "says that signing in at a provider failed",
    "mfa_login_webauthn": "signing in with a passkey",
    **dict.fromkeys(
        ["account_email", "account_email_verification_sent", "account_confirm_email", "account_confirm_login_code",
         "socialaccount_signup", "socialaccount_connections"],
        "not offered: answers 404 (accounts/closed_urls.py)",
    ),
    **dict.fromkeys(
        ["sso_saml_no_login", "sso_saml_no_logout", "saml_acs", "saml_finish_acs", "saml_sls", "saml_metadata",
         "saml_login", "openid_connect_login", "openid_connect_callback"],
        "hidden by an address of our own at the same path (accounts/sso/entrance_urls.py)",
    ),
    "idp:oidc:jwks": "public keys",
    "idp:oidc:token": "asks the program for its secret, or for the code that a member gave it",
    "idp:oidc:revoke": "asks the program for its secret, and for the token that shall end",
    "idp:oidc:userinfo": "asks for an access token, and tells of its owner alone",
}  # fmt: skip
# Signed in, with any role: the page acts on the signed-in person's own account alone.
OWN_ACCOUNT: dict[str, str] = {
    "account_change_password": "one's own password",
    "account_set_password": "leads to one's own sign-in",
    "account_reauthenticate": "asks the signed-in person for the password again",
    "mfa_index": "leads to one's own sign-in",
    "mfa_list_webauthn": "leads to one's own sign-in",
    "mfa_add_webauthn": "one's own passkeys",
    "mfa_remove_webauthn": "hidden by a view of our own at the same path (accounts/sign_in_views.py)",
    "mfa_edit_webauthn": "one's own passkeys",
    "mfa_reauthenticate_webauthn": "asks the signed-in person for a passkey again",
    "mfa_activate_totp": "one's own second factors",
    "mfa_deactivate_totp": "one's own second factors",
    "mfa_reauthenticate": "asks the signed-in person for the second factor again",
    "mfa_view_recovery_codes": "one's own recovery codes",
    "mfa_generate_recovery_codes": "one's own recovery codes",
    "mfa_download_recovery_codes": "one's own recovery codes",
}
# Old addresses without a name, which lead to the new ones; by their path.
REDIRECTS: dict[str, str] = {
    "accounts/social/login/cancelled/": "leads to socialaccount_login_cancelled",
    "accounts/social/login/error/": "leads to socialaccount_login_error",
    "accounts/social/signup/": "leads to socialaccount_signup",
    "accounts/social/connections/": "leads to socialaccount_connections",
}
# Below these paths a gate of its own keeps the rule, for every address alike.
GATES: dict[str, str] = {
    "admin/": "Django's back office: staff of the installation alone; deepfake/admin_site.py says what each sees",
    "scim/v2/": "the provisioning token of one organisation, in every request; sessions and API keys count nothing",
}
