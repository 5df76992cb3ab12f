"""RoutingTable from the database: the frozen snapshot that every routing decision reads.

`load` costs one tiny query while nothing changed (ConfigGeneration); `directory_for` one query a batch.
A new or changed connector is in the next decision, no process is restarted (DR-12).
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from threading import Lock

from django.conf import settings
from django.utils.translation import gettext as _

from connectors.choices import DirectoryKind
from connectors.errors import ConfigurationError
from connectors.mail.address import TypedAddress, normalize_domain
from connectors.mail.address_space import AddressSpace
from connectors.models import (
    AcceptedDomain,
    ConfigGeneration,
    DirectoryRecipient,
    ForeignConnector,
    Node,
    ProxyAddress,
)
from connectors.transport import routing

_CHUNK = 500
_lock = Lock()
_cache: dict[int, routing.RoutingTable] = {}


def local_name() -> str:
    """Return the name of the node of this host."""
    return settings.FCWEB_NODE or socket.gethostname()


def local_node() -> Node:
    """Return the node of this host; ConfigurationError when `setup` was never run here."""
    name = local_name()
    node = Node.objects.filter(name=name).first()
    if node is None:
        raise ConfigurationError(
            _("This server, %(name)s, is not set up: run “manage.py setup” first.") % {"name": name},
            code="NODE_UNKNOWN",
        )
    return node


def load(node: Node | None = None) -> routing.RoutingTable:
    """Return the table for `node` (default: this one), read anew after each configuration change (RT-52)."""
    node = node or local_node()
    generation = ConfigGeneration.current()
    with _lock:
        table = _cache.get(node.pk)
        if table is None or table.generation != generation:
            table = _cache[node.pk] = _read(node, generation)
        return table


def fresh(node: Node) -> routing.RoutingTable:
    """Return the table as this transaction sees it; never cached, so that a rolled back change leaves no trace."""
    return _read(node, ConfigGeneration.current())


def forget() -> None:
    """Drop cached tables; for processes whose database is replaced under them, such as tests."""
    with _lock:
        _cache.clear()


def _read(node: Node, generation: int) -> routing.RoutingTable:
    domains = list(AcceptedDomain.objects.all())
    connectors = ForeignConnector.objects.prefetch_related("address_spaces", "source_transport_servers")
    return routing.RoutingTable(
        generation=generation,
        accepted_domains=tuple(
            routing.AcceptedDomain(domain=d.domain, kind=routing.DomainKind(d.kind), is_default=d.is_default)
            for d in domains
        ),
        # Read anew: the caller's row may be older than this generation.
        max_receive_bytes=Node.objects.values_list("max_receive_bytes", flat=True).get(pk=node.pk),
        imcea_domains=frozenset(normalize_domain(d.domain) for d in domains if d.is_default or d.accepts_imcea),
        connectors=tuple(_entry(connector, node) for connector in connectors if connector.address_spaces.all()),
    )


def _entry(connector: ForeignConnector, node: Node) -> routing.ConnectorEntry:
    sources = list(connector.source_transport_servers.all())
    return routing.ConnectorEntry(
        guid=connector.guid,
        name=connector.name,
        kind=routing.ConnectorKind.FOREIGN,
        enabled=connector.enabled,
        in_scope=not connector.is_scoped_connector or any(source.site == node.site for source in sources),
        # Each node spools for itself, so a connector is usable here only when this node is among its sources.
        has_source=any(source.pk == node.pk for source in sources),
        max_message_bytes=connector.max_message_bytes,
        spaces=tuple(
            AddressSpace(type=space.type, space=space.space, cost=space.cost)
            for space in connector.address_spaces.all()
        ),
    )


def directory_for(addresses: Iterable[str], table: routing.RoutingTable) -> routing.Directory:
    """Return the directory entries a batch of recipients may need.

    Targets of contacts and members of groups are included (RT-1 to RT-3, MT-K).
    """
    wanted = {key for address in addresses for key in routing.lookup_keys(address, table)}
    found: dict[str, list[routing.DirectoryEntry]] = {}
    asked: set[str] = set()
    while wanted - asked:
        fresh = sorted(wanted - asked)
        asked.update(fresh)
        for start in range(0, len(fresh), _CHUNK):
            rows = ProxyAddress.objects.filter(key__in=fresh[start : start + _CHUNK])
            rows = rows.select_related("recipient__manager")
            members = _members(row.recipient for row in rows)
            for row in rows:
                entry = _directory_entry(row.recipient, members.get(row.recipient_id, ()))
                found.setdefault(row.key, []).append(entry)
                if entry.external is not None:
                    wanted.update(routing.keys_of(entry.external))
                for address in entry.members:
                    wanted.update(routing.keys_of(TypedAddress(type="SMTP", value=address)))
    return found


def _members(recipients: Iterable[DirectoryRecipient]) -> dict[int, list[str]]:
    """Return the primary addresses of the members of those recipients that are groups, in alphabetical order."""
    groups = {recipient.pk for recipient in recipients if recipient.kind == DirectoryKind.GROUP}
    found: dict[int, list[str]] = {}
    if groups:
        rows = DirectoryRecipient.members.through.objects.filter(from_directoryrecipient__in=groups)
        rows = rows.order_by("to_directoryrecipient__primary_address")
        columns = ("from_directoryrecipient", "to_directoryrecipient__primary_address")
        for group, address in rows.values_list(*columns):
            found.setdefault(group, []).append(address)
    return found


def _directory_entry(recipient: DirectoryRecipient, members: Sequence[str]) -> routing.DirectoryEntry:
    external = None
    if recipient.external_address:
        kind, colon, value = recipient.external_address.partition(":")
        external = (
            TypedAddress(type=kind.upper(), value=value)
            if colon and kind.upper() != "SMTP"
            else TypedAddress(type="SMTP", value=value if colon else kind)
        )
    return routing.DirectoryEntry(
        kind=routing.DirectoryKind(recipient.kind),
        name=recipient.name,
        primary=recipient.primary_address,
        external=external,
        max_send_bytes=recipient.max_send_bytes,
        max_receive_bytes=recipient.max_receive_bytes,
        max_recipients=recipient.max_recipients,
        members=tuple(members),
        reports_to=recipient.reports_to,
        manager=recipient.manager.primary_address if recipient.manager is not None else "",
    )
