"""Exchange dialect: New-, Set-, Get- and Remove-ForeignConnector lines, read as the shell reads them.

`parse` only reads; `connector exchange` does what a line says. Unknown parameters are errors that name their place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.utils.translation import gettext as _

from connectors.errors import ConfigurationError

_TOKEN = re.compile(
    r'\s*(?:(?P<quoted>"(?:[^"]|"")*"|\'(?:[^\']|\'\')*\')|(?P<mark>@\{|[,;={}])|(?P<word>[^\s"\',;={}]+))'
)
_VERBS = ("New", "Set", "Get", "Remove")
_LISTS = {"addressspaces": "AddressSpaces", "sourcetransportservers": "SourceTransportServers"}
_VALUES = {
    "name": "Name",
    "identity": "Identity",
    "comment": "Comment",
    "dropdirectory": "DropDirectory",
    "dropdirectoryquota": "DropDirectoryQuota",
    "maxmessagesize": "MaxMessageSize",
    "enabled": "Enabled",
    "isscopedconnector": "IsScopedConnector",
    "relaydsnrequired": "RelayDsnRequired",
}
_IGNORED = {"domaincontroller": True, "confirm": False, "force": False, "whatif": False}  # takes a value or not


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A list parameter: the entries that replace it, or those added and removed (FC-6)."""

    replace: tuple[str, ...] | None = None
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One command line."""

    verb: str  # New, Set, Get or Remove
    values: dict[str, str]
    lists: dict[str, Change]
    what_if: bool = False


def parse(text: str) -> Line:
    """Read one line; raises ConfigurationError with the place of what is wrong."""
    tokens = [
        (match["quoted"] or match["mark"] or match["word"], match.start(match.lastgroup or 0))
        for match in _TOKEN.finditer(text)
    ]
    reader = _Reader(tokens)
    command = reader.take()
    verb = next((v for v in _VERBS if command.lower() == f"{v}-ForeignConnector".lower()), None)
    if verb is None:
        raise reader.error(_("“%(word)s” is not a foreign connector command") % {"word": command})
    values: dict[str, str] = {}
    lists: dict[str, Change] = {}
    what_if = False
    while reader.more():
        word = reader.take()
        if not word.startswith("-"):
            values.setdefault("Name" if verb == "New" else "Identity", _unquoted(word))
            continue
        name, colon, inline = word[1:].partition(":")
        key = name.lower()
        if key in _LISTS:
            lists[_LISTS[key]] = reader.entries()
        elif key in _VALUES:
            values[_VALUES[key]] = inline if colon and inline else _unquoted(reader.take())
        elif key in _IGNORED:
            what_if = what_if or key == "whatif"
            if _IGNORED[key] or (colon and not inline):
                reader.take()
        else:
            raise reader.error(_("unknown parameter “%(word)s”") % {"word": word})
    return Line(verb=verb, values=values, lists=lists, what_if=what_if)


class _Reader:
    """The tokens of a line, one after the other."""

    def __init__(self, tokens: list[tuple[str, int]]) -> None:
        self._tokens = tokens
        self._next = 0

    def more(self) -> bool:
        return self._next < len(self._tokens)

    def peek(self) -> str:
        return self._tokens[self._next][0] if self.more() else ""

    def take(self) -> str:
        if not self.more():
            raise self.error(_("a value is missing"))
        self._next += 1
        return self._tokens[self._next - 1][0]

    def error(self, what: str) -> ConfigurationError:
        place = self._tokens[max(0, self._next - 1)][1] + 1 if self._tokens else 1
        text = _("%(what)s (at character %(place)d)") % {"what": what, "place": place}
        return ConfigurationError(text, code="EXCHANGE_LINE_INVALID")

    def entries(self) -> Change:
        """Read `a,b` or `@{Add="a";Remove="b"}`."""
        if self.peek() != "@{":
            return Change(replace=self._comma_list())
        self.take()
        parts: dict[str, tuple[str, ...]] = {}
        while self.peek() != "}":
            key = self.take().lower()
            if key == ";":
                continue
            if key not in {"add", "remove"} or self.take() != "=":
                raise self.error(_("write @{Add=…;Remove=…}"))
            parts[key] = self._comma_list()
        self.take()
        return Change(add=parts.get("add", ()), remove=parts.get("remove", ()))

    def _comma_list(self) -> tuple[str, ...]:
        found = [_unquoted(self.take())]
        while self.peek() == ",":
            self.take()
            found.append(_unquoted(self.take()))
        return tuple(found)


def _unquoted(word: str) -> str:
    if word[:1] in {'"', "'"}:
        return word[1:-1].replace(word[0] * 2, word[0])
    return word
