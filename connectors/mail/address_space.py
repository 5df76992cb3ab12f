"""AddressSpace: what a connector serves, parsed, validated and matched with its specificity (AS-1 to AS-35)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from connectors.mail import wildcard, x400
from connectors.mail.address import TypedAddress, is_valid_domain, normalize_domain, split_smtp

Specificity = tuple[int, ...]  # greater is more specific; comparable inside one type only

_TYPE = re.compile(r"[A-Z0-9]{1,8}")
_LONGEST = 1000  # characters of a stored space
_COST = re.compile(r"\d{1,3}")


class AddressSpaceError(ValueError):
    """An entry that is not a valid address space.

    `code` is the configuration error (FC-E5, FC-E6), `rule` the AS rule, `entry` the text, `params` for messages.
    """

    def __init__(self, message: str, *, code: str, rule: str, entry: str, params: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.rule = rule
        self.entry = entry
        self.params = {"entry": entry, **(params or {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressSpace:
    """One entry, e.g. FAX:*;1."""

    type: str  # upper case
    space: str  # as written, outer blanks removed
    cost: int = 1
    key: str = field(init=False, compare=False)  # equal entries have equal keys, cost aside (AS-8)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", f"{self.type}:{_normal(self.type, self.space)}")

    @property
    def canonical(self) -> str:
        """Return the full form with type and cost."""
        return f"{self.type}:{self.space};{self.cost}"

    def matches(self, address: TypedAddress) -> Specificity | None:
        """Return how specifically this entry matches, or None. Rules: AS-10 to AS-22, AS-30 to AS-34."""
        if address.type != self.type:
            return None
        if self.type == "SMTP":
            return _match_domain(self.space, split_smtp(address.value)[1])
        if self.type == "X400":
            try:
                return x400.match(_x400(self.space), _x400(address.value))
            except x400.X400Error:
                return None
        return _match_text(self.space.casefold(), address.value.casefold())


def parse_entry(text: str) -> AddressSpace:
    """Read `[type:]space[;cost]`; raises AddressSpaceError. Rules: AS-1 to AS-5, AS-16, AS-17."""
    entry = text.strip()
    kind, colon, rest = entry.partition(":")
    kind, rest = (kind.strip().upper(), rest) if colon else ("SMTP", entry)
    if _TYPE.fullmatch(kind) is None:
        raise AddressSpaceError(
            f"The type {kind!r} is not 1 to 8 letters and digits.",
            code="ADDRESS_SPACE_INVALID",
            rule="AS-2",
            entry=entry,
        )
    space, cost = _split_cost(kind, rest, entry)
    result = AddressSpace(type=kind, space=space, cost=cost)
    _validate(result, entry)
    return result


def parse_entry_scoped(text: str) -> tuple[AddressSpace, bool]:
    """Read an entry that may carry the `Local:` prefix of 2007; return it and whether it was scoped (AS-40)."""
    stripped = text.strip()
    if stripped[:6].lower() == "local:":
        return parse_entry(stripped[6:]), True
    return parse_entry(stripped), False


def _split_cost(kind: str, rest: str, entry: str) -> tuple[str, int]:
    """Split at the last `;`; a non-SMTP space that holds one must carry its cost (AS-4, AS-5)."""
    space, semicolon, cost_text = rest.rpartition(";")
    if not semicolon:
        return rest.strip(), 1
    digits = cost_text.strip()
    if _COST.fullmatch(digits) and 1 <= int(digits) <= 100:
        return space.lstrip() if kind == "X400" else space.strip(), int(digits)
    if kind != "SMTP" and ("=" in cost_text or not digits):
        raise AddressSpaceError(
            "A space that holds ; needs its cost at the end, e.g. ;1.",
            code="ADDRESS_SPACE_COST_REQUIRED",
            rule="AS-5",
            entry=entry,
        )
    raise AddressSpaceError(
        f"The cost {digits!r} is not a whole number from 1 to 100.",
        code="ADDRESS_SPACE_COST_RANGE",
        rule="AS-4",
        entry=entry,
        params={"cost": digits},
    )


def _validate(space: AddressSpace, entry: str) -> None:
    def refuse(message: str, rule: str) -> AddressSpaceError:
        return AddressSpaceError(message, code="ADDRESS_SPACE_INVALID", rule=rule, entry=entry)

    if not space.space:
        raise refuse("The address space is empty.", "AS-8")
    if len(space.space) > _LONGEST:
        raise refuse(f"The address space is longer than {_LONGEST} characters.", "AS-8")
    if any(ord(c) < 32 or 127 <= ord(c) < 160 for c in space.space):
        raise refuse("The address space holds a control character.", "IM-15")
    if space.type == "SMTP":
        domain = space.space.removeprefix("*.")
        if space.space != "*" and ("*" in domain or domain.startswith("[") or not is_valid_domain(domain)):
            raise refuse(f"{space.space!r} is not a domain, *.domain or *.", "AS-3")
    elif space.type == "X400":
        try:
            x400.check_space(x400.parse(space.space))
        except x400.X400Error as error:
            raise refuse(str(error), "AS-16") from error
    elif space.type in {"X500"}:
        raise refuse("X500 addresses are resolved, never routed.", "IM-12")


def _normal(kind: str, space: str) -> str:
    if kind == "SMTP":
        wildcard = "*." if space.startswith("*.") else ""
        return wildcard + normalize_domain(space.removeprefix("*."))
    if kind == "X400":
        try:
            return ";".join(f"{name}={value.casefold()}" for name, value in sorted(_x400(space).items()))
        except x400.X400Error:
            return space.casefold()
    return space.casefold()


@lru_cache(maxsize=4096)
def _x400(text: str) -> dict[str, str]:
    return x400.parse(text)


def _match_domain(space: str, domain: str) -> Specificity | None:
    """Exact domain, then `*.suffix` with more labels, then `*` (AS-10 to AS-13, AS-32)."""
    if space == "*":
        return (0, 0)
    if not domain or domain.startswith("["):
        return None
    wanted = normalize_domain(space.removeprefix("*."))
    normal = normalize_domain(domain)
    if space.startswith("*."):
        return (1, wanted.count(".") + 1) if normal == wanted or normal.endswith("." + wanted) else None
    return (2, 0) if normal == wanted else None


def _match_text(space: str, value: str) -> Specificity | None:
    """No wildcard, then longer literal prefix, then more literal characters, then `*` (AS-20, AS-34)."""
    if "*" not in space:
        return (1, 0, 0) if space == value else None
    if not wildcard.matches(space, value):
        return None
    return (0, space.index("*"), len(space.replace("*", "")))
