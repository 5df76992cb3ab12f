"""Configuration: how a foreign connector is made, changed and removed, for every front door (FC-1 to FC-17, FC-E1 to FC-E11).

Promises: one transaction a change, routing sees it at once, waiting messages are resolved again only when routing
decides otherwise (RT-52, RT-53), auditlog sees each saved object.
Leaves to neighbours: forms and commands only read input and show what is raised here; `rerouting` foretells.
"""

from __future__ import annotations

import unicodedata
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from connectors import drop_directory, event_log, routing_table
from connectors.errors import ConfigurationError
from connectors.event_log import Event
from connectors.mail import address_space
from connectors.mail.address_space import AddressSpaceError
from connectors.mail.sizes import SizeError, parse_size
from connectors.models import AddressSpace, ConfigGeneration, Connector, ForeignConnector, Node
from connectors.transport import routing

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Spaces:
    """Parsed address spaces; `is_scoped` when an entry carried the `Local:` prefix of 2007 (AS-40)."""

    entries: tuple[address_space.AddressSpace, ...]
    is_scoped: bool


def parse_spaces(entries: Sequence[str]) -> Spaces:
    """Read address space entries; raises FC-E4, FC-E5, FC-E6 naming the entry and its rule."""
    spaces: dict[str, address_space.AddressSpace] = {}
    is_scoped = False
    for entry in entries:
        try:
            space, scoped = address_space.parse_entry_scoped(entry)
        except AddressSpaceError as error:
            text = _("“%(entry)s”: %(why)s (%(rule)s)") % {"entry": entry, "why": error, "rule": error.rule}
            raise ConfigurationError(text, code=error.code, rule=error.rule) from error
        if space.key in spaces:
            text = _("“%(entry)s” stands twice.") % {"entry": entry}
            raise ConfigurationError(text, code="ADDRESS_SPACE_INVALID", rule="AS-8")
        is_scoped = is_scoped or scoped
        spaces[space.key] = space
    if not spaces:
        raise ConfigurationError(
            _("A connector needs at least one address space."), code="ADDRESS_SPACE_REQUIRED", rule="FC-E4"
        )
    return Spaces(entries=tuple(spaces.values()), is_scoped=is_scoped)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListChange:
    """A change of a list: the entries that replace it, or those added and removed (FC-6)."""

    replace: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.replace or self.add or self.remove)


def find(identity: str) -> ForeignConnector:
    """Return the connector with this name or GUID, or `Server\\Name`; raises FC-E3."""
    wanted = identity.strip()
    server, backslash, name = wanted.rpartition("\\")
    by_name = ForeignConnector.objects.filter(name_key=name_key(name))
    if backslash:
        by_name = by_name.filter(source_transport_servers__name__iexact=server)
    found = {connector.pk: connector for connector in by_name}
    try:
        by_guid = ForeignConnector.objects.filter(guid=uuid.UUID(wanted))
    except ValueError:
        by_guid = ForeignConnector.objects.none()
    found |= {connector.pk: connector for connector in by_guid}
    if not found:
        raise ConfigurationError(
            _("There is no connector “%(name)s”.") % {"name": identity}, code="CONNECTOR_NOT_FOUND", rule="FC-E3"
        )
    if len(found) > 1:
        raise ConfigurationError(
            _("“%(name)s” is the name of one connector and the GUID of another.") % {"name": identity},
            code="CONNECTOR_AMBIGUOUS",
            rule="FC-E3",
        )
    return next(iter(found.values()))


def source_nodes(names: Sequence[str]) -> list[Node]:
    """Return the named source servers, this one when none is named; raises FC-E10."""
    return [_node(name) for name in names] if names else [routing_table.local_node()]


def _node(name: str) -> Node:
    node = Node.objects.filter(name__iexact=name.strip()).first()
    if node is None:
        raise ConfigurationError(
            _("There is no server “%(name)s”.") % {"name": name}, code="SOURCE_SERVER_UNKNOWN", rule="FC-E10"
        )
    return node


LARGEST_RETURNED = 2_147_483_647  # QL-13


def size_in_range(text: str, *, low: int, high: int, shown_range: str) -> int | None:
    """Return bytes or None (unlimited) for a size as Exchange writes it; raises FC-E7, which prints the range."""
    try:
        size = parse_size(text)
    except SizeError:
        size = -1
    if size is not None and not low <= size <= high:
        raise ConfigurationError(
            _("“%(text)s” is not a size from %(range)s: write a number with B, KB, MB, GB or TB, or unlimited.")
            % {"text": text, "range": shown_range},
            code="SIZE_RANGE",
            rule="FC-E7",
        )
    return size


