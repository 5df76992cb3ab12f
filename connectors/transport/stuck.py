"""Stuck files: dropped files that poll after poll cannot be opened, and who holds them (PU-7, UP-8, DSN-62).

A stuck file is left as it is and tried again for ever; this remembers for how long, so that somebody is told.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

POLLS = 10  # failed polls in a row before somebody is told
_REMEMBERED = 1000  # bounded memory: further files are tried, but not counted
_NAMED = 5


@dataclass(slots=True, kw_only=True)
class StuckFile:
    """A file that could not be taken."""

    why: str
    since: datetime
    polls: int = 0


class StuckFiles:
    """The stuck files of one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, StuckFile] = {}

    def __bool__(self) -> bool:
        return bool(self._files)

    def failed(self, name: str, why: str, *, now: datetime) -> None:
        """Count one failed poll."""
        if name not in self._files and len(self._files) >= _REMEMBERED:
            return
        file = self._files.setdefault(name, StuckFile(why=why, since=now))
        file.why = why
        file.polls += 1

    def opened(self, name: str) -> None:
        """Forget a file that could be opened."""
        if self._files:
            self._files.pop(name, None)

    def forget_gone(self) -> None:
        """Forget files that are no longer there."""
        for name in [name for name in self._files if not os.path.lexists(self._directory / name)]:
            del self._files[name]

    def told(self) -> tuple[str, datetime] | None:
        """Return what to tell about files stuck for ten polls, and since when; None when there are none. Rules: UP-8."""
        long = [(name, file) for name, file in self._files.items() if file.polls >= POLLS]
        if not long:
            return None
        said = [f"{name} ({file.why}{self._holder(name)})" for name, file in long[:_NAMED]]
        more = f" +{len(long) - _NAMED}" if len(long) > _NAMED else ""
        return ", ".join(said) + more, min(file.since for _name, file in long)

    def _holder(self, name: str) -> str:
        """Return owner uid and, for a locked file, the pid of the process that locks it, as far as known."""
        try:
            status = os.lstat(self._directory / name)
        except OSError:
            return ""
        pid = lock_holder(status.st_dev, status.st_ino)
        return f"; uid {status.st_uid}" + (f"; pid {pid}" if pid else "")


def lock_holder(device: int, inode: int, *, locks: Path = Path("/proc/locks")) -> int | None:
    """Return the pid that holds a lock on a file, from the kernel's table."""
    wanted = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
    try:
        lines = locks.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        columns = line.split()
        if len(columns) > 5 and columns[5] == wanted and columns[4].isdigit() and columns[4] != "0":
            return int(columns[4])
    return None
