"""Event log: raise and clear the conditions an administrator must know of, once per change of state.

Rules: EV-1 to EV-8, DR-31, PU-57. Each raise also goes to the developers' log.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import IntEnum, unique

from django.db import transaction

from connectors.models import EventLogEntry

logger = logging.getLogger(__name__)


@unique
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
    PRESSURE = 15004  # resource pressure rose; open until it is normal again (QR-56)
    PRESSURE_END = 15005  # resource pressure fell; never open
    DISK_SPACE = 15006  # a disk is too full to take files
    PICKUP_DELETE = 90004  # a finished .tmp could not be removed
    PICKUP_READ = 90005  # directory or file could not be read
    PICKUP_RENAME = 90006  # the rename to .tmp failed
    FILE_VANISHED = 90007  # a claimed file disappeared (UP-9)
    DIRECTORY_ACCESS = 90008  # a watched directory is not safe or not ours (PU-64, PU-65)
    SIZE_ZERO = 90009  # an enabled connector whose size limit lets nothing through (FC-8)
    FILE_STUCK = 90010  # files that could not be opened for ten polls (UP-8)
    CLAIM_HELD = 90011  # a process has been reading a file for minutes (UP-5)
    POISON_MESSAGE = 90012  # a message reached the poison threshold (QR-50)
    NOT_COLLECTED = 90013  # the gateway has left a file in its drop directory for too long (DR-33)
    LEDGER = 90014  # the check of the ledger found recipients without exactly one end (MT-1)


# A failing drop directory has exactly one of these open at a time.
DROP_EVENTS = (
    Event.BAD_DROP_DIRECTORY,
    Event.QUOTA_EXCEEDED,
    Event.PATH_TOO_LONG,
    Event.NO_DROP_DIRECTORY,
    Event.DROP_UNAUTHORIZED,
)


_ONE_OFF = timedelta(hours=1)  # a vanished file is past when it is seen: the condition ends by itself


class Conditions:
    """The conditions of one subject as one process sees them: each is opened once and closed when it is not seen.

    `saw` opens, or refreshes; `settle`, called when all files were looked at, closes what was not seen for
    `patience`. Conditions that another process opened, or that an earlier run left, are taken over.
    """

    def __init__(self, subject: str, codes: Iterable[Event], *, patience: timedelta) -> None:
        self.subject = subject
        self._codes = tuple(codes)
        self._patience = patience
        self._open: dict[Event, tuple[datetime, str]] | None = None  # last seen, detail

    def saw(self, code: Event, detail: str, *, now: datetime, since: datetime | None = None) -> None:
        """Open the condition, or remember that it lasts; a changed detail is written."""
        known = self._known().get(code)
        if known is None:
            raise_event(code, self.subject, detail, now=since or now)
        elif known[1] != detail[:1000]:
            EventLogEntry.objects.filter(code=code.value, subject=self.subject[:255], cleared_at=None).update(
                detail=detail[:1000]
            )
        self._known()[code] = (now, detail[:1000])

    def settle(self, *, now: datetime, lasting: Iterable[Event] = ()) -> None:
        """Close what was not seen lately, `lasting` ones excepted. No query while nothing is open."""
        for code, (seen_at, _detail) in list(self._known().items()):
            patience = _ONE_OFF if code is Event.FILE_VANISHED else self._patience
            if code not in lasting and now - seen_at > patience:
                clear_events((code,), self.subject, now=now)
                del self._known()[code]

    def _known(self) -> dict[Event, tuple[datetime, str]]:
        if self._open is None:
            rows = EventLogEntry.objects.filter(
                subject=self.subject[:255], cleared_at=None, code__in=[code.value for code in self._codes]
            )
            self._open = {Event(row.code): (row.raised_at, row.detail) for row in rows}
        return self._open


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


def note_event(code: Event, subject: str, detail: str, *, now: datetime) -> None:
    """Write an event that is over when it is told."""
    EventLogEntry.objects.create(
        code=code.value, subject=subject[:255], detail=detail[:1000], raised_at=now, cleared_at=now
    )
    logger.warning("event", extra={"event_code": code.value, "subject": subject, "detail": detail})


def is_open(code: Event, subject: str) -> bool:
    """Tell whether the condition is open: a read, where clearing at random would be a write."""
    return EventLogEntry.objects.filter(code=code.value, subject=subject[:255], cleared_at=None).exists()


def clear_events(codes: tuple[Event, ...], subject: str, *, now: datetime) -> None:
    """Close the open conditions of these kinds, if any."""
    EventLogEntry.objects.filter(code__in=codes, subject=subject[:255], cleared_at=None).update(cleared_at=now)
