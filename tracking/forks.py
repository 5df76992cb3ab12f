"""Forks: the tracked message of a copy that was split off another (MTF-10, MTF-12, MT-K).

Promises: one read and one write a batch, in the caller's transaction. Leaves to neighbours: the TRANSFER event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fcweb import bulk
from tracking.choices import TrackedState
from tracking.models import TrackedMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """A copy about to be tracked."""

    parent: int  # key of the TrackedMessage it was split off
    internal_message_id: int
    return_path: str
    recipients: int


_COPIED = (
    "network_message_id",
    "message_id",
    "sender",
    "sender_key",
    "subject",
    "subject_key",
    "size",
    "directionality",
    "source",
)


def open_forks(forks: Sequence[Fork], *, at: datetime) -> list[int]:
    """Insert the tracked messages of copies; return their keys, same order."""
    parents = {
        row[0]: row[1:]
        for row in TrackedMessage.objects.filter(pk__in={f.parent for f in forks}).values_list("pk", *_COPIED)
    }
    keys = list(bulk.allocate_keys(TrackedMessage, len(forks)))
    own = ("internal_message_id", "return_path", "state", "recipients", "delivered", "failed", "first_at", "last_at")
    rows = [
        (
            key,
            *parents[fork.parent],
            fork.internal_message_id,
            fork.return_path,
            TrackedState.QUEUED.value,
            fork.recipients,
            0,
            0,
            at,
            at,
        )
        for key, fork in zip(keys, forks, strict=True)
    ]
    bulk.insert(TrackedMessage, ["id", *_COPIED, *own], rows)
    return keys
