"""The shapes of the API's answers and their examples, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework import serializers

from deepfake.api_errors import NO_KEY
from detection.batches import STATUSES
from detection.models import (
    BatchStatus,
    JobStatus,
    Label,
    MediaKind,
    ReviewOutcome,
    ReviewState,
    StabilityTest,
    UploadState,
)

KINDS = MediaKind.choices
MODES = [("auto", "auto"), *KINDS]


class _Sentences(serializers.ListField):
    child = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """An error, as RFC 9457 problem details."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(help_text="A sentence for a person.")
    code = serializers.CharField(help_text="Stable, for programs; docs/api.md lists all.")
    request_id = serializers.CharField()
    fields = serializers.DictField(child=_Sentences())  # type: ignore[assignment]


class MediaShape(serializers.Serializer[Any]):
    media_id = serializers.CharField()
    uri = serializers.CharField(help_text="Gives the bytes, with the same key.")
    kind = serializers.ChoiceField(choices=KINDS, allow_null=True)
    filename = serializers.CharField()
    source_url = serializers.CharField(allow_null=True)
    mime_type = serializers.CharField(allow_null=True)
    size_bytes = serializers.IntegerField(allow_null=True)
    sha256 = serializers.CharField(allow_null=True)
    phash = serializers.CharField(allow_null=True)
    width = serializers.IntegerField(allow_null=True)
    height = serializers.IntegerField(allow_null=True)
    duration_s = serializers.FloatField(allow_null=True)
    has_audio = serializers.BooleanField()
    created_at = serializers.DateTimeField()
    keep_until = serializers.DateTimeField(allow_null=True, help_text="When it goes, if its request said so.")
    erased_at = serializers.DateTimeField(allow_null=True, help_text="When its bytes went; the verdict stays.")


class SubmittedShape(MediaShape):
    seen_before = serializers.ListField(
        child=serializers.CharField(), help_text="Earlier jobs of your organisation on the same bytes, newest first."
    )


class StartedShape(serializers.Serializer[Any]):
    job_id = serializers.CharField()
    media_id = serializers.CharField()
    status = serializers.ChoiceField(choices=JobStatus.choices)


class BranchShape(serializers.Serializer[Any]):
    branch = serializers.CharField()
    channel = serializers.CharField()
    state = serializers.ChoiceField(choices=["scored", "skipped", "failed"])
    score = serializers.FloatField(allow_null=True)
    confidence = serializers.FloatField(allow_null=True)
    quality = serializers.FloatField(allow_null=True)
    weight = serializers.FloatField()
    contribution = serializers.FloatField(help_text="Log-odds that it added to the score.")
    sentence = serializers.CharField()
    reason = serializers.CharField(allow_null=True)
    version = serializers.CharField()
    sha256 = serializers.CharField()
    data = serializers.DictField()  # type: ignore[assignment]


class ExplanationsShape(serializers.Serializer[Any]):
    saliency_map = serializers.CharField(allow_null=True)
    frequency_heatmap = serializers.CharField(allow_null=True)
    temporal_attention = serializers.CharField(allow_null=True)


class ArtifactShape(serializers.Serializer[Any]):
    kind = serializers.CharField()
    url = serializers.CharField(help_text="Signed, valid for an hour.")
    mime_type = serializers.CharField()
    caption = serializers.CharField()
    frame_index = serializers.IntegerField(allow_null=True)
    time_s = serializers.FloatField(allow_null=True)
    track = serializers.IntegerField(allow_null=True)
    score = serializers.FloatField(allow_null=True)
    box = serializers.ListField(child=serializers.FloatField(), allow_null=True)


class ThresholdsShape(serializers.Serializer[Any]):
    fake = serializers.FloatField()
    real = serializers.FloatField()


class ResultShape(serializers.Serializer[Any]):
    label = serializers.ChoiceField(choices=Label.choices)  # type: ignore[assignment]
    score = serializers.FloatField(allow_null=True, help_text="Probability of manipulation, 0 to 1.")
    confidence_interval = serializers.ListField(
        child=serializers.FloatField(), min_length=2, max_length=2, allow_null=True
    )
    interval_crosses_threshold = serializers.BooleanField(
        help_text="The label stands although its interval reaches a little back across its threshold: a weak verdict."
    )
    abstain_reason = serializers.CharField(allow_null=True)
    rationale = serializers.CharField()
    per_branch = BranchShape(many=True, required=False, help_text="The part `branches`.")
    thresholds = ThresholdsShape()
    threshold_profile = serializers.CharField(allow_null=True)
    model_version = serializers.CharField()
    explanations = ExplanationsShape(required=False, help_text="The part `artifacts`.")
    artifacts = ArtifactShape(many=True, required=False, help_text="The part `artifacts`.")
    details = serializers.DictField(
        required=False,
        help_text="channels, curve, fake_intervals, faces, tracks, pieces, speech, waveform, stability, provenance, "
        "seconds, warnings.",
    )


