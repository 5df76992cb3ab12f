"""Ledger: every accepted recipient has exactly one end, or still waits somewhere (MT-1).

Once a day, in batches, the rows of messages are held against their events: a recipient that is final has one SEND,
DELIVER, FAIL, DROP or BADMAIL (one more each time the Safety Net sent it again), one that is not final has none and is
in Submission, in a queue or owed a notice; and what the ledger calls open has a message. Nothing is changed. What is
wrong is an event of the event log, which the next check that finds nothing closes.
Messages the sweep has deleted are not looked at any more: they were, while the Safety Net kept them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta

from django.utils import timezone

from connectors import event_log
from connectors.choices import WAITING, MessageState, RecipientState, ReportDue
from connectors.event_log import Event
from connectors.models import LedgerCheck, Message, MessageRecipient, Node
from tracking.fold import address_key
from tracking.models import EventRecipient, TrackedMessage, TrackingEvent
from tracking.retention import OPEN_STATES

INTERVAL = timedelta(minutes=1)
_HOUR = 2  # local time of the daily check
_BATCH = 500  # messages
_SPAN = 20_000  # keys of tracked messages a look
TOLD = 10  # violations named in the event
_ENDS = ("SEND", "DELIVER", "FAIL", "DROP", "BADMAIL")
_FINAL = (RecipientState.DELIVERED, RecipientState.FAILED)
_OPEN = (RecipientState.SUBMITTED, RecipientState.QUEUED, RecipientState.FAILING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One recipient, or a whole message, that breaks the rule."""

    tracked: int
    message: int | None  # internal message id; None when only the ledger knows it
    message_id: str
    recipient: str  # "" for a whole message
    kind: str  # lost, no_end, ended_twice, ended_early, no_events, no_message

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind, self.message_id, self.recipient)))


@dataclass(slots=True, kw_only=True)
class _Group:
    """Recipients of one message that share an address before or after routing, and the ends their addresses have."""

    rows: list[MessageRecipient] = field(default_factory=list)
    ends: int = 0

    @property
    def final(self) -> int:
        return sum(row.state in _FINAL for row in self.rows)


def run_once(node: Node, *, now: datetime) -> int:
    """Check the next batch when the daily check is due or running; return how many messages it looked at."""
    check, _created = LedgerCheck.objects.get_or_create(node=node, defaults={"finished_at": now})
    if check.started_at is None:
        if now < _next_night(check.finished_at):
            return 0
        check.started_at, check.message_cursor, check.tracked_cursor = now, 0, 0
        check.found, check.detail = 0, ""
    violations, looked = _next_batch(node, check)
    check.found += len(violations)
    check.detail = "\n".join([*check.detail.splitlines(), *map(str, violations)][:TOLD])[:1000]
    if not looked:
        check.started_at, check.finished_at = None, now
        tell(node, found=check.found, detail=check.detail, now=now)
    check.save()
    return looked


def _next_night(after: datetime) -> datetime:
    """Return the first 02:00, local time, after an instant."""
    local = timezone.localtime(after)
    night = timezone.make_aware(datetime.combine(local.date(), time(_HOUR)))
    return (
        night if night > after else timezone.make_aware(datetime.combine(local.date() + timedelta(days=1), time(_HOUR)))
    )


def _next_batch(node: Node, check: LedgerCheck) -> tuple[list[Violation], int]:
    """Look at the messages behind the cursor, then at the tracked ones; advance it. Nothing left: ([], 0)."""
    keys = _messages_after(node, check.message_cursor)
    if keys:
        check.message_cursor = keys[-1]
        return check_messages(keys), len(keys)
    last = TrackedMessage.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    if check.tracked_cursor >= last:
        return [], 0
    start, check.tracked_cursor = check.tracked_cursor, check.tracked_cursor + _SPAN
    return check_tracked(start, check.tracked_cursor), 1


def _messages_after(node: Node, cursor: int) -> list[int]:
    rows = Message.objects.filter(node=node, pk__gt=cursor).order_by("pk")
    return list(rows.values_list("pk", flat=True)[:_BATCH])


def check_all(node: Node) -> Iterator[tuple[int, list[Violation]]]:
    """Check everything now; yield how many messages were looked at and what is wrong with them, a batch at a time."""
    cursor = 0
    while keys := _messages_after(node, cursor):
        cursor = keys[-1]
        yield len(keys), check_messages(keys)
    last = TrackedMessage.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
    for start in range(0, last, _SPAN):
        yield 0, check_tracked(start, start + _SPAN)


def tell(node: Node, *, found: int, detail: str, now: datetime) -> None:
    """Open the event of a check that found something, close it after one that found nothing."""
    event_log.clear_events((Event.LEDGER,), node.name, now=now)
    if found:
        event_log.raise_event(Event.LEDGER, node.name, f"{found}:\n{detail}", now=now)


def check_messages(keys: Sequence[int]) -> list[Violation]:
    """Return what is wrong with these messages.

    Rows move while they are read, so a suspect counts only when reading rows before events and events before rows
    finds the same.
    """
    suspects = _compare(keys, rows_first=True)
    if not suspects:
        return []
    again = set(_compare(sorted({v.message for v in suspects if v.message is not None}), rows_first=False))
    return [violation for violation in suspects if violation in again]


