"""Rebuild: rows of messages made anew from their spool files after the database was lost (design 3).

A spool file tells its own envelope. What was delivered before is looked for where it can still be seen: in the
tracking events, and in the drop directories, where a published file is a link to its spool file. What nobody can
tell is sent again: at worst twice, never lost.
Idempotent: a file that has a row is left alone. One transaction a message.
"""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from django.db import transaction

from connectors import drop_directory, spool
from connectors.choices import MessageState, Priority, RecipientState
from connectors.conf import TransportConfig
from connectors.errors import FcwebError
from connectors.mail import header as headers
from connectors.mail import pickup_format, replay_format
from connectors.mail.address import address_key
from connectors.mail.address_list import addresses
from connectors.mail.envelope import Envelope
from connectors.models import ForeignConnector, Message, MessageRecipient, Node
from connectors.transport import orphans
from connectors.transport.submission import clean
from tracking import record
from tracking.models import EventRecipient, TrackedMessage

_PRIORITIES = {"High": Priority.HIGH, "Normal": Priority.NORMAL, "Low": Priority.LOW}
_STAMPS = ((b"from Pickup by ", "PICKUP"), (b"from Replay by ", "REPLAY"))  # HM-13
_FINAL = {"SEND": RecipientState.DELIVERED, "DELIVER": RecipientState.DELIVERED, "FAIL": RecipientState.FAILED}


@dataclass(slots=True, kw_only=True)
class Rebuilt:
    """What became of the spool files without a row."""

    submitted: int = 0  # messages with a recipient that is sent again
    finished: int = 0  # messages that are known to be delivered or returned
    unreadable: list[str] = field(default_factory=list)  # spool names; left where they are


def run(node: Node, *, config: TransportConfig, now: datetime) -> Rebuilt:
    """Make a message row for every spool file that has none; no transport may run meanwhile."""
    result = Rebuilt()
    published = _published(node)
    for name in list(orphans.names(config.spool_dir)):
        path = config.spool_dir / name
        try:
            content = _Content.read(path, name)
        except (ValueError, OSError):
            result.unreadable.append(name)
            continue
        is_published = _settle_links(published.get(content.file_id, []))
        with transaction.atomic():
            is_open = _insert(content, node=node, config=config, is_published=is_published, now=now)
        if is_open:
            result.submitted += 1
        else:
            result.finished += 1
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """One spool file as read."""

    name: str
    network_message_id: uuid.UUID
    internal_message_id: int | None  # of a copy split off for a group
    file_id: tuple[int, int]  # device and inode
    received_at: datetime
    envelope: Envelope
    offset: int
    size: int
    header: headers.Header

    @classmethod
    def read(cls, path: Path, name: str) -> _Content:
        """Read a file; raises ValueError for one that is no spool file of ours."""
        raw = path.read_bytes()
        status = path.stat()
        envelope, offset = replay_format.read_block(raw)
        network_message_id, internal_message_id = spool.identity(name)
        return cls(
            name=name,
            network_message_id=network_message_id,
            internal_message_id=internal_message_id,
            file_id=(status.st_dev, status.st_ino),
            received_at=datetime.fromtimestamp(status.st_mtime, UTC),
            envelope=envelope,
            offset=offset,
            size=len(raw) - offset,
            header=headers.split(raw[offset:]),
        )

    def text(self, name: str) -> str:
        return headers.decode_text(self._value(name))

    def _value(self, name: str) -> bytes:
        return next((f.value for f in self.header.fields if f.name == name), b"")

    def sender(self) -> str:
        found = addresses(self._value("sender")) or addresses(self._value("from"))
        return found[0].address if found else ""

    def source(self) -> str:
        stamp = self._value("received")
        return next((source for start, source in _STAMPS if stamp.startswith(start)), "DSN")

    def has_org_headers(self) -> bool:
        return any(f.name.startswith(pickup_format.ORGANIZATION_PREFIXES) for f in self.header.fields)


def _published(node: Node) -> dict[tuple[int, int], list[Path]]:
    """Return the message and temp files in the drop directories of a node by device and inode."""
    found: dict[tuple[int, int], list[Path]] = {}
    for connector in ForeignConnector.objects.filter(source_transport_servers=node):
        try:
            with os.scandir(drop_directory.effective_path(connector, node)) as entries:
                for entry in entries:
                    if entry.name.endswith((".eml", ".tmp")) and entry.is_file(follow_symlinks=False):
                        status = entry.stat(follow_symlinks=False)
                        found.setdefault((status.st_dev, status.st_ino), []).append(Path(entry.path))
        except (OSError, FcwebError):
            continue  # unreadable now: its files cannot be seen, so their messages are sent again
    return found


def _settle_links(paths: list[Path]) -> bool:
    """Remove temp links of a message, unpublished by definition; tell whether a published one remains (DR-26)."""
    for path in paths:
        if path.name.endswith(".tmp"):
            path.unlink(missing_ok=True)
    return any(path.name.endswith(".eml") for path in paths)


