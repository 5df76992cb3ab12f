"""DSN: the bytes of a delivery status notification, laid out like Exchange's (queues-dsn 5.3, RFC 3464, RFC 6522).

Texts come translated; nothing here knows why a notice is sent. The same notice gives the same bytes.
"""

from __future__ import annotations

import quopri
from dataclasses import dataclass
from email.header import Header
from html import escape


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Marker lines bounce readers look for, translated."""

    diagnostic_info: str
    generating_server: str
    receiving_server: str
    original_headers: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRecipient:
    """What happened to one recipient."""

    address: str
    display: str  # as people write it, e.g. FAX:5551234
    action: str  # failed, delayed, delivered, relayed or expanded
    status: str
    diagnostic_type: str  # "smtp" or "x-fcweb" (DSN-34)
    diagnostic: str  # full reply; "" when none
    final_type: str  # "rfc822", "fax"…
    final_address: str
    orcpt: str = ""
    remote_mta: str = ""
    last_attempt: str = ""
    will_retry_until: str = ""
    explanation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Everything a notice says."""

    boundary: str  # seed, unique a notice
    subject: str
    headline: str
    recipients: tuple[NoticeRecipient, ...]
    labels: Labels
    language: str
    from_address: str
    to_address: str
    message_id: str
    date: str
    reporting_mta: str
    received_from: str
    arrival_date: str
    envid: str
    in_reply_to: str
    original_header: bytes
    original_content: bytes | None  # None: headers only
    is_failure: bool


def build(notice: Notice) -> bytes:
    """Return header and body of the notice, CRLF. Rules: DSN-20 to DSN-36, DSN-54."""
    outer = f"={notice.boundary}="
    parts = [
        _header(notice, outer),
        f"--{outer}\r\n".encode(),
        _alternative(notice),
        f"\r\n--{outer}\r\nContent-Type: message/delivery-status\r\n\r\n".encode(),
        _status(notice),
        f"\r\n--{outer}\r\n".encode(),
        _returned(notice),
        f"\r\n--{outer}--\r\n".encode(),
    ]
    return b"".join(parts)


def _header(notice: Notice, outer: str) -> bytes:
    subject = notice.subject
    if not subject.isascii():
        subject = Header(subject, "utf-8", header_name="Subject").encode(linesep="\r\n")
    lines = [
        f"From: <{notice.from_address}>",
        f"To: <{notice.to_address}>",
        f"Date: {notice.date}",
        f"Subject: {subject}",
        f"Message-ID: {notice.message_id}",
    ]
    if notice.in_reply_to:
        lines += [f"In-Reply-To: {notice.in_reply_to}", f"References: {notice.in_reply_to}"]
    lines += [f"Content-Language: {notice.language}", "Auto-Submitted: auto-replied"]
    if notice.is_failure:
        lines.append("X-MS-Exchange-Message-Is-Ndr: ")
    lines += [
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{outer}"',
        "",
        "",
    ]
    return "\r\n".join(lines).encode("utf-8", "replace")


def _alternative(notice: Notice) -> bytes:
    inner = f"={notice.boundary}-text="
    text = _text(notice)
    markup = _html(notice)
    return b"".join(
        (
            f'Content-Type: multipart/alternative; differences=Content-Type;\r\n boundary="{inner}"\r\n\r\n'.encode(),
            _part(inner, "text/plain", text),
            _part(inner, "text/html", markup),
            f"--{inner}--\r\n".encode(),
        )
    )


def _part(boundary: str, kind: str, text: str) -> bytes:
    charset = "us-ascii" if text.isascii() else "utf-8"
    encoded = quopri.encodestring(text.encode("utf-8")).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    head = f"--{boundary}\r\nContent-Type: {kind}; charset={charset}\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    return head.encode() + encoded + b"\r\n"


def _text(notice: Notice) -> str:
    lines = [notice.headline, ""]
    for recipient in notice.recipients:
        lines += [recipient.display, recipient.explanation, ""]
    if notice.is_failure:
        lines += [notice.labels.diagnostic_info, "", f"{notice.labels.generating_server} {notice.reporting_mta}", ""]
        for recipient in notice.recipients:
            if recipient.remote_mta:
                lines.append(f"{notice.labels.receiving_server} {recipient.remote_mta}")
            lines += [recipient.address, f"#{recipient.diagnostic} ##", ""]
        head = notice.original_header.decode("utf-8", "replace").replace("\r\n", "\n").rstrip("\n")
        lines += [notice.labels.original_headers, "", head, ""]
    return "\n".join(lines)


def _html(notice: Notice) -> str:
    paragraphs = [f"<p><b>{escape(notice.headline)}</b></p>"]
    for recipient in notice.recipients:
        paragraphs.append(f"<p>{escape(recipient.display)}<br>\n{escape(recipient.explanation)}</p>")
    if notice.is_failure:
        labels = notice.labels
        paragraphs.append(f"<p><b>{escape(labels.diagnostic_info)}</b></p>")
        paragraphs.append(f"<p>{escape(labels.generating_server)} {escape(notice.reporting_mta)}</p>")
        for recipient in notice.recipients:
            paragraphs.append(f"<p>{escape(recipient.address)}<br>\n#{escape(recipient.diagnostic)} ##</p>")
        head = notice.original_header.decode("utf-8", "replace").replace("\r\n", "\n").rstrip("\n")
        paragraphs.append(f"<p>{escape(labels.original_headers)}</p>\n<pre>{escape(head)}</pre>")
    return "<html>\n<body>\n" + "\n".join(paragraphs) + "\n</body>\n</html>\n"


def _status(notice: Notice) -> bytes:
    lines = []
    if notice.envid:
        lines.append(f"Original-Envelope-Id: {notice.envid}")
    lines.append(f"Reporting-MTA: dns;{notice.reporting_mta}")
    if notice.received_from:
        lines.append(f"Received-From-MTA: dns;{notice.received_from}")
    lines += [f"Arrival-Date: {notice.arrival_date}", ""]
    for recipient in notice.recipients:
        optional = (
            ("Original-Recipient", recipient.orcpt),
            ("Final-Recipient", f"{recipient.final_type};{recipient.final_address}"),
            ("Action", recipient.action),
            ("Status", recipient.status),
            ("Diagnostic-Code", recipient.diagnostic and f"{recipient.diagnostic_type};{recipient.diagnostic}"),
            ("Remote-MTA", recipient.remote_mta and f"dns;{recipient.remote_mta}"),
            ("Last-Attempt-Date", recipient.last_attempt),
            ("Will-Retry-Until", recipient.will_retry_until),
        )
        lines += [f"{name}: {value}" for name, value in optional if value]
        lines.append("")
    return "\r\n".join(lines).encode("utf-8", "replace")


def _returned(notice: Notice) -> bytes:
    if notice.original_content is None:
        return b"Content-Type: text/rfc822-headers\r\n\r\n" + notice.original_header
    return b"Content-Type: message/rfc822\r\n\r\n" + notice.original_content
