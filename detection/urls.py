"""Addresses of the pages about media and analyses."""

from django.urls import path

from detection import jump, list_views, threshold_views, views

app_name = "detection"

urlpatterns = [
    path("jump/", jump.jump, name="jump"),
    path("", list_views.analyses, name="analyses"),
    path("analyses/", list_views.upload, name="upload"),
    path("analyses/rows/", list_views.analyses_rows, name="analyses_rows"),
    path("analyses/states/", list_views.states, name="states"),
    path("analyses/bulk/", list_views.bulk_action, name="bulk"),
    path("analyses/undo/<uuid:deletion_id>/", list_views.undo_deletion, name="undo_deletion"),
    path("views/", list_views.save_view, name="save_view"),
    path("views/<uuid:pk>/delete/", list_views.delete_view, name="delete_view"),
    path("views/<uuid:pk>/default/", list_views.default_view, name="default_view"),
    path("analyses/<uuid:pk>/", views.job, name="job"),
    path("analyses/<uuid:pk>/related/", views.related_items, name="related"),
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
