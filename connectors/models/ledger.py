"""LedgerCheck: how far the daily check of the ledger has come on one server (MT-1)."""

from __future__ import annotations

from django.db import models

from connectors.models.node import Node


class LedgerCheck(models.Model):
    """One row a server; a check is running while `started_at` is set."""

    node = models.OneToOneField(Node, on_delete=models.CASCADE, related_name="ledger_check")
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField()  # of the last one; on a fresh server, when it was first thought of
    message_cursor = models.BigIntegerField(default=0)  # checked up to this message
    tracked_cursor = models.BigIntegerField(default=0)  # then up to this tracked message
    found = models.PositiveIntegerField(default=0)  # violations of this check so far
    detail = models.CharField(max_length=1000, blank=True)  # the first of them, one a line

    def __str__(self) -> str:
        return f"{self.node}: {self.found}"
