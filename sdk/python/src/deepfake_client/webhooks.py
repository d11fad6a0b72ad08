"""Checking that a webhook is genuine before it is believed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterable, Mapping
from typing import cast

from deepfake_client.errors import DeepfakeError
from deepfake_client.shapes import Event

SECRET_BYTES = 16  # at least; a shorter one could be guessed
SECONDS = re.compile(r"[0-9]{1,12}")  # int() would also take signs, spaces, underscores and digits of other scripts
API_KEY = re.compile(r"(dfk|test)_[0-9a-f]{8}_[A-Za-z0-9_-]{32,}")


def verify_webhook(
    secret: str | Iterable[str], headers: Mapping[str, str], body: bytes | str, *, tolerance_s: float = 300
) -> Event:
    """Return the event of a genuine call.

    secret: the webhook's `whsec_…`, or, for a callback_url, the text of the API key that asked for it; several while
    you exchange them. body: the bytes as they came, before anything has parsed them. Raises DeepfakeError:
    `webhook_malformed`, `webhook_late`, `webhook_forged`; `webhook_secret_unusable` when one of the secrets is missing,
    cut or otherwise none that a call can be checked with.
    """
    keys = _keys(secret)
    given = {name.lower(): value for name, value in headers.items()}
    content = body.encode() if isinstance(body, str) else bytes(body)
    try:
        identity, moment, signatures = (given[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
    except KeyError:
        identity = moment = signatures = ""
    if not SECONDS.fullmatch(moment):
        raise _refused("The webhook's headers are missing or malformed.", "webhook_malformed")
    if abs(time.time() - int(moment)) > tolerance_s:
        raise _refused("The webhook is too old, or this machine's clock is wrong.", "webhook_late")
    signed = f"{identity}.{moment}.".encode() + content
    expected = [hmac.new(key, signed, hashlib.sha256).digest() for key in keys]
    found = [_decoded(part[3:]) for part in signatures.split() if part.startswith("v1,")]
    # Every pair is compared, each in constant time.
    if not any([hmac.compare_digest(one, other) for one in expected for other in found]):  # noqa: C419
        raise _refused("The webhook is not signed with this secret.", "webhook_forged")
    try:
        return cast(Event, json.loads(content))
    except ValueError:
        raise _refused("The webhook's body is not JSON.", "webhook_malformed") from None


def _keys(secret: str | Iterable[str]) -> list[bytes]:
    """What to sign with. A key of no bytes would make every forger's signature genuine, so none is ever returned."""
    try:
        secrets = [secret] if isinstance(secret, str) else list(secret)
    except TypeError:  # None, say
        secrets = []
    if not secrets:
        raise _refused("No secret was given to check the webhook with.", "webhook_secret_unusable")
    return [_key(one) for one in secrets]


def _key(secret: str) -> bytes:
    if isinstance(secret, str) and secret.startswith("whsec_"):
        try:
            key = base64.b64decode(secret[6:], validate=True)
        except ValueError:  # binascii.Error is one
            key = b""
        if len(key) >= SECRET_BYTES:
            return key
    elif isinstance(secret, str) and API_KEY.fullmatch(secret):
        return hmac.new(secret.encode(), b"callback-signing", hashlib.sha256).hexdigest().encode()
    raise _refused(
        "The secret is neither that of a webhook (whsec_ and Base64) nor an API key (dfk_… or test_…).",
        "webhook_secret_unusable",
    )


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except ValueError:
        return b""


def _refused(message: str, code: str) -> DeepfakeError:
    return DeepfakeError(message, code=code)
