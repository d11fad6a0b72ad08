"""Exchanging the master key while the server runs: a new key for what is written, then everything wrapped anew.

Each step can be broken off and repeated: a key is in the ring before it becomes current, every wrapped key and sealed
value names its master key, and what is already under the current one is left as it is.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import models, transaction
from django.db.models.functions import Cast

from deepfake import master_keys, sealing, storage
from deepfake.errors import DomainError
from deepfake.master_keys import StorageError

BATCH = 200
SHORTEST_TEXT = 100  # characters; a shorter column cannot hold a sealed value
# A process may have read the key before it was exchanged and write under it a moment later; no request takes so long.
SETTLED_AFTER_S = 600
MOST_PASSES = 5
FIRST_FORMAT = "first format"  # a value that does not say which key it is under

TEXTS: Any = (models.CharField, models.TextField, models.JSONField)
Tell = Callable[[str], None]


@dataclass
class Found:
    """How much lies under which master key, by the key's id."""

    objects: Counter[str] = field(default_factory=Counter)
    values: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def under(self, key_id: str) -> int:
        return self.objects[key_id] + self.values[key_id]

    @property
    def elsewhere(self) -> int:
        """What is not under the current key."""
        current = master_keys.current().id
        counts = self.objects + self.values
        return sum(number for key_id, number in counts.items() if key_id != current)


# The key itself -------------------------------------------------------------------------------------------------------


def begin() -> str:
    """Make a new master key the current one, or take up a rotation that was broken off. Return its id."""
    if master_keys.is_from_environment():
        return master_keys.current().id  # the operator has exchanged it: what is left is to wrap anew
    state = _state()
    if not state or state.get("finished_at"):
        old = master_keys.current()
        fresh = os.urandom(master_keys.KEY_BYTES)
        state = {"from": old.id, "to": master_keys.id_of(fresh), "started_at": time.time()}
        master_keys.write_file(master_keys.ring_file(old.id), old.secret)
        master_keys.write_file(master_keys.ring_file(state["to"]), fresh)
        _keep(state)
    wanted = master_keys.by_id(state["to"])
    if wanted is None:
        raise StorageError(f"The key {state['to']} of the rotation that was begun is missing.", "no_master_key")
    if master_keys.current().id != wanted.id:
        master_keys.write_file(Path(settings.MASTER_KEY_FILE), wanted.secret)
        _keep(state | {"current_since": time.time()})
    return wanted.id


def rotate(tell: Tell = lambda sentence: None) -> Found:
    """Begin or take up a rotation and bring everything under the current key. Raises DomainError."""
    with _alone():
        key_id = begin()
        tell(f"The current master key is {key_id}.")
        for number in range(1, MOST_PASSES + 1):
            changed = _wrap_everything(tell)
            tell(f"Pass {number}: {changed:,} wrapped anew.")
            if not changed:
                break
        found = look()
        if not found.elsewhere and not found.broken and not master_keys.is_from_environment():
            _keep(_state() | {"finished_at": time.time()})
        return found


