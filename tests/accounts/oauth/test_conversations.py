"""A standard client, authlib, talks to a live server: code with PKCE, refresh, client credentials, and refusals."""

from __future__ import annotations

import base64
import json
import time
from datetime import timedelta
from typing import Any

import jwt
import pytest
import requests
from allauth.idp.oidc.models import Token
from authlib.common.security import generate_token
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from django.utils import timezone
from joserfc import jwt as jose
from joserfc.jwk import KeySet

from accounts.models import AuditLog, ClientKind, GrantEnd, OAuthGrant, Role, User
from accounts.oauth import keys, services
from tests.accounts.oauth.conftest import CALLBACK, Person, hidden, query

pytestmark = pytest.mark.django_db(transaction=True)
SCOPES = "openid profile email detect:read detect:write"


class Program:
    """One registered client with authlib behind it."""

    def __init__(
        self, base: str, client_id: str, secret: str, scope: str = SCOPES, redirect_uri: str = CALLBACK
    ) -> None:
        self.base = base
        self.metadata = requests.get(f"{base}/.well-known/openid-configuration").json()
        self.session = OAuth2Session(
            client_id,
            secret or None,
            scope=scope,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
        )
        self.verifier = generate_token(64)

    def url(self, **changes: str) -> str:
        return str(
            self.session.create_authorization_url(
                self.metadata["authorization_endpoint"], code_verifier=self.verifier, **changes
            )[0]
        )

    def exchange(self, location: str, **changes: Any) -> dict[str, Any]:
        arguments = {"authorization_response": location, "code_verifier": self.verifier} | changes
        return dict(self.session.fetch_token(self.metadata["token_endpoint"], **arguments))

    def refresh(self, token: str) -> dict[str, Any]:
        return dict(self.session.refresh_token(self.metadata["token_endpoint"], refresh_token=token))

    def api(self, token: str, path: str = "/v1/jobs") -> requests.Response:
        return requests.get(self.base + path, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def program(base: str, make_client: Any) -> Program:
    registration, secret = make_client()
    return Program(base, registration.pk, secret)


@pytest.fixture
def tokens(base: str, program: Program, alice: User) -> dict[str, Any]:
    return program.exchange(Person(base, "alice").consent(program.url()))


def test_code_with_pkce_gives_tokens_that_the_api_and_userinfo_take(base: str, program: Program, alice: User):
    token = program.exchange(Person(base, "alice").consent(program.url(nonce="n-1")))
    assert token["token_type"] == "Bearer"
    assert token["expires_in"] == 900
    header = jwt.get_unverified_header(token["access_token"])
    assert header["alg"] == "RS256"
    known = KeySet.import_key_set(requests.get(program.metadata["jwks_uri"]).json())
    claims = jose.decode(token["id_token"], known, algorithms=["RS256"]).claims
    assert claims["iss"] == base
    assert claims["nonce"] == "n-1"
    assert claims["sub"] == str(alice.pk)
    assert claims["aud"] == program.session.client_id
    access = jose.decode(token["access_token"], known, algorithms=["RS256"]).claims
    assert access["aud"] == f"{base}/v1"
    assert access["sub"] == str(alice.pk)
    assert program.api(token["access_token"]).status_code == 200
    told = requests.get(
        program.metadata["userinfo_endpoint"], headers={"Authorization": f"Bearer {token['access_token']}"}
    ).json()
    assert told["preferred_username"] == "alice"
    assert told["groups"] == ["analyst"]
    assert AuditLog.objects.filter(action="oauth_grant.made", actor=alice).count() == 1


def test_an_app_without_a_secret_signs_in_too(base: str, make_client: Any, alice: User):
    registration, secret = make_client(ClientKind.NATIVE, redirect_uris=["http://127.0.0.1/done"])
    assert secret == ""
    program = Program(base, registration.pk, "", redirect_uri="http://127.0.0.1:53123/done")  # RFC 8252: any port
    token = program.exchange(Person(base, "alice").consent(program.url()))
    assert program.api(token["access_token"]).status_code == 200
    assert program.refresh(token["refresh_token"])["access_token"] != token["access_token"]


def test_client_credentials_belong_to_the_organisation(base: str, make_client: Any, organization: Any):
    registration, secret = make_client(ClientKind.SERVICE)
    program = Program(base, registration.pk, secret, scope="detect:read")
    token = program.session.fetch_token(program.metadata["token_endpoint"], grant_type="client_credentials")
    assert "refresh_token" not in token
    assert program.api(token["access_token"]).status_code == 200
    refused = requests.post(
        f"{base}/v1/media",
        json={"url": "https://media.example.org/a.png"},
        headers={"Authorization": f"Bearer {token['access_token']}"},
    )
    assert refused.status_code == 403
    assert "detect:write" in refused.json()["detail"]
    whole = Program(base, registration.pk, secret, scope="detect:read detect:write")
    token = whole.session.fetch_token(whole.metadata["token_endpoint"], grant_type="client_credentials")
    made = requests.post(
        f"{base}/v1/media",
        json={"url": "https://media.example.org/a.png"},
        headers={"Authorization": f"Bearer {token['access_token']}"},
    )
    assert made.status_code == 201, made.text
    row = AuditLog.objects.get(action="media.submitted")
    assert row.organization == organization
    assert row.api_key_prefix == registration.pk[:16]


def test_a_service_cannot_name_a_user(base: str, make_client: Any, alice: User):
    registration, secret = make_client(ClientKind.SERVICE)
    answer = requests.post(
        f"{base}/oauth/token",
        {"grant_type": "client_credentials", "user": str(alice.pk), "user_id": "1"},
        auth=(registration.pk, secret),
    )
    assert answer.status_code == 200
    assert Token.objects.get().user is None
    assert jwt.decode(answer.json()["access_token"], options={"verify_signature": False})["sub"] == registration.pk


# Refresh --------------------------------------------------------------------------------------------------------------


def test_refresh_gives_new_tokens_of_the_same_family(program: Program, tokens: dict[str, Any]):
    second = program.refresh(tokens["refresh_token"])
    third = program.refresh(second["refresh_token"])
    assert len({tokens["refresh_token"], second["refresh_token"], third["refresh_token"]}) == 3
    assert program.api(third["access_token"]).status_code == 200
    assert OAuthGrant.objects.get().tokens.count() == 6


def test_a_refresh_token_that_is_used_twice_ends_the_whole_family(program: Program, tokens: dict[str, Any]):
    second = program.refresh(tokens["refresh_token"])
    assert program.api(second["access_token"]).status_code == 200
    with pytest.raises(OAuthError, match="invalid_grant"):
        program.refresh(tokens["refresh_token"])
    with pytest.raises(OAuthError, match="invalid_grant"):
        program.refresh(second["refresh_token"])
    assert program.api(second["access_token"]).status_code == 401
    assert program.api(tokens["access_token"]).status_code == 401
    grant = OAuthGrant.objects.get()
    assert grant.revoked_because == GrantEnd.REFRESH_REUSED
    row = AuditLog.objects.get(action="oauth_grant.revoked")
    assert row.details["because"] == "refresh_reused"
    assert row.target_id == str(grant.pk)


def test_a_family_ends_half_a_year_after_the_consent(program: Program, tokens: dict[str, Any]):
    second = program.refresh(tokens["refresh_token"])
    OAuthGrant.objects.update(created_at=timezone.now() - timedelta(days=180))
    with pytest.raises(OAuthError, match="invalid_grant"):
        program.refresh(second["refresh_token"])
    assert program.api(second["access_token"]).status_code == 401
    assert AuditLog.objects.get(action="oauth_grant.revoked").details["because"] == "expired"


def test_reuse_in_one_family_leaves_others_alone(base: str, program: Program, tokens: dict[str, Any]):
    other = program.exchange(Person(base, "alice").consent(program.url()))
    program.refresh(tokens["refresh_token"])
    with pytest.raises(OAuthError):
        program.refresh(tokens["refresh_token"])
    assert program.api(other["access_token"]).status_code == 200


def test_a_narrower_refresh_does_not_narrow_the_family(base: str, program: Program, tokens: dict[str, Any]):
    def refresh(token: str, scope: str) -> dict[str, Any]:
        answer = requests.post(
            f"{base}/oauth/token",
            {"grant_type": "refresh_token", "refresh_token": token, "scope": scope},
            auth=(program.session.client_id, program.session.client_secret),
        )
        return dict(answer.json())

    narrow = refresh(tokens["refresh_token"], "detect:read")
    assert narrow["scope"] == "detect:read"
    again = refresh(narrow["refresh_token"], "detect:read detect:write")
    assert again["scope"] == "detect:read detect:write"
    assert refresh(again["refresh_token"], "admin:write")["error"] == "invalid_scope"


def test_another_client_cannot_use_or_revoke_the_token(base: str, make_client: Any, program: Program, tokens: Any):
    registration, secret = make_client(name="Another")
    thief = Program(base, registration.pk, secret)
    with pytest.raises(OAuthError, match="invalid_grant"):
        thief.refresh(tokens["refresh_token"])
    thief.session.revoke_token(thief.metadata["revocation_endpoint"], token=tokens["refresh_token"])
    assert program.refresh(tokens["refresh_token"])["access_token"]


def test_the_program_gives_its_grant_back(program: Program, tokens: dict[str, Any]):
    answer = program.session.revoke_token(program.metadata["revocation_endpoint"], token=tokens["refresh_token"])
    assert answer.status_code == 200
    assert program.api(tokens["access_token"]).status_code == 401
    assert OAuthGrant.objects.get().revoked_because == GrantEnd.CLIENT
    assert AuditLog.objects.get(action="oauth_grant.revoked").details["because"] == GrantEnd.CLIENT


def test_an_authorization_code_works_once(base: str, program: Program, alice: User):
    location = Person(base, "alice").consent(program.url())
    token = program.exchange(location)
    with pytest.raises(OAuthError, match="invalid_grant"):
        program.exchange(location)
    assert program.api(token["access_token"]).status_code == 401  # RFC 6749, 4.1.2: what came of it ends too
    assert OAuthGrant.objects.get().revoked_because == GrantEnd.CODE_REUSED


# What is refused ------------------------------------------------------------------------------------------------------


def without_pkce(program: Program, **more: str) -> str:
    fields = {
        "response_type": "code",
        "client_id": program.session.client_id,
        "redirect_uri": CALLBACK,
        "scope": SCOPES,
        "state": "s",
    } | more
    return requests.Request("GET", f"{program.base}/oauth/authorize", params=fields).prepare().url or ""


def test_pkce_is_asked_of_clients_with_a_secret_too(base: str, program: Program, alice: User):
    sent_to = Person(base, "alice").ask(without_pkce(program)).headers["Location"]
    assert sent_to.startswith(CALLBACK)
    assert query(sent_to)["error"] == "invalid_request"
    assert "challenge" in query(sent_to)["error_description"].lower()


@pytest.mark.parametrize("method", [{"code_challenge_method": "plain"}, {}])
def test_the_plain_method_is_refused(base: str, program: Program, alice: User, method: dict[str, str]):
    sent_to = Person(base, "alice").ask(without_pkce(program, code_challenge="a" * 43, **method)).headers["Location"]
    assert query(sent_to)["error"] == "invalid_request"
    assert "S256" in query(sent_to)["error_description"]


def test_wrong_and_missing_verifiers_are_refused(base: str, program: Program, alice: User):
    person = Person(base, "alice")
    with pytest.raises(OAuthError, match="invalid_grant"):
        program.exchange(person.consent(program.url()), code_verifier=generate_token(64))
    location = person.consent(program.url())
    answer = requests.post(
        f"{base}/oauth/token",
        {"grant_type": "authorization_code", "code": query(location)["code"], "redirect_uri": CALLBACK},
        auth=(program.session.client_id, program.session.client_secret),
    )
    assert answer.status_code == 400
    assert Token.objects.count() == 0


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://client.example.org/callback/",
        "https://client.example.org/callback?x=1",
        "https://client.example.org:8443/callback",
        "https://client.example.org.evil.example/callback",
        "http://client.example.org/callback",
        "",
    ],
)
def test_a_redirect_address_fits_letter_by_letter_or_is_refused(base: str, program: Program, alice: User, redirect_uri):
    answer = requests.get(program.url(redirect_uri=redirect_uri), allow_redirects=False)
    assert answer.status_code == 400
    assert "cannot be let in" in answer.text
    assert "Location" not in answer.headers


