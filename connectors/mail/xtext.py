"""xtext: how ESMTP parameters carry any text (RFC 3461 section 4; DSN-23)."""

from __future__ import annotations

import re

_ESCAPED = re.compile(rb"\+([0-9A-Fa-f]{2})")


def xtext_encode(text: str) -> str:
    """Keep printable ASCII but + and =; write every other octet of the UTF-8 form as +HH."""
    return "".join(
        chr(octet) if 33 <= octet <= 126 and octet not in b"+=" else f"+{octet:02X}" for octet in text.encode("utf-8")
    )


def xtext_decode(text: str) -> str:
    """Undo `xtext_encode`; an incomplete escape stays as it is, octets that are not UTF-8 read as Latin-1."""
    raw = _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), text.encode("utf-8", "replace"))
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
