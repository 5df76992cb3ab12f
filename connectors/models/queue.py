"""Queue and QueueItem: delivery queues by next-hop key and the copies that wait in them (QU-2, QU-8, DR-23)."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.utils.translation import gettext_lazy as _

from connectors.choices import POISON_DOMAIN, SUBMISSION_DOMAIN, DeliveryType, ItemState, Pending, Priority, QueueStatus
from connectors.models.message import Message
from connectors.models.node import Node


class Queue(models.Model):
    """One delivery queue. Status is stored; see `transport.queue` for who changes it."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="queues")
    delivery_type = models.CharField(_("delivery type"), max_length=32, choices=DeliveryType)
    next_hop_domain = models.CharField(_("next hop"), max_length=1000)
    next_hop_connector = models.UUIDField(_("next hop connector"))  # zero GUID when unused
    connector_name = models.CharField(_("connector"), max_length=64, blank=True)
    status = models.CharField(_("status"), max_length=12, choices=QueueStatus, default=QueueStatus.READY)
    last_error = models.CharField(_("last error"), max_length=1000, blank=True)
    retry_count = models.PositiveIntegerField(_("retries"), default=0)  # position on the ladder (QR-21)
    first_retry_at = models.DateTimeField(null=True)
    last_retry_at = models.DateTimeField(_("last attempt"), null=True)
    next_retry_at = models.DateTimeField(_("next retry"), null=True)  # set only while Retry
    last_success_at = models.DateTimeField(_("last success"), null=True)
    resubmitted_at = models.DateTimeField(null=True)  # last idle resubmission; older copies still have to go (QR-28)

    class Meta:
        verbose_name = _("queue")
        verbose_name_plural = _("queues")
        permissions = [("export_queue", "Can export lists of queues and queued messages")]  # QU-21
        constraints = [
            models.UniqueConstraint(
                fields=["node", "delivery_type", "next_hop_domain", "next_hop_connector"], name="queue_next_hop_key"
            )
        ]

    def __str__(self) -> str:
        return self.next_hop_domain

    @property
    def is_submission(self) -> bool:
        """Tell whether messages wait here to be routed (QU-1)."""
        return self.delivery_type == DeliveryType.UNDEFINED and self.next_hop_domain == SUBMISSION_DOMAIN

    @property
    def is_poison(self) -> bool:
        """Tell whether what waits here was set apart (QU-4)."""
        return self.delivery_type == DeliveryType.UNDEFINED and self.next_hop_domain == POISON_DOMAIN


# What a queue forgets when nothing in it waits for a retry any more (QU 1.4).
OFF_THE_LADDER: dict[str, Any] = {"last_error": "", "retry_count": 0, "first_retry_at": None, "next_retry_at": None}
IS_SUBMISSION = models.Q(delivery_type=DeliveryType.UNDEFINED, next_hop_domain=SUBMISSION_DOMAIN)  # of queues
# Copies leased to a process. The first term is that of the partial index, so that no query reads delivered copies.
IN_TRANSFER = models.Q(leased_by__gt="", state__in=[ItemState.STAGING, ItemState.STAGED])
# Copies in Poison, where nothing expires and nothing leaves but by a person (QR-30, QR-52); other copies of their
# messages may be in delivery.
IN_POISON = models.Q(queue__delivery_type=DeliveryType.UNDEFINED, queue__next_hop_domain=POISON_DOMAIN)


class QueueItem(models.Model):
    """One copy of a message in one queue: for a drop directory, one file to be written (DR-19, DR-25)."""

    queue = models.ForeignKey(Queue, on_delete=models.CASCADE, related_name="items", db_index=False)
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="items")
    state = models.CharField(_("state"), max_length=10, choices=ItemState, default=ItemState.READY)
    priority = models.SmallIntegerField(choices=Priority, default=Priority.NORMAL)
    entered_at = models.DateTimeField(_("entered"))  # first entry into a queue, kept when it is routed again (QR-28)
    queued_at = models.DateTimeField(null=True)  # entry into this queue, where that was a later one
    # Holds every recipient of its message as the spool file names them: the drop file can be a link (design 3).
    is_whole = models.BooleanField(default=False)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)  # that ended with a refusal of this copy (QR-24)
    retry_at = models.DateTimeField(_("next retry"), null=True)  # set exactly while `deferred`
    last_error = models.CharField(_("last error"), max_length=1000, blank=True, default="", db_default="")  # its own
    deferred_reason = models.CharField(max_length=32, blank=True)  # context of its last DEFER event (MTA-7)
    leased_by = models.CharField(max_length=40, blank=True)  # token of the owning process
    directory = models.CharField(max_length=4096, blank=True)  # where it is being published (RT-53)
    temp_name = models.CharField(max_length=700, blank=True)
    final_name = models.CharField(_("file"), max_length=700, blank=True)
    delivered_at = models.DateTimeField(_("delivered"), null=True)
    # What a person wants once a transfer in progress fails; applied by `release` (QO-14).
    pending = models.CharField(max_length=10, choices=Pending, blank=True, default="", db_default="")
    pending_by = models.CharField(max_length=150, blank=True, default="", db_default="")
    collected_at = models.DateTimeField(_("collected by gateway"), null=True)  # when the drop file was gone (DR-33)

    class Meta:
        verbose_name = _("queued message")
        verbose_name_plural = _("queued messages")
        indexes = [
            # lease: oldest ready items of one queue; counts of waiting items
            models.Index(fields=["queue", "id"], condition=models.Q(state="ready"), name="item_ready"),
            # what is in transfer (IN_TRANSFER): recovery, counts of a queue
            models.Index(fields=["queue"], condition=models.Q(leased_by__gt=""), name="item_in_transfer"),
            # queue pages and operations: what a person stopped
            models.Index(fields=["queue", "id"], condition=models.Q(state="suspended"), name="item_suspended"),
            # copies refused for now: those that are due, of any queue
            models.Index(fields=["retry_at"], condition=models.Q(state="deferred"), name="item_due"),
            # queue pages and operations: those of one queue
            models.Index(fields=["queue", "id"], condition=models.Q(state="deferred"), name="item_deferred"),
            # lease with priority queuing on; empty while it is off (QR-60)
            models.Index(fields=["queue", "id"], condition=models.Q(state="ready", priority=2), name="item_urgent"),
            # what a person asked for during a transfer
            models.Index(fields=["id"], condition=~models.Q(pending=""), name="item_pending"),
            # Safety Net and gateway watch: delivered files, newest first
            models.Index(fields=["queue", "-delivered_at"], condition=models.Q(state="delivered"), name="item_sent"),
        ]

    def __str__(self) -> str:
        return f"{self.message_id}"


class QueueSample(models.Model):
    """What came into and left a queue within five seconds; the last twelve make its rates (QU-13)."""

    queue = models.ForeignKey(Queue, on_delete=models.CASCADE, related_name="samples", db_index=False)
    at = models.DateTimeField()  # end of the interval
    incoming = models.PositiveIntegerField(default=0)  # messages
    outgoing = models.PositiveIntegerField(default=0)

    class Meta:
        indexes = [models.Index(fields=["at"], name="sample_time")]

    def __str__(self) -> str:
        return f"{self.queue_id} +{self.incoming} -{self.outgoing}"