@pytest.mark.parametrize(
    ("redirect_uri", "is_let_in"),
    [
        ("http://127.0.0.1/cb", True),
        ("http://127.0.0.1:1/cb", True),
        ("http://127.0.0.1:65535/cb", True),
        ("http://[::1]:55/cb?app=1", True),
        ("http://127.0.0.1:55/cb?x=1", False),
        ("http://127.0.0.1:55/cb?", False),
        ("http://127.0.0.1:55/cb#x", False),
        ("http://127.0.0.1:55/cb/", False),
        ("http://127.0.0.1:55/CB", False),
        ("http://127.0.0.1:0/cb", False),
        ("http://127.0.0.1:65536/cb", False),
        ("http://127.0.0.1:99999/cb", False),
        ("http://127.0.0.1:/cb", False),
        ("http://127.0.0.1:٥٥/cb", False),
        ("http://somebody@127.0.0.1:55/cb", False),
        ("http://127.0.0.2:55/cb", False),
        ("http://[::1]:55/cb", False),
        ("http://[::1]:55/cb?app=1&x=1", False),
        ("http://[::1]:55/cb?app=2", False),
        ("https://127.0.0.1:55/cb", False),
        ("HTTP://127.0.0.1:55/cb", False),
    ],
)
def test_an_app_chooses_the_port_of_its_own_address_and_nothing_else(
    base: str, make_client: Any, redirect_uri: str, is_let_in: bool
):
    registered = ["http://127.0.0.1/cb", "http://[::1]/cb?app=1"]
    registration, _ = make_client(ClientKind.NATIVE, redirect_uris=registered)
    program = Program(base, registration.pk, "", redirect_uri=redirect_uri)
    answer = requests.get(program.url(), allow_redirects=False)
    assert answer.status_code == (302 if is_let_in else 400)
    assert "/accounts/login/" in answer.headers["Location"] if is_let_in else "Location" not in answer.headers


