"""Every address that changes something leaves a row in the audit log, and every recorded action has words.

A new address that takes POST, PUT, PATCH or DELETE is either tried here (RECIPES: what to send, and the action that is
recorded), or shown to be recorded by a test of its own (ELSEWHERE), or says why it leaves no row (NOTHING).
"""

from __future__ import annotations

import ast
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from accounts import audit_words, members, roles
from accounts.api_keys import create_api_key
from accounts.models import (
    ApiKey,
    AuditLog,
    ClientKind,
    CustomRole,
    EmailDomain,
    OAuthClient,
    OAuthGrant,
    Organization,
    ProvisioningToken,
    Role,
    ScimGroup,
    SignInRules,
    User,
)
from accounts.oauth import services as oauth_services
from accounts.scim import services as scim_services
from accounts.sso import services as sso_services
from detection import batches, deletion, holds, saved, threshold_services, uploads, webhooks_services
from detection.models import Batch, Job, JobStatus, LegalHold, Upload, WebhookEndpoint
from reports import services as report_services
from review import appeals, marks, planting, rules, services
from review.models import Priority, Reason, ReviewCase, ReviewSettings
from tests import factories
from tests.pages.finished import make_finished

pytestmark = [pytest.mark.django_db, pytest.mark.services]
ROOT = Path(__file__).resolve().parents[1]
METHODS = ("post", "put", "patch", "delete")


class World:
    """One organisation with what the addresses below need; `member` is who sends."""

    def __init__(self, organization: Organization) -> None:
        self.organization = organization
        self.ada = factories.make_user(organization, "ada", Role.ADMIN)
        self.bob = factories.make_user(organization, "bob", Role.REVIEWER)
        ReviewSettings.objects.create(organization=organization, audit_rate=0, second_opinion_rate=0)
        self.headers: dict[str, str] = {}
        self.sends: dict[str, Any] = {}  # what is sent otherwise than as a form
        self.key: ApiKey | None = None

    def waiting(self) -> Job:
        return factories.make_job(organization=self.organization, created_by=self.ada)

    def done(self) -> Job:
        return make_finished(self.organization, self.bob)

    def case(self) -> ReviewCase:
        ground = rules.Ground(Reason.UNCERTAIN, Priority.NORMAL, "The score lies close to a threshold.")
        return services.open_case(job=self.done(), grounds=[ground])

    def decided(self, **more: Any) -> Any:
        return services.decide(case=self.case(), actor=self.ada, opinion=services.Opinion(outcome="confirm"), **more)

    def view(self) -> Any:
        return saved.save_view(member=self.ada, name="Fakes", query="label=fake")

    def proposal(self, by: User, **more: Any) -> Any:
        wish = {"name": "agency", "after": CONTENT, "action": "create", "why": "Re-encoded."} | more
        return threshold_services.propose(organization=self.organization, actor=by, **wish)

    def profile(self) -> Any:
        return threshold_services.approve(proposal=self.proposal(self.bob), actor=self.ada, answer="Agreed.")

    def with_key(self, *scopes: str) -> None:
        wanted = scopes or ("detect:write", "detect:read")
        self.key, text = create_api_key(organization=self.organization, scopes=wanted)
        self.headers = {"Authorization": f"Bearer {text}"}

    def other_key(self) -> ApiKey:
        return create_api_key(organization=self.organization, scopes=["detect:read"], name="Desk")[0]

    def role(self) -> CustomRole:
        return roles.create_role(
            organization=self.organization, name="Desk", permissions=["media.view"], actor=self.ada
        )

    def with_factor(self) -> User:
        Authenticator.objects.create(user=self.bob, type=Authenticator.Type.TOTP, data={})
        return self.bob

    def program(self) -> OAuthClient:
        return oauth_services.create_client(
            organization=self.organization, name="Tool", kind=ClientKind.WEB, actor=self.ada,
            redirect_uris=["https://tool.example.org/back"], scopes=["openid", "detect:read"],
        )[0]  # fmt: skip

    def grant(self, member: User) -> OAuthGrant:
        return oauth_services.begin_grant(client=self.program(), user=member, scopes=["openid"], code_hash="x")

    def token(self) -> ProvisioningToken:
        scim_services.make_token(organization=self.organization, actor=self.ada)
        return ProvisioningToken.objects.get()

    def group(self) -> ScimGroup:
        self.token()
        return ScimGroup.objects.create(organization=self.organization, display_name="Desk")

    def domain(self) -> EmailDomain:
        return sso_services.add_domain(organization=self.organization, domain="example.org", actor=self.ada)

    def webhook(self, **fields: Any) -> WebhookEndpoint:
        url = "https://app.example.org/hook"
        row = webhooks_services.create_endpoint(organization=self.organization, url=url, events=["*"])[0]
        WebhookEndpoint.objects.filter(pk=row.pk).update(**fields)
        return row

    def unreachable(self) -> WebhookEndpoint:
        """One that is never called, so that a test dials nobody."""
        return self.webhook(url="https://10.0.0.1/")

    def batch(self) -> Batch:
        return batches.create(organization=self.organization, items=[], keep_open=True, stability="cheap")

    def upload(self) -> Upload:
        return uploads.begin(
            organization=self.organization, size_bytes=len(factories.png_bytes()), actor=self.ada, api_key=self.key
        )

    def hold(self) -> LegalHold:
        return holds.set_hold(job=self.done(), actor=self.ada, reason="A court asked for it.")


