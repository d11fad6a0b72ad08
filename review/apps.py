"""The review app: where people judge what the detectors found."""

from __future__ import annotations

from django.apps import AppConfig


class ReviewConfig(AppConfig):
    name = "review"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts import data_requests
        from review import data_requests as own
        from review import receivers

        receivers.offer_to_list()
        data_requests.register("review", own.Reviews())
