"""Addresses: SMTP mailboxes and addresses of other systems (FAX:…, X400:…), parsed, compared, never resolved."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

MAX_LOCAL = 315  # IM-11
MAX_DOMAIN = 255
MAX_ADDRESS = 571

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TYPE = re.compile(r"[A-Za-z0-9]{1,8}")
_ATOM = r"[^\x00-\x20\x7f-\x9f()<>@,;:\\\".\[\]]+"
_LOCAL = re.compile(rf'{_ATOM}(?:\.{_ATOM})*|"(?:[^"\\\x00-\x1f\x7f-\x9f]|\\[^\x00-\x1f\x7f-\x9f])*"')
_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?")
_LITERAL = re.compile(r"\[[0-9A-Za-z.:_-]+\]")


class AddressSyntaxError(ValueError):
    """Text that is not an address; args[0] says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedAddress:
    """An address with its type: SMTP, X400, FAX, SMS…"""

    type: str  # upper case
    value: str

    def __str__(self) -> str:
        return self.value if self.type == "SMTP" else f"{self.type}:{self.value}"


def split_smtp(address: str) -> tuple[str, str]:
    """Return local part and domain, split at the last @ (IM-7); the domain is "" when there is no @."""
    local, at, domain = address.rpartition("@")
    return (local, domain) if at else (address, "")


def has_controls(text: str) -> bool:
    """Tell whether text holds a C0 or C1 control character (IM-15)."""
    return _CONTROLS.search(text) is not None


def is_valid_smtp(address: str) -> bool:
    """Tell whether this is a mailbox of RFC 5321 or 6531 within the lengths of IM-11."""
    if len(address) > MAX_ADDRESS:
        return False
    local, domain = split_smtp(address)
    if not local or not domain or len(local) > MAX_LOCAL or len(domain) > MAX_DOMAIN:
        return False
    return _LOCAL.fullmatch(local) is not None and is_valid_domain(domain)


@lru_cache(maxsize=4096)
def is_valid_domain(domain: str) -> bool:
    """Tell whether this is a domain name (RFC 1035, or IDN) or an address literal."""
    if domain.startswith("["):
        return _LITERAL.fullmatch(domain) is not None
    if not domain or len(domain) > MAX_DOMAIN:
        return False
    labels = (domain.removesuffix(".") if domain.isascii() else normalize_domain(domain)).split(".")
    return all(len(label) <= 63 and _LABEL.fullmatch(label) is not None for label in labels)


@lru_cache(maxsize=4096)
def normalize_domain(domain: str) -> str:
    """Return the form domains are compared in: lower case A-labels, no trailing dot (AS-13).

    A domain that IDNA cannot express is only lower-cased.
    """
    plain = domain.removesuffix(".")
    if plain.isascii():
        return plain.lower()
    try:
        return plain.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return plain.lower()


def address_key(address: str) -> str:
    """Return the form in which SMTP addresses are compared and looked up: local part casefolded, domain normal."""
    local, at, domain = address.rpartition("@")
    return f"{local.casefold()}@{normalize_domain(domain)}" if at else address.casefold()


def parse_typed(text: str) -> TypedAddress:
    """Read `FAX:5551234`, the one-off form `Name [FAX:5551234]`, or a bare SMTP address.

    Raises AddressSyntaxError when it is none of them.
    """
    stripped = text.strip()
    if stripped.endswith("]") and "[" in stripped and ":" in stripped and "@[" not in stripped:
        stripped = stripped[stripped.index("[") + 1 : -1].strip()
    if has_controls(stripped):
        raise AddressSyntaxError("The address holds a control character.")
    kind, colon, value = stripped.partition(":")
    if colon and _TYPE.fullmatch(kind) and kind.upper() != "SMTP":
        if not value.strip():
            raise AddressSyntaxError("The address is empty.")
        return TypedAddress(type=kind.upper(), value=value)
    smtp = value.strip() if colon and kind.upper() == "SMTP" else stripped
    if not is_valid_smtp(smtp):
        raise AddressSyntaxError("This is neither an SMTP address nor TYPE:address.")
    return TypedAddress(type="SMTP", value=smtp)
