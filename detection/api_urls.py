"""Addresses of the integrator API, below /v1/."""

from django.urls import path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerSplitView

from detection import api, api_status

urlpatterns = [
    path("media", api.MediaView.as_view(), name="api_media"),
    path("media/<str:media_id>", api.MediaItemView.as_view(), name="api_media_item"),
    path("detect", api.DetectView.as_view(), name="api_detect"),
    path("jobs", api.JobsView.as_view(), name="api_jobs"),
    path("jobs/<str:job_id>", api.JobView.as_view(), name="api_job"),
    path("jobs/<str:job_id>/cancel", api.JobCancelView.as_view(), name="api_job_cancel"),
    path("feedback", api.FeedbackView.as_view(), name="api_feedback"),
    path("models", api_status.ModelsView.as_view(), name="api_models"),
    path("health", api_status.HealthView.as_view(), name="api_health"),
    path("health/live", api_status.LiveView.as_view(), name="api_health_live"),
    path("health/ready", api_status.ReadyView.as_view(), name="api_health_ready"),
    path(
        "openapi.json",
        SpectacularJSONAPIView.as_view(authentication_classes=[], permission_classes=[]),
        name="api_schema",
    ),
    path(
        "docs/",
        SpectacularSwaggerSplitView.as_view(
            url_name="api_schema",
            template_name="detection/api_docs.html",
            authentication_classes=[],
            permission_classes=[],
        ),
        name="api_docs",
    ),
]
