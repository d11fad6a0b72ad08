"""Words for everything that the audit log records, and the groups by which its page is filtered.

A test reads the source: an action that is recorded somewhere and has no words here fails it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

GROUPS: dict[str, tuple[str, dict[str, str]]] = {
    "sign_in": (
        "Sign-in",
        {
            "auth.signed_in": "Signed in",
            "auth.signed_out": "Signed out",
            "auth.refused": "Was refused at sign-in",
            "auth.throttled": "Was held back after many attempts to sign in",
            "auth.factor_added": "Added a second factor",
            "auth.factor_removed": "Removed a second factor",
            "auth.factor_renamed": "Gave a passkey another name",
            "auth.factor_refused": "Was refused with a second factor",
            "auth.recovery_codes_renewed": "Made new recovery codes",
            "auth.recovery_code_used": "Signed in with a recovery code",
            "auth.factors_reset": "Removed a member's second factors",
            "auth.session_ended": "Signed a device out",
            "auth.sessions_ended": "Signed devices out",
            "user.password_changed": "Changed the password",
            "user.password_reset": "Set a new password by a link",
            "user.email_changed": "Changed the e-mail address",
            "sign_in.rules_changed": "Changed the rules of sign-in",
            "sso.linked": "Joined an account to single sign-on",
            "sso.refused": "Was refused by single sign-on",
            "sso_connection.created": "Made a connection for single sign-on",
            "sso_connection.changed": "Changed a connection for single sign-on",
            "sso_connection.removed": "Removed a connection for single sign-on",
            "sso_policy.changed": "Changed the rules of single sign-on",
            "email_domain.added": "Added an e-mail domain",
            "email_domain.verified": "Proved that an e-mail domain is theirs",
            "email_domain.removed": "Removed an e-mail domain",
        },
    ),
    "members": (
        "Members and organisation",
        {
            "organization.created": "Created the organisation",
            "user.created": "Added a member",
            "user.password_set": "Set a member's password",
            "user.invited": "Invited a member",
            "user.invited_again": "Sent an invitation again",
            "user.joined": "Joined by an invitation",
            "user.role_changed": "Changed a member's role",
            "user.deactivated": "Deactivated a member",
            "user.reactivated": "Let a member in again",
            "user.sessions_ended": "Signed a member out everywhere",
            "role.created": "Made a role",
            "role.changed": "Changed a role",
            "role.deleted": "Deleted a role",
            "scim_token.created": "Made a provisioning token",
            "scim_token.rotated": "Exchanged a provisioning token",
            "scim_token.removed": "Removed a provisioning token",
            "scim_token.default_role_set": "Chose the role that provisioned members get",
            "scim_group.created": "Provisioning made a group",
            "scim_group.changed": "Provisioning changed a group",
            "scim_group.deleted": "Provisioning deleted a group",
            "scim_group.role_set": "Chose the role of a provisioned group",
            "organization.limits_changed": "Changed the limits of the organisation",
            "admin.added": "Added a row in the back office",
            "admin.changed": "Changed a row in the back office",
            "admin.deleted": "Deleted a row in the back office",
        },
    ),
    "keys": (
        "Keys",
        {
            "api_key.created": "Created an API key",
            "api_key.revoked": "Revoked an API key",
            "api_key.changed": "Changed an API key",
            "api_key.rotated": "Exchanged the secret of an API key",
            "api_key.refused": "An API key was refused",
            "cors.origin_allowed": "Let web pages of an origin ask the API",
            "cors.origin_removed": "Took an origin off the list for web pages",
            "oauth.key_rotated": "Exchanged the key that access tokens are signed with",
            "oauth_client.created": "Made an OAuth client",
            "oauth_client.changed": "Changed an OAuth client",
            "oauth_client.enabled": "Switched an OAuth client on",
            "oauth_client.disabled": "Switched an OAuth client off",
            "oauth_client.secret_rotated": "Exchanged the secret of an OAuth client",
            "oauth_grant.made": "Let an OAuth client act for them",
            "oauth_grant.revoked": "Took access back from an OAuth client",
            "webhook.created": "Added a webhook",
            "webhook.changed": "Changed a webhook",
            "webhook.enabled": "Switched a webhook on",
            "webhook.disabled": "A webhook was switched off",
            "webhook.deleted": "Deleted a webhook",
            "webhook.tested": "Tested a webhook",
            "webhook.rotated": "Exchanged the secret of a webhook",
            "webhook.secret_shown": "Looked at the secret of a webhook",
            "webhook.replayed": "Sent webhooks again",
            "signing_key.exchanged": "Exchanged the key that reports are signed with",
        },
    ),
    "media": (
        "Media: sent and looked at",
        {
            "media.submitted": "Sent an item",
            "media.deleted": "Deleted an item",
            "upload.ended": "An upload in parts came to an end",
            "media.read": "Looked at an item",
            "media.downloaded": "Downloaded an original",
            "media.thumbnails_seen": "Saw small pictures of items in lists",
            "artifacts.read": "Looked at the pictures that explain a verdict",
        },
    ),
    "analyses": (
        "Analyses",
        {
            "job.started": "Started an analysis",
            "job.completed": "An analysis reached its verdict",
            "job.failed": "An analysis ended without a result",
            "job.cancelled": "Cancelled an analysis",
            "job.feedback": "Said what an item really is",
            "job.deleted": "Deleted an analysis for good",
            "jobs.deletion_asked": "Deleted analyses, with time to undo it",
            "jobs.deletion_undone": "Brought deleted analyses back",
            "jobs.deletion_held": "A hold kept analyses from being deleted",
            "demo.dated": "Dated it into the demo week; this log keeps the true times",
            "batch.created": "Made a batch",
            "batch.items_added": "Added items to a batch",
            "batch.closed": "Closed a batch",
            "batch.cancelled": "Cancelled a batch",
            "batch.completed": "A batch was finished",
        },
    ),
    "review": (
        "Review and decisions",
        {
            "review.opened": "Opened a review case",
            "review.raised": "Added grounds to a review case",
            "review.claimed": "Took a case",
            "review.released": "Gave a case back",
            "review.decided": "Decided a case",
            "review.undone": "Took a decision back",
            "review.noted": "Wrote a note on a case",
            "review.annotated": "Marked a place in an item",
            "review.annotation_removed": "Removed a mark from an item",
            "review.thresholds_set": "Set thresholds for one case",
            "review.thresholds_withdrawn": "Withdrew the thresholds of a case",
            "review.harsh_marked": "Marked an item as harsh to look at",
            "review.harsh_unmarked": "Took the mark “harsh” off an item",
            "review.appeal_link_made": "Made a link for an appeal",
            "review.appeal_link_revoked": "Revoked a link for an appeal",
            "review.appealed": "Somebody appealed against a verdict",
            "review.appeal_answered": "Answered an appeal",
            "review.known_planted": "Planted an item whose truth is known",
            "review.known_removed": "Removed a planted item",
        },
    ),
    "privacy": (
        "Privacy",
        {
            "privacy.retention_changed": "Changed how long media are kept",
            "privacy.hold_set": "Put a hold on media",
            "privacy.hold_released": "Released a hold",
            "privacy.destroyed": "Media were destroyed as their time was over",
            "privacy.export_asked": "Asked for a person's data",
            "privacy.erasure_asked": "Asked that a person's data be erased",
            "privacy.exported": "A person's data were put together",
            "privacy.export_downloaded": "Downloaded a person's data",
            "privacy.erased": "Erased a person's data",
            "consent.given": "Recorded a consent",
            "consent.withdrawn": "Recorded that a consent was withdrawn",
        },
    ),
    "reports": (
        "Reports and exports",
        {
            "report.read": "Read a report",
            "report.issued": "Issued a signed report",
            "report.revoked": "Took a report back",
            "analyses.exported": "Exported a list of analyses",
            "audit.exported": "Exported audit rows",
            "audit.read": "Read the audit log",
        },
    ),
    "settings": (
        "Settings and thresholds",
        {
            "threshold.proposed": "Proposed a threshold profile",
            "threshold.approved": "Approved a threshold profile",
            "threshold.rejected": "Rejected a threshold profile",
            "threshold.withdrawn": "Withdrew a proposed threshold profile",
            "threshold.changed_by_operator": "Changed a threshold profile in the back office",
            "review.settings_saved": "Changed the rules of review",
            "review.preferences_saved": "Changed how review material is shown to them",
            "view.saved": "Saved a view of the list",
            "view.shared": "Shared a view of the list",
            "view.deleted": "Deleted a view of the list",
            "view.default_chosen": "Chose the view that the list opens with",
        },
    ),
}
# Reads are many and change nothing: the page leaves them out until they are asked for.
READS = ("media.read", "media.downloaded", "media.thumbnails_seen", "artifacts.read", "report.read")

SENTENCES: dict[str, str] = {action: words for _, actions in GROUPS.values() for action, words in actions.items()}


def sentence(action: str) -> str:
    """What an action is called; of one that a later release recorded, its own name made readable."""
    return SENTENCES.get(action) or action.replace(".", ": ").replace("_", " ").capitalize()


def dated_words(details: dict[str, Any]) -> str:
    """To what moment the demo week dated a thing; blank for every other row."""
    if not details.get("dated"):
        return ""
    return f"to {datetime.fromisoformat(details['dated']).astimezone(UTC):%-d %b %Y, %H:%M} UTC"


def actions_of(group: str) -> tuple[str, ...]:
    return tuple(GROUPS[group][1]) if group in GROUPS else ()
