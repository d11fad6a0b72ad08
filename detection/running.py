"""One claimed job on its way: heartbeat, progress, the steps around the engine."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections
from django.utils import timezone

from deepfake import loop, storage, tracing
from detection import fetch, ingest, likeness, live, profile_matching, sandbox, services, verdicts, workspace
from detection.engine import media as engine_media
from detection.engine import pipeline
from detection.engine.errors import Cancelled, EngineError
from detection.engine.fusion import Thresholds
from detection.engine.types import to_json
from detection.models import Job, JobStatus, Media, Retention, ThresholdProfile

logger = logging.getLogger(__name__)

BEAT_S = 1.0
PROGRESS_S = 0.25
# Where the engine's steps lie on the bar: a fetch comes before them, storing comes after.
ENGINE_FROM, ENGINE_TO = 10, 95


class ClaimLost(Exception):
    """The row no longer carries our claim: another worker has it, or it was deleted."""


class Stopping(Exception):
    """The process was told to stop: the job is to be given back."""


class Run:
    """Use as a context: the heart beats inside it, and the workspace is gone after it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.media: Media = job.media
        self._ended = threading.Event()
        self._verdict_on_us: type[Exception] | None = None  # what the heart has found out: Cancelled or ClaimLost
        self._lock = threading.Lock()
        self._written_at = 0.0
        self._written: tuple[str, int] = ("", -1)
        self._progress: tuple[str, int] = ("starting", 0)
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Run:
        self.folder: Path = self._stack.enter_context(workspace.open_for(self.job))
        threading.Thread(target=self._beat, name=f"heart-{self.job.public_id}", daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._stack.close()

    # What happens -----------------------------------------------------------------------------------------------------

    def go(self) -> None:
        """Bring the job to its verdict. Raises Cancelled, ClaimLost, Stopping, EngineError or DomainError."""
        if (recording := sandbox.recording_for(self.job)) is not None:
            self._repeat(recording)
            return
        original = self._original()
        self._probe(original)
        services.check_mode(self.job.mode, self.media.kind)
        thresholds = self._thresholds()
        outputs = self.folder / "artifacts"
        outputs.mkdir()
        analysis = pipeline.analyze(
            original,
            mode=self.job.mode,
            thresholds=thresholds,
            stability=self.job.stability,
            output_dir=outputs,
            on_step=self.on_step,
            deadline_s=float(settings.JOB_DEADLINE_S),
            limits=accepted(),
        )
        if self.media.retention != Retention.NONE:
            self._make_viewable(original, analysis.info)
        self._conclude(analysis, outputs)

    def _conclude(self, analysis: Any, outputs: Path) -> None:
        self._tell("storing", ENGINE_TO)
        self.check()
        if not verdicts.record_verdict(self.job, analysis, outputs):
            raise Cancelled("The analysis was cancelled.") if self._was_cancelled() else ClaimLost

    def _repeat(self, recording: sandbox.Recording) -> None:
        """Conclude a sandbox job on a shipped sample with what the engine said of it once."""
        if self.job.threshold_profile is None:
            shipped = ThresholdProfile.objects.filter(organization=None, name=f"default_{recording.kind}").first()
            Job.objects.filter(pk=self.job.pk).update(threshold_profile=shipped)
            self.job.threshold_profile = shipped
        if recording.thumbnail and not self.media.thumbnail_name:
            self._keep("thumbnail", lambda target: str(shutil.copy(recording.folder / recording.thumbnail, target)))
        self._conclude(recording.analysis, recording.folder)

    def on_step(self, name: str, done: int, total: int) -> None:
        """The engine's news; stops it when nobody waits for the result any more."""
        tracing.step(name)
        self._tell(name, ENGINE_FROM + (ENGINE_TO - ENGINE_FROM) * done // max(total, 1))
        self.check()

    def check(self) -> None:
        """Raise when the job is to stop."""
        if loop.stopping.is_set():
            raise Stopping
        if self._verdict_on_us is Cancelled:
            raise Cancelled("The analysis was cancelled.")
        if self._verdict_on_us is not None:
            raise ClaimLost

    # The original -----------------------------------------------------------------------------------------------------

    def _original(self) -> Path:
        path = self.folder / "original"
        if not self.media.storage_name:
            return self._fetch(path)
        return workspace.decrypt(self.media.storage_name, path)

    def _fetch(self, path: Path) -> Path:
        self._tell("fetching", 0)
        with workspace.create(path) as sink:
            fetch.fetch(self.media.source_url, sink, max_bytes=settings.MAX_UPLOAD_BYTES, on_bytes=self._on_bytes)
        with path.open("rb") as file:
            stored = ingest.store(file, organization=self.job.organization, filename=self.media.filename)
        facts = {
            "storage_name": stored.storage_name,
            "sha256": stored.sha256,
            "size_bytes": stored.size_bytes,
            "kind": stored.kind,
            "mime_type": stored.mime_type,
        }
        # Another job on the same URL may have been faster, or the item was deleted meanwhile: then ours goes.
        if not Media.objects.filter(pk=self.media.pk, storage_name="").update(**facts):
            storage.destroy(stored.storage_name)
        try:
            self.media.refresh_from_db()
        except Media.DoesNotExist:
            raise ClaimLost from None
        likeness.note_look(self.media)
        Job.objects.filter(media=self.media).update(kind=self.media.kind)
        return path

    def _on_bytes(self, received: int, total: int | None) -> None:
        self._tell("fetching", ENGINE_FROM * received // total if total else 1)
        self.check()

    def _probe(self, original: Path) -> None:
        """Learn what a recording is before it is analysed: an MP4 may hold sound alone."""
        if self.media.kind == "image" or self.media.info:
            return
        self._tell("decoding", ENGINE_FROM)
        verdicts.store_facts(
            self.media, to_json(engine_media.probe(original, limits=accepted(), sha256=self.media.sha256))
        )

    # The verdict's surroundings ---------------------------------------------------------------------------------------

    def _thresholds(self) -> Thresholds | None:
        """The organisation's own thresholds; None for the shipped ones, which the engine knows best."""
        profile = self.job.threshold_profile
        if profile is None and self.media.kind:
            profile = profile_matching.profile_for(self.media)
            Job.objects.filter(pk=self.job.pk).update(threshold_profile=profile)
            self.job.threshold_profile = profile
        return own_thresholds(profile)

    def _make_viewable(self, original: Path, info: Any) -> None:
        """Store a thumbnail and, where browsers cannot play the original, a copy that they can."""
        if not self.media.thumbnail_name and info.kind != "audio":
            self._tell("thumbnail", ENGINE_TO)
            self._keep("thumbnail", lambda target: engine_media.thumbnail(original, target))
        if not self.media.rendition_name and not info.is_browser_playable:
            self._tell("rendition", ENGINE_TO)
            self._keep("rendition", lambda target: engine_media.render_playable(original, target, info))

    def _keep(self, what: str, make: Callable[[Path], str]) -> None:
        """Make a view of the item and store it; a verdict is not lost because a view of it cannot be made."""
        target = self.folder / what
        try:
            mime_type = make(target)
        except EngineError as error:
            logger.warning("No %s for %s: %s", what, self.media.public_id, error.message)
            return
        with target.open("rb") as file:
            name = storage.save_encrypted(what, file, organization_id=self.job.organization_id)
        columns: dict[str, str] = {f"{what}_name": name}
        if what == "rendition":
            columns["rendition_mime_type"] = mime_type
        if not Media.objects.filter(pk=self.media.pk, **{f"{what}_name": ""}).update(**columns):
            storage.destroy(name)
            return
        for column, value in columns.items():
            setattr(self.media, column, value)

    # Heartbeat and progress -------------------------------------------------------------------------------------------

    def _tell(self, stage: str, percent: int) -> None:
        self._progress = (stage, max(0, min(percent, 99)))
        if time.monotonic() - self._written_at >= PROGRESS_S:
            with contextlib.suppress(DatabaseError, InterfaceError):  # progress is not worth the job
                self._write_progress()

    def _beat(self) -> None:
        """Runs beside the job: says that we live, carries progress of long steps, hears of cancellation."""
        try:
            while not self._ended.wait(BEAT_S):
                with contextlib.suppress(DatabaseError, InterfaceError):  # a lasting outage makes the claim stale
                    self._write_progress()
        finally:
            connections.close_all()

    def _write_progress(self) -> None:
        with self._lock:
            if self._ended.is_set() or self._verdict_on_us is not None:
                return
            stage, percent = progress = self._progress
            mine = Job.objects.filter(pk=self.job.pk, status=JobStatus.RUNNING, worker=self.job.worker)
            if not mine.update(heartbeat_at=timezone.now(), stage=stage, percent=percent):
                self._verdict_on_us = ClaimLost
            elif self._was_cancelled():
                self._verdict_on_us = Cancelled
            elif progress != self._written:
                self._written = progress
                self.job.stage, self.job.percent = progress
                live.publish(self.job)
            self._written_at = time.monotonic()

    def _was_cancelled(self) -> bool:
        return Job.objects.filter(pk=self.job.pk, cancel_requested_at__isnull=False).exists()


def accepted() -> engine_media.Limits:
    """The operator's limits, for the engine."""
    return engine_media.Limits(
        max_duration_s=float(settings.MAX_DURATION_S),
        max_image_bytes=settings.MAX_IMAGE_BYTES,
        max_recording_bytes=settings.MAX_UPLOAD_BYTES,
    )


def own_thresholds(profile: ThresholdProfile | None) -> Thresholds | None:
    if profile is None or profile.organization_id is None:
        return None
    return Thresholds(fake=profile.fake_at, real=profile.real_below)
