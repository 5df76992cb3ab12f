"""Configuration: how a foreign connector is made, changed and removed, for every front door (FC-1 to FC-17, FC-E1 to FC-E11).

Promises: one transaction a change, routing sees it at once (RT-52), auditlog sees each saved object.
Leaves to neighbours: forms and commands only read input and show what is raised here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.utils.translation import gettext as _

from connectors import drop_directory, routing_table
from connectors.choices import ItemState
from connectors.errors import ConfigurationError
from connectors.mail import address_space
from connectors.mail.address_space import AddressSpaceError
from connectors.models import AddressSpace, ConfigGeneration, Connector, ForeignConnector, Node, QueueItem

_FORBIDDEN = set('/\\:*?"<>|')


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedWarning:
    """Something saved all the same that an administrator should know. Rules: FC-W1, FC-8."""

    code: str
    text: str


def name_key(name: str) -> str:
    """Return the form names are compared in (FC-2, RT-16)."""
    return unicodedata.normalize("NFC", name).casefold()


def check_name(name: str, *, besides: Connector | None = None) -> str:
    """Return the trimmed name; raises FC-E1 or FC-E2."""
    trimmed = name.strip()
    bad = not 1 <= len(trimmed) <= 64 or _FORBIDDEN & set(trimmed) or trimmed.strip(".") != trimmed
    if bad or not trimmed.isprintable():
        raise ConfigurationError(
            _('A name has 1 to 64 characters, none of / \\ : * ? " < > |, and no dot at its ends.'),
            code="CONNECTOR_NAME_INVALID",
            rule="FC-E1",
        )
    others = Connector.objects.filter(name_key=name_key(trimmed))
    if besides is not None:
        others = others.exclude(pk=besides.pk)
    if others.exists():
        raise ConfigurationError(
            _("There is a connector named “%(name)s” already.") % {"name": trimmed},
            code="CONNECTOR_NAME_EXISTS",
            rule="FC-E2",
        )
    return trimmed


def parse_spaces(entries: Sequence[str]) -> list[address_space.AddressSpace]:
    """Read address space entries; raises FC-E4, FC-E5, FC-E6 naming the entry and its rule."""
    spaces: dict[str, address_space.AddressSpace] = {}
    for entry in entries:
        try:
            space, _scoped = address_space.parse_entry_scoped(entry)
        except AddressSpaceError as error:
            text = _("“%(entry)s”: %(why)s (%(rule)s)") % {"entry": entry, "why": error, "rule": error.rule}
            raise ConfigurationError(text, code=error.code, rule=error.rule) from error
        if space.key in spaces:
            text = _("“%(entry)s” stands twice.") % {"entry": entry}
            raise ConfigurationError(text, code="ADDRESS_SPACE_INVALID", rule="AS-8")
        spaces[space.key] = space
    if not spaces:
        raise ConfigurationError(
            _("A connector needs at least one address space."), code="ADDRESS_SPACE_REQUIRED", rule="FC-E4"
        )
    return list(spaces.values())


def find(name: str) -> ForeignConnector:
    """Return the connector with this name or GUID; raises FC-E3."""
    found = ForeignConnector.objects.filter(name_key=name_key(name.strip())).first()
    if found is None:
        found = next((c for c in ForeignConnector.objects.all() if str(c.guid) == name.strip().lower()), None)
    if found is None:
        raise ConfigurationError(
            _("There is no connector “%(name)s”.") % {"name": name}, code="CONNECTOR_NOT_FOUND", rule="FC-E3"
        )
    return found


def source_nodes(names: Sequence[str]) -> list[Node]:
    """Return the named source servers, this one when none is named; raises FC-E10."""
    if not names:
        return [routing_table.local_node()]
    nodes = []
    for name in names:
        node = Node.objects.filter(name__iexact=name).first()
        if node is None:
            raise ConfigurationError(
                _("There is no server “%(name)s”.") % {"name": name}, code="SOURCE_SERVER_UNKNOWN", rule="FC-E10"
            )
        nodes.append(node)
    return nodes


@transaction.atomic
def create(name: str, entries: Sequence[str], *, servers: Sequence[str] = (), comment: str = "") -> ForeignConnector:
    """Make a foreign connector (New-ForeignConnector)."""
    trimmed = check_name(name)
    spaces = parse_spaces(entries)
    nodes = source_nodes(servers)
    connector = ForeignConnector(name=trimmed, name_key=name_key(trimmed), comment=comment)
    connector.save()
    connector.source_transport_servers.set(nodes)
    set_spaces(connector, spaces)
    check_paths(connector)
    ConfigGeneration.bump(connector)
    return connector


@transaction.atomic
def change(connector: ForeignConnector, fields: dict[str, object], *, spaces: Sequence[str] | None = None) -> None:
    """Set columns and, when given, replace the address spaces (Set-ForeignConnector)."""
    if "name" in fields:
        fields["name"] = check_name(str(fields["name"]), besides=connector)
        connector.name_key = name_key(str(fields["name"]))
    for column, value in fields.items():
        setattr(connector, column, value)
    connector.save()
    if spaces is not None:
        set_spaces(connector, parse_spaces(spaces))
    check_paths(connector)
    ConfigGeneration.bump(connector)


def set_spaces(connector: Connector, spaces: Sequence[address_space.AddressSpace]) -> None:
    """Make these the connector's address spaces; only what differs is touched (FC-6)."""
    wanted = {space.key: space for space in spaces}
    for row in list(connector.address_spaces.all()):
        space = wanted.pop(row.key, None)
        if space is None:
            row.delete()
        elif row.cost != space.cost:
            row.cost = space.cost
            row.save(update_fields=["cost"])
    for space in wanted.values():
        AddressSpace.objects.create(
            connector=connector, type=space.type, space=space.space, cost=space.cost, key=space.key
        )


