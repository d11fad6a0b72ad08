"""Check the audit log's chain of hashes."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import audit
from accounts.models import AuditLog


class Command(BaseCommand):
    requires_system_checks: list[str] = []
    help = "Check that no row of the audit log was changed, removed or put in between, and print the chain's head."

    def handle(self, *args: Any, **options: Any) -> None:
        broken = audit.verify()
        if broken is not None:
            raise CommandError(
                f"The chain breaks at row {broken.pk} ({broken.action}, {broken.created_at:%Y-%m-%d %H:%M:%S} UTC)."
            )
        self.stdout.write(f"{AuditLog.objects.count()} rows, unbroken. Head: {audit.head()}")