@pytest.mark.parametrize("claims", ["{bad", "[]", "1", "null", '"text"', "[" * 3000])
def test_claims_that_are_no_json_object_are_refused(base: str, program: Program, claims: str):
    answer = requests.get(program.url(claims=claims, state="s-1"), allow_redirects=False)
    assert answer.status_code == 302, answer.text[:500]
    assert answer.headers["Location"].startswith(CALLBACK)
    told = query(answer.headers["Location"])
    assert (told["error"], told["state"]) == ("invalid_request", "s-1")


def test_claims_are_read_when_somebody_has_signed_in(base: str, program: Program, alice: User, bob: User):
    plain = program.url(claims='{"id_token": {"email": null, "sub": {"essential": true}}}')
    hers = program.url(claims=json.dumps({"id_token": {"sub": {"value": str(alice.pk)}}}))
    his = program.url(claims=json.dumps({"userinfo": {"sub": {"value": str(bob.pk)}}}))
    for url in (plain, hers, his, program.url(id_token_hint="none")):
        assert "/accounts/login/" in requests.get(url, allow_redirects=False).headers["Location"]
    person = Person(base, "alice")
    assert program.exchange(person.consent(plain))["access_token"]
    assert program.exchange(person.consent(hers))["access_token"]
    for url in (his, program.url(id_token_hint="none")):
        assert query(person.ask(url).headers["Location"])["error"] == "login_required"


