"""Story: one message told from its events: sentences, times since the first, recipients' last word (MTR-10 to MTR-16)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from django.db.models import Q
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from tracking import custom_data, warning_words
from tracking.choices import TrackedState
from tracking.fold import address_key
from tracking.models import TrackedMessage, TrackingEvent
from tracking.rows import EventRow, rows_of

_RELATED = 20
_MILLISECONDS_UP_TO = timedelta(seconds=10)
MOST_STEPS = 500  # events one page tells
_MOST_EVENTS = 5000  # events that are read for the last word on each recipient
_NAMED = 3  # members of a group that a sentence names
_FINAL = frozenset({"SEND", "DELIVER", "FAIL"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One event as a sentence."""

    row: EventRow
    sentence: str
    since_first: timedelta

    @property
    def is_quick(self) -> bool:
        """Tell whether the time since the first event is best said in milliseconds."""
        return self.since_first < _MILLISECONDS_UP_TO

    @property
    def milliseconds(self) -> int:
        """The time since the first event."""
        return round(self.since_first / timedelta(milliseconds=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """Another message this one is about, or that is about this one."""

    message: TrackedMessage
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The last word on one recipient of a message or of one of its copies."""

    address: str
    event: str
    status: str
    message_pk: int  # the copy it is a recipient of
    group: str = ""  # the group it came out of

    @property
    def is_final(self) -> bool:
        """Tell whether nothing follows this event."""
        return self.event in _FINAL


def events_of(family: Sequence[TrackedMessage]) -> tuple[EventRow, ...]:
    """Return the events of a message and its copies, oldest first (MTS-34, MTT-3)."""
    events = TrackingEvent.objects.filter(message__in=[message.pk for message in family]).select_related("message")
    return rows_of(list(events.order_by("at", "pk")[:_MOST_EVENTS]))


def steps(rows: Sequence[EventRow]) -> list[Step]:
    """Return the first events as sentences."""
    return [Step(row=row, sentence=_told(row), since_first=row.at - rows[0].at) for row in rows[:MOST_STEPS]]


def _told(row: EventRow) -> str:
    """Return the sentence of an event and the warnings it carries."""
    warnings = custom_data.values_of(row.custom_data, custom_data.WARNING)
    return " ".join([sentence(row), *(warning_words.sentence(code) for code in warnings)])


def sentence(row: EventRow) -> str:
    """Say what an event means."""
    texts = {
        ("RECEIVE", "PICKUP"): _("Taken from Pickup as %(file)s, for %(who)s."),
        ("RECEIVE", "REPLAY"): _("Taken from Replay as %(file)s, for %(who)s."),
        ("SEND", "GATEWAY"): _("Handed to gateway %(connector)s as %(file)s, for %(who)s."),
        ("SEND", "AGENT"): _("Handed to delivery agent %(connector)s, for %(who)s."),
        ("DELIVER", "STOREDRIVER"): _("Stored in the mailbox of %(who)s."),
        ("DSN", "DSN"): _("A notice was written, for %(who)s."),
        ("FAIL", "ADMIN"): _("Removed by an administrator, for %(who)s: %(reason)s"),
        ("FAIL", "QUEUE"): _("Given up after waiting too long, for %(who)s: %(reason)s"),
        ("RESUBMIT", "SAFETYNET"): _("Delivered once more from the Safety Net."),
        ("REDIRECT", "ADMIN"): _("Redirected to %(connector)s by an administrator."),
    }
    general = {
        "RECEIVE": _("Received, for %(who)s."),
        "SEND": _("Handed over, for %(who)s."),
        "DELIVER": _("Delivered to %(who)s."),
        "DEFER": _("Postponed, for %(who)s."),
        "FAIL": _("Failed for good, for %(who)s: %(reason)s"),
        "BADMAIL": _("Set aside as a bad file: %(file)s"),
        "RESOLVE": _("%(related)s was replaced by %(who)s, as the directory says."),
        "REDIRECT": _("Sent to %(who)s instead of %(related)s."),
        "EXPAND": _("The group %(related)s was replaced by its members: %(who)s."),
        "DUPLICATEEXPAND": _("Already a recipient, not added again for the group %(related)s: %(who)s."),
        "TRANSFER": _("Split off as a copy of its own, for %(who)s."),
        "RESUBMIT": _("Routed again after a change, for %(who)s."),
        "LOAD": _("Loaded again after a start."),
        "POISONMESSAGE": _("Put aside because it made the service fail."),
    }
    text = texts.get((row.event, row.source)) or general.get(row.event)
    if text is None:
        return f"{row.event} {row.source}"
    return text % {
        "connector": row.connector,
        "file": row.context or "–",
        "reason": row.status or row.context,
        "related": row.related_recipient,
        "who": _members(row) if row.event in {"EXPAND", "DUPLICATEEXPAND"} else _who(row),
    }


def _members(row: EventRow) -> str:
    """Name the first members of a group, count the others."""
    named = ", ".join(address for address, _status in row.recipients[:_NAMED])
    left = len(row.recipients) - _NAMED
    if left <= 0:
        return named
    more = ngettext("and %(n)s more", "and %(n)s more", left) % {"n": number_format(left, force_grouping=True)}
    return f"{named} {more}"


def _who(row: EventRow) -> str:
    """Name one recipient, count several."""
    if len(row.recipients) == 1:
        return row.first_recipient
    return ngettext("%(count)s recipient", "%(count)s recipients", len(row.recipients)) % {
        "count": number_format(len(row.recipients), force_grouping=True)
    }


def answer(tracked: TrackedMessage) -> str:
    """Say in one sentence how things stand with a message."""
    sentences = {
        TrackedState.QUEUED: _("On its way."),
        TrackedState.DEFERRED: _("Postponed; it will be tried again."),
        TrackedState.TRANSFERRED: _("Handed to the gateway. What the gateway does with it is not known here."),
        TrackedState.DELIVERED: _("Delivered."),
        TrackedState.PARTLY: _("Delivered to some recipients, failed for others."),
        TrackedState.FAILED: _("Failed; it will not be tried again."),
        TrackedState.EXPANDED: _("Passed on to the members of the group, in copies of its own."),
        TrackedState.BAD: _("Not sent: the file is on the Bad files page with its reason."),
    }
    return sentences[TrackedState(tracked.state)]


def next_attempt(tracked: TrackedMessage, rows: Sequence[EventRow], *, now: datetime) -> datetime | None:
    """Return the next attempt the last DEFER announced; None when there is none ahead (message-tracking 2.5)."""
    if tracked.state != TrackedState.DEFERRED:
        return None
    announced = [row.message_info for row in rows if row.message_pk == tracked.pk and row.event == "DEFER"]
    try:
        moment = datetime.fromisoformat(announced[-1].partition(";")[0]) if announced else None
    except ValueError:
        return None
    if moment is None or moment.year == 1:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment if moment > now else None


def outcomes(rows: Sequence[EventRow]) -> list[Outcome]:
    """Return each recipient's last word over all copies; a final event beats DEFER (MTT-8).

    The members of a group take its place. That a member was named twice, or moved to a copy, is no last word.
    """
    last: dict[str, Outcome] = {}
    for row in rows:
        if row.event == "EXPAND":
            last.pop(address_key(row.related_recipient), None)
        elif row.event == "DUPLICATEEXPAND":
            continue
        elif row.event == "RESOLVE":
            before = last.pop(address_key(row.related_recipient), None)
            if before is not None:
                now = replace(before, address=row.first_recipient)
                last.setdefault(address_key(row.first_recipient), now)
            continue
        for address, status in row.recipients:
            key = address_key(address)
            before = last.get(key)
            if before is not None and before.is_final and row.event == "DEFER":
                continue
            group = row.related_recipient if row.event == "EXPAND" else before.group if before else ""
            event = before.event if before and row.event == "TRANSFER" else row.event
            last[key] = Outcome(address=address, event=event, status=status, message_pk=row.message_pk, group=group)
    return list(last.values())


def file_names(told: Sequence[Step]) -> list[tuple[str, str]]:
    """Return (what, name) of the files the message came as and went as (MTP-4)."""
    kinds = {
        ("RECEIVE", "PICKUP"): _("Taken from Pickup"),
        ("RECEIVE", "REPLAY"): _("Taken from Replay"),
        ("SEND", "GATEWAY"): _("Written for the gateway"),
        ("BADMAIL", "PICKUP"): _("Set aside in Pickup"),
        ("BADMAIL", "REPLAY"): _("Set aside in Replay"),
    }
    names = ((kinds.get((step.row.event, step.row.source)), step.row.context) for step in told)
    return [(kind, name) for kind, name in names if kind and name]


def related(tracked: TrackedMessage, told: Sequence[Step], family: Sequence[TrackedMessage]) -> list[Related]:
    """Return notices about this message and its copies, and the message a notice is about (MTT-5)."""
    found: dict[int, Related] = {}
    own = {message.pk for message in family}

    def add(messages: Sequence[TrackedMessage], text: str) -> None:
        for message in messages:
            if message.pk not in own:
                found.setdefault(message.pk, Related(message=message, sentence=text))

    by_id = TrackedMessage.objects.order_by("pk")
    originals = _references(told, events={"DSN"})
    notices = _references(told, events={"FAIL", "RECEIVE", "SEND", "DELIVER", "DEFER"})
    add(list(by_id.filter(message_id__in=originals)[:_RELATED]), _("the message this notice is about"))
    add(list(by_id.filter(message_id__in=notices)[:_RELATED]), _("notice about this message"))
    if tracked.message_id:
        add(_notices_by_reference(tracked), _("notice about this message"))
        same = by_id.filter(message_id=tracked.message_id).exclude(network_message_id=tracked.network_message_id)
        add(list(same[:_RELATED]), _("submitted with the same Message-ID"))
    return list(found.values())


def _references(told: Sequence[Step], *, events: set[str]) -> set[str]:
    return {
        part
        for step in told
        if step.row.event in events
        for part in step.row.reference.split(";")
        if part.startswith("<")
    }


def _notices_by_reference(tracked: TrackedMessage) -> list[TrackedMessage]:
    """Return notices that name this message although no FAIL names them: delay and relay notices."""
    until = tracked.last_at + timedelta(minutes=1)
    written = TrackingEvent.objects.filter(event="DSN", at__gte=tracked.first_at, at__lte=until)
    about = written.filter(Q(reference=tracked.message_id)).select_related("message")
    return [event.message for event in about.order_by("at", "pk")[:_RELATED]]
