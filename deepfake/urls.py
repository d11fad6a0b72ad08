"""Addresses of the whole house."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("v1/", include("detection.api_urls")),
    path("", include("review.urls")),
    path("", include("reports.urls")),
    path("", include("detection.urls")),
]

handler400 = "deepfake.error_views.bad_request"
handler403 = "deepfake.error_views.permission_denied"
handler404 = "deepfake.error_views.not_found"
handler500 = "deepfake.error_views.server_error"
