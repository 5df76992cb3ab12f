"""DSN: the bytes of a delivery status notification, laid out like Exchange's (queues-dsn 5.3, RFC 3464, RFC 6522).

Texts come translated; nothing here knows why a notice is sent. The same notice gives the same bytes.
Promises: whatever an address or reply holds, no field is broken or added and the status part is pure ASCII; every line
of ours is legal mail, and what is returned is declared as what it is.
"""

from __future__ import annotations

import re
import uuid
from binascii import b2a_qp
from dataclasses import dataclass
from email.header import Header
from html import escape

from connectors.mail.header import HeaderError, split

_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_INTERNAL = re.compile(r"received|x-ms-exchange-(organization|forest)-.*")
_ADDRESS_TYPE = re.compile(r"[A-Za-z0-9-]{1,64}")
_MAX_LINE = 998  # RFC 5322: characters a line has at most
_SHOWN_HEADER = 64 * 1024
_MAX_VALUE = 900  # of one field, its name beside it


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Marker lines bounce readers look for, translated."""

    diagnostic_info: str
    generating_server: str
    receiving_server: str
    last_attempt: str
    original_headers: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRecipient:
    """What happened to one recipient. Dates are RFC 5322 text."""

    address: str  # SMTP form, as the sender gave it
    display: str  # as people write it, e.g. FAX:5551234
    action: str  # failed, delayed, delivered, relayed or expanded
    status: str
    diagnostic_type: str = "smtp"  # or "x-fcweb" (DSN-34)
    diagnostic: str = ""  # full reply; "" when none
    original: tuple[str, str] = ("", "")  # type and address for Original-Recipient
    final: str = ""  # SMTP form for Final-Recipient; "" is `address`
    remote_mta: str = ""
    last_attempt: str = ""
    will_retry_until: str = ""
    supplement: str = ""  # reply of the last attempt of a recipient that was tried for long
    explanation: str = ""
    explanation_html: str = ""  # "" is the escaped explanation


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Everything a notice says."""

    boundary: uuid.UUID  # unique a notice
    subject: str
    headline: str
    recipients: tuple[NoticeRecipient, ...]
    labels: Labels
    language: str  # tag, e.g. fr-FR
    from_address: str
    to_address: str
    message_id: str
    date: str
    generating_server: str
    reporting_mta: str
    received_from: str
    arrival_date: str
    envid: str  # decoded
    in_reply_to: str
    original_header: bytes
    original_content: bytes | None  # None: headers only
    is_failure: bool
    with_html: bool = True
    with_diagnostics: bool = True  # DSN-13


def build(notice: Notice) -> bytes:
    """Return header and body of the notice, CRLF. Rules: DSN-13, DSN-30 to DSN-36, DSN-54."""
    outer = str(notice.boundary)
    status, returned = _status(notice), _returned(notice)
    return b"".join(
        (
            _header(notice, outer, encoding=transfer_encoding(returned)),
            f"--{outer}\r\n".encode(),
            _alternative(notice),
            f"\r\n--{outer}\r\nContent-Type: message/delivery-status\r\n\r\n".encode(),
            status,
            f"\r\n--{outer}\r\n".encode(),
            returned,
            f"\r\n--{outer}--\r\n".encode(),
        )
    )


def transfer_encoding(data: bytes) -> str:
    """Return what content is as it stands: "7bit", "8bit", or "binary" when its lines are not legal (RFC 2045 2.7 to 2.9)."""
    breaks = data.count(b"\r\n")
    is_broken = b"\0" in data or breaks != data.count(b"\r") or breaks != data.count(b"\n")
    if is_broken or max(map(len, data.split(b"\r\n"))) > _MAX_LINE:
        return "binary"
    return "7bit" if data.isascii() else "8bit"


def without_internal(header: bytes) -> bytes:
    """Return a header without the fields that name our own servers (DSN-13, QX-11); unchanged if unreadable."""
    try:
        fields = split(header).fields
    except HeaderError:
        return header
    return b"".join(field.raw for field in fields if not _INTERNAL.fullmatch(field.name)) + b"\r\n"


def _line(value: str) -> str:
    """Return a value that fits one field: no control characters, pure ASCII, cut where a line must end."""
    return _UNPRINTABLE.sub(" ", value).encode("ascii", "replace").decode("ascii")[:_MAX_VALUE].strip()


