"""AcceptedDomain: the domains fcweb answers for."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from connectors.choices import DomainKind


class AcceptedDomain(models.Model):
    """One accepted domain; exactly one is the default, used for IMCEA addresses (IM-8, IM-9)."""

    domain = models.CharField(_("domain"), max_length=255, unique=True)
    kind = models.CharField(
        _("kind"),
        max_length=16,
        choices=DomainKind,
        default=DomainKind.AUTHORITATIVE,
        help_text=_(
            "Authoritative: unknown recipients are refused. Internal relay: known recipients are local, "
            "others go by connector. External relay: all go by connector."
        ),
    )
    is_default = models.BooleanField(
        _("default domain"), default=False, help_text=_("Its addresses carry FAX, SMS and other non-SMTP recipients.")
    )
    accepts_imcea = models.BooleanField(
        _("decapsulate IMCEA addresses"),
        default=False,
        help_text=_("The default domain always does; others only when switched on here."),
    )

    class Meta:
        verbose_name = _("accepted domain")
        verbose_name_plural = _("accepted domains")
        ordering = ("-is_default", "domain")
        constraints = [
            models.UniqueConstraint(
                fields=["is_default"], condition=models.Q(is_default=True), name="one_default_domain"
            )
        ]

    def __str__(self) -> str:
        return self.domain
