"""How a verdict, a score, a moment and a signal look, the same on every page and in the report."""

from __future__ import annotations

import mimetypes
from datetime import datetime
from typing import Any

from django import template
from django.template.defaultfilters import date as format_date
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from detection import charts, words
from detection.engine import wording
from detection.models import Job, JobStatus, Label
from detection.presentation import AnalysisPage, analysis_page

register = template.Library()

LABEL_ICONS = {Label.FAKE: "fake", Label.REAL: "real", Label.INCONCLUSIVE: "inconclusive"}
STATUS_ICONS = {
    JobStatus.QUEUED: "clock",
    JobStatus.RUNNING: "running",
    JobStatus.COMPLETED: "check",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "cancelled",
}


@register.simple_tag
def icon(name: str, extra: str = "") -> SafeString:
    """A drawing from the sprite; decoration only, the words stand beside it."""
    classes = f"icon {extra}".strip()
    return format_html(
        '<svg class="{}" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>',
        classes,
        static("img/icons.svg"),
        name,
    )


@register.simple_tag
def moment(value: datetime | None, style: str = "long") -> SafeString | str:
    """A time element; the page's script turns it into the reader's own zone."""
    if value is None:
        return "–"
    local = timezone.localtime(value)
    shown = format_date(local, "j M Y, H:i" if style == "short" else "j M Y, H:i:s")
    return format_html(
        '<time datetime="{}" data-moment="{}">{} {}</time>', value.isoformat(), style, shown, local.tzname()
    )


@register.filter
def percent(value: float | None) -> str:
    """A probability in whole percent; 0 and 100 are kept for certainty, which no detector has."""
    if value is None:
        return "–"
    return f"{min(max(round(100 * value), 1), 99)}\N{NO-BREAK SPACE}%"


@register.filter
def beside(value: float | None, result: Any) -> str:
    """A score or an end of its interval, told beside the thresholds of its result and never rounded across one."""
    if value is None:
        return "–"
    return unbroken(wording.percent_beside(value, result.threshold_real, result.threshold_fake))


@register.filter
def limit(value: float, digits: int | None = None) -> str:
    """A threshold as it was set, with at most one decimal; `digits` keeps the numbers of a column in line."""
    return unbroken(wording.limit_percent(value, digits))


@register.filter
def share(value: float) -> str:
    """A share of one as an SVG length."""
    return charts.percent(value)


@register.filter
def points(change: float) -> str:
    """A change of a share in percentage points: +12 points."""
    whole = round(100 * change)
    sign = "+" if whole > 0 else "−" if whole < 0 else "±"
    return f"{sign}{abs(whole)} point{'' if abs(whole) == 1 else 's'}"


@register.filter
def seconds(value: float | None) -> str:
    """A rough time of work: 0.4 → less than a second, 12.3 → 12 seconds, 130 → 2 minutes."""
    if not value or value < 1:
        return "a second"
    if value < 90:
        return f"{round(value)} second{'' if round(value) == 1 else 's'}"
    return f"{round(value / 60)} minutes"


@register.filter
def unbroken(text: str) -> str:
    """A sentence whose numbers keep their unit on the same line."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


@register.filter
def clock(seconds: float | None) -> str:
    return charts.clock(seconds)


@register.filter
def signed(value: float) -> str:
    """+1.24 or −0.31, with a true minus."""
    return f"{'+' if value >= 0 else '−'}{abs(value):.2f}"


@register.filter
def grouped(digest: str) -> str:
    """A digest in groups of eight, so that a line can break and an eye can compare."""
    return " ".join(digest[start : start + 8] for start in range(0, len(digest), 8))


@register.filter
def person(track: int | None) -> str:
    return "" if track is None else words.person(track)


@register.filter
def stage_words(stage: str) -> str:
    return words.stage_words(stage)


@register.filter
def branch_title(branch: str) -> str:
    return words.signal_of(branch).title


@register.filter
def failure_advice(job: Job) -> str:
    kind = job.media.kind or (mimetypes.guess_type(job.media.filename)[0] or "").partition("/")[0]
    return words.failure_advice(job.failure_code, kind)


@register.filter
def may_help_again(job: Job) -> bool:
    """Whether another run of the same file may end otherwise than this one."""
    return job.failure_code not in words.SAME_AGAIN


@register.filter
def submitter(job: Job) -> str:
    """Who asked: a person's name, else the key that did."""
    if job.created_by is not None:
        return job.created_by.get_full_name() or job.created_by.get_username()
    return f"{job.api_key.name} (API)" if job.api_key is not None else "–"


@register.filter
def status_icon(status: str) -> str:
    return STATUS_ICONS[JobStatus(status)]


@register.inclusion_tag("components/verdict_badge.html")
def verdict_badge(label: str, with_reason: str = "") -> dict[str, Any]:
    return {"label": label, "word": Label(label).label, "icon": LABEL_ICONS[Label(label)], "reason": with_reason}


@register.inclusion_tag("components/scale.html")
def scale(result: Any) -> dict[str, Any]:
    """The full scale of the verdict: zones, both thresholds, interval, point."""
    return _scale(result) | {"label_x": charts.percent(min(max(_middle(result), 0.27), 0.73))}


@register.inclusion_tag("components/mini_scale.html")
def mini_scale(result: Any) -> dict[str, Any]:
    return _scale(result)


@register.simple_tag
def score_geometry(result: Any, width: float) -> dict[str, Any]:
    """The scale in user units, for paper, where lengths in percent are not reliable."""
    shares = {name: value for name, value in _scale(result).items() if isinstance(value, str)}
    found: dict[str, Any] = {name: charts.units(value, width) for name, value in shares.items()}
    return {
        "score": None,
        "has_middle": _scale(result)["has_middle"],
        "middle": charts.units(charts.percent(_middle(result)), width),
    } | found


def _middle(result: Any) -> float:
    return float(result.threshold_real + result.threshold_fake) / 2


def _scale(result: Any) -> dict[str, Any]:
    low = result.interval_low if result.interval_low is not None else result.score
    high = result.interval_high if result.interval_high is not None else result.score
    shares: dict[str, Any] = {}
    if result.score is not None:
        shares = {
            "score": charts.percent(result.score),
            "low": charts.percent(low),
            "high": charts.percent(high),
            "spread": charts.percent(high - low),
        }
    return {
        "result": result,
        "has_middle": result.threshold_fake - result.threshold_real > 0.02,
        "real": charts.percent(result.threshold_real),
        "fake": charts.percent(result.threshold_fake),
        "unsure_width": charts.percent(result.threshold_fake - result.threshold_real),
        "fake_width": charts.percent(1 - result.threshold_fake),
        **shares,
    }


@register.simple_tag
def arranged(job: Job) -> AnalysisPage:
    """A finished analysis in reading order, for templates of apps that may not import this one's insides."""
    return analysis_page(job, job.result, job.media)
