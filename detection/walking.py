"""Conditions that do not decide which index a query uses."""

from __future__ import annotations

from typing import Any

from django.db.models import F, Func, Model, Q
from django.db.models.lookups import In


class Walked(Func):
    """A column that is filtered by while another index is walked.

    SQLite would rather collect all rows with the value by another index and sort them, which for a common value means
    most of the table. Its unary plus keeps it from that; PostgreSQL counts values and decides better by itself.
    """

    template = "%(expressions)s"
    arity = 1

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="+%(expressions)s", **context)


def walked(model: type[Model], column: str, *values: Any) -> Q:
    """A condition "column is one of values" that leaves the choice of the index to the rest of the query."""
    found: Any = model._meta.get_field(column)
    plain = found.target_field if found.is_relation else found
    return Q(In(Walked(F(found.attname), output_field=plain), values))
