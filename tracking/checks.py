"""System checks of tracking."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning, register

_SHORTEST = 3  # days: a message may wait two days, and its notice another


@register()
def tracking_days(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:  # Any: Django's check signature
    """FCWEB_TRACKING_DAYS is long enough to tell what became of a message."""
    if settings.FCWEB_TRACKING_DAYS == 0 or settings.FCWEB_TRACKING_DAYS >= _SHORTEST:
        return []
    return [
        Warning(
            f"FCWEB_TRACKING_DAYS={settings.FCWEB_TRACKING_DAYS} is shorter than a message may wait.",
            hint=f"Use {_SHORTEST} days or more, or 0 to keep events until the store is pruned by number.",
            id="tracking.W001",
        )
    ]
