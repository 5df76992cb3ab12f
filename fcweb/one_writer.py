"""One writer: SQLite has one and no queue for its lock; whoever writes batch after batch leaves the others room.

Waiting connections ask again at growing intervals, up to 100 ms: without a pause they find the lock free only by luck.
"""

from __future__ import annotations

import time

from django.db import connection

_PAUSE = 0.02  # seconds


def leave_room() -> None:
    """Pause after a committed batch where only one connection can write; elsewhere do nothing."""
    if connection.vendor == "sqlite":
        time.sleep(_PAUSE)
