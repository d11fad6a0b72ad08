"""The reports app: what leaves the house on paper."""

from django.apps import AppConfig


class ReportsConfig(AppConfig):
    name = "reports"
