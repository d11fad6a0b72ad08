"""Telling open pages that a job has changed."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from typing import Any

from channels.layers import get_channel_layer

from deepfake import loop
from detection.models import Job

logger = logging.getLogger(__name__)


def job_group(job_id: Any) -> str:
    return f"job.{job_id.hex}"


def organization_group(organization_id: Any) -> str:
    return f"org.{organization_id.hex}"


def publish(job: Job) -> None:
    """Push the job's state to the pages that watch it; never fails, a page polls when it hears nothing."""
    server_loop = loop.server_loop()
    layer = get_channel_layer()
    if server_loop is None or layer is None or server_loop.is_closed():
        return
    message = {"job": str(job.id), "status": job.status, "stage": job.stage, "percent": job.percent}
    # Not async_to_sync: it makes a loop of its own, and the in-memory layer then wakes its reader seconds later.
    sending = asyncio.run_coroutine_threadsafe(_send(layer, job, message), server_loop)
    sending.add_done_callback(_log_failure)


async def _send(layer: Any, job: Job, message: dict[str, Any]) -> None:
    event = {"type": "job.changed", "data": message}
    await layer.group_send(job_group(job.id), event)
    await layer.group_send(organization_group(job.organization_id), event)


def _log_failure(sending: Future[None]) -> None:
    if not sending.cancelled() and (error := sending.exception()):
        logger.warning("Progress could not be sent to open pages: %s", error)
