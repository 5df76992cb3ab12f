"""Pickup format: a plain message whose header makes the envelope.

Rules: PU-23 to PU-32 (what a file must contain), PU-33 to PU-39 (encoding), PU-40 to PU-52 (outcomes), QL-1, QL-2, the Pickup
column of HM-1 to HM-12, A-9 (X-Sender and X-Receiver) and A-24 (From before Sender). Values only; no file is touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime

from connectors.mail.address_list import ParsedAddress, addresses
from connectors.mail.envelope import Envelope, Recipient
from connectors.mail.header import Field, Header, HeaderError, crlf, decode_text, split, unstuff
from connectors.mail.verdict import BadRecipient, Draft, Fate, Rejection

INJECTED = frozenset(
    [
        "x-sender",
        "x-receiver",
        "x-createdby",
        "x-helodomain",
        "x-extendedmessageprops",
        "x-extendedprops",
        "x-source",
        "x-sourceipaddress",
        "x-endofinjectedxheaders",
    ]
)
ORGANIZATION_PREFIXES = ("x-ms-exchange-organization-", "x-ms-exchange-forest-")
_DROPPED = frozenset({"received", "bcc", "return-path"})
_RESENT = frozenset(f"resent-{name}" for name in ("date", "from", "sender", "to", "cc", "bcc", "message-id"))
_RECIPIENT_FIELDS = {"to": "To", "cc": "Cc", "bcc": "Bcc"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PickupLimits:
    """Limits of Pickup alone (RP-2)."""

    max_header_bytes: int
    max_recipients: int


def read(
    data: bytes, *, limits: PickupLimits, unstuff_dots: bool = False, honour_x_receiver: bool = False
) -> Draft | Rejection:
    """Judge a dropped file: a draft, a rejection with a notice, or a bad file with its reason."""
    try:
        header = split(data)
    except HeaderError as error:
        if len(data) > limits.max_header_bytes and error.reason == "NO_BLANK_LINE":
            return _too_big(data, limits.max_header_bytes)
        fate = Fate.WAIT if error.reason == "NO_BLANK_LINE" else Fate.BAD
        return Rejection(fate=fate, reason=error.reason, line=error.line, text=error.text)
    if header.size > limits.max_header_bytes:
        return _too_big(data[: header.size], limits.max_header_bytes)
    return _Reading(header, data).judge(limits, unstuff_dots=unstuff_dots, honour=honour_x_receiver)


def _too_big(header: bytes, limit: int) -> Rejection:
    """Refuse an oversized header; the originator is looked for inside the limit. Rules: PU-40, PU-41, PU-52."""
    cut = header[: header.rfind(b"\n", 0, limit) + 1]
    try:
        reading = _Reading(split(cut + b"\r\n"), cut)
    except HeaderError:
        return Rejection(fate=Fate.BAD, reason="HEADER_TOO_BIG")
    export = reading.export_line()
    if export is not None:
        return reading.rejection(Fate.BAD, "EXPORT_IN_PICKUP", field=export)
    originator, _problem = reading.originator()
    if not originator or not reading.recipients:
        return Rejection(fate=Fate.BAD, reason="HEADER_TOO_BIG")
    rejection = reading.rejection(Fate.NOTICE, "HEADER_TOO_BIG", status="5.3.4", originator=originator)
    return replace(rejection, header=header)


class _Reading:
    """One file on its way to a verdict."""

    def __init__(self, header: Header, data: bytes) -> None:
        self.header = header
        self._data = data
        self._by_name: dict[str, list[Field]] = {}
        self._parsed: dict[str, list[ParsedAddress]] = {}
        for field in header.fields:
            self._by_name.setdefault(field.name, []).append(field)
        self.recipients, self.bad = _recipients(header.fields)

    def judge(self, limits: PickupLimits, *, unstuff_dots: bool, honour: bool) -> Draft | Rejection:
        """Apply PU-42 to PU-52 in turn; `honour` is option 3 of A-9."""
        export = self.export_line()
        if export is not None:
            return self.rejection(Fate.BAD, "EXPORT_IN_PICKUP", field=export)
        originator, problem = self.originator()
        recipients = self.recipients
        if honour:
            originator, recipients = self._honoured(originator, recipients)
            problem = "" if originator else problem
        if problem:
            reason = "BAD_RECIPIENTS_BAD_SENDER" if self.bad and not recipients else problem
            return self.rejection(Fate.BAD, reason, field=self._sender_field())
        if not recipients and not self.bad:
            return self.rejection(Fate.BAD, "NO_RECIPIENTS", originator=originator)
        if not recipients:
            return self.rejection(Fate.NOTICE, "BAD_RECIPIENTS", status="5.1.3", originator=originator)
        if len(recipients) + len(self.bad) > limits.max_recipients:
            return self.rejection(Fate.NOTICE, "TOO_MANY_RECIPIENTS", status="5.5.3", originator=originator)
        return self._draft(originator, recipients, unstuff_dots=unstuff_dots, honour=honour)

    def originator(self) -> tuple[str, str]:
        """Return the originator and "", or "" and why there is none. Rules: PU-24 to PU-26, PU-30."""
        senders = self._addresses("sender")
        froms = self._addresses("from")
        if len(senders) > 1:
            return "", "BAD_SENDER"
        chosen = froms[0] if len(froms) == 1 else senders[0] if senders else None
        if chosen is None:
            return "", "NO_SENDER"
        return (chosen.address, "") if chosen.ok else ("", "BAD_SENDER")

    def rejection(
        self, fate: Fate, reason: str, *, status: str = "", originator: str = "", field: Field | None = None
    ) -> Rejection:
        """Return a rejection with everything a notice or the Bad files page needs."""
        return Rejection(
            fate=fate,
            reason=reason,
            line=field.line if field else 0,
            text=field.raw[:200].decode("utf-8", "replace") if field else "",
            status=status,
            originator=originator,
            recipients=self.recipients,
            bad_recipients=self.bad,
            message_id=self._text("message-id"),
            subject=self._text("subject"),
            sender=self._display_sender(),
            header=self._data[: self.header.body_start],
        )

    def _draft(self, originator: str, recipients: tuple[Recipient, ...], *, unstuff_dots: bool, honour: bool) -> Draft:
        kept = []
        warnings = list(self.header.warnings)
        has_date = self._date_ok()
        if self._sender_differs():
            warnings.append("SENDER_DIFFERS")
        bcc_only = all(recipient.field == "Bcc" for recipient in recipients) and not self._text("to")
        for field in self.header.fields:
            if field.name in _DROPPED or field.name in _RESENT or field.name.startswith(ORGANIZATION_PREFIXES):
                continue
            if field.name in INJECTED:
                if not honour and "X_RECEIVER_IGNORED" not in warnings:
                    warnings.append("X_RECEIVER_IGNORED")
                continue
            if field.name == "message-id" and not decode_text(field.value):
                continue
            if field.name == "to" and bcc_only:
                continue  # empty: stamp writes it (HM-5)
            if field.name == "date" and not has_date:
                continue
            kept.append(field.raw)
        body = crlf(self._data[self.header.body_start :])
        return Draft(
            envelope=Envelope(
                mail_from=originator,
                recipients=recipients,
                smtputf8=not all(a.isascii() for a in (originator, *(r.address for r in recipients))),
            ),
            header_fields=tuple(kept),
            body=unstuff(body) if unstuff_dots else body,
            subject=self._text("subject"),
            sender=self._display_sender(),
            message_id=self._text("message-id"),
            date_ok=has_date,
            bcc_only=bcc_only,
            priority=priority(self._text("x-priority")),
            bad_recipients=self.bad,
            warnings=tuple(warnings),
        )

    def _honoured(self, originator: str, recipients: tuple[Recipient, ...]) -> tuple[str, tuple[Recipient, ...]]:
        """Add X-Sender and X-Receiver to the envelope, for .NET and IIS writers (A-9).

        Whoever stands in X-Receiver alone was a Bcc: those writers leave that field out of the file.
        """
        named = [p.address for p in self._addresses("x-sender") if p.ok]
        found = {_recipient_key(recipient.address): recipient for recipient in recipients}
        bad = {recipient.text: recipient for recipient in self.bad}
        for parsed in self._addresses("x-receiver"):
            if parsed.ok:
                recipient = Recipient(address=parsed.address, field="Bcc")
                found.setdefault(_recipient_key(parsed.address), recipient)
            else:
                bad.setdefault(parsed.address[:500], BadRecipient(text=parsed.address[:500]))
        self.bad = tuple(bad.values())
        return (named[0] if named else originator), tuple(found.values())

    def _sender_differs(self) -> bool:
        """Tell whether one From and one Sender name different mailboxes: Exchange follows From (A-24)."""
        senders, froms = self._addresses("sender"), self._addresses("from")
        return len(senders) == len(froms) == 1 and _recipient_key(senders[0].address) != _recipient_key(
            froms[0].address
        )

    def export_line(self) -> Field | None:
        """Return the field that marks an exported queue file: before the first ordinary field (PU-52)."""
        for field in self.header.fields:
            if field.name in {"x-endofinjectedxheaders", "x-createdby"}:
                return field
            if field.name not in INJECTED:
                return None
        return None

    def _addresses(self, name: str) -> list[ParsedAddress]:
        found = self._parsed.get(name)
        if found is None:
            found = [parsed for field in self._by_name.get(name, ()) for parsed in addresses(field.value)]
            self._parsed[name] = found
        return found

    def _sender_field(self) -> Field | None:
        fields = self._by_name.get("sender") or self._by_name.get("from")
        return fields[0] if fields else None

    def _display_sender(self) -> str:
        found = self._addresses("sender") or self._addresses("from")
        return found[0].address if found else ""

    def _text(self, name: str) -> str:
        return next((text for field in self._by_name.get(name, ()) if (text := decode_text(field.value))), "")

    def _date_ok(self) -> bool:
        return date_ok(self._by_name.get("date"))


def date_ok(fields: Sequence[Field] | None) -> bool:
    """Tell whether there is a Date that can be read (HM-7)."""
    if not fields:
        return False
    try:
        parsedate_to_datetime(fields[0].value.decode("ascii", "replace"))
    except (ValueError, TypeError, IndexError, OverflowError):
        return False
    return True


def priority(text: str) -> str:
    """Return High, Normal or Low for an X-Priority value (QR-60)."""
    digit = text[:1]
    return "High" if digit in {"1", "2"} else "Low" if digit in {"4", "5"} else "Normal"


def _recipients(fields: Sequence[Field]) -> tuple[tuple[Recipient, ...], tuple[BadRecipient, ...]]:
    """Return the union of To, Cc and Bcc; duplicates go on the exact address, domain case-folded (PU-31, PU-44)."""
    found: dict[str, Recipient] = {}
    bad: dict[str, BadRecipient] = {}
    for field in fields:
        kind = _RECIPIENT_FIELDS.get(field.name)
        if kind is None:
            continue
        for parsed in addresses(field.value):
            if parsed.ok:
                found.setdefault(_recipient_key(parsed.address), Recipient(address=parsed.address, field=kind))
            else:
                bad.setdefault(parsed.address[:500], BadRecipient(text=parsed.address[:500]))
    return tuple(found.values()), tuple(bad.values())


def _recipient_key(address: str) -> str:
    """Return what makes two recipients one: the exact local part, the domain without regard to case (PU-31)."""
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain.casefold()}"
