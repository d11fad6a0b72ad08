"""Which other items of the organisation belong together with one: same bytes, look, face picture, recording, source."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from django.db.models import Q, QuerySet

from detection import likeness
from detection.models import Job, Media

SHOWN = 60
SHOWN_OF_SENDER = 20
NOT_LISTED = ("result__details", "result__rationale", "media__info")  # large, and not shown of other analyses

# From the strongest to the weakest.
REASONS: dict[str, str] = {
    "same_file": "Same file",
    "looks_alike": "Looks the same",
    "same_face": "Same picture of a face",
    "same_sound": "Same recording",
    "same_host": "Same source",
}


@dataclass(frozen=True)
class Relative:
    """Another item, its newest analysis, and why it is here."""

    job: Job
    reasons: tuple[str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(REASONS[reason] for reason in self.reasons)


@dataclass(frozen=True)
class Related:
    reasons: dict[Any, tuple[str, ...]]  # primary key of an item -> why, strongest first

    @property
    def count(self) -> int:
        return len(self.reasons)

    def of(self, *reasons: str) -> Related:
        """Those that are here for one of these reasons."""
        return Related({key: why for key, why in self.reasons.items() if set(why) & set(reasons)})

    def counts(self) -> dict[str, int]:
        """How many items each reason brought."""
        return {reason: sum(reason in why for why in self.reasons.values()) for reason in REASONS}


def related_to(media: Media) -> Related:
    """Return the items of the same organisation that belong together with this one."""
    found: dict[Any, list[str]] = defaultdict(list)
    for reason, keys in _searches(media):
        for key in keys:
            found[key].append(reason)
    ordered = sorted(found.items(), key=lambda item: [list(REASONS).index(reason) for reason in item[1]])
    return Related({key: tuple(reasons) for key, reasons in ordered})


def _searches(media: Media) -> Iterator[tuple[str, set[Any]]]:
    others = Media.objects.filter(organization=media.organization_id, is_sandbox=media.is_sandbox, deleted_at=None)
    others = others.exclude(pk=media.pk)
    if media.sha256:
        yield "same_file", set(others.filter(sha256=media.sha256).values_list("pk", flat=True))
    yield "looks_alike", set(likeness.alike(media))
    links = list(media.links.filter(other__deleted_at=None).values_list("other", "reason"))
    for reason in ("same_face", "same_sound"):
        yield reason, {other for other, why in links if why == reason}
    host = host_of(media)
    if host:
        from_host = Q(source_url__istartswith=f"https://{host}/") | Q(source_url__istartswith=f"http://{host}/")
        yield "same_host", set(others.filter(from_host).values_list("pk", flat=True)[:1000])


def host_of(media: Media) -> str:
    return urlsplit(media.source_url).netloc.lower()


def relatives(media: Media, related: Related, *, limit: int = SHOWN) -> tuple[Relative, ...]:
    """Return the newest analysis of each related item, strongest reasons first."""
    wanted = list(related.reasons)[:limit]
    newest = {
        job.media_id: job
        for job in _listed(Job.objects.filter(media__in=wanted, deleted_at=None)).order_by("created_at", "id")
    }
    return tuple(Relative(newest[key], related.reasons[key]) for key in wanted if key in newest)


def from_same_sender(media: Media, related: Related) -> tuple[int, tuple[Job, ...]]:
    """Return how many other analyses the same person or key sent, and the newest of them.

    Weak: in a newsroom one person sends everything. So it is shown apart and not counted.
    """
    if media.uploaded_by_id is None and media.api_key_id is None:
        return 0, ()
    sent = Job.objects.filter(
        organization=media.organization_id,
        deleted_at=None,
        media__uploaded_by=media.uploaded_by_id,
        media__api_key=media.api_key_id,
    ).exclude(media__in=[media.pk, *list(related.reasons)[:500]])
    return sent.count(), tuple(_listed(sent).order_by("-created_at", "-id")[:SHOWN_OF_SENDER])


def _listed(jobs: QuerySet[Job]) -> QuerySet[Job]:
    return jobs.select_related("media", "result").defer(*NOT_LISTED)
