"""E-mails that tasks of the queue send: one that the mail server does not take is tried again."""

from __future__ import annotations

from django.core.mail import send_mail

from deepfake.errors import TryLater


def send(subject: str, body: str, address: str) -> None:
    """Send one, from a task. Raises TryLater."""
    try:
        send_mail(subject, body, None, [address])
    except OSError as error:  # no connection, or an answer of the server: SMTPException is one
        raise TryLater(f"The e-mail could not be sent: {error!r}") from error
