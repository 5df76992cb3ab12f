"""Exchange dialect: New-, Set-, Get- and Remove-ForeignConnector lines, read as the shell reads them.

`parse` only reads; `connector exchange` does what a line says. Unknown parameters are errors that name their place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.utils.translation import gettext as _

from connectors import configuration
from connectors.configuration import ListChange
from connectors.errors import ConfigurationError
from connectors.mail.sizes import format_size
from connectors.models import ForeignConnector

_TOKEN = re.compile(
    r'\s*(?:(?P<quoted>"(?:[^"]|"")*"|\'(?:[^\']|\'\')*\')|(?P<mark>@\{|[,;={}])|(?P<word>[^\s"\',;={}]+))'
)
BOOLEANS = {"$true": True, "$false": False, "true": True, "false": False, "1": True, "0": False}
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
_SWITCHES = {"confirm": "Confirm", "force": "Force", "whatif": "WhatIf", "verbose": "Verbose"}
_IGNORED = frozenset({"domaincontroller"})  # a value that means nothing here
_PROPERTIES = {*_VALUES.values(), *_LISTS.values()}
_ACCEPTED = {"New": _PROPERTIES - {"Identity"}, "Set": _PROPERTIES, "Get": {"Identity"}, "Remove": {"Identity"}}
_TEXTS = (("Name", "name"), ("Comment", "comment"), ("DropDirectory", "drop_directory"))
_FLAGS = (
    ("Enabled", "enabled"),
    ("IsScopedConnector", "is_scoped_connector"),
    ("RelayDsnRequired", "relay_dsn_required"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One command line."""

    verb: str  # New, Set, Get or Remove
    values: dict[str, str]
    lists: dict[str, ListChange]
    what_if: bool = False
    confirm: bool | None = None  # None: not said; a Remove then asks


def parse(text: str) -> Line:
    """Read one line; raises ConfigurationError with the place of what is wrong.

    New takes the parameters Exchange's New has and, beyond it, those of Set: one step instead of two (FC-5).
    """
    tokens = []
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None:
            raise _invalid(_("this cannot be read"), at + 1)
        tokens.append((match["quoted"] or match["mark"] or match["word"], match.start(match.lastgroup or 0)))
        at = match.end()
    reader = _Reader(tokens)
    command = reader.take()
    verb = next((v for v in _VERBS if command.lower() == f"{v}-ForeignConnector".lower()), None)
    if verb is None:
        raise reader.error(_("“%(word)s” is not a foreign connector command") % {"word": command})
    values: dict[str, str] = {}
    lists: dict[str, ListChange] = {}
    switches: dict[str, bool] = {}
    positional = "Name" if verb == "New" else "Identity"
    while reader.more():
        word = reader.take()
        if not word.startswith("-"):
            if positional in values:
                raise reader.error(_("“%(word)s” stands without a parameter name") % {"word": word})
            values[positional] = _unquoted(word)
            continue
        name, colon, inline = word[1:].partition(":")
        key = name.lower()
        known = _LISTS.get(key) or _VALUES.get(key)
        if known in values or known in lists:
            raise reader.error(_("“%(word)s” stands twice") % {"word": word})
        if known is not None and known not in _ACCEPTED[verb]:
            raise reader.error(_("%(verb)s has no parameter “%(word)s”") % {"verb": command, "word": word})
        if key in _LISTS:
            lists[_LISTS[key]] = reader.entries()
        elif key in _VALUES:
            values[_VALUES[key]] = inline if colon and inline else _unquoted(reader.take())
        elif key in _SWITCHES:
            said = inline if colon and inline else reader.take() if colon else "$true"
            switches[_SWITCHES[key]] = reader.boolean(said)
        elif key in _IGNORED:
            if not (colon and inline):
                reader.take()
        else:
            raise reader.error(_("unknown parameter “%(word)s”") % {"word": word})
    return Line(
        verb=verb,
        values=values,
        lists=lists,
        what_if=switches.get("WhatIf", False),
        confirm=False if switches.get("Force") else switches.get("Confirm"),
    )


def columns(values: dict[str, str]) -> dict[str, object]:
    """Return columns and values for Exchange's property names; raises FC-E7 and EXCHANGE_LINE_INVALID."""
    found: dict[str, object] = {}
    for name, column in _TEXTS:
        if name in values:
            found[column] = "" if values[name].lower() == "$null" else values[name]
    if "DropDirectoryQuota" in values:
        found["drop_directory_quota"] = configuration.quota_size(values["DropDirectoryQuota"])
    if "MaxMessageSize" in values:
        found["max_message_bytes"] = configuration.message_size(values["MaxMessageSize"])
    for name, column in _FLAGS:
        if name in values:
            word = values[name].lower()
            if word not in BOOLEANS:
                text = _("%(name)s is $true or $false, not “%(word)s”") % {"name": name, "word": values[name]}
                raise ConfigurationError(text, code="EXCHANGE_LINE_INVALID")
            found[column] = BOOLEANS[word]
    return found


def properties(connector: ForeignConnector) -> dict[str, object]:
    """Return every property under Exchange's name, and ours beside them (FC 1.1)."""
    return {
        "Identity": connector.name,
        "Name": connector.name,
        "Guid": str(connector.guid),
        "AddressSpaces": [str(space) for space in connector.address_spaces.all()],
        "IsScopedConnector": connector.is_scoped_connector,
        "SourceTransportServers": [node.name for node in connector.source_transport_servers.all()],
        "Comment": connector.comment,
        "DropDirectory": connector.drop_directory or connector.name,
        "DropDirectoryQuota": format_size(connector.drop_directory_quota),
        "Enabled": connector.enabled,
        "MaxMessageSize": format_size(connector.max_message_bytes),
        "RelayDsnRequired": connector.relay_dsn_required,
        "Hold": connector.is_held,
        "OneRecipientPerFile": connector.one_recipient_per_file,
        "CollectWithinMinutes": connector.collect_within_minutes,
        "WhenCreated": connector.created_at.isoformat(),
        "WhenChanged": connector.changed_at.isoformat(),
    }


def _invalid(what: str, place: int) -> ConfigurationError:
    text = _("%(what)s (at character %(place)d)") % {"what": what, "place": place}
    return ConfigurationError(text, code="EXCHANGE_LINE_INVALID")


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
        return _invalid(what, self._tokens[max(0, self._next - 1)][1] + 1 if self._tokens else 1)

    def boolean(self, word: str) -> bool:
        """Read $true or $false."""
        if word.lower() not in BOOLEANS:
            raise self.error(_("write $true or $false, not “%(word)s”") % {"word": word})
        return BOOLEANS[word.lower()]

    def entries(self) -> ListChange:
        """Read `a,b` or `@{Add="a";Remove="b"}`."""
        if self.peek() != "@{":
            return ListChange(replace=self._comma_list())
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
        return ListChange(add=parts.get("add", ()), remove=parts.get("remove", ()))

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
