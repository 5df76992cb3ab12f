"""BulkJob and JobTarget: one operation of a person on queues or queued messages, and what it did to each (QO-1, QO-12)."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from connectors.choices import JobScope, JobState, Outcome, Verb
from connectors.models.node import Node
from connectors.models.queue import Queue


class BulkJob(models.Model):
    """One operation. Work on messages is cut into batches; `cursor` is the last item looked at, committed with each.

    The set is fixed by `filter_text`, `queue` and `last_item`: items that came later are never touched. In Submission
    nothing is an item yet: keys are those of messages, and `last_item` is that of the newest event.
    """

    node = models.ForeignKey(Node, on_delete=models.CASCADE)
    scope = models.CharField(max_length=8, choices=JobScope, default=JobScope.MESSAGES)
    verb = models.CharField(_("operation"), max_length=16, choices=Verb)
    queue = models.ForeignKey(Queue, null=True, on_delete=models.SET_NULL, related_name="jobs")  # None: all queues
    queue_name = models.CharField(max_length=1000, blank=True)  # as it was called, should the queue go
    filter_text = models.CharField(_("filter"), max_length=4000, blank=True)
    items = models.CharField(max_length=4000, blank=True)  # comma-separated keys when rows were picked by hand
    recipient = models.CharField(max_length=600, blank=True)  # removal of one recipient only
    connector_name = models.CharField(max_length=64, blank=True)  # redirect: where to; Safety Net: whose
    # Safety Net: Message-ID or internal number, and the span of delivery [from, until)
    kept_message = models.CharField(max_length=998, blank=True, default="", db_default="")
    kept_from = models.DateTimeField(null=True)
    kept_until = models.DateTimeField(null=True)
    directory = models.CharField(max_length=4096, blank=True)  # export: where to
    reason = models.CharField(_("reason"), max_length=500, blank=True)
    actor = models.CharField(_("by"), max_length=150)  # user name, or "command:<uid name>"
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    snapshot_at = models.DateTimeField(_("started"))
    last_item = models.BigIntegerField(default=0)  # newest item that belongs to the set
    cursor = models.BigIntegerField(default=0)
    total = models.PositiveIntegerField(_("messages"), default=0)  # counted at the start
    changed = models.PositiveIntegerField(_("done"), default=0)
    unchanged = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(_("failed"), default=0)
    state = models.CharField(_("state"), max_length=10, choices=JobState, default=JobState.RUNNING)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("operation")
        verbose_name_plural = _("operations")
        indexes = [
            # stage `jobs`: what is still to be worked
            models.Index(fields=["id"], condition=models.Q(state="running"), name="job_running"),
            # timeline: operations on a queue while a message was in it
            models.Index(fields=["queue", "snapshot_at"], name="job_of_queue"),
        ]

    def __str__(self) -> str:
        return f"#{self.pk}"

    @property
    def left(self) -> int:
        """Messages that were counted at the start and not looked at yet."""
        if self.state == JobState.DONE:
            return 0
        return max(0, self.total - self.changed - self.unchanged - self.failed)


class JobTarget(models.Model):
    """What an operation did to one copy; part of the message's timeline (MTE-6)."""

    job = models.ForeignKey(BulkJob, on_delete=models.CASCADE, related_name="targets", db_index=False)
    message = models.BigIntegerField()  # key of the Message; no constraint: the audit outlives it
    item = models.BigIntegerField()  # 0: the message was in Submission, or the queue itself is meant
    outcome = models.CharField(max_length=10, choices=Outcome)
    before = models.CharField(max_length=40)
    after = models.CharField(max_length=40)
    why = models.CharField(max_length=300, blank=True)  # reason code of UNCHANGED, error of FAILED
    at = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["job", "outcome"], name="target_of_job"),
            models.Index(fields=["message"], name="target_of_message"),
        ]

    def __str__(self) -> str:
        return f"{self.message} {self.outcome}"
