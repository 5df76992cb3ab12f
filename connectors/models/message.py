"""Message and MessageRecipient: an accepted message, its envelope and what became of each recipient."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils.translation import gettext_lazy as _

from connectors.choices import MessageState, Priority, RecipientState, ReportDue
from connectors.models.node import Node


class Message(models.Model):
    """One message; its primary key is the internal message id (QU-16). The content is the spool file."""

    node = models.ForeignKey(Node, on_delete=models.PROTECT, db_index=False)  # whose spool holds the content
    # Identity of the dropped file: a second reading of the same file is a no-op (PU-18). None for notices.
    source_key = models.CharField(max_length=32, null=True, unique=True)
    network_message_id = models.UUIDField(default=uuid.uuid4)  # shared by the copies split off for a group (MTF-12)
    tracked_id = models.BigIntegerField(default=0)  # key of its TrackedMessage
    message_id = models.CharField(_("Message-ID"), max_length=998)  # header value with < >
    mail_from = models.CharField(_("sender"), max_length=600, blank=True)  # "" is the null reverse path
    sender = models.CharField(max_length=600, blank=True)  # Sender header, else From (MTF-20)
    subject = models.CharField(_("subject"), max_length=1000, blank=True)
    size = models.PositiveBigIntegerField(_("size"))  # bytes of content, without the injected block
    priority = models.SmallIntegerField(_("priority"), choices=Priority, default=Priority.NORMAL)
    source = models.CharField(_("source"), max_length=16)  # PICKUP, REPLAY or DSN
    source_name = models.CharField(max_length=255, blank=True)  # X-Source, else Pickup, Replay or DSN (QU 1.5)
    source_file = models.CharField(max_length=255, blank=True)
    source_ip = models.CharField(max_length=64, blank=True)
    owner_uid = models.PositiveIntegerField(null=True)  # owner of the dropped file (PU-66)
    helo_domain = models.CharField(max_length=255, blank=True)
    created_by = models.CharField(max_length=64, blank=True)
    body = models.CharField(max_length=16, blank=True)
    ret = models.CharField(max_length=8, blank=True)
    envid = models.CharField(max_length=200, blank=True)
    auth = models.CharField(max_length=600, blank=True)
    smtputf8 = models.BooleanField(default=False)
    has_org_headers = models.BooleanField(default=False)  # a copy without them goes to Drop (DR-13)
    spool_name = models.CharField(max_length=80, unique=True)
    content_offset = models.PositiveIntegerField()  # bytes of the injected block in the spool file
    state = models.CharField(_("state"), max_length=12, choices=MessageState, default=MessageState.SUBMITTED)
    crash_count = models.PositiveSmallIntegerField(default=0)  # QR-50
    received_at = models.DateTimeField(_("received"))
    expires_at = models.DateTimeField(_("expires"))  # fixed at submission (QR-29)
    done_at = models.DateTimeField(null=True)
    delay_told_at = models.DateTimeField(null=True)  # when delay notices were considered, once a message (QR-31)
    # The message a notice reports on.
    original = models.ForeignKey("self", null=True, on_delete=models.SET_NULL, related_name="notices")

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        indexes = [
            # categorizer: the next submitted messages
            models.Index(fields=["id"], condition=models.Q(state="submitted"), name="message_submitted"),
            # expiry: open messages by expiry time
            models.Index(fields=["expires_at"], condition=models.Q(state="routed"), name="message_expiring"),
            # delay notices: open messages nobody was told about, oldest first
            models.Index(
                fields=["received_at"], condition=models.Q(done_at=None, delay_told_at=None), name="message_undelayed"
            ),
            # delivery after a crash: suspects go alone (QR-50)
            models.Index(fields=["id"], condition=models.Q(crash_count__gt=0), name="message_suspect"),
            # spool sweep: done messages by age
            models.Index(fields=["done_at"], condition=models.Q(state="done"), name="message_done"),
            # message page by tracked id; UP-6 look-up by Message-ID
            models.Index(fields=["tracked_id"], name="message_tracked"),
            models.Index(fields=["message_id"], name="message_by_header_id"),
        ]

    def __str__(self) -> str:
        return self.message_id


class MessageRecipient(models.Model):
    """One recipient of one message; `settled_at` is set when its state is final."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="recipients", db_index=False)
    item = models.ForeignKey("connectors.QueueItem", null=True, on_delete=models.SET_NULL, related_name="recipients")
    address = models.CharField(_("address"), max_length=600)  # as accepted on the envelope
    final_address = models.CharField(max_length=2000, blank=True)  # as written to the next hop; "" = address
    orcpt = models.CharField(max_length=1000, blank=True)
    notify = models.CharField(max_length=32, blank=True)
    field = models.CharField(max_length=4, blank=True)  # To, Cc, Bcc or ""
    # The group it came out of, as the sender named it; "" when the sender named the recipient (QL-5).
    group = models.CharField(_("group"), max_length=600, blank=True, default="", db_default="")
    state = models.CharField(_("state"), max_length=12, choices=RecipientState, default=RecipientState.SUBMITTED)
    status_text = models.CharField(_("status"), max_length=1000, blank=True)  # e.g. "550 5.1.2 …"
    fail_source = models.CharField(max_length=16, blank=True)  # tracking source of the FAIL to come
    fail_context = models.CharField(max_length=300, blank=True)  # its source-context
    fail_connector = models.CharField(max_length=64, blank=True)
    fail_custom = models.CharField(max_length=300, blank=True, default="", db_default="")  # S:fc.actor=… (MT-H)
    report_due = models.CharField(max_length=12, choices=ReportDue, blank=True)  # cleared by `reports`
    settled_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = _("recipient")
        verbose_name_plural = _("recipients")
        indexes = [
            models.Index(fields=["message", "state"], name="recipient_of_message"),
            # reports: recipients with a notice or a failure to settle
            models.Index(fields=["message"], condition=~models.Q(report_due=""), name="recipient_report_due"),
        ]

    def __str__(self) -> str:
        return self.address
