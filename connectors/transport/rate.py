"""Rate: how many files may be claimed now (PU-2, PU-3).

The claims themselves are the count, so cron runs, restarts and several processes share one budget.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Count, Q

from connectors.models import Node, SourceFile

_WINDOW = timedelta(seconds=60)
_POLL = timedelta(seconds=5)
_SHARES = 12  # polls in a window


def budget(node: Node, source: str, per_minute: int | None, *, now: datetime) -> int | None:
    """Return how many files may be claimed at `now`, or None when the rate is unlimited.

    Takes a lock on the node's row, so call it in the transaction that writes the claims. Rules: PU-2, PU-3.
    """
    if per_minute is None:
        return None
    Node.objects.select_for_update().get(pk=node.pk)
    share = -(-per_minute // _SHARES)
    recent = SourceFile.objects.filter(node=node, source=source, claimed_at__gt=now - _WINDOW)
    # Claims of Pickup and Replay alternate in the table, in key order: the newest few thousand hold the window.
    newest = SourceFile.objects.order_by("-id").values_list("id", flat=True).first() or 0
    counts = recent.filter(id__gt=newest - 50_000).aggregate(
        window=Count("id"), poll=Count("id", filter=Q(claimed_at__gt=now - _POLL))
    )
    return max(0, min(per_minute - int(counts["window"]), share - int(counts["poll"])))


def next_claim_at(node: Node, source: str, per_minute: int, *, now: datetime) -> datetime:
    """Return the next instant at which the budget can grow."""
    oldest_in_poll = (
        SourceFile.objects.filter(node=node, source=source, claimed_at__gt=now - _POLL)
        .order_by("id")
        .values_list("claimed_at", flat=True)
        .first()
    )
    return (oldest_in_poll or now) + _POLL
