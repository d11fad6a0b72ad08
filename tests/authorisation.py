"""The world that tests/test_authorisation.py knocks at: its cast, its addresses with their rules, a sample for each."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from http.cookies import SimpleCookie
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from asgiref.sync import async_to_sync
from django.conf import settings
from django.core.cache import cache
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from rest_framework.permissions import AllowAny

from accounts import cors, data_requests, members, roles
from accounts.api_keys import PLAIN_SCOPES, create_api_key
from accounts.models import (
    EmailDomain,
    MemberSession,
    Organization,
    Role,
    ScimGroup,
    SignInRules,
    SsoConnection,
    User,
)
from accounts.oauth import services as oauth
from accounts.permissions import Permission
from accounts.scim import services as provisioning
from deepfake import access, tls
from detection import (
    api_status,
    artifacts,
    batches,
    holds,
    saved,
    threshold_services,
    uploads,
    webhooks_services,
)
from detection.models import WebhookDelivery
from reports import services as report_services
from review import appeals, planting, rules
from review import services as review_services
from review.models import Annotation, Decision, Priority, Reason, ReviewSettings
from tests import factories
from tests.pages.finished import make_finished

ROOT = Path(__file__).resolve().parents[1]
MARK = "zanzibar"  # in the names of everything that strangers must not see
CUSTOM = (Permission.REVIEW_READ, Permission.AUDIT)  # a role that may not even see analyses
KEY_SCOPES = list(PLAIN_SCOPES)


# The world ------------------------------------------------------------------------------------------------------------


class World:
    """One organisation with a member of each role and an object of each kind, and the administrator of another."""

    def __init__(self) -> None:
        self.organization = Organization.objects.create(name=f"Newsroom {MARK}", slug="newsroom")
        self.other = Organization.objects.create(name="Somebody Else", slug="else")
        self.cast = {
            role.value: factories.make_user(self.organization, f"{role.value}-{MARK}", role, last_name=MARK)
            for role in Role
        }
        self.admin = self.cast["admin"]
        self.spare = factories.make_user(self.organization, f"second-admin-{MARK}", Role.ADMIN)
        self.target = factories.make_user(self.organization, f"target-{MARK}", Role.VIEWER)
        self.role = roles.create_role(
            organization=self.organization, name=f"Desk {MARK}", permissions=CUSTOM, actor=self.admin
        )
        self.unused_role = roles.create_role(
            organization=self.organization, name=f"Unused {MARK}", permissions=[Permission.VIEW], actor=self.admin
        )
        self.cast["custom"] = factories.make_user(self.organization, f"custom-{MARK}", Role.VIEWER)
        roles.set_role(member=self.cast["custom"], custom_role=self.role, actor=self.admin)
        self.invited = members.invite(
            organization=self.organization, username=f"invited-{MARK}", role=Role.VIEWER, actor=self.admin
        )
        self.stranger = factories.make_user(self.other, "otto", Role.ADMIN)
        self.keys = {scope: create_api_key(organization=self.organization, scopes=[scope])[1] for scope in KEY_SCOPES}
        self.all_scopes = create_api_key(organization=self.organization, scopes=KEY_SCOPES)[1]
        self.strange_key = create_api_key(organization=self.other, scopes=KEY_SCOPES)[1]
        self._make_objects()
        self.clients = {name: client_of(member) for name, member in self.cast.items()}
        self.clients["anonymous"], self.clients["stranger"] = (
            Client(raise_request_exception=False),
            client_of(self.stranger),
        )

    def _make_objects(self) -> None:
        ReviewSettings.objects.create(organization=self.organization, audit_rate=0, second_opinion_rate=0)
        reviewer = self.cast["reviewer"]
        self.job = make_finished(self.organization, reviewer)
        self.job.media.filename = f"{MARK}.mp4"
        self.job.media.save()
        self.artifact = self.job.result.artifacts.first()
        ground = rules.Ground(Reason.UNCERTAIN, Priority.NORMAL, f"Close to a threshold, {MARK}.")
        self.case = review_services.open_case(job=self.job, grounds=[ground])
        self.annotation = Annotation.objects.create(case=self.case, author=self.admin, text=MARK, start_s=1.0)
        self.appeal_link = appeals.make_link(job=self.job, actor=self.admin, days=30)
        self.known = planting.plant(job=make_finished(self.organization, reviewer), actor=self.admin, truth="fake")
        self.issue = report_services.issue(job=self.job, wanted="json", actor=self.admin).issue
        rule = {"kind": "image", "platform": "", "host": f"{MARK}.example.org", "codec": ""}
        wish = {"organization": self.organization, "actor": reviewer, "why": MARK}
        made = threshold_services.propose(
            **wish, action="create", name=f"{MARK}-agency", after={**rule, "fake_at": 0.9, "real_below": 0.2}
        )
        self.profile = threshold_services.approve(proposal=made, actor=self.admin, answer="Agreed.")
        self.proposal = threshold_services.propose(
            **wish, action="change", profile=self.profile, after={**rule, "fake_at": 0.8, "real_below": 0.1}
        )

        self._make_settings()

    def _make_settings(self) -> None:
        """What the pages of settings and the integrator API's own objects are about."""
        ours, by = {"organization": self.organization}, {"organization": self.organization, "actor": self.admin}
        self.api_key = create_api_key(
            organization=self.organization, created_by=self.admin, name=f"Archive {MARK}", scopes=["admin:write"]
        )[0]
        self.origin = cors.allow_origin(origin=f"https://{MARK}.example.org", **by)
        self.held = make_finished(self.organization, self.admin, kind="image")
        self.hold = holds.set_hold(job=self.held, actor=self.admin, reason=f"File {MARK}")
        self.request = data_requests.ask(
            kind="export", about="person", subject=f"Letter {MARK}", wanted={"jobs": [str(self.held.pk)]}, **by
        )
        data_requests.run(str(self.request.pk))
        self.request.refresh_from_db()
        self.webhook = webhooks_services.create_endpoint(
            url=f"https://hooks.example.org/{MARK}", events=["job.completed"], **by
        )[0]
        sent = {**ours, "job": self.job, "event": "job.completed", "body": {"n": MARK}, "url": self.webhook.url}
        self.delivery = WebhookDelivery.objects.create(endpoint=self.webhook, **sent)
        self.callback = WebhookDelivery.objects.create(**sent)
        self.batch = batches.create(items=[], name=f"Wire {MARK}", stability="none", keep_open=True, **by)
        self.program = oauth.create_client(
            name=f"Picture archive {MARK}",
            kind="web",
            redirect_uris=["https://archive.example.org/callback"],
            scopes=["openid", "detect:read"],
            **by,
        )[0]
        self.saml = SsoConnection.objects.create(kind="saml", name=f"Login {MARK}", **ours)
        self.oidc = SsoConnection.objects.create(
            kind="oidc", name=f"Other login {MARK}", issuer="https://login.example.org", client_id="abc", **ours
        )
        self.domain = EmailDomain.objects.create(domain=f"{MARK}.example.org", **ours)
        self.provisioning = provisioning.make_token(**by)
        self.strange_provisioning = provisioning.make_token(organization=self.other, actor=self.stranger)
        self.group = ScimGroup.objects.create(display_name=f"Leads {MARK}", role="reviewer", **ours)

    def decision_of(self, who: User | None, batch: uuid.UUID | None = None) -> Decision:
        return Decision.objects.create(
            organization=self.organization,
            case=self.case,
            reviewer=who or self.cast["reviewer"],
            outcome="confirm",
            label="fake",
            machine_label="fake",
            batch=batch,
        )


