"""Exchanging the master key: everything opens before, during and after, and nothing is left under the old one."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from django.core.management import CommandError, call_command

from accounts.api_keys import create_api_key, signing_secret
from accounts.models import ApiKey, Organization
from deepfake import master_keys, rotation, sealing, storage
from detection.models import Feedback, IdempotencyKey, Media
from tests import factories
from tests.deepfake.serving import ROOT, Serving, database_url, environment, manage, migrate
from tests.deepfake.test_storage import bucket as bucket

ORGANIZATION = uuid.UUID(int=7)


def seal_first_format(secret: bytes, context: str) -> bytes:
    """As the first release sealed: straight under the master key, without naming it."""
    nonce = os.urandom(12)
    cipher = sealing.AESGCM(master_keys.current().secret)
    return nonce + cipher.encrypt(nonce, secret, b"sealed:" + context.encode())


def run(**options: Any) -> list[str]:
    said: list[str] = []

    class Out:
        def write(self, text: str) -> None:
            said.append(text.rstrip("\n"))

    call_command("rotate_master_key", stdout=Out(), **options)
    return said


def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "SETTLED_AFTER_S", 0)


def test_everything_is_wrapped_anew_and_opens(organization: Organization) -> None:
    job = factories.make_job(organization=organization, status="completed")
    feedback = Feedback.objects.create(job=job, label="fake", notes="Told by a neighbour.")
    Media.objects.filter(pk=job.media_id).update(
        info=Media._meta.get_field("info").sealed_for(job.media_id, {"metadata": {"Artist": "A. Painter"}})
    )
    key, _ = create_api_key(organization=organization, scopes=["detect:read"])
    secret = signing_secret(key)
    old = master_keys.current().id
    ApiKey.objects.filter(pk=key.pk).update(signing_secret=seal_first_format(secret, key.prefix))
    content = storage.read_range(job.media.storage_name, 0, 10**6)

    said = run()

    new = master_keys.current().id
    assert new != old
    assert storage.key_id_of(job.media.storage_name) == new
    assert storage.read_range(job.media.storage_name, 0, 10**6) == content
    assert Feedback.objects.get(pk=feedback.pk).notes == "Told by a neighbour."
    assert Media.objects.get(pk=job.media_id).info == {"metadata": {"Artist": "A. Painter"}}
    key.refresh_from_db()
    assert sealing.key_id(bytes(key.signing_secret)) == new
    assert signing_secret(key) == secret
    found = rotation.look()
    assert (found.elsewhere, found.under(old), found.broken) == (0, 0, [])
    assert any(line.startswith(new) and "current" in line for line in said)


def test_sealed_text_inside_json_is_found_too(organization: Organization) -> None:
    """As the second factor of sign-in keeps its secrets: base64 within a JSON column."""
    sealed = base64.b64encode(storage.seal(b"JBSWY3DP", context="totp")).decode()
    job = factories.make_job(organization=organization, status="completed")
    result = factories.make_result(job, details={"secrets": [{"seed": sealed}], "other": "REZTMnothing"})
    run()
    result.refresh_from_db()
    fresh = base64.b64decode(result.details["secrets"][0]["seed"])
    assert sealing.key_id(fresh) == master_keys.current().id
    assert storage.unseal(fresh, context="totp") == b"JBSWY3DP"
    assert result.details["other"] == "REZTMnothing"


def test_a_key_is_retired_only_when_nothing_needs_it(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(monkeypatch)
    name = storage.save_encrypted("media", b"content", organization_id=organization.id)
    before = Path(storage.storages["default"].path(f"data-keys/{name}")).read_bytes()
    old = master_keys.current().id
    run()
    Path(storage.storages["default"].path(f"data-keys/{name}")).write_bytes(before)  # written late, under the old key
    with pytest.raises(CommandError, match="1 objects and values still need it"):
        run(retire=old)
    assert storage.read_range(name, 0, 10) == b"content"
    run()
    run_again = master_keys.current().id
    run(retire=old)
    assert not master_keys.ring_file(old).exists()
    assert storage.read_range(name, 0, 10) == b"content"
    with pytest.raises(CommandError, match="current"):
        run(retire=run_again)
    with pytest.raises(CommandError, match="no earlier master key"):
        run(retire=old)


def test_a_key_is_not_retired_while_requests_of_its_time_may_run(organization: Organization) -> None:
    old = master_keys.current().id
    run()
    with pytest.raises(CommandError, match="less than 10 minutes ago"):
        run(retire=old)


def test_status_changes_nothing(organization: Organization) -> None:
    storage.save_encrypted("media", b"content", organization_id=organization.id)
    before = master_keys.current().id
    said = run(status=True)
    assert master_keys.current().id == before
    assert any(line.startswith(before) and " 1 " in line for line in said)


def test_every_place_of_the_house_where_secrets_are_sealed(
    organization: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second factor (behind a word of its own), an answer kept for a repeat (hex), and a webhook's secret (bytes)."""
    settled(monkeypatch)
    user = factories.make_user(organization, "eve")
    factor = Authenticator.objects.create(
        user=user, type="totp", data={"secret": get_adapter().encrypt("JBSWY3DPEHPK3PXP")}
    )
    sealed = storage.seal(b'{"job": 1}', context="answer").hex()
    kept = IdempotencyKey.objects.create(
        organization=organization, owner="user:1", key="k", request_hash="0" * 64, response_status=202,
        response_body=sealed,
    )  # fmt: skip
    old = master_keys.current().id
    run()
    run(retire=old)
    factor.refresh_from_db()
    kept.refresh_from_db()
    assert get_adapter().decrypt(factor.data["secret"]) == "JBSWY3DPEHPK3PXP"
    assert kept.response_body != sealed
    assert storage.unseal(bytes.fromhex(kept.response_body), context="answer") == b'{"job": 1}'


