"""Bad file parts: what is made of a bad file, handed in beside it as `.eml` files, each exactly once.

Rules: PU-56, RP-25, UP-23. Used by a split (the messages of glued exports) and an edit (the bytes a person changed).
Order, so that every part becomes visible exactly once wherever the process dies:
(1) one commit moves the row from `bad` to `splitting` or `changing`, by compare-and-set, and says so in the audit trail;
(2) the parts are durable under hidden names `.<row>-<number>.part`, which no reader takes;
(3) one commit writes their number into the row;
(4) each hidden file gets its `.eml` name, never replacing one: a hidden file that is gone has got it;
(5) a file that was split goes, one that was changed stays; (6) one commit ends with `resubmitted`.
Who works holds the bad file under a lock that the kernel releases however the process ends. After a crash `finish`
goes on at (4) when the row names the number of parts. When it does not, a split begins again at (2); a changed file is
back on the list, for its bytes were the person's alone.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from django.db import transaction
from django.utils.translation import gettext as _

from connectors import disk
from connectors.choices import FileState
from connectors.errors import FcwebError
from connectors.models import Node, SourceFile
from connectors.transport import badmail
from connectors.transport.file_names import free_name

_Parts = Sequence[bytes]
logger = logging.getLogger(__name__)
_ON_THE_LIST = (FileState.BAD, FileState.SPLITTING, FileState.CHANGING)


def hand_in(
    row: SourceFile,
    state: FileState,
    make: Callable[[BinaryIO], _Parts],
    *,
    by: str,
    now: datetime,
    facts: Mapping[str, str] | None = None,
) -> list[str]:
    """Hand in the parts that `make` reads from a bad file; return their names. `state`: splitting or changing.

    Raises what `make` raises, FcwebError when it is no bad file any more or has gone, and OSError when a part could
    not be written: then it is a bad file again. An OSError of a rename comes after the third step: `finish` tries
    again.
    """
    badmail.must_be_there(row)
    with _held(row) as whole:
        if whole is None:
            raise FcwebError(_("This file was resubmitted already."), code="BAD_FILE_TAKEN")
        parts = make(whole)
        names = _names(row, state, len(parts))
        with transaction.atomic():
            into = [free_name(Path(row.directory), name, ".eml", now) for name in names]
            badmail.take_off(row, by=by, into=into, now=now, state=state, facts=facts)
        row.state = state
        try:
            _write(row, parts)
        except Exception:
            _give_up(row, by=by, now=now)
            raise
        return _publish(row, len(parts), whole_goes=state == FileState.SPLITTING, now=now)


def finish(node: Node, state: FileState, remake: Callable[[BinaryIO], _Parts], *, now: datetime) -> int:
    """Go on with what processes that ended had begun; return how many files.

    `remake` returns the parts of a file whose parts were not durable yet; none when the file must go back on the list.
    """
    done = 0
    for row in SourceFile.objects.filter(node=node, state=state).select_related("node").order_by("pk"):
        try:
            with _held(row) as whole:
                done += whole is not None and _go_on(row, whole if _is_its_own(row) else None, remake, now=now)
        except FileNotFoundError:
            done += _go_on(row, None, remake, now=now)
        except OSError as error:  # the directory is away or full: the next run tries again
            logger.warning("bad file not handed in", extra={"file": row.bad_name, "error": str(error)})
    return done


def _go_on(row: SourceFile, whole: BinaryIO | None, remake: Callable[[BinaryIO], _Parts], *, now: datetime) -> bool:
    """Finish one file that is held by us, or gone (None); tell whether there was something to do."""
    state = row.state
    row.refresh_from_db(fields=["state", "parts"])
    if row.state != state:
        return False  # the process that held it a moment ago finished it
    count = row.parts
    if not count:
        parts = remake(whole) if whole is not None else ()
        if not parts:  # no part of it was ever visible
            _give_up(row, by="transport", now=now)
            return True
        _write(row, parts)
        count = len(parts)
    _publish(row, count, whole_goes=state == FileState.SPLITTING and whole is not None, now=now)
    return True


def _give_up(row: SourceFile, *, by: str, now: datetime) -> None:
    """Put a file back on the list; of its parts, none of which has a name, nothing stays."""
    disk.clean_up(Path(row.directory).glob(f".{row.pk}-*.part"))
    badmail.put_on(row, by=by, now=now)


def _is_its_own(row: SourceFile) -> bool:
    """Tell whether the file under the name of a row is still the row's: that of one that went may be taken again."""
    others = SourceFile.objects.filter(directory=row.directory, bad_name=row.bad_name).exclude(pk=row.pk)
    return not any(others.filter(state=state).exists() for state in _ON_THE_LIST)


@contextmanager
def _held(row: SourceFile) -> Iterator[BinaryIO | None]:
    """Hold the bad file for this process alone; None while a living one works on it."""
    with open(os.open(_whole(row), os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file


def _whole(row: SourceFile) -> Path:
    return Path(row.directory) / row.bad_name


def _hidden(row: SourceFile, number: int) -> Path:
    return Path(row.directory) / f".{row.pk}-{number}.part"


def _names(row: SourceFile, state: str, count: int) -> list[str]:
    """Return the names the parts should get: numbered ones after a split, the old one after an edit."""
    if state == FileState.CHANGING:
        return [row.name]
    return [f"{row.name[:-4]}-{number}.eml" for number in range(1, count + 1)]


def _write(row: SourceFile, parts: _Parts) -> None:
    """Write the parts under their hidden names, durable, then their number into the row."""
    files = [_hidden(row, number) for number in range(1, len(parts) + 1)]
    disk.unlink_all(files)  # of an attempt that ended half way
    named = [(path.name, [part]) for path, part in zip(files, parts, strict=True)]
    disk.write_batch(Path(row.directory), named, mode="fsync")
    for path in files:
        badmail.keep_owner(path, row)
    SourceFile.objects.filter(pk=row.pk, state=row.state).update(parts=len(parts))


def _publish(row: SourceFile, count: int, *, whole_goes: bool, now: datetime) -> list[str]:
    """Give the hidden files their names, remove the whole if it goes, close the row; return the names given."""
    folder = Path(row.directory)
    named = []
    for number, wanted in enumerate(_names(row, row.state, count), 1):
        name = _name(_hidden(row, number), folder, wanted, now)
        if name:
            named.append(name)
    disk.sync_directory(folder)  # the parts are there for good before the whole goes
    if whole_goes:
        badmail.forget(row, now=now)
        disk.unlink_all([_whole(row)])  # last: while it is there, a later run does all of this again
    else:
        badmail.clear_events(row.directory, now=now)
    SourceFile.objects.filter(pk=row.pk, state=row.state).update(state=FileState.RESUBMITTED, settled_at=now)
    return named


def _name(hidden: Path, folder: Path, wanted: str, now: datetime) -> str:
    """Give a hidden file the name wanted, or a free one like it; return it, "" when the file has got one before."""
    while True:
        target = free_name(folder, wanted, ".eml", now)
        try:
            disk.rename_new(hidden, folder / target)
        except FileExistsError:
            continue  # somebody took the name just now
        except FileNotFoundError:
            return ""
        return target