def owing_client(world: World) -> Client:
    """A session of somebody who holds every right, and has yet to set up the second factor that is asked for."""
    board = roles.create_role(
        organization=world.organization, name=f"Board {MARK}", permissions=list(Permission), actor=world.admin
    )
    member = factories.make_user(world.organization, f"board-{MARK}", Role.VIEWER)
    roles.set_role(member=member, custom_role=board, actor=world.admin)
    SignInRules.objects.update_or_create(
        organization=world.organization,
        defaults={"required_roles": [str(board.pk)], "required_since": timezone.now() - timedelta(days=1)},
    )
    cache.clear()
    return client_of(member)


def client_of(member: User) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(member)
    return client


@pytest.fixture
def world(db: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: Any) -> World:
    # Reading the digests of all weights takes longer than everything else together, and is no question of rights.
    monkeypatch.setitem(api_status.CHECKS, "weights", lambda: "not looked at")
    # As a server with a certificate of its own does, and one that says where to report weaknesses.
    monkeypatch.setattr(tls, "_served", tls.own(tmp_path, ("localhost",)))
    settings.SECURITY_CONTACT = "mailto:security@example.org"
    return World()


# Samples --------------------------------------------------------------------------------------------------------------

Sample = Callable[[World, User | None], dict[str, Any]]


