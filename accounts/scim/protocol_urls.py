"""Addresses below /scim/v2/."""

from collections.abc import Callable
from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path
from django.views.decorators.csrf import csrf_exempt

View = Callable[..., HttpResponse]


def later(make: Callable[[Any], View]) -> View:
    """A view that is made when it is first asked: loading the library of SCIM takes a sixth of the whole start."""

    @cache
    def made() -> View:
        from accounts.scim import views

        return make(views)

    @csrf_exempt
    def view(request: HttpRequest, **kwargs: str) -> HttpResponse:
        return made()(request, **kwargs)

    view.made = made  # type: ignore[attr-defined]  # for whoever wants to know what it does
    return view


urlpatterns = [
    path("ServiceProviderConfig", later(lambda views: views.Config.as_view()), name="scim_config"),
    path("Schemas", later(lambda views: views.Described.as_view(name="Schemas")), name="scim_schemas"),
    path("Schemas/<str:pk>", later(lambda views: views.Described.as_view(name="Schemas")), name="scim_schema"),
    path(
        "ResourceTypes",
        later(lambda views: views.Described.as_view(name="ResourceTypes")),
        name="scim_resource_types",
    ),
    path(
        "ResourceTypes/<str:pk>",
        later(lambda views: views.Described.as_view(name="ResourceTypes")),
        name="scim_resource_type",
    ),
    path(".search", later(lambda views: views.SearchAll.as_view()), name="scim_search"),
    path("Users", later(lambda views: views.Collection.as_view(kind=views.USERS)), name="scim_users"),
    path("Users/.search", later(lambda views: views.Search.as_view(kind=views.USERS)), name="scim_users_search"),
    path("Users/<str:pk>", later(lambda views: views.Single.as_view(kind=views.USERS)), name="scim_user"),
    path("Groups", later(lambda views: views.Collection.as_view(kind=views.GROUPS)), name="scim_groups"),
    path("Groups/.search", later(lambda views: views.Search.as_view(kind=views.GROUPS)), name="scim_groups_search"),
    path("Groups/<str:pk>", later(lambda views: views.Single.as_view(kind=views.GROUPS)), name="scim_group"),
    re_path(r"^[\s\S]*$", later(lambda views: views.Nothing.as_view()), name="scim_nothing"),
]
