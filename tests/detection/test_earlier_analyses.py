"""The same item seen before in the same organisation is found again."""

from __future__ import annotations

from typing import Any

import pytest

from detection import services
from tests import factories

pytestmark = [pytest.mark.services, pytest.mark.django_db]

PHASH = "9f3ac4d5b6e70812"


def analysed(organization: Any, **fields: Any) -> Any:
    return factories.make_job(organization=organization, media=factories.make_media(organization, **fields))


def test_same_bytes(organization: Any) -> None:
    earlier = analysed(organization, sha256="aa" * 32, phash="")
    media = factories.make_media(organization, sha256="aa" * 32, phash="")
    assert list(services.earlier_analyses(media)) == [earlier]


def test_picture_that_looks_the_same(organization: Any) -> None:
    alike = analysed(organization, sha256="aa" * 32, phash=f"{int(PHASH, 16) ^ 0b111111:016x}")
    analysed(organization, sha256="bb" * 32, phash=f"{int(PHASH, 16) ^ 0b1111111:016x}")
    media = factories.make_media(organization, sha256="cc" * 32, phash=PHASH)
    assert list(services.earlier_analyses(media)) == [alike]


def test_flat_pictures_are_not_alike(organization: Any) -> None:
    analysed(organization, sha256="aa" * 32, phash="8000000000000000")
    media = factories.make_media(organization, sha256="cc" * 32, phash="8000000000000000")
    assert not services.earlier_analyses(media).exists()


def test_other_kinds_and_organisations_are_left_out(organization: Any, other_organization: Any) -> None:
    analysed(other_organization, sha256="cc" * 32, phash=PHASH)
    analysed(organization, sha256="dd" * 32, phash=PHASH, kind="video")
    media = factories.make_media(organization, sha256="cc" * 32, phash=PHASH)
    assert not services.earlier_analyses(media).exists()


def test_own_jobs_are_not_earlier_ones(organization: Any) -> None:
    job = analysed(organization, sha256="aa" * 32)
    assert not services.earlier_analyses(job.media).exists()


def test_item_not_fetched_yet_has_none(organization: Any) -> None:
    analysed(organization, sha256="", phash="")
    media = factories.make_media(organization, sha256="", phash="")
    assert not services.earlier_analyses(media).exists()