def _job(world: World, who: User | None) -> dict[str, Any]:
    return {"pk": world.job.pk}


def _doomed_job(world: World, who: User | None) -> dict[str, Any]:
    """Deleting destroys files, which no rollback brings back: each time another analysis."""
    return {"pk": make_finished(world.organization, world.admin, kind="image").pk}


def _case(world: World, who: User | None) -> dict[str, Any]:
    return {"pk": world.case.pk}


def _member(world: World, who: User | None) -> dict[str, Any]:
    return {"pk": world.target.pk}


def _batch(world: World, who: User | None) -> dict[str, Any]:
    batch = uuid.uuid4()
    world.decision_of(who, batch)
    return {"batch": batch}


def _view(world: World, who: User | None) -> dict[str, Any]:
    view = saved.save_view(member=who or world.admin, name=f"Mine {MARK}", query="label=fake")
    return {"pk": view.pk}


def _artifact(world: World, who: User | None) -> dict[str, Any]:
    return {"pk": world.artifact.pk, "?": artifacts.signed_path(world.artifact).partition("?")[2]}


def _passkey(world: World, who: User | None) -> dict[str, Any]:
    data = {"name": f"Key {MARK}", "credential": {}}
    return {"pk": Authenticator.objects.create(user=who or world.admin, type="webauthn", data=data).pk}


def _device(world: World, who: User | None) -> dict[str, Any]:
    row = MemberSession.objects.create(
        session_key=uuid.uuid4().hex, user=who or world.admin, expire_date=timezone.now() + timedelta(days=1)
    )
    return {"device_id": row.device_id}


def _grant(world: World, who: User | None) -> Any:
    return oauth.begin_grant(
        client=world.program, user=who or world.admin, scopes=["detect:read"], code_hash=uuid.uuid4().hex
    )


def _upload(world: World, who: User | None) -> dict[str, Any]:
    made = uploads.begin(organization=world.organization, size_bytes=1000, filename=f"{MARK}.png", actor=world.admin)
    return {"upload_id": made.public_id}


