"""Query: what is asked for, as a value: read from the search box or a form, and asked of one row.

Promises: `parse` never raises and loses nothing: a token that is not understood is a criterion with a `problem`, in its
place. `matches` is the definition of the language; `search` asks the database the same. Rules: MTS-20, MTS-30 to MTS-32.

Language: `key:value`, `key:"two words"`, a leading `-` negates, other words are looked for in subject, sender and
recipients. All criteria must hold. `from: to: subject: id: event: source: connector: state: status: size: file:
since: until: before: on:`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from tracking.choices import TrackedState
from tracking.fold import address_key, fold, like, subject_key
from tracking.rows import EventRow

_TOKEN = re.compile(r'(?P<not>-)?(?:(?P<key>[A-Za-z][A-Za-z-]*):)?(?:"(?P<quoted>[^"]*)"?|(?P<plain>\S+))')
_SINCE = re.compile(r"(\d{1,5})([smhdw])", re.IGNORECASE)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_STATUS = re.compile(r"[245]\d{0,2}|[245]\.\d{1,3}(\.\d{1,3})?")
_SIZE = re.compile(r"(\d{1,12}(?:[.,]\d{1,3})?)\s*([kmg]?)[bo]?", re.IGNORECASE)
_LARGEST = 2**62
_STARS = 6  # more wildcards in one pattern would make matching slow
_LONGEST = 4000  # characters of a search box that are read
_MOST = 60  # conditions a search has at most; a database nests only so many
_YEARS = range(1971, 9000)  # times outside are not understood: zone arithmetic fails at the ends


class Key(StrEnum):
    """What a criterion is about."""

    SENDER = "from"
    RECIPIENT = "to"
    SUBJECT = "subject"
    ID = "id"  # Message-ID, network message id or internal id
    EVENT = "event"
    SOURCE = "source"
    CONNECTOR = "connector"
    STATE = "state"
    STATUS = "status"
    SIZE = "size"
    FILE = "file"
    REFERENCE = "reference"
    START = "since"
    END = "before"
    TEXT = "text"


class Problem(StrEnum):
    """Why a token was not understood."""

    EMPTY = "empty"
    TIME = "time"
    SIZE = "size"
    STATE = "state"
    STATUS = "status"
    NEGATED_TIME = "negated-time"
    PATTERN = "pattern"
    MANY = "many"


_KEYS = {
    "from": Key.SENDER,
    "sender": Key.SENDER,
    "to": Key.RECIPIENT,
    "recipient": Key.RECIPIENT,
    "subject": Key.SUBJECT,
    "id": Key.ID,
    "message-id": Key.ID,
    "event": Key.EVENT,
    "source": Key.SOURCE,
    "connector": Key.CONNECTOR,
    "state": Key.STATE,
    "is": Key.STATE,
    "status": Key.STATUS,
    "size": Key.SIZE,
    "file": Key.FILE,
    "reference": Key.REFERENCE,
    "since": Key.START,
    "after": Key.START,
    "start": Key.START,
    "before": Key.END,
    "end": Key.END,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One condition; with a `problem` it restricts nothing and is shown as wrong."""

    key: Key
    value: str  # as typed, without quotes
    negated: bool = False
    problem: Problem | None = None
    low: int = 0  # of SIZE, bytes, inclusive
    high: int = _LARGEST
    text: str = ""  # the token as typed, "" when it came from a form field


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """Criteria, all of which must hold; times are half-open `[start, end)` (MTS-32)."""

    criteria: tuple[Criterion, ...] = ()
    start: datetime | None = None
    end: datetime | None = None

    @property
    def active(self) -> tuple[Criterion, ...]:
        """The criteria that restrict something, times aside."""
        return tuple(c for c in self.criteria if c.problem is None and c.key not in {Key.START, Key.END})

    @property
    def problems(self) -> tuple[str, ...]:
        """The tokens that were not understood, as typed."""
        return tuple(c.text or c.value for c in self.criteria if c.problem)

    @property
    def is_empty(self) -> bool:
        """Tell whether the query asks for everything."""
        return not self.active and self.start is None and self.end is None


def parse(text: str, *, now: datetime) -> SearchQuery:
    """Read the search box: `from:a@b to:FAX* event:FAIL since:2h -word "two words"`. Unknown keys are words."""
    text = text[:_LONGEST].encode("utf-8", "replace").decode().replace("\0", " ")
    query = SearchQuery()
    for match in _TOKEN.finditer(text):
        value = match["quoted"] if match["quoted"] is not None else match["plain"]
        key = (match["key"] or "").lower()
        negated = bool(match["not"])
        if key == "on":
            query = _with_day(query, value, match[0], negated=negated)
        elif key == "until":
            query = _with_end_of_day(query, value, match[0], negated=negated, now=now)
        elif key in _KEYS:
            query = with_criterion(query, _KEYS[key], value, negated=negated, text=match[0], now=now)
        elif value.endswith(":") and value[:-1].lower() in _KEYS:
            wrong = Criterion(key=_KEYS[value[:-1].lower()], value="", problem=Problem.EMPTY, text=match[0])
            query = replace(query, criteria=(*query.criteria, wrong))
        else:
            word = f"{match['key']}:{value}" if match["key"] else value
            query = with_criterion(query, Key.TEXT, word, negated=negated, text=match[0], now=now)
    return query


