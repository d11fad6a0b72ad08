"""Settings pages of OAuth clients and grants."""

from django.urls import path

from accounts.oauth import pages

urlpatterns = [
    path("oauth-clients/", pages.clients, name="oauth_clients"),
    path("oauth-clients/new/", pages.create, name="oauth_client_new"),
    path("oauth-clients/<str:pk>/", pages.client, name="oauth_client"),
    path("oauth-clients/<str:pk>/secret/", pages.rotate, name="oauth_client_rotate"),
    path("oauth-clients/<str:pk>/switch/", pages.switch, name="oauth_client_switch"),
    path("oauth-clients/<str:pk>/grants/<uuid:grant>/revoke/", pages.revoke, name="oauth_grant_revoke"),
    path("connected-programs/", pages.connected, name="connected_programs"),
    path("connected-programs/<uuid:grant>/disconnect/", pages.disconnect, name="connected_program_disconnect"),
]
