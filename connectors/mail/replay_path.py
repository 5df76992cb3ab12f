"""Replay path: the address of an X-Sender or X-Receiver with the parameters behind it (RP-9, RP-10, RP-13, RP-19)."""

from __future__ import annotations

import re

from connectors.mail.address_list import addresses

_EXTENDED_PROPS = re.compile(r";?\s*X-ExtendedProps=.*", re.IGNORECASE | re.DOTALL)


def read_path(text: str) -> tuple[str | None, dict[str, str]]:
    """Read `<a@b> K=V`, `a@b K=V` or `Name <a@b>`; the address is None when there is none, "" for the null sender.

    Rules: RP-9, RP-10, RP-19.
    """
    if text.startswith("<"):
        inside, closed, rest = text[1:].partition(">")
        return (inside.strip() if closed else None), _parameters(rest)
    if "<" in text and ">" in text:
        before, _, rest = text.rpartition(">")
        parsed = addresses(f"{before}>".encode())
        return (parsed[-1].address if parsed else None), _parameters(rest)
    address, _, rest = text.partition(" ")
    if address.startswith('"'):
        parsed = addresses(text.encode())
        return (parsed[0].address if parsed else None), {}
    return (address or None), _parameters(rest)


def _parameters(text: str) -> dict[str, str]:
    """Return the parameters by upper-case keyword, without X-ExtendedProps: it is the last and may be folded (RP-13)."""
    found = {}
    for word in _EXTENDED_PROPS.sub("", text).replace("; ", " ").split():
        name, _, value = word.partition("=")
        found[name.upper().lstrip(";")] = value.rstrip(";") if name.upper() in {"NOTIFY", "BODY", "RET"} else value
    return found
