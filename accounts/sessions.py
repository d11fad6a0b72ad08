"""Signed-in devices: the session engine, what each session is worth, and how sessions end."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import uuid
from datetime import datetime, timedelta
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from accounts import audit
from accounts.models import MemberSession, SignInRules, User
from deepfake import storage

DEVICE = "device"
PRIVILEGE = "privilege"
# Exact to the minute is enough to end an idle session, and keeps a busy one from writing on every request.
TOUCH_EVERY = timedelta(minutes=1)
SOCKET_CHECK_EVERY = timedelta(minutes=1)
NOT_SIGNED_IN = 4401
ROW_KEY_DIGITS = 40  # of a SHA-256 in hex: what the column takes
SEALED_AS = "session"


def row_key(session_key: str) -> str:
    """What the database has of a session's key: whoever reads the table cannot take the sessions over."""
    return hashlib.sha256(session_key.encode()).hexdigest()[:ROW_KEY_DIGITS]


def is_this(request: HttpRequest, row: MemberSession) -> bool:
    """Whether it is the session that the request came with."""
    key = request.session.session_key
    return key is not None and row.session_key == row_key(key)


class SessionStore(DatabaseStore):
    """Django's database sessions, kept under a digest of their key and sealed (they may hold the secret of an
    authenticator app that is being set up), with the member and the device in columns of their own."""

    row: MemberSession | None = None  # as it was when this request loaded it

    @classmethod
    def get_model_class(cls) -> Any:
        return MemberSession

    def load(self) -> dict[str, Any]:
        return self._loaded(self._live().first())

    async def aload(self) -> dict[str, Any]:
        return self._loaded(await self._live().afirst())

    def _live(self) -> Any:
        return MemberSession.objects.filter(pk=row_key(self.session_key or ""), expire_date__gt=timezone.now())

    def _loaded(self, row: MemberSession | None) -> dict[str, Any]:
        self.row = row
        if row is None:
            self._session_key = None
            return {}
        return self.decode(row.session_data)

    def exists(self, session_key: str) -> bool:
        return bool(super().exists(row_key(session_key)))

    async def aexists(self, session_key: str) -> bool:
        return bool(await super().aexists(row_key(session_key)))

    def delete(self, session_key: str | None = None) -> None:
        if key := session_key or self.session_key:
            super().delete(row_key(key))

    async def adelete(self, session_key: str | None = None) -> None:
        if key := session_key or self.session_key:
            await super().adelete(row_key(key))

    def create_model_instance(self, data: dict[str, Any]) -> Any:
        return self._digested(_with_device(super().create_model_instance(data), data))

    async def acreate_model_instance(self, data: dict[str, Any]) -> Any:
        return self._digested(_with_device(await super().acreate_model_instance(data), data))

    def _digested(self, row: MemberSession) -> MemberSession:
        row.session_key = row_key(row.session_key)
        return row

    def encode(self, session_dict: dict[str, Any]) -> str:
        return base64.b64encode(storage.seal(self.serializer().dumps(session_dict), context=SEALED_AS)).decode()

    def decode(self, session_data: str | bytes) -> dict[str, Any]:
        """Return {} for what does not open: then somebody signs in once more."""
        try:
            plain = storage.unseal(base64.b64decode(session_data, validate=True), context=SEALED_AS)
        except (binascii.Error, storage.StorageError):
            return {}
        return dict(self.serializer().loads(plain))


def _with_device(row: Any, data: dict[str, Any]) -> Any:
    if SESSION_KEY not in data:
        return row
    device = data.setdefault(DEVICE, new_device(None))
    row.user_id = int(data[SESSION_KEY])
    row.device_id = uuid.UUID(device["id"])
    row.started_at = datetime.fromisoformat(device["started"])
    row.ip_address = device["ip"]
    row.user_agent = device["agent"]
    return row


def new_device(request: HttpRequest | None) -> dict[str, Any]:
    agent = request.headers.get("User-Agent", "") if request is not None else ""
    return {
        "id": str(uuid.uuid4()),
        "started": timezone.now().isoformat(),
        "ip": audit.client_ip(request) if request is not None else None,
        "agent": re.sub(r"[^\x20-\x7e]", "", agent)[:300],
    }


# Beginning and going on -----------------------------------------------------------------------------------------------


def begin(request: HttpRequest, user: User) -> None:
    """Name the device of a session that has just been signed in; its key was changed by Django's login()."""
    from accounts.sign_in import rules_of

    request.session[DEVICE] = new_device(request)
    request.session[PRIVILEGE] = privilege_of(user)
    rules_of(user.organization_id)  # into the cache, for the request that follows


def started_at(request: HttpRequest) -> datetime | None:
    device = request.session.get(DEVICE)
    return datetime.fromisoformat(device["started"]) if device else None


