"""Rate: how many files may be claimed now (PU-2, PU-3, QR-17).

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
    recent = SourceFile.objects.filter(
        id__gt=_last_before(now - _WINDOW), node=node, source=source, claimed_at__gt=now - _WINDOW
    )
    counts = recent.aggregate(window=Count("id"), poll=Count("id", filter=Q(claimed_at__gt=now - _POLL)))
    return max(0, min(per_minute - int(counts["window"]), share - int(counts["poll"])))


def _last_before(moment: datetime) -> int:
    """Return a key below which every claim is older than `moment`.

    Keys ascend with time, clocks of several nodes apart by less than a minute; a few steps by key, no scan.
    """
    claims = SourceFile.objects.order_by("-id")
    newest = claims.values_list("id", flat=True).first() or 0
    step = 1000
    while step < newest:
        found = claims.filter(id__lte=newest - step).values_list("id", "claimed_at").first()
        if found is None or found[1] <= moment - _WINDOW:
            return newest - step
        step *= 4
    return 0
