"""Glued exports: where a second exported message begins in a Replay file (RP-24, RP-25).

Exchange's export recipe names files by Message-ID and its writer appends, so two messages may share a file.
Linear in the size of the file; nothing is decoded.
"""

from __future__ import annotations

from io import BytesIO

_END_MARK = b"x-endofinjectedxheaders:"
_SENDER = b"x-sender:"


def second_start(data: bytes, *, body_start: int, header_bytes: int, declared: int | None) -> int | None:
    """Return the position of the second message's X-Sender line, None when the file holds one message.

    `declared` is the number after X-EndOfInjectedXHeaders: the CRLF length of the content, of which
    `header_bytes` are ordinary header and blank line. Rules: RP-25.
    """
    if declared is not None:
        position = _after_crlf_bytes(data, body_start, declared - header_bytes)
        if position is not None:
            while data[position : position + 1] in {b"\r", b"\n"}:
                position += 1
            if data[position : position + len(_SENDER)].lower() == _SENDER:
                return position
    # The blank line before the body is included, so that every line is preceded by a line feed.
    lowered = data[body_start - 1 :].lower()
    end = lowered.find(b"\n" + _END_MARK)
    # The last X-Sender line before the mark opens the block that the mark closes.
    opening = lowered.rfind(b"\n" + _SENDER, 0, end) if end >= 0 else -1
    return body_start + opening if opening >= 0 else None


def _after_crlf_bytes(data: bytes, start: int, count: int) -> int | None:
    """Return the position `count` bytes after `start`, counted as if every line ended in CRLF; None at the end."""
    if count < 0:
        return None
    tail = data[start:]
    if tail.count(b"\n") == tail.count(b"\r\n"):
        return start + count if count < len(tail) else None
    position = start
    for line in BytesIO(tail):
        length = len(line) + (line.endswith(b"\n") and not line.endswith(b"\r\n"))
        if count < length:
            return position + count
        count -= length
        position += len(line)
    return None
