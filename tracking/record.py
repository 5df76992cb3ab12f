"""Record: the only writer of events; one typed function an event, one batch write a transaction (MT-2).

Promises: `save` writes events, their recipients, the messages' state and the roll-up together, in the caller's
transaction, with a fixed number of statements for any batch. Leaves to neighbours: when an event is due.
Which host column carries the logging server follows message-tracking 2.6.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.conf import settings
from django.db import connection

from fcweb import bulk
from tracking.choices import TrackedState
from tracking.fold import address_key, subject_key
from tracking.models import AddressName, EventRecipient, EventRollup, TrackedMessage, TrackingEvent

RecipientStatus = tuple[str, str]  # address, status text

NO_TIME = "0001-01-01T00:00:00.000Z"  # "no next attempt" (message-tracking 2.5)
_BUCKET_SECONDS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message, or a bad file, about to get its first event."""

    internal_message_id: int | None
    network_message_id: uuid.UUID | None
    message_id: str
    sender: str
    return_path: str  # "" is the null path
    subject: str
    size: int
    directionality: str
    source: str
    recipients: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """An event to be saved; made by the functions below."""

    tracked: int
    at: datetime
    event: str
    source: str
    recipients: Sequence[RecipientStatus]
    connector_id: str = ""
    source_context: str = ""
    reference: str = ""
    related_recipient: str = ""
    message_info: str = ""
    client_ip: str = ""
    client_hostname: str = ""
    server_hostname: str = ""
    custom_data: str = ""
    moved_from: int = 0  # TRANSFER: the tracked message that loses these recipients


def open_messages(messages: Sequence[NewMessage]) -> list[int]:
    """Insert the tracked messages of a batch; return their keys, same order. Subjects per MTP-1."""
    if not messages:
        return []
    keys = list(bulk.allocate_keys(TrackedMessage, len(messages)))
    logged = settings.FCWEB_SUBJECT_LOGGING
    rows = [
        (
            key,
            message.internal_message_id,
            message.network_message_id,
            message.message_id,
            message.sender,
            address_key(message.sender or message.return_path),
            message.return_path,
            message.subject if logged else "",
            subject_key(message.subject) if logged else "",
            message.size,
            message.directionality,
            message.source,
            TrackedState.QUEUED.value,
            message.recipients,
            0,
            0,
            message.at,
            message.at,
        )
        for key, message in zip(keys, messages, strict=True)
    ]
    bulk.insert(TrackedMessage, _MESSAGE_FIELDS, rows)
    _remember_names({row[5] for row in rows})
    return keys


def receive(
    tracked: int,
    *,
    at: datetime,
    source: str,
    server: str,
    context: str,
    recipients: Sequence[RecipientStatus],
    client_ip: str = "",
    reference: str = "",
    custom: str = "",
) -> NewEvent:
    """A message was accepted; status is To, Cc or Bcc, `context` the file name, `custom` its warnings."""
    return NewEvent(
        tracked=tracked,
        at=at,
        event="RECEIVE",
        source=source,
        recipients=recipients,
        source_context=context,
        reference=reference,
        client_ip=client_ip,
        server_hostname=server,
        custom_data=custom,
    )


def send(
    tracked: int,
    *,
    at: datetime,
    source: str,
    server: str,
    connector: str,
    context: str,
    recipients: Sequence[RecipientStatus],
    arrived_at: datetime,
    custom: str = "",
) -> NewEvent:
    """A message was handed to another system: drop file in place, or agent done (MTA-2)."""
    return NewEvent(
        tracked=tracked,
        at=at,
        event="SEND",
        source=source,
        recipients=recipients,
        connector_id=connector,
        source_context=context,
        message_info=iso(arrived_at),
        client_hostname=server,
        custom_data=custom,
    )


def deliver(
    tracked: int, *, at: datetime, server: str, store: str, recipients: Sequence[RecipientStatus], arrived_at: datetime
) -> NewEvent:
    """A message was stored in local mailboxes."""
    return NewEvent(
        tracked=tracked,
        at=at,
        event="DELIVER",
        source="STOREDRIVER",
        recipients=recipients,
        message_info=iso(arrived_at),
        client_hostname=server,
        server_hostname=store,
    )


