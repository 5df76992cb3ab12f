"""Queue filters: Exchange's filter text to a value, to a database condition and to a match in Python (QU-18 to QU-20).

Promises: `parse` raises FilterError and nothing else, with the place of the mistake; `condition` and `matches`
agree on every row. Case is ignored: ASCII letters for an ASCII value, all letters otherwise (what both databases do).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _

from connectors.errors import FcwebError
from connectors.mail.sizes import SizeError, parse_size
from connectors.queue_properties import Kind, Property

Value = str | int | float | datetime | timedelta | None

MAX_LENGTH = 4000  # characters of a filter
_MAX_CLAUSES = 50
_WORD = re.compile(r"""\s*('(?:[^']|'')*'|"[^"]*"|[^\s'"]+)""")
_ALIASES = {"present": "-present", "absent": "-absent"}
_SPAN = re.compile(r"(?:(\d{1,6})\.)?(\d{1,5}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,6}))?)?")
_US_TIME = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(?:\s+(\d{1,2}):(\d{2})(?::(\d{2}))?\s*([AaPp][Mm])?)?")
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,6})?")
_INTEGER = re.compile(r"-?\d{1,18}")


class FilterError(FcwebError):
    """A filter that cannot be read; `position` is the 0-based character where reading failed."""

    def __init__(self, message: str, *, position: int) -> None:
        super().__init__(message, code="FILTER_INVALID", rule="QU-19")
        self.position = position


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """One comparison. `value` has the type of the property; "" for -present and -absent."""

    property: Property
    operator: str  # -eq -ne -gt -ge -lt -le -like -present -absent
    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """All clauses must hold; no clause matches everything."""

    clauses: tuple[Clause, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int

    @property
    def is_quoted(self) -> bool:
        return self.text[0] in "'\""

    @property
    def content(self) -> str:
        if not self.is_quoted:
            return self.text
        inner = self.text[1:-1]
        return inner.replace("''", "'") if self.text[0] == "'" else inner


def parse(text: str, properties: Mapping[str, Property]) -> Filter:
    """Read a filter over these properties; blank text matches everything. Rules: QU-18 to QU-20."""
    if len(text) > MAX_LENGTH:
        raise FilterError(_("The filter is too long."), position=MAX_LENGTH)
    tokens = _tokens(text)
    clauses: list[Clause] = []
    warnings: list[str] = []
    while tokens:
        if clauses:
            joint = tokens.pop(0)
            if joint.text.lower() != "-and":
                raise FilterError(_("Clauses are joined by -and; there is no other joint."), position=joint.start)
        if len(clauses) == _MAX_CLAUSES:
            raise FilterError(_("The filter has too many clauses."), position=len(text))
        clauses.append(_clause(tokens, properties, warnings, end=len(text)))
    return Filter(clauses=tuple(clauses), warnings=tuple(warnings))


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _WORD.match(text, position)
        if match is None:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            raise FilterError(_("A quotation mark is not closed."), position=start)
        found.append(_Token(match[1], match.start(1)))
        position = match.end()
    return found


def _clause(tokens: list[_Token], properties: Mapping[str, Property], warnings: list[str], *, end: int) -> Clause:
    if not tokens:
        raise FilterError(_("A clause is missing after -and."), position=end)
    name = tokens.pop(0)
    known = properties.get(name.text.casefold())
    if known is None:
        text = _("“%(name)s” is no property here.") % {"name": name.content[:60]}
        raise FilterError(text, position=name.start)
    if not tokens:
        raise FilterError(_("A comparison such as -eq is missing."), position=end)
    sign = tokens.pop(0)
    operator = _ALIASES.get(sign.text.lower(), sign.text.lower())
    is_contains = operator == "-contains"
    if is_contains:
        operator = "-like"
    if operator not in known.operators:
        allowed = ", ".join(sorted(known.operators))
        text = _("%(name)s cannot be compared with %(operator)s; possible: %(allowed)s.")
        facts = {"name": known.name, "operator": sign.content[:20], "allowed": allowed}
        raise FilterError(text % facts, position=sign.start)
    if operator in {"-present", "-absent"}:
        return Clause(property=known, operator=operator, value="")
    if not tokens:
        raise FilterError(_("A value is missing."), position=end)
    token = tokens.pop(0)
    value = _value(known, token)
    if is_contains:
        value = f"*{value}*"
    if operator in {"-eq", "-ne"} and isinstance(value, str) and "*" in value and "-like" in known.operators:
        warnings.append(
            _("%(name)s: a wildcard needs -like; %(operator)s compares the * itself.")
            % {
                "name": known.name,
                "operator": operator,
            }
        )
    return Clause(property=known, operator=operator, value=value)


def _value(known: Property, token: _Token) -> Value:
    text = token.content
    if not token.is_quoted and known.kind not in {Kind.INTEGER, Kind.NUMBER}:
        raise FilterError(_("Texts are written in quotation marks."), position=token.start)
    value: Value = None
    if known.kind in {Kind.TEXT, Kind.LIST}:
        if "\0" not in text:
            return text
    elif known.kind is Kind.ENUM:
        if text.casefold() in known.values:
            return known.values[text.casefold()]
        possible = ", ".join(sorted({str(word) for word in known.values})[:12])
        raise FilterError(
            _("“%(text)s” is no such value; possible: %(possible)s.") % {"text": text[:60], "possible": possible},
            position=token.start,
        )
    elif known.kind is Kind.INTEGER:
        value = _integer(text)
    elif known.kind is Kind.NUMBER:
        value = float(text) if _NUMBER.fullmatch(text) else None
    elif known.kind is Kind.TIME:
        value = _time(text)
    else:
        value = _span(text)
    if value is None:
        raise FilterError(
            _("“%(text)s” does not fit %(name)s.") % {"text": text[:60], "name": known.name}, position=token.start
        )
    return value


def _integer(text: str) -> int | None:
    if _INTEGER.fullmatch(text) and text.isascii():
        return int(text)
    try:
        size = parse_size(text) if text.isascii() else None
    except SizeError:
        return None
    return size if size is not None and size < 2**63 else None


def _time(text: str) -> datetime | None:
    """Return a time: ISO 8601 or Exchange's month/day/year; local when no zone is named."""
    try:
        moment = parse_datetime(text)
        if moment is None and (day := parse_date(text)) is not None:
            moment = datetime(day.year, day.month, day.day)  # noqa: DTZ001 (made aware below)
        if moment is None:
            moment = _us_time(text)
        if moment is None:
            return None
        aware = timezone.make_aware(moment) if timezone.is_naive(moment) else moment
        aware.astimezone(tz=None)
    except (ValueError, OverflowError):
        return None
    return aware if 1970 <= aware.year < 9000 else None


def _us_time(text: str) -> datetime | None:
    match = _US_TIME.fullmatch(text.strip())
    if match is None:
        return None
    hour, minute, second = (int(part or 0) for part in match.group(4, 5, 6))
    if match[7]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match[7].lower() == "pm" else 0)
    return datetime(int(match[3]), int(match[1]), int(match[2]), hour, minute, second)  # noqa: DTZ001


