"""Pickup: plain messages dropped by submitters; the header makes the envelope (PU-23 to PU-32)."""

from __future__ import annotations

from pathlib import Path

from connectors import routing_table
from connectors.mail import pickup_format
from connectors.mail.verdict import Draft, Rejection
from connectors.models import Node
from connectors.transport.intake import Door


def door(node: Node) -> Door | None:
    """Return the Pickup door of a node, or None when Pickup is off."""
    if not node.pickup_directory_path:
        return None
    limits = pickup_format.PickupLimits(
        max_header_bytes=node.pickup_max_header_bytes, max_recipients=node.pickup_max_recipients
    )

    def read(data: bytes, owner_uid: int) -> Draft | Rejection:
        return pickup_format.read(
            data, limits=limits, unstuff_dots=node.unstuff_dots, honour_x_receiver=node.honour_x_receiver
        )

    return Door(
        node=node,
        stage="Pickup",
        directory=Path(node.pickup_directory_path),
        per_minute=node.pickup_max_messages_per_minute,
        reader=read,
        domain=routing_table.load(node).default_domain,
    )