def defer(
    tracked: int,
    *,
    at: datetime,
    source: str,
    server: str,
    connector: str,
    context: str,
    recipients: Sequence[RecipientStatus],
    next_attempt: datetime | None,
) -> NewEvent:
    """Delivery is postponed: once when it begins and once when the reason changes (MTA-7)."""
    return NewEvent(
        tracked=tracked,
        at=at,
        event="DEFER",
        source=source,
        recipients=recipients,
        connector_id=connector,
        source_context=context,
        message_info=iso(next_attempt) if next_attempt else NO_TIME,
        server_hostname=server,
    )


def fail(
    tracked: int,
    *,
    at: datetime,
    source: str,
    server: str,
    context: str,
    recipients: Sequence[RecipientStatus],
    reference: str = "",
    connector: str = "",
    custom: str = "",
) -> NewEvent:
    """Recipients failed for good; `reference` is the Message-ID of their notice, "" when none was sent."""
    return NewEvent(
        tracked=tracked,
        at=at,
        event="FAIL",
        source=source,
        recipients=recipients,
        connector_id=connector,
        source_context=context,
        reference=reference,
        client_hostname=server,
        custom_data=custom,
    )


def dsn(
    tracked: int,
    *,
    at: datetime,
    server: str,
    context: str,
    recipients: Sequence[RecipientStatus],
    reference: str,
) -> NewEvent:
    """A notice was written: `tracked` is the notice, `reference` the Message-ID it is about."""
    return NewEvent(
        tracked=tracked,
        at=at,
        event="DSN",
        source="DSN",
        recipients=recipients,
        source_context=context,
        reference=reference,
        server_hostname=server,
    )


def resolve(tracked: int, *, at: datetime, server: str, recipient: str, related: str) -> NewEvent:
    """A recipient was replaced by its primary or external address; `related` is the one before."""
    return NewEvent(
        tracked=tracked,
        at=at,
        event="RESOLVE",
        source="ROUTING",
        recipients=[(recipient, "")],
        related_recipient=related,
        server_hostname=server,
    )


def expand(tracked: int, *, at: datetime, server: str, group: str, members: Sequence[str]) -> NewEvent:
    """A group was replaced by `members`, new recipients of the message (MT-K)."""
    return NewEvent(
        tracked=tracked,
        at=at,
        event="EXPAND",
        source="ROUTING",
        recipients=[(member, "") for member in members],
        related_recipient=group,
        server_hostname=server,
    )


def duplicate_expand(tracked: int, *, at: datetime, server: str, group: str, members: Sequence[str]) -> NewEvent:
    """These members of a group are recipients already and get the message once."""
    return NewEvent(
        tracked=tracked,
        at=at,
        event="DUPLICATEEXPAND",
        source="ROUTING",
        recipients=[(member, "") for member in members],
        related_recipient=group,
        server_hostname=server,
    )


def transfer(
    tracked: int, *, at: datetime, server: str, recipients: Sequence[str], moved_from: int, reference: str
) -> NewEvent:
    """Recipients moved to a copy of their own, `tracked`; `reference` is the internal id it came from (MT-K)."""
    return NewEvent(
        tracked=tracked,
        at=at,
        event="TRANSFER",
        source="ROUTING",
        recipients=[(recipient, "") for recipient in recipients],
        source_context="Resolver",
        reference=reference,
        server_hostname=server,
        moved_from=moved_from,
    )


def resubmit(
    tracked: int,
    *,
    at: datetime,
    source: str,
    server: str,
    recipients: Sequence[RecipientStatus],
    reference: str,
    custom: str = "",
) -> NewEvent:
    """Waiting recipients are routed again; `reference` is the internal id before (MT-J)."""
    return NewEvent(
        tracked=tracked,
        at=at,
        event="RESUBMIT",
        source=source,
        recipients=recipients,
        reference=reference,
        server_hostname=server,
        custom_data=custom,
    )