def test_unknown_clients_and_scopes_are_refused(base: str, program: Program):
    assert requests.get(without_pkce(program, client_id="oac_none"), allow_redirects=False).status_code == 400
    sent_to = requests.get(program.url(scope="openid review:write"), allow_redirects=False).headers["Location"]
    assert query(sent_to)["error"] == "invalid_scope"


@pytest.mark.parametrize("response_type", ["token", "id_token", "code id_token", "none"])
def test_nothing_but_codes_is_given_out(program: Program, response_type: str):
    sent_to = requests.get(program.url(response_type=response_type, nonce="n"), allow_redirects=False)
    assert sent_to.status_code == 302
    assert "error=" in sent_to.headers["Location"]


def test_refusing_and_signing_in_first(base: str, program: Program, alice: User):
    anonymous = requests.get(program.url(), allow_redirects=False)
    assert anonymous.status_code == 302
    assert anonymous.headers["Location"].startswith("/accounts/login/?next=/oauth/")
    assert query(Person(base, "alice").consent(program.url(), action="cancel"))["error"] == "access_denied"
    assert Token.objects.count() == 0


def test_a_wrong_secret_and_other_grant_types_are_refused(base: str, program: Program, make_client: Any):
    client_id = program.session.client_id
    answer = requests.post(f"{base}/oauth/token", {"grant_type": "client_credentials"}, auth=(client_id, "ocs_wrong"))
    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_client"
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
    refused = requests.post(f"{base}/oauth/revoke", {"token": "x"}, auth=(client_id, "ocs_wrong"))
    assert refused.headers["WWW-Authenticate"].startswith("Basic ")
    for grant_type in ("client_credentials", "password", "urn:ietf:params:oauth:grant-type:device_code"):
        answer = requests.post(
            f"{base}/oauth/token",
            {"grant_type": grant_type, "username": "alice", "password": "x"},
            auth=(client_id, program.session.client_secret),
        )
        assert answer.status_code in (400, 401)
        assert "access_token" not in answer.text
        if grant_type != "client_credentials":
            assert answer.json()["error"] == "unsupported_grant_type"
            assert "client_credentials" in answer.json()["error_description"]
    service, secret = make_client(ClientKind.SERVICE)
    scope = requests.post(
        f"{base}/oauth/token",
        {"grant_type": "client_credentials", "scope": 'detect:fly "x"'},
        auth=(service.pk, secret),
    )
    assert (scope.status_code, scope.json()["error"]) == (400, "invalid_scope")
    assert "detect:read" in scope.json()["error_description"]
    assert '"' not in scope.json()["error_description"]
    for grant_type in ("authorization_code", "refresh_token"):
        answer = requests.post(
            f"{base}/oauth/token", {"grant_type": grant_type, "code": "x"}, auth=(service.pk, secret)
        )
        assert answer.status_code == 400


