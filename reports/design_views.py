"""The design page: every component of the product in both themes, drawn by the templates that draw it everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from accounts.permissions import members_only
from detection.models import InferenceResult, JobStatus, Label
from reports import dashboard_charts as charts

TOKENS = {
    "Paper and ink": ("paper", "surface", "surface-sunk", "surface-raised", "ink", "ink-2", "ink-3", "line-strong"),
    "Accent": ("accent", "accent-strong", "accent-soft"),
    "Verdicts": ("fake", "fake-soft", "fake-mark", "real", "real-soft", "real-mark", "inconclusive",
                 "inconclusive-soft", "inconclusive-mark"),
    "Series": ("series-1", "series-2", "series-3", "series-4"),
}  # fmt: skip


@dataclass(frozen=True)
class Notice:
    """Looks like a message of django.contrib.messages, to the template that shows those."""

    level_tag: str
    text: str

    def __str__(self) -> str:
        return self.text


NOTICES = (
    Notice("info", "Something to know."),
    Notice("success", "It is done."),
    Notice("warning", "It is done, and there is something to look at."),
    Notice("error", "It could not be done, and this is why."),
)


@require_GET
@members_only
def design(request: HttpRequest) -> HttpResponse:
    return render(request, "reports/design.html", {"themes": ("light", "dark"), **_specimens()})


def _specimens() -> dict[str, Any]:
    limits = {"threshold_fake": 0.82, "threshold_real": 0.23}
    results = [
        InferenceResult(label=label, score=score, interval_low=low, interval_high=high, **limits)
        for label, score, low, high in (
            (Label.FAKE, 0.93, 0.86, 0.97),
            (Label.INCONCLUSIVE, 0.51, 0.31, 0.7),
            (Label.REAL, 0.08, 0.03, 0.17),
        )
    ]
    load = [(f"{hour:02d}:00", {"image": 3 + hour % 5, "video": hour % 3, "audio": hour % 2}) for hour in range(8, 20)]
    bars, top = charts.columns(load, ("image", "video", "audio"))
    return {
        "tokens": TOKENS,
        "notices": NOTICES,
        "labels": [str(label) for label in Label],
        "results": results,
        "statuses": [(str(status), str(status.label)) for status in JobStatus],
        "bars": bars,
        "top": top,
        "mix": charts.line({"fake": 3, "inconclusive": 9, "real": 5}, ("fake", "inconclusive", "real")),
    }
