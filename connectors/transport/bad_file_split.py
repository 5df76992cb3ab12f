"""Bad file split: the messages of a file of glued exports, each handed in as an `.eml` of its own (RP-24, RP-25).

Order, so that every message becomes visible exactly once wherever the process dies:
(1) one commit moves the row from `bad` to `splitting`, by compare-and-set, and says so in the audit trail;
(2) the parts are durable under hidden names `.<row>-<number>.part`, which no reader takes;
(3) one commit writes their number into the row;
(4) each hidden file gets its `.eml` name, never replacing one: a hidden file that is gone has got it;
(5) the glued file goes, (6) one commit ends with `resubmitted`.
Who works holds the glued file under a lock that the kernel releases however the process ends. After a crash `finish`
begins again at (2), or goes on at (4) when the row names the number of parts.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from django.db import transaction
from django.utils.translation import gettext as _

from connectors import disk
from connectors.choices import FileState
from connectors.errors import FcwebError
from connectors.mail import replay_format
from connectors.models import Node, SourceFile
from connectors.transport import badmail
from connectors.transport.file_names import free_name

logger = logging.getLogger(__name__)


def split(row: SourceFile, *, by: str, now: datetime) -> list[str]:
    """Cut a file of glued exports into its messages and hand each in; return their names.

    The parts hold every byte. Raises FcwebError when it is no bad file any more, has gone or holds one message, and
    OSError when a part could not be written: then it is a bad file again. An OSError of a rename comes after the
    third step: `finish` tries again.
    """
    badmail.must_be_there(row)
    with _held(row) as glued:
        if glued is None:
            raise FcwebError(_("This file was resubmitted already."), code="BAD_FILE_TAKEN")
        parts = replay_format.split_export(glued.read())
        if len(parts) < 2:
            raise FcwebError(_("%(name)s holds one message only.") % {"name": row.bad_name}, code="NOT_GLUED")
        into = [_target(row, number) for number in range(1, len(parts) + 1)]
        with transaction.atomic():
            badmail.take_off(row, by=by, into=into, now=now, state=FileState.SPLITTING)
        try:
            _write(row, parts)
        except Exception:
            disk.clean_up(_hidden(row, number) for number in range(1, len(parts) + 1))
            badmail.put_on(row, by=by, now=now)
            raise
        return _hand_in(row, len(parts), with_glued=True, now=now)


def finish(node: Node, *, now: datetime) -> int:
    """Go on with what processes that ended had begun; return how many files."""
    done = 0
    for row in SourceFile.objects.filter(node=node, state=FileState.SPLITTING).select_related("node").order_by("pk"):
        try:
            with _held(row) as glued:
                done += glued is not None and _go_on(row, glued if _is_its_own(row) else None, now=now)
        except FileNotFoundError:
            done += _go_on(row, None, now=now)
        except OSError as error:  # the directory is away or full: the next run tries again
            logger.warning("split not finished", extra={"file": row.bad_name, "error": str(error)})
    return done


def _go_on(row: SourceFile, glued: BinaryIO | None, *, now: datetime) -> bool:
    """Finish one file whose glued file is held by us, or gone (None); tell whether there was something to do."""
    row.refresh_from_db(fields=["state", "parts"])
    if row.state != FileState.SPLITTING:
        return False  # the process that held it a moment ago finished it
    count = row.parts
    if not count:
        parts = replay_format.split_export(glued.read()) if glued is not None else []
        if len(parts) < 2:  # somebody changed or took the file; no part of it was ever visible
            badmail.put_on(row, by="transport", now=now)
            return True
        _write(row, parts)
        count = len(parts)
    _hand_in(row, count, with_glued=glued is not None, now=now)
    return True


def _is_its_own(row: SourceFile) -> bool:
    """Tell whether the file under the name of a row is still the row's: that of one that went may be taken again."""
    others = SourceFile.objects.filter(directory=row.directory, bad_name=row.bad_name).exclude(pk=row.pk)
    return not any(others.filter(state=state).exists() for state in (FileState.BAD, FileState.SPLITTING))


@contextmanager
def _held(row: SourceFile) -> Iterator[BinaryIO | None]:
    """Hold the glued file for this process alone; None while a living one works on it."""
    with open(os.open(_glued(row), os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file


def _glued(row: SourceFile) -> Path:
    return Path(row.directory) / row.bad_name


def _hidden(row: SourceFile, number: int) -> Path:
    return Path(row.directory) / f".{row.pk}-{number}.part"


def _target(row: SourceFile, number: int) -> str:
    return f"{row.name[:-4]}-{number}.eml"


def _write(row: SourceFile, parts: Sequence[bytes]) -> None:
    """Write the parts under their hidden names, durable, then their number into the row."""
    files = [_hidden(row, number) for number in range(1, len(parts) + 1)]
    disk.unlink_all(files)  # of an attempt that ended half way
    named = [(path.name, [part]) for path, part in zip(files, parts, strict=True)]
    disk.write_batch(Path(row.directory), named, mode="fsync")
    for path in files:
        badmail.keep_owner(path, row)
    SourceFile.objects.filter(pk=row.pk, state=FileState.SPLITTING).update(parts=len(parts))


def _hand_in(row: SourceFile, count: int, *, with_glued: bool, now: datetime) -> list[str]:
    """Give the hidden files their names, remove the glued one, close the row; return the names given."""
    folder = Path(row.directory)
    named = []
    for number in range(1, count + 1):
        target = free_name(folder, _target(row, number), ".eml", now)
        try:
            disk.rename_new(_hidden(row, number), folder / target)
        except FileNotFoundError:
            continue  # it has got its name before
        named.append(target)
    disk.sync_directory(folder)  # the parts are there for good before the whole goes
    if with_glued:
        badmail.forget(row, now=now)
        disk.unlink_all([_glued(row)])  # last: while it is there, a later run does all of this again
    SourceFile.objects.filter(pk=row.pk, state=FileState.SPLITTING).update(state=FileState.RESUBMITTED, settled_at=now)
    return named