class ErrorShape(serializers.Serializer[Any]):
    code = serializers.CharField()
    message = serializers.CharField()


class ReviewShape(serializers.Serializer[Any]):
    state = serializers.ChoiceField(choices=ReviewState.choices)
    decision = serializers.ChoiceField(choices=ReviewOutcome.choices, allow_null=True)
    label = serializers.ChoiceField(  # type: ignore[assignment]
        choices=Label.choices, allow_null=True, help_text="What people found; final when the state is decided."
    )
    decided_at = serializers.DateTimeField(allow_null=True)


class JobShape(serializers.Serializer[Any]):
    job_id = serializers.CharField()
    media_id = serializers.CharField()
    status = serializers.ChoiceField(choices=JobStatus.choices)
    stage = serializers.CharField()
    percent = serializers.IntegerField()
    mode = serializers.ChoiceField(choices=MODES)
    stability = serializers.ChoiceField(choices=StabilityTest.values)
    priority = serializers.IntegerField()
    attempts = serializers.IntegerField()
    sandbox = serializers.BooleanField(help_text="Started with a sandbox key.")
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    media = MediaShape(required=False, help_text="The part `media`.")
    review = ReviewShape(allow_null=True, help_text="Null when the analysis was never in review.")
    result = ResultShape(required=False, help_text="Only of a completed job.")
    error = ErrorShape(required=False, help_text="Only of a failed job.")


class PageShape(serializers.Serializer[Any]):
    next = serializers.CharField(allow_null=True, help_text="Address of the following page.")
    previous = serializers.CharField(allow_null=True)


class JobListShape(PageShape):
    results = JobShape(many=True)


class MediaListShape(PageShape):
    results = MediaShape(many=True)


class BatchShape(serializers.Serializer[Any]):
    batch_id = serializers.CharField()
    name = serializers.CharField(allow_blank=True)
    status = serializers.ChoiceField(choices=BatchStatus.choices)
    cancel_requested = serializers.BooleanField()
    mode = serializers.ChoiceField(choices=MODES)
    threshold_profile = serializers.CharField(allow_null=True)
    stability = serializers.ChoiceField(choices=StabilityTest.values)
    priority = serializers.IntegerField()
    sandbox = serializers.BooleanField(help_text="Made with a sandbox key.")
    total = serializers.IntegerField(help_text="Items that it has.")
    ended = serializers.IntegerField(help_text="Items that have ended, whatever their end.")
    percent = serializers.IntegerField()
    counts = serializers.DictField(
        child=serializers.IntegerField(), help_text=f"Items by status: {', '.join(STATUSES)}."
    )
    labels = serializers.DictField(child=serializers.IntegerField(), help_text="Completed items by their final label.")
    created_at = serializers.DateTimeField()
    closed_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)


class BatchListShape(PageShape):
    results = BatchShape(many=True)


class BatchItemShape(serializers.Serializer[Any]):
    position = serializers.IntegerField()
    reference = serializers.CharField(allow_blank=True)
    media_id = serializers.CharField(allow_null=True)
    url = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(choices=[(name, name) for name in STATUSES])
    job_id = serializers.CharField(allow_null=True)
    label = serializers.ChoiceField(choices=Label.choices, allow_null=True)  # type: ignore[assignment]
    score = serializers.FloatField(allow_null=True)
    error = ErrorShape(allow_null=True)


class BatchItemListShape(PageShape):
    results = BatchItemShape(many=True)


