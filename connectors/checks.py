"""System checks: wrong settings stop the start with a hint."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register()
def sync_mode(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:  # Any: Django's check signature
    """FCWEB_SYNC is one of the three known ways to make a batch durable."""
    if settings.FCWEB_SYNC in {"auto", "syncfs", "fsync"}:
        return []
    return [
        Error(
            f"FCWEB_SYNC={settings.FCWEB_SYNC!r} is not known.",
            hint="Use auto, syncfs or fsync.",
            id="connectors.E001",
        )
    ]


@register()
def notice_language(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:  # Any: Django's check signature
    """FCWEB_LANGUAGE and FCWEB_NOTICE_LANGUAGE are languages the notices are written in."""
    known = {code for code, _name in settings.LANGUAGES}
    return [
        Error(f"{name}={value!r} is not a language of fcweb.", hint="Use en or fr.", id="connectors.E002")
        for name, value in (
            ("FCWEB_LANGUAGE", settings.LANGUAGE_CODE),
            ("FCWEB_NOTICE_LANGUAGE", settings.FCWEB_NOTICE_LANGUAGE),
        )
        if value not in known
    ]
