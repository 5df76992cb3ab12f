"""Pressure: when intake must stop so that what is queued can drain (QR-53 to QR-57, PU-10)."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from connectors.choices import MessageState
from connectors.models import Message, Node

_RESERVE_BYTES = 500 * 1024 * 1024
_SUBMISSION_MEDIUM = 4000
_SUBMISSION_HIGH = 10_000


class Level(StrEnum):
    """Resource pressure; from MEDIUM on, Pickup and Replay take nothing."""

    NORMAL = "normal"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """The highest level of any watched resource, and which one it is."""

    level: Level
    resource: str  # "disk", "submission" or "" when normal
    value: int  # percent used, or messages waiting


def disk_level(*, size: int, free: int) -> tuple[Level, int]:
    """Return level and percent used of the disk that holds queue and spool. Rules: QR-54."""
    used = math.floor(100 * (size - free) / size) if size else 100
    high = max(1, math.floor(100 * (size - _RESERVE_BYTES) / size)) if size else 1
    if used >= high:
        return Level.HIGH, used
    return (Level.MEDIUM if used >= high - 2 else Level.NORMAL), used


def measure(node: Node, data_dir: Path) -> Pressure:
    """Measure disk and Submission length; the worse one is returned."""
    status = os.statvfs(data_dir)
    level, used = disk_level(size=status.f_blocks * status.f_frsize, free=status.f_bavail * status.f_frsize)
    if level is not Level.NORMAL:
        return Pressure(level=level, resource="disk", value=used)
    submitted = Message.objects.filter(node=node, state=MessageState.SUBMITTED)
    waiting = submitted.order_by()[:_SUBMISSION_HIGH].count()
    if waiting >= _SUBMISSION_HIGH:
        return Pressure(level=Level.HIGH, resource="submission", value=waiting)
    if waiting >= _SUBMISSION_MEDIUM:
        return Pressure(level=Level.MEDIUM, resource="submission", value=waiting)
    return Pressure(level=Level.NORMAL, resource="", value=0)
