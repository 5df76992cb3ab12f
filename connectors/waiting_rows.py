"""Waiting rows: which rows a filter means in a queue, whatever kind it is (QO-1, QA-10).

Delivery queues, Unreachable and Poison hold copies (queue_rows), Submission holds messages (submission_rows). Pages,
exports, commands and jobs ask here, so they mean the same set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from django.db.models import QuerySet

from connectors import queue_rows, submission_rows
from connectors.models import Node, Queue
from connectors.queue_filter import Filter


class Rows(Protocol):
    """What both modules offer; `Any` is QueueItem or Message, and keys are theirs."""

    def listed(
        self, wanted: Filter, *, node: Node | None = None, queue: int | None = None, last_item: int | None = None
    ) -> QuerySet[Any]:
        """Return the rows that a filter means, unordered."""

    def ordered(self, rows: QuerySet[Any], order: Sequence[tuple[str, bool]]) -> QuerySet[Any]:
        """Sort by properties."""

    def with_facts(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Add what the properties read."""

    def keys_after(self, rows: QuerySet[Any], key: int, *, limit: int) -> list[int]:
        """Return the first keys above a key, ascending."""

    def keys_before(self, rows: QuerySet[Any], key: int, *, limit: int) -> list[int]:
        """Return the last keys below a key, ascending."""

    def count(self, rows: QuerySet[Any], *, cap: int | None = None) -> int:
        """Return how many rows are listed; counting stops at `cap`."""

    def newest_item(self) -> int:
        """Return the bound of a snapshot taken now."""


def of(queue: Queue | None) -> Rows:
    """Return where the rows of a queue are; None is every queue that copies wait in."""
    return submission_rows if queue is not None and queue.is_submission else queue_rows