def with_criterion(
    query: SearchQuery, key: Key, value: str, *, now: datetime, negated: bool = False, text: str = ""
) -> SearchQuery:
    """Return the query with one more criterion; times narrow the range."""
    value = value.strip()
    if key in {Key.START, Key.END}:
        moment = read_time(value, now=now)
        problem = Problem.NEGATED_TIME if negated else None if moment else Problem.TIME
        added = Criterion(key=key, value=value, negated=negated, problem=problem, text=text)
        query = replace(query, criteria=(*query.criteria, added))
        return query if problem or moment is None else _narrowed(query, key, moment)
    made = _criterion(key, value, negated=negated, text=text)
    if made.problem is None and sum(map(_terms, query.active)) + _terms(made) > _MOST:
        made = replace(made, problem=Problem.MANY)
    return replace(query, criteria=(*query.criteria, made))


def _terms(criterion: Criterion) -> int:
    """Return how many conditions a criterion is."""
    return len(words(criterion.value)) if criterion.key in {Key.RECIPIENT, Key.STATUS} else 1


def _narrowed(query: SearchQuery, key: Key, moment: datetime) -> SearchQuery:
    if key is Key.START:
        return replace(query, start=max(query.start, moment) if query.start else moment)
    return replace(query, end=min(query.end, moment) if query.end else moment)


def _with_day(query: SearchQuery, value: str, text: str, *, negated: bool) -> SearchQuery:
    """Read `on:2026-03-05`: that whole local day (MTS-32)."""
    start = _day(value)
    problem = Problem.NEGATED_TIME if negated else None if start else Problem.TIME
    added = Criterion(key=Key.START, value=value, negated=negated, problem=problem, text=text)
    query = replace(query, criteria=(*query.criteria, added))
    if problem or start is None:
        return query
    return _narrowed(_narrowed(query, Key.START, start), Key.END, _next_day(start))


def _with_end_of_day(query: SearchQuery, value: str, text: str, *, negated: bool, now: datetime) -> SearchQuery:
    """Read `until:2026-03-05`: to the end of that day; with a time, to that instant."""
    day = _day(value)
    moment = _next_day(day) if day else read_time(value, now=now)
    problem = Problem.NEGATED_TIME if negated else None if moment else Problem.TIME
    added = Criterion(key=Key.END, value=value, negated=negated, problem=problem, text=text)
    query = replace(query, criteria=(*query.criteria, added))
    return query if problem or moment is None else _narrowed(query, Key.END, moment)


def _day(value: str) -> datetime | None:
    try:
        day = parse_date(value)
    except ValueError:
        return None
    if day is None or day.year not in _YEARS:
        return None
    return timezone.make_aware(datetime(day.year, day.month, day.day))  # noqa: DTZ001 (made aware here)


def _next_day(start: datetime) -> datetime:
    following = timezone.localtime(start).date() + timedelta(days=1)
    return timezone.make_aware(datetime(following.year, following.month, following.day))  # noqa: DTZ001 (as above)


def read_time(value: str, *, now: datetime) -> datetime | None:
    """Read `2h`, a date (that local day's start) or ISO date and time; None when it is none of them."""
    match = _SINCE.fullmatch(value)
    if match:
        return now - timedelta(**{_UNITS[match[2].lower()]: int(match[1])}) if int(match[1]) < 50_000 else None
    day = _day(value)
    if day:
        return day
    try:
        moment = parse_datetime(value)
    except ValueError:
        return None
    if moment is None or moment.year not in _YEARS:
        return None
    return (moment if moment.tzinfo else timezone.make_aware(moment)).astimezone(UTC)


def _criterion(key: Key, value: str, *, negated: bool, text: str) -> Criterion:
    made = Criterion(key=key, value=value, negated=negated, text=text)
    if not value.strip("*<>, ") and key is not Key.TEXT:
        return replace(made, problem=Problem.EMPTY)
    if key in {Key.SENDER, Key.RECIPIENT, Key.CONNECTOR} and re.sub(r"\*+", "*", value).count("*") > _STARS:
        return replace(made, problem=Problem.PATTERN)
    match key:
        case Key.TEXT:
            return made if value else replace(made, problem=Problem.EMPTY)
        case Key.SIZE:
            bounds = read_size(value)
            return replace(made, low=bounds[0], high=bounds[1]) if bounds else replace(made, problem=Problem.SIZE)
        case Key.STATE:
            known = all(word in TrackedState.values for word in words(value.lower()))
            return made if known else replace(made, problem=Problem.STATE)
        case Key.STATUS:
            known = all(_STATUS.fullmatch(word) for word in status_prefixes(value))
            return made if known else replace(made, problem=Problem.STATUS)
        case _:
            return made


