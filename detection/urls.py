"""Addresses of the pages about media and analyses."""

from django.urls import path

from detection import jump, threshold_views, views

app_name = "detection"

urlpatterns = [
    path("jump/", jump.jump, name="jump"),
    path("", views.analyses, name="analyses"),
    path("analyses/", views.upload, name="upload"),
    path("analyses/rows/", views.analyses_rows, name="analyses_rows"),
    path("analyses/<uuid:pk>/", views.job, name="job"),
    path("analyses/<uuid:pk>/panel/", views.job_panel, name="job_panel"),
    path("analyses/<uuid:pk>/cancel/", views.cancel, name="cancel"),
    path("analyses/<uuid:pk>/rerun/", views.rerun, name="rerun"),
    path("analyses/<uuid:pk>/delete/", views.delete, name="delete"),
    path("settings/thresholds/", threshold_views.profiles, name="thresholds"),
    path("settings/thresholds/new/", threshold_views.create, name="threshold_new"),
    path("settings/thresholds/<uuid:pk>/", threshold_views.profile, name="threshold_profile"),
    path("settings/thresholds/<uuid:pk>/change/", threshold_views.change, name="threshold_change"),
    path("settings/thresholds/<uuid:pk>/retire/", threshold_views.retire, name="threshold_retire"),
    path("settings/thresholds/proposals/<uuid:pk>/", threshold_views.proposal, name="threshold_proposal"),
    path("settings/thresholds/proposals/<uuid:pk>/decide/", threshold_views.decide, name="threshold_decide"),
    path("media/<uuid:pk>/file", views.media_file, name="media_file"),
    path("media/<uuid:pk>/thumbnail", views.thumbnail, name="thumbnail"),
    path("artifacts/<uuid:pk>", views.artifact, name="artifact"),
]
