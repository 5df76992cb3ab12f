"""Search: what is asked for as a value, pages of events newest first, and the same match for the live stream.

Promises: keyset pages, no OFFSET, no unbounded COUNT; `parse` never raises; `matches` agrees with `page`.
Rules: MTS-20, MTS-30 to MTS-34.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from tracking.models import EventRecipient, TrackingEvent

_TOKEN = re.compile(r'(?:(?P<key>[a-z]+):)?(?:"(?P<quoted>[^"]*)"?|(?P<plain>[^\s"]+))', re.IGNORECASE)
_SINCE = re.compile(r"(\d{1,5})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_KEYS = {
    "from": "sender",
    "sender": "sender",
    "to": "recipient",
    "recipient": "recipient",
    "subject": "subject",
    "id": "message_id",
    "event": "event",
    "source": "source",
    "connector": "connector",
    "after": "start",
    "since": "start",
    "before": "end",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """Criteria, all of which must hold; "" means any. Times are half-open `[start, end)` (MTS-32)."""

    sender: str = ""  # exact, `*` wildcard, or @domain
    recipient: str = ""
    subject: str = ""  # contains
    message_id: str = ""  # with or without < >
    event: str = ""  # one, or several with commas
    source: str = ""
    connector: str = ""
    text: str = ""  # words in subject, sender or recipient
    start: datetime | None = None
    end: datetime | None = None
    problems: tuple[str, ...] = ()  # words of the text that could not be understood


def parse(text: str, *, now: datetime) -> SearchQuery:
    """Read the search box: `from:a@b to:FAX* event:FAIL since:2h words`. Unknown keys are words."""
    found: dict[str, str | datetime] = {}
    words = []
    problems = []
    for match in _TOKEN.finditer(text):
        value = match["quoted"] if match["quoted"] is not None else match["plain"]
        key = _KEYS.get((match["key"] or "").lower())
        if key is None:
            words.append(f"{match['key']}:{value}" if match["key"] else value)
        elif key in {"start", "end"}:
            moment = read_time(value, now=now)
            if moment is None:
                problems.append(match[0])
            else:
                found[key] = moment
        else:
            found[key] = value
    return SearchQuery(text=" ".join(words), problems=tuple(problems), **found)  # type: ignore[arg-type]  # keys are ours


def read_time(value: str, *, now: datetime) -> datetime | None:
    """Read `2h`, a date (that local day's start) or ISO date and time; None when it is none of them."""
    match = _SINCE.fullmatch(value)
    if match:
        return now - timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        moment = parse_datetime(value)
        if moment is None:
            day = parse_date(value)
            moment = datetime(day.year, day.month, day.day) if day else None  # noqa: DTZ001 (made aware below)
    except ValueError:
        return None
    if moment is None:
        return None
    return moment if moment.tzinfo else timezone.make_aware(moment)


def is_empty(query: SearchQuery) -> bool:
    """Tell whether the query asks for everything."""
    return all(not getattr(query, item.name) for item in fields(query) if item.name != "problems")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event as lists and the live stream show it."""

    pk: int
    log_id: str
    at: datetime
    event: str
    source: str
    connector: str
    context: str
    message_pk: int
    message_id: str
    sender: str
    subject: str
    state: str
    recipients: tuple[tuple[str, str], ...]  # address, status

    @property
    def first_recipient(self) -> str:
        return self.recipients[0][0] if self.recipients else ""

    @property
    def more_recipients(self) -> int:
        return max(0, len(self.recipients) - 1)

    @property
    def status(self) -> str:
        return self.recipients[0][1] if self.recipients else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page, newest first, and the keys of its neighbours."""

    rows: tuple[EventRow, ...]
    newer: str  # "" at the newest page
    older: str  # "" at the oldest page


def page(query: SearchQuery, *, older_than: str = "", newer_than: str = "", limit: int = 50) -> Page:
    """Return one page of events; keys are `<time>_<id>` of the edge rows (MTS-33)."""
    events = filtered(query)
    edge = _key(older_than or newer_than)
    ascending = bool(newer_than) and edge is not None
    if edge is not None:
        at, pk = edge
        later = Q(at__gt=at) | Q(at=at, pk__gt=pk)
        earlier = Q(at__lt=at) | Q(at=at, pk__lt=pk)
        events = events.filter(later if ascending else earlier)
    ordered = events.order_by("at", "pk") if ascending else events.order_by("-at", "-pk")
    found = list(ordered[: limit + 1])
    more = len(found) > limit
    found = found[:limit]
    if ascending:
        found.reverse()
    rows = rows_of(found)
    has_newer = bool(rows) and (more if ascending else edge is not None)
    has_older = bool(rows) and (edge is not None if ascending else more)
    return Page(
        rows=rows,
        newer=_key_text(rows[0]) if has_newer else "",
        older=_key_text(rows[-1]) if has_older else "",
    )


def _key(text: str) -> tuple[datetime, int] | None:
    micro, _, pk = text.partition("_")
    if not (micro.isdigit() and pk.isdigit() and len(micro) < 18 and len(pk) < 19):
        return None
    return datetime.fromtimestamp(int(micro) // 1_000_000, UTC).replace(microsecond=int(micro) % 1_000_000), int(pk)


def _key_text(row: EventRow) -> str:
    return f"{int(row.at.timestamp()) * 1_000_000 + row.at.microsecond}_{row.pk}"


def filtered(query: SearchQuery) -> QuerySet[TrackingEvent]:
    """Return the matching events, unordered."""
    events = TrackingEvent.objects.select_related("message")
    if query.start:
        events = events.filter(at__gte=query.start)
    if query.end:
        events = events.filter(at__lt=query.end)
    if query.event:
        events = events.filter(event__in=_words(query.event))
    if query.source:
        events = events.filter(source__in=_words(query.source))
    if query.connector:
        events = events.filter(connector_id__iexact=query.connector)
    if query.message_id:
        bare = query.message_id.strip("<>")
        events = events.filter(message__message_id__in=[f"<{bare}>", bare])
    if query.subject:
        events = events.filter(message__subject__icontains=query.subject)
    if query.sender:
        sender = _address(query.sender, "message__sender_key") | _address(query.sender, "message__return_path")
        events = events.filter(sender)
    recipients = EventRecipient.objects.filter(event=OuterRef("pk"))
    if query.recipient:
        events = events.filter(Exists(recipients.filter(_address(query.recipient, "address_key"))))
    for word in query.text.split():
        either = Q(message__subject__icontains=word) | Q(message__sender_key__icontains=word.casefold())
        events = events.filter(either | Exists(recipients.filter(address_key__contains=word.casefold())))
    return events


def _words(text: str) -> list[str]:
    return [word.strip().upper() for word in text.split(",") if word.strip()]


def _address(pattern: str, column: str) -> Q:
    """Return the condition of an address criterion: exact, `*` wildcard, `@domain` (MTS-31)."""
    wanted = pattern.casefold()
    if wanted.startswith("@"):
        return Q(**{f"{column}__iendswith": wanted})
    if "*" in wanted:
        return Q(**{f"{column}__iregex": _regex(wanted)})
    return Q(**{f"{column}__iexact": wanted})


def _regex(pattern: str) -> str:
    return "^" + ".*".join(re.escape(part) for part in pattern.split("*")) + "$"


def rows_of(events: Sequence[TrackingEvent]) -> tuple[EventRow, ...]:
    """Return the rows of loaded events: one query for all recipients."""
    recipients: dict[int, list[tuple[str, str]]] = {}
    wanted = EventRecipient.objects.filter(event__in=[event.pk for event in events]).order_by("pk")
    for event_pk, address, status in wanted.values_list("event_id", "address", "status"):
        recipients.setdefault(event_pk, []).append((address, status))
    return tuple(
        EventRow(
            pk=event.pk,
            log_id=str(event.log_id),
            at=event.at,
            event=event.event,
            source=event.source,
            connector=event.connector_id,
            context=event.source_context,
            message_pk=event.message_id,
            message_id=event.message.message_id,
            sender=event.message.sender or event.message.return_path,
            subject=event.message.subject,
            state=event.message.state,
            recipients=tuple(recipients.get(event.pk, ())),
        )
        for event in events
    )


def matches(query: SearchQuery, row: EventRow) -> bool:
    """Tell whether a row passes the query: what `filtered` asks the database, asked of one row."""
    keys = [address.casefold() for address, _status in row.recipients]
    words = query.text.casefold().split()
    checks = (
        not query.start or row.at >= query.start,
        not query.end or row.at < query.end,
        not query.event or row.event in _words(query.event),
        not query.source or row.source in _words(query.source),
        not query.connector or row.connector.casefold() == query.connector.casefold(),
        not query.message_id or row.message_id.strip("<>") == query.message_id.strip("<>"),
        not query.subject or query.subject.casefold() in row.subject.casefold(),
        not query.sender or _address_matches(query.sender, row.sender.casefold()),
        not query.recipient or any(_address_matches(query.recipient, key) for key in keys),
        all(
            word in row.subject.casefold() or word in row.sender.casefold() or any(word in key for key in keys)
            for word in words
        ),
    )
    return all(checks)


def _address_matches(pattern: str, key: str) -> bool:
    wanted = pattern.casefold()
    if wanted.startswith("@"):
        return key.endswith(wanted)
    return re.fullmatch(_regex(wanted), key) is not None