CONTENT = {"kind": "image", "platform": "", "host": "example.org", "codec": "", "fake_at": 0.9, "real_below": 0.2}
FORM = CONTENT | {"fake_at": "90", "real_below": "20", "name": "agency", "why": "Re-encoded."}
Sent = tuple[list[Any], dict[str, Any]]  # arguments of the address, and the fields of the form


def png() -> SimpleUploadedFile:
    return SimpleUploadedFile("a.png", factories.png_bytes(), "image/png")


def _appeal(world: World) -> Any:
    return appeals.make_link(job=world.done(), actor=world.ada, days=14)


def _bulk(world: World) -> Sent:
    return [], {"action": "cancel", "jobs": [str(world.waiting().pk)]}


def _undone(world: World) -> Sent:
    return [deletion.delete_soon(jobs=[world.done()], organization=world.organization, actor=world.ada).id], {}


def _batch(world: World) -> Sent:
    batch = services.decide_many(
        cases=ReviewCase.objects.filter(pk=world.case().pk), actor=world.ada, opinion=services.Opinion("confirm")
    )
    return [batch.id], {}


def _mark(world: World) -> Sent:
    case = world.case()
    mark = marks.annotate(case=case, actor=world.ada, text="Here", box=(1.0, 1.0, 5.0, 5.0))
    return [case.pk, mark.pk], {}


def _held(world: World) -> Sent:
    return [services.claim(case=world.case(), actor=world.ada).pk], {}


def _issue(world: World) -> Sent:
    job = report_services.for_report(Job.objects.all()).get(pk=world.done().pk)
    return [report_services.issue(job=job, wanted="json").issue.pk], {"reason": "A mistake."}


def _known(world: World) -> Sent:
    return [planting.plant(job=world.done(), actor=world.ada, truth="real", source="ours").pk], {}


def _link(world: World) -> Sent:
    link = _appeal(world)
    return [link.job_id, link.pk], {}


def _own(make: str, **fields: Any) -> Callable[[World], Sent]:
    """The address of one thing that the world makes."""
    return lambda world: ([getattr(world, make)().pk], fields)


def _settings(world: World) -> Sent:
    row = ReviewSettings.objects.get()
    names = ["sla_urgent_h", "sla_high_h", "sla_normal_h", "sla_low_h", "claim_minutes", "undo_minutes", "appeal_days"]
    shares = {"audit_percent": 2, "second_percent": 5, "from_percent": 40, "margin_percent": 5, "gap_percent": 40}
    return [], {name: getattr(row, name) for name in names} | shares