def badmail(
    tracked: int, *, at: datetime, source: str, server: str, context: str, recipients: Sequence[RecipientStatus]
) -> NewEvent:
    """A dropped file was set aside; `context` is file name and reason (MT-C)."""
    return NewEvent(
        tracked=tracked,
        at=at,
        event="BADMAIL",
        source=source,
        recipients=recipients,
        source_context=context,
        server_hostname=server,
    )


def redirect(
    tracked: int,
    *,
    at: datetime,
    server: str,
    connector: str,
    context: str,
    recipients: Sequence[RecipientStatus],
    custom: str,
) -> NewEvent:
    """A person sent waiting recipients another way: `connector` is the new one, `context` the one before (QO-13)."""
    return NewEvent(
        tracked=tracked,
        at=at,
        event="REDIRECT",
        source="ADMIN",
        recipients=recipients,
        connector_id=connector,
        source_context=context,
        server_hostname=server,
        custom_data=custom,
    )


def load(tracked: int, *, at: datetime, server: str, recipients: Sequence[RecipientStatus]) -> NewEvent:
    """A stored message was found at start (QU-10, MT-L)."""
    return NewEvent(
        tracked=tracked, at=at, event="LOAD", source="BOOTLOADER", recipients=recipients, server_hostname=server
    )


def poison(
    tracked: int,
    *,
    at: datetime,
    server: str,
    context: str,
    recipients: Sequence[RecipientStatus],
    custom: str = "",
) -> NewEvent:
    """A message entered or left Poison; `context` is Entered, Resumed or Removed (MT-L)."""
    return NewEvent(
        tracked=tracked,
        at=at,
        event="POISONMESSAGE",
        source="POISONMESSAGE",
        recipients=recipients,
        source_context=context,
        server_hostname=server,
        custom_data=custom,
    )


def save(events: Sequence[NewEvent]) -> None:
    """Write a batch of events in the caller's transaction."""
    if not events:
        return
    keys = list(bulk.allocate_keys(TrackingEvent, len(events)))
    bulk.insert(TrackingEvent, _EVENT_FIELDS, [_event_row(key, new) for key, new in zip(keys, events, strict=True)])
    recipients = [
        (key, address[:2000], address_key(address), status[:1000], new.at)
        for key, new in zip(keys, events, strict=True)
        for address, status in new.recipients
    ]
    pks = bulk.allocate_keys(EventRecipient, len(recipients))
    rows = [(pk, *row) for pk, row in zip(pks, recipients, strict=True)]
    bulk.insert(EventRecipient, ("id", "event", "address", "address_key", "status", "at"), rows)
    _remember_names({row[2] for row in recipients})
    _advance(events)
    _roll_up(events)


def iso(moment: datetime) -> str:
    """Return a time the way Exchange writes it: UTC, milliseconds, Z (MTF-1)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


_MESSAGE_FIELDS = [
    "id",
    "internal_message_id",
    "network_message_id",
    "message_id",
    "sender",
    "sender_key",
    "return_path",
    "subject",
    "subject_key",
    "size",
    "directionality",
    "source",
    "state",
    "recipients",
    "delivered",
    "failed",
    "first_at",
    "last_at",
]
_EVENT_FIELDS = [
    "id",
    "message",
    "log_id",
    "at",
    "event",
    "source",
    "connector_id",
    "source_context",
    "reference",
    "related_recipient",
    "message_info",
    "client_ip",
    "client_hostname",
    "server_ip",
    "server_hostname",
    "custom_data",
    "recipient_count",
]


def _event_row(key: int, new: NewEvent) -> tuple[object, ...]:
    return (
        key,
        new.tracked,
        uuid.uuid4(),
        new.at,
        new.event,
        new.source,
        new.connector_id[:255],
        new.source_context[:1000],
        new.reference[:2000],
        new.related_recipient[:2000],
        new.message_info[:255],
        new.client_ip[:64],
        new.client_hostname[:255],
        "",
        new.server_hostname[:255],
        new.custom_data[:2000],
        len(new.recipients),
    )


def next_state(*, event: str, recipients: int, delivered: int, failed: int, before: str) -> str:
    """Return a message's state after an event; counts include it. Terminal beats DEFER (MTT-8)."""
    if event == "BADMAIL":
        return TrackedState.BAD.value
    if delivered + failed >= recipients and recipients:
        if failed == 0:
            return (TrackedState.DELIVERED if event == "DELIVER" else TrackedState.TRANSFERRED).value
        return (TrackedState.PARTLY if delivered else TrackedState.FAILED).value
    if event == "DEFER":
        return TrackedState.DEFERRED.value
    if event in {"RESUBMIT", "RECEIVE", "DSN"}:
        return TrackedState.QUEUED.value
    return before