SAMPLES: dict[str, Sample] = {
    **dict.fromkeys(
        ["detection:job", "detection:related", "detection:job_panel", "detection:cancel", "detection:rerun",
         "detection:hold", "reports:report", "review:for_job", "review:open", "review:job_appeals",
         "review:make_appeal_link"],
        _job,
    ),
    **dict.fromkeys(
        ["review:case", "review:claim_bar", "review:next", "review:previous", "review:claim", "review:release",
         "review:decide", "review:note", "review:annotate", "review:thresholds", "review:harsh"],
        _case,
    ),
    **dict.fromkeys(
        ["accounts:member", "accounts:member_role", "accounts:member_deactivate", "accounts:member_reactivate",
         "accounts:member_end_sessions", "accounts:member_reset_factor", "accounts:member_revoke_keys"],
        _member,
    ),
    "detection:delete": _doomed_job,
    "accounts:invite_again": lambda world, who: {"pk": world.invited.pk},
    "accounts:invitation": lambda world, who: {
        "token": members.invitation_link(world.invited).rstrip("/").rpartition("/")[2]
    },
    **dict.fromkeys(
        ["accounts:role_change", "accounts:role_delete"], lambda world, who: {"pk": world.unused_role.pk}
    ),
    "detection:undo_deletion": lambda world, who: {"deletion_id": uuid.uuid4()},
    **dict.fromkeys(["detection:delete_view", "detection:default_view"], _view),
    **dict.fromkeys(
        ["detection:threshold_profile", "detection:threshold_change", "detection:threshold_retire"],
        lambda world, who: {"pk": world.profile.pk},
    ),
    **dict.fromkeys(
        ["detection:threshold_proposal", "detection:threshold_decide"], lambda world, who: {"pk": world.proposal.pk}
    ),
    **dict.fromkeys(
        ["detection:media_file", "detection:thumbnail"], lambda world, who: {"pk": world.job.media_id}
    ),
    "detection:artifact": _artifact,
    "review:undo_batch": _batch,
    "review:undo": lambda world, who: {"pk": world.decision_of(who).pk},
    "review:remove_annotation": lambda world, who: {
        "pk": world.case.pk,
        "annotation": Annotation.objects.create(case=world.case, author=who or world.admin, text=MARK, start_s=1).pk,
    },
    "review:revoke_appeal_link": lambda world, who: {"pk": world.job.pk, "link": world.appeal_link.pk},
    "review:remove_known_item": lambda world, who: {"pk": world.known.pk},
    "review:appeal": lambda world, who: {"token": appeals.token(world.appeal_link)},
    "reports:revoke": lambda world, who: {"pk": world.issue.pk},
    "reports:verify": lambda world, who: {"report_id": world.issue.public_id},
    "reports:api_report": lambda world, who: {"job_id": world.job.public_id},
    **dict.fromkeys(
        ["api_job", "api_job_cancel", "api_job_rerun"], lambda world, who: {"job_id": world.job.public_id}
    ),
    **dict.fromkeys(
        ["api_media_item", "api_media_file"], lambda world, who: {"media_id": world.job.media.public_id}
    ),
    **dict.fromkeys(["api_upload", "api_upload_complete"], _upload),
    **dict.fromkeys(
        ["api_batch", "api_batch_items", "api_batch_close", "api_batch_cancel"],
        lambda world, who: {"batch_id": world.batch.public_id},
    ),
    "api_threshold": lambda world, who: {"profile": f"thr_{world.profile.pk.hex}"},
    **dict.fromkeys(["api_key", "api_key_rotate"], lambda world, who: {"key_id": world.api_key.public_id}),
    **dict.fromkeys(
        ["api_webhook", "api_webhook_rotate", "api_webhook_test", "api_webhook_replay", "api_deliveries"],
        lambda world, who: {"webhook_id": world.webhook.public_id},
    ),
    "api_delivery": lambda world, who: {
        "webhook_id": world.webhook.public_id, "delivery_id": world.delivery.public_id
    },
    "api_docs_guide": lambda world, who: {"name": "oauth"},
    # Settings.
    **dict.fromkeys(
        ["accounts:api_key", "accounts:api_key_rotate", "accounts:api_key_revoke"],
        lambda world, who: {"pk": world.api_key.pk},
    ),
    "accounts:origin_remove": lambda world, who: {"pk": world.origin.pk},
    **dict.fromkeys(["accounts:data_request", "accounts:data_archive"], lambda world, who: {"pk": world.request.pk}),
    "accounts:end_session": _device,
    "mfa_remove_webauthn": _passkey,
    "mfa_edit_webauthn": _passkey,
    **dict.fromkeys(
        ["accounts:oauth_client", "accounts:oauth_client_rotate", "accounts:oauth_client_switch"],
        lambda world, who: {"pk": world.program.pk},
    ),
    "accounts:oauth_grant_revoke": lambda world, who: {"pk": world.program.pk, "grant": _grant(world, None).pk},
    "accounts:connected_program_disconnect": lambda world, who: {"grant": _grant(world, who).pk},
    "accounts:provisioning_group_role": lambda world, who: {"pk": world.group.pk},
    **dict.fromkeys(["accounts:sso_connection", "accounts:sso_remove"], lambda world, who: {"pk": world.oidc.pk}),
    **dict.fromkeys(
        ["accounts:sso_domain_verify", "accounts:sso_domain_remove"], lambda world, who: {"pk": world.domain.pk}
    ),
    "sso_start": lambda world, who: {"provider_id": world.oidc.provider_id},
    **dict.fromkeys(
        ["sso_oidc_callback", "sso_oidc_login", "openid_connect_login", "openid_connect_callback"],
        lambda world, who: {"provider_id": world.oidc.provider_id},
    ),
    **dict.fromkeys(
        ["sso_saml_acs", "sso_saml_finish", "sso_saml_metadata", "sso_saml_no_login", "sso_saml_no_logout",
         "saml_acs", "saml_finish_acs", "saml_sls", "saml_metadata", "saml_login"],
        lambda world, who: {"organization_slug": world.saml.pk.hex},
    ),
    "detection:release_hold": lambda world, who: {"pk": world.hold.pk},
    **dict.fromkeys(
        ["detection:webhook", "detection:webhook_change", "detection:webhook_secret", "detection:webhook_rotate",
         "detection:webhook_switch", "detection:webhook_delete", "detection:webhook_test", "detection:webhook_replay"],
        lambda world, who: {"pk": world.webhook.pk},
    ),
    "detection:webhook_delivery": lambda world, who: {"pk": world.webhook.pk, "delivery_pk": world.delivery.pk},
    "detection:webhook_callback": lambda world, who: {"delivery_pk": world.callback.pk},
    # Other people's views that name an object of their own.
    "account_confirm_email": lambda world, who: {"key": "nobody-has-this"},
    "account_reset_password_from_key": lambda world, who: {"uidb36": "1", "key": "nobody-has-this"},
}  # fmt: skip

