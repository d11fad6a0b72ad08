"""Which items of an organisation are the same one: the same bytes, or pictures that look the same."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from django.db.models import Count

from detection.models import Media

SIMILAR_BITS = 6
SIMILAR_SEARCHED = 20_000  # newest looks of an organisation that a perceptual hash is compared with


def distance(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


def tells_apart(phash: str) -> bool:
    """A flat picture hashes to nearly all zeros or ones and would be "similar" to every other flat one."""
    return 8 <= int(phash, 16).bit_count() <= 56


def alike(media: Media) -> list[Any]:
    """Primary keys of the organisation's other items of that kind whose perceptual hash is nearly the same."""
    if not media.phash or not tells_apart(media.phash):
        return []
    others = Media.objects.filter(
        organization=media.organization_id, kind=media.kind, is_sandbox=media.is_sandbox, deleted_at=None
    )
    known = others.exclude(pk=media.pk).exclude(phash="").order_by("-created_at").values_list("pk", "phash")
    return [pk for pk, phash in known[:SIMILAR_SEARCHED] if distance(phash, media.phash) <= SIMILAR_BITS]


def note_look(media: Media) -> None:
    """Write down which first item this one is like; called when its digest, and again when its look, is known."""
    if media.is_sandbox:  # sent to try things out: no real item is "seen before" because of it
        return
    look = _look_of(media)
    if look != media.look:
        Media.objects.filter(pk=media.pk).update(look=look)
        media.look = look


def _look_of(media: Media) -> uuid.UUID:
    others = Media.objects.filter(organization_id=media.organization_id).exclude(pk=media.pk)
    if media.sha256:
        same = others.filter(sha256=media.sha256).exclude(look=None).order_by("created_at", "id")
        if (first := same.values_list("look", flat=True).first()) is not None:
            return first
    if media.phash and tells_apart(media.phash):
        # Compared with first items only: all that carry one look are then within SIMILAR_BITS of the same picture,
        # where a chain of small steps would lead anywhere.
        known = others.filter(kind=media.kind).exclude(phash="").exclude(look=None).order_by("-created_at")
        rows = known.values_list("pk", "look", "phash")[:SIMILAR_SEARCHED]
        near = [(distance(phash, media.phash), pk) for pk, look, phash in rows if look == pk and tells_apart(phash)]
        bits, nearest = min(near, default=(SIMILAR_BITS + 1, media.pk))
        if bits <= SIMILAR_BITS:
            return nearest
    return media.pk


def counts(looks: Iterable[Any], organization_id: Any) -> dict[uuid.UUID, int]:
    """How many items of the organisation carry each look; those that nothing else is like are left out."""
    wanted = {look for look in looks if look is not None}
    if not wanted:
        return {}
    rows = Media.objects.filter(organization_id=organization_id, look__in=wanted, deleted_at=None)
    counted = rows.order_by().values_list("look").annotate(n=Count("*"))
    return {look: number for look, number in counted if look is not None and number > 1}
