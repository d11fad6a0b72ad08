"""What the queue calls for review: primary keys in, nothing out."""

from __future__ import annotations

from django.core.mail import send_mail
from django.utils import timezone

from review import appeals
from review.models import Appeal

SUBJECT = "Your appeal has been answered"
TEXT = """Somebody has looked again at the item that you appealed about.

The answer is here, for as long as the link is valid:
{url}

{organization}
"""


def tell_appellant(pk: str) -> None:
    """Send the one e-mail that an appeal asked for; a repeat sends nothing, an undone answer neither."""
    found = Appeal.objects.select_related("link", "job__organization").filter(pk=pk, told_at=None).first()
    if found is None or found.answered_at is None or not found.email:
        return
    if not Appeal.objects.filter(pk=pk, told_at=None).update(told_at=timezone.now()):
        return
    body = TEXT.format(url=appeals.page_url(found), organization=found.job.organization.name)
    send_mail(SUBJECT, body, None, [found.email])
