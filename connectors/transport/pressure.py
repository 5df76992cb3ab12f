"""Pressure: when intake must slow down or stop so that what is queued can drain (QR-53 to QR-57, PU-10).

Watched are the disk of the spool, the disk of the database's log (where SQLite writes it; a PostgreSQL server looks
after its own) and the length of Submission. Memory is left to the kernel and to the service manager (QR-57).
A level rises at its mark and falls only at the mark below, so that it does not flicker (QR-54, QR-55).
The two directories are the only doors from outside, so Medium closes every door that High would close; what is queued
keeps flowing at every level. Submission at Medium slows the doors first and closes them when that lasts (QR-56).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from pathlib import Path

from django.db import connection

from connectors import event_log
from connectors.choices import MessageState
from connectors.conf import TransportConfig
from connectors.event_log import Conditions, Event
from connectors.models import Message, Node

POLL = timedelta(seconds=2)  # QR-53
HISTORY = 300  # polls that Submission may stay at Medium before the doors close (QR-55)
_QUEUE_RESERVE = 500 * 1024**2
_LOG_RESERVE = min(5 * 1024**3, 3 * 384 * 1024**2)
_FIRST_DELAY = timedelta(seconds=10)  # QR-56
_DELAY_STEP = timedelta(seconds=5)
_LONGEST_DELAY = timedelta(seconds=55)


class Level(IntEnum):
    """How hard a resource is pressed."""

    NORMAL = 0
    MEDIUM = 1
    HIGH = 2


class Resource(StrEnum):
    """What is watched."""

    QUEUE_DISK = "queue disk"
    LOG_DISK = "log disk"
    SUBMISSION = "submission"


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Where the levels of a resource begin; Normal is where Medium ends on the way down."""

    normal: int
    medium: int
    high: int

    def level(self, value: int, before: Level) -> Level:
        """Return the level of a value, given the one before."""
        if value >= self.high or (before is Level.HIGH and value > self.medium):
            return Level.HIGH
        if value >= self.medium or (before is not Level.NORMAL and value > self.normal):
            return Level.MEDIUM
        return Level.NORMAL


SUBMISSION_MARKS = Marks(normal=2000, medium=4000, high=10_000)  # messages (QR-55)


