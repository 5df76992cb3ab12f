"""Tables of the ledger: messages, events, recipients of events (design 5).

Subject and sender are stored once a message; an event is narrow and never changed. The key of TrackingEvent is the
sequence of the live stream (MTL-2).
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from tracking.choices import TrackedState


class TrackedMessage(models.Model):
    """One message copy, or one bad file."""

    internal_message_id = models.BigIntegerField(_("internal message id"), null=True)  # MTF-10
    network_message_id = models.UUIDField(_("network message id"), null=True)  # MTF-12
    message_id = models.CharField(_("Message-ID"), max_length=998, blank=True)  # with < > (MTF-11)
    sender = models.CharField(_("sender"), max_length=600, blank=True)  # header sender (MTF-20)
    sender_key = models.CharField(max_length=600, blank=True, editable=False)  # of sender, else of return_path
    return_path = models.CharField(_("return path"), max_length=600, blank=True)  # "" is <> (MTF-21)
    subject = models.CharField(_("subject"), max_length=1000, blank=True)
    subject_key = models.CharField(max_length=1000, blank=True, editable=False)  # text index: tracking.text_index
    size = models.PositiveBigIntegerField(_("size"), default=0)
    directionality = models.CharField(max_length=12, blank=True)  # MTF-23
    source = models.CharField(_("source"), max_length=32)  # of its first event
    state = models.CharField(_("state"), max_length=12, choices=TrackedState, default=TrackedState.QUEUED)
    recipients = models.PositiveIntegerField(default=0)
    delivered = models.PositiveIntegerField(default=0)  # recipients with SEND or DELIVER
    failed = models.PositiveIntegerField(default=0)  # recipients with FAIL
    first_at = models.DateTimeField(_("first event"))
    last_at = models.DateTimeField(_("last event"))

    class Meta:
        verbose_name = _("tracked message")
        verbose_name_plural = _("tracked messages")
        indexes = [
            # exact Message-ID, and the notice of a message (MTT-2, MTT-5)
            models.Index(fields=["message_id"], name="tracked_message_id"),
            # forks and resubmissions (MTT-3)
            models.Index(fields=["network_message_id"], name="tracked_network_id"),
            # one message by the number its node gave it
            models.Index(
                fields=["internal_message_id"],
                condition=models.Q(internal_message_id__isnull=False),
                name="tracked_number",
            ),
            # sender, newest first
            models.Index(fields=["sender_key", "-id"], name="tracked_sender"),
        ]

    def __str__(self) -> str:
        return self.message_id


class TrackingEvent(models.Model):
    """One event of one message; append-only."""

    message = models.ForeignKey(TrackedMessage, on_delete=models.CASCADE, related_name="events")
    log_id = models.UUIDField()  # MTF-29
    at = models.DateTimeField(_("time"))
    event = models.CharField(_("event"), max_length=32)
    source = models.CharField(_("source"), max_length=32)
    connector_id = models.CharField(_("connector"), max_length=255, blank=True)
    source_context = models.CharField(max_length=1000, blank=True)
    reference = models.CharField(max_length=2000, blank=True)
    related_recipient = models.CharField(max_length=2000, blank=True)
    message_info = models.CharField(max_length=255, blank=True)
    client_ip = models.CharField(max_length=64, blank=True)
    client_hostname = models.CharField(max_length=255, blank=True)
    server_ip = models.CharField(max_length=64, blank=True)
    server_hostname = models.CharField(max_length=255, blank=True)
    custom_data = models.CharField(max_length=2000, blank=True)
    recipient_count = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name = _("tracking event")
        verbose_name_plural = _("tracking events")
        permissions = [("export_trackingevent", "Can export tracking events")]
        indexes = [
            # lists, newest first; time windows
            models.Index(fields=["at", "id"], name="event_time"),
            # one kind of event, newest first
            models.Index(fields=["event", "at", "id"], name="event_kind_time"),
            # one connector, newest first; most events have none
            models.Index(
                fields=["connector_id", "at", "id"], condition=~models.Q(connector_id=""), name="event_connector_time"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.source}"


class EventRecipient(models.Model):
    """One recipient of one event with its status text (MTF-13, MTF-14)."""

    event = models.ForeignKey(TrackingEvent, on_delete=models.CASCADE, related_name="recipients")
    address = models.CharField(_("recipient"), max_length=2000)
    address_key = models.CharField(max_length=600, editable=False)
    status = models.CharField(_("status"), max_length=1000, blank=True)
    at = models.DateTimeField()  # of the event

    class Meta:
        verbose_name = _("event recipient")
        verbose_name_plural = _("event recipients")
        # one recipient, newest first
        indexes = [models.Index(fields=["address_key", "at", "event"], name="event_recipient_time")]

    def __str__(self) -> str:
        return self.address


class AddressName(models.Model):
    """Dictionary of distinct sender and recipient keys: prefix and wildcard searches look here first (design 5)."""

    key = models.CharField(max_length=600, unique=True)
    domain = models.CharField(max_length=255, blank=True, db_index=True)  # for @domain searches

    def __str__(self) -> str:
        return self.key


class EventRollup(models.Model):
    """Counts for charts: events of five minutes, by kind and connector (design 5)."""

    bucket = models.DateTimeField()  # start of the five minutes
    event = models.CharField(max_length=32)
    connector_id = models.CharField(max_length=255, blank=True)
    count = models.PositiveIntegerField(default=0)  # recipients, at least one an event

    class Meta:
        constraints = [models.UniqueConstraint(fields=["bucket", "event", "connector_id"], name="rollup_once")]

    def __str__(self) -> str:
        return f"{self.bucket} {self.event}"