# What answers a stranger otherwise than with 404, and why that tells them nothing.
STRANGERS: dict[str, tuple[int, str]] = {
    "detection:undo_deletion": (409, "what was deleted, if anything, is over: the same sentence for every id"),
}
# Public addresses whose object is kept from signed-in strangers all the same.
PUBLIC_BUT_SCOPED = {"detection:artifact"}


# Public steps of signing in that turn everybody away who has not taken the step before.
STEPS = {"sso_start", "sso_oidc_login", "sso_oidc_callback", "sso_saml_acs", "sso_saml_finish"}


# Addresses and their rules --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Address:
    name: str
    path: str
    callback: Any

    @property
    def has_object(self) -> bool:
        return "<" in self.path or "(?P" in self.path

    @property
    def view_class(self) -> Any:
        view = getattr(self.callback, "made", lambda: self.callback)()  # one that is made when it is first asked
        return getattr(view, "cls", None) or getattr(view, "view_class", None)

    @property
    def is_api(self) -> bool:
        return hasattr(self.view_class, "get_permissions")

    def attribute(self, name: str) -> Any:
        return getattr(self.callback, name, None) or getattr(self.view_class, name, None)

    @property
    def public_because(self) -> str:
        return self.attribute("public_because") or access.PUBLIC.get(self.name) or access.REDIRECTS.get(self.path) or ""

    @property
    def permissions(self) -> tuple[Permission, ...]:
        return self.attribute("required_permissions") or ()

    @property
    def has_rule(self) -> bool:
        if self.is_api:
            return bool(self.public_because) or all(self.scopes(method) is not None for method in self.methods)
        return bool(
            self.permissions
            or self.attribute("is_for_members")
            or self.attribute("is_own_account")
            or self.public_because
            or self.name in access.OWN_ACCOUNT
            or self.gate
        )

    @property
    def gate(self) -> str:
        return next((why for path, why in access.GATES.items() if self.path.startswith(path)), "")

    @property
    def methods(self) -> list[str]:
        """Of the API, from the view class; pages are asked (`page_methods`)."""
        actions = getattr(self.callback, "actions", None)
        found = actions or [name for name in self.view_class.http_method_names if hasattr(self.view_class, name)]
        return sorted(name.upper() for name in found if name not in ("options", "head"))

    def scopes(self, method: str) -> tuple[set[str], Permission | None] | None:
        """What the API's own permission classes ask for this method: (scopes, what a member needs beyond them)."""
        view = self.view_class(**getattr(self.callback, "initkwargs", {}))
        view.request, view.kwargs = SimpleNamespace(method=method), {}
        view.action = (getattr(self.callback, "actions", None) or {}).get(method.lower(), "")
        found = [permission for permission in view.get_permissions() if not isinstance(permission, AllowAny)]
        scopes = [permission for permission in found if getattr(permission, "required_scope", "")]
        return ({one.required_scope for one in scopes}, scopes[0].member_permission) if scopes else None