class UploadShape(serializers.Serializer[Any]):
    upload_id = serializers.CharField()
    state = serializers.ChoiceField(choices=UploadState.choices)
    filename = serializers.CharField(allow_blank=True)
    size_bytes = serializers.IntegerField()
    offset = serializers.IntegerField(help_text="Bytes that are here.")
    direct = serializers.BooleanField()
    media_id = serializers.CharField(allow_null=True)
    error = ErrorShape(allow_null=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()


class UploadListShape(PageShape):
    results = UploadShape(many=True)


class DirectUploadShape(UploadShape):
    method = serializers.CharField()
    url = serializers.CharField()
    fields = serializers.DictField(child=serializers.CharField(), help_text="Send them before the file.")  # type: ignore[assignment]


class ProfileShape(serializers.Serializer[Any]):
    profile_id = serializers.CharField()
    name = serializers.CharField()
    shipped = serializers.BooleanField(help_text="Whether it comes with the product.")
    domain = serializers.CharField(allow_null=True)
    kind = serializers.ChoiceField(choices=KINDS, allow_null=True)
    platform = serializers.CharField(allow_null=True)
    host = serializers.CharField(allow_null=True)
    codec = serializers.CharField(allow_null=True)
    fake = serializers.FloatField(help_text="At this score and above the label is fake.")
    real = serializers.FloatField(help_text="Below this score it may be real.")
    version = serializers.IntegerField()


class ProfileListShape(PageShape):
    results = ProfileShape(many=True)


class ProfileMatchShape(serializers.Serializer[Any]):
    chosen = ProfileShape(allow_null=True)
    fitting = ProfileShape(many=True, help_text="All that fit, the most exact first.")


class AuditEntryShape(serializers.Serializer[Any]):
    entry_id = serializers.CharField()
    action = serializers.CharField()
    actor = serializers.CharField(allow_null=True, help_text="User name of the member.")
    api_key = serializers.CharField(allow_null=True, help_text="Prefix of the API key.")
    target_type = serializers.CharField(allow_null=True)
    target_id = serializers.CharField(allow_null=True)
    details = serializers.DictField()
    ip_address = serializers.CharField(allow_null=True)
    created_at = serializers.DateTimeField()
    previous_hash = serializers.CharField()
    hash = serializers.CharField()


class AuditListShape(PageShape):
    results = AuditEntryShape(many=True)


class FeedbackShape(serializers.Serializer[Any]):
    feedback_id = serializers.CharField()
    job_id = serializers.CharField()
    label = serializers.ChoiceField(choices=Label.choices)  # type: ignore[assignment]


class ModelShape(serializers.Serializer[Any]):
    name = serializers.CharField()
    channel = serializers.CharField()
    version = serializers.CharField()
    sha256 = serializers.DictField(child=serializers.CharField())
    licence = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]
    fused = serializers.BooleanField(help_text="Whether it has a say in the verdict; otherwise it is only shown.")
    fused_in = serializers.ListField(
        child=serializers.CharField(),
        help_text="Kinds of media on whose verdict it has a say.",
    )
    metrics = serializers.DictField(
        help_text="`figures`: the tables of the model's card, in `rows` as text and in `numbers` as numbers. "
        "`measured`: numbers by protocol and set, where they were measured."
    )


class ModelsShape(serializers.Serializer[Any]):
    model_version = serializers.CharField()
    thresholds = serializers.DictField(child=ThresholdsShape())
    models = ModelShape(many=True)


class CheckShape(serializers.Serializer[Any]):
    ok = serializers.BooleanField()
    detail = serializers.CharField()


class HealthShape(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=["ok", "unavailable"])
    checks = serializers.DictField(child=CheckShape(), required=False)


# Examples -------------------------------------------------------------------------------------------------------------

JOB_ID = "job_5f0c7d6e9a8b4c3d8e2f1a0b9c8d7e6f"
MEDIA_ID = "med_1b2c3d4e5f60718293a4b5c6d7e8f901"

