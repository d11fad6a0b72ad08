"""One finished analysis with every part that a page can show; values are fixed."""

from __future__ import annotations

import copy
from typing import Any

from accounts.models import Organization, User
from deepfake import storage
from detection.models import BranchScore, InferenceResult, Job, JobStatus
from tests import factories

DETAILS: dict[str, Any] = {
    "channels": [
        {"channel": "picture", "score": 0.91, "label": "fake"},
        {"channel": "voice", "score": 0.12, "label": "real"},
    ],
    "curve": [
        {"branch": "spatial", "channel": "picture", "start_s": s, "end_s": s + 1, "score": score, "track": 0}
        for s, score in enumerate((0.2, 0.9, 0.95, 0.4))
    ],
    "fake_intervals": [{"start_s": 1.0, "end_s": 3.0, "channel": "picture", "track": 0, "score": 0.93}],
    "faces": [{"frame_index": 0, "time_s": 0.0, "track": 0, "box": [8, 8, 20, 24], "score": 0.9}],
    "tracks": [{"track": 0, "frames": 12, "first_s": 0.0, "last_s": 3.9, "score": 0.9}],
    "pieces": [
        {"branch": "synthesis", "frame_index": 30, "time_s": 1.2, "box": [0, 0, 32, 24], "score": 0.2},
        {"branch": "synthesis", "frame_index": 30, "time_s": 1.2, "box": [32, 24, 32, 24], "score": 0.8},
    ],
    "speech": [{"start_s": 0.5, "end_s": 3.5}],
    "waveform": {
        "bin_s": 0.4,
        "peaks": [0.1, 0.5, 0.9, 0.3, 0.2, 0.6, 0.1, 0.4, 0.5, 0.2],
        "scores": [{"start_s": 0.0, "end_s": 1.0, "score": 0.1}],
    },
    "stability": {"band": [0.8, 0.93], "flips": False, "full": False, "variants": [{"name": "jpeg_50", "score": 0.8}]},
    "provenance": {"state": "absent", "sentence": "The file carries no Content Credentials.", "problems": []},
    "seconds": {"decoding": 0.4},
}


def make_finished(organization: Organization, user: User, *, kind: str = "video", **fields: Any) -> Job:
    """A completed job: a clip of four seconds unless `kind` says otherwise."""
    moving = kind != "image"
    media = factories.make_media(
        organization,
        kind=kind,
        uploaded_by=user,
        filename={"video": "speech.mp4", "audio": "voicemail.wav", "image": "portrait.png"}[kind],
        mime_type={"video": "video/mp4", "audio": "audio/wav", "image": "image/png"}[kind],
        duration_s=4.0 if moving else None,
        width=None if kind == "audio" else 64,
        height=None if kind == "audio" else 48,
        info={"fps": 25.0, "frame_count": 100 if kind == "video" else None, "metadata": {"Make": "ExampleCam"}},
    )
    media.thumbnail_name = "" if kind == "audio" else storage.save_encrypted(
        "thumbnail", factories.png_bytes(), organization_id=organization.id
    )  # fmt: skip
    media.save()
    job = factories.make_job(organization=organization, status=JobStatus.COMPLETED, media=media, created_by=user)
    details = copy.deepcopy(DETAILS) | (
        {} if moving else {"curve": [], "fake_intervals": [], "waveform": None, "speech": []}
    )
    if kind == "audio":
        details = details | {"faces": [], "tracks": [], "pieces": []}
    result = factories.make_result(job, **({"details": details} | fields))
    _add_branches(result)
    if kind != "audio":
        factories.make_artifact(
            result, kind="saliency_map", box=[8, 8, 20, 24], track=0, score=0.9, frame_index=30, time_s=1.2
        )
        factories.make_artifact(result, kind="key_frame", frame_index=30, time_s=1.2)
        factories.make_artifact(result, kind="frequency_heatmap", caption="Spectrum of fine detail")
        factories.make_artifact(result, kind="frequency_map", frame_index=50, time_s=2.0, caption="Fine detail")
    return job


def _add_branches(result: InferenceResult) -> None:
    common = {"result": result, "version": "1", "sha256": "ef" * 32}
    BranchScore.objects.create(
        branch="frequency", channel="picture", state="scored", score=0.5, sentence="The fine pattern is even.", **common
    )
    BranchScore.objects.create(
        branch="audio",
        channel="voice",
        state="skipped",
        reason="no_sound",
        sentence="There is no sound.",
        result=result,
    )
    BranchScore.objects.create(
        branch="temporal",
        channel="picture",
        state="failed",
        reason="out_of_memory",
        sentence="It stopped.",
        result=result,
    )
