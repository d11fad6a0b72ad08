"""Media, thumbnails and artifacts: ranges, access, signatures."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse

from detection import artifacts
from tests import factories
from tests.pages.finished import make_finished

pytestmark = pytest.mark.services

CONTENT = bytes(range(256)) * 40


async def body(response) -> bytes:
    return b"".join([part async for part in response.streaming_content])


@pytest.fixture
def stored(organization):
    return factories.make_media(organization, content=CONTENT, filename='odd "name".mp4', mime_type="video/mp4")


def file_url(media) -> str:
    return reverse("detection:media_file", args=[media.id])


@pytest.mark.django_db(transaction=True)
async def test_a_player_can_seek(async_client, alice, stored):
    await async_client.aforce_login(alice)
    response = await async_client.get(file_url(stored), headers={"Range": "bytes=300-309"})
    assert response.status_code == 206
    assert response.headers["Content-Range"] == f"bytes 300-309/{len(CONTENT)}"
    assert await body(response) == CONTENT[300:310]


@pytest.mark.django_db(transaction=True)
async def test_the_original_downloads_under_its_name(async_client, alice, stored):
    await async_client.aforce_login(alice)
    response = await async_client.get(file_url(stored) + "?original=1")
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert await body(response) == CONTENT


@pytest.mark.django_db(transaction=True)
async def test_the_playable_copy_is_what_is_shown(async_client, alice, organization, stored):
    from deepfake import storage

    stored.rendition_name = storage.save_encrypted("rendition", b"playable", organization_id=organization.id)
    stored.rendition_mime_type = "video/mp4"
    await stored.asave()
    await async_client.aforce_login(alice)
    assert await body(await async_client.get(file_url(stored))) == b"playable"
    assert await body(await async_client.get(file_url(stored) + "?original=1")) == CONTENT


@pytest.mark.parametrize("name", ["media_file", "thumbnail"])
def test_files_of_others_do_not_exist(client, charlie, alice, organization, name):
    media = make_finished(organization, alice).media
    url = reverse(f"detection:{name}", args=[media.id])
    assert client.get(url).status_code == 302
    client.force_login(charlie)
    assert client.get(url).status_code == 404
    client.force_login(alice)
    assert client.get(url).status_code == 200
    assert client.post(url).status_code == 405


def test_an_item_that_was_never_fetched_has_no_file(client, alice, organization):
    media = factories.make_media(organization, storage_name="")
    client.force_login(alice)
    assert client.get(file_url(media)).status_code == 404
    assert client.get(reverse("detection:thumbnail", args=[media.id])).status_code == 404


def test_artifact_addresses_open_only_as_signed(client, alice, charlie, organization):
    file = make_finished(organization, alice).result.artifacts.first()
    good = artifacts.signed_path(file)
    assert client.get(good).status_code == 200  # whoever was given the link, for as long as it lasts
    assert client.get(good[:-1] + ("0" if good[-1] != "0" else "1")).status_code == 403
    assert client.get(good.split("?")[0]).status_code == 403
    expired = artifacts.signed_path(file, lifetime=timedelta(seconds=-1))
    response = client.get(expired)
    assert response.status_code == 403
    assert "expired" in response.content.decode()
    client.force_login(charlie)
    assert client.get(good).status_code == 404
    assert client.post(good).status_code == 405
