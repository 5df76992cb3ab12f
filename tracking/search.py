"""Search: pages of events or messages, newest first, by the plan that is cheap for the query.

Promises: keyset pages, no OFFSET, no unbounded COUNT. A criterion that an index answers with few hits becomes the
driver: its keys are fetched first and everything else is checked on them. Without one the events are walked newest
first, which is quick when hits are frequent; criteria no index serves are then bounded by time, and the page says so.
Rules: MTS-20, MTS-30 to MTS-35. What a criterion means is defined by `tracking.query.matches`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet

from tracking import conditions, text_index
from tracking.fold import fold
from tracking.models import AddressName, EventRecipient, TrackedMessage, TrackingEvent
from tracking.query import (
    Criterion,
    Key,
    SearchQuery,
    address_pattern,
    bare_id,
    words,
)
from tracking.rows import EventRow, rows_of

_DRIVER_LIMIT = 5000  # keys fetched first; above that hits are frequent enough for a walk
_NAMES_LIMIT = 500  # addresses a pattern may stand for
_SCAN = timedelta(hours=24)  # how far back criteria without an index look, when no start is given
_LONGEST_SCAN = timedelta(days=31)
_WEAK = frozenset(set(Key) - {Key.EVENT, Key.SOURCE, Key.CONNECTOR, Key.START, Key.END})


class Listing(StrEnum):
    """What a page lists."""

    EVENTS = "event"
    MESSAGES = "message"  # each message once, at its newest matching event


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page, newest first, and the keys of its neighbours."""

    rows: tuple[EventRow, ...]
    newer: str  # "" at the newest page
    older: str  # "" at the oldest page
    scan: tuple[Criterion, ...] = ()  # criteria that no index serves, when they bounded the time
    scan_from: datetime | None = None  # nothing older was looked at
    lacks_index: bool = False  # the database has no text index


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A query made ready: `events` are the matching ones, unordered."""

    events: QuerySet[TrackingEvent]
    same_message: Q  # conditions on events of one message, to find its newest match
    scan: tuple[Criterion, ...] = ()
    scan_from: datetime | None = None
    lacks_index: bool = False


def page(
    query: SearchQuery,
    *,
    now: datetime,
    older_than: str = "",
    newer_than: str = "",
    limit: int = 50,
    listing: Listing = Listing.EVENTS,
    is_bounded: bool = True,
) -> Page:
    """Return one page; keys are `<time>_<id>` of the edge rows (MTS-33). Unbounded takes as long as it takes."""
    plan = planned(query, now=now, is_bounded=is_bounded)
    events = _newest_of_each(plan) if listing is Listing.MESSAGES else plan.events
    edge = _key(older_than or newer_than)
    ascending = bool(newer_than) and edge is not None
    if edge is not None:
        at, pk = edge
        beyond = Q(at=at, pk__gt=pk) | Q(at__gt=at) if ascending else Q(at=at, pk__lt=pk) | Q(at__lt=at)
        # The plain bound lets the index find the place; the pair decides among events of one instant.
        events = events.filter(Q(at__gte=at) if ascending else Q(at__lte=at)).filter(beyond)
    ordered = events.order_by("at", "pk") if ascending else events.order_by("-at", "-pk")
    # Keys first: the database sorts narrow rows, and reads messages only where a condition needs them.
    keys = list(ordered.values_list("pk", flat=True)[: limit + 1])
    more = len(keys) > limit
    keys = keys[:limit]
    if ascending:
        keys.reverse()
    found = TrackingEvent.objects.select_related("message").in_bulk(keys)
    rows = rows_of([found[key] for key in keys if key in found])
    has_newer = bool(rows) and (more if ascending else edge is not None)
    has_older = bool(rows) and (edge is not None if ascending else more)
    return Page(
        rows=rows,
        newer=_key_text(rows[0]) if has_newer else "",
        older=_key_text(rows[-1]) if has_older else "",
        scan=plan.scan,
        scan_from=plan.scan_from,
        lacks_index=plan.lacks_index,
    )


def walk(query: SearchQuery, *, now: datetime, limit: int, batch: int = 500) -> Iterator[tuple[EventRow, ...]]:
    """Yield the matching events of any age, newest first, in batches: bounded memory for exports."""
    older = ""
    while limit > 0:
        found = page(query, now=now, older_than=older, limit=min(batch, limit), is_bounded=False)
        if found.rows:
            yield found.rows
        limit -= len(found.rows)
        older = found.older
        if not older:
            return


def oldest() -> datetime | None:
    """Return the time of the oldest event kept (MTX-7)."""
    return TrackingEvent.objects.order_by("at").values_list("at", flat=True).first()


def filtered(query: SearchQuery) -> QuerySet[TrackingEvent]:
    """Return exactly the events that `query.matches` accepts, however long it takes."""
    return conditions.conditioned(query).select_related("message")


def planned(query: SearchQuery, *, now: datetime, is_bounded: bool = True) -> Plan:
    """Choose how a query is answered; reads at most a few thousand index entries."""
    has_index = text_index.is_ready() if any(c.key in {Key.SUBJECT, Key.TEXT} for c in query.active) else True
    driver = _driver(query, has_index=has_index)
    scan: tuple[Criterion, ...] = ()
    scan_from = None
    if driver is None and is_bounded:
        scan = tuple(c for c in query.active if _is_scan(c, has_index=has_index))
        if scan:
            scan_from = _scan_start(query, now=now)
            query = replace(query, start=scan_from)
    if connection.vendor == "postgresql" and query.start is None:
        query = replace(query, start=oldest())  # a time bound lets partitions be left out
    events = conditions.conditioned(query)
    if driver is not None:
        events = events.filter(driver)
    shown_scan_from = scan_from if scan else None
    return Plan(
        events=events,
        same_message=conditions.event_conditions(query),
        scan=scan,
        scan_from=shown_scan_from,
        lacks_index=not has_index and bool(scan),
    )


def _scan_start(query: SearchQuery, *, now: datetime) -> datetime:
    end = min(query.end, now) if query.end else now
    if query.start is None:
        return end - _SCAN
    return max(query.start, end - _LONGEST_SCAN)


def _is_scan(criterion: Criterion, *, has_index: bool) -> bool:
    """Tell whether a criterion left without a driver may be rare and has no index to walk."""
    if criterion.key not in _WEAK:
        return False
    if criterion.negated:
        return False  # leaves most events: a walk finds a page at once
    if criterion.key in {Key.SUBJECT, Key.TEXT}:
        return not has_index or len(fold(criterion.value)) < text_index.SHORTEST
    if criterion.key in {Key.SENDER, Key.RECIPIENT}:
        return _keys_for(criterion) is None
    return True


def _newest_of_each(plan: Plan) -> QuerySet[TrackingEvent]:
    """Keep the newest matching event of each message."""
    later = TrackingEvent.objects.filter(plan.same_message, message=OuterRef("message"))
    later = later.filter(Q(at__gt=OuterRef("at")) | Q(at=OuterRef("at"), pk__gt=OuterRef("pk")))
    return plan.events.filter(~Exists(later))


# ---- drivers: criteria an index answers with few hits ----


def _driver(query: SearchQuery, *, has_index: bool) -> Q | None:
    """Return the condition that names the few candidates, from the first criterion that can; None for a walk."""
    order = (Key.ID, Key.RECIPIENT, Key.SENDER, Key.SUBJECT, Key.TEXT)
    positive = [c for c in query.active if not c.negated and c.key in order]
    for criterion in sorted(positive, key=lambda c: order.index(c.key)):
        match criterion.key:
            case Key.ID:
                found = _messages(conditions.id_condition(criterion), sortable=_is_indexed_id(criterion))
            case Key.RECIPIENT:
                keys = _keys_for(criterion)
                found = None if keys is None else _events_to(keys, query)
            case Key.SENDER:
                keys = _keys_for(criterion)
                found = None if keys is None else _messages(Q(sender_key__in=keys), sortable=True)
            case Key.SUBJECT:
                found = _messages_about(fold(criterion.value)) if has_index else None
            case _:
                found = _anything(fold(criterion.value), query) if has_index else None
        if found is not None:
            return found
    return None


def _is_indexed_id(criterion: Criterion) -> bool:
    return not bare_id(criterion.value).endswith("*") or connection.vendor == "sqlite"


def _messages(condition: Q, *, sortable: bool) -> Q | None:
    if not sortable:
        return None
    keys = list(TrackedMessage.objects.filter(condition).values_list("pk", flat=True)[: _DRIVER_LIMIT + 1])
    return Q(message__in=keys) if len(keys) <= _DRIVER_LIMIT else None


def _messages_about(text: str) -> Q | None:
    if len(text) < text_index.SHORTEST:
        return None
    keys = text_index.keys_containing(TrackedMessage, text, limit=_DRIVER_LIMIT + 1)
    return Q(message__in=keys) if len(keys) <= _DRIVER_LIMIT else None


def _events_to(keys: Sequence[str], query: SearchQuery) -> Q | None:
    """Return the events of these recipients; the time range is applied before counting."""
    hits = EventRecipient.objects.filter(address_key__in=keys)
    if query.start:
        hits = hits.filter(at__gte=query.start)
    if query.end:
        hits = hits.filter(at__lt=query.end)
    events = list(hits.values_list("event", flat=True)[: _DRIVER_LIMIT + 1])
    return Q(pk__in=events) if len(events) <= _DRIVER_LIMIT else None


def _anything(word: str, query: SearchQuery) -> Q | None:
    """Return candidates of a word: messages by subject or sender, events by recipient."""
    about = _messages_about(word)
    if about is None:
        return None
    names = text_index.keys_containing(AddressName, word, limit=_NAMES_LIMIT + 1)
    if len(names) > _NAMES_LIMIT:
        return None
    keys = list(AddressName.objects.filter(pk__in=names).values_list("key", flat=True))
    if not keys:
        return about
    sent = _messages(Q(sender_key__in=keys), sortable=True)
    received = _events_to(keys, query)
    return None if sent is None or received is None else about | sent | received


def _keys_for(criterion: Criterion) -> list[str] | None:
    """Return the known addresses an address criterion stands for; None when there are too many."""
    values = words(criterion.value) if criterion.key is Key.RECIPIENT else [criterion.value]
    keys: list[str] = []
    for value in values:
        pattern = address_pattern(value)
        if "*" not in pattern:
            keys.append(pattern)
            continue
        found = list(_names_like(pattern)[: _NAMES_LIMIT + 1])
        if len(found) > _NAMES_LIMIT:
            return None
        keys.extend(found)
    return keys if len(keys) <= _NAMES_LIMIT else None


def _names_like(pattern: str) -> QuerySet[AddressName, str]:
    """Return the dictionary entries of a wildcard pattern, by domain, prefix or trigram."""
    names = AddressName.objects.all()
    prefix, _star, rest = pattern.partition("*")
    domain = pattern.removeprefix("*@")
    if pattern.startswith("*@") and "*" not in domain and "@" not in domain:
        names = names.filter(domain=domain[:255])
    elif prefix and connection.vendor == "sqlite":
        names = names.filter(key__gte=prefix, key__lt=prefix + conditions.LAST)
    else:
        longest = max(rest.split("*"), key=len)
        if len(longest) >= text_index.SHORTEST and connection.vendor == "sqlite" and text_index.is_ready():
            hits = text_index.keys_containing(AddressName, longest, limit=_DRIVER_LIMIT + 1)
            if len(hits) <= _DRIVER_LIMIT:
                names = names.filter(pk__in=hits)
    wanted = names.filter(key__like=pattern)  # type: ignore[misc, unused-ignore]  # our own lookup (tracking.lookups)
    return wanted.values_list("key", flat=True)


def _key(text: str) -> tuple[datetime, int] | None:
    """Read a page key: microseconds since 1970, underscore, event key."""
    micro, _, pk = text.partition("_")
    if not (text.isascii() and micro.isdigit() and pk.isdigit() and len(micro) < 18 and len(pk) < 19):
        return None
    return datetime.fromtimestamp(int(micro) // 1_000_000, UTC).replace(microsecond=int(micro) % 1_000_000), int(pk)


def _key_text(row: EventRow) -> str:
    return f"{int(row.at.timestamp()) * 1_000_000 + row.at.microsecond}_{row.pk}"
