"""Sign-in through a SAML provider that signs with xmlsec: valid answers come in, everything else stays out."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount
from django.test import Client
from lxml import etree

from accounts.models import EmailDomain, SsoConnection, User
from deepfake.errors import DomainError
from tests.accounts.sso.conftest import SamlIdp, begin, deliver, request_id
from tests.accounts.sso.test_oidc import signed_in_as


@pytest.fixture
def alice(alice: User) -> User:
    alice.email = "alice@example.org"
    alice.save()
    return alice


@pytest.fixture
def connection(make_saml: Any, domain: EmailDomain, alice: User) -> SsoConnection:
    made: SsoConnection = make_saml()
    return made


@pytest.mark.parametrize("sign", ["assertion", "response"])
def test_a_signed_answer_signs_the_member_in(client, connection: SsoConnection, idp: SamlIdp, sign: str):
    answer = deliver(client, connection, idp.response(connection, request_id(client, connection), sign=sign))
    assert answer.status_code == 302, answer.content.decode()
    assert answer["Location"] == "/"
    assert signed_in_as(client) == "alice"
    assert SocialAccount.objects.get().provider == connection.provider_id


def test_members_are_made_by_group(client, make_saml: Any, domain: Any, idp: SamlIdp):
    connection = make_saml(makes_members=True, group_roles=[["leads", "reviewer"]])
    response = idp.response(connection, request_id(client, connection), email="nina@example.org", groups=("x", "leads"))
    deliver(client, connection, response)
    assert User.objects.get(email="nina@example.org").role == "reviewer"


def refused(client: Any, connection: SsoConnection, response: bytes) -> None:
    answer = deliver(client, connection, response)
    assert answer.status_code == 403, answer.status_code
    assert "You were not signed in" in answer.content.decode()
    assert signed_in_as(client) == ""


def test_an_unsigned_answer_is_refused(client, connection: SsoConnection, idp: SamlIdp):
    refused(client, connection, idp.response(connection, request_id(client, connection), sign=""))


def test_an_answer_signed_by_somebody_else_is_refused(client, connection: SsoConnection):
    refused(client, connection, SamlIdp().response(connection, request_id(client, connection)))


@pytest.mark.parametrize("sign", ["assertion", "response"])
def test_a_changed_answer_is_refused(client, connection: SsoConnection, idp: SamlIdp, bob: User, sign: str):
    bob.email = "bob@example.org"
    bob.save()
    response = idp.response(connection, request_id(client, connection), sign=sign)
    refused(client, connection, response.replace(b"alice@example.org", b"bob@example.org"))


def test_a_signature_wrapped_around_another_assertion_is_refused(client, connection: SsoConnection, idp: SamlIdp):
    """XML signature wrapping: the signed assertion stays in the document, an unsigned one stands before it."""
    tree = etree.fromstring(idp.response(connection, request_id(client, connection)))
    names = {"saml": "urn:oasis:names:tc:SAML:2.0:assertion"}
    signed = tree.find("saml:Assertion", names)
    forged = etree.fromstring(etree.tostring(signed).replace(b"alice@", b"bob@").replace(b"person-1", b"person-2"))
    for signature in forged.findall("{http://www.w3.org/2000/09/xmldsig#}Signature"):
        forged.remove(signature)
    forged.set("ID", "_forged")
    tree.insert(list(tree).index(signed), forged)
    refused(client, connection, etree.tostring(tree))


@pytest.mark.parametrize(
    "changes",
    [
        {"minutes": -5},
        {"audience": "https://another.example/metadata"},
        {"destination": "https://another.example/acs/"},
    ],
)
def test_late_answers_and_those_for_others_are_refused(client, connection, idp: SamlIdp, changes: dict[str, Any]):
    refused(client, connection, idp.response(connection, request_id(client, connection), **changes))


def test_an_answer_is_taken_once(client, connection: SsoConnection, idp: SamlIdp):
    response = idp.response(connection, request_id(client, connection))
    deliver(client, connection, response)
    assert signed_in_as(client) == "alice"
    client.logout()
    refused(client, connection, response)


def test_an_assertion_in_a_new_envelope_is_taken_once(client, connection: SsoConnection, idp: SamlIdp):
    """The envelope is not signed: a thief may put another question's id there when the assertion names none."""
    first = request_id(client, connection)
    response = idp.response(connection, first, confirm=False)
    deliver(client, connection, response)
    assert signed_in_as(client) == "alice"
    thief = Client()
    second = request_id(thief, connection)
    refused(thief, connection, response.replace(first.encode(), second.encode()))


