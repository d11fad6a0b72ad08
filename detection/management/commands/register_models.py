"""`manage.py register_models`: the ModelVersion row of the nets that are installed, with their measured quality."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from detection import model_metrics
from detection.engine.errors import EngineError


class Command(BaseCommand):
    help = (
        "Make the ModelVersion row of the registered nets, or bring its figures up to date from "
        "ml_weights/<net>/metrics.json. Safe to repeat."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            row, is_new = model_metrics.register()
        except EngineError as error:
            raise CommandError(error.message) from error
        said = {"name": row.name, "new": is_new, "branches": sorted(row.branches), "measured": sorted(row.metrics)}
        self.stdout.write(json.dumps(said, indent=1))
