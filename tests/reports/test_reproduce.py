"""The analysis of a bundle runs again to the same label and score; where it cannot, it says why."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from deepfake import signing
from detection import jobs
from detection import services as detection_services
from detection.engine import registry
from detection.models import Job, JobStatus, ThresholdProfile
from reports import bundles, reproduction, rerun, services

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ("portrait-photo.jpg", "reading-voice.flac")


def analysed(sample: str, organization: Any, user: Any) -> Job:
    with (ROOT / "samples" / sample).open("rb") as file:
        job = detection_services.submit_and_start(organization=organization, actor=user, file=file, filename=sample)
    jobs.run_detection()
    job = services.for_report(Job.objects.all()).get(pk=job.pk)
    assert job.status == JobStatus.COMPLETED, job.failure_message
    return job


def bundle_of(job: Job, user: Any, folder: Path) -> Path:
    issued = services.issue(job=job, wanted="bundle", actor=user)
    path = folder / f"{job.id.hex}.zip"
    path.write_bytes(b"".join(bundles.write(job, issued)))
    return path


def reproduce(path: Path, *arguments: str) -> str:
    out = StringIO()
    call_command("reproduce", str(path), *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def photo(organization, alice, tmp_path) -> Path:
    return bundle_of(analysed("portrait-photo.jpg", organization, alice), alice, tmp_path)


@pytest.mark.parametrize("sample", SAMPLES)
def test_samples_come_to_the_same_score(organization, alice, tmp_path, sample) -> None:
    path = bundle_of(analysed(sample, organization, alice), alice, tmp_path)
    first, second = json.loads(reproduce(path, "--json")), json.loads(reproduce(path, "--json"))
    assert first == second
    assert first["same"]
    assert first["difference"] == 0  # on one machine, with one number of threads, to the last printed digit
    assert all(branch["then"] == branch["now"] for branch in first["branches"].values())
    assert "Same result" in reproduce(path)


def test_other_thread_counts_stay_far_within_the_tolerance(photo, data_dir) -> None:
    """In a process of its own, with the installation's keys and no database."""
    keys = data_dir / "keys"
    done = subprocess.run(
        [sys.executable, "manage.py", "reproduce", str(photo), "--json"],
        cwd=ROOT,
        env=os.environ
        | {
            "DATA_DIR": str(data_dir.parent / "elsewhere"),
            "REPORT_PUBLIC_KEYS_DIR": str(keys / "report_public_keys"),
            "ENGINE_THREADS": "1",
            "DATABASE_URL": "postgres://nobody@127.0.0.1:1/none",
        },
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["difference"] <= reproduction.TOLERANCE / 10


def test_other_weights_are_named_and_refused(photo, monkeypatch) -> None:
    original = rerun.installed_digest
    monkeypatch.setattr(
        rerun, "installed_digest", lambda path: "00" * 32 if path == "audio/audio.bin" else original(path)
    )
    with pytest.raises(CommandError, match=r"differ, or are missing: audio/audio\.bin") as caught:
        reproduce(photo)
    assert caught.value.returncode == 1


def test_missing_weights_are_named_and_refused(photo, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(registry, "WEIGHTS_DIR", tmp_path / "nothing")
    with pytest.raises(CommandError, match=r"synthesis/synthesis\.bin"):
        reproduce(photo)


def test_a_result_that_is_not_the_same_fails(photo, monkeypatch) -> None:
    original = reproduction.reproduce
    monkeypatch.setattr(
        reproduction, "reproduce", lambda bundle: dataclasses.replace(original(bundle), label_now="fake", score_now=0.9)
    )
    with pytest.raises(CommandError, match="did not come to the same result"):
        reproduce(photo)


def test_the_recorded_thresholds_are_used(organization, alice, tmp_path) -> None:
    """A label that follows from an organisation's own thresholds comes out again, not that of the shipped ones."""
    ThresholdProfile.objects.create(organization=organization, name="default_audio", fake_at=0.9, real_below=0.7)
    job = analysed("reading-voice.flac", organization, alice)
    assert job.result.label == "real"
    found = json.loads(reproduce(bundle_of(job, alice, tmp_path), "--json"))
    assert found["label"] == {"then": "real", "now": "real"}


def test_an_altered_bundle_is_not_run(photo, monkeypatch) -> None:
    monkeypatch.setattr(reproduction, "reproduce", lambda bundle: pytest.fail("It ran."))
    data = bytearray(photo.read_bytes())
    data[len(data) // 2] ^= 1
    photo.write_bytes(data)
    with pytest.raises(CommandError):
        reproduce(photo)
    photo.write_bytes(b"no zip")
    with pytest.raises(CommandError, match="not a bundle"):
        reproduce(photo)
    with pytest.raises(CommandError, match="No such file"):
        reproduce(photo.with_name("missing.zip"))


def test_a_bundle_of_weights_that_are_gone_says_so(organization, alice, finished, tmp_path) -> None:
    """`finished` was judged by a set that was never installed: its report lists no files."""
    path = bundle_of(services.for_report(Job.objects.all()).get(pk=finished.pk), alice, tmp_path)
    with pytest.raises(CommandError, match="no longer installed when the report was issued"):
        reproduce(path)
    assert signing.keyring()


def test_scores_at_the_edge_of_the_tolerance() -> None:
    def outcome(then: float | None, now: float | None) -> bool:
        return reproduction.Outcome("real", "real", then, now, {}, {}).is_same

    assert outcome(0.5, 0.5 + 0.9 * reproduction.TOLERANCE)
    assert not outcome(0.5, 0.5 + 1.1 * reproduction.TOLERANCE)
    assert outcome(None, None)
    assert not outcome(None, 0.5)
    assert not reproduction.Outcome("real", "fake", 0.5, 0.5, {}, {}).is_same
