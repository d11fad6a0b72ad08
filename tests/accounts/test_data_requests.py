"""What people may ask of their data: exports that hold it, erasures that leave nothing, and who may ask."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.core.management import CommandError, call_command
from django.utils import timezone

from accounts import audit, consent, data_requests, roles
from accounts.models import AuditLog, Consent, DataRequest, ScimUser, User
from accounts.permissions import Permission
from deepfake import storage
from deepfake.errors import DomainError
from detection import holds
from detection.models import Job, Media, SavedView
from review.models import Mention, Note
from tests import factories
from tests.detection.test_retention import finished, names_of

Kind, About, Status = DataRequest.Kind, DataRequest.About, DataRequest.Status


def carried_out(**wish: Any) -> DataRequest:
    request = data_requests.ask(**wish)
    data_requests.run(str(request.pk))
    request.refresh_from_db()
    return request


def opened(request: DataRequest) -> zipfile.ZipFile:
    with storage.open_decrypted(request.archive_name) as file:
        content = file.read()
    assert hashlib.sha256(content).hexdigest() == request.archive_sha256
    return zipfile.ZipFile(io.BytesIO(content))


def about_person(organization: Any, administrator: Any, kind: Any, job: Job, **wanted: Any) -> dict[str, Any]:
    return {
        "organization": organization,
        "actor": administrator,
        "kind": kind,
        "about": About.PERSON,
        "subject": "Letter 7, A. Miller",
        "wanted": {"jobs": [str(job.pk)], "sha256": []} | wanted,
    }


# Export ---------------------------------------------------------------------------------------------------------------


def test_export_of_a_member(organization, administrator, alice):
    job = finished(organization, created_by=alice)
    other = finished(organization, created_by=administrator)
    consent.give(organization=organization, purpose="submit_media", user=alice, evidence={"page": "/analyses/"})
    audit.record(action="job.started", organization=organization, actor=alice, target=job)
    request = carried_out(
        organization=organization, actor=administrator, kind=Kind.EXPORT, about=About.MEMBER, member=alice
    )
    assert request.status == Status.DONE, request.message
    archive = opened(request)
    account = json.loads(archive.read("account/account.json"))
    assert (account["username"], account["email"]) == ("alice", "alice@example.org")
    assert "job.started" in archive.read("account/actions.json").decode()
    (given,) = json.loads(archive.read("account/consents.json"))
    assert (given["purpose"], given["evidence"]) == ("submit_media", {"page": "/analyses/"})
    folder = f"media/{job.media.public_id}"
    facts = json.loads(archive.read(f"{folder}/{job.public_id}.json"))
    assert facts["result"]["label"] == "fake"
    assert facts["media"]["info"]["metadata"]["Artist"] == "A. Painter"
    assert archive.read(f"{folder}/original.png") == factories.png_bytes()
    assert archive.read(facts["result"]["pictures"][0]) == factories.png_bytes()
    assert not any(other.media.public_id in name for name in archive.namelist())


def test_export_of_a_person_in_media(organization, administrator):
    job, other = finished(organization), finished(organization)
    Media.objects.filter(pk=other.media_id).update(sha256="cd" * 32)
    request = carried_out(**about_person(organization, administrator, Kind.EXPORT, job, sha256=["cd" * 32]))
    names = opened(request).namelist()
    assert {f"media/{one.media.public_id}/{one.public_id}.json" for one in (job, other)} <= set(names)
    assert "A. Miller" in opened(request).read("README.json").decode()


def test_download_runs_out_and_is_destroyed(client, organization, administrator):
    job = finished(organization)
    request = carried_out(**about_person(organization, administrator, Kind.EXPORT, job))
    client.force_login(administrator)
    answer = client.get(f"/settings/data-requests/{request.pk}/archive")
    assert hashlib.sha256(b"".join(answer.streaming_content)).hexdigest() == request.archive_sha256
    assert AuditLog.objects.filter(action="privacy.export_downloaded").count() == 1
    assert data_requests.tidy() == 0
    DataRequest.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert client.get(f"/settings/data-requests/{request.pk}/archive").status_code == 410
    assert data_requests.tidy() == 1
    assert not storage.exists(request.archive_name)
    assert "its time was over" in client.get(request.get_absolute_url()).content.decode()


# Erasure --------------------------------------------------------------------------------------------------------------


def test_erasure_of_a_person_in_media_is_proven(organization, administrator, capsys):
    job, kept = finished(organization), finished(organization)
    Media.objects.filter(pk=kept.media_id).update(sha256="ef" * 32)
    names = names_of(job)
    request = carried_out(**about_person(organization, administrator, Kind.ERASE, job))
    assert request.status == Status.DONE, request.message
    assert not Job.objects.filter(pk=job.pk).exists()
    assert not Media.objects.filter(pk=job.media_id).exists()
    assert not any(storage.exists(name) for name in names)
    assert storage.exists(kept.media.storage_name)
    row = AuditLog.objects.get(action="privacy.erased")
    assert sorted(row.details["object_name_digests"]) == sorted(
        hashlib.sha256(name.encode()).hexdigest() for name in names
    )
    assert row.details["rows"] == {"detection.Job": 1, "detection.Media": 1}
    assert "Miller" not in json.dumps(row.details)
    assert audit.verify() is None
    call_command("verify_erasure", request.public_id)
    assert "2 rows and 3 stored objects are gone" in capsys.readouterr().out


def test_what_looks_alike_goes_too(organization, administrator):
    one, alike, other = (finished(organization) for _ in range(3))
    Media.objects.filter(pk=one.media_id).update(sha256="11" * 32, phash="0f" * 8, look=one.media_id)
    Media.objects.filter(pk=alike.media_id).update(sha256="22" * 32, phash="0f" * 7 + "0e", look=alike.media_id)
    Media.objects.filter(pk=other.media_id).update(sha256="33" * 32, phash="a5" * 8, look=other.media_id)
    carried_out(**about_person(organization, administrator, Kind.ERASE, one, alike=True))
    assert list(Job.objects.values_list("pk", flat=True)) == [other.pk]


def test_verification_finds_what_came_back(organization, administrator):
    job = finished(organization)
    name = job.media.storage_name
    key = storage.storages["default"].path(f"data-keys/{name}")
    with open(key, "rb") as file:
        content = file.read()
    request = carried_out(**about_person(organization, administrator, Kind.ERASE, job))
    assert data_requests.verify(request) == []
    with open(key, "wb") as file:
        file.write(content)
    with pytest.raises(CommandError, match="1 stored objects can still be opened"):
        call_command("verify_erasure", request.public_id)
    storage.destroy(name)
    request.counts = {"analyses": 5}
    request.save()
    with pytest.raises(CommandError, match="something else"):
        call_command("verify_erasure", request.public_id)


def test_broken_off_erasure_is_taken_up_with_a_whole_proof(organization, administrator, monkeypatch):
    one, two = finished(organization), finished(organization)
    names = [*names_of(one), *names_of(two)]
    wish = about_person(organization, administrator, Kind.ERASE, one)
    wish["wanted"]["jobs"].append(str(two.pk))
    request = data_requests.ask(**wish)
    original, calls = storage.destroy, []

    def dying(name: str) -> None:
        calls.append(name)
        if len(calls) == 5:
            raise KeyboardInterrupt
        original(name)

    monkeypatch.setattr(storage, "destroy", dying)
    with pytest.raises(KeyboardInterrupt):
        data_requests.run(str(request.pk))
    monkeypatch.setattr(storage, "destroy", original)
    data_requests.run(str(request.pk))
    request.refresh_from_db()
    assert request.status == Status.RUNNING  # another worker may still be at it
    DataRequest.objects.update(claimed_at=timezone.now() - timedelta(hours=1))
    data_requests.run(str(request.pk))
    request.refresh_from_db()
    assert request.status == Status.DONE, request.message
    assert request.proof["objects"] == sorted(hashlib.sha256(name.encode()).hexdigest() for name in names)
    assert data_requests.verify(request) == []


def test_what_is_on_hold_stays_and_is_said(organization, administrator):
    job, free = finished(organization), finished(organization)
    holds.set_hold(job=job, actor=administrator, reason="File 1")
    wish = about_person(organization, administrator, Kind.ERASE, job)
    wish["wanted"]["jobs"].append(str(free.pk))
    request = carried_out(**wish)
    assert request.status == Status.PARTLY, request.message
    assert "1 analyses on legal hold stay" in request.kept[0]
    assert storage.exists(job.media.storage_name)
    assert not Job.objects.filter(pk=free.pk).exists()
    assert data_requests.verify(request) == []


def test_erasure_of_a_member(client, organization, administrator, alice, bob):
    job = finished(organization, created_by=alice)
    EmailAddress.objects.create(user=alice, email=alice.email, primary=True)
    SavedView.objects.create(organization=organization, owner=alice, name="Mine")
    case = make_case(job)
    note = Note.objects.create(case=case, author=alice, text="Looked at it.")
    Mention.objects.create(note=note, user=alice)
    client.force_login(alice)
    audit.record(action="job.started", organization=organization, actor=alice, target=job)
    given = consent.give(organization=organization, purpose="submit_media", user=alice, evidence={"ip": "192.0.2.1"})
    request = carried_out(
        organization=organization, actor=administrator, kind=Kind.ERASE, about=About.MEMBER, member=alice
    )
    assert request.status == Status.PARTLY, request.message
    alice.refresh_from_db()
    assert (alice.username, alice.email, alice.is_active) == (f"erased-{alice.pk}", "", False)
    assert not EmailAddress.objects.exists()
    assert not SavedView.objects.exists()
    assert not Mention.objects.exists()
    assert Note.objects.get().text == "Looked at it."
    assert Consent.objects.get(pk=given.pk).evidence == {}
    assert Job.objects.filter(pk=job.pk).exists()
    assert client.get("/").status_code == 302  # signed out
    assert audit.verify() is None
    assert AuditLog.objects.filter(actor=alice, action="job.started").exists()
    assert data_requests.verify(request) == []
    alice.username = "alice"
    alice.save()
    assert "still carries a name" in data_requests.verify(request)[0]


def test_erasure_of_a_member_with_what_they_sent(organization, administrator, alice):
    job, other = finished(organization, created_by=alice), finished(organization, created_by=administrator)
    carried_out(
        organization=organization,
        actor=administrator,
        kind=Kind.ERASE,
        about=About.MEMBER,
        member=alice,
        wanted={"uploads": True},
    )
    assert list(Job.objects.values_list("pk", flat=True)) == [other.pk]
    assert not storage.exists(job.media.storage_name)


def make_case(job: Job) -> Any:
    from review.models import ReviewCase

    return ReviewCase.objects.create(
        organization=job.organization, job=job, reason="manual", due_at=timezone.now() + timedelta(days=1)
    )


# Asking ---------------------------------------------------------------------------------------------------------------


def test_refusals(organization, other_organization, administrator, alice, charlie):
    common = {"organization": organization, "actor": administrator}
    with pytest.raises(DomainError, match="own account"):
        data_requests.ask(**common, kind=Kind.ERASE, about=About.MEMBER, member=administrator)
    with pytest.raises(DomainError, match="member of your organisation"):
        data_requests.ask(**common, kind=Kind.EXPORT, about=About.MEMBER, member=charlie)
    foreign = finished(other_organization)
    with pytest.raises(DomainError, match="No analysis of your organisation"):
        data_requests.ask(**about_person(organization, administrator, Kind.EXPORT, foreign))
    with pytest.raises(DomainError, match="does not include"):
        data_requests.ask(organization=organization, actor=alice, kind=Kind.EXPORT, about=About.MEMBER, member=alice)
    assert not DataRequest.objects.exists()


@pytest.fixture
def clerk(organization, administrator, vera):
    """Looks after privacy, and may otherwise only look."""
    office = roles.create_role(
        organization=organization, name="Office", permissions=["privacy.manage", "media.view"], actor=administrator
    )
    roles.set_role(member=vera, custom_role=office, actor=administrator)
    return vera


def erasure(organization, actor, member) -> dict[str, Any]:
    return {"organization": organization, "actor": actor, "kind": Kind.ERASE, "about": About.MEMBER, "member": member}


def test_nobody_erases_above_themselves(client, organization, administrator, clerk, alice):
    """Neither who may do more, nor the last who holds every right, nor an operator of the installation."""
    operator = factories.make_user(organization, "root", "viewer", is_superuser=True)
    client.force_login(clerk)
    for member, words in ((administrator, "may do more than you"), (alice, "may do more"), (operator, "operator of")):
        sent = {"about": "member", "member": member.pk, "kind": "erase", "sure": "on"}
        refused = client.post("/settings/data-requests/", sent)
        assert (refused.status_code, words in refused.text) == (400, True), member
        member.refresh_from_db()
        assert member.is_active
    with pytest.raises(DomainError, match="operator of the installation"):
        data_requests.ask(**erasure(organization, administrator, operator))
    assert not DataRequest.objects.exists()
    low = factories.make_user(organization, "low", "viewer")
    assert carried_out(**erasure(organization, clerk, low)).status == Status.PARTLY
    everything = roles.create_role(
        organization=organization, name="Board", permissions=list(Permission), actor=administrator
    )
    roles.set_role(member=clerk, custom_role=everything, actor=administrator)
    roles.set_role(member=administrator, role="viewer", actor=administrator)
    administrator.refresh_from_db()
    User.objects.filter(pk=clerk.pk).update(is_active=False)  # a request of somebody who was switched off meanwhile
    last = factories.make_user(organization, "last", "admin")
    with pytest.raises(DomainError, match="is the last who holds every right"):
        data_requests.ask(**erasure(organization, clerk, last))


def test_an_erasure_is_refused_when_the_rights_have_changed_since(organization, administrator, clerk, alice):
    low, other = (factories.make_user(organization, name, "viewer") for name in ("low", "other"))
    for change in ({"role": "analyst"}, {"is_staff": True}, {"is_superuser": True}):
        request = data_requests.ask(**erasure(organization, clerk, low))
        User.objects.filter(pk=low.pk).update(**change)
        data_requests.run(str(request.pk))
        request.refresh_from_db()
        assert request.status == Status.FAILED, change
        low.refresh_from_db()
        assert (low.username, low.is_active) == ("low", True)
        User.objects.filter(pk=low.pk).update(role="viewer", is_staff=False, is_superuser=False)
        low.refresh_from_db()
    assert not AuditLog.objects.filter(action="privacy.erased").exists()
    # Between the plan and the transaction that empties the account, too.
    request = data_requests.ask(**erasure(organization, clerk, other))
    stale = DataRequest.objects.select_related("organization", "member", "requested_by").get(pk=request.pk)
    assert stale.member.role == "viewer"
    User.objects.filter(pk=other.pk).update(role="admin")
    with pytest.raises(DomainError, match="may do more"):
        data_requests.Accounts().erase(stale)
    other.refresh_from_db()
    assert (other.username, other.is_active) == ("other", True)


def test_a_broken_off_erasure_of_a_member_is_taken_up(organization, administrator, alice, monkeypatch):
    """The account is emptied first; what comes after it must not ask whether it may be."""
    request = data_requests.ask(**erasure(organization, administrator, alice))
    monkeypatch.setattr(data_requests, "remains", lambda request: 1 / 0)
    data_requests.run(str(request.pk))
    monkeypatch.undo()
    roles.set_role(member=factories.make_user(organization, "second", "admin"), role="admin", actor=None)
    roles.set_role(member=administrator, role="viewer", actor=None)
    DataRequest.objects.update(status=Status.QUEUED)
    data_requests.run(str(request.pk))
    request.refresh_from_db()
    assert request.status == Status.PARTLY, request.message


def test_the_page_asks_and_shows(client, organization, administrator, alice):
    job = finished(organization)
    client.force_login(administrator)
    page = "/settings/data-requests/"
    assert client.get(page).status_code == 200
    refused = client.post(page, {"about": "member", "kind": "erase", "member": alice.pk})
    assert refused.status_code == 400
    assert "cannot be brought back" in refused.content.decode()
    refused = client.post(page, {"about": "person", "kind": "export", "subject": "M", "named": "what?"})
    assert "neither the id of an analysis" in refused.content.decode()
    named = f"https://example.org/analyses/{job.pk}/\n{'ab' * 32}, {job.public_id}"
    asked = client.post(page, {"about": "person", "kind": "export", "subject": "A. Miller", "named": named})
    request = DataRequest.objects.get()
    assert asked.url == request.get_absolute_url()
    assert request.wanted == {"jobs": [str(job.pk)] * 2, "sha256": ["ab" * 32], "alike": False}
    data_requests.run(str(request.pk))
    shown = client.get(request.get_absolute_url()).content.decode()
    assert "Download the zip" in shown
    assert "A. Miller" in client.get(page).content.decode()


@pytest.mark.parametrize("path", ["", "{pk}/", "{pk}/archive"])
def test_who_may(client, organization, other_organization, administrator, bob, path):
    request = carried_out(**about_person(organization, administrator, Kind.EXPORT, finished(organization)))
    address = "/settings/data-requests/" + path.format(pk=request.pk)
    assert client.get(address).status_code == 302
    client.force_login(bob)
    assert client.get(address).status_code == 403
    client.force_login(factories.make_user(other_organization, "olga", "admin"))
    assert client.get(address).status_code == (404 if path else 200)
    client.force_login(administrator)
    assert client.delete(address).status_code == 405


def test_page_asks_few_questions(client, organization, administrator, django_assert_num_queries):
    for _ in range(3):
        data_requests.ask(**about_person(organization, administrator, Kind.EXPORT, finished(organization)))
    client.force_login(administrator)
    with django_assert_num_queries(6):
        client.get("/settings/data-requests/")


def test_command_says_what_is_wrong(organization, administrator):
    with pytest.raises(CommandError, match="looks like"):
        call_command("verify_erasure", "x")
    with pytest.raises(CommandError, match="no such request"):
        call_command("verify_erasure", "dsr_" + "0" * 32)
    request = data_requests.ask(**about_person(organization, administrator, Kind.EXPORT, finished(organization)))
    with pytest.raises(CommandError, match="no erasure"):
        call_command("verify_erasure", request.public_id)


def test_failure_is_said(organization, administrator, monkeypatch):
    monkeypatch.setattr(data_requests, "_export", lambda request: 1 / 0)
    request = carried_out(**about_person(organization, administrator, Kind.EXPORT, finished(organization)))
    assert (request.status, request.message) == (Status.FAILED, data_requests.FAILED)


def test_what_provisioning_and_browsers_left_of_a_member_goes(client, organization, administrator, alice):
    ScimUser.objects.create(organization=organization, user=alice, user_name="alice", emails=[{"value": alice.email}])
    client.force_login(alice)
    assert alice.sessions.exists()
    wish = {"organization": organization, "actor": administrator, "about": About.MEMBER, "member": alice}
    exported = opened(carried_out(**wish, kind=Kind.EXPORT))
    assert len(json.loads(exported.read("account/sessions.json"))) == 1
    key = alice.sessions.get().pk
    request = carried_out(**wish, kind=Kind.ERASE)
    assert not alice.sessions.exists()
    assert not ScimUser.objects.exists()
    assert key not in json.dumps(request.proof)
    assert data_requests.verify(request) == []
    assert client.get("/").status_code == 302


def test_the_page_follows_a_request_until_it_has_ended(client, organization, administrator, alice):
    found = data_requests.ask(
        organization=organization, actor=administrator, kind=Kind.EXPORT, about=About.MEMBER, member=alice
    )
    client.force_login(administrator)
    address = f"/settings/data-requests/{found.pk}/"
    assert f'data-refresh-url="{address}"' in client.get(address).text
    part = client.get(address, headers={"X-Requested-With": "fetch"}).text
    assert "<html" not in part
    assert "data-refresh-end" not in part
    data_requests.run(str(found.pk))
    assert "data-refresh-end" in client.get(address, headers={"X-Requested-With": "fetch"}).text
    assert "data-refresh-url" not in client.get(address).text
