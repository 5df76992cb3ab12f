"""SubmitterAddress: which addresses a local user may use as sender in Pickup (PU-66, A-26)."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from connectors.mail.address import is_valid_domain, is_valid_smtp
from connectors.models.node import Node


def validate_pattern(text: str) -> None:
    """Accept an address, or `*@domain` for every address of a domain."""
    local, at, domain = text.partition("@")
    if not (is_valid_domain(domain) if at and local == "*" else is_valid_smtp(text)):
        raise ValidationError(_("Write an address like app@example.org, or *@example.org for a whole domain."))


class SubmitterAddress(models.Model):
    """One address of one uid. A uid with rows may use these alone; a uid without any is not restricted."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="submitter_addresses")
    uid = models.PositiveIntegerField(_("uid"), help_text=_("Owner of the files, as “id -u NAME” shows it."))
    address = models.CharField(
        _("sender address"),
        max_length=571,
        validators=[validate_pattern],
        help_text=_("An address, or *@domain. Failure notices go to senders outside only when they stand here."),
    )

    class Meta:
        verbose_name = _("submitter address")
        verbose_name_plural = _("submitter addresses")
        ordering = ("uid", "address")
        constraints = [models.UniqueConstraint(fields=["node", "uid", "address"], name="submitter_address_once")]

    def __str__(self) -> str:
        return f"{self.uid} {self.address}"
