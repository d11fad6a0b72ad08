"""Model fields that are sealed in the database: personal data that no query needs in plain.

A value is bound to its field and row, so that it opens nowhere else; it is unsealed when it is first looked at. Rows
need their primary key before they are saved (our UUIDs have it). `QuerySet.update` takes `field.sealed_for(pk, value)`,
and `values()` gives `Sealed` bytes, to be opened with `field.opened(pk, sealed)`.
"""

from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import FieldError
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models.query_utils import DeferredAttribute

from deepfake.sealing import seal, unseal


class Sealed(bytes):
    """A value as it lies in the column; b"" stands for an empty one, which is not sealed."""


class _Unsealing(DeferredAttribute):
    """Opens what the database gave when it is looked at, and keeps it on the instance."""

    field: SealedField

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        value = super().__get__(instance, cls)
        if isinstance(value, Sealed):
            value = self.field.opened(instance.pk, value)
            instance.__dict__[self.field.attname] = value
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.field.attname] = value


class SealedField(models.BinaryField):  # type: ignore[type-arg]
    descriptor_class = _Unsealing
    empty_strings_allowed = True

    def __init__(self, *args: Any, context: str, **kwargs: Any) -> None:
        """context: names the field for good, as "media.info"; a column may be renamed, this may not change."""
        self.context = context
        kwargs.setdefault("editable", True)
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        return name, path, args, kwargs | {"context": self.context}

    # Values -----------------------------------------------------------------------------------------------------------

    def sealed_for(self, pk: Any, value: Any) -> Sealed:
        """The value as it lies in the column of the row with this primary key."""
        if isinstance(value, Sealed):
            return value
        plain = self._to_bytes(value)
        if not plain:
            return Sealed()
        if pk is None:
            raise FieldError(f"{self.context} is sealed for its row, which needs its primary key first.")
        return Sealed(seal(plain, context=self._bound_to(pk)))

    def opened(self, pk: Any, sealed: bytes) -> Any:
        """The value of a column of the row with this primary key. Raises StorageError."""
        return self._from_bytes(unseal(sealed, context=self._bound_to(pk)) if sealed else b"")

    def _bound_to(self, pk: Any) -> str:
        return f"{self.context}:{pk}"

    def _to_bytes(self, value: Any) -> bytes:
        raise NotImplementedError

    def _from_bytes(self, plain: bytes) -> Any:
        raise NotImplementedError

    # Django's side ----------------------------------------------------------------------------------------------------

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Sealed | None:
        return None if value is None else Sealed(value)

    def pre_save(self, model_instance: Any, add: bool) -> Sealed:
        raw = model_instance.__dict__.get(self.attname)
        # What nobody has looked at goes back as it is.
        return self.sealed_for(
            model_instance.pk, raw if isinstance(raw, Sealed) else self.value_from_object(model_instance)
        )

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if value in ("", {}, []):
            value = Sealed()
        if value is not None and not isinstance(value, Sealed):
            raise FieldError(f"{self.context} is sealed for its row: use sealed_for(pk, value).")
        return super().get_db_prep_value(None if value is None else bytes(value), connection, prepared)

    def get_default(self) -> Any:
        if not self.has_default():
            return self._from_bytes(b"")
        return self.default() if callable(self.default) else self.default

    def to_python(self, value: Any) -> Any:
        return value

    def value_to_string(self, obj: Any) -> str:
        return self._to_bytes(self.value_from_object(obj)).decode()

    def validate(self, value: Any, model_instance: Any) -> None:
        if not value and not self.blank:
            super().validate(value, model_instance)


class SealedTextField(SealedField):
    def _to_bytes(self, value: Any) -> bytes:
        return str(value or "").encode()

    def _from_bytes(self, plain: bytes) -> str:
        return plain.decode()

    def formfield(self, **kwargs: Any) -> Any:
        from django import forms

        return models.Field.formfield(self, **({"form_class": forms.CharField} | kwargs))


class SealedJSONField(SealedField):
    def _to_bytes(self, value: Any) -> bytes:
        return b"" if value in (None, {}, []) else json.dumps(value, cls=DjangoJSONEncoder).encode()

    def _from_bytes(self, plain: bytes) -> Any:
        if plain:
            return json.loads(plain)
        return self.get_default() if self.has_default() else None