def _api(make: Callable[[World], Sent], *scopes: str) -> Callable[[World], Sent]:
    def with_key(world: World) -> Sent:
        world.with_key(*scopes)
        return make(world)

    return with_key


def _json(make: str, *scopes: str, **fields: Any) -> Callable[[World], Sent]:
    """Sent as JSON with a key, about the thing that the world makes (or about none)."""

    def with_key(world: World) -> Sent:
        world.with_key(*scopes)
        world.sends = {"content_type": "application/json", "data": fields}
        return ([getattr(world, make)().public_id] if make else []), {}

    return with_key


def _all_of(make: str, **fields: Any) -> Callable[[World], Sent]:
    """An address that needs the thing to be there and does not name it."""

    def made(world: World) -> Sent:
        getattr(world, make)()
        return [], fields

    return made


def _piece(world: World) -> Sent:
    world.with_key()
    world.headers |= {"Tus-Resumable": "1.0.0", "Upload-Offset": "0"}
    world.sends = {"data": factories.png_bytes(), "content_type": "application/offset+octet-stream"}
    return [world.upload().public_id], {}


def _ended_upload(world: World) -> Sent:
    world.with_key()
    world.headers |= {"Tus-Resumable": "1.0.0"}
    return [world.upload().public_id], {}


def _about_bob(**fields: Any) -> Callable[[World], Sent]:
    return lambda world: ([world.bob.pk], fields)


def _off(world: World) -> Sent:
    User.objects.filter(pk=world.bob.pk).update(is_active=False)
    return [world.bob.pk], {}


def _invited(world: World) -> Sent:
    wish: dict[str, Any] = {"username": "ivy", "email": "ivy@example.org", "role": Role.VIEWER, "is_sent": False}
    return [members.invite(organization=world.organization, actor=world.ada, **wish).pk], {}


def _passwords(world: World) -> Sent:
    SignInRules.objects.create(organization=world.organization, passwords_allowed=False)
    return [], {"passwords": "on"}


def _passkey(world: World) -> Sent:
    key = Authenticator.objects.create(
        user=world.ada, type=Authenticator.Type.WEBAUTHN, data={"name": "Old", "credential": {}}
    )
    return [key.pk], {"name": "New"}


def _grant_of(world: World) -> Sent:
    grant = world.grant(world.bob)
    return [grant.client_id, grant.pk], {}


