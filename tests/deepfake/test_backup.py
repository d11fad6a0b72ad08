"""Backup, check, restore, and the way from an earlier release to this one, as commands of real installations."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from deepfake import sealed_files, storage
from tests.deepfake.serving import ROOT, database_url, environment, manage, migrate

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]

SEED = """
import json
from accounts.api_keys import create_api_key, signing_secret
from accounts.services import create_organization, create_user
from accounts import audit
from deepfake import storage
from detection.models import Feedback, Job, Media
one = create_organization(name="House")
user = create_user(organization=one, username="clerkofrecords", password="correct horse battery staple", role="analyst")
key, text = create_api_key(organization=one, scopes=["detect:read"])
name = storage.save_encrypted("media", b"the content" * 20000, organization_id=one.id)
media = Media.objects.create(organization=one, uploaded_by=user, filename="Porträt.png", storage_name=name,
                             kind="image", info={"metadata": {"Artist": "A. Painter"}})
job = Job.objects.create(organization=one, media=media, status="completed", created_by=user)
Feedback.objects.create(job=job, label="fake", notes="Told by a neighbour.")
gone = storage.save_encrypted("media", b"destroyed", organization_id=one.id)
storage.destroy(gone)
"""
# A member who is signed in, and every kind of key; prints what must not stand in a backup.
SECRETS = """
import json
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.conf import settings
from accounts.models import MemberSession, User
from accounts.oauth import keys
from accounts.sessions import SessionStore
from deepfake import signing
user = User.objects.get()
session = SessionStore()
session[SESSION_KEY], session[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
session[BACKEND_SESSION_KEY] = "accounts.backends.MemberBackend"
session.save()
signing.signer()
keys.all_keys()
row = MemberSession.objects.get()
print(json.dumps([settings.SECRET_KEY, signing.key_file().read_text().splitlines()[1],
    next(keys.folder().glob("*.pem")).read_text().splitlines()[3], session.session_key, row.session_key,
    row.session_data, user.username, user.password]))
"""
SESSIONS = "from accounts.models import MemberSession; print(MemberSession.objects.count())"
BACK = """
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
class Steps(MigrationLoader):
    # One by one, as an earlier release had them: without those that bring a new database here at once.
    def load_disk(self):
        super().load_disk()
        self.disk_migrations = {key: one for key, one in self.disk_migrations.items() if not one.replaces}
executor = MigrationExecutor(connection)
executor.recorder.migration_qs.filter(name__contains="_squashed_").delete()
executor.loader = Steps(connection)
executor.migrate([
    ("review", "0002_decision_case_reviewer"),
    ("detection", "0006_threshold_proposals"),
    ("accounts", "0003_audit_target_index"),
])
with connection.cursor() as cursor:
    cursor.execute("SELECT info FROM detection_media")
    print(cursor.fetchone()[0])
"""
LOOK = """
import json
from accounts import audit
from accounts.models import ApiKey, User
from accounts.api_keys import signing_secret
from deepfake import storage
from detection.models import Feedback, Job, Media
from detection import search
media = Media.objects.get()
print(json.dumps({
    "info": media.info, "name": media.filename, "notes": Feedback.objects.get().notes,
    "content": storage.read_range(media.storage_name, 11 * 19999, 100).decode(),
    "key": len(signing_secret(ApiKey.objects.get())), "chain": audit.verify() is None,
    "found": len(search.look_up("portr", media.organization_id).media), "objects": len(list(storage.all_names())),
    "erased": media.erased_at, "user": User.objects.get().check_password("correct horse battery staple"),
}))
"""
EXPECTED = {
    "info": {"metadata": {"Artist": "A. Painter"}}, "name": "Porträt.png", "notes": "Told by a neighbour.",
    "content": "the content", "key": 64, "chain": True, "found": 1, "objects": 1, "erased": None, "user": True,
}  # fmt: skip


def last_line(text: str) -> Any:
    return json.loads(text.strip().splitlines()[-1])


def refused(variables: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout
    return done.stderr


@pytest.fixture
def houses(tmp_path: Path) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """Two installations: one with data, and an empty one."""
    with ExitStack() as stack:
        made = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            made.append(environment(tmp_path / name, stack.enter_context(database_url(tmp_path / name))))
        migrate(made[0])
        manage(made[0], "shell", "-c", SEED)
        yield made[0], made[1]


def test_there_and_back(houses: Any, tmp_path: Path) -> None:
    one, two = houses
    target, keys = tmp_path / "backup", tmp_path / "master-keys.json"
    said = manage(one, "backup", str(target), "--with-master-key", str(keys))
    assert "read again and whole" in said
    assert keys.stat().st_mode & 0o077 == 0
    stored = [path for path in target.rglob("*") if path.is_file()]
    master = (Path(one["DATA_DIR"]) / "keys" / "master.key").read_bytes()
    assert not any(master in path.read_bytes() or master.hex().encode() in path.read_bytes() for path in stored)
    assert not any("master" in path.name for path in stored)
    assert {path.relative_to(target).parts[0] for path in stored} >= {"objects", "data-keys", "keys", "manifest.json"}
    assert "Unchanged since it was made" in manage(one, "verify_backup", str(target))
    assert "Unchanged since it was made" in manage(two, "verify_backup", str(target), "--master-key", str(keys))
    told = manage(two, "verify_backup", str(target))
    assert "Whole:" in told
    assert "not origin" in told
    assert "not empty" in refused(one, "backup", str(target))
    assert "needs the master key" in refused(two, "restore", str(target))
    manage(two, "restore", str(target), "--master-key", str(keys))
    assert last_line(manage(two, "shell", "-c", LOOK)) == EXPECTED
    assert "not empty" in refused(two, "restore", str(target))


def test_stolen_backup_tells_nothing_and_opens_no_server(houses: Any, tmp_path: Path) -> None:
    """Keys of the server, sessions and the whole database are unreadable in it, and come back with the master key."""
    one, two = houses
    secrets = last_line(manage(one, "shell", "-c", SECRETS))
    target, keys = tmp_path / "backup", tmp_path / "master-keys.json"
    manage(one, "backup", str(target), "--with-master-key", str(keys))
    for path in target.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not [secret for secret in secrets if secret.encode() in content], path
    assert (target / "keys" / "secret_key").is_file()
    assert list((target / "keys" / "oauth").iterdir())
    assert not list((Path(one["DATA_DIR"]) / "tmp").iterdir())
    manage(two, "restore", str(target), "--master-key", str(keys))
    for path in ("secret_key", "report_signing.pem", "oauth/0.pem"):
        back, kept = (Path(house["DATA_DIR"]) / "keys" / path for house in (two, one))
        assert back.read_bytes() == kept.read_bytes()
        assert back.stat().st_mode & 0o077 == 0
    assert manage(one, "shell", "-c", SESSIONS).strip().endswith("1")
    assert manage(two, "shell", "-c", SESSIONS).strip().endswith("0")


def test_backup_that_was_changed_with_its_digests_is_refused(houses: Any, tmp_path: Path) -> None:
    one, two = houses
    target, keys = tmp_path / "backup", tmp_path / "master-keys.json"
    manage(one, "backup", str(target), "--with-master-key", str(keys))
    path = target / "manifest.json"
    text = path.read_text()

    def change(**more: Any) -> None:
        path.write_text(json.dumps(json.loads(text) | more))

    stored = target / "database.sealed"
    whole = stored.read_bytes()
    stored.write_bytes(whole[:-1] + b"x")
    facts = {"sha256": hashlib.sha256(stored.read_bytes()).hexdigest(), "bytes": len(whole)}
    change(files=json.loads(text)["files"] | {"database.sealed": facts})
    assert "changed after it was made" in refused(one, "verify_backup", str(target))
    assert "changed after it was made" in refused(two, "verify_backup", str(target), "--master-key", str(keys))
    assert "changed after it was made" in refused(two, "restore", str(target), "--master-key", str(keys))
    assert not (Path(two["DATA_DIR"]) / "keys" / "master.key").exists()
    stored.write_bytes(whole)
    change(mac=None)
    assert "lost its MAC" in refused(one, "verify_backup", str(target))
    change(mac=None, format=1)  # nor can it pass for one of an earlier release, unless somebody says so
    assert "no proof of its origin" in manage(one, "verify_backup", str(target))
    assert "--unproven" in refused(two, "restore", str(target), "--master-key", str(keys))


def test_backup_of_the_first_format_is_restored(houses: Any, tmp_path: Path) -> None:
    """As earlier releases wrote it: database and keys as they are, no MAC."""
    one, two = houses
    if not one["DATABASE_URL"].startswith("sqlite"):
        pytest.skip("what differs is how the database lies in it, and pg_dump's file needs no other way")
    target, keys = tmp_path / "backup", tmp_path / "master-keys.json"
    manage(one, "backup", str(target), "--with-master-key", str(keys))
    manifest = json.loads((target / "manifest.json").read_text())
    (target / "database.sealed").unlink()
    shutil.copy(one["DATABASE_URL"].removeprefix("sqlite:///"), target / "database.sqlite3")
    (target / "keys" / "secret_key").write_bytes((Path(one["DATA_DIR"]) / "keys" / "secret_key").read_bytes())
    kept = {path: facts for path, facts in manifest["files"].items() if path.startswith(("objects/", "data-keys/"))}
    for name in ("database.sqlite3", "keys/secret_key"):
        content = (target / name).read_bytes()
        kept[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    for path in set(manifest["files"]) - set(kept) - {"database.sealed"}:
        (target / path).unlink()
    del manifest["mac"]
    manifest |= {"format": 1, "files": kept, "database": manifest["database"] | {"file": "database.sqlite3"}}
    (target / "manifest.json").write_text(json.dumps(manifest))
    manage(two, "restore", str(target), "--master-key", str(keys), "--unproven")
    assert last_line(manage(two, "shell", "-c", LOOK)) == EXPECTED
    secrets = [(Path(house["DATA_DIR"]) / "keys" / "secret_key").read_bytes() for house in houses]
    assert secrets[0] == secrets[1]


def test_sealed_file_opens_whole_and_under_its_name_alone(settings: Any, tmp_path: Path) -> None:
    settings.MASTER_KEY_FILE = str(tmp_path / "master.key")
    for size in (0, 1, sealed_files.PIECE_BYTES, 2 * sealed_files.PIECE_BYTES + 5):
        sealed, opened = io.BytesIO(), io.BytesIO()
        sealed_files.seal_file(io.BytesIO(b"a" * size), sealed, context="one")
        content = sealed.getvalue()
        sealed_files.open_file(io.BytesIO(content), opened, context="one")
        assert opened.getvalue() == b"a" * size
        whole_piece = sealed_files.PIECE_BYTES + sealed_files.TAG_BYTES
        for broken in (content[:-1], content[:-whole_piece], content + b"x", b"", content[:-1] + b"x"):
            with pytest.raises(storage.StorageError):
                sealed_files.open_file(io.BytesIO(broken), io.BytesIO(), context="one")
        with pytest.raises(storage.StorageError):
            sealed_files.open_file(io.BytesIO(content), io.BytesIO(), context="two")


def test_backup_of_an_earlier_release_is_upgraded(houses: Any, tmp_path: Path) -> None:
    """The database as it was before personal columns were sealed, restored by the release of today."""
    one, two = houses
    plain = last_line(manage(one, "shell", "-c", BACK))
    assert plain == {"metadata": {"Artist": "A. Painter"}}
    target = tmp_path / "backup"
    manage(one, "backup", str(target))
    state = json.loads((target / "manifest.json").read_text())["database"]["migrations"]
    assert "detection.0006_threshold_proposals" in state
    assert "detection.0011_privacy" not in state
    (Path(two["DATA_DIR"]) / "keys").mkdir(exist_ok=True)
    (Path(two["DATA_DIR"]) / "keys" / "master.key").write_bytes(
        (Path(one["DATA_DIR"]) / "keys" / "master.key").read_bytes()
    )
    manage(two, "restore", str(target))
    assert last_line(manage(two, "shell", "-c", LOOK)) == EXPECTED


def test_damage_is_found(tmp_path: Path, houses: Any) -> None:
    from deepfake import backups

    one, _ = houses
    target = tmp_path / "backup"
    manage(one, "backup", str(target))
    backups.verify(target)
    stored = next(path for path in (target / "objects").rglob("*") if path.is_file())
    content = stored.read_bytes()
    stored.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(backups.BackupError, match="is not what it was"):
        backups.verify(target)
    stored.unlink()
    with pytest.raises(backups.BackupError, match="is missing"):
        backups.verify(target)
    stored.write_bytes(content)
    (target / "extra").write_bytes(b"x")
    with pytest.raises(backups.BackupError, match="not its own"):
        backups.verify(target)
    (target / "extra").unlink()
    manifest = target / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"keys/secret_key"', '"../../etc/passwd"'))
    with pytest.raises(backups.BackupError, match="outside of the backup"):
        backups.verify(target)
    manifest.write_text(text.replace('"format": 2', '"format": 9'))
    with pytest.raises(backups.BackupError, match="has the format 9"):
        backups.verify(target)
    manifest.unlink()
    assert "no whole backup" in refused(one, "verify_backup", str(target))
