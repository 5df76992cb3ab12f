"""X.400 O/R addresses and address spaces as attribute lists (AS-14 to AS-19, RFC 1685)."""

from __future__ import annotations

import re

from connectors.mail import wildcard

# Attributes allowed in an address space, shallow to deep, with their longest value (AS-17).
SPACE_LENGTHS = {"c": 3, "a": 16, "p": 16, "o": 64, "ou1": 32, "ou2": 32, "ou3": 32, "ou4": 32}
_SYNONYMS = {
    "country": "c",
    "admd": "a",
    "prmd": "p",
    "ou": "ou1",
    "surname": "s",
    "givenname": "g",
    "initials": "i",
    "generation": "q",
}
_CHARACTERS = re.compile(r"[A-Za-z0-9 '()+,\-./:=?*]*")
_COUNTRY = re.compile(r"[A-Za-z]{2}|[0-9]{3}")


class X400Error(ValueError):
    """An attribute list that cannot be read or is not allowed; args[0] says why."""


def parse(text: str) -> dict[str, str]:
    """Read `c=US;a= ;p=X;` or `/C=US/A= /P=X/` into attributes; outer blanks go, a blank ADMD stays " " (AS-18)."""
    stripped = text.strip(" ") if not text.endswith("= ") else text.lstrip(" ")
    separator = "/" if stripped.startswith("/") else ";"
    attributes: dict[str, str] = {}
    for part in stripped.split(separator):
        if not part.strip():
            continue
        label, equals, value = part.partition("=")
        if not equals:
            raise X400Error(f"{part!r} is not an attribute=value pair.")
        name = label.strip().lower()
        name = _SYNONYMS.get(name, name)
        if name in attributes:
            raise X400Error(f"The attribute {name} stands twice.")
        kept = " ".join(value.split())
        attributes[name] = kept or (" " if name == "a" and value else kept)
    if not attributes:
        raise X400Error("There is no attribute.")
    return attributes


def check_space(attributes: dict[str, str]) -> None:
    """Raise X400Error unless the attributes make an address space. Rules: AS-16, AS-17."""
    for name, value in attributes.items():
        longest = SPACE_LENGTHS.get(name)
        if longest is None:
            raise X400Error(f"The attribute {name} is not allowed in an address space.")
        if len(value) > longest:
            raise X400Error(f"The value of {name} is longer than {longest} characters.")
        if _CHARACTERS.fullmatch(value) is None:
            raise X400Error(f"The value of {name} holds a character X.400 does not know.")
    for name in ("c", "a"):
        if not attributes.get(name):
            raise X400Error(f"The attribute {name} is required.")
    if _COUNTRY.fullmatch(attributes["c"]) is None and "*" not in attributes["c"]:
        raise X400Error("The country is two letters or three digits.")


def match(space: dict[str, str], address: dict[str, str]) -> tuple[int, int, int] | None:
    """Return how specifically a space matches an address, or None. Rules: AS-15, AS-19, AS-33.

    The tuple grows with specificity: literal attributes, literal characters of wildcarded ones, depth.
    """
    literal = 0
    partial = 0
    depth = 0
    order = list(SPACE_LENGTHS)
    for name, wanted in space.items():
        if "*" in wanted:
            if not wildcard.matches(wanted.casefold(), address.get(name, "").casefold()):
                return None
            partial += len(wanted.replace("*", ""))
        elif name not in address or address[name].casefold() != wanted.casefold():
            return None
        else:
            literal += 1
        depth = max(depth, order.index(name))
    return literal, partial, depth
