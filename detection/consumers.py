"""Sockets of open pages: authorise on connect, then forward "changed"."""

from __future__ import annotations

import uuid
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.urls import path

from accounts.permissions import Permission
from detection import live
from detection.models import Job

NOT_SIGNED_IN, NOT_ALLOWED, NOT_FOUND = 4401, 4403, 4404


class ChangesConsumer(AsyncJsonWebsocketConsumer):  # type: ignore[misc]  # channels has no types
    """Sends {"job", "status", "stage", "percent"} for one job, or for all of the member's organisation."""

    group = ""
    required_permission = Permission.VIEW

    async def connect(self) -> None:
        user = self.scope["user"]
        organization_id = getattr(user, "organization_id", None)
        if not user.is_authenticated or not user.is_active or organization_id is None:
            await self.close(code=NOT_SIGNED_IN)
            return
        if not user.may(self.required_permission):
            await self.close(code=NOT_ALLOWED)
            return
        job_id: uuid.UUID | None = self.scope["url_route"]["kwargs"].get("job_id")
        if job_id is not None and not await _is_visible(user, job_id):
            await self.close(code=NOT_FOUND)
            return
        self.group = live.job_group(job_id) if job_id else live.organization_group(organization_id)
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        if self.group:
            await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **kwargs: Any) -> None:
        """Pages have nothing to say here, and what a stranger says must not raise."""

    async def job_changed(self, event: dict[str, Any]) -> None:
        await self.send_json(event["data"])


@database_sync_to_async  # type: ignore[untyped-decorator]
def _is_visible(user: Any, job_id: uuid.UUID) -> bool:
    return Job.objects.visible_to(user).filter(pk=job_id).exists()


urlpatterns = [
    path("ws/jobs/", ChangesConsumer.as_asgi()),
    path("ws/jobs/<uuid:job_id>/", ChangesConsumer.as_asgi()),
]
