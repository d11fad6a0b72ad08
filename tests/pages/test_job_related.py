"""The page of what belongs together."""

from __future__ import annotations

import pytest
from django.urls import reverse

from detection import related
from detection.models import Job, Media, MediaLink
from tests.pages.finished import make_finished

pytestmark = pytest.mark.services


def page_of(client, job: Job) -> str:
    response = client.get(reverse("detection:related", args=[job.id]))
    assert response.status_code == 200
    return response.content.decode()


def apart(job: Job, name: str) -> Job:
    """An item that shares nothing with the others."""
    Media.objects.filter(pk=job.media_id).update(sha256=name[0] * 64, phash="", filename=name)
    return job


def test_what_shares_something_is_listed_with_its_reasons(client, alice, organization):
    job = make_finished(organization, alice)
    twin = make_finished(organization, alice)
    portrait = apart(make_finished(organization, alice, kind="image", label="real"), "cut-out.png")
    stranger = apart(make_finished(organization, alice, kind="audio"), "distant.wav")
    MediaLink.objects.create(media=job.media, other=portrait.media, reason="same_face")
    client.force_login(alice)
    page = page_of(client, job)
    relatives, sent = page.split("Sent by the same account")
    assert "2 items" in relatives
    assert relatives.index(twin.get_absolute_url()) < relatives.index(portrait.get_absolute_url())
    assert "Same file" in relatives
    assert "Same picture of a face" in relatives
    assert stranger.get_absolute_url() not in relatives
    assert stranger.get_absolute_url() in sent
    assert twin.get_absolute_url() not in sent


def test_the_analysis_links_here_with_the_number(client, alice, organization):
    job = make_finished(organization, alice)
    client.force_login(alice)
    url = reverse("detection:related", args=[job.id])
    assert url not in client.get(job.get_absolute_url()).content.decode()
    make_finished(organization, alice)
    page = client.get(job.get_absolute_url()).content.decode()
    assert url in page
    assert "Related (1)" in page


def test_nothing_related_says_what_to_send(client, alice, organization):
    job = make_finished(organization, alice)
    client.force_login(alice)
    page = page_of(client, job)
    assert "Nothing yet" in page
    assert "Nobody is recognised" in page


def test_only_of_the_own_organisation(client, alice, charlie, organization, other_organization):
    job = make_finished(organization, alice)
    theirs = make_finished(other_organization, charlie)
    client.force_login(alice)
    assert theirs.get_absolute_url() not in page_of(client, job)


def test_a_viewer_may_look(client, vera, alice, organization):
    job = make_finished(organization, alice)
    client.force_login(vera)
    assert "What belongs together" in page_of(client, job)


@pytest.mark.parametrize("count", [1, 5])
def test_queries_do_not_grow(client, alice, organization, django_assert_num_queries, count):
    job = make_finished(organization, alice, kind="image")
    for number in range(count):
        make_finished(organization, alice, kind="image")
        apart(make_finished(organization, alice, kind="image"), f"{number}.png")
    client.force_login(alice)
    # session, user, organisation, job, same bytes, hashes, links, same sender and how many, relatives
    with django_assert_num_queries(11):
        page_of(client, job)


def test_more_of_the_same_sender_are_a_link_away(client, alice, organization):
    job = make_finished(organization, alice)
    for number in range(related.SHOWN_OF_SENDER + 1):
        apart(make_finished(organization, alice, kind="audio"), f"{number:x}-other.wav")
    client.force_login(alice)
    address = f"/?uploader={alice.pk}&amp;sandbox=with"
    assert f'href="{address}"' in page_of(client, job)
    Job.objects.filter(media__filename__startswith="0-").delete()
    assert f'href="{address}"' not in page_of(client, job)
