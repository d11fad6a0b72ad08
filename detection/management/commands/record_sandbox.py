"""Record what the engine says of the shipped samples: sandbox keys are answered with it."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from detection import sandbox
from detection.engine import fusion, media, pipeline
from detection.engine.errors import EngineError


class Command(BaseCommand):
    help = "Analyse every file of samples/ and keep the outputs in samples/recorded/ for sandbox keys."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        target = sandbox.RECORDED_DIR
        fresh = target.with_name(f"{target.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        try:
            samples = dict(self._record(path, fresh) for path in sandbox.sample_paths())
        except EngineError as error:
            raise CommandError(f"{error.message} [{error.code}]") from error
        index = {
            "schema": sandbox.SCHEMA,
            "recorded_at": timezone.now().isoformat(timespec="seconds"),
            "model_version": pipeline.model_version(),
            "fusion_version": fusion.load().version,
            "samples": samples,
        }
        text = json.dumps(index, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        (fresh / sandbox.INDEX).write_text(text + "\n")
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
        sandbox.recordings.cache_clear()
        self.stdout.write(f"{len(samples)} samples recorded with {index['model_version']}.")

    def _record(self, path: Path, folder: Path) -> tuple[str, dict[str, Any]]:
        """Return the sample's digest and what is kept of it."""
        outputs = folder / path.stem
        outputs.mkdir()
        found = pipeline.analyze(path, output_dir=outputs).to_dict()
        thumbnail = ""
        if found["media"]["kind"] != "audio":
            thumbnail = "thumbnail"
            media.thumbnail(path, outputs / thumbnail)
        self.stdout.write(f"{path.name}: {found['label']} {found['score']}")
        return _digest(path), {
            "file": path.name,
            "folder": outputs.name,
            "thumbnail": thumbnail,
            "analysis": found,
            "files": {one.name: _digest(one) for one in sorted(outputs.iterdir())},
        }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