MEDIA_EXAMPLE = {
    "media_id": MEDIA_ID,
    "uri": f"https://detect.example.org/v1/media/{MEDIA_ID}/file",
    "kind": "video",
    "filename": "statement.mp4",
    "source_url": None,
    "mime_type": "video/mp4",
    "size_bytes": 4821904,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "phash": None,
    "width": None,
    "height": None,
    "duration_s": None,
    "has_audio": False,
    "created_at": "2026-11-21T08:59:58Z",
    "keep_until": None,
    "erased_at": None,
}
RESULT_EXAMPLE = {
    "label": "fake",
    "score": 0.93,
    "confidence_interval": [0.9, 0.95],
    "interval_crosses_threshold": False,
    "abstain_reason": None,
    "rationale": "The face was very likely exchanged: its edges do not fit the head between 1.2 s and 4.0 s.",
    "per_branch": [
        {
            "branch": "spatial",
            "channel": "picture",
            "state": "scored",
            "score": 0.96,
            "confidence": 0.9,
            "quality": 0.8,
            "weight": 0.6,
            "contribution": 2.1,
            "sentence": "The skin around the jaw shows the traces of blending.",
            "reason": None,
            "version": "1",
            "sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
            "data": {},
        }
    ],
    "thresholds": {"fake": 0.7, "real": 0.3},
    "threshold_profile": "default_video",
    "model_version": "ensemble-2026.11.21-ab12cd34",
    "explanations": {
        "saliency_map": "https://detect.example.org/artifacts/…?expires=1795250400&signature=…",
        "frequency_heatmap": None,
        "temporal_attention": None,
    },
    "artifacts": [],
}
JOB_EXAMPLE = {
    "job_id": JOB_ID,
    "media_id": MEDIA_ID,
    "status": "completed",
    "stage": "",
    "percent": 100,
    "mode": "auto",
    "stability": "cheap",
    "priority": 0,
    "attempts": 1,
    "sandbox": False,
    "created_at": "2026-11-21T09:00:00Z",
    "started_at": "2026-11-21T09:00:01Z",
    "finished_at": "2026-11-21T09:00:05Z",
    "media": MEDIA_EXAMPLE,
    "review": {"state": "decided", "decision": "confirm", "label": "fake", "decided_at": "2026-11-21T10:12:00Z"},
    "result": RESULT_EXAMPLE,
}
BATCH_ID = "bat_7d1e2f3a4b5c46d7980a1b2c3d4e5f60"
BATCH_EXAMPLE = {
    "batch_id": BATCH_ID,
    "name": "Morning wire",
    "status": "running",
    "cancel_requested": False,
    "mode": "auto",
    "threshold_profile": None,
    "stability": "cheap",
    "priority": 0,
    "sandbox": False,
    "total": 2,
    "ended": 1,
    "percent": 50,
    "counts": {**dict.fromkeys(STATUSES, 0), "running": 1, "completed": 1},
    "labels": {"real": 0, "fake": 1, "inconclusive": 0},
    "created_at": "2026-11-21T09:00:00Z",
    "closed_at": "2026-11-21T09:00:00Z",
    "finished_at": None,
}
BATCH_ITEM_EXAMPLE = {
    "position": 1,
    "reference": "wire-1",
    "media_id": MEDIA_ID,
    "url": None,
    "status": "completed",
    "job_id": JOB_ID,
    "label": "fake",
    "score": 0.93,
    "error": None,
}
UPLOAD_ID = "upl_3c4d5e6f708142a3b4c5d6e7f8091a2b"
UPLOAD_EXAMPLE = {
    "upload_id": UPLOAD_ID,
    "state": "receiving",
    "filename": "statement.mp4",
    "size_bytes": 48219040,
    "offset": 8388608,
    "direct": False,
    "media_id": None,
    "error": None,
    "created_at": "2026-11-21T09:00:00Z",
    "expires_at": "2026-11-22T09:00:07Z",
}
DIRECT_UPLOAD_EXAMPLE = {
    **UPLOAD_EXAMPLE,
    "offset": 0,
    "direct": True,
    "method": "POST",
    "url": "https://bucket.s3.eu-central-1.amazonaws.com/",
    "fields": {"key": "quarantine/…", "policy": "…", "x-amz-signature": "…"},
}
PROFILE_EXAMPLE = {
    "profile_id": "thr_2b3c4d5e6f7041829304a5b6c7d8e9f0",
    "name": "default_video",
    "shipped": True,
    "domain": None,
    "kind": None,
    "platform": None,
    "host": None,
    "codec": None,
    "fake": 0.7,
    "real": 0.3,
    "version": 1,
}
AUDIT_EXAMPLE = {
    "entry_id": "aud_1042",
    "action": "job.started",
    "actor": None,
    "api_key": "dfk_0a1b2c3d",
    "target_type": "job",
    "target_id": "5f0c7d6e-9a8b-4c3d-8e2f-1a0b9c8d7e6f",
    "details": {"media": MEDIA_ID, "mode": "auto"},
    "ip_address": None,
    "created_at": "2026-11-21T09:00:00Z",
    "previous_hash": "0" * 64,
    "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}


def problem_example(status: int, code: str, title: str, detail: str, **fields: list[str]) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": "4f2e9c1ab0d14a7c",
        "fields": fields,
    }


