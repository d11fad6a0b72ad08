"""What the walk through every page needs: the review site, plus threshold profiles and a proposal in each state."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from urllib.parse import urlencode

from django.utils import timezone

from accounts import data_requests, members, roles
from accounts.api_keys import create_api_key, revoke_api_key, rotate_api_key
from accounts.models import EmailDomain, Organization, ProvisioningToken, ScimGroup, SsoConnection, User
from accounts.oauth import services as oauth
from detection import holds, threshold_services, webhooks, webhooks_sending, webhooks_services
from detection.models import Job, JobStatus, WebhookAttempt, WebhookDelivery, WebhookEndpoint
from detection.webhook_models import SwitchedOff
from tests import factories
from tests.pages.finished import make_finished
from tests.review.seed_site import seed as seed_review

RULE = {"kind": "image", "platform": "", "host": "example.org", "codec": ""}


def seed() -> None:
    """Write the rows and print ids and addresses as JSON."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        seed_review()
    organization = Organization.objects.get(slug="example")
    alice, bob, ada = (User.objects.get(username=name) for name in ("alice", "bob", "ada"))
    wish = {"organization": organization, "actor": bob, "why": "Agency pictures are re-encoded."}
    made = threshold_services.propose(
        **wish, action="create", name="agency", after={**RULE, "fake_at": 0.9, "real_below": 0.2}
    )
    profile = threshold_services.approve(proposal=made, actor=ada, answer="Agreed.")
    changed = threshold_services.propose(
        **wish, action="change", profile=profile, after={**RULE, "fake_at": 0.8, "real_below": 0.1}
    )
    voice = make_finished(organization, alice, kind="audio", label="inconclusive", score=0.5)
    failed = factories.make_job(organization=organization, status=JobStatus.FAILED, created_by=alice)
    role = roles.create_role(organization=organization, name="Desk", permissions=["media.view"], actor=ada)
    invited = members.invite(organization=organization, username="ivy", custom_role=role, actor=ada)
    exported, erased = _privacy(organization, ada, failed)
    more = (
        seed_keys(organization, ada)
        | _webhooks(organization, ada, failed)
        | {
            "hold": str(holds.set_hold(job=voice, actor=ada, reason="File 12/2026").pk),
            "exported": exported,
            "erased": erased,
            "member": str(bob.pk),
            "invited": str(invited.pk),
            "invitation": "/invitation/" + members.invitation_link(invited).partition("/invitation/")[2],
            "role": str(role.pk),
            "profile": str(profile.pk),
            "shipped": str(_shipped()),
            "proposal": str(changed.pk),
            "approved": str(made.pk),
            "voice_job": str(voice.pk),
            "failed_job": str(failed.pk),
            "picture_job": str(Job.objects.filter(media__kind="image", status="completed").first().pk),  # type: ignore[union-attr]
        }
    )
    more |= _oauth(organization, ada) | _sso(organization)
    json.dump(json.loads(printed.getvalue()) | more, sys.stdout)


def seed_keys(organization: Organization, ada: User) -> dict[str, str]:
    """A key that was rotated, a sandbox key, and one that was revoked."""
    made = {"organization": organization, "created_by": ada}
    key, _ = create_api_key(
        **made, name="Newsroom upload", scopes=["detect:read", "detect:write"], ip_allow_list=["203.0.113.0/24"]
    )
    rotate_api_key(api_key=key, actor=ada)
    create_api_key(**made, name="Continuous integration", scopes=["detect:*"], is_sandbox=True)
    old, _ = create_api_key(**made, name="The scanner of the old archive", scopes=["detect:read"])
    revoke_api_key(api_key=old, actor=ada)
    return {"api_key": str(key.pk), "revoked_key": str(old.pk)}


def _webhooks(organization: Organization, ada: User, failed: Job) -> dict[str, str]:
    """A healthy one with a delivery, one that was switched off, and a callback."""
    events = ["job.completed", "job.failed"]
    made = {"organization": organization, "actor": ada, "events": events}
    well, _ = webhooks_services.create_endpoint(
        **made, url="https://app.example.org/hooks/deepfake", description="Newsroom, production"
    )
    gone, _ = webhooks_services.create_endpoint(**made, url="https://old.example.org/hook")
    webhooks.queue_delivery(failed)
    delivery = WebhookDelivery.objects.get(endpoint=well)
    WebhookDelivery.objects.filter(pk=delivery.pk).update(attempts=2, delivered_at=timezone.now(), last_status=200)
    sent = {"webhook-id": delivery.public_id, "webhook-timestamp": "1795262406", "webhook-signature": "v1,AAAA"}
    for number, status, body in ((1, 503, "Upstream is away."), (2, 200, '{"ok": true}')):
        WebhookAttempt.objects.create(
            delivery=delivery, number=number, url=well.url, headers=sent, status=status, response_body=body
        )
    WebhookEndpoint.objects.filter(pk=well.pk).update(last_success_at=timezone.now())
    webhooks_sending.switch_off(gone, SwitchedOff.GONE)
    callback = WebhookDelivery.objects.create(
        organization=organization, job=failed, event="job.failed", url="https://app.example.org/one", body={"n": 1}
    )
    WebhookDelivery.objects.filter(pk=callback.pk).update(gave_up_at=timezone.now(), last_error="It is gone (410).")
    return {
        "webhook": str(well.pk),
        "webhook_off": str(gone.pk),
        "delivery": str(delivery.pk),
        "callback": str(callback.pk),
    }


def _privacy(organization: Organization, ada: User, job: Job) -> tuple[str, str]:
    """An export and an erasure of a person, carried out."""
    about = {"organization": organization, "actor": ada, "about": "person", "subject": "Letter 7"}
    wanted = {"jobs": [str(job.pk)]}
    exported = data_requests.ask(**about, kind="export", wanted=wanted)
    old = factories.make_job(organization=organization, status=JobStatus.FAILED)
    erased = data_requests.ask(**about, kind="erase", wanted={"jobs": [str(old.pk)]})
    for request in (exported, erased):
        data_requests.run(str(request.pk))
    return str(exported.pk), str(erased.pk)


def _oauth(organization: Organization, ada: User) -> dict[str, str]:
    """A program that ada let in, and the page where she is asked again."""
    callback = "https://archive.example.org/callback"
    program, _ = oauth.create_client(
        organization=organization,
        name="Picture archive",
        kind="web",
        redirect_uris=[callback],
        scopes=["openid", "email", "detect:read", "detect:write"],
        actor=ada,
    )
    oauth.begin_grant(client=program, user=ada, scopes=["detect:read"], code_hash="0" * 64)
    asked = {
        "response_type": "code",
        "client_id": str(program.pk),
        "redirect_uri": callback,
        "scope": "openid email detect:read",
        "code_challenge": "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        "code_challenge_method": "S256",
    }
    return {"oauth_client": str(program.pk), "consent": f"/oauth/authorize?{urlencode(asked)}"}


def _sso(organization: Organization) -> dict[str, str]:
    """An identity provider, a domain that is not verified yet, and provisioning with a group."""
    ProvisioningToken.objects.create(organization=organization, hash="0" * 64)
    ScimGroup.objects.create(organization=organization, display_name="Desk leads", role="reviewer")
    EmailDomain.objects.create(organization=organization, domain="example.org")
    row = SsoConnection.objects.create(
        organization=organization,
        kind="oidc",
        name="Example login",
        issuer="https://login.example.org",
        client_id="abc",
    )
    return {"sso": str(row.pk)}


def _shipped() -> str:
    from detection.models import ThresholdProfile

    return str(ThresholdProfile.objects.get(organization=None, name="default_image").pk)