def test_members_of_other_organisations_cannot_let_it_in(base: str, program: Program, charlie: User):
    answer = Person(base, "charlie").ask(program.url())
    assert answer.status_code == 403
    assert "another organisation" in answer.text


def test_a_member_who_left_while_the_page_was_open_grants_nothing(
    base: str, program: Program, alice: User, other_organization: Any
):
    person = Person(base, "alice")
    page = person.ask(program.url()).text
    User.objects.filter(pk=alice.pk).update(organization=other_organization)
    fields = {name: hidden(page, name) for name in ("csrfmiddlewaretoken", "request")}
    fields |= {"scopes": "openid", "action": "grant"}
    answer = person.session.post(f"{base}/oauth/authorize", fields, allow_redirects=False)
    assert answer.status_code == 400
    assert "another organisation" in answer.text
    assert OAuthGrant.objects.count() == 0


def test_the_consent_page_tells_the_browser_where_it_leads(base: str, program: Program, alice: User):
    page = Person(base, "alice").ask(program.url())
    policy = page.headers["Content-Security-Policy"]
    assert "form-action 'self' https://client.example.org" in policy
    assert "unsafe" not in policy
    assert "admin:read" not in page.text


# At the time of use ---------------------------------------------------------------------------------------------------


def test_a_token_never_does_more_than_the_member_may(base: str, make_client: Any, alice: User):
    registration, secret = make_client(scopes=["detect:read", "detect:write", "admin:read"])
    program = Program(base, registration.pk, secret, scope="detect:read detect:write admin:read")
    page = Person(base, "alice").ask(program.url())
    assert "what your role does not allow" in page.text
    token = program.exchange(Person(base, "alice").consent(program.url()))
    assert "admin:read" not in token["scope"]
    body = {"json": {"url": "https://media.example.org/a.png"}}
    headers = {"Authorization": f"Bearer {token['access_token']}"}
    assert requests.post(f"{base}/v1/media", headers=headers, **body).status_code == 201
    alice.role = Role.VIEWER
    alice.save()
    assert requests.post(f"{base}/v1/media", headers=headers, **body).status_code == 403
    assert program.api(token["access_token"]).status_code == 200


def test_the_member_may_leave_rights_out(base: str, program: Program, alice: User):
    token = program.exchange(Person(base, "alice").consent(program.url(), drop=("detect:write",)))
    assert "detect:write" not in token["scope"].split()


@pytest.mark.parametrize("how", ["expired", "revoked", "inactive", "moved", "disabled", "no organisation"])
def test_a_token_ends_with_what_it_was_made_for(
    how: str, program: Program, tokens: Any, alice: User, other_organization: Any, administrator: User
):
    grant = OAuthGrant.objects.select_related("client__client", "client__organization").get()
    if how == "expired":
        Token.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    elif how == "revoked":
        services.end_grant(grant=grant, because=GrantEnd.ADMINISTRATOR, actor=administrator)
    elif how == "disabled":
        services.disable_client(registration=grant.client, actor=administrator)
    elif how == "inactive":
        User.objects.filter(pk=alice.pk).update(is_active=False)
    else:
        User.objects.filter(pk=alice.pk).update(organization=other_organization if how == "moved" else None)
    refused = program.api(tokens["access_token"])
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")
    assert "token" in refused.json()["detail"]
    with pytest.raises(OAuthError):
        program.refresh(tokens["refresh_token"])


def forged(tokens: dict[str, Any], **changes: Any) -> str:
    claims = jwt.decode(tokens["access_token"], options={"verify_signature": False}) | changes
    header = {"kid": jwt.get_unverified_header(tokens["access_token"])["kid"]}
    return jwt.encode(claims, keys.all_keys()[0].pem, algorithm="RS256", headers=header)