def walked(patterns: Any, path: str = "", room: str = "") -> Iterator[Address]:
    for pattern in patterns:
        here = path + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            space = ":".join(part for part in (room, pattern.namespace) if part)
            yield from walked(pattern.url_patterns, here, space)
        elif isinstance(pattern, URLPattern):
            name = pattern.name or ""
            yield Address(f"{room}:{name}" if room and name else name, here, pattern.callback)


ADDRESSES = list(walked(get_resolver().url_patterns))
PAGES = [address for address in ADDRESSES if not address.is_api and not address.gate]
API = [address for address in ADDRESSES if address.is_api]


# Knocking -------------------------------------------------------------------------------------------------------------


GATE_SAMPLES = {"object_id": "1", "app_label": "accounts", "content_type_id": "1", "url": "x", "id": "1", "pk": "1"}


def path_behind_gate(address: Address) -> str:
    path = "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda match: GATE_SAMPLES[match[1]], address.path)
    return re.sub(r"\(\?P<\w+>[^)]*\)\$?$", "x", path).replace("^.*$", "x")


def address_of(address: Address, world: World, who: User | None) -> str:
    kwargs = dict(SAMPLES[address.name](world, who)) if address.has_object else {}
    query = kwargs.pop("?", "")
    path = reverse(address.name, kwargs=kwargs) if address.name else f"/{address.path}"
    return f"{path}?{query}" if query else path


def knock(
    world: World, client: Client, address: Address, method: str, who: User | None, key: str = ""
) -> tuple[str, HttpResponse]:
    """Ask as somebody; whatever that changes, and whatever the sample made, is undone."""
    cookies = SimpleCookie(client.cookies.output(header="", sep=";"))
    headers = {"Tus-Resumable": "1.0.0"} | ({"Authorization": f"Bearer {key}"} if key else {})
    with transaction.atomic():
        path = address_of(address, world, who)
        response: Any = client.generic(method, path, content_type="application/json", headers=headers)
        response.seen = _content(response)
        transaction.set_rollback(True)
    client.cookies = cookies
    return answer_of(response), response


def _content(response: Any) -> bytes:
    if not response.streaming:
        return bytes(response.content)
    if not response.is_async:
        return b"".join(response.streaming_content)

    async def read() -> bytes:
        return b"".join([chunk async for chunk in response.streaming_content])

    return async_to_sync(read)()


def answer_of(response: Any) -> str:
    if response.status_code >= 500:
        return "broken"
    to = response.headers.get("Location", "")
    if response.status_code == 401 or (
        response.status_code in (301, 302) and to.startswith((reverse(settings.LOGIN_URL), "/admin/login/"))
    ):
        return "asked to sign in"
    return {403: "refused", 404: "told that there is nothing"}.get(response.status_code, "let in")


def page_methods(world: World, address: Address) -> list[str]:
    """A page says which methods it takes when it is asked with one that nobody has."""
    response = knock(world, world.clients["admin"], address, "PURGE", world.admin)[1]
    if response.status_code != 405:
        return []
    named = {word.strip() for word in response.headers.get("Allow", "").split(",")}
    return sorted(named & {"GET", "POST", "PUT", "PATCH", "DELETE"})


def wrong(address: Address, method: str, who: str, answer: str, wanted: str, response: Any) -> str:
    said = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.seen[:20_000].decode(errors="replace")))[-160:]
    return (
        f"{method} /{address.path} ({address.name}): {who} was {answer} ({response.status_code}), "
        f"should be {wanted}. … {said}"
    )