KEY = {"name": "Desk", "scopes": ["detect:read"]}
ADMIN = ("admin:read", "admin:write", "detect:read")
HOOKS = ("webhooks:read", "webhooks:write", "detect:read")
HOOK = {"url": "https://app.example.org/other", "events": ["job.failed"], "description": "Desk"}
PROGRAM = {"name": "Tool 2", "redirect_uris": "https://tool.example.org/back", "scopes": ["openid"], "kind": "web"}
RULES = {"factors": "any", "grace_days": 3, "idle_minutes": 60, "session_hours": 8, "passwords_allowed": "on"}
KEPT = {"review_extra_days": 5, "request_days_from": 1, "request_days_to": 30, "any_media_days": 90}
AGO = "2026-01-01T00:00:00Z"
Recipe = tuple[str, Callable[[World], Sent]]
# Method and name of the address -> the action that it records, and what is sent.
RECIPES: dict[str, Recipe] = {
    "post account_login": ("auth.signed_in", lambda world: ([], {"login": "bob", "password": factories.PASSWORD})),
    "post account_logout": ("auth.signed_out", lambda world: ([], {})),
    "post account_change_password": (
        "user.password_changed",
        lambda world: (
            [],
            {"oldpassword": factories.PASSWORD, "password1": "new horse staple 7", "password2": "new horse staple 7"},
        ),
    ),
    "post detection:upload": ("media.submitted", lambda world: ([], {"files": [png()]})),
    "post detection:bulk": ("job.cancelled", _bulk),
    "post detection:undo_deletion": ("jobs.deletion_undone", _undone),
    "post detection:save_view": ("view.saved", lambda world: ([], {"name": "Fakes", "query": "label=fake"})),
    "post detection:delete_view": ("view.deleted", _own("view")),
    "post detection:default_view": ("view.default_chosen", _own("view")),
    "post detection:cancel": ("job.cancelled", _own("waiting")),
    "post detection:rerun": ("job.started", _own("done")),
    "post detection:delete": ("job.deleted", _own("done")),
    "post detection:threshold_new": ("threshold.proposed", lambda world: ([], FORM)),
    "post detection:threshold_change": ("threshold.proposed", _own("profile", **FORM | {"fake_at": "80"})),
    "post detection:threshold_retire": ("threshold.proposed", _own("profile", why="No longer needed.")),
    "post detection:threshold_decide": (
        "threshold.approved",
        lambda world: ([world.proposal(world.bob).pk], {"approve": "1", "answer": "Agreed."}),
    ),
    "post reports:revoke": ("report.revoked", _issue),
    "post review:take": ("review.claimed", lambda world: ([], {"case": world.case().pk})),
    "post review:bulk": ("review.decided", lambda world: ([], {"cases": [world.case().pk], "outcome": "confirm"})),
    "post review:undo_batch": ("review.undone", _batch),
    "post review:undo": ("review.undone", _own("decided")),
    "post review:claim": ("review.claimed", _own("case")),
    "post review:release": ("review.released", _held),
    "post review:decide": ("review.decided", _own("case", outcome="confirm")),
    "post review:note": ("review.noted", _own("case", text="Look at the lips.")),
    "post review:annotate": ("review.annotated", _own("case", text="Here", x=1, y=1, width=5, height=5)),
    "post review:remove_annotation": ("review.annotation_removed", _mark),
    "post review:thresholds": (
        "review.thresholds_set",
        _own("case", real_below="20", fake_at="95", reason="Dark picture."),
    ),
    "post review:harsh": ("review.harsh_marked", _own("case", is_harsh="1")),
    "post review:open": ("review.opened", _own("done")),
    "post review:make_appeal_link": ("review.appeal_link_made", _own("done")),
    "post review:revoke_appeal_link": ("review.appeal_link_revoked", _link),
    "post review:preferences": ("review.preferences_saved", lambda world: ([], {"veil": "all"})),
    "post review:settings": ("review.settings_saved", _settings),
    "post review:known_items": (
        "review.known_planted",
        lambda world: ([], {"job": world.done().public_id, "truth": "real", "source": "ours"}),
    ),
    "post review:remove_known_item": ("review.known_removed", _known),
    "post review:appeal": (
        "review.appealed",
        lambda world: ([appeals.path(_appeal(world)).strip("/").split("/")[-1]], {"text": "This is me, filmed."}),
    ),
    "post api_media": ("media.submitted", _api(lambda world: ([], {"file": png()}))),
    "post api_detect": ("job.started", _api(lambda world: ([], {"file": png()}))),
    "delete api_job": ("job.deleted", _api(lambda world: ([world.done().public_id], {}))),
    "post api_job_cancel": ("job.cancelled", _api(lambda world: ([world.waiting().public_id], {}))),
    "post api_feedback": (
        "job.feedback",
        _api(lambda world: ([], {"job_id": world.done().public_id, "label": "real"})),
    ),
    "post accounts:invite": ("user.invited", lambda world: ([], {"username": "ivy", "role": "viewer"})),
    "post accounts:invite_again": ("user.invited_again", _invited),
    "post accounts:member_role": ("user.role_changed", _about_bob(role="viewer")),
    "post accounts:member_deactivate": ("user.deactivated", _about_bob()),
    "post accounts:member_reactivate": ("user.reactivated", _off),
    "post accounts:member_end_sessions": ("user.sessions_ended", _about_bob()),
    "post accounts:member_reset_factor": ("auth.factors_reset", _own("with_factor")),
    "post accounts:reset_factors": ("auth.factors_reset", lambda world: ([], {"member": world.with_factor().pk})),
    "post accounts:role_new": ("role.created", lambda world: ([], {"name": "Desk", "permissions": ["media.view"]})),
    "post accounts:role_change": ("role.changed", _own("role", name="Desk 2", permissions=["media.view"])),
    "post accounts:role_delete": ("role.deleted", _own("role")),
    "post accounts:api_key_new": ("api_key.created", lambda world: ([], KEY)),
    "post accounts:api_key": ("api_key.changed", _own("other_key", **KEY | {"name": "Other"})),
    "post accounts:api_key_rotate": ("api_key.rotated", _own("other_key", overlap_hours="1")),
    "post accounts:api_key_revoke": ("api_key.revoked", _own("other_key")),
    "post accounts:sign_in_rules": ("sign_in.rules_changed", lambda world: ([], RULES)),
    "post accounts:data_requests": (
        "privacy.export_asked",
        lambda world: ([], {"about": "member", "kind": "export", "member": world.bob.pk}),
    ),
    "post accounts:oauth_client_new": ("oauth_client.created", lambda world: ([], PROGRAM)),
    "post accounts:oauth_client": ("oauth_client.changed", _own("program", **PROGRAM)),
    "post accounts:oauth_client_rotate": ("oauth_client.secret_rotated", _own("program", overlap_hours="0")),
    "post accounts:oauth_client_switch": ("oauth_client.disabled", _own("program", to="off")),
    "post accounts:oauth_grant_revoke": ("oauth_grant.revoked", _grant_of),
    "post accounts:connected_program_disconnect": (
        "oauth_grant.revoked",
        lambda world: ([world.grant(world.ada).pk], {}),
    ),
    "post accounts:provisioning_token": ("scim_token.created", lambda world: ([], {})),
    "post accounts:provisioning_token_remove": ("scim_token.removed", _all_of("token")),
    "post accounts:provisioning_default_role": ("scim_token.default_role_set", _all_of("token", role="analyst")),
    "post accounts:provisioning_group_role": ("scim_group.role_set", _own("group", role="analyst")),
    "post accounts:sso_domain_add": ("email_domain.added", lambda world: ([], {"domain": "example.org"})),
    "post accounts:sso_domain_remove": ("email_domain.removed", _own("domain")),
    "post accounts:sso_passwords": ("sign_in.rules_changed", _passwords),
    "post mfa_edit_webauthn": ("auth.factor_renamed", _passkey),
    "post detection:privacy": ("privacy.retention_changed", lambda world: ([], KEPT)),
    "post detection:hold": ("privacy.hold_set", _own("done", reason="A court asked for it.", scope="item")),
    "post detection:release_hold": ("privacy.hold_released", _own("hold", reason="It is over.")),
    "post detection:webhook_new": ("webhook.created", lambda world: ([], HOOK)),
    "post detection:webhook_change": ("webhook.changed", _own("webhook", **HOOK)),
    "post detection:webhook_secret": ("webhook.secret_shown", _own("webhook")),
    "post detection:webhook_rotate": ("webhook.rotated", _own("webhook", overlap_hours="24")),
    "post detection:webhook_switch": ("webhook.disabled", _own("webhook", to="off")),
    "post detection:webhook_delete": ("webhook.deleted", _own("webhook")),
    "post detection:webhook_test": ("webhook.tested", _own("unreachable")),
    "post detection:webhook_replay": ("webhook.replayed", _own("webhook", since=AGO[:16], state="failed")),
    "delete api_media_item": (
        "media.deleted",
        _api(lambda world: ([factories.make_media(world.organization, api_key=world.key).public_id], {})),
    ),
    "patch api_upload": ("media.submitted", _piece),
    "delete api_upload": ("upload.ended", _ended_upload),
    "post api_job_rerun": ("job.started", _json("done")),
    "post api_batches": ("batch.created", _json("", name="Wire")),
    "post api_batch_items": (
        "batch.items_added",
        _json("batch", items=[{"url": "https://media.example.org/a.png"}]),
    ),
    "post api_batch_close": ("batch.closed", _json("batch")),
    "post api_batch_cancel": ("batch.cancelled", _json("batch")),
    "post api_keys": ("api_key.created", _json("", *ADMIN, **KEY)),
    "patch api_key": ("api_key.changed", _json("other_key", *ADMIN, name="Other")),
    "delete api_key": ("api_key.revoked", _json("other_key", *ADMIN)),
    "post api_key_rotate": ("api_key.rotated", _json("other_key", *ADMIN)),
    "post api_webhooks": ("webhook.created", _json("", *HOOKS, **HOOK)),
    "patch api_webhook": ("webhook.changed", _json("webhook", *HOOKS, description="Desk")),
    "delete api_webhook": ("webhook.deleted", _json("webhook", *HOOKS)),
    "post api_webhook_rotate": ("webhook.rotated", _json("webhook", *HOOKS)),
    "post api_webhook_test": ("webhook.tested", _json("unreachable", *HOOKS)),
    "post api_webhook_replay": ("webhook.replayed", _json("webhook", *HOOKS, since=AGO)),
}
# Shown by a test of its own: the file, and the action that it looks for.
ELSEWHERE: dict[str, tuple[str, str]] = {
    "post accounts:origins": ("tests/accounts/test_cors.py", "cors.origin_allowed"),
    "post accounts:origin_remove": ("tests/accounts/test_cors.py", "cors.origin_removed"),
    "post accounts:member_revoke_keys": ("tests/accounts/test_leaving.py", "api_key.revoked"),
    "post accounts:invitation": ("tests/accounts/test_members.py", "user.joined"),
    "post accounts:end_session": ("tests/accounts/test_sessions.py", "auth.session_ended"),
    "post accounts:end_other_sessions": ("tests/accounts/test_sessions.py", "auth.sessions_ended"),
    "post accounts:sso_new_oidc": ("tests/accounts/sso/test_pages.py", "sso_connection.created"),
    "post accounts:sso_new_saml": ("tests/accounts/sso/test_pages.py", "sso_connection.created"),
    "post accounts:sso_connection": ("tests/accounts/sso/test_pages.py", "sso_connection.changed"),
    "post accounts:sso_remove": ("tests/accounts/sso/test_pages.py", "sso_connection.removed"),
    "post accounts:sso_domain_verify": ("tests/accounts/sso/test_pages.py", "email_domain.verified"),
    "post scim_users": ("tests/accounts/scim/test_protocol.py", "user.created"),
    "post scim_groups": ("tests/accounts/scim/test_protocol.py", "scim_group.created"),
    "post idp:oidc:authorization": ("tests/accounts/oauth/test_conversations.py", "oauth_grant.made"),
    "post idp:oidc:revoke": ("tests/accounts/oauth/test_conversations.py", "oauth_grant.revoked"),
    "post api_upload_complete": ("tests/detection/test_api_uploads.py", "media.submitted"),
    "post mfa_add_webauthn": ("tests/accounts/test_audited_accounts.py", "auth.factor_added"),
    "post mfa_remove_webauthn": ("tests/accounts/test_sign_in_rules.py", "auth.factor_removed"),
    "post mfa_activate_totp": ("tests/accounts/test_audited_accounts.py", "auth.factor_added"),
    "post mfa_deactivate_totp": ("tests/accounts/test_audited_accounts.py", "auth.factor_removed"),
    "post mfa_generate_recovery_codes": ("tests/accounts/test_audited_accounts.py", "auth.recovery_codes_renewed"),
    "post account_reset_password_from_key": ("tests/accounts/test_password_reset.py", "user.password_reset"),
}
NOTHING: dict[str, str] = {
    "post reports:verify": "checks a file that a stranger sends and keeps nothing",
    "post reports:verify_any": "checks a file that a stranger sends and keeps nothing",
    "post account_reset_password": "sends a link; what is done with it is recorded",
    "post account_reauthenticate": "asks for the password again and changes nothing",
    "post mfa_reauthenticate": "asks for the second factor again and changes nothing",
    "post mfa_authenticate": "the second step of signing in, which is recorded as the sign-in",
    "post mfa_login_webauthn": "signs in by a passkey, which is recorded as the sign-in",
    "post mfa_reauthenticate_webauthn": "asks for the passkey again and changes nothing",
    "post mfa_index": "redirects to the page Your sign-in",
    "post mfa_list_webauthn": "redirects to the page Your sign-in",
    "post sso_saml_acs": "puts the provider's answer aside; the sign-in that follows is recorded, or its refusal",
    "post sso_saml_no_login": "switched off: always answers 404",
    "post sso_saml_no_logout": "switched off: always answers 404",
    "post scim_search": "a search, sent by POST as the protocol wants it",
    "post scim_users_search": "a search, sent by POST as the protocol wants it",
    "post scim_groups_search": "a search, sent by POST as the protocol wants it",
    "post idp:oidc:token": "tokens of a grant that was recorded as it was made; its end is recorded too",
    "post idp:oidc:userinfo": "reads who the token is of",
    "post api_uploads": "makes room for pieces and no item yet; the item that is made of them is recorded",
    "post api_direct_upload": "makes room for a file and no item yet; the item that is made of it is recorded",
    **dict.fromkeys(
        ["post account_email", "post account_email_verification_sent", "post account_confirm_email",
         "post account_confirm_login_code", "post socialaccount_signup", "post socialaccount_connections"],
        "not offered: always answers 404",
    ),
    "post account_signup": "says that nobody registers here",
    "post account_set_password": "only leads on",
}  # fmt: skip
# The back office, of which one receiver records all (see test_audited_accounts.py), and old addresses that redirect.
ROOMS_OF_THEIR_OWN = ("admin/", "accounts/social/")


