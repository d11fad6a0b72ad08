"""What people see when something is refused or breaks: a page in our own look that says what to do."""

from __future__ import annotations

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client, RequestFactory

from deepfake import error_views


def test_not_found(client, alice):
    client.force_login(alice)
    response = client.get("/nowhere")
    assert response.status_code == 404
    page = response.content.decode()
    assert "Nothing here" in page
    assert response.headers["X-Request-ID"] in page


@pytest.mark.services
def test_a_form_that_has_expired(alice):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice)
    response = client.post("/analyses/", {"url": "https://example.org/a.png"})
    assert response.status_code == 403
    assert "reload the page and send it again" in response.content.decode()


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