def _span(text: str) -> timedelta | None:
    match = _SPAN.fullmatch(text) if text.isascii() else None
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.group(1, 2, 3, 4))
    micros = int((match[5] or "0").ljust(6, "0"))
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, microseconds=micros)


@dataclass(frozen=True, slots=True)
class Constant:
    """A property that has one value in every row: what a clause finds is known without a row."""

    value: Value


# What a column of the database is: names of expressions (one must hold), a function of a condition on texts, the
# condition of each value of an enum, so that indexes serve it (a value without one never holds), or no column at all.
Column = Sequence[str] | Callable[[Callable[[str], Q]], Q] | Mapping[str, Q] | Constant
_LOOKUPS = {"-gt": "gt", "-ge": "gte", "-lt": "lt", "-le": "lte"}


def names(column: Column) -> Sequence[str]:
    """Return the expressions a column is made of; none where it is a condition or a constant."""
    return () if callable(column) or isinstance(column, Mapping | Constant) else column


def condition(wanted: Filter, columns: Mapping[str, Column]) -> Q:
    """Return the filter as a condition; `columns` names the expressions of each property used."""
    found = Q()
    for clause in wanted.clauses:
        found &= _condition(clause, columns[clause.property.name])
    return found


def _condition(clause: Clause, column: Column) -> Q:
    def one(name: str) -> Q:
        return _compare(clause, name)

    if isinstance(column, Constant):
        nothing = Q(pk__in=())
        return ~nothing if _matches(clause, [column.value]) else nothing
    if isinstance(column, Mapping):
        holds = column.get(str(clause.value), Q(pk__in=()))
    elif callable(column):
        holds = column(one)
    else:
        holds = Q()
        for name in column:
            holds |= one(name)
    return ~holds if clause.operator == "-ne" else holds


