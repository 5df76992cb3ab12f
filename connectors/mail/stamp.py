"""Stamp: what fcweb adds to an accepted message: Received, and what is missing (HM-2, HM-5 to HM-7, HM-13, HM-14)."""

from __future__ import annotations

from connectors.mail.verdict import Draft


def received_value(*, stage: str, host: str, queue_id: str, date: str) -> str:
    """Return the value of our own Received field; `stage` is Pickup or Replay (HM-13)."""
    return f"from {stage} by {host} with fcweb id {queue_id}; {date}"


def stamp(draft: Draft, *, received: str, message_id: str, date: str) -> bytes:
    """Return the content to store: header with our fields, blank line, body."""
    parts = [f"Received: {received}\r\n".encode("utf-8", "replace"), *draft.header_fields]
    if draft.bcc_only:
        parts.append(b"To: Undisclosed Recipients:;\r\n")
    if not draft.message_id:
        parts.append(f"Message-ID: {message_id}\r\n".encode("utf-8", "replace"))
    if not draft.date_ok:
        parts.append(f"Date: {date}\r\n".encode("ascii"))
    parts.extend((b"\r\n", draft.body))
    return b"".join(parts)
