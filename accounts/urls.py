"""Addresses of the settings of an organisation and of its members."""

from django.urls import include, path

from accounts import (
    api_key_views,
    audit_views,
    cors_views,
    member_views,
    privacy_views,
    role_views,
    settings_views,
    sign_in_views,
)

app_name = "accounts"

urlpatterns = [
    path("settings/", settings_views.hub, name="settings"),
    path("settings/members/", member_views.member_list, name="members"),
    path("settings/members/invite/", member_views.invite, name="invite"),
    path("settings/members/<int:pk>/", member_views.member, name="member"),
    path("settings/members/<int:pk>/invite-again/", member_views.invite_again, name="invite_again"),
    path("settings/members/<int:pk>/role/", member_views.change_role, name="member_role"),
    path("settings/members/<int:pk>/deactivate/", member_views.deactivate, name="member_deactivate"),
    path("settings/members/<int:pk>/revoke-keys/", member_views.revoke_keys, name="member_revoke_keys"),
    path("settings/members/<int:pk>/reactivate/", member_views.reactivate, name="member_reactivate"),
    path("settings/members/<int:pk>/end-sessions/", member_views.end_sessions, name="member_end_sessions"),
    path("settings/members/<int:pk>/reset-factor/", member_views.reset_factors, name="member_reset_factor"),
    path("settings/roles/", role_views.role_list, name="roles"),
    path("settings/roles/new/", role_views.create, name="role_new"),
    path("settings/roles/<uuid:pk>/", role_views.change, name="role_change"),
    path("settings/roles/<uuid:pk>/delete/", role_views.delete, name="role_delete"),
    path("invitation/<str:token>/", member_views.invitation, name="invitation"),
    path("settings/api-keys/", api_key_views.api_keys, name="api_keys"),
    path("settings/api-keys/new/", api_key_views.create, name="api_key_new"),
    path("settings/api-keys/<uuid:pk>/", api_key_views.api_key, name="api_key"),
    path("settings/api-keys/<uuid:pk>/rotate/", api_key_views.rotate, name="api_key_rotate"),
    path("settings/api-keys/<uuid:pk>/revoke/", api_key_views.revoke, name="api_key_revoke"),
    path("settings/browser-origins/", cors_views.origins, name="origins"),
    path("settings/browser-origins/<uuid:pk>/remove/", cors_views.remove, name="origin_remove"),
    path("settings/audit/", audit_views.log, name="audit"),
    path("settings/audit/export", audit_views.export, name="audit_export"),
    path("settings/data-requests/", privacy_views.data_requests, name="data_requests"),
    path("settings/data-requests/<uuid:pk>/", privacy_views.data_request, name="data_request"),
    path("settings/data-requests/<uuid:pk>/archive", privacy_views.archive, name="data_archive"),
    path("settings/security/", sign_in_views.security, name="security"),
    path("settings/security/second-factor/", sign_in_views.second_factor, name="second_factor"),
    path("settings/security/devices/end-others/", sign_in_views.end_other_sessions, name="end_other_sessions"),
    path("settings/security/devices/<uuid:device_id>/end/", sign_in_views.end_session, name="end_session"),
    path("settings/sign-in/reset-factors/", sign_in_views.reset_factors, name="reset_factors"),
    path("settings/sign-in/", sign_in_views.sign_in_rules, name="sign_in_rules"),
    path("settings/", include("accounts.oauth.urls")),
    path("settings/", include("accounts.sso.urls")),
    path("settings/", include("accounts.scim.urls")),
]