def _advance(events: Sequence[NewEvent]) -> None:
    """Bring the messages' state, counts and last time up to the events: one read, one write a batch."""
    touched = {new.tracked for new in events if new.event != "RECEIVE"} | {new.moved_from for new in events}
    touched.discard(0)
    if not touched:
        return  # open_messages has set all that a RECEIVE says
    values: dict[int, list[int]] = {}
    states: dict[int, str] = {}
    rows = TrackedMessage.objects.filter(pk__in=touched).values_list("pk", "recipients", "delivered", "failed", "state")
    for pk, recipients, delivered, failed, state in rows:
        values[pk] = [recipients, delivered, failed]
        states[pk] = state
    last: dict[int, datetime] = {}
    resized: set[int] = set()  # messages a group was expanded in
    for new in events:
        if new.tracked not in values:
            continue
        current = values[new.tracked]
        if new.event == "EXPAND":
            current[0] += len(new.recipients) - 1  # the group itself is none any more
            resized.add(new.tracked)
        elif new.moved_from in values:
            values[new.moved_from][0] -= len(new.recipients)
        if new.event in {"SEND", "DELIVER"}:
            current[1] += len(new.recipients)
        elif new.event == "FAIL":
            current[2] += len(new.recipients)
        states[new.tracked] = next_state(
            event=new.event,
            recipients=current[0],
            delivered=current[1],
            failed=current[2],
            before=states[new.tracked],
        )
        last[new.tracked] = new.at
    for pk in resized:
        if values[pk][0] == 0:  # all members are in copies of their own
            states[pk] = TrackedState.EXPANDED.value
    changes = [(current[1], current[2], states[pk], last[pk], pk) for pk, current in values.items() if pk in last]
    bulk.update(TrackedMessage, ["delivered", "failed", "state", "last_at"], changes)
    bulk.update(TrackedMessage, ["recipients"], [(values[pk][0], pk) for pk in sorted(resized)])


def _roll_up(events: Sequence[NewEvent]) -> None:
    """Add the batch to the five-minute counts."""
    counts: Counter[tuple[datetime, str, str]] = Counter()
    for new in events:
        seconds = int(new.at.timestamp()) // _BUCKET_SECONDS * _BUCKET_SECONDS
        bucket = datetime.fromtimestamp(seconds, tz=UTC)
        counts[bucket, new.event, new.connector_id[:255]] += max(1, len(new.recipients))
    table = connection.ops.quote_name(EventRollup._meta.db_table)
    adapt = connection.ops.adapt_datetimefield_value
    with connection.cursor() as cursor:
        cursor.executemany(
            f"INSERT INTO {table} (bucket, event, connector_id, count) VALUES (%s, %s, %s, %s) "
            f"ON CONFLICT (bucket, event, connector_id) DO UPDATE SET count = {table}.count + excluded.count",
            [(adapt(bucket), event, connector, count) for (bucket, event, connector), count in sorted(counts.items())],
        )


_known_names: set[str] = set()
_KNOWN_LIMIT = 50_000


def _remember_names(keys: set[str]) -> None:
    """Add new addresses to the dictionary; those this process has added or seen committed are not asked again."""
    fresh = sorted(key for key in keys if key and key not in _known_names)
    if not fresh:
        return
    rows = [(key, key.rpartition("@")[2][:255] if "@" in key else "") for key in fresh]
    bulk.insert_new(AddressName, ("key", "domain"), rows)
    if connection.in_atomic_block:
        transaction_names = list(fresh)

        def remember() -> None:
            if len(_known_names) > _KNOWN_LIMIT:
                _known_names.clear()
            _known_names.update(transaction_names)

        connection.on_commit(remember)