def _insert(content: _Content, *, node: Node, config: TransportConfig, is_published: bool, now: datetime) -> bool:
    """Write the rows of one message in the caller's transaction; tell whether it is to be delivered."""
    histories = TrackedMessage.objects.filter(network_message_id=content.network_message_id).order_by("pk")
    if content.internal_message_id is not None:
        histories = histories.filter(internal_message_id=content.internal_message_id)
    tracked = histories.first()
    final = _final_states(tracked)
    states = {
        r.address: RecipientState.DELIVERED
        if is_published
        else final.get(address_key(r.address), RecipientState.SUBMITTED)
        for r in content.envelope.recipients
    }
    is_open = RecipientState.SUBMITTED in states.values()
    message = _message(content, node=node, config=config, is_open=is_open, now=now)
    message.save(force_insert=True)
    MessageRecipient.objects.bulk_create(
        MessageRecipient(
            message=message,
            address=clean(r.address, 600),
            orcpt=clean(r.orcpt, 1000),
            notify=r.notify[:32],
            state=states[r.address],
            settled_at=None if states[r.address] == RecipientState.SUBMITTED else now,
        )
        for r in content.envelope.recipients
    )
    _track(
        content,
        message,
        tracked,
        open_addresses=[a for a, state in states.items() if state == RecipientState.SUBMITTED],
        now=now,
    )
    return is_open


def _message(content: _Content, *, node: Node, config: TransportConfig, is_open: bool, now: datetime) -> Message:
    envelope = content.envelope
    return Message(
        node=node,
        network_message_id=content.network_message_id,
        message_id=clean(content.text("message-id"), 998),
        mail_from=clean(envelope.mail_from, 600),
        sender=clean(content.sender(), 600),
        subject=clean(content.text("subject"), 1000),
        size=content.size,
        priority=_PRIORITIES[pickup_format.priority(content.text("x-priority"))],
        source=content.source(),
        source_name=clean(envelope.source or content.source().capitalize(), 255),
        source_ip=clean(envelope.source_ip, 64),
        helo_domain=clean(envelope.helo_domain, 255),
        created_by=clean(envelope.created_by, 64),
        body=envelope.body[:16],
        ret=envelope.ret[:8],
        envid=clean(envelope.envid, 200),
        smtputf8=envelope.smtputf8,
        has_org_headers=content.has_org_headers(),
        spool_name=content.name,
        content_offset=content.offset,
        state=MessageState.SUBMITTED if is_open else MessageState.DONE,
        received_at=content.received_at,
        expires_at=now + config.expiration,  # counted anew: the outage must not return its mail
        done_at=None if is_open else now,
    )


def _final_states(tracked: TrackedMessage | None) -> dict[str, RecipientState]:
    """Return what the surviving events say of each recipient, by address key."""
    if tracked is None:
        return {}
    rows = EventRecipient.objects.filter(event__message=tracked, event__event__in=list(_FINAL))
    return {
        address_key(address): _FINAL[event]
        for address, event in rows.values_list("address", "event__event").order_by("pk")
    }


def _track(
    content: _Content, message: Message, tracked: TrackedMessage | None, *, open_addresses: list[str], now: datetime
) -> None:
    """Tie a message to its surviving history, or begin a new one (MT-J)."""
    if tracked is not None:
        message.tracked_id = tracked.pk
        TrackedMessage.objects.filter(pk=tracked.pk).update(internal_message_id=message.pk)
        if open_addresses:
            again = record.resubmit(
                tracked.pk,
                at=now,
                source="ADMIN",
                server=message.node.name,
                recipients=[(address, "") for address in open_addresses],
                reference=str(tracked.internal_message_id or ""),
            )
            record.save([again])
    else:
        message.tracked_id = _new_history(content, message, now=now)
    message.save(update_fields=["tracked_id"])


def _new_history(content: _Content, message: Message, *, now: datetime) -> int:
    new = record.NewMessage(
        internal_message_id=message.pk,
        network_message_id=message.network_message_id,
        message_id=message.message_id,
        sender=message.sender,
        return_path=message.mail_from,
        subject=message.subject,
        size=message.size,
        directionality="Incoming" if message.source == "REPLAY" else "Originating",
        source=message.source,
        recipients=len(content.envelope.recipients),
        at=now,
    )
    (key,) = record.open_messages([new])
    recipients = [(r.address, "") for r in content.envelope.recipients]
    received = record.receive(
        key, at=now, source=message.source, server=message.node.name, context="recovered", recipients=recipients
    )
    events = [received]
    if message.state == MessageState.DONE:
        # Its drop file is in place: that is all a SEND says (FC-20).
        events.append(
            record.send(
                key,
                at=now,
                source="GATEWAY",
                server=message.node.name,
                connector="",
                context="recovered",
                recipients=recipients,
                arrived_at=message.received_at,
                custom="S:fc.note=published before the database was lost",
            )
        )
    record.save(events)
    return key
