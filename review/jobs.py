"""What the queue calls for review: primary keys in, nothing out."""

from __future__ import annotations

from django.utils import timezone

from deepfake import mails
from deepfake.errors import TryLater
from review import appeals
from review.models import Appeal

SUBJECT = "Your appeal has been answered"
TEXT = """Somebody has looked again at the item that you appealed about.

The answer is here, for as long as the link is valid:
{url}

{organization}
"""


def tell_appellant(pk: str) -> None:
    """Send the one e-mail that an appeal asked for; a repeat sends nothing, nor does an undone answer or a dead link.

    Where the mail server does not take it, the appeal is not told, and the task is tried again. Raises TryLater.
    """
    found = Appeal.objects.select_related("link", "job__organization").filter(pk=pk, told_at=None).first()
    if found is None or found.answered_at is None or not found.email or not found.link.is_live:
        return
    if not Appeal.objects.filter(pk=pk, told_at=None).update(told_at=timezone.now()):
        return
    body = TEXT.format(url=appeals.url_of(found.link), organization=found.job.organization.name)
    try:
        mails.send(SUBJECT, body, found.email)
    except TryLater:
        Appeal.objects.filter(pk=pk).update(told_at=None)
        raise