def retire(key_id: str) -> None:
    """Destroy an earlier key for good. Raises DomainError while anything may still need it."""
    with _alone():
        if key_id == master_keys.current().id:
            raise DomainError(f"{key_id} is the current master key.", "key_in_use", 409)
        path = master_keys.ring_file(key_id)
        if master_keys.is_from_environment() and not path.exists():
            raise DomainError("Take it out of MASTER_KEYS_OLD and restart; --status says whether it is needed.", "key")
        if not path.exists():
            raise DomainError(f"There is no earlier master key {key_id}. --status lists them.", "key_unknown", 404)
        state = _state()
        since = float(state.get("current_since", state.get("started_at", 0)))
        if time.time() - since < SETTLED_AFTER_S:
            raise DomainError(
                f"The key was exchanged less than {SETTLED_AFTER_S // 60} minutes ago, and something under way may "
                "still write under the old one. Try again later.",
                "key_in_use",
                409,
            )
        found = look()
        if found.under(key_id) or found.values[FIRST_FORMAT] or found.broken:
            raise DomainError(
                f"{found.under(key_id) + found.values[FIRST_FORMAT]:,} objects and values still need it. "
                "Run rotate_master_key first.",
                "key_in_use",
                409,
            )
        with path.open("r+b") as file:
            file.write(os.urandom(path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()


def look() -> Found:
    """Count what is under which key, without changing anything."""
    found = Found()
    for name in storage.all_names():
        try:
            found.objects[storage.key_id_of(name)] += 1
        except storage.ObjectMissing:
            continue  # destroyed meanwhile
        except StorageError:
            found.broken.append(name)
    for column in _columns():
        for _, value in column.rows():
            found.values.update(column.ids_in(value))
    return found


def state() -> dict[str, Any]:
    return _state()


def _state_file() -> Path:
    return master_keys.ring_folder() / "rotation.json"


def _state() -> dict[str, Any]:
    try:
        return dict(json.loads(_state_file().read_text()))
    except FileNotFoundError:
        return {}


def _keep(state: dict[str, Any]) -> None:
    master_keys.write_privately(_state_file(), json.dumps(state).encode())


@contextmanager
def _alone() -> Iterator[None]:
    """One rotation at a time on this machine."""
    folder = master_keys.ring_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DomainError("Another rotation is running.", "rotation_running", 409) from None
        yield


# Wrapping anew --------------------------------------------------------------------------------------------------------


def _wrap_everything(tell: Tell) -> int:
    changed = 0
    for number, name in enumerate(storage.all_names(), 1):
        try:
            changed += storage.rewrap(name)
        except storage.ObjectMissing:
            continue
        except StorageError as error:
            tell(f"Left as it is: {error.message}")
        if number % 1000 == 0:
            tell(f"{number:,} objects looked at.")
    return changed + sum(column.wrap_anew() for column in _columns())


# How the values of the first format are bound to their rows: they cannot be opened without.
FIRST_FORMAT_CONTEXTS: dict[tuple[str, str], Callable[[Any], str]] = {
    ("accounts.ApiKey", "signing_secret"): lambda row: str(row.prefix),
}


@dataclass(frozen=True)
class _Column:
    """A column that may hold sealed values: bytes, or base64 or hex in text or anywhere in JSON."""

    model: Any
    name: str
    is_binary: bool

    def rows(self) -> Iterator[tuple[Any, Any]]:
        """Primary key and stored value of every row that holds something."""
        rows = self.model._base_manager.order_by("pk")
        if self.is_binary:
            rows = rows.exclude(**{f"{self.name}__isnull": True})
        else:
            rows = rows.annotate(stored_text=Cast(self.name, models.TextField())).filter(
                models.Q(stored_text__contains=sealing.TEXT_MARK) | models.Q(stored_text__contains=sealing.HEX_MARK)
            )
        yield from rows.values_list("pk", self.name).iterator(chunk_size=BATCH)

    def wrap_anew(self) -> int:
        current = master_keys.current().id
        due = [pk for pk, value in self.rows() if any(key_id != current for key_id in self.ids_in(value))]
        return sum(self._wrap_batch(due[start : start + BATCH], current) for start in range(0, len(due), BATCH))

    def _wrap_batch(self, pks: list[Any], current: str) -> int:
        changed = 0
        with transaction.atomic():
            rows = self.model._base_manager.select_for_update().filter(pk__in=pks)
            for pk, value in list(rows.order_by("pk").values_list("pk", self.name)):
                if any(key_id != current for key_id in self.ids_in(value)):
                    changed += self.model._base_manager.filter(pk=pk).update(**{self.name: self._fresh(pk, value)})
        return changed

    def ids_in(self, value: Any) -> Iterator[str]:
        """Ids of the master keys that the sealed values in a stored value are under."""
        if self.is_binary:
            raw = bytes(value)
            if sealing.is_sealed(raw):
                yield sealing.key_id(raw)
            elif raw and self.first_format_context:
                yield FIRST_FORMAT
        else:
            yield from (sealing.key_id(raw) for raw in _sealed_texts(value))

    def _fresh(self, pk: Any, value: Any) -> Any:
        if not self.is_binary:
            return _texts_wrapped(value)
        raw = bytes(value)
        if sealing.is_sealed(raw):
            fresh = sealing.rewrap(raw)
        else:
            assert self.first_format_context is not None  # else ids_in says nothing of it
            bound_to = self.first_format_context(self.model._base_manager.get(pk=pk))
            fresh = sealing.seal(sealing.unseal(raw, context=bound_to), context=bound_to)
        return type(value)(fresh) if isinstance(value, bytes) else fresh

    @property
    def first_format_context(self) -> Callable[[Any], str] | None:
        return FIRST_FORMAT_CONTEXTS.get((self.model._meta.label, self.name))


def _columns() -> Iterator[_Column]:
    for model in apps.get_models():
        if model._meta.proxy or not model._meta.managed or model._meta.label == "accounts.AuditLog":
            continue  # rows of the audit log are never changed, and never hold a secret
        for column in model._meta.concrete_fields:
            if isinstance(column, models.BinaryField):
                yield _Column(model, column.attname, True)
            elif isinstance(column, TEXTS) and (column.max_length or SHORTEST_TEXT) >= SHORTEST_TEXT:
                yield _Column(model, column.attname, False)


# Sealed values as they stand in text, also behind a word of their owner's: base64 of either alphabet, and hex.
_IN_TEXT = re.compile(
    rf"(?<![A-Za-z0-9+/=_-])(?:{sealing.TEXT_MARK}[A-Za-z0-9+/_-]{{100,}}={{0,2}}|{sealing.HEX_MARK}[0-9a-f]{{150,}})"
)


def _sealed_texts(value: Any) -> Iterator[bytes]:
    if isinstance(value, str):
        yield from (raw for found in _IN_TEXT.finditer(value) if (raw := _decoded(found[0])))
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _sealed_texts(inner)


def _texts_wrapped(value: Any) -> Any:
    if isinstance(value, str):
        return _IN_TEXT.sub(_text_wrapped, value)
    if isinstance(value, dict):
        return {key: _texts_wrapped(inner) for key, inner in value.items()}
    return [_texts_wrapped(inner) for inner in value] if isinstance(value, list) else value


def _text_wrapped(found: re.Match[str]) -> str:
    text = found[0]
    raw = _decoded(text)
    if not raw:
        return text
    fresh = sealing.rewrap(raw)
    if text.startswith(sealing.HEX_MARK):
        return fresh.hex()
    encode = base64.urlsafe_b64encode if "-" in text or "_" in text else base64.b64encode
    return encode(fresh).decode()


def _decoded(text: str) -> bytes:
    try:
        if text.startswith(sealing.HEX_MARK):
            raw = bytes.fromhex(text)
        else:
            raw = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if sealing.is_sealed(raw) else b""
