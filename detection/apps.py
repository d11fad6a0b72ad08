"""The detection app: media, the job that analyses it, and the verdict."""

from __future__ import annotations

import logging
from typing import Any

from django.apps import AppConfig
from django.apps import apps as current_apps
from django.db import connections
from django.db.models.signals import post_migrate

logger = logging.getLogger(__name__)


class DetectionConfig(AppConfig):
    name = "detection"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts import data_requests
        from detection import batches, bulk
        from detection import data_requests as own

        bulk.offer_own()
        batches.listen()
        data_requests.register("detection", own.Analyses())
        post_migrate.connect(_show_shipped_thresholds, sender=self, dispatch_uid="detection.shipped_thresholds")
        post_migrate.connect(_install_search, sender=self, dispatch_uid="detection.search")


def _install_search(using: str, apps: Any = current_apps, **kwargs: Any) -> None:
    from detection import search

    database = connections[using]
    if search.TABLE in database.introspection.table_names():  # not when migrated back to before there was any
        search.install(database)


def _show_shipped_thresholds(apps: Any = current_apps, **kwargs: Any) -> None:
    """The shipped profiles show what the shipped fusion weights say; a release may change it without a migration."""
    from detection.engine import fusion
    from detection.engine.errors import WeightsInvalid

    try:
        profiles = apps.get_model("detection", "ThresholdProfile").objects
    except LookupError:  # migrated back to before there were any
        return
    try:
        shipped = fusion.load().thresholds
    except WeightsInvalid as error:
        logger.warning("The shipped thresholds are not known: %s", error)
        return
    for kind, thresholds in shipped.items():
        profiles.update_or_create(
            organization=None,
            name=f"default_{kind}",
            defaults={"fake_at": thresholds.fake, "real_below": thresholds.real},
        )