def read_size(value: str) -> tuple[int, int] | None:
    """Read `>1MB`, `<=10KB`, `1MB..5MB` or `1MB` (that much or more) as inclusive bounds in bytes (1 KB is 1024)."""
    low, dots, high = value.partition("..")
    if dots:
        first, last = _bytes(low), _bytes(high)
        return None if first is None or last is None else (first, last)
    sign = re.match(r"[<>]?=?", value)
    operator = sign[0] if sign else ""
    count = _bytes(value[len(operator) :].strip())
    if count is None:
        return None
    bounds = {">": (count + 1, _LARGEST), "<": (0, count - 1), "<=": (0, count), "=": (count, count)}
    return bounds.get(operator, (count, _LARGEST))


def _bytes(text: str) -> int | None:
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        return None
    count = float(match[1].replace(",", ".")) * 1024 ** " kmg".index(match[2].lower() or " ")
    return min(int(count), _LARGEST)


def words(value: str) -> list[str]:
    """Return the parts of a comma list."""
    return [word.strip() for word in value.split(",") if word.strip()]


def status_prefixes(value: str) -> list[str]:
    """Return the codes of `status:5xx,4.3.1`: class, reply code or enhanced code, each a prefix (MTS-30)."""
    return [word.lower().rstrip("x") for word in words(value)]


def address_pattern(value: str) -> str:
    """Return the folded pattern of an address criterion: `@domain` is `*@domain` (MTS-31)."""
    wanted = re.sub(r"\*+", "*", fold(value.strip("<>")))
    return f"*{wanted}" if wanted.startswith("@") else wanted


def bare_id(value: str) -> str:
    """Return an id without < > (MTA-5)."""
    return value.strip().removeprefix("<").removesuffix(">")


def network_id(value: str) -> uuid.UUID | None:
    """Return the GUID an id criterion may mean: dashed or 32 digits (MTA-11)."""
    if not re.fullmatch(r"[0-9A-Fa-f]{32}|[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", value):
        return None
    return uuid.UUID(value)


def internal_id(value: str) -> int | None:
    """Return the internal id an id criterion may mean."""
    return int(value) if re.fullmatch(r"[0-9]{1,18}", value) else None


def matches(query: SearchQuery, row: EventRow) -> bool:
    """Tell whether a row passes: the meaning of every criterion."""
    if query.start and row.at < query.start:
        return False
    if query.end and row.at >= query.end:
        return False
    return all(_holds(criterion, row) is not criterion.negated for criterion in query.active)


def _holds(criterion: Criterion, row: EventRow) -> bool:
    value = criterion.value
    match criterion.key:
        case Key.SENDER:
            return like(address_pattern(value), address_key(row.sender))
        case Key.RECIPIENT:
            patterns = [address_pattern(word) for word in words(value)]
            return any(like(p, address_key(address)) for p in patterns for address, _status in row.recipients)
        case Key.SUBJECT:
            return fold(value) in subject_key(row.subject)
        case Key.ID:
            return _id_holds(bare_id(value), row)
        case Key.EVENT:
            return row.event in words(value.upper())
        case Key.SOURCE:
            return row.source in words(value.upper())
        case Key.CONNECTOR:
            return like(fold(value), fold(row.connector))
        case Key.STATE:
            return row.state in words(value.lower())
        case Key.STATUS:
            return any(status_holds(p, status) for p in status_prefixes(value) for _address, status in row.recipients)
        case Key.SIZE:
            return criterion.low <= row.size <= criterion.high
        case Key.FILE:
            return value in row.context
        case Key.REFERENCE:
            return bare_id(value) in row.reference
        case _:
            return _text_holds(fold(value), row)


def status_holds(prefix: str, status: str) -> bool:
    """Tell whether a status text begins with a code, or its enhanced code does."""
    return status.startswith(prefix) or status[3:].startswith(f" {prefix}")


def _id_holds(value: str, row: EventRow) -> bool:
    if value.endswith("*"):
        return row.message_id.startswith((value[:-1], f"<{value[:-1]}"))
    if row.message_id in {value, f"<{value}>"}:
        return True
    guid = network_id(value)
    if guid is not None and row.network_message_id == guid:
        return True
    number = internal_id(value)
    return number is not None and row.internal_message_id == number


def _text_holds(word: str, row: EventRow) -> bool:
    addresses = [row.sender, *(address for address, _status in row.recipients)]
    return word in subject_key(row.subject) or any(word in address_key(address) for address in addresses)


def in_words(criteria: Iterable[Criterion]) -> str:
    """Write criteria as text for the search box."""
    return " ".join(written(criterion) for criterion in criteria)


def written(criterion: Criterion) -> str:
    """Write one criterion as the search box reads it."""
    if criterion.text:
        return criterion.text
    value = f'"{criterion.value}"' if re.search(r"\s", criterion.value) else criterion.value
    key = "" if criterion.key is Key.TEXT else f"{criterion.key}:"
    return f"{'-' if criterion.negated else ''}{key}{value}"
