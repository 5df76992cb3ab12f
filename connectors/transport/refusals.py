"""Refusals: files that are read well enough to be returned to their sender (PU-40 to PU-45, DSN-60, MT-D)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from connectors import notices, remote_domains, routing_table
from connectors.conf import transport_config
from connectors.mail import loops
from connectors.mail.envelope import Envelope, asks
from connectors.mail.header import Field, HeaderError, crlf, split
from connectors.mail.pickup_format import INJECTED
from connectors.mail.verdict import Draft, Fate, Rejection
from connectors.models import Node, NoticeSettings
from connectors.transport.submission import Refusal

# Of a message over the size limit only this much is read: enough for its header.
HEAD_BYTES = 256 * 1024

_TEXTS = {
    "HEADER_TOO_BIG": "550 5.3.4 PICKUP.HeaderSize; message header is too large",
    "TOO_MANY_RECIPIENTS": "550 5.5.3 PICKUP.RecipLimit; too many recipients",
    "MESSAGE_TOO_BIG": "550 5.3.4 RESOLVER.SizeLimit; message is too large",
    "LOOP": "554 5.4.6 Hop count exceeded - possible mail loop",
    "BAD_RECIPIENTS": "550 5.1.3 The recipient address is not valid",
}


def too_big(draft: Draft, file_name: str) -> tuple[Draft, Refusal]:
    """Return the refusal of a message over the organisation's size limit (PU-43); its header alone goes back.

    Only the start of the file was read: returned whole it would look like a damaged message.
    """
    head = replace(draft, envelope=replace(draft.envelope, ret="HDRS"))
    return head, Refusal(text=_TEXTS["MESSAGE_TOO_BIG"], context=file_name)


def looping(draft: Draft, file_name: str, node: Node) -> Refusal | None:
    """Return the refusal of a message that passed too many systems, or this one too often, or None (QL-12)."""
    passed, here = loops.hops(draft.header_fields, host=node.fqdn)
    if passed <= node.max_hops and (here <= node.max_local_hops or not node.max_local_hops):
        return None
    return Refusal(text=_TEXTS["LOOP"], context=file_name)


def tells_failures(node: Node) -> Callable[[str], bool]:
    """Return a question: does this server tell this address of failures (DSN-13, DSN-50)? Few, small queries."""
    table, remote = routing_table.load(node), remote_domains.load()
    manners = notices.manners(
        NoticeSettings.load(), host=node.fqdn, domain=table.default_domain, config=transport_config()
    )
    return lambda address: notices.manner_for(address, manners, table, remote).tells_failures


def untellable(draft: Draft, *, tells: Callable[[str], bool]) -> Rejection | None:
    """Return the rejection of a refused message whose refusal nobody may be told, or None (DSN-6, DSN-7, DSN-13, MT-4).

    It never entered a queue, so that its file must stay: as a bad file, for a person to decide.
    """
    asked = [r.notify for r in draft.envelope.recipients] + [r.notify for r in draft.bad_recipients]
    is_wanted = any(asks(notify, "FAILURE", default=True) for notify in asked)
    sender = draft.envelope.mail_from
    if sender and is_wanted and tells(sender) and not loops.is_automatic(_fields(draft)):
        return None
    return as_bad(draft, "NO_NOTICE_ADDRESSEE")


def _returned_fields(header: bytes) -> tuple[bytes, ...]:
    """Return the fields of a rejected file without what is no part of the message: envelope, BOM, mbox line."""
    head = header.rstrip(b"\r\n")
    try:
        return tuple(f.raw for f in split(head + b"\r\n\r\n").fields if f.name not in INJECTED)
    except HeaderError:
        return (crlf(head) + b"\r\n",) if head else ()


def _fields(draft: Draft) -> tuple[Field, ...]:
    try:
        return split(b"".join(draft.header_fields) + b"\r\n").fields
    except HeaderError:
        return ()


def as_bad(draft: Draft, reason: str) -> Rejection:
    """Return a refused message whose sender may not be told as a bad file (A-26)."""
    return Rejection(
        fate=Fate.BAD,
        reason=reason,
        originator=draft.envelope.mail_from,
        recipients=draft.envelope.recipients,
        bad_recipients=draft.bad_recipients,
        message_id=draft.message_id,
        subject=draft.subject,
        sender=draft.sender,
    )


def as_draft(rejection: Rejection, *, data: bytes, is_whole: bool, file_name: str) -> tuple[Draft, Refusal]:
    """Turn a rejection that earns a notice into a draft that carries the original, for the notice to return.

    `is_whole` is False when only the start of the file was read: then its header alone goes back, as in `too_big`.
    """
    text = _TEXTS.get(rejection.reason) or f"550 {rejection.status or '5.0.0'} {rejection.reason}"
    draft = Draft(
        envelope=Envelope(
            mail_from=rejection.originator,
            recipients=rejection.recipients,
            ret=rejection.ret if is_whole else "HDRS",
            envid=rejection.envid,
        ),
        header_fields=_returned_fields(rejection.header),
        body=crlf(data[len(rejection.header) :]),
        subject=rejection.subject,
        sender=rejection.sender,
        message_id=rejection.message_id,
        date_ok=True,
        bad_recipients=rejection.bad_recipients,
    )
    return draft, Refusal(text=text, context=file_name)
