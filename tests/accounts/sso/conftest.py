"""Identity providers to test against: an OpenID one behind the outgoing client, a SAML one that signs with xmlsec."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from django.test import Client
from django.utils import timezone
from lxml import etree
from onelogin.saml2.utils import OneLogin_Saml2_Utils

from accounts.models import EmailDomain, Organization, SsoConnection, User
from accounts.sso import outgoing, services
from detection.fetch import Answer

ISSUER = "https://login.example.net"
OURS = "http://testserver"
DEFAULTS: dict[str, Any] = {
    "name": "Example login",
    "is_enabled": True,
    "vouches_for_emails": False,
    "makes_members": False,
    "default_role": "viewer",
    "group_attribute": "groups",
    "group_roles": [],
}


@pytest.fixture(autouse=True)
def ours(settings: Any) -> None:
    """The address that providers know us by."""
    settings.PUBLIC_URL = OURS


@pytest.fixture
def domain(organization: Organization) -> EmailDomain:
    return EmailDomain.objects.create(organization=organization, domain="example.org", verified_at=timezone.now())


# OpenID Connect -------------------------------------------------------------------------------------------------------


@dataclass
class Provider:
    """What an OpenID provider answers, one dictionary a test can change."""

    userinfo: dict[str, Any] = field(default_factory=dict)
    id_token: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, bytes | None]] = field(default_factory=list)
    discovery: dict[str, Any] = field(
        default_factory=lambda: {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/authorize",
            "token_endpoint": f"{ISSUER}/token",
            "userinfo_endpoint": f"{ISSUER}/userinfo",
            "jwks_uri": f"{ISSUER}/jwks",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }
    )

    def ask(self, url: str, *, body: bytes | None = None, **options: Any) -> Answer:
        self.asked.append((url, body))
        now = int(timezone.now().timestamp())
        person = {"sub": "person-1", "email": "alice@example.org", "email_verified": True, "preferred_username": "al"}
        told = person | self.userinfo
        claims = {"iss": ISSUER, "aud": "client-1", "iat": now, "exp": now + 300, "sub": told["sub"]} | self.id_token
        token = jwt.encode(claims, "k" * 32, algorithm="HS256", headers={"kid": "1"})
        answers: dict[str, Any] = {
            "/.well-known/openid-configuration": self.discovery,
            "/token": {"access_token": "at", "token_type": "Bearer", "expires_in": 300, "id_token": token},
            "/userinfo": told,
        }
        found = answers.get(urlsplit(url).path)
        content = json.dumps(found).encode() if found is not None else b""
        return Answer(200 if found is not None else 404, {"Content-Type": "application/json"}, content)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Provider:
    made = Provider()
    monkeypatch.setattr(outgoing, "ask", made.ask)
    return made


@pytest.fixture
def make_oidc(provider: Provider, organization: Organization, administrator: User) -> Any:
    def make(**changes: Any) -> SsoConnection:
        given = DEFAULTS | {"kind": "oidc", "issuer": ISSUER, "client_id": "client-1", "client_secret": "geheim"}
        whose = {"organization": organization, "actor": administrator}
        return services.save_connection(**whose | given | changes)

    return make


def begin(client: Client, connection: SsoConnection, **more: str) -> dict[str, str]:
    """Start a sign-in; return the parameters with which the browser is sent to the provider."""
    answer = client.get(f"/accounts/organization/{connection.provider_id}/", more)
    assert answer.status_code == 302, answer.content[:500]
    return {name: values[0] for name, values in parse_qs(urlsplit(answer["Location"]).query).items()}


def come_back(client: Client, connection: SsoConnection, **changes: str) -> Any:
    state = begin(client, connection)["state"]
    address = f"/accounts/oidc/{connection.provider_id}/login/callback/"
    return client.get(address, {"code": "c", "state": state} | changes)


# SAML -----------------------------------------------------------------------------------------------------------------


class SamlIdp:
    """A SAML identity provider: metadata and signed responses."""

    entity_id = "https://idp.example.net/saml"

    def __init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp.example.net")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .sign(key, hashes.SHA256())
        )
        self.key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
        self.certificate = certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def bare_certificate(self) -> str:
        return "".join(line for line in self.certificate.splitlines() if "-----" not in line)

    def metadata(self, *more: str) -> str:
        keys = "".join(
            '<md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data>'
            f"<ds:X509Certificate>{text}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>"
            for text in (*more, self.bare_certificate)
        )
        return (
            f'<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{self.entity_id}">'
            '<md:IDPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">'
            f"{keys}<md:SingleSignOnService "
            'Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="https://idp.example.net/sso"/>'
            "</md:IDPSSODescriptor></md:EntityDescriptor>"
        )

    def response(
        self,
        connection: SsoConnection,
        request_id: str,
        *,
        email: str = "alice@example.org",
        name_id: str = "person-1",
        groups: tuple[str, ...] = (),
        audience: str = "",
        destination: str = "",
        minutes: int = 5,
        sign: str = "assertion",
        confirm: bool = True,
    ) -> bytes:
        base = f"{OURS}/accounts/saml/{connection.id.hex}"
        acs = destination or f"{base}/acs/"
        now = datetime.now(UTC)
        begins, ends = (
            f"{now - timedelta(minutes=10):%Y-%m-%dT%H:%M:%SZ}",
            f"{now + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}",
        )
        values = "".join(f"<saml:AttributeValue>{group}</saml:AttributeValue>" for group in groups)
        answers = f' InResponseTo="{request_id}"' if request_id else ""
        inner = answers if confirm else ""
        assertion = f"""<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_{uuid4().hex}" Version="2.0" IssueInstant="{begins}"><saml:Issuer>{self.entity_id}</saml:Issuer><saml:Subject><saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">{name_id}</saml:NameID><saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData NotOnOrAfter="{ends}" Recipient="{acs}"{inner}/></saml:SubjectConfirmation></saml:Subject><saml:Conditions NotBefore="{begins}" NotOnOrAfter="{ends}"><saml:AudienceRestriction><saml:Audience>{audience or base + "/metadata/"}</saml:Audience></saml:AudienceRestriction></saml:Conditions><saml:AuthnStatement AuthnInstant="{begins}" SessionIndex="s1"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement><saml:AttributeStatement><saml:Attribute Name="mail"><saml:AttributeValue>{email}</saml:AttributeValue></saml:Attribute><saml:Attribute Name="groups">{values or "<saml:AttributeValue>none</saml:AttributeValue>"}</saml:Attribute></saml:AttributeStatement></saml:Assertion>"""  # noqa: E501
        if sign == "assertion":
            assertion = self._signed(assertion)
        response = f"""<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_{uuid4().hex}" Version="2.0" IssueInstant="{begins}" Destination="{acs}"{answers}><saml:Issuer>{self.entity_id}</saml:Issuer><samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>{assertion}</samlp:Response>"""  # noqa: E501
        return (self._signed(response) if sign == "response" else response).encode()

    def _signed(self, xml: str) -> str:
        signed = OneLogin_Saml2_Utils.add_sign(xml, self.key, self.certificate)
        text: str = etree.tostring(etree.fromstring(signed)).decode()
        return text


@pytest.fixture(scope="session")
def idp() -> SamlIdp:
    return SamlIdp()


@pytest.fixture
def make_saml(organization: Organization, administrator: User, idp: SamlIdp) -> Any:
    def make(**changes: Any) -> SsoConnection:
        given = DEFAULTS | {"kind": "saml", "metadata_url": "", "metadata_xml": idp.metadata()}
        given |= {"vouches_for_emails": True}
        return services.save_connection(**{"organization": organization, "actor": administrator} | given | changes)

    return make


def request_id(client: Client, connection: SsoConnection) -> str:
    """Start a sign-in; return the id of the request that the identity provider gets."""
    sent = begin(client, connection)["SAMLRequest"]
    return str(etree.fromstring(zlib.decompress(base64.b64decode(sent), -15)).get("ID"))


def deliver(client: Client, connection: SsoConnection, response: bytes) -> Any:
    """POST the response to us as the identity provider's page would, then follow to the end of it."""
    base = f"/accounts/saml/{connection.id.hex}/acs/"
    posted = client.post(base, {"SAMLResponse": base64.b64encode(response).decode(), "RelayState": ""})
    assert posted.status_code == 302
    assert posted["Location"] == f"{base}finish/"
    return client.get(posted["Location"])
