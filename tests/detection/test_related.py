"""Items that belong together: same bytes, look, face picture, recording, source; within the organisation alone."""

from __future__ import annotations

import pytest

from detection import related
from detection.engine import fingerprints
from detection.models import FacePrint, Media, SoundMark
from tests import factories

ONE = "5" * 64
NEAR = "5" * 62 + "0f"
FAR = "a" * 64


def item(organization, **fields) -> Media:
    values = {"sha256": "", "phash": "", "storage_name": ""}
    return factories.make_media(organization, **(values | fields))


def with_face(media: Media, bits: str) -> Media:
    FacePrint.objects.create(organization=media.organization, media=media, track=0, bits=bits)
    return media


def with_sound(media: Media, *, start: int, count: int = 12, first: int = 1000) -> Media:
    media.kind = "audio"
    media.save()
    SoundMark.objects.bulk_create(
        SoundMark(organization=media.organization, media=media, value=first + n, step=start + 7 * n)
        for n in range(count)
    )
    return media


def reasons(media: Media) -> dict[Media, tuple[str, ...]]:
    found = related.related_to(media).reasons
    return {Media.objects.get(pk=key): why for key, why in found.items()}


def test_the_same_bytes_and_the_same_look(organization):
    mine = item(organization, sha256="ab" * 32, phash="0f0f0f0f0f0f0f0f")
    same = item(organization, sha256="ab" * 32)
    alike = item(organization, phash="0f0f0f0f0f0f0f0e")
    item(organization, phash="f0f0f0f00f0f0f0f")
    assert reasons(mine) == {same: ("same_file",), alike: ("looks_alike",)}


def test_the_same_picture_of_a_face(organization):
    assert fingerprints.face_distance(ONE, NEAR) <= fingerprints.SAME_FACE_BITS < fingerprints.face_distance(ONE, FAR)
    mine = with_face(item(organization), ONE)
    again = with_face(with_face(item(organization), FAR), NEAR)
    with_face(item(organization), FAR)
    assert reasons(mine) == {again: ("same_face",)}


def test_the_same_recording_at_another_moment(organization):
    mine = with_sound(item(organization), start=0)
    again = with_sound(item(organization), start=400)
    with_sound(item(organization), start=0, first=5000)
    with_sound(item(organization), start=0, count=fingerprints.SAME_SOUND_MARKS - 1)
    assert reasons(mine) == {again: ("same_sound",)}


def test_marks_at_scattered_offsets_are_chance(organization):
    mine = with_sound(item(organization), start=0)
    other = item(organization, kind="audio")
    SoundMark.objects.bulk_create(
        SoundMark(organization=organization, media=other, value=1000 + n, step=53 * n * n) for n in range(12)
    )
    assert reasons(mine) == {}


def test_the_same_host(organization):
    mine = item(organization, source_url="https://media.example.org/a.jpg")
    other = item(organization, source_url="http://MEDIA.example.org/b.jpg")
    item(organization, source_url="https://media.example.org.evil.example/c.jpg")
    assert reasons(mine) == {other: ("same_host",)}


def test_several_reasons_come_as_one_strongest_first(organization):
    mine = with_face(item(organization, sha256="ab" * 32), ONE)
    weak = with_face(item(organization), ONE)
    strong = with_face(item(organization, sha256="ab" * 32), ONE)
    found = related.related_to(mine)
    assert list(found.reasons.items()) == [(strong.pk, ("same_file", "same_face")), (weak.pk, ("same_face",))]
    assert found.counts() == {"same_file": 1, "looks_alike": 0, "same_face": 2, "same_sound": 0, "same_host": 0}
    assert list(found.of("same_file").reasons) == [strong.pk]


def test_other_organisations_are_never_found(organization, other_organization):
    fields = {"sha256": "ab" * 32, "phash": "0f0f0f0f0f0f0f0f", "source_url": "https://media.example.org/a.jpg"}
    mine = with_sound(with_face(item(organization, **fields), ONE), start=0)
    with_sound(with_face(item(other_organization, **fields), ONE), start=0)
    assert related.related_to(mine).count == 0


def test_the_newest_analysis_of_each_item_stands_for_it(organization):
    mine = item(organization, sha256="ab" * 32)
    other = item(organization, sha256="ab" * 32)
    factories.make_job(organization=organization, media=other)
    newest = factories.make_job(organization=organization, media=other)
    found = related.relatives(mine, related.related_to(mine))
    assert [(one.job, one.words) for one in found] == [(newest, ("Same file",))]


def test_the_same_sender_is_apart_and_without_what_is_related_anyway(organization, alice, bob):
    mine = item(organization, uploaded_by=alice, sha256="ab" * 32)
    twin = item(organization, uploaded_by=alice, sha256="ab" * 32)
    other = factories.make_job(organization=organization, media=item(organization, uploaded_by=alice))
    for media in (twin, item(organization, uploaded_by=bob)):
        factories.make_job(organization=organization, media=media)
    assert related.from_same_sender(mine, related.related_to(mine)) == (1, (other,))


@pytest.mark.parametrize("kind", ["image", "audio"])
def test_queries(organization, django_assert_num_queries, kind):
    mine = with_face(item(organization, sha256="ab" * 32, phash="0f0f0f0f0f0f0f0f"), ONE)
    if kind == "audio":
        with_sound(mine, start=0)
    for _ in range(4):
        with_sound(with_face(item(organization, sha256="ab" * 32), ONE), start=9)
    # same bytes, hashes, own prints, others' prints; own marks and others' for sound
    with django_assert_num_queries(4 if kind == "image" else 6):
        related.related_to(mine)
