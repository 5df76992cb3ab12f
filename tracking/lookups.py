"""Lookups that mean the same on SQLite, on PostgreSQL and in Python: `has` (substring) and `like` (wildcards).

Django's `contains` ignores ASCII case on SQLite alone, and has no wildcards; search must agree with the live filter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import CharField, Lookup
from django.db.models.sql.compiler import SQLCompiler

if TYPE_CHECKING:  # Lookup is generic in the stubs alone
    _BoolLookup = Lookup[bool]
else:
    _BoolLookup = Lookup


@CharField.register_lookup
class Has(_BoolLookup):
    """Substring, case and all."""

    lookup_name = "has"

    def as_sql(self, compiler: SQLCompiler, connection: Any) -> tuple[str, tuple[Any, ...]]:  # Any: Django's signature
        left, left_params = self.process_lhs(compiler, connection)
        right, right_params = self.process_rhs(compiler, connection)
        function = "instr" if connection.vendor == "sqlite" else "strpos"
        return f"{function}({left}, {right}) > 0", (*left_params, *right_params)


@CharField.register_lookup
class Like(_BoolLookup):
    """Whole value against a pattern in which `*` stands for anything; both sides are casefolded by the caller."""

    lookup_name = "like"

    def as_sql(self, compiler: SQLCompiler, connection: Any) -> tuple[str, tuple[Any, ...]]:  # Any: Django's signature
        left, left_params = self.process_lhs(compiler, connection)
        pattern = str(self.rhs)
        for special in ("\\", "%", "_"):
            pattern = pattern.replace(special, f"\\{special}")
        return f"{left} LIKE %s ESCAPE '\\'", (*left_params, pattern.replace("*", "%"))