def message_size(text: str) -> int | None:
    """Read MaxMessageSize of a foreign connector: 0 to 2147483647 KB (FC 1.1, AM-3)."""
    return size_in_range(text, low=0, high=2_147_483_647 * 1024, shown_range="0B – 2147483647KB")


def organisation_size(text: str) -> int | None:
    """Read MaxSendSize or MaxReceiveSize of the organisation: to 2147482624 bytes, or unlimited (QL-4)."""
    return size_in_range(text, low=1, high=2_147_482_624, shown_range="1B – 2147482624B")


def mailbox_size(text: str) -> int | None:
    """Read MaxSendSize or MaxReceiveSize of a mailbox (QL-6)."""
    return size_in_range(text, low=1, high=2_147_483_647 * 1024, shown_range="1B – 2147483647KB")


def returned_size(text: str) -> int | None:
    """Read the largest original a notice returns whole: 0 to 2147483647 bytes (QL-13)."""
    return size_in_range(text, low=0, high=LARGEST_RETURNED, shown_range="0B – 2147483647B")


def quota_size(text: str) -> int | None:
    """Read DropDirectoryQuota: from 1 byte, without the ceiling of 2 GB (FC 1.1, A-20)."""
    return size_in_range(text, low=1, high=2**50, shown_range="1B – 1024TB")


Facts = tuple[object, ...]


def routing_facts(connector: ForeignConnector) -> Facts:
    """Return what routing decides by, as stored: a change of it re-resolves waiting messages (RT-52, RT-53)."""
    stored = ForeignConnector.objects.get(pk=connector.pk)
    return (
        stored.enabled,
        stored.is_scoped_connector,
        stored.max_message_bytes,
        stored.one_recipient_per_file,  # how copies are made is decided where routes are
        frozenset(stored.address_spaces.values_list("key", "cost")),
        frozenset(stored.source_transport_servers.values_list("pk", flat=True)),
    )


@transaction.atomic
def create(
    name: str,
    entries: Sequence[str],
    *,
    servers: Sequence[str] = (),
    fields: dict[str, object] | None = None,
) -> ForeignConnector:
    """Make a foreign connector, all in one step or with defaults to be set later (New-ForeignConnector, FC-5)."""
    trimmed = check_name(name)
    spaces = parse_spaces(entries)
    nodes = source_nodes(servers)
    connector = ForeignConnector(name=trimmed, name_key=name_key(trimmed), is_scoped_connector=spaces.is_scoped)
    for column, value in (fields or {}).items():
        setattr(connector, column, value)
    connector.save()
    connector.source_transport_servers.set(nodes)
    set_spaces(connector, spaces.entries)
    check_paths(connector)
    announce(connector, before=None)
    return connector


@transaction.atomic
def change(
    connector: ForeignConnector,
    fields: dict[str, object],
    *,
    spaces: ListChange | None = None,
    servers: ListChange | None = None,
) -> None:
    """Set columns and change the two lists (Set-ForeignConnector, FC-6)."""
    before = routing_facts(connector)
    old_name = connector.name
    if "name" in fields:
        fields = {**fields, "name": check_name(str(fields["name"]), besides=connector)}
        connector.name_key = name_key(str(fields["name"]))
    for column, value in fields.items():
        setattr(connector, column, value)
    if spaces:
        parsed = _changed_spaces(connector, spaces)
        connector.is_scoped_connector = connector.is_scoped_connector or parsed.is_scoped
        set_spaces(connector, parsed.entries)
    connector.save()
    if servers:
        connector.source_transport_servers.set(_changed_servers(connector, servers))
    check_paths(connector)
    announce(connector, before=before, old_name=old_name)


def _changed_spaces(connector: Connector, change: ListChange) -> Spaces:
    """Return the new address spaces; an entry to remove is named by type and space, its cost does not matter."""
    if change.replace:
        return parse_spaces(change.replace)
    removed = {space.key for space in parse_spaces(change.remove).entries} if change.remove else set()
    kept = [str(row) for row in connector.address_spaces.all() if row.key not in removed]
    if not change.add:
        return parse_spaces(kept)
    added = parse_spaces(change.add)
    replaced = {space.key for space in added.entries}
    left = [entry for entry in kept if address_space.parse_entry(entry).key not in replaced]
    merged = parse_spaces([*left, *(space.canonical for space in added.entries)])
    return Spaces(entries=merged.entries, is_scoped=added.is_scoped)