# The list is whole ----------------------------------------------------------------------------------------------------


def addresses(patterns: Any, path: str = "", room: str = "") -> Iterator[tuple[str, str, Any]]:
    for pattern in patterns:
        here = path + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, here, ":".join(filter(None, (room, pattern.namespace))))
        elif isinstance(pattern, URLPattern):
            yield f"{room}:{pattern.name}" if room else str(pattern.name), here, pattern


def sample(pattern: URLPattern, path: str = "") -> dict[str, Any]:
    known = {"uuid": str(uuid.uuid4()), "int": "1"}
    # What an address around this one takes stands in the whole path alone.
    found: dict[str, Any] = {name: known.get(kind, "x") for kind, name in re.findall(r"<(\w+):(\w+)>", path)}
    found |= dict.fromkeys(re.findall(r"\(\?P<(\w+)>", path), "x")
    for name, converter in pattern.pattern.converters.items():
        found[name] = known.get(type(converter).__name__.removesuffix("Converter").lower(), "x")
    if not pattern.pattern.converters and hasattr(pattern.pattern, "regex"):
        found |= dict.fromkeys(pattern.pattern.regex.groupindex, "1-x")
    return found


def changing(client: Client) -> set[str]:
    """Method and name of every address that does not refuse the method outright."""
    found = set()
    for name, path, pattern in addresses(get_resolver().url_patterns):
        if path.startswith(ROOMS_OF_THEIR_OWN):
            continue
        url = reverse(name, kwargs=sample(pattern, path))
        callback = getattr(pattern.callback, "made", lambda view=pattern.callback: view)()  # made when first asked
        view = getattr(callback, "view_class", None) or getattr(callback, "cls", None)
        for method in METHODS:
            if view is not None and not hasattr(view, method):
                continue
            # Pages look for nothing but POST; Django's form views take PUT for the same.
            if method != "post" and not path.startswith("v1/"):
                continue
            if view is not None or client.post(url).status_code != 405:
                found.add(f"{method} {name}")
    return found


