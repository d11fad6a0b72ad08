"""What the queue calls for accounts: primary keys in, nothing out."""

from __future__ import annotations

from django.conf import settings
from django.urls import reverse

from accounts import members, services
from accounts.models import User
from deepfake import mails, storage

SUBJECT = "You are invited to {organization}"
TEXT = """You have an account for deepfake detection at {organization}. Your user name is {username}.

Set your password here. The link works once, and for {days} days:
{url}
"""


NOTICE_SUBJECT = "A new password was set for your account"
NOTICE_TEXT = """An administrator set a new password for your account {username}, and signed you out on every device.

If you did not ask for this, tell your organisation. You can choose a password of your own here:
{url}
"""

MOVED_SUBJECT = "Your account has another e-mail address now"
MOVED_TEXT = """An administrator, or the identity provider of your organisation, gave your account {username} another
e-mail address. From now on, links for a new password and all other messages go there, and no longer here.

If you did not expect this, tell your organisation at once.
"""


def send_password_notice(pk: int) -> None:
    """Tell a member that somebody else set their password."""
    member = User.objects.filter(pk=pk, is_active=True).first()
    if member is not None and member.email:
        url = settings.PUBLIC_URL + reverse("account_reset_password")
        body = NOTICE_TEXT.format(username=member.get_username(), url=url)
        mails.send(NOTICE_SUBJECT, body, member.email)


def send_moved_notice(pk: int, sealed: bytes) -> None:
    """Tell the address that a member had before, sealed, that messages go elsewhere now."""
    member = User.objects.filter(pk=pk, is_active=True).first()
    if member is not None:
        address = storage.unseal(sealed, context=services.MOVED_SEALED + str(pk)).decode()
        mails.send(MOVED_SUBJECT, MOVED_TEXT.format(username=member.get_username()), address)


def send_invitation(pk: int) -> None:
    """Send the link to whoever has not used it yet; a repeat sends the same invitation again."""
    member = User.objects.select_related("organization").filter(pk=pk).first()
    if member is None or member.organization is None or not member.email or not members.is_invited(member):
        return
    body = TEXT.format(
        organization=member.organization.name,
        username=member.get_username(),
        days=members.INVITATION_DAYS,
        url=members.invitation_link(member),
    )
    mails.send(SUBJECT.format(organization=member.organization.name), body, member.email)
