"""AddressList: the mailboxes of a From, To or Cc field, read by hand in linear time (RFC 5322 3.4).

Never raises and never nests: hostile input gives entries that are not `ok`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from connectors.mail.address import is_valid_smtp
from connectors.mail.header import decode_text

# One bare address: most fields hold nothing else, and reading it by hand costs twenty times as much.
_PLAIN = re.compile(rb"[A-Za-z0-9._+=-]+@[A-Za-z0-9.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedAddress:
    """One mailbox of a list."""

    display: str
    address: str  # as written, blanks around parts removed
    ok: bool  # a valid SMTP address


def addresses(value: bytes) -> list[ParsedAddress]:
    """Return the mailboxes of an address list, groups flattened. Rules: PU-31, PU-36, PU-44."""
    if _PLAIN.fullmatch(value) is not None:
        plain = value.decode("ascii")
        return [ParsedAddress(display="", address=plain, ok=is_valid_smtp(plain))]
    text = value.decode("utf-8", "replace")
    found = []
    for entry in _entries(text):
        display, address = _mailbox(entry)
        if address:
            shown = decode_text(display.strip().strip('"').encode("utf-8", "replace")) if display else ""
            # A replacement character stands for bytes that are no UTF-8: nobody knows which mailbox is meant.
            ok = is_valid_smtp(address) and "\ufffd" not in address
            found.append(ParsedAddress(display=shown, address=address, ok=ok))
    return found


def _entries(text: str) -> list[str]:
    """Cut a list at its top-level commas, comments removed, group names and semicolons dropped."""
    entries: list[str] = []
    current: list[str] = []
    quoted = escaped = angle = literal = False
    depth = 0
    for char in text:
        if escaped:
            escaped = False
            if not depth:
                current.append(char)
            continue
        if char == "\\":
            escaped = True
            if not depth:
                current.append(char)
        elif depth:
            depth += (char == "(") - (char == ")")
        elif char == '"' and not literal:
            quoted = not quoted
            current.append(char)
        elif quoted:
            current.append(char)
        elif char == "(":
            depth = 1
            current.append(" ")
        elif char in ",;" and not angle:
            entries.append("".join(current))
            current = []
        elif char == ":" and not angle and not literal:
            current = []  # the name of a group
        else:
            angle = char == "<" or (angle and char != ">")
            literal = char == "[" or (literal and char != "]")
            current.append(char)
    entries.append("".join(current))
    return [entry for entry in entries if entry.strip()]


def _mailbox(entry: str) -> tuple[str, str]:
    """Split one entry into display name and address."""
    start = _angle(entry)
    if start < 0:
        return "", _tight(entry)
    end = entry.find(">", start)
    inside = entry[start + 1 : end if end > start else len(entry)]
    if inside.lstrip().startswith("@") and ":" in inside:
        inside = inside.rpartition(":")[2]  # obsolete source route
    return entry[:start], _tight(inside)


def _angle(entry: str) -> int:
    """Return where the last `<` outside quotes stands, or -1."""
    quoted = escaped = False
    found = -1
    for position, char in enumerate(entry):
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == "<" and not quoted:
            found = position
    return found


def _tight(address: str) -> str:
    """Remove the blanks obsolete syntax allows around dots and @; blanks in words stay, so they are not valid."""
    stripped = address.strip()
    if '"' in stripped or " " not in stripped:
        return stripped
    for mark in ("@", "."):
        stripped = mark.join(part.strip() for part in stripped.split(mark))
    return stripped