@pytest.mark.parametrize("step", ["ring", "state", "exchange"])
def test_broken_off_at_any_step_it_is_taken_up(
    organization: Organization, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    name = storage.save_encrypted("media", b"content", organization_id=organization.id)
    original, calls = master_keys.write_privately, 0
    dies_at = {"ring": 2, "state": 3, "exchange": 4}[step]

    def dying(path: Path, content: bytes) -> None:
        nonlocal calls
        calls += 1
        if calls == dies_at:
            raise KeyboardInterrupt
        original(path, content)

    monkeypatch.setattr(master_keys, "write_privately", dying)
    with pytest.raises(KeyboardInterrupt):
        rotation.rotate()
    monkeypatch.setattr(master_keys, "write_privately", original)
    assert storage.read_range(name, 0, 10) == b"content"
    run()
    assert storage.key_id_of(name) == master_keys.current().id
    assert storage.read_range(name, 0, 10) == b"content"


def test_two_rotations_at_a_time_are_refused(organization: Organization) -> None:
    with rotation._alone(), pytest.raises(CommandError, match="Another rotation"):
        run()


def test_an_object_destroyed_meanwhile_stays_destroyed(data_dir: Path) -> None:
    """The rotation has read the key when it is destroyed: it must not write it back."""
    name = storage.save_encrypted("media", b"content", organization_id=ORGANIZATION)
    path = data_dir / "objects" / "data-keys" / name
    rotation.begin()
    with storage._held(path) as file:
        assert file is not None
        other = threading.Thread(target=storage.destroy, args=[name])
        other.start()
        time.sleep(0.2)
        assert path.exists()  # destroy waits for us
        path.with_name(f".{path.name}").write_bytes(file.read())
        os.replace(path.with_name(f".{path.name}"), path)
    other.join(5)
    assert not path.exists()
    assert storage.rewrap(name) is False
    assert list(path.parent.iterdir()) == []


def test_left_over_of_a_killed_rotation_goes_with_the_object(data_dir: Path) -> None:
    name = storage.save_encrypted("media", b"content", organization_id=ORGANIZATION)
    path = data_dir / "objects" / "data-keys" / name
    path.with_name(f".{path.name}").write_bytes(path.read_bytes())
    assert list(storage.all_names()) == [name]
    storage.destroy(name)
    assert list(path.parent.iterdir()) == []


def test_on_a_bucket(bucket: Any, organization: Organization) -> None:
    name = storage.save_encrypted("media", b"content", organization_id=organization.id)
    old = storage.key_id_of(name)
    run()
    assert storage.key_id_of(name) == master_keys.current().id != old
    assert storage.read_range(name, 0, 10) == b"content"
    storage.destroy(name)
    assert storage.rewrap(name) is False if storage.exists(name) else True
    assert "Contents" not in bucket.list_objects_v2(Bucket="media")


# Other sources --------------------------------------------------------------------------------------------------------


def test_key_from_the_environment(organization: Organization, settings: Any) -> None:
    one, two = (base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2))
    settings.MASTER_KEY = one
    name = storage.save_encrypted("media", b"content", organization_id=organization.id)
    assert storage.key_id_of(name) == master_keys.id_of(b"\1" * 32)
    assert not Path(settings.MASTER_KEY_FILE).exists()
    settings.MASTER_KEY, settings.MASTER_KEYS_OLD = two, [one]
    assert storage.read_range(name, 0, 10) == b"content"
    run()
    settings.MASTER_KEYS_OLD = []
    assert storage.read_range(name, 0, 10) == b"content"
    settings.MASTER_KEY = one
    with pytest.raises(storage.StorageError, match="another master key"):
        storage.read_range(name, 0, 10)