def check_paths(connector: ForeignConnector) -> None:
    """Raise FC-E8, FC-E9 or FC-E11 for a drop directory that is unsafe or another connector's."""
    for node in connector.source_transport_servers.all():
        path = drop_directory.effective_path(connector, node).resolve()
        for other in ForeignConnector.objects.filter(enabled=True, source_transport_servers=node).exclude(
            pk=connector.pk
        ):
            if connector.enabled and drop_directory.effective_path(other, node).resolve() == path:
                text = _("%(path)s is the drop directory of “%(name)s”.") % {"path": path, "name": other.name}
                raise ConfigurationError(text, code="DROP_PATH_IN_USE", rule="FC-E11")


def warnings(connector: ForeignConnector) -> list[SavedWarning]:
    """Return what was saved but will not work yet. Rules: FC-W1, FC-8."""
    found = []
    if connector.enabled and connector.max_message_bytes == 0:
        text = _("The size limit 0 lets nothing through; disable the connector instead.")
        found.append(SavedWarning(code="SIZE_ZERO", text=text))
    for node in connector.source_transport_servers.all():
        for step in drop_directory.check(connector, node):
            if step.state == "fail" and step.code in {"exists", "directory", "write"}:
                code = "DROP_DIR_MISSING" if step.code == "exists" else "DROP_DIR_ACCESS"
                found.append(SavedWarning(code=code, text=f"{step.text} {step.cure}".strip()))
    return found


def waiting(connector: Connector) -> int:
    """Return how many messages wait for a connector; shown before it is removed (FC-22)."""
    return QueueItem.objects.filter(
        queue__next_hop_connector=connector.guid, state__in=[ItemState.READY, ItemState.STAGING, ItemState.STAGED]
    ).count()


@transaction.atomic
def remove(connector: ForeignConnector) -> None:
    """Delete a connector; its waiting messages are routed again (Remove-ForeignConnector, QR-47)."""
    connector.delete()
    ConfigGeneration.bump()
