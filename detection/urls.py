"""Addresses of the pages about media and analyses."""

from django.urls import path

from detection import jump, views

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
    path("media/<uuid:pk>/file", views.media_file, name="media_file"),
    path("media/<uuid:pk>/thumbnail", views.thumbnail, name="thumbnail"),
    path("artifacts/<uuid:pk>", views.artifact, name="artifact"),
]
