"""RemoteDomain: what notices a domain outside gets, where it differs from all others (DSN-13)."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class RemoteDomain(models.Model):
    """One domain outside, or `*.domain` for it and all below; its switches stand for those of all people outside."""

    domain = models.CharField(
        _("domain outside"),
        max_length=255,
        unique=True,
        help_text=_("contoso.com for this domain alone, *.contoso.com for it and all domains below it."),
    )
    ndr_enabled = models.BooleanField(
        _("failure notices"), default=True, help_text=_("Off: senders there are not told of failures.")
    )
    delivery_report_enabled = models.BooleanField(
        _("delivery receipts"), default=True, help_text=_("Off: senders there get no receipts, even when they ask.")
    )
    ndr_diagnostic_info_enabled = models.BooleanField(
        _("diagnostic information"),
        default=True,
        help_text=_("Off: notices to this domain name no servers, replies or Received fields of ours."),
    )

    class Meta:
        verbose_name = _("domain outside")
        verbose_name_plural = _("domains outside")
        ordering = ("domain",)

    def __str__(self) -> str:
        return self.domain
