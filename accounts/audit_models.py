"""What surrounds the audit log: the outcome of each check of its chain, and what was recorded in this hour already."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils import timezone


class AuditCheck(models.Model):
    """One run of `verify_audit`, by hand or by the hourly housekeeping, and what it found."""

    started_at = models.DateTimeField(default=timezone.now)
    seconds = models.FloatField()
    is_full = models.BooleanField()  # every row; else those since the newest checkpoint
    rows = models.BigIntegerField()  # that were read
    last_row = models.BigIntegerField(default=0)
    head = models.CharField(max_length=64)
    checkpoints = models.PositiveIntegerField(default=0)
    problems: Any = models.JSONField(default=list)  # [{"code", "row", "sentence"}]

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{'full' if self.is_full else 'new rows'} {self.started_at:%Y-%m-%d %H:%M}"

    @property
    def is_whole(self) -> bool:
        return not self.problems


class AuditOnce(models.Model):
    """A read that has its row for this hour: the primary key lets one of several requests at once write it."""

    key = models.CharField(primary_key=True, max_length=64)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return self.key
