"""EventLogEntry: what an administrator must know, one row from when it begins to when it ends (EV-, FC 1.4)."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class EventLogEntry(models.Model):
    """One condition; open while `cleared_at` is empty. At most one open row per code and subject."""

    code = models.PositiveIntegerField(_("event"))  # Exchange's number, or 90000 and up for our own
    subject = models.CharField(_("subject"), max_length=255)  # connector or directory it concerns
    detail = models.CharField(_("detail"), max_length=1000, blank=True)
    raised_at = models.DateTimeField(_("since"))
    cleared_at = models.DateTimeField(_("until"), null=True)

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        constraints = [
            models.UniqueConstraint(
                fields=["code", "subject"], condition=models.Q(cleared_at=None), name="event_open_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.subject}"