def check_tracked(start: int, end: int) -> list[Violation]:
    """Return messages with keys above `start` up to `end` that the ledger calls open and nothing holds any more."""
    rows = TrackedMessage.objects.filter(pk__gt=start, pk__lte=end, state__in=OPEN_STATES)
    open_rows = dict(rows.values_list("pk", "message_id"))
    held: set[int] = set()
    found = sorted(open_rows)
    for first in range(0, len(found), _BATCH):
        part = found[first : first + _BATCH]
        held.update(Message.objects.filter(tracked_id__in=part).values_list("tracked_id", flat=True))
    lost = [pk for pk in found if pk not in held]
    still = set(TrackedMessage.objects.filter(pk__in=lost[:_BATCH], state__in=OPEN_STATES).values_list("pk", flat=True))
    return [
        Violation(tracked=pk, message=None, message_id=open_rows[pk], recipient="", kind="no_message")
        for pk in lost[:_BATCH]
        if pk in still
    ]


def _compare(keys: Sequence[int], *, rows_first: bool) -> list[Violation]:
    messages = {row.pk: row for row in Message.objects.filter(pk__in=keys)}
    tracked = [message.tracked_id for message in messages.values()]
    if rows_first:
        recipients, ends = _recipients(keys), _ends(tracked)
    else:
        ends, recipients = _ends(tracked), _recipients(keys)
    known = set(TrackedMessage.objects.filter(pk__in=tracked).values_list("pk", flat=True))
    found: list[Violation] = []
    for pk, message in messages.items():
        if message.tracked_id in known:
            found.extend(_judge(message, recipients.get(pk, []), ends.get(message.tracked_id, Counter())))
        elif message.state != MessageState.DONE:  # of finished ones the events may be past their time
            found.append(_violation(message, "", "no_events"))
    return found


def _recipients(keys: Sequence[int]) -> dict[int, list[MessageRecipient]]:
    found: dict[int, list[MessageRecipient]] = {}
    rows = MessageRecipient.objects.filter(message__in=keys).select_related("message", "item").order_by("pk")
    for row in rows:
        found.setdefault(row.message_id, []).append(row)
    return found


def _ends(tracked: Sequence[int]) -> dict[int, Counter[str]]:
    """Return how many ends each address of each tracked message has; the Safety Net takes one back."""
    found: dict[int, Counter[str]] = {}
    events = TrackingEvent.objects.filter(message__in=tracked)
    ended = events.filter(event__in=_ENDS).values("pk")
    again = events.filter(event="RESUBMIT", source="SAFETYNET").values("pk")
    for wanted, weight in ((ended, 1), (again, -1)):
        rows = EventRecipient.objects.filter(event__in=wanted)
        for tracked_id, key in rows.values_list("event__message__pk", "address_key"):
            found.setdefault(tracked_id, Counter())[key] += weight
    return found


def _judge(message: Message, rows: Sequence[MessageRecipient], ends: Counter[str]) -> list[Violation]:
    found = [_violation(message, row.address, "lost") for row in rows if row.state in _OPEN and not _is_held(row)]
    groups, stray = _grouped([row for row in rows if row.state in _OPEN or row.state in _FINAL], ends)
    for group in groups:
        missing = group.final - group.ends
        # An end under an address that routing has replaced since then.
        borrowed = min(max(missing, 0), max(stray, 0))
        stray -= borrowed
        missing -= borrowed
        if missing:
            kind = "no_end" if missing > 0 else "ended_twice" if group.final else "ended_early"
            found.append(_violation(message, group.rows[0].address, kind))
    return found


def _grouped(rows: Sequence[MessageRecipient], ends: Counter[str]) -> tuple[list[_Group], int]:
    """Return the recipients by address, with their ends, and the ends of addresses none of them has now."""
    by_name: dict[str, _Group] = {}
    for row in rows:
        names = {address_key(name) for name in (row.address, row.final_address) if name}
        shared = {id(by_name[name]): by_name[name] for name in names if name in by_name}
        group = _Group(rows=[*(r for other in shared.values() for r in other.rows), row])
        for name in [*names, *(name for name, other in by_name.items() if id(other) in shared)]:
            by_name[name] = group
    stray = 0
    for name, count in ends.items():
        if name in by_name:
            by_name[name].ends += count
        else:
            stray += count
    return list({id(group): group for group in by_name.values()}.values()), stray


def _is_held(row: MessageRecipient) -> bool:
    """Tell whether a recipient that is not final is somewhere: in Submission, in a queue, or owed its notice."""
    if row.state == RecipientState.SUBMITTED:
        return row.message.state == MessageState.SUBMITTED
    if row.state == RecipientState.QUEUED:
        return row.item is not None and row.item.state in WAITING
    return row.report_due == ReportDue.FAILED


def _violation(message: Message, recipient: str, kind: str) -> Violation:
    return Violation(
        tracked=message.tracked_id, message=message.pk, message_id=message.message_id, recipient=recipient, kind=kind
    )