def _words(value: str) -> str:
    """Return text for a field that people read: encoded words when it is not ASCII."""
    value = _UNPRINTABLE.sub(" ", value)
    return value if value.isascii() else Header(value, "utf-8").encode(linesep="\r\n")


def _typed(kind: str, address: str) -> str:
    """Return type and address of a recipient field; other scripts in the form of RFC 6533.

    A type that is no type is "unknown" (RFC 3464 2.3.1); a long address is cut, between two characters.
    """
    clean = _UNPRINTABLE.sub(" ", address)
    if clean.isascii():
        return f"{kind if _ADDRESS_TYPE.fullmatch(kind) else 'unknown'};{clean[:_MAX_VALUE]}"
    coded = ""
    for one in clean:
        written = one if one.isascii() and one not in " \\+=" else f"\\x{{{ord(one):X}}}"
        if len(coded) + len(written) > _MAX_VALUE:
            break
        coded += written
    return f"utf-8;{coded}"


def _header(notice: Notice, outer: str, *, encoding: str) -> bytes:
    """Return the fields in the order of the real notice (DSN-30)."""
    subject = _UNPRINTABLE.sub(" ", notice.subject)
    if not subject.isascii() or len(subject) > _MAX_VALUE or "=?" in subject:
        subject = Header(subject, "utf-8", header_name="Subject").encode(linesep="\r\n")
    lines = [
        "MIME-Version: 1.0",
        f"From: <{notice.from_address}>",
        f"To: <{_UNPRINTABLE.sub('', notice.to_address)}>",
        f"Date: {notice.date}",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{outer}"',
    ]
    if encoding != "7bit":
        lines.append(f"Content-Transfer-Encoding: {encoding}")
    if notice.is_failure:
        lines.append("X-MS-Exchange-Message-Is-Ndr:")
    lines += [f"Content-Language: {notice.language}", f"Message-ID: {notice.message_id}"]
    if notice.in_reply_to:
        original_id = _line(notice.in_reply_to)
        lines += [f"In-Reply-To: {original_id}", f"References: {original_id}"]
    lines += [f"Subject: {subject}", "Auto-Submitted: auto-replied", "", ""]
    return "\r\n".join(lines).encode("utf-8", "replace")


def _alternative(notice: Notice) -> bytes:
    inner = str(uuid.uuid5(notice.boundary, "text"))
    head = f'Content-Type: multipart/alternative; differences=Content-Type;\r\n\tboundary="{inner}"\r\n\r\n'
    parts = [head.encode(), _part(inner, "text/plain", text(notice))]
    if notice.with_html:
        parts.append(_part(inner, "text/html", html(notice)))
    return b"".join((*parts, f"--{inner}--\r\n".encode()))


def _part(boundary: str, kind: str, words: str) -> bytes:
    charset = "us-ascii" if words.isascii() else "utf-8"
    encoded = _quoted(words.encode("utf-8", "replace").split(b"\n"))
    head = f'--{boundary}\r\nContent-Type: {kind}; charset="{charset}"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n'
    return head.encode() + encoded + b"\r\n"


def _quoted(lines: list[bytes]) -> bytes:
    """Return lines as quoted-printable, CRLF between them; any octet may stand in a line."""
    return b"\r\n".join(b2a_qp(line, istext=False).replace(b"\n", b"\r\n") for line in lines)


def _diagnosed(notice: Notice) -> bool:
    """Tell whether the block for administrators is there: failures and delays, unless switched off."""
    return notice.with_diagnostics and any(r.action in {"failed", "delayed"} for r in notice.recipients)


def _original_lines(notice: Notice) -> str:
    """Return the header of the original for people: as much as anybody reads, in whole lines."""
    header = notice.original_header
    if len(header) > _SHOWN_HEADER:
        header = header[: header.rfind(b"\n", 0, _SHOWN_HEADER) + 1] + b"[...]"
    return header.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "").rstrip("\n")


def _attempts(recipient: NoticeRecipient, labels: Labels) -> list[str]:
    """Return the lines about one recipient in the block for administrators.

    Never an address alone on its line: readers that know Exchange's text would take it from here and miss the
    action of an expired message; so they read the status part. The reply that counts comes last.
    """
    lines = [f"{recipient.address} ({recipient.status})"]
    if recipient.last_attempt and recipient.supplement:
        lines.append(f"{labels.last_attempt} {recipient.last_attempt} - {recipient.supplement}")
    if recipient.diagnostic:
        lines.append(f"#{recipient.diagnostic} ##")
    return lines


