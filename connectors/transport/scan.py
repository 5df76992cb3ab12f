"""Scan: which files of a watched directory may be taken now, oldest first.

Promises: bounded memory for any number of files; a candidate is open, regular, settled and locked by nobody.
Leaves to neighbours: claiming. The scan is the truth; names seen closed by inotify only skip the settle time.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import stat
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from connectors.transport.stuck import StuckFiles

_POLL = timedelta(seconds=5)  # PU-1
_REMEMBERED = 20_000  # names kept between two scans (UP-20)
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(slots=True, kw_only=True)
class Candidate:
    """One open file that may be claimed; `close` it when it is not."""

    name: str
    descriptor: int
    device: int
    inode: int
    size: int
    modified_ns: int
    owner_uid: int

    @property
    def identity(self) -> tuple[int, int, int, int]:
        """What makes it the same file at a later look."""
        return (self.device, self.inode, self.size, self.modified_ns)

    def close(self) -> None:
        """Give the descriptor back."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Scanner:
    """The waiting files of one directory. Rules: PU-4 to PU-9, PU-50, PU-66."""

    def __init__(self, directory: Path, *, settle: timedelta, empty_age: timedelta) -> None:
        self.directory = directory
        self.stuck = StuckFiles(directory)
        self._settle = settle
        self._empty_age = empty_age
        self._waiting: deque[tuple[int, str]] = deque()
        self._not_before: dict[str, datetime] = {}
        self._dated_ahead: dict[str, tuple[tuple[int, int, int, int], datetime]] = {}

    def take(self, limit: int, *, limit_bytes: int, now: datetime, closed: set[str]) -> list[Candidate]:
        """Return up to `limit` candidates; `closed` names need no settle time and are used up.

        Ends with the file that brings their sizes to `limit_bytes`, so a batch fits into memory.
        """
        if not self._waiting:
            self._rescan(now, closed)
        candidates: list[Candidate] = []
        total = 0
        while self._waiting and len(candidates) < limit and total < limit_bytes:
            _modified, name = self._waiting.popleft()
            candidate = self._open(name, now=now, closed=closed)
            if candidate is not None:
                candidates.append(candidate)
                total += candidate.size
        return candidates

    def give_back(self, candidates: list[Candidate]) -> None:
        """Return unclaimed candidates to the front, order kept."""
        for candidate in reversed(candidates):
            candidate.close()
            self._waiting.appendleft((candidate.modified_ns, candidate.name))

    def wait_for(self, name: str, until: datetime) -> None:
        """Leave a name alone until then."""
        self._not_before[name] = until

    def is_exhausted(self) -> bool:
        """Tell whether every name of the last scan was looked at."""
        return not self._waiting

    def next_due(self) -> datetime | None:
        """Return when the earliest left-alone file may be looked at again."""
        return min(self._not_before.values(), default=None)

    def _rescan(self, now: datetime, closed: set[str]) -> None:
        """Look at the whole directory; a name closed since it was left alone is looked at again at once."""
        self._not_before = {
            name: until for name, until in self._not_before.items() if until > now and name not in closed
        }
        self.stuck.forget_gone()
        present: set[str] = set()
        self._waiting.extend(heapq.nsmallest(_REMEMBERED, self._names(closed, present)))
        closed &= present

    def _names(self, closed: set[str], present: set[str]) -> Iterator[tuple[int, str]]:
        """Return the names worth a look; those of `closed` that are still there come into `present`."""
        with os.scandir(self.directory) as entries:
            for entry in entries:
                name = entry.name
                if name[-4:].lower() != ".eml" or name[0] == "." or name in self._not_before:
                    continue
                if name in closed:
                    present.add(name)
                try:
                    if entry.is_file(follow_symlinks=False):
                        yield entry.stat(follow_symlinks=False).st_mtime_ns, name
                except FileNotFoundError:
                    continue

    def _open(self, name: str, *, now: datetime, closed: set[str]) -> Candidate | None:
        is_done = name in closed
        closed.discard(name)
        try:
            descriptor = os.open(f"{self.directory}/{name}", _FLAGS)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._leave(name, error.strerror or "cannot be opened", now)
            return None
        status = os.fstat(descriptor)
        candidate = Candidate(
            name=name,
            descriptor=descriptor,
            device=status.st_dev,
            inode=status.st_ino,
            size=status.st_size,
            modified_ns=status.st_mtime_ns,
            owner_uid=status.st_uid,
        )
        wait = self._wait_time(candidate, now=now, is_done=is_done)
        hindrance = _hindrance(candidate, status) if wait is None else ""
        if wait is None and not hindrance:
            self.stuck.opened(name)
            return candidate
        candidate.close()
        if wait is None:
            self._leave(name, hindrance, now)
        else:
            self._not_before[name] = now + wait
        return None

    def _leave(self, name: str, why: str, now: datetime) -> None:
        """Leave a file that cannot be taken for the next poll (PU-7)."""
        self.stuck.failed(name, why, now=now)
        self._not_before[name] = now + _POLL

    def _wait_time(self, candidate: Candidate, *, now: datetime, is_done: bool) -> timedelta | None:
        """Return how long to leave the file alone, or None when it may be taken."""
        age = timedelta(seconds=now.timestamp() - candidate.modified_ns / 1e9)
        if candidate.size == 0 and age < self._empty_age:
            return min(self._empty_age - age, self._empty_age)
        if is_done:
            return None
        if timedelta(0) <= age < self._settle:
            return self._settle - age
        if age < timedelta(0) and not self._unchanged(candidate, now):
            return self._settle
        return None

    def _unchanged(self, candidate: Candidate, now: datetime) -> bool:
        """Tell whether a file dated in the future was seen looking the same one settle time ago."""
        seen = self._dated_ahead.get(candidate.name)
        if seen is None or seen[0] != candidate.identity:
            self._dated_ahead[candidate.name] = (candidate.identity, now)
            return False
        if now - seen[1] < self._settle:
            return False
        del self._dated_ahead[candidate.name]
        return True


def _hindrance(candidate: Candidate, status: os.stat_result) -> str:
    """Return why a settled file cannot be taken, "" when it can. Rules: PU-9, PU-66."""
    if not stat.S_ISREG(status.st_mode):
        return "not a regular file"
    if status.st_nlink != 1:
        return "has another hard link"
    return "locked" if _is_locked(candidate.descriptor) else ""


def _is_locked(descriptor: int) -> bool:
    """Tell whether another process holds the file under an advisory lock (PU-9)."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return True
    except OSError:  # the file system knows no locks
        return False
    return False
