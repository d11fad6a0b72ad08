"""The house itself as a Django app: it brings the `serve` command and counts what the rooms do."""

from django.apps import AppConfig


class DeepfakeConfig(AppConfig):
    name = "deepfake"
    verbose_name = "House"

    def ready(self) -> None:
        from deepfake import metrics_jobs

        metrics_jobs.listen()
