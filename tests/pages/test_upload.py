"""Submitting from the page: many files, an address, with and without a script."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from detection.models import Job, Media
from tests import factories

pytestmark = pytest.mark.services

URL = "/analyses/"
SCRIPT = {"HTTP_ACCEPT": "application/json"}


def picture(name: str = "a.png", colour: tuple[int, int, int] = (1, 2, 3)) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, factories.png_bytes(colour=colour), "image/png")


def test_one_file_leads_to_its_analysis(client, alice):
    client.force_login(alice)
    response = client.post(URL, {"files": picture()})
    job = Job.objects.get()
    assert response.headers["Location"] == job.get_absolute_url()
    assert (job.created_by, job.media.filename, job.status) == (alice, "a.png", "queued")


def test_many_files_lead_back_to_the_list(client, alice):
    client.force_login(alice)
    response = client.post(URL, {"files": [picture(), picture("b.png", (9, 9, 9))]}, follow=True)
    assert Job.objects.count() == 2
    assert "2 analyses started." in response.content.decode()


def test_a_refused_file_does_not_stop_the_others(client, alice):
    client.force_login(alice)
    text = SimpleUploadedFile("notes.txt", b"just words", "text/plain")
    page = client.post(URL, {"files": [text, picture()]}, follow=True).content.decode()
    assert Job.objects.count() == 1
    assert "notes.txt:" in page


def test_an_empty_file_is_refused_with_a_sentence(client, alice):
    client.force_login(alice)
    page = client.post(URL, {"files": SimpleUploadedFile("empty.png", b"")}, follow=True).content.decode()
    assert "The file is empty" in page
    assert not Media.objects.exists()


def test_nothing_at_all(client, alice):
    client.force_login(alice)
    response = client.post(URL, {})
    assert response.status_code == 400
    assert "Choose at least one file" in response.content.decode()


def test_an_address_is_queued(client, alice):
    client.force_login(alice)
    client.post(URL, {"url": "https://example.org/clip.mp4"})
    assert Job.objects.get().media.source_url == "https://example.org/clip.mp4"


@pytest.mark.parametrize("address", ["http://127.0.0.1/a.png", "file:///etc/passwd", "not an address"])
def test_an_address_that_may_not_be_fetched(client, alice, address):
    client.force_login(alice)
    response = client.post(URL, {"url": address}, **SCRIPT)
    assert response.status_code == 400
    assert response.json()["detail"]
    assert not Job.objects.exists()


def test_the_script_gets_json(client, alice):
    client.force_login(alice)
    response = client.post(URL, {"files": picture()}, **SCRIPT)
    assert response.status_code == 201
    assert response.json()["url"] == Job.objects.get().get_absolute_url()


def test_the_script_gets_the_reason(client, alice):
    client.force_login(alice)
    response = client.post(URL, {"files": SimpleUploadedFile("a.png", b"no picture at all")}, **SCRIPT)
    assert response.status_code == 415
    assert response.json()["code"] == "unsupported_type"


def test_a_viewer_may_not(client, vera):
    client.force_login(vera)
    response = client.post(URL, {"files": picture()})
    assert response.status_code == 403
    assert "Your role (viewer) does not include: “Submit media" in response.content.decode()
    assert not Media.objects.exists()


def test_anonymous_and_wrong_method(client, alice):
    assert client.post(URL, {"files": picture()}).status_code == 302
    client.force_login(alice)
    assert client.get(URL).status_code == 405
    assert not Media.objects.exists()


@pytest.mark.parametrize(("code", "may_pass"), [("url_timeout", True), ("media_unreadable", False), ("", False)])
def test_an_open_page_is_told_whether_another_try_may_help(client, alice, organization, code, may_pass):
    job = factories.make_job(organization=organization, status="failed", failure_code=code)
    client.force_login(alice)
    [state] = client.get(URL + "states/", {"id": str(job.pk)}).json()["jobs"]
    assert state["may_pass"] is may_pass