def test_from_a_file_to_the_environment(organization: Organization, settings: Any) -> None:
    name = storage.save_encrypted("media", b"content", organization_id=organization.id)
    settings.MASTER_KEY = base64.b64encode(b"\3" * 32).decode()
    assert storage.read_range(name, 0, 10) == b"content"  # the file is a key of before
    run()
    Path(settings.MASTER_KEY_FILE).unlink()
    assert storage.read_range(name, 0, 10) == b"content"


@pytest.mark.parametrize("text", ["short", "!!!", base64.b64encode(b"x" * 31).decode()])
def test_a_key_that_is_none_is_said(settings: Any, text: str) -> None:
    settings.MASTER_KEY = text
    with pytest.raises(storage.StorageError, match="MASTER_KEY must be 32 random bytes in base64"):
        master_keys.current()


class CountingService:
    """A key management service as tests need it: XOR with a fixed pad, and it counts."""

    unwrapped = 0

    def key_id(self) -> str:
        return "test-key-1"

    def wrap(self, key: bytes, context: bytes) -> bytes:
        assert context == master_keys.KMS_CONTEXT
        return bytes(byte ^ 0x5A for byte in key) + b"tag"

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        assert context == master_keys.KMS_CONTEXT
        if not wrapped.endswith(b"tag"):
            raise ValueError("not wrapped by this service")
        CountingService.unwrapped += 1
        return bytes(byte ^ 0x5A for byte in wrapped[:-3])