def test_every_address_that_changes_something_is_listed(client: Client, administrator: User) -> None:
    client.force_login(administrator)
    client.raise_request_exception = False
    found = changing(client)
    listed = set(RECIPES) | set(ELSEWHERE) | set(NOTHING)
    assert sorted(found - listed) == [], "add a recipe, name the test that shows its row, or say why it leaves none"
    assert sorted(listed - found) == [], "gone: take it out of the lists"


def test_what_is_shown_elsewhere_is_shown_there() -> None:
    missing = [
        f"{address}: {file} does not look for {action}"
        for address, (file, action) in ELSEWHERE.items()
        if action not in (ROOT / file).read_text()
    ]
    assert missing == []


# Each of them leaves its row ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", RECIPES)
def test_it_leaves_a_row(address: str, client: Client, organization: Organization) -> None:
    action, recipe = RECIPES[address]
    method, _, name = address.partition(" ")
    world = World(organization)
    arguments, fields = recipe(world)
    if name not in ("account_login", "review:appeal") and not world.headers:
        client.force_login(world.ada)
    before = AuditLog.objects.order_by("-id").values_list("id", flat=True).first() or 0
    with_fields = world.sends or ({"data": fields} if method == "post" else {})
    answer = getattr(client, method)(reverse(name, args=arguments), headers=world.headers, **with_fields)
    assert answer.status_code < 400, answer.content[:500]
    rows = AuditLog.objects.filter(id__gt=before, action=action)
    assert rows.exists(), list(AuditLog.objects.filter(id__gt=before).values_list("action", flat=True))
    row = rows.latest("id")
    assert row.organization == organization
    assert row.ip_address == "127.0.0.1"
    if name == "review:appeal":
        assert row.actor is None
    elif world.key is not None:
        assert row.api_key_prefix == world.key.prefix
    else:
        assert row.actor in (world.ada, world.bob)


