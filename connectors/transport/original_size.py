"""Original size: the size routing and couriers judge a message by that a trusted source marked (RT-10, DR-22)."""

from __future__ import annotations

from pathlib import Path

from connectors import spool
from connectors.mail import replay_format

_HEAD_BYTES = 256 * 1024


def routing_size(spool_dir: Path, *, spool_name: str, offset: int, size: int) -> int:
    """Return the lower of the present size and X-MS-Exchange-Organization-OriginalSize.

    Reads the head of the content file: call it only for messages that kept organisation headers, which are rare.
    """
    raw = spool.read_head(spool_dir, spool_name, offset + _HEAD_BYTES)
    original = replay_format.original_size(raw[offset:])
    return size if original is None else min(original, size)