def test_key_that_a_service_wraps(organization: Organization, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MASTER_KEY_KMS = "tests.deepfake.test_rotation.CountingService"
    name = storage.save_encrypted("media", b"content", organization_id=organization.id)
    stored = json.loads(Path(settings.MASTER_KEY_FILE).read_text())
    assert stored["kms_key"] == "test-key-1"
    assert master_keys.current().secret not in base64.b64decode(stored["wrapped"])
    asked = CountingService.unwrapped
    for _ in range(5):
        assert storage.read_range(name, 0, 10) == b"content"
    assert CountingService.unwrapped == asked  # once per process, not per object
    run()
    assert storage.read_range(name, 0, 10) == b"content"
    assert all(b"kms_key" in path.read_bytes() for path in master_keys.ring_folder().glob("*.key"))
    settings.MASTER_KEY_KMS = ""
    with pytest.raises(storage.StorageError, match="Set MASTER_KEY_KMS"):
        storage.read_range(name, 0, 10)


def test_a_service_that_cannot_be_imported_is_said(settings: Any) -> None:
    settings.MASTER_KEY_KMS = "nowhere.Service"
    with pytest.raises(storage.StorageError, match="MASTER_KEY_KMS names nothing"):
        master_keys.current()


def test_the_documented_example_works(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_WRAPPING_KEY", base64.b64encode(b"\7" * 32).decode())
    settings.MASTER_KEY_KMS = "deepfake.kms_example.WrappingKey"
    key = master_keys.current()
    assert Path(settings.MASTER_KEY_FILE).read_bytes() != key.secret
    assert master_keys._unwrapped(Path(settings.MASTER_KEY_FILE).read_bytes(), Path("x")) == key.secret
    monkeypatch.setenv("KEY_WRAPPING_KEY", base64.b64encode(b"\x08" * 32).decode())
    with pytest.raises(storage.StorageError, match="cannot open it"):
        master_keys._unwrapped(Path(settings.MASTER_KEY_FILE).read_bytes(), Path("x"))


def test_new_key_can_be_used() -> None:
    said = run(new_key=True)
    assert len(base64.b64decode(said[0])) == 32


def test_sealed_values_of_before_still_open() -> None:
    sealed = seal_first_format(b"secret", "dfk_1")
    assert storage.unseal(sealed, context="dfk_1") == b"secret"
    with pytest.raises(storage.StorageError):
        storage.unseal(sealed, context="dfk_2")


def test_every_altered_byte_of_a_sealed_value_is_found() -> None:
    sealed = storage.seal(b"secret", context="row")
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(storage.StorageError):
            storage.unseal(bytes(changed), context="row")


# With a live server ---------------------------------------------------------------------------------------------------


@pytest.mark.services
@pytest.mark.timeout(600)
def test_rotation_killed_and_repeated_under_traffic(tmp_path: Path) -> None:
    """A live server uploads and streams; a rotation is killed with -9 midway and another brings it to its end."""
    with database_url(tmp_path) as url:
        variables = environment(tmp_path, url)
        migrate(variables)
        prepared = manage(variables, "shell", "-c", PREPARE).strip().splitlines()[-1]
        token, session, old = json.loads(prepared)
        server = Serving(variables, "--role", "web")
        try:
            server.first_line()
            stop, failures, names = threading.Event(), [], []
            traffic = [
                threading.Thread(target=_traffic, args=(server, token, session, stop, failures, names))
                for _ in range(2)
            ]
            for thread in traffic:
                thread.start()
            _wait_until(lambda: len(names) > 3 or failures)
            _kill_midway(variables)
            first = json.loads((tmp_path / "keys" / "master.key.ring" / "rotation.json").read_text())
            manage(variables, "rotate_master_key")
            before = len(names)
            _wait_until(lambda: len(names) > before + 2 or failures)
            stop.set()
            for thread in traffic:
                thread.join(60)
            said = manage(variables, "rotate_master_key", "--status")
        finally:
            server.stop()
    assert failures == []
    state = json.loads((tmp_path / "keys" / "master.key.ring" / "rotation.json").read_text())
    assert first["to"] == state["to"]  # the second one took up the first
    assert state["finished_at"]
    (row,) = [line for line in said.splitlines() if line.startswith(old)]
    assert row.split()[1:] == ["0", "0"]


PREPARE = """
import json, sys
from accounts.api_keys import create_api_key
from accounts.services import create_organization
from deepfake import master_keys, storage
one = create_organization(name="Live")
for number in range(400):
    storage.save_encrypted("seed", b"x" * 100, organization_id=one.id)
_, text = create_api_key(organization=one, scopes=["detect:read", "detect:write"])

from django.contrib.auth import SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY
from accounts.sessions import SessionStore
from accounts.services import create_user
user = create_user(organization=one, username="eve", password="correct horse battery staple", role="analyst")
session = SessionStore()
session[SESSION_KEY], session[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
session[BACKEND_SESSION_KEY] = "accounts.backends.MemberBackend"
session.save()
print(json.dumps([text, session.session_key, master_keys.current().id]))
"""


def _traffic(
    server: Serving, token: str, session: str, stop: threading.Event, failures: list[str], names: list[str]
) -> None:
    """Send a picture and stream it and the first one back by ranges, again and again."""
    picture = factories.png_bytes(400, 300)
    boundary = "boundary"
    body = (
        (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n'
            "Content-Type: image/png\r\n\r\n"
        ).encode()
        + picture
        + f"\r\n--{boundary}--\r\n".encode()
    )
    headers = {"Authorization": f"Bearer {token}", "Content-Type": f"multipart/form-data; boundary={boundary}"}
    while not stop.is_set():
        connection = server.connect()
        connection.request("POST", "/v1/media", body, headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 201:
            failures.append(f"{answer.status} {said[:300]!r}")
            return
        names.append(json.loads(said)["media_id"])
        for name in (names[0], names[-1]):
            path = f"/media/{uuid.UUID(name.removeprefix('med_'))}/file"
            connection.request("GET", path, headers={"Cookie": f"sessionid={session}", "Range": "bytes=10-99"})
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != 206 or said != picture[10:100]:
                failures.append(f"{answer.status} {said[:300]!r}")
                return
        connection.close()


def _kill_midway(variables: dict[str, str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "manage.py", "rotate_master_key"], cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    process.stdout.readline()  # "The current master key is …": it has begun
    process.send_signal(signal.SIGKILL)
    process.wait(30)


def _wait_until(condition: Any, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.1)
