"""Limits of a sender: size and recipients, checked once a message by the categorizer (QL-4 to QL-6, QL-20, QL-22).

Files are anonymous, so a mailbox limit never widens the organisation's: the most restrictive wins (QL-23).
Leaves to neighbours: limits of recipients and connectors (`routing`), of files (`intake`).
"""

from __future__ import annotations

from dataclasses import dataclass

from connectors.mail.address import TypedAddress
from connectors.transport.routing import Directory, DirectoryEntry, keys_of

EXEMPT_SOURCES = frozenset({"DSN"})  # QL-22
TOO_MANY_TEXT = "550 5.5.3 RESOLVER.ADR.RecipLimit; too many recipients"
TOO_LARGE_TEXT = "550 5.2.3 RESOLVER.RST.SendSizeLimit.Sender; message too large for this sender"


@dataclass(frozen=True, slots=True, kw_only=True)
class Excess:
    """A limit a message breaks: reply and source-context of its failures."""

    text: str
    context: str


def excess(
    mail_from: str, *, size: int, recipients: int, max_recipients: int, is_exempt: bool, directory: Directory
) -> Excess | None:
    """Return the limit a message breaks, or None.

    `max_recipients` is the organisation's; exempt messages are spared of sizes alone (QL-22).
    """
    sender = _mailbox(mail_from, directory)
    allowed = max_recipients
    if sender is not None and sender.max_recipients is not None:
        allowed = min(allowed, sender.max_recipients)
    if recipients > allowed:
        return Excess(text=TOO_MANY_TEXT, context="Recipients")
    if sender is None or sender.max_send_bytes is None or is_exempt:
        return None
    return Excess(text=TOO_LARGE_TEXT, context="Size") if size > sender.max_send_bytes else None


def _mailbox(mail_from: str, directory: Directory) -> DirectoryEntry | None:
    """Return the directory entry of a sender; None when it has none, or more than one."""
    if not mail_from:
        return None
    address = TypedAddress(type="SMTP", value=mail_from)
    found = [entry for key in keys_of(address) for entry in directory.get(key, ())]
    return found[0] if len(found) == 1 else None
