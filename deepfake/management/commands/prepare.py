"""Make an installation ready to serve: migrations, the models' row; the first time a demo organisation with samples."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.files import File
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor

SAMPLES_DIR = settings.BASE_DIR / "samples"
SAMPLE_SUFFIXES = {".jpg", ".flac", ".mp4"}


class Command(BaseCommand):
    help = "Migrate the database and register the models; the first time, make the demo organisation and queue samples."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        if _has_pending_migrations():
            self.stderr.write("Preparing the database …")
            call_command("migrate", verbosity=0, interactive=False)
        from accounts.models import Organization
        from detection import model_metrics

        model_metrics.register()
        if Organization.objects.exists():
            return
        call_command("seed_demo", stdout=self.stdout, stderr=self.stderr)
        submit_samples(Organization.objects.get(slug="demo"))


def submit_samples(organization: Any) -> int:
    """Queue every file of samples/ in the name of the demo analyst; returns how many."""
    from detection.services import submit_and_start

    analyst = organization.users.filter(role="analyst").order_by("id").first()
    paths = sorted(path for path in SAMPLES_DIR.iterdir() if path.suffix in SAMPLE_SUFFIXES)
    for path in paths:
        with path.open("rb") as file:
            submit_and_start(organization=organization, actor=analyst, file=File(file), filename=path.name)
    return len(paths)


def _has_pending_migrations() -> bool:
    connection = connections[DEFAULT_DB_ALIAS]
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))
