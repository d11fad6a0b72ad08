"""Turning a plain column into a sealed one: a new column, the values row by row, the old one gone.

All of it in the migration's transaction: broken off, it has not happened, and is done from the beginning.
"""

from __future__ import annotations

from typing import Any

from django.db import migrations

from deepfake.sealed_fields import Sealed, SealedField

BATCH = 500


def seal_column(app: str, model: str, name: str, sealed: SealedField) -> list[Any]:
    """Operations that seal the column `name`, and open it again on the way back."""
    interim = f"sealed_{name}"

    def forwards(apps: Any, schema_editor: Any) -> None:
        rows = apps.get_model(app, model)
        column = rows._meta.get_field(interim)
        for pk, value in _all(rows, schema_editor.connection.alias, name):
            if value not in ("", None, {}, []):
                _write(rows, schema_editor.connection.alias, pk, interim, column.sealed_for(pk, value))

    def backwards(apps: Any, schema_editor: Any) -> None:
        rows = apps.get_model(app, model)
        column = rows._meta.get_field(interim)
        for pk, value in _all(rows, schema_editor.connection.alias, interim):
            if value:
                _write(rows, schema_editor.connection.alias, pk, name, column.opened(pk, value))

    return [
        migrations.AddField(model, interim, _with_default(sealed)),
        migrations.RunPython(forwards, backwards),
        _Removed(model, name),
        migrations.RenameField(model, interim, name),
        migrations.AlterField(model, name, sealed),
    ]


class _Removed(migrations.RemoveField):
    """The way back must give old rows a value, which a plain text column without a default has not."""

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        to_model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, to_model):
            field = to_model._meta.get_field(self.name)
            had = field.default
            if not field.has_default() and not field.null:
                field.default = ""
            schema_editor.add_field(from_state.apps.get_model(app_label, self.model_name), field)
            field.default = had


def _with_default(sealed: SealedField) -> SealedField:
    """The database fills the new column of existing rows with the empty value."""
    made: SealedField = sealed.clone()
    made.default = Sealed
    return made


def _all(rows: Any, database: str, name: str) -> Any:
    return rows.objects.using(database).order_by("pk").values_list("pk", name).iterator(chunk_size=BATCH)


def _write(rows: Any, database: str, pk: Any, name: str, value: Any) -> None:
    rows.objects.using(database).filter(pk=pk).update(**{name: value})
