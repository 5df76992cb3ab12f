"""Story: one message told from its events: sentences, times since the first, recipients' last word (MTR-10 to MTR-16)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.utils.translation import gettext as _

from tracking.models import TrackedMessage, TrackingEvent
from tracking.search import EventRow, rows_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One event as a sentence."""

    row: EventRow
    sentence: str
    since_first: timedelta
    event: TrackingEvent


def steps(tracked: TrackedMessage) -> list[Step]:
    """Return the events of a message, oldest first (MTS-34)."""
    events = list(tracked.events.select_related("message").order_by("pk"))
    return [
        Step(row=row, sentence=sentence(row), since_first=event.at - events[0].at, event=event)
        for row, event in zip(rows_of(events), events, strict=True)
    ]


def sentence(row: EventRow) -> str:
    """Say what an event means."""
    names = {"connector": row.connector, "file": row.context, "reason": row.status or row.context}
    texts = {
        ("RECEIVE", "PICKUP"): _("Taken from Pickup as %(file)s."),
        ("RECEIVE", "REPLAY"): _("Taken from Replay as %(file)s."),
        ("SEND", "GATEWAY"): _("Handed to gateway %(connector)s as %(file)s."),
        ("DELIVER", "STOREDRIVER"): _("Stored in the mailbox."),
        ("DSN", "DSN"): _("A notice to the sender was written."),
    }
    general = {
        "DEFER": _("Postponed: %(reason)s"),
        "FAIL": _("Failed for good: %(reason)s"),
        "BADMAIL": _("Set aside as a bad file: %(file)s"),
        "RESOLVE": _("The address was replaced by the one the directory gives."),
        "RESUBMIT": _("Routed again after a change."),
    }
    text = texts.get((row.event, row.source)) or general.get(row.event) or row.event
    return text % names


def answer(tracked: TrackedMessage) -> str:
    """Say in one sentence how things stand with a message."""
    sentences = {
        "queued": _("On its way."),
        "deferred": _("Postponed; it will be tried again."),
        "transferred": _("Handed to the gateway. What the gateway does with it is not known here."),
        "delivered": _("Delivered."),
        "partly": _("Delivered to some recipients, failed for others."),
        "failed": _("Failed; it will not be tried again."),
        "bad": _("Not sent: the file is on the Bad files page with its reason."),
    }
    return sentences[tracked.state]


def outcomes(told: list[Step]) -> list[tuple[str, str, str]]:
    """Return (address, event, status) of each recipient's last word; a final event beats DEFER (MTT-8)."""
    last: dict[str, tuple[str, str]] = {}
    for step in told:
        for address, status in step.row.recipients:
            before = last.get(address, ("", ""))[0]
            if before in {"SEND", "DELIVER", "FAIL"} and step.row.event == "DEFER":
                continue
            if step.row.event != "RESOLVE":
                last[address] = (step.row.event, status)
    return [(address, event, status) for address, (event, status) in last.items()]
