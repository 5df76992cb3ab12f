"""Reports: owed notices are written and failures settled (DSN-1 to DSN-9, MT-D, MT-G).

Promises: notice, DSN event, FAIL event and the recipients' final state are one commit, DSN before the FAIL
that names it; a debt is paid once. Leaves to neighbours: words (`notices`), bytes (`mail.dsn`), the way
out (the notice is submitted like any message).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime

from django.db import transaction

from connectors import notices, spool, submitters
from connectors.choices import RecipientState, ReportDue, SourceKind
from connectors.conf import TransportConfig
from connectors.mail import dsn
from connectors.mail.envelope import Envelope, Recipient
from connectors.mail.header import split
from connectors.mail.imcea import ImceaError, decapsulate
from connectors.models import Message, MessageRecipient, Node
from connectors.submitters import Submitters
from connectors.transport import queue, submission
from connectors.transport.submission import Spooled, Submission
from fcweb import bulk
from tracking import record

_BATCH = 100
_HEAD_BYTES = 64 * 1024


@dataclass(slots=True, kw_only=True)
class _Debt:
    """What is owed about one message: recipients of one action."""

    message: Message
    action: str  # "failed" or "relayed"
    recipients: list[MessageRecipient]
    spooled: Spooled | None = None  # the notice; None when none is earned


def run_once(node: Node, *, config: TransportConfig, now: datetime) -> int:
    """Settle what is owed for up to a hundred messages; return the number of debts."""
    debts = _owed(node)
    if not debts:
        return 0
    known = submitters.load(node)
    domain = known.table.default_domain
    built = [
        (debt, _build(debt, node=node, domain=domain, config=config, now=now))
        for debt in debts
        if _earned(debt) and _allowed(debt, known)
    ]
    spooled = submission.spool_all([notice for _debt, notice in built], config=config, now=now)
    for (debt, _notice), file in zip(built, spooled, strict=True):
        debt.spooled = file
    with transaction.atomic():
        unpaid = _lock(debts)
        _settle([debt for debt in debts if unpaid.issuperset(r.pk for r in debt.recipients)], node, config, now)
    return len(debts)


def _owed(node: Node) -> list[_Debt]:
    """Return the oldest debts, grouped by message and action (DSN-8)."""
    waiting = MessageRecipient.objects.filter(message__node=node).exclude(report_due="")
    keys = list(waiting.order_by("message_id").values_list("message_id", flat=True).distinct()[:_BATCH])
    grouped: dict[tuple[int, str], _Debt] = {}
    for recipient in waiting.filter(message__in=keys).select_related("message").order_by("message_id", "pk"):
        debt = grouped.setdefault(
            (recipient.message_id, recipient.report_due),
            _Debt(message=recipient.message, action=recipient.report_due, recipients=[]),
        )
        debt.recipients.append(recipient)
    return list(grouped.values())


def _lock(debts: Sequence[_Debt]) -> set[int]:
    """Return the recipients of these debts nobody else has settled meanwhile, locked."""
    keys = [recipient.pk for debt in debts for recipient in debt.recipients]
    unpaid = MessageRecipient.objects.filter(pk__in=keys).exclude(report_due="")
    return set(unpaid.select_for_update().values_list("pk", flat=True))


def _earned(debt: _Debt) -> bool:
    """Tell whether a notice is due: never about a null sender or a notice, never with NOTIFY=NEVER.

    Rules: DSN-1, DSN-6, DSN-7, DSN-22.
    """
    if not debt.message.mail_from or debt.message.source == "DSN":
        return False
    return any(_wants(recipient, debt.action) for recipient in debt.recipients)


def _allowed(debt: _Debt, known: Submitters) -> bool:
    """Tell whether the sender may be told: of a Pickup file only one the submitter may use, or one inside (A-26)."""
    message = debt.message
    return message.source != SourceKind.PICKUP or known.may_notify(message.owner_uid, message.mail_from)


def _wants(recipient: MessageRecipient, action: str) -> bool:
    words = recipient.notify.split(",") if recipient.notify else []
    if "NEVER" in words:
        return False
    if action == ReportDue.RELAYED:
        return "SUCCESS" in words
    return not words or "FAILURE" in words


def _build(debt: _Debt, *, node: Node, domain: str, config: TransportConfig, now: datetime) -> Submission:
    """Write the notice about one message."""
    message = debt.message
    raw_head = spool.read_head(config.spool_dir, message.spool_name, message.content_offset + _HEAD_BYTES)
    header = _header_of(raw_head[message.content_offset :])
    language = notices.language_for(header, config.notice_language)
    words = notices.words(language, debt.action)
    network_message_id = uuid.uuid4()
    message_id = f"<{network_message_id}@{node.fqdn}>"
    failed = debt.action == ReportDue.FAILED
    content = dsn.build(
        dsn.Notice(
            boundary=network_message_id.hex,
            subject=notices.prefixed(message.subject, words),
            headline=words.headline,
            recipients=tuple(
                _notice_recipient(recipient, debt.action, language, domain, now)
                for recipient in debt.recipients
                if _wants(recipient, debt.action)
            ),
            labels=dsn.Labels(
                diagnostic_info=words.diagnostic_info,
                generating_server=words.generating_server,
                receiving_server=words.receiving_server,
                original_headers=words.original_headers,
            ),
            language=words.language,
            from_address=f"postmaster@{domain}",
            to_address=message.mail_from,
            message_id=message_id,
            date=format_datetime(now),
            reporting_mta=node.fqdn,
            received_from=message.helo_domain,
            arrival_date=format_datetime(message.received_at),
            envid=message.envid,
            in_reply_to=message.message_id,
            original_header=header,
            original_content=_returned(message, config) if failed and message.ret != "HDRS" else None,
            is_failure=failed,
        )
    )
    return Submission(
        envelope=Envelope(mail_from="", recipients=(Recipient(address=message.mail_from, notify="NEVER"),)),
        content=content,
        network_message_id=network_message_id,
        message_id=message_id,
        subject=notices.prefixed(message.subject, words),
        sender=f"postmaster@{domain}",
        source="DSN",
        source_name="DSN",
        original_pk=message.pk,
    )


def _header_of(data: bytes) -> bytes:
    """Return the header of a content file; all of `data` when it cannot be split."""
    try:
        return data[: split(data).body_start]
    except ValueError:
        return data


def _returned(message: Message, config: TransportConfig) -> bytes | None:
    """Return the original to attach, or None when only its header goes back (DSN-25, QL-13)."""
    if message.size > config.notice_attach_bytes:
        return None
    return (config.spool_dir / message.spool_name).read_bytes()[message.content_offset :]


def _notice_recipient(
    recipient: MessageRecipient, action: str, language: str, domain: str, now: datetime
) -> dsn.NoticeRecipient:
    final_type, final_address = _final(recipient, domain)
    failed = action == ReportDue.FAILED
    status = _status(recipient.status_text) if failed else "2.0.0"
    return dsn.NoticeRecipient(
        address=recipient.address,
        display=recipient.address if final_type == "rfc822" else f"{final_type.upper()}:{final_address}",
        action="failed" if failed else "relayed",
        status=status,
        diagnostic_type="smtp",
        diagnostic=recipient.status_text if failed else "",
        final_type=final_type,
        final_address=final_address,
        orcpt=recipient.orcpt,
        remote_mta="",
        last_attempt=format_datetime(now),
        will_retry_until="",
        explanation=notices.explanation(status, language) if failed else "",
    )


def _final(recipient: MessageRecipient, domain: str) -> tuple[str, str]:
    """Return type and address for Final-Recipient: `fax;5551234` for an encapsulated address (DSN-32)."""
    address = recipient.final_address or recipient.address
    try:
        typed = decapsulate(address, frozenset({domain}))
    except ImceaError:
        return "rfc822", address
    return ("rfc822", address) if typed.type == "SMTP" else (typed.type.lower(), typed.value)


def _status(text: str) -> str:
    """Return the enhanced status code of a reply text."""
    for word in text.split()[:2]:
        if word.count(".") == 2 and word.replace(".", "").isdigit():
            return word
    return "5.0.0"


def _settle(debts: Sequence[_Debt], node: Node, config: TransportConfig, now: datetime) -> None:
    """Insert the notices and make the recipients final; in the caller's transaction."""
    notified = [debt for debt in debts if debt.spooled is not None]
    batch = [debt.spooled for debt in notified if debt.spooled is not None]
    keys = submission.insert(batch, node=node, config=config, now=now)
    tracked = dict(Message.objects.filter(pk__in=keys).values_list("pk", "tracked_id"))
    events = []
    references: dict[int, str] = {}
    for debt, file, key in zip(notified, batch, keys, strict=True):
        references[id(debt)] = file.submission.message_id
        events.append(
            record.dsn(
                tracked[key],
                at=now,
                server=node.name,
                context="Failure" if debt.action == ReportDue.FAILED else "Relay",
                recipients=[(debt.message.mail_from, "")],
                reference=debt.message.message_id,
            )
        )
    for debt in debts:
        if debt.action == ReportDue.FAILED:
            events.extend(_fail_events(debt, node, references.get(id(debt), ""), now))
    record.save(events)
    rows: list[tuple[object, ...]] = []
    for debt in debts:
        state = RecipientState.FAILED if debt.action == ReportDue.FAILED else RecipientState.DELIVERED
        rows.extend((state.value, "", now, recipient.pk) for recipient in debt.recipients)
    bulk.update(MessageRecipient, ["state", "report_due", "settled_at"], rows)
    queue.close_messages([debt.message.pk for debt in debts], now=now)


def _fail_events(debt: _Debt, node: Node, reference: str, now: datetime) -> list[record.NewEvent]:
    """Return one FAIL per source and context; it names the notice only for recipients that got one (MTE-5, MT-4)."""
    groups: dict[tuple[str, str, str, str, str], list[tuple[str, str]]] = {}
    for recipient in debt.recipients:
        named = reference if _wants(recipient, debt.action) else ""
        fate = (recipient.fail_source, recipient.fail_context, recipient.fail_connector)
        group = (*fate, named, recipient.fail_custom)
        groups.setdefault(group, []).append((recipient.address, recipient.status_text))
    return [
        record.fail(
            debt.message.tracked_id,
            at=now,
            source=source,
            server=node.name,
            context=context,
            recipients=recipients,
            reference=named,
            connector=connector,
            custom=custom,
        )
        for (source, context, connector, named, custom), recipients in groups.items()
    ]
