"""IMCEA: addresses of other systems carried inside SMTP addresses (connectors-routing 5; MS-OXCMAIL)."""

from __future__ import annotations

import re

from connectors.mail.address import (
    MAX_ADDRESS,
    MAX_LOCAL,
    TypedAddress,
    has_controls,
    normalize_domain,
    split_smtp,
)

_REFUSED_TYPES = frozenset({"SMTP", "X500"})
_KEPT = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-=")
_PREFIX = re.compile(r"IMCEA([A-Z0-9]{1,8})-", re.IGNORECASE)
_OCTET = re.compile(rb"\+([0-9A-Fa-f]{2})")


class ImceaError(ValueError):
    """An address that cannot be encapsulated or decapsulated; the recipient fails with `status`."""

    status = "5.1.3"


def encode(address: TypedAddress) -> str:
    """Return the local part that carries a non-SMTP address. Rules: IM-1 to IM-3, IM-11, IM-12, IM-20.

    Vectors: IM-V1 to IM-V19.
    """
    kind = address.type.upper()
    if kind in _REFUSED_TYPES:
        raise ImceaError(f"Addresses of type {kind} are not encapsulated.")
    if not address.value or has_controls(address.value):
        raise ImceaError("The address is empty or holds a control character.")
    encoded = "".join(
        chr(octet) if octet in _KEPT else "_" if octet == 0x2F else f"+{octet:02X}"
        for octet in address.value.encode("utf-8")
    )
    local = f"IMCEA{kind}-{encoded}"
    if len(local) > MAX_LOCAL:
        raise ImceaError(f"The encapsulated address is longer than {MAX_LOCAL} characters.")
    return local


def decode_local(local: str) -> TypedAddress | None:
    """Return the address a local part carries, or None when it carries none.

    Raises ImceaError for a type or content that is refused. Rules: IM-3 to IM-6, IM-11, IM-12, IM-15, IM-16, IM-20.
    Vectors: IM-D1 to IM-D12, IM-N1 to IM-N9.
    """
    match = _PREFIX.match(local)
    if match is None:
        return None
    kind = match[1].upper()
    if kind in _REFUSED_TYPES:
        raise ImceaError(f"Addresses of type {kind} are not accepted.")
    if len(local) > MAX_LOCAL:
        raise ImceaError(f"The encapsulated address is longer than {MAX_LOCAL} characters.")
    raw = local[match.end() :].encode("utf-8", "surrogatepass").replace(b"_", b"/")
    raw = _OCTET.sub(lambda octet: bytes([int(octet[1], 16)]), raw)
    try:
        value = raw.decode("utf-8")
    except UnicodeDecodeError:
        value = raw.decode("latin-1")
    if not value or has_controls(value):
        raise ImceaError("The address is empty or holds a control character.")
    return TypedAddress(type=kind, value=value)


def encapsulate(address: TypedAddress, domain: str) -> str:
    """Return the SMTP form of any address; `domain` is the default accepted domain (IM-9)."""
    if address.type == "SMTP":
        return address.value
    smtp = f"{encode(address)}@{domain}"
    if len(smtp) > MAX_ADDRESS:
        raise ImceaError(f"The encapsulated address is longer than {MAX_ADDRESS} characters.")
    return smtp


def decapsulate(smtp_address: str, imcea_domains: frozenset[str]) -> TypedAddress:
    """Return what an SMTP address stands for: itself, unless its domain is ours and it carries another.

    Rules: IM-7, IM-8, IM-9. Raises ImceaError like `decode_local`.
    """
    if smtp_address[:5].upper() == "IMCEA":
        local, domain = split_smtp(smtp_address)
        if normalize_domain(domain) in imcea_domains:
            carried = decode_local(local)
            if carried is not None:
                return carried
    return TypedAddress(type="SMTP", value=smtp_address)
