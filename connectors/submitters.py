"""Submitters: who may send as whom from Pickup, and whose notices may leave the organisation.

Rules: PU-63 (whoever writes to Pickup can send as anyone), PU-66 (uid -> allowed senders), A-26 (no notice to an
address outside that the submitter may not use: it would be backscatter).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from connectors import routing_table
from connectors.mail.address import address_key, split_smtp
from connectors.models import Node, SubmitterAddress
from connectors.transport.routing import RoutingTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitters:
    """The uid map of a node beside its accepted domains."""

    allowed: Mapping[int, frozenset[str]]  # uid -> address keys and "*@domain"
    table: RoutingTable

    def may_use(self, uid: int | None, address: str) -> bool:
        """Tell whether the map names this address for this uid."""
        known = self.allowed.get(uid) if uid is not None else None
        if not known:
            return False
        key = address_key(address)
        return key in known or f"*@{split_smtp(key)[1]}" in known

    def may_send(self, uid: int, address: str) -> bool:
        """Tell whether a file of this owner may name this sender; a uid that is not mapped may (PU-66)."""
        return uid not in self.allowed or self.may_use(uid, address)

    def may_notify(self, uid: int | None, address: str) -> bool:
        """Tell whether a notice may go to the sender of a Pickup file: always inside, outside when mapped (A-26)."""
        inside = self.table.domain_kind(split_smtp(address)[1]) is not None
        return inside or self.may_use(uid, address)


def load(node: Node) -> Submitters:
    """Return the map of a node: one query, and the routing table's own look."""
    found: dict[int, set[str]] = {}
    for uid, address in SubmitterAddress.objects.filter(node=node).values_list("uid", "address"):
        found.setdefault(uid, set()).add(address_key(address))
    return Submitters(allowed={uid: frozenset(keys) for uid, keys in found.items()}, table=routing_table.load(node))
