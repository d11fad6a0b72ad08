"""scim2-tester, the conversations of a standard client, against the whole service."""

from __future__ import annotations

from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from scim2_client.engines.wsgi import WSGISCIMClient
from scim2_models import ScimProvider
from scim2_tester import Status, check_server


def test_the_standard_conversations_find_nothing_wrong(text: str, settings, request):
    settings.PUBLIC_URL = "http://testserver"
    for signal in (request_started, request_finished):  # as Django's own test client does
        signal.disconnect(close_old_connections)
    request.addfinalizer(
        lambda: [signal.connect(close_old_connections) for signal in (request_started, request_finished)]
    )
    client = WSGISCIMClient(
        WSGIHandler(),
        base_url="http://testserver/scim/v2",
        environ={"HTTP_AUTHORIZATION": f"Bearer {text}"},
        provider=ScimProvider(),
    )
    results = check_server(client)
    wrong = [
        f"{r.status.name} {r.resource_type} {r.title}: {r.reason}"
        for r in results
        if r.status in (Status.ERROR, Status.CRITICAL, Status.DEVIATION)
    ]
    assert wrong == []
    assert len([r for r in results if r.status == Status.SUCCESS]) > 50
