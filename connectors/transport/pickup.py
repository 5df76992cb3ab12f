"""Pickup: plain messages dropped by submitters; the header makes the envelope (PU-23 to PU-32).

The owner of a file decides which senders it may name and whose notices may leave (PU-63, PU-66, A-26).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from connectors import submitters
from connectors.mail import pickup_format
from connectors.mail.verdict import Draft, Fate, Rejection
from connectors.models import Node
from connectors.transport import refusals
from connectors.transport.intake import Door


def door(node: Node) -> Door | None:
    """Return the Pickup door of a node, or None when Pickup is off."""
    if not node.pickup_directory_path:
        return None
    limits = pickup_format.PickupLimits(
        max_header_bytes=node.pickup_max_header_bytes, max_recipients=node.pickup_max_recipients
    )

    known = submitters.load(node)

    def read(data: bytes, owner_uid: int) -> Draft | Rejection:
        result = pickup_format.read(
            data, limits=limits, unstuff_dots=node.unstuff_dots, honour_x_receiver=node.honour_x_receiver
        )
        sender = result.envelope.mail_from if isinstance(result, Draft) else result.originator
        if not sender or known.may_send(owner_uid, sender):
            return result
        if isinstance(result, Draft):
            return refusals.as_bad(result, "SENDER_NOT_ALLOWED")
        return replace(result, fate=Fate.BAD) if result.fate is Fate.NOTICE else result

    return Door(
        node=node,
        stage="Pickup",
        directory=Path(node.pickup_directory_path),
        per_minute=node.pickup_max_messages_per_minute,
        reader=read,
        may_notify=known.may_notify,
        domain=known.table.default_domain,
    )
