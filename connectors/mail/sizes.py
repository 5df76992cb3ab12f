"""Sizes as Exchange writes them: 2GB, 1500B, unlimited (FC-7, QL-24)."""

from __future__ import annotations

import re

_UNITS = {"": 1, "B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
# The tail is how Exchange shows a size: "2 GB (2,147,483,648 bytes)".
_SIZE = re.compile(r"(\d{1,18})\s*(B|KB|MB|GB|TB)?(?:\s*\(([\d,.\s]{1,30})bytes\))?", re.IGNORECASE)


class SizeError(ValueError):
    """Text that is not a size."""


def parse_size(text: str) -> int | None:
    """Return bytes, or None for `unlimited`; no unit means bytes, 1 KB is 1024; nothing is rounded (FC-7).

    `2 GB (2,147,483,648 bytes)`, the form Exchange prints, is read by its exact number.
    """
    stripped = text.strip()
    if stripped.lower() == "unlimited":
        return None
    match = _SIZE.fullmatch(stripped)
    if match is None:
        raise SizeError(f"{text!r} is not a size: write a number with B, KB, MB, GB or TB, or unlimited.")
    if match[3]:
        return int("".join(filter(str.isdigit, match[3])) or "0")
    return int(match[1]) * _UNITS[(match[2] or "").upper()]


def format_size(size: int | None) -> str:
    """Return the shortest exact form: 2GB, 1536KB, 1500B or unlimited."""
    if size is None:
        return "unlimited"
    for unit in ("TB", "GB", "MB", "KB"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return f"{size}B"


def with_attachments(size: int | None) -> str:
    """Return a limit of message size with what it admits of attachments: `10MB (about 7.5MB of attachments)` (QL-21)."""
    if size is None:
        return "unlimited"
    admitted = size * 3 / 4
    unit = next((name for name in ("TB", "GB", "MB", "KB") if admitted >= _UNITS[name]), "B")
    return f"{format_size(size)} (about {admitted / _UNITS[unit]:.3g}{unit} of attachments)"
