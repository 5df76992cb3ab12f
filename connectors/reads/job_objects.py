"""The objects of an operation: what was changed, what was left and why, what failed (QO-1, QO-2, QO-12)."""

from __future__ import annotations

from connectors import operation_words, queue_rows
from connectors.choices import JobScope
from connectors.models import BulkJob, JobTarget, QueueItem

LIMIT = 1000


def of(job: BulkJob, *, limit: int = LIMIT) -> list[dict[str, str]]:
    """Return the first objects of an operation: identity, outcome, before, after, why."""
    targets = list(JobTarget.objects.filter(job=job).order_by("pk")[:limit])
    items = QueueItem.objects.select_related("queue__node").in_bulk([target.item for target in targets])
    rows = []
    for target in targets:
        item = items.get(target.item)
        where = queue_rows.queue_identity(item.queue) if item is not None else job.queue_name or "*"
        is_queue = job.scope == JobScope.QUEUE
        rows.append(
            {
                "identity": job.queue_name if is_queue else f"{where}\\{target.message}",
                "outcome": target.outcome,
                "before": target.before,
                "after": target.after,
                "why": operation_words.why(target.why) if target.why else "",
            }
        )
    return rows
