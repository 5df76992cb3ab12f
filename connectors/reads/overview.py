"""The overview: what needs somebody, how much moved in 24 hours, what failed last, how a fresh install begins."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Prefetch, Sum
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

from connectors import display, notice_codes, reasons, trouble
from connectors.event_log import DROP_EVENTS, Event
from connectors.mail.address import TypedAddress
from connectors.mail.imcea import encapsulate
from connectors.models import AddressSpace, EventLogEntry, Mailbox, Node
from connectors.reads import queues as queue_reads
from connectors.reads.drop_directories import DropDirectory
from connectors.reads.queues import QueueSummary
from tracking.choices import EventId
from tracking.models import EventRecipient, EventRollup, TrackedMessage, TrackingEvent

HOURS = 24
_CONDITIONS = 50
_FAILURES = 8
_RECIPIENTS = 3  # of a failure; more are counted
_SUBMISSION = "submission:"  # in the detail of event 15004: it is not about disks alone
_ENHANCED = re.compile(r"\b[245]\.\d{1,3}\.\d{1,3}\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Something that waits for a person: what, why and where to go."""

    tone: str
    sentence: str
    cure: str
    detail: str
    since: datetime | None
    url: str
    action: str
    path: str = ""  # the directory it is about


@dataclass(frozen=True, slots=True, kw_only=True)
class Hour:
    """What happened within one hour, in recipients."""

    start: datetime
    received: int
    delivered: int
    failed: int
    postponed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failure, for the list of the last ones."""

    event: TrackingEvent
    recipients: tuple[str, ...]
    more: int
    why: str  # sentence; "" when nothing is known
    status: str  # protocol text or reason code


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstSteps:
    """What a fresh install needs to send its first message."""

    pickup: str
    lines: tuple[str, ...]  # shell lines
    address: str  # as people write it; "" without a connector


def needs(
    queues: Sequence[QueueSummary],
    directories: Sequence[DropDirectory],
    bad_files: int,
    *,
    now: datetime,
    may: Callable[[str], bool] = lambda permission: True,
) -> list[Need]:
    """Return what needs somebody, gravest first; a queue that a condition explains is not told twice.

    `may` tells whether the reader has a permission: a condition is told to those who may open what it is about.
    """
    found = [_bad_files_need(bad_files)] if bad_files else []
    told: set[str] = set()
    drops = {drop.connector: drop for drop in directories}
    entries = list(EventLogEntry.objects.filter(cleared_at=None).order_by("-raised_at")[:_CONDITIONS])
    short_of_disk = {entry.subject for entry in entries if entry.code == Event.DISK_SPACE}
    for entry in entries:
        if entry.code == Event.BADMAIL or not may(_permission(entry.code)):
            continue  # bad files are counted above
        if entry.code == Event.PRESSURE and entry.subject in short_of_disk and _SUBMISSION not in entry.detail:
            continue  # 15006 says the same and what to do
        told.add(entry.subject)
        found.append(_condition_need(entry, drops, now=now))
    found.extend(_queue_need(queue) for queue in queues if queue.is_stuck(now) and queue.name not in told)
    found.extend(_directory_need(drop) for drop in directories if drop.problem and drop.connector not in told)
    return sorted(found, key=lambda need: need.tone != "fail")


def _permission(code: int) -> str:
    """Return what somebody needs to be told of a condition, "" for what concerns the whole server."""
    if code in (*DROP_EVENTS, Event.NOT_COLLECTED, Event.SIZE_ZERO):
        return "connectors.view_connector"
    if code == Event.POISON_MESSAGE:
        return "connectors.view_queue"
    if code == Event.LEDGER:
        return "tracking.view_trackingevent"
    return "" if code in {Event.PRESSURE, Event.DISK_SPACE} else "connectors.view_sourcefile"


def _bad_files_need(count: int) -> Need:
    sentence = ngettext("%(count)s bad file waits for a decision.", "%(count)s bad files wait for a decision.", count)
    return Need(
        tone="fail",
        sentence=sentence % {"count": display.capped(count, 1000)},
        cure=_("Each says what is wrong and what to do."),
        detail="",
        since=None,
        url=reverse("bad-files"),
        action=_("Look at them"),
    )


def _condition_need(entry: EventLogEntry, drops: Mapping[str, DropDirectory], *, now: datetime) -> Need:
    drop = drops.get(entry.subject) if entry.code in (*DROP_EVENTS, Event.NOT_COLLECTED) else None
    return Need(
        tone=trouble.condition_tone(entry.code, lasts=now - entry.raised_at),
        sentence=trouble.condition_sentence(entry.code, entry.subject),
        cure=trouble.condition_cure(entry.code),
        detail="; ".join(part for part in entry.detail.split("; ") if drop is None or part != drop.path),
        since=entry.raised_at,
        url=reverse("drop-directory", args=[drop.connector_pk]) if drop else "",
        action=_("Open the drop directory") if drop else "",
        path=drop.path if drop else "",
    )


def _queue_need(queue: QueueSummary) -> Need:
    sentence = ngettext("%(name)s: %(count)s message waits.", "%(name)s: %(count)s messages wait.", queue.waiting) % {
        "name": queue.name,
        "count": display.capped(queue.waiting, queue_reads.CAP),
    }
    return Need(
        tone="wait",
        sentence=sentence,
        cure=f"{queue.why[:1].upper()}{queue.why[1:]}." if queue.why else "",
        detail=queue.error,
        since=queue.oldest_at,
        url=reverse("queue", args=[queue.pk]),
        action=_("Open the queue"),
    )


def _directory_need(drop: DropDirectory) -> Need:
    return Need(
        tone=drop.tone,
        sentence=_("%(connector)s: the drop directory has a problem.") % {"connector": drop.connector},
        cure=drop.problem,
        detail="",
        since=None,
        url=reverse("drop-directory", args=[drop.connector_pk]),
        action=_("Open the drop directory"),
        path=drop.path,
    )


def throughput(now: datetime) -> list[Hour]:
    """Return the last 24 hours, oldest first, the running hour last. One query over the roll-up."""
    last = timezone.localtime(now).replace(minute=0, second=0, microsecond=0)
    starts = [last - timedelta(hours=back) for back in range(HOURS - 1, -1, -1)]
    counts: dict[datetime, dict[str, int]] = {start: {} for start in starts}
    rows = EventRollup.objects.filter(bucket__gte=starts[0]).values_list("bucket", "event").annotate(n=Sum("count"))
    for bucket, event, number in rows.order_by():
        hour = counts.get(timezone.localtime(bucket).replace(minute=0, second=0, microsecond=0))
        if hour is not None:
            hour[event] = hour.get(event, 0) + number
    return [
        Hour(
            start=start,
            received=by_event.get(EventId.RECEIVE, 0),
            delivered=by_event.get(EventId.SEND, 0) + by_event.get(EventId.DELIVER, 0),
            failed=by_event.get(EventId.FAIL, 0) + by_event.get(EventId.BADMAIL, 0),
            postponed=by_event.get(EventId.DEFER, 0),
        )
        for start, by_event in counts.items()
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Figures at the top; each links to the list it counts."""

    received: int
    delivered: int
    failed: int
    waiting: int  # at most CAP + 1 for each queue
    bad: int