def _compare(clause: Clause, name: str) -> Q:
    """Return one comparison, -ne not yet negated; an empty value never holds."""
    operator, value = clause.operator, clause.value
    if operator in _LOOKUPS:
        return Q(**{f"{name}__isnull": False, f"{name}__{_LOOKUPS[operator]}": value})
    if operator in {"-present", "-absent"}:
        empty = Q(**{f"{name}__isnull": True})
        if clause.property.kind is Kind.TEXT:
            empty |= Q(**{f"{name}": ""})
        return empty if operator == "-absent" else ~empty
    if isinstance(value, str) and clause.property.kind in {Kind.TEXT, Kind.LIST}:
        equal = _like(name, value, is_wild=operator == "-like")
    else:
        equal = Q(**{name: value})
    return Q(**{f"{name}__isnull": False}) & equal


def _like(name: str, pattern: str, *, is_wild: bool) -> Q:
    """Compare a text without regard to case; simple wildcards become prefix, suffix and substring searches."""
    if not pattern.isascii():
        return Q(**{f"{name}__iregex": _expression(pattern, is_wild=is_wild)})
    if not is_wild or "*" not in pattern:
        return Q(**{f"{name}__iexact": pattern})
    first, *middle, last = pattern.split("*")
    inner = [part for part in middle if part]
    found = Q()
    if first:
        found &= Q(**{f"{name}__istartswith": first})
    if last:
        found &= Q(**{f"{name}__iendswith": last})
    for part in inner:
        found &= Q(**{f"{name}__icontains": part})
    if len(inner) + bool(first) + bool(last) > 1:  # order and overlap need the whole pattern
        found &= Q(**{f"{name}__iregex": _expression(pattern, is_wild=True)})
    return found


def _expression(pattern: str, *, is_wild: bool) -> str:
    """Return the pattern as a regular expression that SQLite's and PostgreSQL's engines read alike."""
    parts = pattern.split("*") if is_wild else [pattern]
    return r"\A" + r"(.|\n)*".join(re.escape(part) for part in parts) + r"\Z"


def matches(wanted: Filter, values: Callable[[str], Sequence[Value]]) -> bool:
    """Tell whether a row matches; `values` returns the values of a property, [] or None for an empty one."""
    return all(_matches(clause, values(clause.property.name)) for clause in wanted.clauses)


def _matches(clause: Clause, values: Sequence[Value]) -> bool:
    present = [value for value in values if value is not None]
    if clause.operator in {"-present", "-absent"}:
        is_present = any(value != "" for value in present)
        return is_present is (clause.operator == "-present")
    if clause.operator == "-ne":
        return not any(_holds(clause, value) for value in present)
    return any(_holds(clause, value) for value in present)


def _holds(clause: Clause, value: Value) -> bool:
    wanted = clause.value
    if isinstance(value, str) and isinstance(wanted, str) and clause.property.kind in {Kind.TEXT, Kind.LIST}:
        return _text_holds(wanted, value, is_wild=clause.operator == "-like")
    if clause.operator in {"-eq", "-ne"}:
        return value == wanted
    assert clause.operator in _LOOKUPS
    if clause.operator == "-gt":
        return value > wanted  # type: ignore[operator]  # both have the property's type
    if clause.operator == "-ge":
        return value >= wanted  # type: ignore[operator]
    if clause.operator == "-lt":
        return value < wanted  # type: ignore[operator]
    return value <= wanted  # type: ignore[operator]


def _text_holds(pattern: str, value: str, *, is_wild: bool) -> bool:
    flags = re.IGNORECASE | (re.ASCII if pattern.isascii() else re.UNICODE)
    return re.search(_expression(pattern, is_wild=is_wild), value, flags) is not None