MODELS_EXAMPLE = {
    "model_version": "ensemble-2026.11.21-ab12cd34",
    "thresholds": {"video": {"fake": 0.7, "real": 0.3}},
    "models": [
        {
            "name": "spatial",
            "channel": "picture",
            "version": "1",
            "sha256": {"spatial/spatial.bin": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"},
            "licence": "Apache-2.0",
            "source": "Shiohara and Yamasaki 2022",
            "fused": True,
            "fused_in": ["image", "video", "audio"],
            "metrics": {
                "figures": [
                    {
                        "title": "Figures on left-out sources",
                        "rows": [{"set": "face swap", "AUROC": "0.910", "95 % interval": "0.88–0.94"}],
                        "numbers": [{"set": "face swap", "auroc": 0.91, "auroc_ci": [0.88, 0.94], "eer": None}],
                    }
                ],
                "measured": {"leave-sources-out": {"face swap": {"auroc": 0.91, "auroc_ci": [0.88, 0.94]}}},
            },
        }
    ],
}
HEALTH_EXAMPLE = {"status": "ok", "checks": {"database": {"ok": True, "detail": "answers"}}}


def answer(shape: type[serializers.Serializer[Any]], description: str, example: Any) -> OpenApiResponse:
    shown = [OpenApiExample("Example", value=example, response_only=True)]
    return OpenApiResponse(shape, description=description, examples=shown)


def page(shape: type[serializers.Serializer[Any]], example: Any) -> OpenApiResponse:
    """The answer of a list: one page, shown with one row."""
    shown = {"next": None, "previous": None, "results": [example]}
    return answer(shape, "One page; `next` is the address of the following one.", shown)


# Status -> what it means for any operation, and one problem as it looks.
REFUSALS: dict[int, tuple[str, dict[str, Any]]] = {
    400: (
        "The request is not valid; `fields` says what is wrong with which field.",
        problem_example(
            400,
            "invalid",
            "Bad Request",
            "limit: Ensure this value is greater than or equal to 1.",
            limit=["Ensure this value is greater than or equal to 1."],
        ),
    ),
    401: (
        "The API key is missing, unknown, expired or revoked.",
        problem_example(401, "not_authenticated", "Unauthorized", NO_KEY),
    ),
    403: (
        "The API key lacks the scope.",
        problem_example(
            403,
            "permission_denied",
            "Forbidden",
            "This needs the scope detect:write, which your API key or your role does not have.",
        ),
    ),
    404: (
        "There is nothing of that id in your organisation.",
        problem_example(404, "not_found", "Not Found", "There is nothing at this address, or it is not yours to see."),
    ),
    409: (
        "The state does not allow it, or the first request of this Idempotency-Key still runs.",
        problem_example(409, "job_ended", "Conflict", "This analysis has already ended."),
    ),
    410: (
        "It has expired.",
        problem_example(410, "upload_expired", "Gone", "This upload has expired. Begin a new one."),
    ),
    412: (
        "The header Tus-Resumable is missing, or of another version.",
        problem_example(
            412,
            "tus_version",
            "Precondition Failed",
            "Send the header Tus-Resumable: 1.0.0, the version of tus that is spoken here.",
        ),
    ),
    413: (
        "The file is too large.",
        problem_example(
            413,
            "file_too_large",
            "Content Too Large",
            "The file is larger than 500 MB, the most that is taken for its kind. Send a shorter cut.",
        ),
    ),
    415: (
        "The file is of a type that cannot be analysed, or the body of a type that is not read.",
        problem_example(
            415,
            "unsupported_type",
            "Unsupported Media Type",
            "This is a ZIP archive or an Office document. Send a picture, a video or a recording.",
        ),
    ),
    422: (
        "The Idempotency-Key was used with another request.",
        problem_example(
            422,
            "idempotency_key_reused",
            "Unprocessable Content",
            "This Idempotency-Key was used with another request. Use a new key for a new request.",
        ),
    ),
    429: (
        "Too many requests; Retry-After says when to come back.",
        problem_example(429, "throttled", "Too Many Requests", "Too many requests. Try again in 12 s."),
    ),
    460: (
        "The bytes do not fit their checksum; nothing of this piece was kept.",
        problem_example(
            460,
            "checksum_mismatch",
            "Checksum Mismatch",
            "The bytes that came do not fit their checksum. Send this piece again.",
        ),
    ),
    503: (
        "Not now: too much work waits, or a part of the installation is not well. See Retry-After.",
        problem_example(503, "weights_invalid", "Service Unavailable", "A weight file is missing or altered."),
    ),
    507: (
        "The server's disk is full.",
        problem_example(
            507,
            "storage_full",
            "Insufficient Storage",
            "The server's disk is full. Free space or ask the operator to, then try again.",
        ),
    ),
}
ALWAYS = (401, 403, 429)
NOT_MODIFIED = OpenApiResponse(description="Nothing has changed since the answer of this ETag.")


def problems(*statuses: int) -> dict[Any, OpenApiResponse]:
    """The refusals that an operation may answer with, in one shape."""
    found = {}
    for status in sorted({*statuses, *ALWAYS}):
        meaning, example = REFUSALS[status]
        shown = [OpenApiExample("Problem", value=example, response_only=True)]
        found[status, "application/problem+json"] = OpenApiResponse(Problem, description=meaning, examples=shown)
    return found


TUS_PROBLEMS = problems(400, 409, 412, 413, 415, 422, 507)
