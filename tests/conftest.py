"""The cast: alice (analyst) and bob (reviewer) work together, vera only looks, charlie belongs to someone else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.core.cache import cache
from django.core.files.storage import storages
from django.db import connection
from django.db.backends.base.operations import BaseDatabaseOperations

from accounts import audit_triggers
from accounts.api_keys import create_api_key
from accounts.models import ApiKey, Organization, Role, User
from deepfake import rate_limits
from detection.models import Job, Media
from review.models import ReviewSettings
from tests import factories, migrated

_SESSION_DIR = Path(settings.DATA_DIR)


def pytest_unconfigure() -> None:
    if _SESSION_DIR.name.startswith("deepfake-tests-"):  # the default of a test run, nobody's data
        shutil.rmtree(_SESSION_DIR, ignore_errors=True)


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Every test has folders and keys of its own."""
    folder = tmp_path / "data"
    (folder / "tmp").mkdir(parents=True)
    monkeypatch.setattr(settings, "DATA_DIR", folder)
    monkeypatch.setattr(settings, "SPOOL_DIR", folder / "tmp")
    monkeypatch.setattr(settings, "FILE_UPLOAD_TEMP_DIR", folder / "tmp")
    monkeypatch.setattr(settings, "MASTER_KEY_FILE", folder / "keys" / "master.key")
    default = storages["default"]
    if hasattr(default, "_location"):
        default._location = str(folder / "objects")
        for cached in ("base_location", "location"):
            default.__dict__.pop(cached, None)
    cache.clear()
    rate_limits.forget()
    yield folder
    cache.clear()
    rate_limits.forget()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """Begin with the database that the migrations made once, instead of running them before every test run."""
    if connection.vendor == "sqlite":
        connection.creation.create_test_db = _create_from_migrated  # type: ignore[method-assign]
    else:
        connection.settings_dict["TEST"]["TEMPLATE"] = migrated.migrated_on_postgresql(os.environ["DATABASE_URL"])


def _create_from_migrated(
    verbosity: int = 1, autoclobber: bool = False, serialize: bool = True, keepdb: bool = False
) -> str:
    creation = connection.creation
    name: str = creation._get_test_db_name()
    creation._create_test_db(verbosity, autoclobber, keepdb)
    connection.close()
    settings.DATABASES["default"]["NAME"] = connection.settings_dict["NAME"] = name
    connection.ensure_connection()
    migrated.load_into(connection.connection)
    return name


@pytest.fixture(autouse=True, scope="session")
def _flush_may_empty_the_audit_log() -> Iterator[None]:
    """Tests with real transactions empty all tables afterwards; the append-only triggers step aside for that alone."""
    original = BaseDatabaseOperations.execute_sql_flush

    def flush(self: BaseDatabaseOperations, sql_list: Iterable[str]) -> None:
        audit_triggers.remove(self.connection)
        original(self, sql_list)
        audit_triggers.install(self.connection)

    BaseDatabaseOperations.execute_sql_flush = flush  # type: ignore[method-assign]
    yield
    BaseDatabaseOperations.execute_sql_flush = original  # type: ignore[method-assign]


@pytest.fixture
def organization(db: None) -> Organization:
    return Organization.objects.create(name="Example Newsroom", slug="example")


@pytest.fixture
def review_settings(organization: Organization) -> ReviewSettings:
    """Nothing at random: tests that want a sample say so."""
    return ReviewSettings.objects.create(organization=organization, audit_rate=0, second_opinion_rate=0)


@pytest.fixture
def other_organization(db: None) -> Organization:
    return Organization.objects.create(name="Somebody Else", slug="else")


@pytest.fixture
def alice(organization: Organization) -> User:
    return factories.make_user(organization, "alice", Role.ANALYST)


@pytest.fixture
def bob(organization: Organization) -> User:
    return factories.make_user(organization, "bob", Role.REVIEWER)


@pytest.fixture
def vera(organization: Organization) -> User:
    return factories.make_user(organization, "vera", Role.VIEWER)


@pytest.fixture
def viewer(vera: User) -> User:
    return vera


@pytest.fixture
def administrator(organization: Organization) -> User:
    return factories.make_user(organization, "ada", Role.ADMIN)


@pytest.fixture
def charlie(other_organization: Organization) -> User:
    return factories.make_user(other_organization, "charlie", Role.ANALYST)


@pytest.fixture
def api_key_and_text(organization: Organization) -> tuple[ApiKey, str]:
    return create_api_key(organization=organization, scopes=["detect:read", "detect:write"], name="tests")


@pytest.fixture
def api_key(api_key_and_text: tuple[ApiKey, str]) -> ApiKey:
    return api_key_and_text[0]


@pytest.fixture
def bearer(api_key_and_text: tuple[ApiKey, str]) -> dict[str, str]:
    """Headers for django.test.Client: client.get(url, headers=bearer)."""
    return {"Authorization": f"Bearer {api_key_and_text[1]}"}


@pytest.fixture
def outsider_bearer(other_organization: Organization) -> dict[str, str]:
    _, text = create_api_key(organization=other_organization, scopes=["detect:read", "detect:write"])
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def media(organization: Organization, alice: User) -> Media:
    return factories.make_media(organization, uploaded_by=alice)


@pytest.fixture
def job(organization: Organization, alice: User) -> Job:
    return factories.make_job(organization=organization, created_by=alice)
