"""Event log: raise and clear the conditions an administrator must know of, once per change of state.

Rules: EV-1 to EV-8, DR-31, PU-57. Each raise also goes to the developers' log.
"""

from __future__ import annotations

import logging
from datetime import datetime
from enum import IntEnum

from django.db import transaction

from connectors.models import EventLogEntry

logger = logging.getLogger(__name__)


class Event(IntEnum):
    """Event numbers: Exchange's where it has one, 90000 and up where it has none."""

    BAD_DROP_DIRECTORY = 8004  # NonSmtpGWBadDropDirectory
    QUOTA_EXCEEDED = 8005  # NonSmtpGWQuotaExceeded
    PATH_TOO_LONG = 8007
    NO_DROP_DIRECTORY = 8008  # NonSmtpGWNoDropDirectory
    DROP_UNAUTHORIZED = 8009  # NonSmtpGWUnauthorizedAccess
    NO_PICKUP_DIRECTORY = 9006  # FailedToCreatePickupDirectory
    BADMAIL = 9010  # PickupIsBadmailingFile
    POISON_FILE = 10004  # DeletedPoisonPickupFile
    PRESSURE = 15004  # resource pressure rose; 15005 is its end
    PICKUP_DELETE = 90004  # a finished .tmp could not be removed
    PICKUP_READ = 90005  # directory or file could not be read
    PICKUP_RENAME = 90006  # the rename to .tmp failed
    FILE_VANISHED = 90007  # a claimed file disappeared (UP-9)
    DIRECTORY_ACCESS = 90008  # a watched directory is not safe or not ours (PU-64, PU-65)
    SIZE_ZERO = 90009  # an enabled connector whose size limit lets nothing through (FC-8)


# A failing drop directory has exactly one of these open at a time.
DROP_EVENTS = (
    Event.BAD_DROP_DIRECTORY,
    Event.QUOTA_EXCEEDED,
    Event.PATH_TOO_LONG,
    Event.NO_DROP_DIRECTORY,
    Event.DROP_UNAUTHORIZED,
)


def raise_event(code: Event, subject: str, detail: str, *, now: datetime) -> None:
    """Open the condition unless it is open already."""
    with transaction.atomic():
        _row, created = EventLogEntry.objects.get_or_create(
            code=code.value,
            subject=subject[:255],
            cleared_at=None,
            defaults={"detail": detail[:1000], "raised_at": now},
        )
    if created:
        logger.error("event raised", extra={"event_code": code.value, "subject": subject, "detail": detail})


def clear_events(codes: tuple[Event, ...], subject: str, *, now: datetime) -> None:
    """Close the open conditions of these kinds, if any."""
    EventLogEntry.objects.filter(code__in=codes, subject=subject[:255], cleared_at=None).update(cleared_at=now)
