"""A finished analysis whose media is what its digest says, and reports issued of it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from deepfake import storage
from detection.models import Job
from reports import services
from tests import factories
from tests.pages.finished import make_finished


@pytest.fixture
def finished(organization: Any, alice: Any) -> Job:
    job = make_finished(organization, alice)
    content = factories.png_bytes()
    job.media.sha256 = hashlib.sha256(content).hexdigest()
    job.media.storage_name = storage.save_encrypted("media", content, organization_id=organization.id)
    job.media.save()
    return job


@pytest.fixture
def issued_json(finished: Job, alice: Any) -> services.Issued:
    return services.issue(job=finished, wanted="json", actor=alice)


@pytest.fixture
def issued_pdf(finished: Job, alice: Any) -> services.Issued:
    return services.issue(job=finished, wanted="pdf", actor=alice)
