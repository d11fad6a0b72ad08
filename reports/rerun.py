"""What an analysis needs to be run again: weights with their digests, thresholds, settings, versions of packages."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from detection.engine import fusion, pipeline, registry, third_party
from detection.engine.errors import WeightsInvalid
from detection.models import InferenceResult, Job

# What decodes, resamples and computes; another version of one of these may move a score.
PACKAGES = (
    "av", "c2pa-python", "imagehash", "numpy", "onnxruntime", "opencv-python-headless", "openvino", "pillow",
    "pillow-heif", "scipy", "soundfile", "soxr",
)  # fmt: skip
AGGREGATION = "mean"
STABILITY = "cheap"


def settings_of(job: Job, result: InferenceResult) -> dict[str, Any]:
    """Return the settings under which this analysis was made, JSON-ready.

    Weights and packages are those that are installed now. Where the set of weights is no longer the one that judged,
    `weights` is empty: `model_version` says which set it takes.
    """
    is_same = result.model_version.name == installed_version()
    profile = job.threshold_profile
    return {
        "mode": job.mode,
        "thresholds": {"fake": result.threshold_fake, "real": result.threshold_real},
        "threshold_profile": profile.name if profile else None,
        "threshold_profile_is_own": bool(profile and profile.organization_id),
        "aggregation": AGGREGATION,
        "stability": "full" if (result.details.get("stability") or {}).get("full") else STABILITY,
        "model_version": result.model_version.name,
        "weights": dict(weight_digests()) if is_same else {},
        "packages": dict(installed_packages()),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def installed_version() -> str:
    """Return the name of the installed set of weights; blank where it cannot be loaded (old reports still print)."""
    try:
        return pipeline.model_version()
    except WeightsInvalid:
        return ""


def weight_digests() -> Iterator[tuple[str, str]]:
    """Yield path below ml_weights/ and expected SHA-256 of everything that an analysis on a CPU loads."""
    for spec in registry.BRANCHES.values():
        yield from spec.files["openvino"]
    yield registry.FUSION
    yield registry.PHYSIOLOGY
    for model in third_party.MODELS.values():
        yield str(model.path.relative_to(registry.WEIGHTS_DIR)), model.sha256
    for name in third_party.MTCNN_SOURCES:  # exported at set-up, so their digests are those of the files here
        path = f"{third_party.FOLDER.name}/mtcnn_{name}.bin"
        if digest := installed_digest(path):
            yield path, digest


def installed_digest(path: str) -> str | None:
    """Return the SHA-256 of a weight file as it lies on the disk now; None when it is not there."""
    try:
        with (registry.WEIGHTS_DIR / path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def installed_packages() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue


def fusion_of(model_version: str) -> dict[str, Any]:
    """Return version and digest of the fusion behind a set of weights; the digest only of the installed set."""
    if model_version == installed_version():
        path, sha256 = registry.FUSION
        return {"version": fusion.load().version, "file": Path(path).name, "sha256": sha256}
    parts = model_version.split("-")
    return {"version": parts[1] if len(parts) == 3 else None, "file": None, "sha256": None}
