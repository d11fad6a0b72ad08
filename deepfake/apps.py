"""The house itself as a Django app: it brings the `serve` command."""

from django.apps import AppConfig


class DeepfakeConfig(AppConfig):
    name = "deepfake"
    verbose_name = "House"
