"""Drop directories as the pages show them: usable or not, how full, how long the oldest file waits.

Looks without touching: the write test belongs to the connector's own page. A directory with very many files is
not read to its end; the figures then say "at least".
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from django.utils.translation import gettext as _

from connectors import drop_directory
from connectors.errors import FcwebError
from connectors.models import ForeignConnector, Node

SCAN_LIMIT = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DropDirectory:
    """One connector's drop directory at one moment."""

    connector_pk: int
    connector: str
    path: str
    quota: int | None
    problem: str = ""  # sentence; "" when mail can be written
    tone: str = "ok"
    is_missing: bool = False
    bytes: int = 0
    files: int = 0
    is_partial: bool = False  # reading stopped at SCAN_LIMIT
    oldest_at: datetime | None = None


def look(connectors: Iterable[ForeignConnector], node: Node) -> list[DropDirectory]:
    """Return the drop directories of these connectors, in the order given."""
    return [_look(connector, node) for connector in connectors]


def _look(connector: ForeignConnector, node: Node) -> DropDirectory:
    quota = connector.drop_directory_quota
    try:
        path = drop_directory.effective_path(connector, node)
    except FcwebError as error:
        return DropDirectory(
            connector_pk=connector.pk,
            connector=connector.name,
            path=connector.drop_directory or connector.name,
            quota=quota,
            problem=str(error),
            tone="fail",
        )
    problem = _problem(path)
    used, files, oldest, is_partial = (0, 0, None, False) if problem else _usage(path)
    tone = "fail" if problem else "ok"
    if not problem and quota is not None and used >= quota * 0.8:
        tone = "fail" if used >= quota else "wait"
        problem = _("Full: the quota is reached.") if used >= quota else _("Nearly full.")
    return DropDirectory(
        connector_pk=connector.pk,
        connector=connector.name,
        path=str(path),
        quota=quota,
        problem=problem,
        tone=tone,
        is_missing=not os.path.lexists(path),
        bytes=used,
        files=files,
        is_partial=is_partial,
        oldest_at=oldest,
    )


def _problem(path: Path) -> str:
    """Return what keeps fcweb from writing there, "" when nothing is seen."""
    try:
        mode = path.stat().st_mode
    except PermissionError:
        return _("Access is denied.")
    except OSError:
        return _("It does not exist.")
    if not stat.S_ISDIR(mode):
        return _("It is not a directory.")
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return _("It is not writable.")
    return ""


def _usage(path: Path) -> tuple[int, int, datetime | None, bool]:
    """Return bytes, files, time of the oldest, and whether there are more. Rules: DR-29."""
    used = files = seen = 0
    oldest: float | None = None
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # collected by the gateway just now
                if not stat.S_ISREG(status.st_mode):
                    continue
                if seen == SCAN_LIMIT:
                    return used, files, _moment(oldest), True
                used += status.st_size
                seen += 1
                if not entry.name.startswith("."):  # temp files count for the quota, but do not wait yet
                    files += 1
                    oldest = status.st_mtime if oldest is None else min(oldest, status.st_mtime)
    except OSError:
        return used, files, _moment(oldest), True
    return used, files, _moment(oldest), False


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