def test_each_claim_and_the_signature_are_checked(program: Program, tokens: dict[str, Any], monkeypatch: Any):
    monkeypatch.setattr(Token.objects.by_value("").__class__, "by_value", lambda self, value: self)  # the row fits all
    assert program.api(forged(tokens)).status_code == 200
    now = int(time.time())
    for changes in (
        {"exp": now - 10},
        {"iss": "https://else.example"},
        {"aud": "https://else.example/v1"},
        {"aud": program.session.client_id},
        {"token_use": "id"},
        {"iat": now + 1000},
    ):
        assert program.api(forged(tokens, **changes)).status_code == 401, changes
    head, body, signature = tokens["access_token"].split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    hs256 = jwt.encode(
        {"sub": "1"},
        "k" * 32,
        algorithm="HS256",
        headers={"kid": jwt.get_unverified_header(tokens["access_token"])["kid"]},
    )
    for text in (f"{none}.{body}.", f"{head}.{body}.{signature[:-8]}AAAAAAAA", hs256, "ey.ey.ey", "garbage", ""):
        assert program.api(text).status_code == 401, text


def test_an_id_token_is_no_access_token(program: Program, tokens: dict[str, Any]):
    assert program.api(tokens["id_token"]).status_code == 401


# Keys -----------------------------------------------------------------------------------------------------------------


def test_old_keys_stay_in_the_key_set_after_rotation(base: str, program: Program, tokens: Any):
    before = requests.get(program.metadata["jwks_uri"]).json()["keys"]
    keys.rotate()  # announced, and signs in an hour
    announced = requests.get(program.metadata["jwks_uri"]).json()["keys"]
    assert len(before) == 1
    assert len(announced) == 2
    fresh = program.refresh(tokens["refresh_token"])
    assert jwt.get_unverified_header(fresh["access_token"])["kid"] == before[0]["kid"]
    keys.rotate(at_once=True)
    newer = program.refresh(fresh["refresh_token"])
    assert jwt.get_unverified_header(newer["access_token"])["kid"] != before[0]["kid"]
    for token in (tokens, fresh, newer):
        assert program.api(token["access_token"]).status_code == 200


def test_the_secret_rotates_with_an_overlap(base: str, make_client: Any, administrator: User):
    registration, old = make_client(ClientKind.SERVICE)

    def ask(secret: str) -> int:
        return requests.post(
            f"{base}/oauth/token", {"grant_type": "client_credentials"}, auth=(registration.pk, secret)
        ).status_code

    new = services.rotate_secret(registration=registration, overlap_hours=1, actor=administrator)
    assert (ask(old), ask(new)) == (200, 200)
    newest = services.rotate_secret(registration=registration, overlap_hours=0, actor=administrator)
    assert (ask(old), ask(new), ask(newest)) == (401, 401, 200)


def test_discovery_is_true(base: str, program: Program):
    other = requests.get(f"{base}/.well-known/oauth-authorization-server").json()
    assert other == program.metadata
    assert other["issuer"] == base
    assert other["code_challenge_methods_supported"] == ["S256"]
    for name in ("authorization_endpoint", "token_endpoint", "revocation_endpoint", "userinfo_endpoint", "jwks_uri"):
        assert requests.get(other[name]).status_code != 404, name


def test_what_is_neither_a_key_nor_a_token_is_called_so(base: str, program: Program, tokens: dict[str, Any]):
    def told(text: str) -> str:
        return str(requests.get(f"{base}/v1/jobs", headers={"Authorization": f"Bearer {text}"}).json()["detail"])

    assert "neither a known API key nor a valid access token" in told("nope")
    assert "Ask the token endpoint for a new one" in told(tokens["access_token"] + "x")


def test_only_scopes_that_open_something_are_told_and_older_ones_hold(base: str, make_client: Any, program: Program):
    assert not {"kyc:read", "documents:write", "review:read"} & set(program.metadata["scopes_supported"])
    registration, secret = make_client(ClientKind.SERVICE)
    registration.client.set_scopes(["detect:read", "kyc:read"])
    registration.client.save()
    asked = {"grant_type": "client_credentials", "scope": "detect:read kyc:read"}
    answer = requests.post(f"{base}/oauth/token", asked, auth=(registration.pk, secret))
    assert answer.json()["scope"] == "detect:read kyc:read"
