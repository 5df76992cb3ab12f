"""App configuration of tracking."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class TrackingConfig(AppConfig):
    name = "tracking"
    verbose_name = _("Message tracking")

    def ready(self) -> None:
        """Register the system checks and the lookups."""
        from tracking import checks, lookups  # noqa: F401 (registered by being imported)
