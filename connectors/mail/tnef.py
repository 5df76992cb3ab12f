"""TNEF: tells whether a message carries Outlook's own format, `winmail.dat`; it passes through untouched (DR-21)."""

from __future__ import annotations

import re

_SEARCHED = 64 * 1024  # bytes from the start; part headers further down are not looked for
_MARKS = (b"application/ms-tnef", b"winmail.dat")
_FIELD = re.compile(
    rb"^content-(?:type|disposition)[ \t]*:[^\r\n]*(?:\r?\n[ \t][^\r\n]*){0,20}", re.MULTILINE | re.IGNORECASE
)


def is_carried_by(content: bytes) -> bool:
    """Tell whether a Content-Type or Content-Disposition near the start names it; a mention in the text is none."""
    head = content[:_SEARCHED].lower()
    if not any(mark in head for mark in _MARKS):
        return False
    return any(mark in field[0] for field in _FIELD.finditer(head) for mark in _MARKS)