def disk_marks(size: int, reserve: int) -> Marks:
    """Return the marks of a disk of `size` bytes, in percent used (QR-54)."""
    high = max(5, math.floor(100 * (size - reserve) / size)) if size else 100
    return Marks(normal=high - 4, medium=high - 2, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One resource as it was measured."""

    value: int  # percent used, or messages
    marks: Marks
    where: str = ""  # directory on the disk


def measure(node: Node, config: TransportConfig) -> dict[Resource, Reading]:
    """Measure everything that is watched."""
    found = {Resource.QUEUE_DISK: _disk(config.data_dir, _QUEUE_RESERVE)}
    if connection.vendor == "sqlite" and (log := Path(connection.settings_dict["NAME"]).parent).is_dir():
        found[Resource.LOG_DISK] = _disk(log, _LOG_RESERVE)
    submitted = Message.objects.filter(node=node, state=MessageState.SUBMITTED).order_by()
    waiting = submitted[: SUBMISSION_MARKS.high].count()
    found[Resource.SUBMISSION] = Reading(value=waiting, marks=SUBMISSION_MARKS)
    return found


def _disk(path: Path, reserve: int) -> Reading:
    status = os.statvfs(path)
    size, free = status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize
    used = math.floor(100 * (size - free) / size) if size else 0
    return Reading(value=used, marks=disk_marks(size, reserve), where=str(path))


class Monitor:
    """The pressure on one node as one process sees it, and what it means for each door."""

    def __init__(self, node: Node, *, config: TransportConfig) -> None:
        self._node = node
        self._config = config
        self._conditions = Conditions(node.name, (Event.PRESSURE, Event.DISK_SPACE), patience=timedelta(0))
        self._polled_at: datetime | None = None
        self._levels: dict[Resource, Level] = {}
        self._lasting = 0  # polls in a row with Submission above Normal
        self._waits: dict[str, tuple[datetime, timedelta]] = {}  # door -> not before, and the delay that led there

    def poll(self, now: datetime) -> None:
        """Measure, at most every two seconds, and tell what changed. Rules: QR-53, QR-56."""
        if self._polled_at is not None and timedelta(0) <= now - self._polled_at < POLL:
            return
        self._polled_at = now
        readings = measure(self._node, self._config)
        before = self._levels
        self._levels = {
            resource: reading.marks.level(reading.value, before.get(resource, Level.NORMAL))
            for resource, reading in readings.items()
        }
        self._lasting = self._lasting + 1 if self._levels[Resource.SUBMISSION] is not Level.NORMAL else 0
        if not self._slows():
            self._waits.clear()
        self._tell(before, readings, now)

    def may_take(self, door: str, now: datetime) -> bool:
        """Tell whether a door may take a batch now; measures when that is due."""
        self.poll(now)
        if self._closes():
            return False
        if not self._slows():
            return True
        not_before, _delay = self._waits.setdefault(door, (now + _FIRST_DELAY, _FIRST_DELAY))
        return now >= not_before

    def took(self, door: str, now: datetime) -> None:
        """Note that a door took a batch: while it is slowed the next one waits five seconds longer."""
        if door in self._waits:
            delay = min(self._waits[door][1] + _DELAY_STEP, _LONGEST_DELAY)
            self._waits[door] = (now + delay, delay)

    def next_due(self, door: str) -> datetime | None:
        """Return when a slowed door may take its next batch; None when it is open or closed."""
        return self._waits[door][0] if door in self._waits and not self._closes() else None

    @property
    def is_pressed(self) -> bool:
        """Tell whether any resource is above Normal."""
        return any(level is not Level.NORMAL for level in self._levels.values())

    def _closes(self) -> bool:
        """Tell whether nothing may be taken: a disk above Normal, or Submission that slowing did not help."""
        submission = self._levels.get(Resource.SUBMISSION, Level.NORMAL)
        disks = (level for resource, level in self._levels.items() if resource is not Resource.SUBMISSION)
        return any(disks) or submission is Level.HIGH or self._lasting > HISTORY

    def _slows(self) -> bool:
        return self._levels.get(Resource.SUBMISSION) is Level.MEDIUM and not self._closes()

    def _tell(self, before: dict[Resource, Level], readings: dict[Resource, Reading], now: datetime) -> None:
        """Open 15004 when a level rises and 15006 while a disk is short; say with 15005 what fell. Rules: QR-56."""
        fallen = [r for r, level in self._levels.items() if level < before.get(r, Level.NORMAL)]
        pressed = [r for r, level in self._levels.items() if level is not Level.NORMAL]
        disks = [r for r in pressed if r is not Resource.SUBMISSION]
        if self._levels != before:
            if pressed:
                self._conditions.saw(Event.PRESSURE, self._described(pressed, readings), now=now)
            if disks:
                self._conditions.saw(Event.DISK_SPACE, self._described(disks, readings), now=now)
            if fallen:
                event_log.note_event(Event.PRESSURE_END, self._node.name, self._described(fallen, readings), now=now)
        lasting = [Event.PRESSURE] * bool(pressed) + [Event.DISK_SPACE] * bool(disks)
        self._conditions.settle(now=now, lasting=lasting)

    def _described(self, resources: Sequence[Resource], readings: dict[Resource, Reading]) -> str:
        """Return level, value and marks of resources, one line each."""
        lines = []
        for resource in resources:
            reading = readings[resource]
            marks = f"{reading.marks.normal}/{reading.marks.medium}/{reading.marks.high}"
            unit = "" if resource is Resource.SUBMISSION else " %"
            level = self._levels[resource].name.lower()
            lines.append(f"{resource}: {level}, {reading.value}{unit} (marks {marks}{unit}) {reading.where}".rstrip())
        return "\n".join(lines)
