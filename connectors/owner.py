"""Owner: the identity of a transport process, and whether another one still lives.

Each process holds an exclusive lock on a file of its own while it runs; the kernel releases it when the process
ends, however it ends. Claims and leases carry the owner's token, so recovery touches only what the dead left.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType


class Owner:
    """A live token; use it as a context manager around the work of a process."""

    def __init__(self, run_dir: Path) -> None:
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        self.token = uuid.uuid4().hex
        self._path = run_dir / f"{self.token}.owner"
        unlocked = run_dir / f"{self.token}.new"
        self._descriptor = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        unlocked.rename(self._path)  # visible only once it is locked

    def __enter__(self) -> Owner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def is_alive(run_dir: Path, token: str) -> bool:
    """Tell whether the process that took `token` on this node still runs."""
    try:
        descriptor = os.open(run_dir / f"{token}.owner", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def any_alive(run_dir: Path) -> bool:
    """Tell whether any transport process runs on this data directory."""
    return any(is_alive(run_dir, path.stem) for path in run_dir.glob("*.owner"))


class Alone:
    """Tells once whether this is the first living process of a kind on this node; counts as one until it ends."""

    def __init__(self, run_dir: Path, kind: str) -> None:
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._descriptor = os.open(run_dir / f"{kind}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.is_first = True
        except BlockingIOError:
            self.is_first = False
        fcntl.flock(self._descriptor, fcntl.LOCK_SH)  # all who live hold this, so the next one is not the first

    def close(self) -> None:
        """Leave; the kernel does it too when the process ends."""
        os.close(self._descriptor)


@contextmanager
def exclusively(run_dir: Path, kind: str) -> Iterator[bool]:
    """Tell whether this is the only one inside on this node; the kernel lets go when the process ends."""
    run_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
    descriptor = os.open(run_dir / f"{kind}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_only = True
        except BlockingIOError:
            is_only = False
        yield is_only
    finally:
        os.close(descriptor)


def forget_dead(run_dir: Path) -> None:
    """Remove the lock files of processes that ended without doing so; call it after recovery."""
    for path in run_dir.glob("*.owner"):
        if not is_alive(run_dir, path.stem):
            path.unlink(missing_ok=True)
