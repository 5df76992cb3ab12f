"""Preview of notices: what would be sent, made by the very code that sends, about a message that never was."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import format_datetime

from connectors import notices, routing_table
from connectors.conf import transport_config
from connectors.mail import dsn
from connectors.mail.address import TypedAddress
from connectors.mail.imcea import ImceaError, encapsulate
from connectors.mail.xtext import xtext_encode
from connectors.models import ForeignConnector, NoticeSettings, config_of
from connectors.notices import Fate, Original
from connectors.transport.routing import TOO_LARGE_TEXT

DEFAULT_CODE = "5.1.1"
_REPLIES = {
    "4.4.7": "550 4.4.7 QUEUE.Expired; message expired",
    "5.1.1": "550 5.1.1 RESOLVER.ADR.RecipNotFound; not found",
    "5.1.4": "550 5.1.4 RESOLVER.ADR.Ambiguous; ambiguous address",
    "5.2.2": "554 5.2.2 mailbox full; STOREDRV.Deliver",
    "5.2.3": TOO_LARGE_TEXT,
    "5.5.3": "550 5.5.3 RESOLVER.ADR.RecipLimit; too many recipients",
    "5.7.1": "550 5.7.1 QUEUE.Admin; message removed by an administrator",
}
_SAMPLES = {"FAX": "+1 425 555 0100", "SMS": "+1 425 555 0100", "X400": "c=US;a= ;p=Contoso;o=Sales;s=Smith;"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One notice as its reader gets it; `html` is "" when formatted text is switched off."""

    subject: str
    text: str
    html: str
    raw: bytes


def preview(
    action: str, *, language: str, code: str, audience: str, connector: ForeignConnector | None, now: datetime
) -> Preview:
    """Return a notice about a sample message; `code` counts for failures alone. Nothing is stored or sent."""
    node = routing_table.local_node()
    domain = routing_table.load(node).default_domain
    manner = notices.manners(NoticeSettings.load(), host=node.fqdn, domain=domain, config=transport_config())[audience]
    sender = f"alice@{domain}" if audience == "internal" else "alice@example.com"
    original = _original(sender, now, lasting=config_of(node, transport_config()).expiration)
    if action != "failed" or len(original.content or b"") > manner.max_attach_bytes:
        original = replace(original, content=None)  # as `transport.reports` does (DSN-25, QL-13)
    notice = notices.compose(
        action,
        original,
        [_fate(action, code, connector, domain, now)],
        manner=manner,
        language=language,
        texts=notices.custom_texts(),
        host=node.fqdn,
        domain=domain,
        identity=uuid.UUID(int=0),
        now=now,
    )
    html = dsn.html(notice) if manner.with_html else ""
    return Preview(subject=notice.subject, text=dsn.text(notice), html=html, raw=dsn.build(notice))


def _original(sender: str, now: datetime, *, lasting: timedelta) -> Original:
    received = now - timedelta(hours=4)
    lines = (
        f"From: <{sender}>",
        "To: <bob@example.org>",
        "Subject: Offer 4711",
        "Message-ID: <sample@example.com>",
        f"Date: {format_datetime(received)}",
        "",
        "",
    )
    header = "\r\n".join(lines).encode()
    return Original(
        mail_from=sender,
        message_id="<sample@example.com>",
        subject="Offer 4711",
        received_at=received,
        expires_at=received + lasting,
        helo_domain="",
        envid="",
        header=header,
        content=header + b"Here is our offer.\r\n",
    )


def _fate(action: str, code: str, connector: ForeignConnector | None, domain: str, now: datetime) -> Fate:
    if action == "expanded":
        return Fate(address=f"sales@{domain}")  # a group, which no connector serves
    typed = _sample(connector)
    try:
        address = encapsulate(typed, domain)
    except ImceaError:
        address = "bob@example.org"
    reply = ""
    if action == "failed":
        reply = _REPLIES.get(code, f"{'550' if code.startswith('5') else '451'} {code} Example")
    return Fate(
        address=address,
        orcpt="" if typed.type == "SMTP" else f"{typed.type};{xtext_encode(typed.value)}",
        reply=reply,
        last_attempt_at=now - timedelta(minutes=10),
        last_error="451 4.3.5 Drop directory does not exist",
    )


def _sample(connector: ForeignConnector | None) -> TypedAddress:
    """Return an address a connector would take; without one an ordinary mail address."""
    space = connector.address_spaces.order_by("pk").first() if connector is not None else None
    if space is None or space.type == "SMTP":
        return TypedAddress(type="SMTP", value="bob@example.org")
    return TypedAddress(type=space.type, value=_SAMPLES.get(space.type, "12345"))
