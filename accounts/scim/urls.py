"""The settings page of provisioning."""

from django.urls import path

from accounts.scim import pages

urlpatterns = [
    path("provisioning/", pages.provisioning, name="provisioning"),
    path("provisioning/token/", pages.make_token, name="provisioning_token"),
    path("provisioning/token/remove/", pages.remove_token, name="provisioning_token_remove"),
    path("provisioning/default-role/", pages.default_role, name="provisioning_default_role"),
    path("provisioning/groups/<uuid:pk>/role/", pages.group_role, name="provisioning_group_role"),
]
