"""One account for an address and a user name; what an organisation has at most, when two come at once."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, connections, transaction

from accounts import api_keys, cors, members
from accounts.models import AllowedOrigin, ApiKey, Organization, Role, User
from accounts.scim import resources
from deepfake.errors import DomainError
from tests import factories
from tests.accounts.scim.conftest import Scim
from tests.accounts.scim.conftest import scim as scim
from tests.accounts.scim.conftest import text as text

USER = "urn:ietf:params:scim:schemas:core:2.0:User"
pytestmark = [pytest.mark.django_db, pytest.mark.services]


def blind_once(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    """What the first look misses: somebody who came in the same instant."""
    looks = iter([lambda *_, **__: None])
    real = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *given, **named: next(looks, real)(*given, **named))


@pytest.mark.parametrize(("field", "taken"), [("email", "Alice@Example.ORG"), ("username", "ALICE")])
def test_the_database_knows_letters_of_any_size(organization: Organization, alice: User, field: str, taken: str):
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.create(**({"username": "else", "email": ""} | {field: taken}), organization=organization)
    for number in range(2):
        User.objects.create(username=f"without{number}", email="", organization=organization)


@pytest.mark.parametrize(
    ("username", "email", "code"),
    [("ALICE", "", "username_taken"), ("second", "Alice@example.org", "email_taken")],
)
def test_of_two_invitations_in_one_instant_one_is_told(monkeypatch, organization, alice, username, email, code):
    blind_once(monkeypatch, members, "_check_names")
    with pytest.raises(DomainError) as refused:
        members.invite(organization=organization, username=username, email=email, role=Role.VIEWER, actor=None)
    assert refused.value.code == code


def test_provisioning_in_one_instant_with_an_invitation(monkeypatch, scim: Scim, alice: User):
    blind_once(monkeypatch, resources, "_check_free")
    answer = scim.post(
        "/Users", {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": "Alice@example.org"}
    )
    assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")


@pytest.mark.parametrize(("field", "words"), [("username", "user name"), ("email", "e-mail address")])
def test_upgrading_names_the_accounts_that_share_one(alice: User, field: str, words: str):
    migration = importlib.import_module("accounts.migrations.0016_one_account_each")
    migration.check(apps, None)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP INDEX user_{'name' if field == 'username' else 'email'}_once")
    factories.make_user(alice.organization, "second", alice.role)
    User.objects.filter(username="second").update(**{field: getattr(alice, field).upper()})
    with pytest.raises(RuntimeError, match=f"share one {words}: {getattr(alice, field)}"):
        migration.check(apps, None)


# At most --------------------------------------------------------------------------------------------------------------


def of_many_at_once(act: Callable[[int], Any]) -> list[str]:
    """What eight threads came to: "" or the code of the refusal."""
    came: list[str] = []
    gate = threading.Barrier(8)

    def one(number: int) -> None:
        gate.wait()
        try:
            act(number)
            came.append("")
        except DomainError as refused:
            came.append(refused.code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(came)


@pytest.mark.django_db(transaction=True)
def test_no_two_keys_are_the_last(monkeypatch, organization: Organization):
    monkeypatch.setattr(api_keys, "MOST_KEYS", 3)
    came = of_many_at_once(
        lambda number: api_keys.create_api_key(organization=organization, scopes=["detect:read"], name=f"key {number}")
    )
    assert came == [""] * 3 + ["too_many_keys"] * 5
    assert ApiKey.objects.count() == 3


@pytest.mark.django_db(transaction=True)
def test_no_two_origins_are_the_last(monkeypatch, organization: Organization):
    monkeypatch.setattr(cors, "MOST_ORIGINS", 3)
    came = of_many_at_once(
        lambda number: cors.allow_origin(
            organization=organization, origin=f"https://app{number}.example.org", actor=None
        )
    )
    assert came == [""] * 3 + ["origins_full"] * 5
    assert AllowedOrigin.objects.count() == 3
