"""The client: send media, start analyses, wait for verdicts, fetch reports; batches and webhooks."""

from __future__ import annotations

import datetime
import http.client
import os
import shutil
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from deepfake_client import pieces, sources
from deepfake_client.errors import DeepfakeError
from deepfake_client.shapes import (
    Batch,
    BatchItem,
    BatchItemStatus,
    Delivery,
    Feedback,
    Job,
    Kind,
    Label,
    Media,
    Mode,
    NewBatchItem,
    ReportFormat,
    Sort,
    Status,
    Webhook,
)
from deepfake_client.sources import Source
from deepfake_client.wire import Wire

FINAL = ("completed", "failed", "cancelled")
LONG_POLL_S = 25
POLL_S = 0.5


class Client(Wire):
    """Safe to share between threads.

    api_key, base_url: without them, the environment's DEEPFAKE_API_KEY and DEEPFAKE_URL.
    timeout_s: for one request. retries: of one request, on 429, on faults of the server and of the network; a repeat
    carries the same Idempotency-Key, so nothing is done twice. Whatever fails raises DeepfakeError.
    """

    # Sending

    def upload(self, source: Source, *, filename: str = "", idempotency_key: str = "") -> Media:
        """Submit a file (path, bytes or open file) or an address; the analysis is started by `detect`."""
        return cast(Media, self._send("/v1/media", source, {}, filename, idempotency_key))

    def upload_large(
        self,
        source: Source,
        *,
        filename: str = "",
        idempotency_key: str = "",
        piece_bytes: int = pieces.PIECE_BYTES,
    ) -> Media:
        """Submit a file in pieces; a connection that breaks costs one piece at most.

        With an `idempotency_key` of yours, a program that was started anew goes on with the upload of the same file.
        """
        if sources.is_address(source) or sources.media_id(source):
            raise DeepfakeError("Only a file is sent in pieces.", code="source_unusable")
        with sources.opened(source, {}, filename) as file:
            item = pieces.send(self, file, piece_bytes=piece_bytes, key=idempotency_key)
        return cast(Media, self._call("GET", f"/v1/media/{item}"))

    def detect(
        self,
        source: Source,
        *,
        mode: Mode = "auto",
        callback_url: str = "",
        threshold_profile: str = "",
        priority: int = 0,
        stability: str = "",
        filename: str = "",
        idempotency_key: str = "",
    ) -> Job:
        """Start an analysis of a file, an address, or an item (its id, or what `upload` returned)."""
        wanted: dict[str, str | int] = {
            "mode": mode,
            "callback_url": callback_url,
            "threshold_profile": threshold_profile,
            "priority": priority,
            "stability": stability,
        }
        fields = {name: value for name, value in wanted.items() if value}
        return cast(Job, self._send("/v1/detect", source, fields, filename, idempotency_key))

    # Reading

    def job(self, job: Job | str, *, wait_s: int = 0) -> Job:
        """The job as it stands; with `wait_s`, a server that can holds the answer until the job has ended."""
        query = f"?wait={wait_s}" if wait_s else ""
        return cast(Job, self._call("GET", f"/v1/jobs/{_id(job)}{query}", extra_s=wait_s))

    def wait(self, job: Job | str, *, timeout_s: float = 600.0) -> Job:
        """The completed job. Raises DeepfakeError: with the job's code when it failed, `timeout` when it is late."""
        return _completed(cast(Job, self._ended(f"/v1/jobs/{_id(job)}", "analysis", timeout_s)))

    def _ended(self, path: str, what: str, timeout_s: float) -> Any:
        """The job or batch, once it has ended."""
        end = time.monotonic() + timeout_s
        pause = POLL_S
        while True:
            asked = time.monotonic()
            wait_s = max(1, min(LONG_POLL_S, int(end - asked)))
            found = self._call("GET", f"{path}?wait={wait_s}", extra_s=wait_s)
            if found["status"] in FINAL:
                return found
            if time.monotonic() >= end:
                raise DeepfakeError(
                    f"The {what} has not ended after {timeout_s:g} s: {found['status']}.", code="timeout"
                )
            if time.monotonic() - asked < 0.9:  # the server did not hold the answer
                time.sleep(min(pause, max(0.0, end - time.monotonic())))
                pause = min(pause * 1.3, 5.0)

    def stream(self, job: Job | str, *, timeout_s: float = 600.0, interval_s: float = POLL_S) -> Iterator[Job]:
        """Yield the job each time that it has moved on (`status`, `stage`, `percent`); the last one has ended."""
        end = time.monotonic() + timeout_s
        last: tuple[Any, ...] = ()
        while True:
            found = self.job(job)
            now = (found["status"], found.get("stage"), found.get("percent"))
            if now != last:
                last = now
                yield found
            if found["status"] in FINAL:
                return
            if time.monotonic() >= end:
                raise DeepfakeError(f"The analysis has not ended after {timeout_s:g} s.", code="timeout")
            time.sleep(interval_s)

    def jobs(
        self,
        *,
        status: Status | None = None,
        label: Label | None = None,
        kind: Kind | None = None,
        score_from: float | None = None,
        score_to: float | None = None,
        since: str | datetime.date | None = None,
        until: str | datetime.date | None = None,
        domain: str | None = None,
        media_id: str | None = None,
        q: str | None = None,
        sort: Sort | None = None,
        include: str | None = None,
        page_size: int | None = None,
    ) -> Iterator[Job]:
        """All jobs that fit, newest first unless `sort` says otherwise; pages are fetched as you go.

        since, until: a day or a moment with its zone. include: which parts, with commas between; "" for the state
        alone. page_size: 1 to 200.
        """
        return self._each(
            "/v1/jobs", status=status, label=label, kind=kind, score_from=score_from, score_to=score_to, since=since,
            until=until, domain=domain, media_id=media_id, q=q, sort=sort, include=include, limit=page_size,
        )  # fmt: skip

    # What is done with a job

    def cancel(self, job: Job | str) -> Job:
        """The job, which ends at once when it waits, at its next step when it runs."""
        return cast(Job, self._call("POST", f"/v1/jobs/{_id(job)}/cancel"))

    def rerun(
        self,
        job: Job | str,
        *,
        threshold_profile: str | None = None,
        stability: str = "",
        callback_url: str = "",
        idempotency_key: str = "",
    ) -> Job:
        """A new job on the same item, with the options of the first but for those given.

        threshold_profile: "" for the usual one.
        """
        wanted = {"stability": stability, "callback_url": callback_url}
        body = {name: value for name, value in wanted.items() if value}
        if threshold_profile is not None:
            body["threshold_profile"] = threshold_profile
        return cast(Job, self._call("POST", f"/v1/jobs/{_id(job)}/rerun", body=body, key=idempotency_key))

    def feedback(self, job: Job | str, label: Label, *, notes: str = "", idempotency_key: str = "") -> Feedback:
        """Say what an item that was analysed really is."""
        job_id = job if isinstance(job, str) else job["job_id"]
        body = {"job_id": job_id, "label": label, "notes": notes}
        return cast(Feedback, self._call("POST", "/v1/feedback", body=body, key=idempotency_key))

    def report(self, job: Job | str, *, format: ReportFormat = "json") -> bytes:
        """The signed report. Keep the bytes as they are: a report that was parsed and written anew does not verify."""
        with self._open("GET", f"/v1/reports/{_id(job)}?format={format}") as answer:
            return answer.read()

    def save_report(self, job: Job | str, path: str | os.PathLike[str], *, format: ReportFormat = "pdf") -> None:
        """The same into a file, for evidence bundles that are large."""
        with self._open("GET", f"/v1/reports/{_id(job)}?format={format}") as answer, open(path, "wb") as file:
            shutil.copyfileobj(answer, file)
            if answer.length:  # what is announced and never came; read by pieces, Python says nothing of it
                raise http.client.IncompleteRead(b"", answer.length)

    # Batches

    def create_batch(
        self,
        items: Sequence[NewBatchItem],
        *,
        name: str = "",
        mode: Mode = "auto",
        threshold_profile: str = "",
        stability: str = "",
        priority: int = 0,
        callback_url: str = "",
        idempotency_key: str = "",
    ) -> Batch:
        """Analyse up to 1,000 items, each with `media_id` or `url`, and your own `reference` if you like."""
        wanted: dict[str, Any] = {
            "name": name,
            "mode": mode,
            "threshold_profile": threshold_profile,
            "stability": stability,
            "priority": priority,
            "callback_url": callback_url,
        }
        body = {"items": list(items), **{name: value for name, value in wanted.items() if value}}
        return cast(Batch, self._call("POST", "/v1/batches", body=body, key=idempotency_key))

    def batch(self, batch: Batch | str) -> Batch:
        """The batch as it stands."""
        return cast(Batch, self._call("GET", f"/v1/batches/{_id(batch, 'batch_id')}"))

    def wait_batch(self, batch: Batch | str, *, timeout_s: float = 3600.0) -> Batch:
        """The batch when all its items have ended, or it was cancelled. Raises DeepfakeError: `timeout`."""
        return cast(Batch, self._ended(f"/v1/batches/{_id(batch, 'batch_id')}", "batch", timeout_s))

    def batch_items(
        self,
        batch: Batch | str,
        *,
        status: BatchItemStatus | None = None,
        has_error: bool | None = None,
        page_size: int | None = None,
    ) -> Iterator[BatchItem]:
        """Its items in their order, with their verdicts or errors; pages are fetched as you go."""
        path = f"/v1/batches/{_id(batch, 'batch_id')}/items"
        return self._each(path, status=status, has_error=has_error, limit=page_size)

    # Webhooks

    def create_webhook(
        self, url: str, events: Sequence[str], *, description: str = "", idempotency_key: str = ""
    ) -> Webhook:
        """Have `url` told of `events` (`["*"]` of all). Keep the answer's `secret`: no later answer has it."""
        body = {"url": url, "events": list(events), "description": description}
        return cast(Webhook, self._call("POST", "/v1/webhooks", body=body, key=idempotency_key))

    def webhooks(self, *, page_size: int | None = None) -> Iterator[Webhook]:
        """All webhooks of the organisation with their health, newest first."""
        return self._each("/v1/webhooks", limit=page_size)

    def delete_webhook(self, webhook: Webhook | str) -> None:
        """Delete it, and its log."""
        with self._open("DELETE", f"/v1/webhooks/{_id(webhook, 'webhook_id')}"):
            pass

    def test_webhook(self, webhook: Webhook | str) -> Delivery:
        """Call it now with `webhook.test`, once; `state` and `log` say how it went."""
        return cast(Delivery, self._call("POST", f"/v1/webhooks/{_id(webhook, 'webhook_id')}/test"))

    def _send(self, path: str, source: Source, fields: Mapping[str, str | int], filename: str, key: str) -> Any:
        if sources.is_address(source):
            return self._call("POST", path, body={**fields, "url": source}, key=key)
        if item := sources.media_id(source):
            return self._call("POST", path, body={**fields, "media_id": item}, key=key)
        with sources.opened(source, fields, filename) as form:
            return self._call("POST", path, form=form, key=key)


def _id(named: Mapping[str, Any] | str, field: str = "job_id") -> str:
    return urllib.parse.quote(named if isinstance(named, str) else named[field], safe="")


def _completed(job: Job) -> Job:
    if job["status"] == "completed":
        return job
    if job["status"] == "cancelled":
        raise DeepfakeError("The analysis was cancelled.", code="cancelled")
    told = job.get("error") or {"code": "internal_error", "message": "The analysis failed."}
    raise DeepfakeError(told["message"], code=told["code"])