def totals(hours: Sequence[Hour], queues: Sequence[QueueSummary], bad_files: int) -> Totals:
    """Return the sums over 24 hours and what waits now."""
    return Totals(
        received=sum(hour.received for hour in hours),
        delivered=sum(hour.delivered for hour in hours),
        failed=sum(hour.failed for hour in hours),
        waiting=sum(queue.waiting for queue in queues),
        bad=bad_files,
    )


def chart(hours: Sequence[Hour]) -> dict[str, list[str] | list[int]]:
    """Return the figures of the chart in the form overview.js reads."""
    return {
        "labels": [f"{timezone.localtime(hour.start):%H:%M}" for hour in hours],
        "delivered": [hour.delivered for hour in hours],
        "failed": [hour.failed for hour in hours],
    }


def last_failures() -> list[Failure]:
    """Return the newest failures and bad files; each kind is read by its own index."""
    few = Prefetch("recipients", queryset=EventRecipient.objects.order_by("pk"))
    found: list[TrackingEvent] = []
    for kind in (EventId.FAIL, EventId.BADMAIL):
        rows = TrackingEvent.objects.filter(event=kind).select_related("message").prefetch_related(few)
        found.extend(rows.order_by("-at", "-pk")[:_FAILURES])
    found.sort(key=lambda event: (event.at, event.pk), reverse=True)
    return [_failure(event) for event in found[:_FAILURES]]


