"""Replay: messages that bring their envelope in X-headers: exports, answers of gateways (RP-1 to RP-25, FC-24, QL-3)."""

from __future__ import annotations

from pathlib import Path

from connectors import routing_table
from connectors.mail import replay_format
from connectors.mail.verdict import Draft, Rejection
from connectors.models import Node
from connectors.transport.intake import Door


def door(node: Node) -> Door | None:
    """Return the Replay door of a node, or None when Replay is off (RP-8)."""
    if not node.replay_directory_path:
        return None
    trusted = {int(uid) for uid in node.trusted_uids.split(",") if uid.strip().isdigit()}

    def read(data: bytes, owner_uid: int) -> Draft | Rejection:
        return replay_format.read(data, trust_created_by=owner_uid in trusted, unstuff_dots=node.replay_unstuff_dots)

    return Door(
        node=node,
        stage="Replay",
        directory=Path(node.replay_directory_path),
        per_minute=node.replay_max_messages_per_minute,
        reader=read,
        may_notify=lambda owner_uid, sender: True,  # whoever may write here is trusted with any envelope (RP-9)
        domain=routing_table.load(node).default_domain,
    )