def _changed_servers(connector: Connector, change: ListChange) -> list[Node]:
    """Return the new source servers; a connector without any is legal and ignored by routing (RT-12)."""
    if change.replace:
        return source_nodes(change.replace)
    nodes = {node.pk: node for node in connector.source_transport_servers.all()}
    for name in change.remove:
        nodes.pop(_node(name).pk, None)
    for name in change.add:
        node = _node(name)
        nodes[node.pk] = node
    return list(nodes.values())


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


def announce(connector: ForeignConnector, *, before: Facts | None, old_name: str = "") -> None:
    """Let routing see a saved connector; `before` are its facts before the change, None for a new one.

    Waiting messages are resolved again when a fact changed (RT-52) and left alone otherwise (RT-53).
    The name is read with the table, so a new one starts a new generation without touching the queue.
    """
    if before is None or before != routing_facts(connector):
        ConfigGeneration.bump(connector)
    elif old_name != connector.name:
        ConfigGeneration.bump()
    now = timezone.now()
    if old_name and old_name != connector.name:
        event_log.clear_events((Event.SIZE_ZERO, *event_log.DROP_EVENTS), old_name, now=now)
    if connector.enabled and connector.max_message_bytes == 0:
        event_log.raise_event(Event.SIZE_ZERO, connector.name, "MaxMessageSize 0", now=now)
    else:
        event_log.clear_events((Event.SIZE_ZERO,), connector.name, now=now)


def check_paths(connector: ForeignConnector, *, nodes: Sequence[Node] | None = None) -> None:
    """Raise FC-E8, FC-E9 or FC-E11 for a drop directory that is unsafe or another enabled connector's (FC-17)."""
    for node in connector.source_transport_servers.all() if nodes is None else nodes:
        path = drop_directory.effective_path(connector, node).resolve()
        if not connector.enabled:
            continue
        others = ForeignConnector.objects.filter(enabled=True, source_transport_servers=node)
        for other in others.exclude(pk=connector.pk):
            try:
                taken = drop_directory.effective_path(other, node).resolve()
            except ConfigurationError:
                continue  # the other one is broken already, and says so on its own page
            if taken == path:
                text = _("%(path)s is the drop directory of “%(name)s”.") % {"path": path, "name": other.name}
                raise ConfigurationError(text, code="DROP_PATH_IN_USE", rule="FC-E11")


def warnings(connector: ForeignConnector, *, old_name: str = "") -> list[SavedWarning]:
    """Return what was saved but needs attention; `old_name` after a rename. Rules: FC-4, FC-8, FC-16, FC-W1, RT-24."""
    found = []
    if old_name and old_name != connector.name and not connector.drop_directory:
        text = _("The drop directory follows the name: it was “%(old)s” and is now “%(new)s”; the gateway must follow.")
        found.append(
            SavedWarning(code="DROP_DIR_RENAMED", text=text % {"old": old_name, "new": connector.name}),
        )
    if connector.enabled and connector.max_message_bytes == 0:
        text = _("The size limit 0 lets nothing through; disable the connector instead.")
        found.append(SavedWarning(code="SIZE_ZERO", text=text))
    for limited, space, other in routing.oversize_fallbacks(routing_table.fresh(routing_table.local_node())):
        if connector.name in {limited, other}:
            text = _("Mail for %(space)s that is too large for “%(limited)s” leaves by “%(other)s” instead.")
            words = {"space": space, "limited": limited, "other": other}
            found.append(SavedWarning(code="OVERSIZE_FALLBACK", text=text % words))
    for node in connector.source_transport_servers.all():
        path = drop_directory.effective_path(connector, node)
        if len(str(path)) > drop_directory.WINDOWS_PATH:
            text = _("%(path)s is longer than Windows allows (246 characters), should it be shared by SMB.")
            found.append(SavedWarning(code="DROP_PATH_LONG", text=text % {"path": path}))
        for step in drop_directory.check(connector, node):
            if step.state == "fail" and step.code in {"exists", "directory", "write"}:
                code = "DROP_DIR_MISSING" if step.code == "exists" else "DROP_DIR_ACCESS"
                found.append(SavedWarning(code=code, text=f"{step.text} {step.cure}".strip()))
    return found


@transaction.atomic
def remove(connector: ForeignConnector) -> None:
    """Delete a connector; its waiting messages are routed again (Remove-ForeignConnector, RT-52, QR-47)."""
    event_log.clear_events((Event.SIZE_ZERO, *event_log.DROP_EVENTS), connector.name, now=timezone.now())
    connector.delete()
    ConfigGeneration.bump()
