"""Node: one fcweb server with its Pickup, Replay and root drop directory."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _


class Node(models.Model):
    """Settings of one server; field names follow the Exchange parameters (file-interfaces 0)."""

    name = models.CharField(_("name"), max_length=255, unique=True, help_text=_("Host name of this server."))
    fqdn = models.CharField(
        _("fully qualified name"), max_length=255, help_text=_("Written into Received fields and notices.")
    )
    site = models.CharField(_("site"), max_length=64, default="Default-Site")
    pickup_directory_path = models.CharField(
        _("Pickup directory"),
        max_length=4096,
        blank=True,
        help_text=_("Absolute local path. Empty switches Pickup off."),
    )
    replay_directory_path = models.CharField(
        _("Replay directory"),
        max_length=4096,
        blank=True,
        help_text=_("Absolute local path. Empty switches Replay off. Whoever writes here sets any envelope."),
    )
    pickup_max_messages_per_minute = models.PositiveIntegerField(
        _("Pickup rate (files a minute)"),
        null=True,
        blank=True,
        default=100,
        validators=[MinValueValidator(1), MaxValueValidator(10_000_000)],
        help_text=_("Exchange allows 1 to 20000; empty is unlimited."),
    )
    replay_max_messages_per_minute = models.PositiveIntegerField(
        _("Replay rate (files a minute)"),
        null=True,
        blank=True,
        default=100,
        validators=[MinValueValidator(1), MaxValueValidator(10_000_000)],
        help_text=_("Exchange allows 1 to 20000; empty is unlimited."),
    )
    pickup_max_header_bytes = models.PositiveIntegerField(
        _("Pickup header size (bytes)"),
        default=65_536,
        validators=[MinValueValidator(32_768), MaxValueValidator(2_147_483_647)],
        help_text=_("32768 to 2147483647. A larger header is returned to the sender."),
    )
    pickup_max_recipients = models.PositiveIntegerField(
        _("Pickup recipients per message"),
        default=100,
        validators=[MinValueValidator(1), MaxValueValidator(10_000)],
        help_text=_("1 to 10000. A message with more is returned to the sender."),
    )
    max_message_bytes = models.PositiveBigIntegerField(
        _("largest message (bytes)"),
        null=True,
        blank=True,
        default=10 * 1024 * 1024,
        validators=[MinValueValidator(1), MaxValueValidator(2_147_482_624)],
        help_text=_("Organisation limit, 10 MB by default; empty is unlimited."),
    )
    max_receive_bytes = models.PositiveBigIntegerField(
        _("largest message to a mailbox (bytes)"),
        null=True,
        blank=True,
        default=10 * 1024 * 1024,
        validators=[MinValueValidator(1), MaxValueValidator(2_147_482_624)],
        help_text=_(
            "Organisation limit for mailboxes here; empty is unlimited. 10 MB hold about 7.5 MB of attachments."
        ),
    )
    max_recipients = models.PositiveIntegerField(
        _("recipients per message, organisation"),
        default=5000,
        validators=[MinValueValidator(1)],
        help_text=_("Applies to Replay too."),
    )
    max_hops = models.PositiveSmallIntegerField(
        _("systems passed"),
        default=30,
        validators=[MinValueValidator(1), MaxValueValidator(500)],
        help_text=_("1 to 500. A message that passed more systems (Received fields) goes in a circle and is returned."),
    )
    max_local_hops = models.PositiveSmallIntegerField(
        _("times through this server"),
        default=8,
        validators=[MinValueValidator(0), MaxValueValidator(50)],
        help_text=_("0 to 50. A message that was here more often is returned; 0 does not count."),
    )
    settle_seconds = models.FloatField(
        _("settle time (seconds)"),
        default=2.0,
        validators=[MinValueValidator(0.0), MaxValueValidator(60.0)],
        help_text=_(
            "A file whose size or date changed within this time waits for the next poll. "
            "0 is what Exchange does. Files whose writer was seen to close them do not wait."
        ),
    )
    unstuff_dots = models.BooleanField(
        _("undo dot-stuffing in Pickup"), default=False, help_text=_("For writers made for the SMTP service of IIS.")
    )
    replay_unstuff_dots = models.BooleanField(
        _("undo dot-stuffing in Replay"), default=False, help_text=_("For files from the Drop directory of IIS.")
    )
    honour_x_receiver = models.BooleanField(
        _("honour X-Sender and X-Receiver in Pickup"),
        default=False,
        help_text=_("For .NET and IIS writers, whose Bcc recipients stand only there. Exchange ignores them."),
    )
    write_bad_txt = models.BooleanField(
        _("write a .bad.txt beside each bad file"), default=True, help_text=_("Holds the reason and the line.")
    )
    trusted_uids = models.CharField(
        _("uids trusted for X-CreatedBy"),
        max_length=500,
        blank=True,
        help_text=_("Comma-separated user ids whose Replay files may keep organisation headers (MSExchange15)."),
    )
    root_drop_directory_path = models.CharField(
        _("root drop directory"),
        max_length=4096,
        blank=True,
        help_text=_("Relative drop directories stand below it. Empty: the drop folder of the data directory."),
    )
    mailbox_directory_path = models.CharField(
        _("mailbox store"),
        max_length=4096,
        blank=True,
        help_text=_("Where Maildirs of local mailboxes stand. Empty: the mailboxes folder of the data directory."),
    )

    is_draining = models.BooleanField(
        _("draining"),
        default=False,
        db_default=False,
        help_text=_("Takes no new files, because its mail moves to another server; untick to take files again."),
    )
    routed_generation = models.PositiveBigIntegerField(default=0, editable=False)  # last ConfigGeneration applied

    class Meta:
        verbose_name = _("node")
        verbose_name_plural = _("nodes")
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name
