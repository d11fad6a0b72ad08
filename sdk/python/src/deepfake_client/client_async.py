"""The same client for asyncio: each call runs in a thread, so that the loop stays free."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

from deepfake_client.client import FINAL, POLL_S, Client
from deepfake_client.errors import DeepfakeError
from deepfake_client.shapes import (
    Batch,
    BatchItem,
    Delivery,
    Feedback,
    Job,
    Label,
    Media,
    NewBatchItem,
    ReportFormat,
    Webhook,
)
from deepfake_client.sources import Source

T = TypeVar("T")


class AsyncClient:
    """Takes and returns what `Client` does; its methods are awaited."""

    def __init__(self, api_key: str = "", base_url: str = "", **options: Any) -> None:
        self.client = Client(api_key, base_url, **options)

    async def upload(self, source: Source, **options: Any) -> Media:
        return await _apart(self.client.upload, source, **options)

    async def upload_large(self, source: Source, **options: Any) -> Media:
        return await _apart(self.client.upload_large, source, **options)

    async def detect(self, source: Source, **options: Any) -> Job:
        return await _apart(self.client.detect, source, **options)

    async def job(self, job: Job | str, *, wait_s: int = 0) -> Job:
        return await _apart(self.client.job, job, wait_s=wait_s)

    def jobs(self, **filters: Any) -> AsyncIterator[Job]:
        return _each(self.client.jobs(**filters))

    async def wait(self, job: Job | str, *, timeout_s: float = 600.0) -> Job:
        return await _apart(self.client.wait, job, timeout_s=timeout_s)

    async def stream(
        self, job: Job | str, *, timeout_s: float = 600.0, interval_s: float = POLL_S
    ) -> AsyncIterator[Job]:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        last: tuple[Any, ...] = ()
        while True:
            found = await self.job(job)
            now = (found["status"], found.get("stage"), found.get("percent"))
            if now != last:
                last = now
                yield found
            if found["status"] in FINAL:
                return
            if loop.time() >= end:
                raise DeepfakeError(f"The analysis has not ended after {timeout_s:g} s.", code="timeout")
            await asyncio.sleep(interval_s)

    async def cancel(self, job: Job | str) -> Job:
        return await _apart(self.client.cancel, job)

    async def rerun(self, job: Job | str, **options: Any) -> Job:
        return await _apart(self.client.rerun, job, **options)

    async def feedback(self, job: Job | str, label: Label, **options: Any) -> Feedback:
        return await _apart(self.client.feedback, job, label, **options)

    async def create_batch(self, items: Sequence[NewBatchItem], **options: Any) -> Batch:
        return await _apart(self.client.create_batch, items, **options)

    async def batch(self, batch: Batch | str) -> Batch:
        return await _apart(self.client.batch, batch)

    async def wait_batch(self, batch: Batch | str, *, timeout_s: float = 3600.0) -> Batch:
        return await _apart(self.client.wait_batch, batch, timeout_s=timeout_s)

    def batch_items(self, batch: Batch | str, **filters: Any) -> AsyncIterator[BatchItem]:
        return _each(self.client.batch_items(batch, **filters))

    async def create_webhook(self, url: str, events: Sequence[str], **options: Any) -> Webhook:
        return await _apart(self.client.create_webhook, url, events, **options)

    def webhooks(self, **options: Any) -> AsyncIterator[Webhook]:
        return _each(self.client.webhooks(**options))

    async def delete_webhook(self, webhook: Webhook | str) -> None:
        await _apart(self.client.delete_webhook, webhook)

    async def test_webhook(self, webhook: Webhook | str) -> Delivery:
        return await _apart(self.client.test_webhook, webhook)

    async def report(self, job: Job | str, *, format: ReportFormat = "json") -> bytes:
        return await _apart(self.client.report, job, format=format)

    async def save_report(self, job: Job | str, path: str | os.PathLike[str], *, format: ReportFormat = "pdf") -> None:
        await _apart(self.client.save_report, job, path, format=format)


async def _apart(call: Callable[..., T], *arguments: Any, **options: Any) -> T:
    return await asyncio.to_thread(call, *arguments, **options)


_END = object()


async def _each(rows: Iterator[T]) -> AsyncIterator[T]:
    while (row := await asyncio.to_thread(next, rows, _END)) is not _END:
        yield cast(T, row)
