"""Which profile an item gets: rules against items, then rows against uploads."""

from __future__ import annotations

import pytest

from detection.models import ThresholdProfile
from detection.profile_matching import Item, Rule, choose, item_of, profile_for, profiles_for
from tests import factories


def rule(name: str, **asked: object) -> Rule:
    return Rule(name=name, fake_at=0.8, real_below=0.2, **asked)  # type: ignore[arg-type]


SHIPPED = [rule(f"default_{kind}", is_own=False) for kind in ("image", "video", "audio")]
RULES = [
    *SHIPPED,
    rule("clips", kind="video"),
    rule("h264", codec="h264"),
    rule("newsdesk", host="example.org"),
    rule("newsdesk_video", host="video.example.org"),
    rule("tiktok", platform="tiktok"),
    rule("tiktok_clips", platform="tiktok", kind="video"),
    rule("by_name"),
]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (Item("image"), "default_image"),
        (Item("audio", "elsewhere.org"), "default_audio"),
        (Item("video"), "clips"),
        (Item("video", "", frozenset({"h264", "mp4"})), "h264"),
        (Item("image", "example.org"), "newsdesk"),
        (Item("image", "www.example.org"), "newsdesk"),
        (Item("image", "notexample.org"), "default_image"),
        (Item("video", "video.example.org", frozenset({"h264"})), "newsdesk_video"),
        (Item("video", "cdn.video.example.org"), "newsdesk_video"),
        (Item("image", "www.tiktok.com"), "tiktok"),
        (Item("video", "v16.tiktokcdn.com"), "tiktok_clips"),
        (Item("video", "tiktok.com.example.net"), "clips"),
    ],
)
def test_the_most_exact_rule_that_fits(item, expected):
    found = choose(RULES, item)
    assert found is not None
    assert found.name == expected
    assert choose(list(reversed(RULES)), item) == found


def test_a_rule_that_asks_for_nothing_fits_nothing():
    assert choose([rule("by_name")], Item("video", "example.org", frozenset({"h264"}))) is None


def test_an_own_default_stands_in_the_place_of_the_shipped_one(db, organization, other_organization):
    media = factories.make_media(organization)
    assert profile_for(media).organization is None
    own = ThresholdProfile.objects.create(
        organization=organization, name="default_image", kind="image", fake_at=0.9, real_below=0.1
    )
    assert profile_for(media) == own
    assert profile_for(factories.make_media(other_organization)).organization is None
    assert [row.name for row in profiles_for(organization)].count("default_image") == 1


def test_what_a_row_says_of_an_item(db, organization):
    media = factories.make_media(
        organization,
        kind="video",
        source_url="https://WWW.Example.org:8443/clip?x=1",
        mime_type="video/mp4",
        info={"container": "mp4", "video_codec": "H264", "audio_codec": None},
    )
    assert item_of(media) == Item("video", "www.example.org", frozenset({"mp4", "h264"}))


def test_an_upload_gets_the_profile_of_its_rule(db, organization, alice, run_next):
    from detection import services
    from tests.detection.conftest import upload

    own = ThresholdProfile.objects.create(
        organization=organization, name="pngs", codec="png", fake_at=0.97, real_below=0.02
    )
    services.submit_and_start(organization=organization, actor=alice, file=upload(), filename="portrait.png")
    assert run_next().threshold_profile == own