def _failure(event: TrackingEvent) -> Failure:
    recipients = list(event.recipients.all())
    status = next((recipient.status for recipient in recipients if recipient.status), "") or event.source_context
    return Failure(
        event=event,
        recipients=tuple(recipient.address for recipient in recipients[:_RECIPIENTS]),
        more=max(0, len(recipients) - _RECIPIENTS),
        why=_why(event.event, status),
        status=status,
    )


def _why(kind: str, status: str) -> str:
    """Return what a status text or the context of a bad file (`name REASON`) means, in the reader's language."""
    if kind == EventId.BADMAIL:
        return reasons.sentence(status.rpartition(" ")[2])
    enhanced = _ENHANCED.search(status)
    return notice_codes.explanation(enhanced[0], get_language() or "en") if enhanced else ""


def is_fresh() -> bool:
    """Tell whether no message was ever seen here."""
    return not TrackedMessage.objects.exists()


def first_steps(node: Node, *, default_domain: str) -> FirstSteps:
    """Return where Pickup is and the lines that send a first message through the first connector."""
    mailbox = Mailbox.objects.order_by("pk").first()
    sender = mailbox.primary_address if mailbox else f"administrator@{default_domain}"
    space = AddressSpace.objects.filter(connector__enabled=True).exclude(type__in=["SMTP", "X400"]).first()
    target = TypedAddress(type=space.type, value="+14255550100") if space else None
    recipient = encapsulate(target, default_domain) if target else sender
    pickup = node.pickup_directory_path
    return FirstSteps(
        pickup=pickup,
        lines=(
            f"printf 'From: <{sender}>\\nTo: <{recipient}>\\nSubject: Hello\\n\\nThe first one.\\n'"
            f" > {pickup}/hello.tmp",
            f"mv {pickup}/hello.tmp {pickup}/hello.eml",
        ),
        address=str(target) if target else "",
    )


def nothing_seen() -> str:
    """Return what somebody is told whose account has no permission yet."""
    return _(
        "Your account may not see queues, connectors, bad files or events yet. An administrator can allow it under "
        "Settings, Users or Groups."
    )


def answer(
    queues: Sequence[QueueSummary],
    wants: Sequence[Need],
    hours: Sequence[Hour],
    *,
    now: datetime,
    sees_queues: bool = True,
) -> tuple[str, str]:
    """Return how everything stands, as tone and sentence, claiming nothing that the reader may not see.

    Without `hours` the reader may not see what moved.
    """
    delivered = sum(hour.delivered for hour in hours)
    moved = ngettext(
        "%(count)s recipient served in 24 hours.", "%(count)s recipients served in 24 hours.", delivered
    ) % {"count": number_format(delivered, force_grouping=True)}
    moved = f" {moved}" if hours else ""
    if any(queue.is_stuck(now) for queue in queues):
        _tone, sentence = queue_reads.answer(queues, now)
        tone = "fail" if any(need.tone == "fail" for need in wants) else "wait"
        return tone, f"{sentence}{moved}"
    if wants:
        worst = wants[0]
        return worst.tone, f"{worst.sentence}{moved}"
    if not sees_queues:
        return ("info", moved.strip()) if moved else ("quiet", nothing_seen())
    return "ok", _("All is well: nothing waits for longer than its turn.") + moved
