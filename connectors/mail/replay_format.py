"""Replay format: the injected block with the envelope, then the message.

The only container for a message on disk: Replay input, spool file, export and drop file are one format.
Rules: RP-2 to RP-5, RP-9 to RP-25, DSN-23 and DSN-24 (reading), DR-13 to DR-18 and RP-21 (writing), the Replay column of
HM-1 to HM-12. Values only; no file is touched.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from connectors.mail.address import is_valid_domain, is_valid_smtp
from connectors.mail.address_list import addresses
from connectors.mail.envelope import Envelope, Recipient
from connectors.mail.glued_exports import second_start
from connectors.mail.header import Field, Header, HeaderError, crlf, decode_text, split, unstuff
from connectors.mail.pickup_format import INJECTED, ORGANIZATION_PREFIXES, date_ok, priority
from connectors.mail.replay_path import read_path
from connectors.mail.verdict import BadRecipient, Draft, Fate, Rejection
from connectors.mail.xtext import xtext_decode, xtext_encode

CREATED_BY = "fcweb"
_TRUSTED = "MSExchange15"
_DROPPED = frozenset({"bcc", "return-path"})
_NO_IP = "0.0.0.0"  # noqa: S104 - RP-15: what an absent X-SourceIPAddress means, nothing is bound to it
_KEYWORD = re.compile(r"[A-Z0-9-]{1,32}")
_SENDER_KEYWORDS = frozenset({"BODY", "RET", "ENVID", "AUTH", "SIZE", "SMTPUTF8"})
_RECEIVER_KEYWORDS = frozenset({"NOTIFY", "ORCPT"})
_BODIES = frozenset({"7BIT", "8BITMIME", "BINARYMIME"})
_NOTIFY = frozenset({"SUCCESS", "FAILURE", "DELAY"})


@dataclass(slots=True)
class _Block:
    """What the injected block says."""

    sender: str | None = None
    sender_parameters: dict[str, str] = field(default_factory=dict)
    recipients: list[Recipient] = field(default_factory=list)
    bad: list[BadRecipient] = field(default_factory=list)
    created_by: str = ""
    helo_domain: str = ""
    source: str = ""
    source_ip: str = ""
    content_length: int | None = None  # as X-EndOfInjectedXHeaders states it (RP-24)
    warnings: list[str] = field(default_factory=list)


class _BadBlock(ValueError):
    def __init__(self, reason: str, offender: Field) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offender = offender


def read(data: bytes, *, trust_created_by: bool, unstuff_dots: bool = False) -> Draft | Rejection:
    """Judge a Replay file. Rules: RP-2 to RP-25 and the Replay column of file-interfaces 1.4."""
    try:
        header = split(data)
    except HeaderError as error:
        fate = Fate.WAIT if error.reason == "NO_BLANK_LINE" else Fate.BAD
        return Rejection(fate=fate, reason=error.reason, line=error.line, text=error.text)
    count = _block_length(header.fields)
    ordinary = header.fields[count:]
    facts = _Facts(header=header, ordinary=ordinary, data=data)
    misplaced = next((f for f in ordinary if f.name in {"x-sender", "x-receiver"}), None)
    try:
        block = _parse_block(header.fields[:count])
    except _BadBlock as error:
        return facts.reject(error.reason, error.offender)
    if block.sender is None and not block.recipients and misplaced is None:
        return facts.reject("NO_X_SENDER", header.fields[0] if header.fields else None)
    if misplaced is not None:
        return facts.reject("X_HEADER_ORDER", misplaced, block)
    if block.sender is None:
        return facts.reject("NO_X_SENDER", None, block)
    if not block.recipients and not block.bad:
        return facts.reject("NO_X_RECEIVER", None, block)
    second = facts.second_start(block.content_length)
    if second is not None:
        return facts.reject("CONCATENATED_EXPORT", facts.line_at(second), block)
    if not block.recipients:
        if not block.sender:
            return facts.reject("BAD_X_RECEIVER", None, block)
        return facts.reject("BAD_RECIPIENTS", None, block, fate=Fate.NOTICE)
    draft = _draft(facts, block, trusted=trust_created_by and block.created_by == _TRUSTED)
    return replace(draft, body=unstuff(draft.body)) if unstuff_dots else draft


def block(envelope: Envelope, *, content_bytes: int) -> bytes:
    """Write the injected block in the order real exports have. Rules: DR-15 to DR-18, RP-21, RP-24."""
    sender = [f"X-Sender: <{envelope.mail_from}>"]
    sender.extend(
        f"{name}={value}"
        for name, value in (
            ("BODY", envelope.body),
            ("RET", envelope.ret),
            ("ENVID", xtext_encode(envelope.envid)),
        )
        if value
    )
    if envelope.smtputf8:
        sender.append("SMTPUTF8")
    lines = [" ".join(sender)]
    for recipient in envelope.recipients:
        parts = [f"X-Receiver: <{recipient.address}>"]
        if recipient.notify:
            parts.append(f"NOTIFY={recipient.notify}")
        if recipient.orcpt:
            parts.append(f"ORCPT={recipient.orcpt}")
        lines.append(" ".join(parts))
    lines.append(f"X-CreatedBy: {CREATED_BY}")
    if envelope.helo_domain:
        lines.append(f"X-HeloDomain: {envelope.helo_domain}")
    if envelope.source:
        lines.append(f"X-Source: {envelope.source}")
    if envelope.source_ip:
        lines.append(f"X-SourceIPAddress: {envelope.source_ip}")
    lines.append(f"X-EndOfInjectedXHeaders: {content_bytes}")
    return "".join(f"{line}\r\n" for line in lines).encode("utf-8", "replace")


def read_block(data: bytes) -> tuple[Envelope, int]:
    """Read the block of a file written by `block`; return the envelope and where the content starts."""
    # At the start of a line: free text in the block, such as X-Source, may hold the same word.
    end = data.index(b"\nX-EndOfInjectedXHeaders:") + 1
    offset = data.index(b"\n", end) + 1
    parsed = _parse_block(split(data[:offset] + b"\r\n").fields)
    return _envelope(parsed), offset


def original_size(content: bytes) -> int | None:
    """Return the size a message had when it first entered the organisation, if its header says so (RT-10)."""
    try:
        fields = split(content).fields
    except HeaderError:
        return None
    value = next((f.value for f in fields if f.name == "x-ms-exchange-organization-originalsize"), b"").strip()
    return int(value) if value.isdigit() and len(value) < 19 else None


def without_org_headers(content: bytes) -> bytes:
    """Return the content without Organization and Forest fields (DR-13)."""
    header = split(content)
    kept = [f.raw for f in header.fields if not f.name.startswith(ORGANIZATION_PREFIXES)]
    return b"".join([*kept, b"\r\n", content[header.body_start :]])


def _block_length(fields: Sequence[Field]) -> int:
    """Return how many fields belong to the block: up to its end mark, or to the first other name (RP-16, RP-17)."""
    for number, item in enumerate(fields):
        if item.name == "x-endofinjectedxheaders":
            return number + 1
        if item.name not in INJECTED:
            return number
    return len(fields)


def _parse_block(fields: Sequence[Field]) -> _Block:
    result = _Block()
    for item in fields:
        text = decode_value(item.value)
        if item.name == "x-sender":
            if result.sender is not None:
                raise _BadBlock("BAD_X_SENDER", item)
            _read_sender(result, text, item)
        elif item.name == "x-receiver":
            _read_receiver(result, text)
        elif item.name == "x-createdby":
            if not text:
                raise _BadBlock("BAD_X_CREATEDBY", item)
            result.created_by = text
        elif item.name == "x-helodomain":
            if is_valid_domain(text):
                result.helo_domain = text
            else:
                result.warnings.append("BAD_HELO_DOMAIN")
        elif item.name == "x-source":
            result.source = text
        elif item.name == "x-sourceipaddress":
            if _is_ip(text):
                result.source_ip = text
            else:
                result.warnings.append("BAD_SOURCE_IP")
        elif item.name == "x-endofinjectedxheaders":
            if text.isascii() and text.isdigit() and len(text) < 19:
                result.content_length = int(text)
            else:
                result.warnings.append("BAD_END_MARK")
    return result


def decode_value(value: bytes) -> str:
    """Return a block value as text; it is never RFC 2047 as a whole."""
    return value.decode("utf-8", "replace").strip()


def _read_sender(result: _Block, text: str, item: Field) -> None:
    path, parameters = read_path(text)
    if path is None or (path and not _is_mailbox(path)):
        raise _BadBlock("BAD_X_SENDER", item)
    result.sender = path
    result.sender_parameters = parameters
    _warn_of_unknown(result, parameters, _SENDER_KEYWORDS)


def _read_receiver(result: _Block, text: str) -> None:
    path, parameters = read_path(text)
    words = parameters.get("NOTIFY", "").upper().split(",")
    notify = "NEVER" if "NEVER" in words else ",".join(word for word in dict.fromkeys(words) if word in _NOTIFY)
    orcpt = parameters.get("ORCPT", "")
    if orcpt and ";" not in orcpt:
        orcpt = f"rfc822;{orcpt}"
    orcpt = orcpt[:500]
    if path and _is_mailbox(path):
        _warn_of_unknown(result, parameters, _RECEIVER_KEYWORDS)
        result.recipients.append(Recipient(address=path, notify=notify, orcpt=orcpt))
    else:
        result.bad.append(BadRecipient(text=(path or text or "<>")[:500], notify=notify, orcpt=orcpt))


def _is_mailbox(path: str) -> bool:
    """Tell whether a path is a mailbox; bytes that were no UTF-8 name nobody."""
    return is_valid_smtp(path) and "\ufffd" not in path


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _warn_of_unknown(result: _Block, parameters: dict[str, str], known: frozenset[str]) -> None:
    """Name each parameter that is not followed, once (RP-20)."""
    for name in sorted(set(parameters) - known):
        warning = f"UNKNOWN_PARAMETER:{name if _KEYWORD.fullmatch(name) else '?'}"
        if warning not in result.warnings:
            result.warnings.append(warning)


def _envelope(parsed: _Block) -> Envelope:
    parameters = parsed.sender_parameters
    body = parameters.get("BODY", "").upper()
    ret = parameters.get("RET", "").upper()
    return Envelope(
        mail_from=parsed.sender or "",
        recipients=tuple(parsed.recipients),
        body=body if body in _BODIES else "",
        ret=ret if ret in {"HDRS", "FULL"} else "",
        envid=xtext_decode(parameters.get("ENVID", ""))[:100],
        auth=xtext_decode(parameters.get("AUTH", "")),
        smtputf8="SMTPUTF8" in parameters,
        created_by=parsed.created_by or "Unspecified",
        helo_domain=parsed.helo_domain,
        source=parsed.source,
        source_ip=parsed.source_ip,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """The file around the block."""

    header: Header
    ordinary: Sequence[Field]
    data: bytes

    def text(self, name: str) -> str:
        values = (decode_text(f.value) for f in self.ordinary if f.name == name)
        return next((text for text in values if text), "")

    def header_bytes(self) -> int:
        """Return the CRLF length of the ordinary header with its blank line: where RP-24 starts counting."""
        return sum(len(f.raw) for f in self.ordinary) + 2

    def second_start(self, declared: int | None) -> int | None:
        """Return where a second exported message begins (RP-25)."""
        return second_start(
            self.data, body_start=self.header.body_start, header_bytes=self.header_bytes(), declared=declared
        )

    def line_at(self, position: int) -> Field:
        """Return the line of the file that starts at `position`, for a rejection to point at."""
        raw = self.data[position : position + 200].split(b"\n", 1)[0]
        return Field(name="", raw=raw, value=raw, line=self.data.count(b"\n", 0, position) + 1)

    def sender(self) -> str:
        for name in ("sender", "from"):
            for item in self.ordinary:
                if item.name == name and (found := addresses(item.value)):
                    return found[0].address
        return ""

    def reject(
        self, reason: str, offender: Field | None, parsed: _Block | None = None, *, fate: Fate = Fate.BAD
    ) -> Rejection:
        envelope = _envelope(parsed or _Block())
        return Rejection(
            fate=fate,
            reason=reason,
            line=offender.line if offender else 0,
            text=offender.raw[:200].decode("utf-8", "replace") if offender else "",
            status="5.1.3" if fate is Fate.NOTICE else "",
            originator=envelope.mail_from,
            recipients=envelope.recipients,
            bad_recipients=tuple(parsed.bad) if parsed else (),
            message_id=self.text("message-id"),
            subject=self.text("subject"),
            sender=self.sender(),
            header=self.data[: self.header.body_start],
            ret=envelope.ret,
            envid=envelope.envid,
        )


def _draft(facts: _Facts, parsed: _Block, *, trusted: bool) -> Draft:
    """Make the header edits of the Replay column (HM-1 to HM-9)."""
    warnings = [*facts.header.warnings, *parsed.warnings]
    body = crlf(facts.data[facts.header.body_start :])
    dates = [f for f in facts.ordinary if f.name == "date"]
    has_date = date_ok(dates)
    kept = []
    has_org = False
    for item in facts.ordinary:
        if item.name in _DROPPED or (item.name == "message-id" and not decode_text(item.value)):
            continue
        if item.name in INJECTED:
            if "X_HEADER_REMOVED" not in warnings:
                warnings.append("X_HEADER_REMOVED")  # RP-18
            continue
        if item.name == "date" and not has_date:
            continue
        if item.name.startswith(ORGANIZATION_PREFIXES):
            if not trusted:
                continue
            has_org = True
        kept.append(item.raw)
    if parsed.content_length not in {None, facts.header_bytes() + len(body)}:
        warnings.append("LENGTH_DIFFERS")  # RP-24
    return Draft(
        envelope=replace(_envelope(parsed), source_ip=parsed.source_ip or _NO_IP),
        header_fields=tuple(kept),
        body=body,
        subject=facts.text("subject"),
        sender=facts.sender(),
        message_id=facts.text("message-id"),
        date_ok=has_date,
        has_org_headers=has_org,
        priority=priority(facts.text("x-priority")),
        bad_recipients=tuple(parsed.bad),
        warnings=tuple(warnings),
    )


def split_export(data: bytes) -> list[bytes]:
    """Cut a file of glued exports into its messages, in order; one element when there is only one. Rules: RP-24, RP-25.

    The parts hold every byte of the file; blank lines between two messages stay with the first.
    """
    parts = []
    while True:
        try:
            header = split(data)
            count = _block_length(header.fields)
            parsed = _parse_block(header.fields[:count])
        except (HeaderError, _BadBlock):
            break
        facts = _Facts(header=header, ordinary=header.fields[count:], data=data)
        second = facts.second_start(parsed.content_length)
        if second is None:
            break
        parts.append(data[:second])
        data = data[second:]
    return [*parts, data]