def text(notice: Notice) -> str:
    """Return the part for people, plain."""
    labels = notice.labels
    lines = [notice.headline, ""]
    for recipient in notice.recipients:
        lines += [recipient.display, *([recipient.explanation] if recipient.explanation else []), ""]
    if _diagnosed(notice):
        lines += ["", labels.diagnostic_info, "", f"{labels.generating_server} {notice.generating_server}", ""]
        for recipient in notice.recipients:
            if recipient.remote_mta:
                lines.append(f"{labels.receiving_server} {recipient.remote_mta}")
            lines += [*_attempts(recipient, labels), ""]
        lines += [labels.original_headers, "", _original_lines(notice), ""]
    return "\n".join(lines)


def html(notice: Notice) -> str:
    """Return the part for people, formatted; everything of a stranger's is escaped."""
    labels = notice.labels
    parts = [f"<p><b>{escape(notice.headline)}</b></p>"]
    for recipient in notice.recipients:
        explanation = recipient.explanation_html or escape(recipient.explanation)
        parts.append(f"<p><b>{escape(recipient.display)}</b><br>\n{explanation}</p>")
    if _diagnosed(notice):
        parts.append(f"<hr>\n<p><b>{escape(labels.diagnostic_info)}</b></p>")
        parts.append(f"<p>{escape(labels.generating_server)} {escape(notice.generating_server)}</p>")
        for recipient in notice.recipients:
            lines = _attempts(recipient, labels)
            if recipient.remote_mta:
                lines.insert(0, f"{labels.receiving_server} {recipient.remote_mta}")
            parts.append("<p>" + "<br>\n".join(escape(line) for line in lines) + "</p>")
        parts.append(f"<p>{escape(labels.original_headers)}</p>\n<pre>{escape(_original_lines(notice))}</pre>")
    body = "\n".join(parts)
    head = '<meta http-equiv="Content-Type" content="text/html; charset=utf-8">'
    return f'<html lang="{notice.language}">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'


def _status(notice: Notice) -> bytes:
    """Return the machine-readable part: fields and their order as DSN-31 and DSN-32 have them."""
    shown = notice.with_diagnostics
    about_message = (
        ("Original-Envelope-Id", _line(notice.envid)),
        ("Reporting-MTA", f"dns;{_line(notice.reporting_mta)}"),
        ("Received-From-MTA", notice.received_from and shown and f"dns;{_line(notice.received_from)}"),
        ("Arrival-Date", notice.arrival_date),
    )
    lines = [f"{name}: {value}" for name, value in about_message if value]
    for recipient in notice.recipients:
        kind, original = recipient.original
        diagnostic = _line(recipient.diagnostic)
        fields = (
            ("Original-Recipient", original and _typed(kind, original)),
            ("Final-Recipient", _typed("rfc822", recipient.final or recipient.address)),
            ("Action", recipient.action),
            ("Status", recipient.status),
            ("Diagnostic-Code", diagnostic and shown and f"{recipient.diagnostic_type};{diagnostic}"),
            ("Remote-MTA", recipient.remote_mta and shown and f"dns;{_line(recipient.remote_mta)}"),
            ("Last-Attempt-Date", recipient.last_attempt),
            ("Will-Retry-Until", recipient.will_retry_until),
            ("X-Supplementary-Info", recipient.supplement and shown and f"<{_line(recipient.supplement)}>"),
            ("X-Display-Name", recipient.display != recipient.address and _words(recipient.display)),
        )
        lines += ["", *(f"{name}: {value}" for name, value in fields if value)]
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _returned(notice: Notice) -> bytes:
    """Return the last part. A header may be encoded, a whole message must not (RFC 6522 4, RFC 2046 5.2.1)."""
    content = notice.original_content
    if content is None:
        kind, data = b"text/rfc822-headers", notice.original_header
    else:
        kind, data = b"message/rfc822", content
    encoding = transfer_encoding(data)
    if content is None and encoding == "binary":
        encoding, data = "quoted-printable", _quoted(data.split(b"\r\n"))
    head = b"Content-Type: " + kind + b"\r\n"
    if encoding != "7bit":
        head += f"Content-Transfer-Encoding: {encoding}\r\n".encode()
    return head + b"\r\n" + data
