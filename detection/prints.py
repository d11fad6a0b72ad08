"""Keeping what an item can be found again by, and linking it with the organisation's items that share it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from django.db import transaction
from django.db.models import Q

from detection.engine import fingerprints
from detection.engine.fingerprints import Prints
from detection.models import FacePrint, Media, MediaLink, SoundMark

SEARCHED_FACES = 20_000  # newest prints of an organisation that are compared
ASKED_MARKS = 500  # of the item's own, spread over it: an excerpt of some seconds still shares enough of them
SEARCHED_MARKS = 60_000  # marks that an organisation's recordings share with this one


def keep(media: Media, prints: Prints) -> None:
    """Write the prints of an item; a later run that looked at less leaves the rest as it is."""
    of = {"organization_id": media.organization_id, "media": media}
    if prints.faces:
        media.face_prints.all().delete()
        FacePrint.objects.bulk_create(
            FacePrint(**of, track=face.track, time_s=face.time_s, bits=face.bits) for face in prints.faces
        )
    if prints.sound:
        media.sound_marks.all().delete()
        SoundMark.objects.bulk_create(
            (SoundMark(**of, value=mark.value, step=mark.step) for mark in prints.sound), batch_size=500
        )


def link(media: Media) -> None:
    """Find the items that share a print and write it down, for both.

    Called after the prints are committed: of two items that finish at the same moment, one then sees the other.
    """
    found = {"same_face": _same_face(media), "same_sound": _same_sound(media)}
    rows = [
        MediaLink(media_id=one, other_id=other, reason=reason)
        for reason, keys in found.items()
        for key in keys
        for one, other in ((media.pk, key), (key, media.pk))
    ]
    with transaction.atomic():
        MediaLink.objects.filter(Q(media=media) | Q(other=media)).delete()
        MediaLink.objects.bulk_create(rows, batch_size=500, ignore_conflicts=True)


def _same_face(media: Media) -> set[Any]:
    mine = [int(bits, 16) for bits in media.face_prints.values_list("bits", flat=True)]
    if not mine:
        return set()
    others = FacePrint.objects.filter(organization=media.organization_id).exclude(media=media)
    known = others.order_by("-id").values_list("media_id", "bits")[:SEARCHED_FACES]
    return {key for key, bits in known if _is_among(int(bits, 16), mine)}


def _is_among(bits: int, mine: list[int]) -> bool:
    return any((bits ^ own).bit_count() <= fingerprints.SAME_FACE_BITS for own in mine)


def _same_sound(media: Media) -> set[Any]:
    own = media.sound_marks.order_by("step").values_list("value", "step")
    mine = [fingerprints.SoundMark(value, step) for value, step in own]
    mine = mine[:: max(1, round(len(mine) / ASKED_MARKS))]
    if len(mine) < fingerprints.SAME_SOUND_MARKS:
        return set()
    shared = SoundMark.objects.filter(organization=media.organization_id, value__in={mark.value for mark in mine})
    theirs: dict[Any, list[fingerprints.SoundMark]] = defaultdict(list)
    rows = shared.exclude(media=media).order_by("-id").values_list("media_id", "value", "step")[:SEARCHED_MARKS]
    for key, value, step in rows:
        theirs[key].append(fingerprints.SoundMark(value, step))
    return {key for key, marks in theirs.items() if fingerprints.aligned(mine, marks) >= fingerprints.SAME_SOUND_MARKS}
