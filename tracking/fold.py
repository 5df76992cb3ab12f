"""Fold: the caseless form in which addresses and subjects are stored beside their own, and compared.

The database cannot do it alike everywhere: SQLite ignores case in ASCII only, PostgreSQL by its locale.
"""

from __future__ import annotations

import unicodedata

_ADDRESS = 600  # width of the address_key, sender_key and AddressName.key columns
_SUBJECT = 1000


def fold(text: str) -> str:
    """Return a text without case, composed (NFC) and storable: no NUL, no lone surrogate."""
    if text.isascii():
        return text.lower().replace("\0", " ")
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return folded.encode("utf-8", "replace").decode().replace("\0", " ")


def address_key(address: str) -> str:
    """Return the stored key of an address."""
    return fold(address)[:_ADDRESS]


def subject_key(subject: str) -> str:
    """Return the stored key of a subject."""
    return fold(subject)[:_SUBJECT]


def like(pattern: str, text: str) -> bool:
    """Tell whether a text matches a pattern in which `*` stands for anything."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    if not text.startswith(first):
        return False
    position = len(first)
    *middle, last = rest
    for part in middle:
        found = text.find(part, position)
        if found < 0:
            return False
        position = found + len(part)
    return len(text) - position >= len(last) and text.endswith(last)
