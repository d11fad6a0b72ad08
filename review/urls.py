"""Addresses of review, and the public one of appeals."""

from django.urls import path

from review import appeal_views, views

app_name = "review"

urlpatterns = [
    path("review/", views.queue, name="queue"),
    path("review/rows/", views.rows, name="rows"),
    path("review/take/", views.take, name="take"),
    path("review/bulk/", views.bulk, name="bulk"),
    path("review/batches/<uuid:batch>/undo/", views.undo_batch, name="undo_batch"),
    path("review/decisions/<uuid:pk>/undo/", views.undo, name="undo"),
    path("review/cases/<uuid:pk>/", views.case, name="case"),
    path("review/cases/<uuid:pk>/claim-bar/", views.claim_bar, name="claim_bar"),
    path("review/cases/<uuid:pk>/next/", views.neighbour, {"direction": "next"}, name="next"),
    path("review/cases/<uuid:pk>/previous/", views.neighbour, {"direction": "previous"}, name="previous"),
    path("review/cases/<uuid:pk>/claim/", views.claim, name="claim"),
    path("review/cases/<uuid:pk>/release/", views.release, name="release"),
    path("review/cases/<uuid:pk>/decide/", views.decide, name="decide"),
    path("review/cases/<uuid:pk>/notes/", views.note, name="note"),
    path("review/cases/<uuid:pk>/places/", views.annotate, name="annotate"),
    path("review/cases/<uuid:pk>/places/<uuid:annotation>/remove/", views.remove_annotation, name="remove_annotation"),
    path("review/cases/<uuid:pk>/thresholds/", views.thresholds, name="thresholds"),
    path("review/cases/<uuid:pk>/harsh/", views.harsh, name="harsh"),
    path("review/jobs/<uuid:pk>/", views.for_job, name="for_job"),
    path("review/jobs/<uuid:pk>/open/", views.open_case, name="open"),
    path("review/jobs/<uuid:pk>/appeals/", views.job_appeals, name="job_appeals"),
    path("review/jobs/<uuid:pk>/appeals/link/", views.make_appeal_link, name="make_appeal_link"),
    path("review/jobs/<uuid:pk>/appeals/link/<uuid:link>/revoke/", views.revoke_appeal_link, name="revoke_appeal_link"),
    path("review/mentions/", views.mentions, name="mentions"),
    path("review/preferences/", views.preferences, name="preferences"),
    path("review/statistics/", views.figures, name="statistics"),
    path("review/settings/", views.settings, name="settings"),
    path("review/known/", views.known_items, name="known_items"),
    path("review/known/<uuid:pk>/remove/", views.remove_known_item, name="remove_known_item"),
    path("appeal/<str:token>/", appeal_views.appeal, name="appeal"),
]
