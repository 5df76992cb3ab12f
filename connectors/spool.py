"""Spool: content files, written once in the Replay format and never rewritten (design 3).

Promises: `put` is durable on return; a file belongs to exactly one Message, or is an orphan that `sweep` removes.
Leaves to neighbours: rows. Crash: a file without a row is an orphan of a batch that was never committed.
Finished input files are moved to `trash` and deleted when there is time: deleting is slow on the way (design 7.3).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from connectors import disk

_HOUR = "%Y%m%d%H"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolFile:
    """A content file to be written: `name` is relative to the spool ("2026112400/<hex>.eml")."""

    name: str
    block: bytes  # injected block
    content: bytes  # header, blank line, body


def name_for(network_message_id: uuid.UUID, now: datetime) -> str:
    """Return the spool name of a new message: one folder an hour keeps folders small."""
    return f"{now.astimezone(UTC):{_HOUR}}/{network_message_id.hex}.eml"


def copy_name(network_message_id: uuid.UUID, message_pk: int, now: datetime) -> str:
    """Return the spool name of a copy of a message that has content already (`transport.copies`)."""
    unique = uuid.uuid4().hex[:8]  # a message may be written anew more than once
    return f"{now.astimezone(UTC):{_HOUR}}/{network_message_id.hex}-{message_pk}-{unique}.eml"


def identity(name: str) -> tuple[uuid.UUID, int | None]:
    """Return the network message id a spool name tells, and the internal id where it is a copy; else ValueError."""
    stem = name.rpartition("/")[2].removesuffix(".eml")
    network_message_id, _dash, rest = stem.partition("-")
    return uuid.UUID(network_message_id), int(rest.partition("-")[0]) if rest else None


def put(spool_dir: Path, files: Sequence[SpoolFile], *, mode: str) -> None:
    """Write all files durably; one sync for the batch."""
    by_folder: dict[str, list[tuple[str, Sequence[bytes]]]] = {}
    for file in files:
        folder, _, leaf = file.name.partition("/")
        by_folder.setdefault(folder, []).append((leaf, (file.block, file.content)))
    for folder, batch in by_folder.items():
        path = spool_dir / folder
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True, mode=0o750)
            disk.sync_directory(spool_dir)
        disk.write_batch(path, batch, mode=mode)


def read_head(spool_dir: Path, name: str, length: int) -> bytes:
    """Return the first `length` bytes of a content file."""
    with open(spool_dir / name, "rb") as file:
        return file.read(length)


def hour_folders(spool_dir: Path) -> list[tuple[Path, datetime]]:
    """Return the folders of content with their hours, oldest first."""
    found = []
    try:
        names = sorted(os.listdir(spool_dir))
    except FileNotFoundError:
        return []
    for name in names:
        try:
            found.append((spool_dir / name, datetime.strptime(name, _HOUR).replace(tzinfo=UTC)))
        except ValueError:
            continue  # trash
    return found


def discard(spool_dir: Path, paths: Sequence[str | Path]) -> None:
    """Let finished input files disappear from their directory: moved to the trash, or removed elsewhere."""
    trash = spool_dir / "trash"
    for path in paths:
        try:
            os.rename(path, f"{trash}/{uuid.uuid4().hex}")
        except FileNotFoundError:
            if not trash.is_dir():
                trash.mkdir(parents=True, exist_ok=True, mode=0o700)
                disk.unlink_all([path])
        except OSError:
            disk.unlink_all([path])


def empty_trash(spool_dir: Path, *, limit: int) -> int:
    """Delete up to `limit` discarded files; return how many were deleted."""
    trash = spool_dir / "trash"
    if not trash.is_dir():
        return 0
    with os.scandir(trash) as entries:
        paths = [entry.path for entry, _ in zip(entries, range(limit), strict=False)]
    return disk.unlink_all(paths)