def privilege_of(user: User) -> str:
    """Changes whenever what the member may do is given or taken, by a change of the role itself too."""
    own = user.custom_role
    role = user.role if own is None else f"{own.pk}={','.join(sorted(own.permissions))}"
    return f"{user.organization_id}:{role}:{user.is_staff}:{user.is_superuser}"


def why_over(row: MemberSession | None, rules: SignInRules) -> str:
    """Return "idle" or "age" when the rules of the organisation end this session, else nothing."""
    if row is None or row.user_id is None:
        return ""
    now = timezone.now()
    if now - row.seen_at > rules.idle:
        return "idle"
    return "age" if now - row.started_at > rules.absolute else ""


def touch(request: HttpRequest) -> None:
    """Note that the session is in use."""
    row = getattr(request.session, "row", None)
    now = timezone.now()
    if row is None or now - row.seen_at < TOUCH_EVERY:
        return
    MemberSession.objects.filter(pk=row.pk).update(seen_at=now, ip_address=audit.client_ip(request))


def renew_key(request: HttpRequest, user: User) -> None:
    """Give the session a new key when what the member may do has changed since it was made."""
    now = privilege_of(user)
    if request.session.get(PRIVILEGE) == now:
        return
    if PRIVILEGE in request.session:
        request.session.cycle_key()
    request.session[PRIVILEGE] = now


# Ending ---------------------------------------------------------------------------------------------------------------


def sessions_of(user: User) -> list[MemberSession]:
    """The member's sessions that are not over, the one used last first."""
    from accounts.sign_in import rules_of

    rules = rules_of(user.organization_id)
    rows = MemberSession.objects.filter(user=user, expire_date__gt=timezone.now()).order_by("-seen_at")
    return [row for row in rows.defer("session_data") if not why_over(row, rules)]


def end_sessions(user: User, keep: str | None = None, *, why: str = "", actor: User | None = None) -> int:
    """End all sessions of a member but the one whose key is `keep`; returns how many ended."""
    with transaction.atomic():
        rows = MemberSession.objects.filter(user=user)
        if keep:
            rows = rows.exclude(pk=row_key(keep))
        count, _ = rows.delete()
        if count:
            audit.record(
                action="auth.sessions_ended",
                organization=user.organization,
                actor=actor,
                target=user,
                details={"count": count, "why": why},
            )
    return count


def end_session(user: User, device_id: uuid.UUID) -> MemberSession | None:
    """End one session of a member at the member's own wish; None when there is none of that id."""
    with transaction.atomic():
        row = MemberSession.objects.filter(user=user, device_id=device_id).first()
        if row is None:
            return None
        MemberSession.objects.filter(pk=row.pk).delete()
        audit.record(
            action="auth.session_ended",
            organization=user.organization,
            actor=user,
            target=user,
            details={"why": "member", "device": str(device_id), "browser": browser_name(row.user_agent)},
        )
    return row


# Words ----------------------------------------------------------------------------------------------------------------

_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS", "Firefox"),
    ("HeadlessChrome", "Chrome (headless)"),
    ("CriOS", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("python", "a Python program"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def browser_name(agent: str) -> str:
    """ "Firefox on Linux": as much of the User-Agent as a person can use to recognise a device."""
    browser = next((name for mark, name in _BROWSERS if mark in agent), "Unknown browser")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    return f"{browser} on {system}" if system else browser


# Sockets --------------------------------------------------------------------------------------------------------------


class SignedInSockets:
    """ASGI middleware for WebSockets: rules of sign-in hold there too, and an ended session loses its sockets."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        user = scope["user"]
        if not user.is_authenticated:
            return await self.inner(scope, receive, send)
        key = scope["session"].session_key
        if not await sync_to_async(_may_listen)(key):
            return await self.inner({**scope, "user": AnonymousUser()}, receive, send)
        checked_at = timezone.now()
        is_closed = False

        async def guarded(message: dict[str, Any]) -> None:
            nonlocal checked_at, is_closed
            if is_closed:
                return
            if message["type"] == "websocket.send" and timezone.now() - checked_at > SOCKET_CHECK_EVERY:
                checked_at = timezone.now()
                if not await sync_to_async(_may_listen)(key):
                    is_closed = True
                    message = {"type": "websocket.close", "code": NOT_SIGNED_IN}
            await send(message)

        return await self.inner(scope, receive, guarded)


def _may_listen(key: str | None) -> bool:
    from django.db import close_old_connections

    from accounts.sign_in import needs_second_factor, rules_of

    close_old_connections()
    try:
        rows = MemberSession.objects.select_related("user").filter(expire_date__gt=timezone.now())
        row = rows.filter(pk=row_key(key)).first() if key else None
        if row is None or row.user is None or not row.user.is_active:
            return False
        rules = rules_of(row.user.organization_id)
        return not why_over(row, rules) and not needs_second_factor(row.user, rules)
    finally:
        close_old_connections()
