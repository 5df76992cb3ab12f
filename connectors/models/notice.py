"""NoticeSettings and NoticeText: how notices are written, for people inside and outside (DSN-50 to DSN-52)."""

from __future__ import annotations

from datetime import timedelta

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from connectors.choices import Audience, NoticeLanguage

_LARGEST_ATTACHMENT = 2_147_483_647  # QL-13
_DEFAULT_ATTACHMENT = 10 * 1024 * 1024
_LANGUAGE_HELP = _("Used when neither the recipient’s mailbox nor the original message names one. Empty: the server’s.")
_DETECTION_HELP = _("Follow the recipient’s mailbox, then the language the original message names.")
_HTML_HELP = _("Add a formatted version beside the plain text.")
_ATTACH_HELP = _("A larger original is not returned whole, its header alone is; 0 never returns the whole message.")
_AUTHORITY_HELP = _("Domain named as the reporting server. Empty: this server’s full name.")
_DELAY_HELP = _("Tell the sender once when a message waits for long.")
_POSTMASTER_HELP = _("Sender shown in the notice. Empty: postmaster at the default domain.")


class NoticeSettings(models.Model):
    """One row; missing, it means the defaults. Internal: the notice goes to a domain of ours."""

    internal_language = models.CharField(
        _("language, internal"), max_length=8, choices=NoticeLanguage, blank=True, help_text=_LANGUAGE_HELP
    )
    internal_language_detection = models.BooleanField(
        _("follow the reader’s language, internal"), default=True, help_text=_DETECTION_HELP
    )
    internal_send_html = models.BooleanField(_("formatted text, internal"), default=True, help_text=_HTML_HELP)
    internal_max_attach_bytes = models.PositiveBigIntegerField(
        _("largest returned original (bytes), internal"),
        default=_DEFAULT_ATTACHMENT,
        validators=[MaxValueValidator(_LARGEST_ATTACHMENT)],
        help_text=_ATTACH_HELP,
    )
    internal_reporting_authority = models.CharField(
        _("reporting authority, internal"), max_length=255, blank=True, help_text=_AUTHORITY_HELP
    )
    internal_postmaster_address = models.EmailField(
        _("postmaster address, internal"), blank=True, help_text=_POSTMASTER_HELP
    )
    internal_delay_enabled = models.BooleanField(_("delay notices, internal"), default=True, help_text=_DELAY_HELP)

    external_language = models.CharField(
        _("language, external"), max_length=8, choices=NoticeLanguage, blank=True, help_text=_LANGUAGE_HELP
    )
    external_language_detection = models.BooleanField(
        _("follow the reader’s language, external"), default=True, help_text=_DETECTION_HELP
    )
    external_send_html = models.BooleanField(_("formatted text, external"), default=True, help_text=_HTML_HELP)
    external_max_attach_bytes = models.PositiveBigIntegerField(
        _("largest returned original (bytes), external"),
        default=_DEFAULT_ATTACHMENT,
        validators=[MaxValueValidator(_LARGEST_ATTACHMENT)],
        help_text=_ATTACH_HELP,
    )
    external_reporting_authority = models.CharField(
        _("reporting authority, external"), max_length=255, blank=True, help_text=_AUTHORITY_HELP
    )
    external_postmaster_address = models.EmailField(
        _("postmaster address, external"), blank=True, help_text=_POSTMASTER_HELP
    )
    external_delay_enabled = models.BooleanField(_("delay notices, external"), default=True, help_text=_DELAY_HELP)
    external_failure_enabled = models.BooleanField(
        _("failure notices, external"),
        default=True,
        help_text=_("Off: senders outside are not told of failures; each failure is still tracked."),
    )
    external_reports_enabled = models.BooleanField(
        _("delivery receipts, external"),
        default=True,
        help_text=_("Off: senders outside get no receipts, even when they ask for them."),
    )
    external_diagnostics_enabled = models.BooleanField(
        _("diagnostic information, external"),
        default=True,
        help_text=_("Off: notices to outside name no servers, replies or Received fields of ours."),
    )

    delay_after = models.DurationField(
        _("delay notice after"),
        default=timedelta(hours=4),
        validators=[MinValueValidator(timedelta(seconds=1)), MaxValueValidator(timedelta(days=30))],
        help_text=_("Waiting time after which the sender is told, 4 hours by default (hh:mm:ss)."),
    )
    copy_codes = models.CharField(
        _("codes copied to the monitoring mailbox"),
        max_length=500,
        blank=True,
        default="5.1.4 5.2.0 5.2.4 5.4.4 5.4.6 5.4.8",
        validators=[RegexValidator(r"^\s*([245]\.\d{1,3}\.\d{1,3}(\s+|$))*$", _("Write codes such as 5.4.4 5.4.6."))],
        help_text=_("Failure notices with one of these codes also go to the monitoring mailbox."),
    )
    monitoring_address = models.EmailField(
        _("monitoring mailbox"), blank=True, help_text=_("Gets the copies. Empty: no copies are made.")
    )

    class Meta:
        verbose_name = _("settings of notices")
        verbose_name_plural = _("settings of notices")

    def __str__(self) -> str:
        return str(self._meta.verbose_name)

    @classmethod
    def load(cls) -> NoticeSettings:
        """Return the row, or the defaults while nobody has saved one."""
        return cls.objects.order_by("pk").first() or cls(pk=1)


class NoticeText(models.Model):
    """A text of the administrator's own for one language, audience and code (DSN-52)."""

    language = models.CharField(_("language"), max_length=8, choices=NoticeLanguage)
    audience = models.CharField(_("audience"), max_length=8, choices=Audience)
    code = models.CharField(
        _("status code"),
        max_length=11,
        validators=[RegexValidator(r"^[45]\.\d{1,3}\.\d{1,3}$", _("Write a code such as 5.1.1 or 4.4.7."))],
        help_text=_("4.x.y or 5.x.y, such as 5.1.1."),
    )
    text = models.CharField(
        _("text"),
        max_length=512,
        help_text=_(
            "Replaces the built-in explanation, 512 characters at most. Allowed tags: <b>, <em>, <a href>, <br>, <p>."
        ),
    )

    class Meta:
        verbose_name = _("text of notices")
        verbose_name_plural = _("texts of notices")
        ordering = ("code", "language", "audience")
        constraints = [models.UniqueConstraint(fields=["language", "audience", "code"], name="one_text_a_code")]

    def __str__(self) -> str:
        return f"{self.language}\\{self.audience}\\{self.code}"
