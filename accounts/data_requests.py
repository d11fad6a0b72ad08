"""What people may ask of their data: an export, or to be erased, with proof.

Each app that holds personal data registers a `Holder` here, because accounts knows none of them. A request is a row
and a task: it may be broken off and is then done again. Before anything is destroyed, what is to go is written down
with the request, so that the proof is whole even then.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from django.apps import apps
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import transaction
from django.db.models import CASCADE, Q
from django.utils import timezone
from django_q.tasks import async_task

from accounts import audit, roles
from accounts.models import ApiKey, AuditLog, Consent, DataRequest, Organization, User
from accounts.permissions import Permission, check
from deepfake import storage
from deepfake.errors import DomainError, StorageFull, is_disk_full

logger = logging.getLogger(__name__)

RUN = "accounts.data_requests.run"
KEPT_FOR = timedelta(days=7)
# A worker that is not heard of for so long was killed; every export that was measured takes far less.
CLAIMED_FOR = timedelta(minutes=30)
MOST_DIGESTS = 500  # in a row of the audit log; the digest over all of them is there always
OWN_ROWS_IN = ("accounts", "account", "mfa", "socialaccount", "usersessions", "authtoken")
FAILED = "Something went wrong on our side. Ask again; if it fails again, tell support the request's id."


# Who holds personal data ----------------------------------------------------------------------------------------------


class Archive:
    """The zip of an export while it is written."""

    def __init__(self, zipped: zipfile.ZipFile) -> None:
        self._zip = zipped
        self.counts: Counter[str] = Counter()

    def json(self, path: str, content: Any) -> None:
        self._zip.writestr(path, json.dumps(content, indent=2, ensure_ascii=False, cls=DjangoJSONEncoder))

    def stored(self, path: str, name: str) -> bool:
        """Put a stored object in, decrypted; False when it is gone, or stands there already."""
        if path in self._zip.NameToInfo or not storage.exists(name):
            return False
        with self._zip.open(path, "w", force_zip64=True) as target:
            for block in storage.iter_range(name, 0, storage.size(name)):
                target.write(block)
        return True


@dataclass
class Plan:
    """What an erasure is going to destroy."""

    objects: set[str] = field(default_factory=set)  # names of stored objects
    rows: dict[str, set[str]] = field(default_factory=dict)  # "detection.Media" -> primary keys
    counts: Counter[str] = field(default_factory=Counter)
    kept: list[str] = field(default_factory=list)  # sentences: what stays, and why

    def row(self, row: Any) -> None:
        self.rows.setdefault(row._meta.label, set()).add(str(row.pk))


class Holder(Protocol):
    """What an app does for a request; `export` and `erase` may be called again."""

    def matches(self, request: DataRequest) -> int:
        """How many things the request names, for a request about a person in media."""

    def export(self, request: DataRequest, archive: Archive) -> None: ...

    def plan(self, request: DataRequest, plan: Plan) -> None: ...

    def erase(self, request: DataRequest) -> None: ...

    def remains(self, request: DataRequest) -> list[str]:
        """Sentences: what of an erased request is still there."""


_holders: dict[str, Holder] = {}


def register(name: str, holder: Holder) -> None:
    _holders[name] = holder


# Asking ---------------------------------------------------------------------------------------------------------------


def ask(
    *,
    organization: Organization,
    actor: User,
    kind: str,
    about: str,
    member: User | None = None,
    subject: str = "",
    wanted: dict[str, Any] | None = None,
) -> DataRequest:
    """Write a request down and ring for it. Raises DomainError.

    wanted: {"uploads": bool} for a member; {"jobs": [...], "sha256": [...], "alike": bool} for a person in media.
    """
    check(actor, Permission.PRIVACY)
    request = DataRequest(
        organization=organization,
        kind=kind,
        about=about,
        member=member,
        subject=subject.strip(),
        wanted=wanted or {},
        requested_by=actor,
    )
    _check(request)
    with transaction.atomic():
        request.save(force_insert=True)
        audit.record(
            action="privacy.export_asked" if kind == DataRequest.Kind.EXPORT else "privacy.erasure_asked",
            organization=organization,
            actor=actor,
            target=request,
            details={"about": about, "member": member.pk if member else None},
        )
        async_task(RUN, str(request.pk), group="privacy", save=False)
    return request


def _check(request: DataRequest) -> None:
    if request.kind not in DataRequest.Kind.values or request.about not in DataRequest.About.values:
        raise DomainError("Say whether to export or to erase, and whose data.", "request_invalid")
    if request.about == DataRequest.About.MEMBER:
        if request.member is None or request.member.organization_id != request.organization.pk:
            raise DomainError("Choose a member of your organisation.", "member_unknown")
        if request.kind == DataRequest.Kind.ERASE:
            _check_erasable(request, request.member)
        return
    if not request.subject:
        raise DomainError("Note whom it is about, as the name or the number of their letter.", "subject_required")
    if not any(holder.matches(request) for holder in _holders.values()):
        raise DomainError("No analysis of your organisation is named by these ids or digests.", "nothing_found", 404)


def _check_erasable(request: DataRequest, member: User) -> None:
    """Raise DomainError unless whoever asked may erase this account.

    As with switching off: nobody reaches above themselves, and somebody remains who holds every right.
    """
    if member.organization_id != request.organization.pk:
        raise DomainError("Choose a member of your organisation.", "member_unknown")
    if member == request.requested_by:
        raise DomainError("You cannot erase your own account; ask another administrator.", "own_account", 409)
    if member.is_staff or member.is_superuser:
        raise DomainError(
            f"{member.get_username()} is an operator of the installation. A superuser has to end that first.",
            "role_above_yours",
            403,
        )
    roles.check_reach(request.requested_by, member)
    roles.check_not_last_administrator(member)


# Doing ----------------------------------------------------------------------------------------------------------------


def run(pk: str) -> None:
    """Called by the queue. A request that another worker has, or that is done, is left alone."""
    now = timezone.now()
    abandoned = Q(status=DataRequest.Status.RUNNING, claimed_at__lt=now - CLAIMED_FOR)
    free = DataRequest.objects.filter(Q(status=DataRequest.Status.QUEUED) | abandoned, pk=pk)
    if not free.update(status=DataRequest.Status.RUNNING, claimed_at=now):
        return
    request = DataRequest.objects.select_related("organization", "member", "requested_by").get(pk=pk)
    try:
        if request.kind == DataRequest.Kind.EXPORT:
            _export(request)
        else:
            _erase(request)
    except DomainError as error:
        _fail(request, error.message)
    except Exception:
        logger.exception("%s failed", request.public_id)
        _fail(request, FAILED)


def _fail(request: DataRequest, sentence: str) -> None:
    request.status, request.message, request.finished_at = DataRequest.Status.FAILED, sentence[:300], timezone.now()
    request.save()


def _export(request: DataRequest) -> None:
    with _spooled() as spool:
        with zipfile.ZipFile(spool, "w", zipfile.ZIP_DEFLATED) as zipped:
            archive = Archive(zipped)
            for holder in _holders.values():
                holder.export(request, archive)
            archive.json("README.json", _read_me(request, archive))
        spool.seek(0)
        digest = hashlib.file_digest(spool, "sha256").hexdigest()
        length = spool.tell()
        spool.seek(0)
        name = storage.save_encrypted("export", spool, organization_id=request.organization.pk)
    request.archive_name, request.archive_sha256, request.archive_bytes = name, digest, length
    request.counts, request.status = dict(archive.counts), DataRequest.Status.DONE
    request.finished_at = timezone.now()
    request.expires_at = request.finished_at + KEPT_FOR
    with transaction.atomic():
        request.save()
        audit.record(
            action="privacy.exported",
            organization=request.organization,
            actor=request.requested_by,
            target=request,
            details={"counts": request.counts, "sha256": digest, "bytes": length},
        )


def _read_me(request: DataRequest, archive: Archive) -> dict[str, Any]:
    return {
        "request": request.public_id,
        "organisation": request.organization.name,
        "about": request.get_about_display(),
        "subject": request.subject,
        "made_at": timezone.now(),
        "counts": dict(archive.counts),
    }


@contextmanager
def _spooled() -> Iterator[Any]:
    try:
        with tempfile.NamedTemporaryFile(dir=settings.SPOOL_DIR) as file:
            yield file
    except OSError as error:
        if is_disk_full(error):
            raise StorageFull from None
        raise


def _erase(request: DataRequest) -> None:
    if request.member is not None and not _is_erased(request.member):
        _check_erasable(request, request.member)
    plan = Plan()
    for holder in _holders.values():
        holder.plan(request, plan)
    _keep_plan(request, plan)
    for holder in _holders.values():
        holder.erase(request)
    left = remains(request)
    if left:
        raise DomainError(f"Not everything could be erased: {left[0]}", "erasure_incomplete")
    request.status = DataRequest.Status.PARTLY if request.kept else DataRequest.Status.DONE
    request.finished_at = timezone.now()
    with transaction.atomic():
        request.save()
        audit.record(
            action="privacy.erased",
            organization=request.organization,
            actor=request.requested_by,
            target=request,
            details=proof_details(request),
        )


def _keep_plan(request: DataRequest, plan: Plan) -> None:
    """Written before anything is destroyed; what an earlier, broken-off run has destroyed stays in it."""
    before = request.proof or {}
    digests = {digest_of(name) for name in plan.objects} | set(before.get("objects", []))
    rows = {label: set(keys) for label, keys in before.get("rows", {}).items()}
    for label, keys in plan.rows.items():
        rows[label] = rows.get(label, set()) | keys
    request.proof = {"objects": sorted(digests), "rows": {label: sorted(keys) for label, keys in rows.items()}}
    request.counts = dict(Counter(request.counts) | plan.counts)
    request.kept = list(dict.fromkeys([*plan.kept, *request.kept]))
    request.save()


def proof_details(request: DataRequest) -> dict[str, Any]:
    """What the audit log says of an erasure: how much of what, and digests of what is no more."""
    objects = list(request.proof.get("objects", []))
    return {
        "about": request.about,
        "counts": request.counts,
        "kept": request.kept,
        "rows": {label: len(keys) for label, keys in request.proof.get("rows", {}).items()},
        "objects": len(objects),
        "objects_sha256": hashlib.sha256("\n".join(objects).encode()).hexdigest(),
        "object_name_digests": objects[:MOST_DIGESTS],
    }


def digest_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


# Proving --------------------------------------------------------------------------------------------------------------


def remains(request: DataRequest) -> list[str]:
    """Sentences: what of an erased request is still there. It looks at the database and at the storage itself."""
    left = []
    for label, keys in request.proof.get("rows", {}).items():
        found = apps.get_model(label)._base_manager.filter(pk__in=keys).count()
        if found:
            left.append(f"{found:,} rows of {label} are still there.")
    wanted = set(request.proof.get("objects", []))
    if wanted:
        found = sum(digest_of(name) in wanted for name in storage.all_names(request.organization.pk))
        if found:
            left.append(f"{found:,} stored objects can still be opened.")
    for holder in _holders.values():
        left += holder.remains(request)
    return left


def verify(request: DataRequest) -> list[str]:
    """Sentences: what is wrong with a finished erasure; none when nothing of it is left and the log proves it."""
    if request.kind != DataRequest.Kind.ERASE or request.status not in (
        DataRequest.Status.DONE,
        DataRequest.Status.PARTLY,
    ):
        return ["This is no erasure that has been carried out."]
    wrong = remains(request)
    row = AuditLog.objects.filter(action="privacy.erased", target_id=str(request.pk)).first()
    if row is None:
        wrong.append("The audit log holds no row for it.")
    elif row.details != proof_details(request):
        wrong.append("The audit log says something else than the request.")
    broken = audit.verify()
    if broken is not None:
        wrong.append(f"The chain of the audit log is broken at row {broken.pk}.")
    return wrong


# Housekeeping ---------------------------------------------------------------------------------------------------------


def tidy() -> int:
    """Destroy exports whose time is over, and ring again for requests whose worker was killed."""
    now = timezone.now()
    over = DataRequest.objects.filter(expires_at__lte=now).exclude(archive_name="")
    for request in over:
        storage.destroy(request.archive_name)
        DataRequest.objects.filter(pk=request.pk).update(archive_name="")
    abandoned = Q(status=DataRequest.Status.RUNNING, claimed_at__lt=now - CLAIMED_FOR)
    late = Q(status=DataRequest.Status.QUEUED, created_at__lt=now - CLAIMED_FOR)
    for request in DataRequest.objects.filter(abandoned | late):
        async_task(RUN, str(request.pk), group="privacy", save=False)
    return len(over)


# The account of a member ----------------------------------------------------------------------------------------------


class Accounts:
    """What accounts itself holds of a member."""

    def matches(self, request: DataRequest) -> int:
        return 0

    def export(self, request: DataRequest, archive: Archive) -> None:
        user = request.member
        if user is None:
            return
        names = ("username", "email", "first_name", "last_name", "date_joined", "last_login", "is_active")
        account = {name: getattr(user, name) for name in names} | {"role": user.role}
        archive.json("account/account.json", account)
        sessions = user.sessions.order_by("started_at")
        archive.json(
            "account/sessions.json", list(sessions.values("started_at", "seen_at", "ip_address", "user_agent"))
        )
        actions = AuditLog.objects.filter(Q(actor=user) | Q(target_type="user", target_id=str(user.pk)))
        fields = ("id", "action", "target_type", "target_id", "details", "ip_address", "created_at")
        rows = list(actions.order_by("id").values(*fields))
        archive.json("account/actions.json", rows)
        keys = ApiKey.objects.filter(created_by=user).order_by("created_at")
        archive.json("account/api_keys.json", list(keys.values("name", "prefix", "created_at", "revoked_at")))
        consents = [consent_words(row) for row in Consent.objects.filter(user=user)]
        archive.json("account/consents.json", consents)
        archive.counts.update({"account": 1, "actions": len(rows), "consents": len(consents)})

    def plan(self, request: DataRequest, plan: Plan) -> None:
        user = request.member
        if user is None:
            return
        for row in _own_rows(user):
            if row._meta.label != "accounts.MemberSession":  # its key is a secret
                plan.row(row)
        plan.counts["accounts"] = 1
        plan.kept.append("The audit log keeps what the member did, under a number instead of a name.")

    def erase(self, request: DataRequest) -> None:
        user = request.member
        if user is None:
            return
        with transaction.atomic():
            # Asked again where nobody else can change it: since the request, the rights may be others.
            if not _is_erased(user):
                _check_erasable(request, roles.locked_member(user))
            for row in _own_rows(user):
                row.delete()
            for consent in Consent.objects.filter(user=user):
                consent.evidence = {}
                consent.save(update_fields=["evidence"])
            user.username, user.email, user.first_name, user.last_name = f"erased-{user.pk}", "", "", ""
            user.is_active = user.is_staff = user.is_superuser = False
            user.set_unusable_password()
            user.save()

    def remains(self, request: DataRequest) -> list[str]:
        user = request.member
        if user is None:
            return []
        user.refresh_from_db()
        named = user.username != f"erased-{user.pk}" or user.email or user.first_name or user.last_name
        left = ["The account still carries a name."] if named else []
        # Provisioning may list the emptied account again, by its number.
        rows = [row for row in _own_rows(user) if row._meta.label != "accounts.ScimUser" or row.emails]
        if user.is_active or user.has_usable_password() or rows:
            left.append("The account can still be used.")
        return left


def _is_erased(user: User) -> bool:
    """Whether a run before this one came as far as the account."""
    return user.username == f"erased-{user.pk}" and not user.is_active


def consent_words(row: Consent) -> dict[str, Any]:
    """A consent as an export gives it."""
    fields = ("purpose", "text_version", "text_sha256", "about_type", "about_id", "given_at", "withdrawn_at")
    return {name: getattr(row, name) for name in fields} | {"subject": row.subject, "evidence": row.evidence}


def _own_rows(user: User) -> Iterable[Any]:
    """Sessions, addresses, second factors, linked and provisioned accounts: what would go with the user's row."""
    for relation in User._meta.related_objects:
        model: Any = relation.related_model
        if model._meta.app_label in OWN_ROWS_IN and relation.on_delete is CASCADE:
            yield from model._base_manager.filter(**{relation.field.name: user})


register("accounts", Accounts())