def test_an_answer_to_another_browsers_question_is_refused(client, connection: SsoConnection, idp: SamlIdp):
    asked_elsewhere = request_id(Client(), connection)
    refused(client, connection, idp.response(connection, asked_elsewhere))


def test_a_sign_in_that_nobody_asked_for_is_refused(client, connection: SsoConnection, idp: SamlIdp):
    begin(client, connection)
    refused(client, connection, idp.response(connection, "", confirm=False))


@pytest.mark.parametrize("body", [b"", b"not xml", b"<a/>", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", b"\xff\xfe"])
def test_nonsense_is_refused(client, connection: SsoConnection, body: bytes):
    refused(client, connection, body)


def test_an_answer_that_is_no_base64_or_missing(client, connection: SsoConnection):
    base = f"/accounts/saml/{connection.id.hex}/acs/"
    for fields in ({"SAMLResponse": "%%%"}, {}):
        answer = client.get(client.post(base, fields)["Location"])
        assert answer.status_code in (400, 403), fields
    assert client.get(f"{base}finish/").status_code == 400
    assert client.post(f"{base}finish/").status_code == 405


def test_huge_answers_and_unknown_places_are_refused_at_once(client, connection: SsoConnection):
    base = f"/accounts/saml/{connection.id.hex}/acs/"
    assert client.post(base, {"SAMLResponse": "a" * 600_000}).status_code == 413
    assert client.post("/accounts/saml/00000000000040008000000000000000/acs/", {"SAMLResponse": "a"}).status_code == 404
    assert client.get(base).status_code == 405


def test_one_organisations_answer_does_not_open_anothers(
    client, connection, make_saml: Any, other_organization: Any, idp: SamlIdp
):
    theirs = make_saml(organization=other_organization, makes_members=True)
    response = idp.response(connection, request_id(client, theirs))
    refused(client, theirs, response)


def test_either_of_two_certificates_counts(client, connection: SsoConnection, make_saml: Any, idp: SamlIdp):
    both = make_saml(connection=connection, metadata_xml=idp.metadata(SamlIdp().bare_certificate))
    assert len(both.idp_certificates) == 2
    deliver(client, both, idp.response(both, request_id(client, both)))
    assert signed_in_as(client) == "alice"


def test_our_metadata_name_us(client, connection: SsoConnection):
    answer = client.get(f"/accounts/saml/{connection.id.hex}/metadata/")
    assert answer.status_code == 200
    tree = etree.fromstring(answer.content)
    base = f"http://testserver/accounts/saml/{connection.id.hex}"
    assert tree.get("entityID") == f"{base}/metadata/"
    assert f"{base}/acs/".encode() in answer.content
    assert client.get("/accounts/saml/nothing/metadata/").status_code == 404


def test_what_names_us_hangs_on_no_host(client, connection: SsoConnection, idp: SamlIdp, settings: Any):
    """An answer that was made for another address is no answer to us, though the browser names that address."""
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    other = f"http://127.0.0.1:4444/accounts/saml/{connection.id.hex}"
    client.defaults["HTTP_HOST"] = "127.0.0.1:4444"
    assert b"4444" not in client.get(f"/accounts/saml/{connection.id.hex}/metadata/").content
    answer = idp.response(
        connection, request_id(client, connection), audience=f"{other}/metadata/", destination=f"{other}/acs/"
    )
    refused(client, connection, answer)


@pytest.mark.parametrize(
    "xml",
    [
        "",
        "nonsense",
        "<a/>",
        "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>",
        '<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="x"/>',
    ],
)
def test_wrong_metadata_are_told(make_saml: Any, xml: str):
    with pytest.raises(DomainError) as error:
        make_saml(metadata_xml=xml)
    assert error.value.code in ("invalid", "sso_metadata")


def test_metadata_come_by_address_too(make_saml: Any, idp: SamlIdp, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def read(url: str, **options: Any) -> bytes:
        asked.append(url)
        return idp.metadata().encode()

    monkeypatch.setattr("accounts.sso.outgoing.read", read)
    row = make_saml(metadata_url="https://idp.example.net/metadata", metadata_xml="")
    assert row.idp_entity_id == idp.entity_id
    assert asked == ["https://idp.example.net/metadata"]
