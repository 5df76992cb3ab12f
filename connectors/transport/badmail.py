"""Badmail: files set aside as `.bad`, with their reason, until a person decides (PU-55 to PU-58).

Promises: the row is committed as `bad` with its new name before the file is renamed; `rename_aside` may be
repeated after a crash. Nothing here deletes a message.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from pathlib import Path

from django.db import transaction
from django.utils.translation import gettext as _

from connectors import disk, event_log, reasons
from connectors.choices import FileState
from connectors.errors import FcwebError
from connectors.event_log import Event
from connectors.models import SourceFile
from connectors.transport.file_names import free_name
from tracking import record

logger = logging.getLogger(__name__)
_EXCERPT_LINES = 4  # on either side of the offending line


def badmail_event(
    row: SourceFile, *, recipients: Sequence[tuple[str, str]], message_id: str, now: datetime
) -> record.NewEvent:
    """Open a tracked message for a bad file and return its BADMAIL event. Rules: PU-59, MT-C, MTP-4."""
    tracked = record.open_messages(
        [
            record.NewMessage(
                internal_message_id=None,
                network_message_id=None,
                message_id=message_id,
                sender=row.sender,
                return_path=row.sender,
                subject=row.subject,
                size=row.size,
                directionality="Undefined",
                source=row.source,
                recipients=len(recipients),
                at=now,
            )
        ]
    )
    return record.badmail(
        tracked[0],
        at=now,
        source=row.source,
        server=row.node.name,
        context=f"{row.name} {row.reason}",
        recipients=list(recipients),
    )


def rename_aside(row: SourceFile, *, now: datetime) -> None:
    """Give a file whose row says `bad` its `.bad` name and write its reason beside it; idempotent."""
    folder = Path(row.directory)
    try:
        disk.rename_new(folder / row.claimed_name, folder / row.bad_name)
    except FileExistsError:
        row.bad_name = free_name(folder, row.name, ".bad", now)
        SourceFile.objects.filter(pk=row.pk).update(bad_name=row.bad_name)
        disk.rename_new(folder / row.claimed_name, folder / row.bad_name)
    except FileNotFoundError:
        if not os.path.lexists(folder / row.bad_name):
            event_log.raise_event(Event.FILE_VANISHED, row.directory, row.name, now=now)
        return
    if row.node.write_bad_txt:
        _write_reason(row)
    event_log.raise_event(Event.BADMAIL, row.directory, row.bad_name, now=now)


def _write_reason(row: SourceFile) -> None:
    """Write `<name>.bad.txt`: reason in words, code, line and text (PU-58)."""
    lines = [
        str(reasons.sentence(row.reason)),
        str(reasons.cure(row.reason)),
        "",
        f"{row.reason} line {row.line}: {row.text}" if row.line else row.reason,
        f"{row.name} {row.size} bytes sha256 {row.sha256}",
    ]
    path = Path(row.directory) / f"{row.bad_name}.txt"
    try:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as error:
        logger.warning("reason file not written", extra={"file": row.bad_name, "error": str(error)})


def set_aside_poison(row: SourceFile, *, now: datetime) -> None:
    """Set aside a claimed file that broke the transport too often. Rules: PU-21, EV-3."""
    row.state = FileState.BAD
    row.reason = "POISON"
    row.bad_name = free_name(Path(row.directory), row.name, ".bad", now)
    row.settled_at = now
    with transaction.atomic():
        event = badmail_event(row, recipients=(), message_id="", now=now)
        row.save(update_fields=["state", "reason", "bad_name", "settled_at", "crash_count"])
        record.save([event])
    rename_aside(row, now=now)


def read_excerpt(row: SourceFile) -> list[tuple[int, str, bool]]:
    """Return the offending line with its neighbours: (line number, text, is the offender).

    Empty when the file is gone. Lines are cut at 500 characters; NUL and control characters are shown as dots.
    """
    first = max(1, row.line - _EXCERPT_LINES)
    try:
        descriptor = os.open(Path(row.directory) / row.bad_name, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return []
    with os.fdopen(descriptor, "rb") as file:
        raw_lines = list(islice(file, first - 1, max(row.line, 1) + _EXCERPT_LINES))
    shown = []
    for number, raw in enumerate(raw_lines, first):
        text = raw.rstrip(b"\r\n")[:500].decode("utf-8", "replace")
        shown.append((number, "".join(c if c.isprintable() else "·" for c in text), number == row.line))
    return shown


def resubmit(row: SourceFile, *, by: str, now: datetime) -> None:
    """Give a bad file back as `.eml`, so that it is read again; a bad file again stays on the list (PU-56).

    Raises FcwebError when it is not a bad file any more or has gone.
    """
    folder = Path(row.directory)
    if not os.path.lexists(folder / row.bad_name):
        raise FcwebError(
            _("The file %(name)s is no longer in %(directory)s.") % {"name": row.bad_name, "directory": row.directory},
            code="BAD_FILE_GONE",
        )
    changed = SourceFile.objects.filter(pk=row.pk, state=FileState.BAD).update(
        state=FileState.RESUBMITTED, settled_at=now
    )
    if not changed:
        raise FcwebError(_("This file was resubmitted already."), code="BAD_FILE_TAKEN")
    name = row.name if row.name[-4:].lower() == ".eml" else row.name[:-4] + ".eml"
    target = free_name(folder, name, ".eml", now)
    disk.rename_new(folder / row.bad_name, folder / target)
    disk.unlink_all([folder / f"{row.bad_name}.txt"])
    logger.info("bad file resubmitted", extra={"file": row.bad_name, "by": by})
    if not SourceFile.objects.filter(directory=row.directory, state=FileState.BAD).exists():
        event_log.clear_events((Event.BADMAIL,), row.directory, now=now)
