"""Submission: the one front door; everything that creates mail enters here.

Promises: `spool_all` makes the content durable, `insert` writes message, recipients and events in the caller's
transaction: its commit is the instant a message is accepted (PU-18).
Leaves to neighbours: reading files (pickup, replay), routing (categorizer).
Crash: content without rows is an orphan that the spool sweep removes.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import format_datetime

from connectors import spool
from connectors.choices import MessageState, Priority, RecipientState, ReportDue
from connectors.conf import TransportConfig
from connectors.mail import replay_format, stamp, tnef
from connectors.mail.envelope import Envelope, Recipient
from connectors.mail.imcea import ImceaError, decapsulate
from connectors.mail.verdict import BadRecipient, Draft
from connectors.mail.xtext import xtext_encode
from connectors.models import Message, MessageRecipient, Node
from fcweb import bulk
from tracking import custom_data, record

_PRIORITIES = {"High": Priority.HIGH, "Normal": Priority.NORMAL, "Low": Priority.LOW}


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A message that was read but is not accepted: all recipients fail at once (MT-D)."""

    text: str  # "550 5.5.3 …"
    context: str  # source-context of the FAIL event


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One message on its way in, content complete. `refusal` set: kept only for the failure notice."""

    envelope: Envelope
    content: bytes  # header, blank line, body; CRLF
    network_message_id: uuid.UUID
    message_id: str
    subject: str
    sender: str
    source: str  # tracking source: PICKUP, REPLAY or DSN
    source_name: str  # shown as message source: Pickup, Replay, X-Source or DSN
    source_file: str = ""
    source_key: str | None = None
    owner_uid: int | None = None
    priority: str = "Normal"
    has_org_headers: bool = False
    bad_recipients: tuple[BadRecipient, ...] = ()
    warnings: tuple[str, ...] = ()  # codes for the RECEIVE event (tracking.warning_words)
    refusal: Refusal | None = None
    original_pk: int | None = None  # the message a notice reports on


def from_draft(
    draft: Draft,
    *,
    node: Node,
    domain: str,
    stage: str,
    now: datetime,
    source_file: str,
    source_key: str,
    owner_uid: int,
    refusal: Refusal | None = None,
) -> Submission:
    """Stamp a draft: own Received, Message-ID and Date where missing. Rules: HM-2, HM-6, HM-7, HM-13, DR-21.

    `stage` is "Pickup" or "Replay"; `domain` is the default accepted domain.
    """
    envelope = replace(draft.envelope, recipients=tuple(_with_orcpt(r, domain) for r in draft.envelope.recipients))
    network_message_id = uuid.uuid4()
    message_id = draft.message_id or f"<{network_message_id}@{domain}>"
    date = format_datetime(now)
    received = stamp.received_value(stage=stage, host=node.fqdn, queue_id=network_message_id.hex, date=date)
    content = stamp.stamp(draft, received=received, message_id=message_id, date=date)
    return Submission(
        envelope=envelope,
        content=content,
        network_message_id=network_message_id,
        message_id=message_id,
        subject=draft.subject,
        sender=draft.sender,
        source=stage.upper(),
        source_name=draft.envelope.source or stage,
        source_file=source_file,
        source_key=source_key,
        owner_uid=owner_uid,
        priority=draft.priority,
        has_org_headers=draft.has_org_headers,
        bad_recipients=draft.bad_recipients,
        warnings=(*draft.warnings, "TNEF") if tnef.is_carried_by(content) else draft.warnings,
        refusal=refusal,
    )


def _with_orcpt(recipient: Recipient, domain: str) -> Recipient:
    """Add the plain address of an encapsulated recipient, for the gateway to read (DR-18)."""
    if recipient.orcpt or recipient.address[:5].upper() != "IMCEA":
        return recipient
    try:
        address = decapsulate(recipient.address, frozenset({domain}))
    except ImceaError:
        return recipient
    if address.type == "SMTP":
        return recipient
    return replace(recipient, orcpt=f"{address.type};{xtext_encode(address.value)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spooled:
    """A submission whose content is durable."""

    submission: Submission
    name: str  # spool name
    offset: int  # bytes of the injected block


def spool_all(submissions: Sequence[Submission], *, config: TransportConfig, now: datetime) -> list[Spooled]:
    """Write the content of a batch durably, one sync for all."""
    files = []
    spooled = []
    for submission in submissions:
        block = replay_format.block(submission.envelope, content_bytes=len(submission.content))
        name = spool.name_for(submission.network_message_id, now)
        files.append(spool.SpoolFile(name=name, block=block, content=submission.content))
        spooled.append(Spooled(submission=submission, name=name, offset=len(block)))
    spool.put(config.spool_dir, files, mode=config.sync)
    return spooled


def insert(batch: Sequence[Spooled], *, node: Node, config: TransportConfig, now: datetime) -> list[int]:
    """Insert a spooled batch in the caller's transaction; return the message keys, same order.

    Accepted messages get RECEIVE (PICKUP and REPLAY alone: a notice is born with its DSN event, MT-A row 5).
    """
    if not batch:
        return []
    keys = list(bulk.allocate_keys(Message, len(batch)))
    tracked = record.open_messages(
        [_tracked(spooled.submission, key, now) for spooled, key in zip(batch, keys, strict=True)]
    )
    messages = []
    recipients = []
    events = []
    for spooled, key, tracked_id in zip(batch, keys, tracked, strict=True):
        messages.append(_message_row(spooled, key, tracked_id, node=node, config=config, now=now))
        recipients.extend(_recipient_rows(spooled.submission, key))
        if spooled.submission.refusal is None and spooled.submission.source != "DSN":
            events.append(_receive_event(spooled.submission, tracked_id, node=node, now=now))
    bulk.insert(Message, _MESSAGE_FIELDS, messages)
    first = iter(bulk.allocate_keys(MessageRecipient, len(recipients)))
    bulk.insert(MessageRecipient, _RECIPIENT_FIELDS, [(next(first), *row) for row in recipients])
    record.save(events)
    return keys


_MESSAGE_FIELDS = [
    "id",
    "node",
    "source_key",
    "network_message_id",
    "tracked_id",
    "message_id",
    "mail_from",
    "sender",
    "subject",
    "size",
    "priority",
    "source",
    "source_name",
    "source_file",
    "source_ip",
    "owner_uid",
    "helo_domain",
    "created_by",
    "body",
    "ret",
    "envid",
    "auth",
    "smtputf8",
    "has_org_headers",
    "spool_name",
    "content_offset",
    "state",
    "crash_count",
    "received_at",
    "expires_at",
    "original",
]
_RECIPIENT_FIELDS = [
    "id",
    "message",
    "address",
    "final_address",
    "orcpt",
    "notify",
    "field",
    "state",
    "status_text",
    "fail_source",
    "fail_context",
    "fail_connector",
    "report_due",
]


def clean(text: str, limit: int) -> str:
    """Return text any database stores: no NUL, no lone surrogates, at most `limit` characters."""
    if text.isascii() and len(text) <= limit and "\0" not in text:
        return text
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\0", " ")[:limit]


def _tracked(submission: Submission, key: int, now: datetime) -> record.NewMessage:
    return record.NewMessage(
        internal_message_id=key,
        network_message_id=submission.network_message_id,
        message_id=clean(submission.message_id, 998),
        sender=clean(submission.sender, 600),
        return_path=clean(submission.envelope.mail_from, 600),
        subject=clean(submission.subject, 1000),
        size=len(submission.content),
        directionality="Incoming" if submission.source == "REPLAY" else "Originating",
        source=submission.source,
        recipients=len(submission.envelope.recipients) + len(submission.bad_recipients),
        at=now,
    )


def _message_row(
    spooled: Spooled, key: int, tracked_id: int, *, node: Node, config: TransportConfig, now: datetime
) -> tuple[object, ...]:
    submission = spooled.submission
    envelope = submission.envelope
    priority = _PRIORITIES.get(submission.priority, Priority.NORMAL).value
    return (
        key,
        node.pk,
        submission.source_key,
        submission.network_message_id,
        tracked_id,
        clean(submission.message_id, 998),
        clean(envelope.mail_from, 600),
        clean(submission.sender, 600),
        clean(submission.subject, 1000),
        len(submission.content),
        priority,
        submission.source,
        clean(submission.source_name, 255),
        clean(submission.source_file, 255),
        clean(envelope.source_ip, 64),
        submission.owner_uid,
        clean(envelope.helo_domain, 255),
        clean(envelope.created_by, 64),
        envelope.body[:16],
        envelope.ret[:8],
        clean(envelope.envid, 200),
        clean(envelope.auth, 600),
        envelope.smtputf8,
        submission.has_org_headers,
        spooled.name,
        spooled.offset,
        (MessageState.SUBMITTED if submission.refusal is None else MessageState.ROUTED).value,
        0,
        now,
        now + config.expires_after(priority, len(submission.content)),
        submission.original_pk,
    )


def _recipient_rows(submission: Submission, key: int) -> list[tuple[object, ...]]:
    """Return the rows of one message, without their keys; bad and refused recipients are born failing."""
    refusal = submission.refusal
    fate: tuple[str, ...]
    if refusal is None:
        fate = (RecipientState.SUBMITTED.value, "", "", "", "", "")
    else:
        fate = (
            RecipientState.FAILING.value,
            refusal.text,
            submission.source,
            refusal.context,
            "",
            ReportDue.FAILED.value,
        )
    rows: list[tuple[object, ...]] = [
        (key, clean(r.address, 600), "", clean(r.orcpt, 1000), r.notify[:32], r.field[:4], *fate)
        for r in submission.envelope.recipients
    ]
    for bad in submission.bad_recipients:
        text = f"550 {bad.status} The recipient address is not valid"
        failing = (RecipientState.FAILING.value, text, submission.source, submission.source_file[:300], "")
        asked = (clean(bad.orcpt, 1000), bad.notify[:32])
        rows.append((key, clean(bad.text, 600), "", *asked, "", *failing, ReportDue.FAILED.value))
    return rows


def _receive_event(submission: Submission, tracked_id: int, *, node: Node, now: datetime) -> record.NewEvent:
    return record.receive(
        tracked_id,
        at=now,
        source=submission.source,
        server=node.name,
        context=submission.source_file,
        recipients=[(clean(r.address, 600), r.field) for r in submission.envelope.recipients],
        client_ip=submission.envelope.source_ip,
        custom=custom_data.pairs({custom_data.WARNING: submission.warnings}) if submission.warnings else "",
    )
