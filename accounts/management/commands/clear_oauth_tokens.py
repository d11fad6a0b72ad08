"""Forget OAuth tokens that have expired; `serve` runs it every hour."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from accounts.oauth import services


class Command(BaseCommand):
    help = "Forget OAuth tokens that have expired and grants that nothing is left of."

    def handle(self, *args: Any, **options: Any) -> None:
        services.clear_expired()
