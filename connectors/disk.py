"""Disk primitives: rename without replacing, and one sync for a whole batch.

Promises: after `write_batch` or `sync_directory` returns, names and bytes survive power loss; `rename_new`
never overwrites. Leaves to neighbours: which files and why.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
# From this many files on, one syncfs is cheaper than an fsync each (docs/adr/0003-one-sync-per-batch.md).
SYNCFS_FROM = 5
_FSYNC_THREADS = 8


def rename_new(source: str | Path, target: str | Path) -> None:
    """Rename atomically; raise FileExistsError rather than replace `target`. Rules: PU-20, DR-25."""
    result = _LIBC.renameat2(
        _AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), ctypes.c_uint(_RENAME_NOREPLACE)
    )
    if result == 0:
        return
    code = ctypes.get_errno()
    if code not in {errno.EINVAL, errno.ENOSYS}:
        raise OSError(code, os.strerror(code), str(source), None, str(target))
    # The file system knows no such flag: names of ours carry a UUID, so a check before is enough.
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    os.rename(source, target)


def sync_directory(path: str | Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file_system(path: str | Path) -> None:
    """Make everything on the file system of `path` durable: one wait for a whole batch."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _LIBC.syncfs(descriptor) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(descriptor)


def uses_syncfs(mode: str, count: int) -> bool:
    """Tell whether a batch of `count` files is made durable by one syncfs (FCWEB_SYNC)."""
    return mode == "syncfs" or (mode == "auto" and count >= SYNCFS_FROM)


def write_batch(
    directory: Path, files: Sequence[tuple[str, Sequence[bytes]]], *, mode: str, permissions: int = 0o640
) -> None:
    """Write new files `(name, chunks)` into `directory`, bytes and names durable on return.

    A name that exists raises FileExistsError. After an error some of the files may be there.
    """
    whole = uses_syncfs(mode, len(files))

    def write(file: tuple[str, Sequence[bytes]]) -> None:
        name, chunks = file
        descriptor = os.open(f"{directory}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, permissions)
        try:
            _write_all(descriptor, chunks)
            if not whole:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    if whole or len(files) == 1:
        for file in files:
            write(file)
    elif files:
        with ThreadPoolExecutor(_FSYNC_THREADS) as pool:
            list(pool.map(write, files))
    if whole:
        sync_file_system(directory)
    elif files:
        sync_directory(directory)


def _write_all(descriptor: int, chunks: Sequence[bytes]) -> None:
    """Write all chunks; a short write continues where it stopped."""
    written = os.writev(descriptor, chunks)
    missing = sum(map(len, chunks)) - written
    if missing:
        rest = b"".join(chunks)[written:]
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def unlink_all(paths: Iterable[str | Path]) -> int:
    """Remove files that may already be gone; return how many were removed."""
    removed = 0
    for path in paths:
        try:
            os.unlink(path)
            removed += 1
        except (FileNotFoundError, NotADirectoryError):
            continue
    return removed


def clean_up(paths: Iterable[str | Path]) -> None:
    """Remove files of an attempt that failed, as far as the same trouble lets it; the rest is swept at start."""
    with suppress(OSError):
        unlink_all(paths)
