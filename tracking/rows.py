"""Rows: one event with its message and recipients as lists, exports and the live stream use it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tracking.choices import TrackedState
from tracking.models import EventRecipient, TrackingEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """One event; names are ours, `tracking.exchange_log` gives Exchange's."""

    pk: int
    log_id: str
    at: datetime
    event: str
    source: str
    connector: str
    context: str
    message_pk: int
    message_id: str
    sender: str  # header sender, else the return path
    subject: str
    state: str
    recipients: tuple[tuple[str, str], ...]  # address, status
    internal_message_id: int | None = None
    network_message_id: uuid.UUID | None = None
    return_path: str = ""
    size: int = 0
    directionality: str = ""
    message_recipients: int = 0  # of the message, not of this event
    first_at: datetime | None = None
    reference: str = ""
    related_recipient: str = ""
    message_info: str = ""
    client_ip: str = ""
    client_hostname: str = ""
    server_ip: str = ""
    server_hostname: str = ""
    custom_data: str = ""

    @property
    def state_label(self) -> str:
        """The message's state in words."""
        return str(TrackedState(self.state).label) if self.state in TrackedState.values else self.state

    @property
    def notable_status(self) -> str:
        """The first recipient's status when it tells something a list should show: not success, not To or Cc."""
        status = self.recipients[0][1] if self.recipients else ""
        return "" if status[:1] == "2" or status in {"To", "Cc", "Bcc"} else status

    @property
    def first_recipient(self) -> str:
        """The address a list shows."""
        return self.recipients[0][0] if self.recipients else ""

    @property
    def more_recipients(self) -> int:
        """How many others there are."""
        return max(0, len(self.recipients) - 1)

    @property
    def status(self) -> str:
        """The status text a list shows."""
        return self.recipients[0][1] if self.recipients else ""


def rows_of(events: Sequence[TrackingEvent]) -> tuple[EventRow, ...]:
    """Return the rows of events loaded with their messages: one query for all recipients."""
    if not events:
        return ()
    recipients: dict[int, list[tuple[str, str]]] = {}
    wanted = EventRecipient.objects.filter(event__in=[event.pk for event in events]).order_by("pk")
    for event_pk, address, status in wanted.values_list("event_id", "address", "status"):
        recipients.setdefault(event_pk, []).append((address, status))
    return tuple(_row(event, tuple(recipients.get(event.pk, ()))) for event in events)


def _row(event: TrackingEvent, recipients: tuple[tuple[str, str], ...]) -> EventRow:
    message = event.message
    return EventRow(
        pk=event.pk,
        log_id=str(event.log_id),
        at=event.at,
        event=event.event,
        source=event.source,
        connector=event.connector_id,
        context=event.source_context,
        message_pk=event.message_id,
        message_id=message.message_id,
        sender=message.sender or message.return_path,
        subject=message.subject,
        state=message.state,
        recipients=recipients,
        internal_message_id=message.internal_message_id,
        network_message_id=message.network_message_id,
        return_path=message.return_path,
        size=message.size,
        directionality=message.directionality,
        message_recipients=message.recipients,
        first_at=message.first_at,
        reference=event.reference,
        related_recipient=event.related_recipient,
        message_info=event.message_info,
        client_ip=event.client_ip,
        client_hostname=event.client_hostname,
        server_ip=event.server_ip,
        server_hostname=event.server_hostname,
        custom_data=event.custom_data,
    )
