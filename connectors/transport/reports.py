"""Reports: owed notices are written and failures settled (DSN-1 to DSN-9, DSN-70, MT-D, MT-G).

Promises: notice, DSN event, FAIL event and the recipients' final state are one commit, DSN before the FAIL
that names it; a debt is paid once. Leaves to neighbours: words (`notices`), bytes (`mail.dsn`), the way
out (the notice is submitted like any message), which messages wait too long (`delays`).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from django.db import transaction

from connectors import notices, remote_domains, routing_table, spool, submitters
from connectors.choices import GroupReports, RecipientState, ReportDue, SourceKind
from connectors.conf import TransportConfig
from connectors.mail import dsn, loops
from connectors.mail.address import TypedAddress
from connectors.mail.envelope import Envelope, Recipient, asks
from connectors.mail.header import Field, HeaderError, split
from connectors.models import Message, MessageRecipient, Node, NoticeSettings, ProxyAddress, proxy_key
from connectors.notices import Fate, Manner, Original
from connectors.remote_domains import Switches
from connectors.submitters import Submitters
from connectors.transport import delays, leasing, routing, submission
from connectors.transport.routing import Directory, Verdict
from connectors.transport.submission import Spooled, Submission
from fcweb import bulk
from tracking import record

_BATCH = 100
_HEAD_BYTES = 64 * 1024
# Word of NOTIFY that asks for a notice, and whether it is sent when NOTIFY is not given (DSN-1 to DSN-5).
_ASKED = {
    ReportDue.FAILED: ("FAILURE", True),
    ReportDue.DELAYED: ("DELAY", True),
    ReportDue.RELAYED: ("SUCCESS", False),
    ReportDue.DELIVERED: ("SUCCESS", False),
    ReportDue.EXPANDED: ("SUCCESS", False),
}
_BODIES = {"7bit": "", "8bit": "8BITMIME", "binary": "BINARYMIME"}
_CONTEXTS = {
    ReportDue.FAILED: "Failure",
    ReportDue.DELAYED: "Delay",
    ReportDue.RELAYED: "Relay",
    ReportDue.DELIVERED: "Success",
    ReportDue.EXPANDED: "Expand",
}


@dataclass(slots=True, kw_only=True)
class _Debt:
    """What is owed about one message: recipients of one action."""

    message: Message
    action: ReportDue
    recipients: list[MessageRecipient]
    notices: list[Submission] = field(default_factory=list)  # to the sender, then the monitoring copy; [] if none
    spooled: list[Spooled] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Office:
    """What every notice of a pass is written with."""

    node: Node
    config: TransportConfig
    known: Submitters
    directory: Directory  # of those who are told
    settings: NoticeSettings
    manners: Mapping[str, Manner]
    remote: Mapping[str, Switches]  # by domain outside (DSN-13)
    texts: Mapping[tuple[str, str, str], str]
    languages: Mapping[str, str]  # by proxy key of the sender
    managers: frozenset[str]  # proxy keys of those who hear of the members of a group (DSN-11)
    now: datetime


def run_once(node: Node, *, config: TransportConfig, now: datetime) -> int:
    """Settle what is owed for up to a hundred messages, fewer when much goes back; return the number of debts."""
    settings = NoticeSettings.load()
    delays.run_once(node, settings=settings, config=config, now=now)
    debts = _owed(node)
    if not debts:
        return 0
    office = _open_office(debts, node=node, settings=settings, config=config, now=now)
    left = config.batch_bytes
    for number, debt in enumerate(debts, 1):
        debt.notices = _notices(debt, office)
        left -= sum(len(notice.content) for notice in debt.notices)
        if left < 0:
            debts = debts[:number]
            break
    files = iter(submission.spool_all([n for debt in debts for n in debt.notices], config=config, now=now))
    for debt in debts:
        debt.spooled = [next(files) for _notice in debt.notices]
    with transaction.atomic():
        unpaid = _lock(debts)
        _settle([d for d in debts if unpaid.issuperset((r.pk, d.action) for r in d.recipients)], node, config, now)
    return len(debts)


def _owed(node: Node) -> list[_Debt]:
    """Return the oldest debts, grouped by message and action (DSN-8)."""
    waiting = MessageRecipient.objects.filter(message__node=node).exclude(report_due="")
    keys = list(waiting.order_by("message_id").values_list("message_id", flat=True).distinct()[:_BATCH])
    grouped: dict[tuple[int, str], _Debt] = {}
    rows = waiting.filter(message__in=keys).select_related("message", "item__queue")
    for recipient in rows.order_by("message_id", "pk"):
        debt = grouped.setdefault(
            (recipient.message_id, recipient.report_due),
            _Debt(message=recipient.message, action=ReportDue(recipient.report_due), recipients=[]),
        )
        debt.recipients.append(recipient)
    return list(grouped.values())


def _lock(debts: Sequence[_Debt]) -> set[tuple[int, str]]:
    """Return the debts nobody else has settled or changed meanwhile, locked: a delay may have become a failure."""
    keys = [recipient.pk for debt in debts for recipient in debt.recipients]
    unpaid = MessageRecipient.objects.filter(pk__in=keys).exclude(report_due="")
    return set(unpaid.select_for_update().values_list("pk", "report_due"))


def _open_office(
    debts: Sequence[_Debt], *, node: Node, settings: NoticeSettings, config: TransportConfig, now: datetime
) -> _Office:
    known = submitters.load(node)
    told = {debt.message.mail_from for debt in debts} | {settings.monitoring_address}
    keys = {_key(debt.message.mail_from) for debt in debts if debt.message.mail_from}
    proxies = ProxyAddress.objects.filter(key__in=keys)
    rows = proxies.exclude(recipient__language="")
    managers = proxies.filter(recipient__managed_groups__reports_to=GroupReports.MANAGER)
    return _Office(
        node=node,
        config=config,
        known=known,
        directory=routing_table.directory_for(told - {""}, known.table),
        settings=settings,
        manners=notices.manners(settings, host=node.fqdn, domain=known.table.default_domain, config=config),
        remote=remote_domains.load(),
        texts=notices.custom_texts(),
        languages=dict(rows.values_list("key", "recipient__language")),
        managers=frozenset(managers.values_list("key", flat=True)),
        now=now,
    )


def _key(address: str) -> str:
    return proxy_key(TypedAddress(type="SMTP", value=address))


def _told(debt: _Debt, manner: Manner) -> list[MessageRecipient]:
    """Return the recipients the sender is told about; none about a null sender or a notice (DSN-6, DSN-7)."""
    if not debt.message.mail_from or debt.message.source == "DSN":
        return []
    allowed = {
        ReportDue.FAILED: manner.tells_failures,
        ReportDue.DELAYED: manner.tells_delays,
    }.get(debt.action, manner.tells_success)
    return [r for r in debt.recipients if allowed and _wants(r, debt.action)]


def _allowed(debt: _Debt, office: _Office) -> bool:
    """Tell whether the sender may be told: of a Pickup file only one the submitter may use, or one inside (A-26).

    The manager of a group is told of its members wherever they are: an administrator chose them, no file did.
    """
    message = debt.message
    if message.source != SourceKind.PICKUP or office.known.may_notify(message.owner_uid, message.mail_from):
        return True
    return all(r.group for r in debt.recipients) and _key(message.mail_from) in office.managers


def _wants(recipient: MessageRecipient, action: ReportDue) -> bool:
    word, default = _ASKED[action]
    return asks(recipient.notify, word, default=default)


def _notices(debt: _Debt, office: _Office) -> list[Submission]:
    """Write the notice about one message, and its copy for the monitoring mailbox (DSN-14)."""
    message = debt.message
    manner = notices.manner_for(message.mail_from, office.manners, office.known.table, office.remote)
    told = _told(debt, manner)
    if not told or not _allowed(debt, office):
        return []
    header, fields = _header_of(message, office.config)
    if loops.is_automatic(fields):
        return []
    whole = _original(message, header, _returned(debt, manner, office.config))
    fates = [_fate(recipient) for recipient in told]
    language = notices.language_for(fields, manner, office.languages.get(_key(message.mail_from), ""))

    def letter(addressee: str, original: Original = whole) -> Submission:
        identity = uuid.uuid4()
        notice = notices.compose(
            debt.action.value,
            original,
            fates,
            manner=manner,
            language=language,
            texts=office.texts,
            host=office.node.fqdn,
            domain=office.known.table.default_domain,
            identity=identity,
            now=office.now,
        )
        made = _submission(notice, addressee, message)
        if original.content is not None and _is_too_large(made, addressee, office):
            return letter(addressee, replace(original, content=None))
        return made

    letters = [letter(message.mail_from)]
    watched = set(office.settings.copy_codes.split())
    codes = {notices.status_of(recipient.status_text) for recipient in told}
    if debt.action == ReportDue.FAILED and office.settings.monitoring_address and watched & codes:
        letters.append(letter(office.settings.monitoring_address))
    return letters


def _is_too_large(notice: Submission, addressee: str, office: _Office) -> bool:
    """Tell whether no connector on the way to the addressee takes so much; a notice about it would go to nobody (RT-22)."""
    way = routing.resolve(
        addressee,
        size=len(notice.content),
        table=office.known.table,
        directory=office.directory,
        is_exempt=True,
    )
    return way.verdict is Verdict.FAIL and way.status == "5.3.4"


def _submission(notice: dsn.Notice, addressee: str, about: Message) -> Submission:
    """Return a notice ready to be submitted: null sender, one recipient, NOTIFY=NEVER (DSN-20, DSN-21)."""
    content = dsn.build(notice)
    return Submission(
        envelope=Envelope(
            mail_from="",
            recipients=(Recipient(address=addressee, notify="NEVER"),),
            body=_BODIES[dsn.transfer_encoding(content)],
            smtputf8=not (notice.to_address + addressee).isascii(),
        ),
        content=content,
        network_message_id=notice.boundary,
        message_id=notice.message_id,
        subject=notice.subject,
        sender=notice.from_address,
        source="DSN",
        source_name="DSN",
        original_pk=about.pk,
    )


def _header_of(message: Message, config: TransportConfig) -> tuple[bytes, Sequence[Field]]:
    """Return the header of a message as bytes and fields, however long it is (QL-3); all content if it cannot be split."""
    length = _HEAD_BYTES
    while True:
        try:
            raw = spool.read_head(config.spool_dir, message.spool_name, message.content_offset + length)
        except OSError:
            return b"", ()  # somebody deleted the content, or it cannot be read: the sender is told all the same
        data = raw[message.content_offset :]
        if len(data) < length or b"\r\n\r\n" in data:
            break
        length *= 8
    try:
        header = split(data)
    except HeaderError:
        return data, ()
    return data[: header.body_start], header.fields


def _returned(debt: _Debt, manner: Manner, config: TransportConfig) -> bytes | None:
    """Return the original to attach, or None when only its header goes back (DSN-25, QL-13)."""
    message = debt.message
    if debt.action != ReportDue.FAILED or message.ret == "HDRS" or message.size > manner.max_attach_bytes:
        return None
    try:
        return (config.spool_dir / message.spool_name).read_bytes()[message.content_offset :]
    except OSError:
        return None


def _original(message: Message, header: bytes, content: bytes | None) -> Original:
    return Original(
        mail_from=message.mail_from,
        message_id=message.message_id,
        subject=message.subject,
        received_at=message.received_at,
        expires_at=message.expires_at,
        helo_domain=message.helo_domain,
        envid=message.envid,
        header=header,
        content=content,
    )


def _fate(recipient: MessageRecipient) -> Fate:
    item = recipient.item
    waited_in = item.queue if item is not None else None
    return Fate(
        address=recipient.address,
        orcpt=recipient.orcpt,
        reply=recipient.status_text,
        from_drop=recipient.fail_source == "GATEWAY",
        last_attempt_at=waited_in.last_retry_at if waited_in else None,
        last_error=(waited_in.last_error or item.last_error) if item is not None and waited_in is not None else "",
    )


def _settle(debts: Sequence[_Debt], node: Node, config: TransportConfig, now: datetime) -> None:
    """Insert the notices and make the recipients final; in the caller's transaction."""
    batch = [file for debt in debts for file in debt.spooled]
    keys = submission.insert(batch, node=node, config=config, now=now)
    tracked = dict(Message.objects.filter(pk__in=keys).values_list("pk", "tracked_id"))
    ids = iter(tracked[key] for key in keys)
    events = [
        record.dsn(
            next(ids),
            at=now,
            server=node.name,
            context=_CONTEXTS[debt.action],
            recipients=[(file.submission.envelope.recipients[0].address, "")],
            reference=debt.message.message_id,
        )
        for debt in debts
        for file in debt.spooled
    ]
    for debt in debts:
        if debt.action == ReportDue.FAILED:
            events.extend(_fail_events(debt, node, now))
    record.save(events)
    bulk.update(MessageRecipient, ["report_due"], [("", r.pk) for debt in debts for r in debt.recipients])
    final = [r.pk for debt in debts if debt.action == ReportDue.FAILED for r in debt.recipients]
    bulk.update(MessageRecipient, ["state", "settled_at"], [(RecipientState.FAILED.value, now, pk) for pk in final])
    leasing.close_messages([debt.message.pk for debt in debts], now=now)


def _fail_events(debt: _Debt, node: Node, now: datetime) -> list[record.NewEvent]:
    """Return one FAIL per source and context; it names the notice only for recipients that got one (MTE-5, MT-4)."""
    reference = debt.spooled[0].submission.message_id if debt.spooled else ""
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
