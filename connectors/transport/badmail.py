"""Badmail: files set aside as `.bad`, with their reason, until a person decides.

Rules: PU-55 to PU-59, UP-3, UP-23, EV-2, DSN-61.
Promises: the row is committed as `bad` with its new name before the file is renamed; `rename_aside` may be
repeated after a crash. Nothing here deletes a message.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from auditlog.models import LogEntry
from django.db import transaction
from django.utils.translation import gettext as _

from connectors import disk, event_log, reasons
from connectors.choices import FileState, SourceKind
from connectors.errors import FcwebError
from connectors.event_log import Event
from connectors.models import Node, SourceFile, SubmitterAddress
from connectors.transport.file_names import free_name
from tracking import record

logger = logging.getLogger(__name__)
_EXCERPT_LINES = 4  # on either side of the offending line
_MOVED_AGE = timedelta(minutes=1)  # a row is bad a moment before its file has the name
_MOVED_LIMIT = 500


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
    row.sha256 = _digest(Path(row.directory) / row.claimed_name)
    with transaction.atomic():
        event = badmail_event(row, recipients=(), message_id="", now=now)
        row.save(update_fields=["state", "reason", "bad_name", "settled_at", "sha256", "crash_count"])
        record.save([event])
    rename_aside(row, now=now)


def _digest(path: Path) -> str:
    """Return the sha256 of a file, "" when it cannot be read (PU-58)."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


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


def resubmit(row: SourceFile, *, by: str, now: datetime) -> str:
    """Give a bad file back as `.eml`, so that it is read again; return its name. Rules: PU-56.

    A file that is bad again comes back on the list. Raises FcwebError when it is not a bad file any more or has
    gone, OSError when it cannot be renamed; it then stays on the list.
    """
    folder = Path(row.directory)
    must_be_there(row)
    target = free_name(folder, row.name, ".eml", now)
    with transaction.atomic():
        take_off(row, by=by, into=[target], now=now)
        disk.rename_new(folder / row.bad_name, folder / target)  # last: an error takes the row back
    forget(row, now=now)
    return target


def forget_moved(node: Node, *, now: datetime) -> int:
    """Take files off the list that somebody moved or deleted by hand, as Exchange's help tells to do (PU-56)."""
    old = now - _MOVED_AGE
    rows = SourceFile.objects.filter(node=node, state=FileState.BAD, settled_at__lt=old).order_by("-id")[:_MOVED_LIMIT]
    gone = [
        row
        for row in rows
        if not any(os.path.lexists(Path(row.directory) / name) for name in (row.bad_name, row.claimed_name))
        and Path(row.directory).is_dir()
    ]
    if gone:
        keys = [row.pk for row in gone]
        SourceFile.objects.filter(pk__in=keys, state=FileState.BAD).update(state=FileState.GONE, settled_at=now)
        for row in {row.directory: row for row in gone}.values():
            clear_events(row.directory, now=now)
    return len(gone)


def must_be_there(row: SourceFile) -> None:
    """Raise FcwebError when a bad file has left its directory."""
    if not os.path.lexists(Path(row.directory) / row.bad_name):
        raise FcwebError(
            _("The file %(name)s is no longer in %(directory)s.") % {"name": row.bad_name, "directory": row.directory},
            code="BAD_FILE_GONE",
        )


def take_off(
    row: SourceFile,
    *,
    by: str,
    into: Sequence[str],
    now: datetime,
    facts: Mapping[str, str] | None = None,
    state: FileState = FileState.RESUBMITTED,
) -> None:
    """Mark a bad file as handed in again, once, and say by whom, and further facts, in the audit trail."""
    changed = SourceFile.objects.filter(pk=row.pk, state=FileState.BAD).update(state=state, parts=0, settled_at=now)
    if not changed:
        raise FcwebError(_("This file was resubmitted already."), code="BAD_FILE_TAKEN")
    LogEntry.objects.log_create(
        row,
        force_log=True,
        action=LogEntry.Action.UPDATE,
        changes={"state": [FileState.BAD.value, state.value]},
        additional_data={"by": by, "into": list(into), **(facts or {})},
    )


def put_on(row: SourceFile, *, by: str, now: datetime) -> None:
    """Put a file whose parts could not be handed in back on the list, and say so in the audit trail."""
    with transaction.atomic():
        if SourceFile.objects.filter(pk=row.pk, state=row.state).update(state=FileState.BAD, settled_at=now):
            LogEntry.objects.log_create(
                row,
                force_log=True,
                action=LogEntry.Action.UPDATE,
                changes={"state": [row.state, FileState.BAD.value]},
                additional_data={"by": by},
            )
            row.state = FileState.BAD


def keep_owner(path: Path, row: SourceFile) -> None:
    """Give a new file the owner of the bad one, so that a change is no way around the owner's senders (PU-66)."""
    if path.stat().st_uid == row.owner_uid:
        return
    try:
        os.chown(path, row.owner_uid, -1)
    except PermissionError:
        if (
            row.source == SourceKind.PICKUP
            and SubmitterAddress.objects.filter(node=row.node_id, uid=row.owner_uid).exists()
        ):
            raise FcwebError(
                _("The file belongs to uid %(uid)s, which may use some senders only: edit it in its directory.")
                % {"uid": row.owner_uid},
                code="BAD_FILE_OWNER",
            ) from None


def forget(row: SourceFile, *, now: datetime) -> None:
    """Remove what was written about a file, and close the conditions it kept open."""
    disk.unlink_all([Path(row.directory) / f"{row.bad_name}.txt"])
    clear_events(row.directory, now=now)


def clear_events(directory: str, *, now: datetime) -> None:
    """Close 9010 when no bad file is left in a directory, 10004 when no poison file is (PU-57, EV-2, EV-3)."""
    left = SourceFile.objects.filter(directory=directory, state=FileState.BAD)
    if not left.exists():
        event_log.clear_events((Event.BADMAIL, Event.POISON_FILE), directory, now=now)
    elif not left.filter(reason="POISON").exists():
        event_log.clear_events((Event.POISON_FILE,), directory, now=now)
