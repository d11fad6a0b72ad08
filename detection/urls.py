"""Addresses of the pages about media and analyses."""

from django.urls import path

from detection import jump, list_views, privacy_views, threshold_views, views, webhooks_views

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
    path("analyses/<uuid:pk>/hold/", privacy_views.hold, name="hold"),
    path("settings/privacy/", privacy_views.privacy, name="privacy"),
    path("settings/privacy/holds/<uuid:pk>/release/", privacy_views.release, name="release_hold"),
    path("settings/thresholds/", threshold_views.profiles, name="thresholds"),
    path("settings/thresholds/new/", threshold_views.create, name="threshold_new"),
    path("settings/thresholds/<uuid:pk>/", threshold_views.profile, name="threshold_profile"),
    path("settings/thresholds/<uuid:pk>/change/", threshold_views.change, name="threshold_change"),
    path("settings/thresholds/<uuid:pk>/retire/", threshold_views.retire, name="threshold_retire"),
    path("settings/thresholds/proposals/<uuid:pk>/", threshold_views.proposal, name="threshold_proposal"),
    path("settings/thresholds/proposals/<uuid:pk>/decide/", threshold_views.decide, name="threshold_decide"),
    path("settings/webhooks/", webhooks_views.webhooks, name="webhooks"),
    path("settings/webhooks/new/", webhooks_views.create, name="webhook_new"),
    path("settings/webhooks/callbacks/", webhooks_views.callbacks, name="webhook_callbacks"),
    path("settings/webhooks/callbacks/<uuid:delivery_pk>/", webhooks_views.callback, name="webhook_callback"),
    path("settings/webhooks/<uuid:pk>/", webhooks_views.webhook, name="webhook"),
    path("settings/webhooks/<uuid:pk>/change/", webhooks_views.change, name="webhook_change"),
    path("settings/webhooks/<uuid:pk>/secret/", webhooks_views.show_secret, name="webhook_secret"),
    path("settings/webhooks/<uuid:pk>/rotate/", webhooks_views.rotate, name="webhook_rotate"),
    path("settings/webhooks/<uuid:pk>/switch/", webhooks_views.switch, name="webhook_switch"),
    path("settings/webhooks/<uuid:pk>/delete/", webhooks_views.delete, name="webhook_delete"),
    path("settings/webhooks/<uuid:pk>/test/", webhooks_views.test, name="webhook_test"),
    path("settings/webhooks/<uuid:pk>/replay/", webhooks_views.replay, name="webhook_replay"),
    path(
        "settings/webhooks/<uuid:pk>/deliveries/<uuid:delivery_pk>/", webhooks_views.delivery, name="webhook_delivery"
    ),
    path("media/<uuid:pk>/file", views.media_file, name="media_file"),
    path("media/<uuid:pk>/thumbnail", views.thumbnail, name="thumbnail"),
    path("artifacts/<uuid:pk>", views.artifact, name="artifact"),
]
