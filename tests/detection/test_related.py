"""Items that belong together: same bytes, look, face picture, recording, source; within the organisation alone."""

from __future__ import annotations

from detection import prints, related
from detection.engine import fingerprints
from detection.models import FacePrint, Media, MediaLink, SoundMark
from tests import factories
from tests.engine.scenes import different_bits

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
    prints.link(media)
    found = related.related_to(media).reasons
    return {Media.objects.get(pk=key): why for key, why in found.items()}


def test_the_same_bytes_and_the_same_look(organization):
    mine = item(organization, sha256="ab" * 32, phash="0f0f0f0f0f0f0f0f")
    same = item(organization, sha256="ab" * 32)
    alike = item(organization, phash="0f0f0f0f0f0f0f0e")
    item(organization, phash="f0f0f0f00f0f0f0f")
    assert reasons(mine) == {same: ("same_file",), alike: ("looks_alike",)}


def test_the_same_picture_of_a_face(organization):
    assert different_bits(ONE, NEAR) <= fingerprints.SAME_FACE_BITS < different_bits(ONE, FAR)
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
    prints.link(mine)
    found = related.related_to(mine)
    assert list(found.reasons.items()) == [(strong.pk, ("same_file", "same_face")), (weak.pk, ("same_face",))]
    assert found.counts() == {"same_file": 1, "looks_alike": 0, "same_face": 2, "same_sound": 0, "same_host": 0}
    assert list(found.of("same_file").reasons) == [strong.pk]


def test_other_organisations_are_never_found(organization, other_organization):
    fields = {"sha256": "ab" * 32, "phash": "0f0f0f0f0f0f0f0f", "source_url": "https://media.example.org/a.jpg"}
    mine = with_sound(with_face(item(organization, **fields), ONE), start=0)
    with_sound(with_face(item(other_organization, **fields), ONE), start=0)
    prints.link(mine)
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


def test_both_sides_know_of_a_link_and_linking_again_changes_nothing(organization):
    mine, again = (with_face(item(organization), ONE) for _ in range(2))
    for _ in range(2):
        prints.link(mine)
    assert related.related_to(again).reasons == {mine.pk: ("same_face",)}
    assert MediaLink.objects.count() == 2


def test_a_link_goes_when_the_prints_no_longer_fit(organization):
    mine, again = (with_face(item(organization), ONE) for _ in range(2))
    prints.link(mine)
    prints.keep(mine, fingerprints.Prints((fingerprints.FacePrint(0, 0.0, FAR),)))
    prints.link(mine)
    assert related.related_to(again).count == 0


def test_a_short_excerpt_of_a_long_recording(organization):
    """Of a long recording only some marks are asked for."""
    long = with_sound(item(organization), start=0, count=1500)
    excerpt = with_sound(item(organization), start=7, count=40, first=1200)
    assert reasons(long) == {excerpt: ("same_sound",)}


def test_queries(organization, django_assert_num_queries):
    mine = with_face(item(organization, sha256="ab" * 32, phash="0f0f0f0f0f0f0f0f"), ONE)
    for _ in range(4):
        prints.link(with_face(item(organization, sha256="ab" * 32), ONE))
    with django_assert_num_queries(3):  # same bytes, hashes, links
        assert related.related_to(mine).count == 4