# Words ----------------------------------------------------------------------------------------------------------------

_ACTION = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
_RECORDERS = {"record", "record_hourly", "_audit", "_record", "_about"}


def recorded_actions() -> Iterator[tuple[str, str]]:
    """Every action that the source hands to the audit log, with its place; f-strings by their possible words."""
    for folder in ("accounts", "detection", "review", "reports", "deepfake", "documents", "kyc", "alerts"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "migrations" in path.parts or "training" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and _name(node.func) in _RECORDERS:
                    given = [*node.args, *(word.value for word in node.keywords if word.arg == "action")]
                    for found in given:
                        yield from ((action, f"{path.name}:{node.lineno}") for action in _strings(found))


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _strings(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and _ACTION.fullmatch(node.value):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _strings(node.body)
        yield from _strings(node.orelse)
    elif isinstance(node, ast.JoinedStr) and ast.unparse(node) == "f'job.{status}'":
        yield from (f"job.{status}" for status in (JobStatus.FAILED, JobStatus.CANCELLED))


def test_every_recorded_action_has_words() -> None:
    found = dict(recorded_actions())
    assert len(found) > 40, "the source is not read as it was"
    missing = {action: place for action, place in found.items() if action not in audit_words.SENTENCES}
    assert missing == {}, "give it words in accounts/audit_words.py"


def test_every_dynamic_action_is_known() -> None:
    """An action that is put together at run time would escape the test above, so each is looked at by hand."""
    dynamic = []
    for folder in ("accounts", "detection", "review", "reports", "deepfake"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and _name(node.func) in ("record", "record_hourly"):
                    dynamic += [
                        f"{path.name}: {ast.unparse(word.value)}"
                        for word in node.keywords
                        if word.arg == "action" and isinstance(word.value, ast.JoinedStr | ast.BinOp)
                    ]
    assert set(dynamic) <= {"jobs.py: f'job.{status}'", "batches.py: f'batch.{status}'"}


def test_words_are_given_once() -> None:
    actions = [action for _, named in audit_words.GROUPS.values() for action in named]
    assert len(actions) == len(set(actions))
    assert all(len(action) <= 60 for action in actions)
