"""The shapes of the API's answers and their examples, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework import serializers

from detection.models import JobStatus, Label, MediaKind, ReviewOutcome, ReviewState

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
    uri = serializers.CharField()
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
    abstain_reason = serializers.CharField(allow_null=True)
    rationale = serializers.CharField()
    per_branch = BranchShape(many=True)
    thresholds = ThresholdsShape()
    threshold_profile = serializers.CharField(allow_null=True)
    model_version = serializers.CharField()
    explanations = ExplanationsShape()
    artifacts = ArtifactShape(many=True)
    details = serializers.DictField(
        required=False,
        help_text="channels, curve, fake_intervals, faces, tracks, pieces, speech, waveform, stability, provenance, "
        "seconds.",
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
    priority = serializers.IntegerField()
    attempts = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    media = MediaShape()
    review = ReviewShape(allow_null=True, help_text="Null when the analysis was never in review.")
    result = ResultShape(required=False, help_text="Only of a completed job.")
    error = ErrorShape(required=False, help_text="Only of a failed job.")


class JobListShape(serializers.Serializer[Any]):
    next = serializers.CharField(allow_null=True)
    previous = serializers.CharField(allow_null=True)
    results = JobShape(many=True)


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
        help_text="`figures`: the tables of the model's card, as text. `measured`: numbers by protocol and set."
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
    "uri": f"https://detect.example.org/media/{MEDIA_ID[4:]}/file",
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
}
RESULT_EXAMPLE = {
    "label": "fake",
    "score": 0.93,
    "confidence_interval": [0.9, 0.95],
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
    "priority": 0,
    "attempts": 1,
    "created_at": "2026-11-21T09:00:00Z",
    "started_at": "2026-11-21T09:00:01Z",
    "finished_at": "2026-11-21T09:00:05Z",
    "media": MEDIA_EXAMPLE,
    "review": {"state": "decided", "decision": "confirm", "label": "fake", "decided_at": "2026-11-21T10:12:00Z"},
    "result": RESULT_EXAMPLE,
}
PROBLEM_EXAMPLE = {
    "type": "about:blank",
    "title": "Unsupported Media Type",
    "status": 415,
    "detail": "This is a ZIP archive or an Office document. Send a picture, a video or a recording.",
    "code": "unsupported_type",
    "request_id": "4f2e9c1ab0d14a7c",
    "fields": {},
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


def problems(*statuses: int) -> dict[Any, OpenApiResponse]:
    """The refusals that an operation may answer with, in one shape."""
    words = {
        400: "The request is not valid.",
        401: "The API key is missing, unknown, expired or revoked.",
        403: "The API key lacks the scope.",
        404: "There is nothing of that id in your organisation.",
        409: "The state does not allow it, or the first request of this Idempotency-Key still runs.",
        413: "The file is too large.",
        415: "The file is of a type that cannot be analysed.",
        422: "The Idempotency-Key was used with another request.",
        429: "Too many requests; Retry-After says when to come back.",
    }
    shown = [OpenApiExample("Problem", value=PROBLEM_EXAMPLE, response_only=True)]
    return {
        (status, "application/problem+json"): OpenApiResponse(Problem, description=words[status], examples=shown)
        for status in (*statuses, 401, 403, 429)
    }
