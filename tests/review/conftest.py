"""Cases on finished analyses; rita is a second reviewer beside bob."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from accounts.models import Organization, Role, User
from detection.models import Job
from review import rules, services
from review.models import Priority, Reason, ReviewCase, ReviewSettings
from tests import factories
from tests.pages.finished import make_finished

CaseMaker = Callable[..., ReviewCase]


@pytest.fixture
def rita(organization: Organization) -> User:
    return factories.make_user(organization, "rita", Role.REVIEWER)


@pytest.fixture
def open_case(organization: Organization, alice: User, review_settings: ReviewSettings) -> CaseMaker:
    """Make a finished analysis and open its case."""

    def make(
        *,
        reason: str = Reason.UNCERTAIN,
        priority: int = Priority.NORMAL,
        opinions_wanted: int = 1,
        job: Job | None = None,
        filename: str = "",
        **fields: Any,
    ) -> ReviewCase:
        job = job or make_finished(organization, alice, **fields)
        if filename:
            job.media.filename = filename
            job.media.save()
        ground = rules.Ground(Reason(reason), Priority(priority), "The score lies close to a threshold.")
        case = services.open_case(job=job, grounds=[ground])
        if opinions_wanted != case.opinions_wanted:
            case.opinions_wanted = opinions_wanted
            case.save()
        return case

    return make


@pytest.fixture
def case(open_case: CaseMaker) -> ReviewCase:
    return open_case()


def opinion(outcome: str = "confirm", **fields: Any) -> services.Opinion:
    if outcome == "override":
        fields = {"label": "real", "reasons": ("compression",)} | fields
    if outcome == "escalate":
        fields = {"note": "Please look at the lips."} | fields
    return services.Opinion(outcome=outcome, **fields)
