"""Cancel, run again, delete: what happens, and who may."""

from __future__ import annotations

import re

import pytest
from django.urls import reverse

from deepfake import storage
from detection.models import Job, JobStatus, Media, ThresholdProfile
from tests import factories
from tests.pages.finished import make_finished

pytestmark = pytest.mark.services


def url_of(job: Job, action: str) -> str:
    return reverse(f"detection:{action}", args=[job.id])


def test_cancel_a_waiting_job(client, alice, organization):
    job = factories.make_job(organization=organization)
    client.force_login(alice)
    assert client.post(url_of(job, "cancel")).headers["Location"] == job.get_absolute_url()
    job.refresh_from_db()
    assert job.status == JobStatus.CANCELLED


def test_cancel_what_has_ended(client, alice, organization):
    job = factories.make_job(organization=organization, status=JobStatus.FAILED)
    client.force_login(alice)
    response = client.post(url_of(job, "cancel"))
    assert response.status_code == 409
    assert "already ended" in response.content.decode()


def test_run_again(client, alice, organization):
    job = make_finished(organization, alice)
    client.force_login(alice)
    response = client.post(url_of(job, "rerun"))
    again = Job.objects.exclude(pk=job.pk).get()
    assert response.headers["Location"] == again.get_absolute_url()
    assert (again.media_id, again.status) == (job.media_id, JobStatus.QUEUED)


def test_run_again_with_another_profile_and_the_full_test(client, alice, organization):
    strict = ThresholdProfile.objects.create(organization=organization, name="strict", fake_at=0.9, real_below=0.1)
    job = make_finished(organization, alice)
    client.force_login(alice)
    page = client.get(job.get_absolute_url()).content.decode()
    assert "strict: real below 10" in page
    client.post(url_of(job, "rerun"), {"threshold_profile": "strict", "stability": "full"})
    again = Job.objects.exclude(pk=job.pk).get()
    assert (again.threshold_profile, again.stability) == (strict, "full")
    client.post(url_of(again, "rerun"), {})  # the plain button repeats it as it was
    third = Job.objects.exclude(pk__in=[job.pk, again.pk]).get()
    assert (third.threshold_profile, third.stability) == (strict, "full")
    client.post(url_of(third, "rerun"), {"threshold_profile": "", "stability": "cheap"})
    last = Job.objects.exclude(pk__in=[job.pk, again.pk, third.pk]).get()
    assert (last.threshold_profile, last.stability) == (None, "cheap")


def test_profiles_of_others_are_neither_shown_nor_taken(client, alice, organization, other_organization):
    ThresholdProfile.objects.create(organization=other_organization, name="theirs", fake_at=0.9, real_below=0.1)
    job = make_finished(organization, alice)
    client.force_login(alice)
    assert "theirs" not in client.get(job.get_absolute_url()).content.decode()
    assert client.post(url_of(job, "rerun"), {"threshold_profile": "theirs"}).status_code == 400
    assert client.post(url_of(job, "rerun"), {"stability": "enormous"}).status_code == 400
    assert Job.objects.count() == 1


def test_the_full_test_says_about_what_it_costs(client, alice, organization):
    """The run without its short test, and six looks of the check that counts: as it is and in five ways."""
    job = make_finished(organization, alice)
    job.result.details["seconds"] = {"total": 10.0, "stability": 2.0, "spatial": 1.5, "frequency": 40.0}
    job.result.save()
    client.force_login(alice)
    assert "about 17 seconds of computing" in client.get(job.get_absolute_url()).content.decode()


def test_the_full_test_is_offered_once(client, alice, vera, organization):
    job = make_finished(organization, alice)
    client.force_login(alice)
    assert "Test it fully" in client.get(job.get_absolute_url()).content.decode()
    job.result.details["stability"]["full"] = True
    job.result.save()
    page = client.get(job.get_absolute_url()).content.decode()
    assert "Test it fully" not in page
    assert "full test" in page


def test_the_next_step_of_an_open_verdict_starts_the_full_test(client, alice, organization):
    job = make_finished(organization, alice, label="inconclusive")
    client.force_login(alice)
    steps = client.get(job.get_absolute_url()).text.partition('class="next-steps"')[2].partition("</ul>")[0]
    [address] = re.findall(r'<form method="post" action="([^"]+/rerun/)"', steps)
    assert client.post(address, {"stability": "full"}).status_code == 302
    assert Job.objects.exclude(pk=job.pk).get().stability == "full"
    assert 'name="stability" value="full"' in steps


def test_delete_asks_first_and_then_destroys_the_key(client, alice, organization):
    job = make_finished(organization, alice)
    stored = job.media.storage_name
    client.force_login(alice)
    assert "Nobody can bring them back" in client.get(url_of(job, "delete")).content.decode()
    assert storage.exists(stored)
    response = client.post(url_of(job, "delete"), follow=True)
    assert "was deleted" in response.content.decode()
    assert not Media.objects.exists()
    assert not storage.exists(stored)


@pytest.mark.parametrize("action", ["cancel", "rerun", "delete"])
def test_who_may_not(client, alice, vera, charlie, organization, action):
    job = make_finished(organization, alice)
    url = url_of(job, action)
    assert client.post(url).status_code == 302
    client.force_login(charlie)
    assert client.post(url).status_code == 404
    client.force_login(vera)
    response = client.post(url)
    assert response.status_code == 403
    assert "Your role (viewer)" in response.content.decode()
    assert Job.objects.count() == 1


@pytest.mark.parametrize("action", ["cancel", "rerun"])
def test_wrong_method(client, alice, organization, action):
    job = make_finished(organization, alice)
    client.force_login(alice)
    assert client.get(url_of(job, action)).status_code == 405


def test_a_viewer_is_offered_none_of_it(client, vera, alice, organization):
    job = make_finished(organization, alice)
    client.force_login(vera)
    page = client.get(job.get_absolute_url()).content.decode()
    for action in ("cancel", "rerun", "delete"):
        assert url_of(job, action) not in page
    assert "Report (PDF)" in page
