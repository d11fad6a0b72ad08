"""What people see when something is refused or breaks: a page in our own look that says what to do."""

from __future__ import annotations

import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, RequestFactory

from deepfake import error_views
from detection import holds
from tests import factories


def test_not_found(client, alice):
    client.force_login(alice)
    response = client.get("/nowhere")
    assert response.status_code == 404
    page = response.content.decode()
    assert "Nothing here" in page
    assert response.headers["X-Request-ID"] in page


@pytest.mark.parametrize(
    ("method", "path", "allowed", "words"),
    [("get", "/analyses/", "POST", "has no page of its own"), ("post", "/review/", "GET", "takes nothing")],
)
def test_an_address_that_is_asked_the_wrong_way_is_no_blank_page(client, alice, method, path, allowed, words):
    client.force_login(alice)
    response = getattr(client, method)(path)
    assert response.status_code == 405
    assert allowed in response["Allow"]
    assert words in response.text
    assert "To the analyses" in response.text


@pytest.mark.services
def test_a_form_that_has_expired(alice):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    response = client.post("/analyses/", {"url": "https://example.org/a.png"})
    assert response.status_code == 403
    page = response.content.decode()
    assert "reload the page and send it again" in page
    assert "The form was not taken" in page
    assert "administrator" not in page


def test_a_refusal_says_its_sentence_as_the_heading_with_its_status(client, administrator, organization):
    job = factories.make_job(organization=organization)
    holds.set_hold(job=job, reason="A court asked.", actor=administrator)
    client.force_login(administrator)
    response = client.post(f"/analyses/{job.pk}/delete/")
    assert response.status_code == 409
    page = response.content.decode()
    assert re.search(r"<h1>[^<]*legal hold", page)
    assert "Error 409" in page
    assert "could not be read" not in page


@pytest.mark.services
def test_too_large_a_file(client, alice, settings):
    settings.MAX_UPLOAD_BYTES = 1_000
    client.force_login(alice)
    response = client.post("/analyses/", {"files": SimpleUploadedFile("a.png", b"x" * 3_000_000)})
    assert response.status_code == 413
    assert "Cut out the part that matters" in response.content.decode()


def test_a_fault_of_ours_needs_no_database_to_be_told():
    response = error_views.server_error(RequestFactory().get("/"))
    assert response.status_code == 500
    page = response.content.decode()
    assert "Something went wrong on our side" in page
    assert "To the analyses" in page
