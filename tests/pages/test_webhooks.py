"""The pages of webhooks: list, registration, one with its log, one delivery, and the buttons on them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditLog, Role
from detection import webhooks, webhooks_sending, webhooks_services
from detection.models import WebhookDelivery, WebhookEndpoint
from detection.webhook_models import SwitchedOff
from tests import factories
from tests.detection.conftest import local_servers as local_servers
from tests.detection.conftest import server as server
from tests.detection.web import LocalServer, Reply

pytestmark = [pytest.mark.django_db(transaction=True)]

LIST = "/settings/webhooks/"
SECRET = re.compile(r"whsec_[A-Za-z0-9+/]{43}=")


@pytest.fixture
def endpoint(organization: Any, local_servers: Any, server: LocalServer) -> WebhookEndpoint:
    server.replies["/hook"] = Reply(200, b"<b>taken</b>")
    return webhooks_services.create_endpoint(
        organization=organization, url=server.url("/hook"), events=["*"], description="Desk"
    )[0]


@pytest.fixture
def admin_client(client: Client, administrator: Any) -> Client:
    client.force_login(administrator)
    return client


def emit(organization: Any, number: int = 1) -> WebhookDelivery:
    payload = {"batch_id": f"bat_{number}"}
    (delivery,) = webhooks.emit(organization=organization, event="batch.completed", payload=payload)
    return delivery


def test_empty_list_says_what_to_do(admin_client: Client) -> None:
    page = admin_client.get(LIST).content.decode()
    assert "No webhook yet" in page
    assert reverse("detection:webhook_new") in page


def test_a_first_call_that_failed_is_told(admin_client: Client, endpoint: WebhookEndpoint, server: LocalServer) -> None:
    assert "Not called yet" in admin_client.get(LIST).content.decode()
    endpoint.last_failure_at = timezone.now()
    endpoint.save()
    page = admin_client.get(LIST).content.decode()
    assert "Not called yet" not in page
    assert "last call failed" in page


def test_list_shows_health_with_few_queries(
    admin_client: Client,
    organization: Any,
    endpoint: WebhookEndpoint,
    server: LocalServer,
    django_assert_num_queries: Any,
) -> None:
    emit(organization)
    webhooks_sending.deliver_due()
    for number in range(5):
        webhooks_services.create_endpoint(organization=organization, url=server.url(f"/{number}"), events=["*"])
    webhooks_sending.switch_off(WebhookEndpoint.objects.exclude(pk=endpoint.pk)[0], SwitchedOff.GONE)
    with django_assert_num_queries(6):  # session, member, organisation, webhooks, callbacks, the frame
        page = admin_client.get(LIST).content.decode()
    assert "Desk" in page
    assert "1 delivered, 0 failed, 0 under way" in page
    assert "Off: the receiver answered 410: it is gone" in page
    assert "Not called yet" in page


def test_registering_shows_the_secret_once(admin_client: Client, administrator: Any) -> None:
    sent = {"url": "https://app.example.org/h", "description": "Desk", "events": ["job.failed"]}
    answer = admin_client.post(LIST + "new/", sent)
    assert answer.status_code == 200
    endpoint = WebhookEndpoint.objects.get()
    assert SECRET.search(answer.content.decode())[0] == webhooks_services.secret_text(endpoint)
    assert "no-store" in answer["Cache-Control"]
    assert (endpoint.events, endpoint.created_by) == (["job.failed"], administrator)
    assert not SECRET.search(admin_client.get(endpoint.get_absolute_url()).content.decode())


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"url": "https://10.0.0.1/", "events": ["job.failed"]}, "private or internal network, which is never called"),
        ({"url": "http://app.example.org/", "events": ["job.failed"]}, "needs an https:// address"),
        ({"url": "https://app.example.org/"}, "Choose at least one event"),
        ({"url": "", "events": ["job.failed"]}, "Give the address"),
    ],
)
def test_what_is_refused_comes_back_with_what_was_typed(admin_client: Client, sent: Any, sentence: str) -> None:
    answer = admin_client.post(LIST + "new/", {**sent, "description": "Desk"})
    assert answer.status_code == 400
    assert sentence in answer.content.decode()
    assert 'value="Desk"' in answer.content.decode()
    assert not WebhookEndpoint.objects.exists()


def test_changing(admin_client: Client, endpoint: WebhookEndpoint) -> None:
    path = f"{endpoint.get_absolute_url()}change/"
    assert endpoint.url in admin_client.get(path).content.decode()
    answer = admin_client.post(path, {"url": endpoint.url + "2", "events": ["job.completed"], "description": ""})
    assert answer.status_code == 302
    endpoint.refresh_from_db()
    assert (endpoint.url[-1], endpoint.events, endpoint.description) == ("2", ["job.completed"], "")
    assert admin_client.post(path, {"url": "x", "events": ["job.completed"]}).status_code == 400


def test_secret_is_shown_on_request_and_the_log_says_to_whom(
    admin_client: Client, endpoint: WebhookEndpoint, administrator: Any
) -> None:
    page = admin_client.post(f"{endpoint.get_absolute_url()}secret/").content.decode()
    assert webhooks_services.secret_text(endpoint) in page
    assert AuditLog.objects.get(action="webhook.secret_shown").actor == administrator
    page = admin_client.post(f"{endpoint.get_absolute_url()}rotate/", {"overlap_hours": "24"}).content.decode()
    endpoint.refresh_from_db()
    assert webhooks_services.secret_text(endpoint) in page
    assert "Two are live" in page
    answer = admin_client.post(f"{endpoint.get_absolute_url()}rotate/", {"overlap_hours": "9"}, follow=True)
    assert "Say how long" in answer.content.decode()


def test_test_leads_to_the_delivery(admin_client: Client, endpoint: WebhookEndpoint, server: LocalServer) -> None:
    answer = admin_client.post(f"{endpoint.get_absolute_url()}test/", follow=True)
    page = answer.content.decode()
    assert "The receiver took it: 200" in page
    assert "&lt;b&gt;taken&lt;/b&gt;" in page, "what a receiver says is shown, not obeyed"
    assert "webhook.test" in page
    server.replies["/hook"] = Reply(500)
    page = admin_client.post(f"{endpoint.get_absolute_url()}test/", follow=True).content.decode()
    assert "The test did not arrive. The receiver answered 500." in page


def test_log_is_filtered_and_paged(
    admin_client: Client, organization: Any, endpoint: WebhookEndpoint, django_assert_num_queries: Any
) -> None:
    for number in range(52):
        emit(organization, number)
    WebhookDelivery.objects.update(delivered_at=timezone.now(), attempts=1)
    oldest = WebhookDelivery.objects.order_by("created_at").first()
    WebhookDelivery.objects.filter(pk=oldest.pk).update(
        delivered_at=None, gave_up_at=timezone.now(), last_error="It is gone (410)."
    )
    path = endpoint.get_absolute_url()
    with django_assert_num_queries(7):  # session, member, organisation, webhook, count, page, the frame
        page = admin_client.get(path).content.decode()
    assert page.count("/deliveries/") == 50
    assert "It is gone" not in page
    assert admin_client.get(path + "?page=2").content.decode().count("/deliveries/") == 2
    page = admin_client.get(path + "?state=failed").content.decode()
    assert page.count("/deliveries/") == 1
    assert "It is gone (410)." in page
    tomorrow = (timezone.now() + timedelta(days=2)).date().isoformat()
    assert "Nothing fits" in admin_client.get(path + f"?since={tomorrow}").content.decode()
    assert admin_client.get(path + "?state=x&event=y&since=z&page=q").status_code == 200


def test_delivery_shows_bodies_and_is_sent_again(
    admin_client: Client, organization: Any, endpoint: WebhookEndpoint, server: LocalServer
) -> None:
    delivery = emit(organization)
    server.replies["/hook"] = [Reply(500, b"oh no"), Reply(200, b"fine")]
    webhooks_sending.deliver_due()
    path = reverse("detection:webhook_delivery", args=[endpoint.pk, delivery.pk])
    page = admin_client.get(path).content.decode()
    for part in (delivery.public_id, "oh no", "bat_1", "webhook-signature: v1,", "&quot;signature&quot;", "Send now"):
        assert part in page
    answer = admin_client.post(f"{endpoint.get_absolute_url()}replay/", {"delivery": delivery.pk}, follow=True)
    assert "1 delivery is sent again." in answer.content.decode()
    webhooks_sending.deliver_due()
    page = admin_client.get(path).content.decode()
    assert "fine" in page
    assert "Delivered" in page
    assert "left no record" not in page
    delivery.log.filter(number=1).delete()
    assert "1 attempt left no record" in admin_client.get(path).content.decode()


def test_range_is_sent_again(admin_client: Client, organization: Any, endpoint: WebhookEndpoint) -> None:
    emit(organization)
    WebhookDelivery.objects.update(gave_up_at=timezone.now())
    path = f"{endpoint.get_absolute_url()}replay/"
    since = (timezone.now() - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M")
    page = admin_client.post(path, {"since": since, "state": "failed"}, follow=True).content.decode()
    assert "1 delivery is sent again." in page
    assert "Say from when on." in admin_client.post(path, {"state": "failed"}, follow=True).content.decode()
    admin_client.post(f"{endpoint.get_absolute_url()}switch/", {"to": "off"})
    page = admin_client.post(path, {"since": since, "state": "failed"}, follow=True).content.decode()
    assert "switched off" in page
    assert admin_client.post(path, {"delivery": "x"}).status_code == 404


def test_switching_and_deleting(admin_client: Client, endpoint: WebhookEndpoint) -> None:
    path = endpoint.get_absolute_url()
    admin_client.post(path + "switch/", {"to": "off"})
    assert "Off: switched off by a member" in admin_client.get(path).content.decode()
    admin_client.post(path + "switch/", {"to": "on"})
    endpoint.refresh_from_db()
    assert endpoint.is_enabled
    assert "Keep it" in admin_client.get(path + "delete/").content.decode()
    assert WebhookEndpoint.objects.exists()
    assert admin_client.post(path + "delete/").status_code == 302
    assert not WebhookEndpoint.objects.exists()


def test_callbacks_have_a_log_too(admin_client: Client, organization: Any, job: Any) -> None:
    row = WebhookDelivery.objects.create(
        organization=organization, job=job, event="job.failed", url="https://a.example.org/", body={"n": 1}
    )
    assert reverse("detection:webhook_callbacks") in admin_client.get(LIST).content.decode()
    path = reverse("detection:webhook_callback", args=[row.pk])
    assert path in admin_client.get(LIST + "callbacks/").content.decode()
    assert row.public_id in admin_client.get(path).content.decode()


ACTIONS = ("secret/", "rotate/", "switch/", "test/", "replay/")


def test_who_may_look_and_press(
    client: Client, organization: Any, other_organization: Any, endpoint: WebhookEndpoint, job: Any, alice: Any
) -> None:
    delivery = emit(organization)
    called_back = WebhookDelivery.objects.create(
        organization=organization, job=job, event="job.failed", url="https://a.example.org/", body={}
    )
    own = endpoint.get_absolute_url()
    pages = [own, own + "change/", own + "delete/", f"{own}deliveries/{delivery.pk}/"]
    pages.append(f"{LIST}callbacks/{called_back.pk}/")
    everywhere = [LIST, LIST + "new/", LIST + "callbacks/"]
    for path in pages + everywhere:
        assert client.get(path).status_code == 302, "anonymous"
    for action in ACTIONS:
        assert client.post(own + action).status_code == 302
    client.force_login(alice)
    for path in pages + everywhere:
        assert client.get(path).status_code == 403, path
    for action in ACTIONS:
        assert client.post(own + action).status_code == 403
    client.force_login(factories.make_user(other_organization, "olga", Role.ADMIN))
    for path in pages:
        assert client.get(path).status_code == 404, path
    for action in ACTIONS:
        assert client.post(own + action, {"to": "off", "overlap_hours": "0"}).status_code == 404
    for path in ("change/", "delete/"):
        assert client.post(own + path).status_code == 404
    assert "Desk" not in client.get(LIST).content.decode()
    client.force_login(factories.make_user(organization, "anna", Role.ADMIN))
    for action in ACTIONS:
        assert client.get(own + action).status_code == 405
    for path in (LIST, own):
        assert client.post(path).status_code == 405


def test_the_page_says_which_addresses_are_taken(admin_client: Client, settings: Any) -> None:
    settings.FETCH_ALLOW_PRIVATE = False
    assert "Public and https." in admin_client.get(LIST + "new/").content.decode()
    settings.FETCH_ALLOW_PRIVATE = True
    page = admin_client.get(LIST + "new/").content.decode()
    assert "Public and https." not in page
    assert "http or https, also on a private network" in page


def test_a_webhook_that_is_off_says_that_it_can_be_tested(admin_client: Client, endpoint: WebhookEndpoint) -> None:
    words = "A test is sent all the same"
    assert words not in admin_client.get(endpoint.get_absolute_url()).content.decode()
    webhooks_sending.switch_off(endpoint, SwitchedOff.GONE)
    assert words in admin_client.get(endpoint.get_absolute_url()).content.decode()
