"""What the API answers with: plain dictionaries, typed. Fields that a later release adds are there too."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

Label = Literal["real", "fake", "inconclusive"]
Status = Literal["queued", "running", "completed", "failed", "cancelled"]
Mode = Literal["auto", "image", "video", "audio"]
ReportFormat = Literal["json", "pdf", "html", "bundle"]
Kind = Literal["image", "video", "audio"]
Sort = Literal["newest", "oldest", "score_high", "score_low", "finished", "uncertain"]
BatchStatus = Literal["open", "running", "completed", "cancelled"]
BatchItemStatus = Literal["waiting", "queued", "running", "completed", "failed", "cancelled", "refused", "deleted"]


class Media(TypedDict, total=False):
    media_id: str
    uri: str
    kind: str | None
    filename: str
    mime_type: str | None
    size_bytes: int | None
    sha256: str | None
    duration_s: float | None
    seen_before: list[str]


class Branch(TypedDict, total=False):
    branch: str
    channel: str
    state: Literal["scored", "skipped", "failed"]
    score: float | None
    sentence: str
    reason: str | None


class Result(TypedDict, total=False):
    label: Label
    score: float | None
    confidence_interval: list[float] | None
    interval_crosses_threshold: bool
    abstain_reason: str | None
    rationale: str
    per_branch: list[Branch]
    model_version: str
    explanations: dict[str, str | None]
    artifacts: list[dict[str, Any]]
    details: dict[str, Any]


class JobProblem(TypedDict):
    code: str
    message: str


class Job(TypedDict, total=False):
    job_id: str
    media_id: str
    status: Status
    stage: str
    percent: int
    media: Media
    result: Result
    error: JobProblem


class Event(TypedDict, total=False):
    event: str
    timestamp: str
    job_id: str
    media_id: str
    status: Status
    result: Result
    error: JobProblem


class NewBatchItem(TypedDict, total=False):
    """One of `media_id` and `url`; `reference` is your own name for it."""

    media_id: str
    url: str
    reference: str


class Batch(TypedDict, total=False):
    batch_id: str
    name: str
    status: BatchStatus
    total: int
    ended: int
    percent: int
    counts: dict[str, int]
    labels: dict[str, int]
    created_at: str
    finished_at: str | None


class BatchItem(TypedDict, total=False):
    position: int
    reference: str
    media_id: str | None
    url: str | None
    status: BatchItemStatus
    job_id: str | None
    label: Label | None
    score: float | None
    error: JobProblem | None


class Feedback(TypedDict):
    feedback_id: str
    job_id: str
    label: Label


class Webhook(TypedDict, total=False):
    """`secret` is in the answer to `create_webhook` alone."""

    webhook_id: str
    url: str
    description: str
    events: list[str]
    enabled: bool
    secret: str
    failures: int
    last_success_at: str | None
    last_failure_at: str | None
    created_at: str


class Delivery(TypedDict, total=False):
    delivery_id: str
    webhook_id: str
    event: str
    state: Literal["waiting", "retrying", "delivered", "failed"]
    attempts: int
    last_status: int | None
    last_error: str | None
    body: dict[str, Any]
    log: list[dict[str, Any]]
