"""Bad file edit: a person's changed bytes of a bad file handed in as a new `.eml`; the original is kept.

Rules: PU-56, QX-10, PU-66.
Order, so that a crash loses nothing and repeats nothing: (1) the changed bytes are durable under a hidden name, which
no reader takes; (2) one commit moves the row from `bad` to `resubmitted`, by compare-and-set, and names the hidden
file in the audit trail; (3) the hidden file gets its `.eml` name, never replacing one. A crash before (2) leaves the
file on the list; after (2) `finish` does (3), and only for the hidden file the commit names.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from auditlog.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.utils.translation import gettext as _

from connectors import disk
from connectors.choices import FileState
from connectors.errors import FcwebError
from connectors.models import Node, SourceFile
from connectors.transport import badmail
from connectors.transport.file_names import free_name

WHOLE = 256 * 1024  # bytes of a file that is edited whole; of a larger one the header alone
LONGEST = 32 * 1024 * 1024  # bytes of a file that is edited at all
_LOOK_BACK = timedelta(days=1)  # how old a commit may be whose rename is made up for


@dataclass(frozen=True, slots=True, kw_only=True)
class Editable:
    """The bytes of a bad file: the part a person edits, and the rest, which is kept as it is."""

    part: bytes
    rest: bytes

    @property
    def whole(self) -> bytes:
        """Return the file."""
        return self.part + self.rest

    @property
    def sha256(self) -> str:
        """Return the digest of the file in hex."""
        return hashlib.sha256(self.whole).hexdigest()

    def joined(self, part: bytes) -> bytes:
        """Return the file with another part; an edited header keeps a line end before the rest."""
        if self.rest and part and not part.endswith((b"\n", b"\r")):
            part += b"\r\n" if self.rest.startswith(b"\r\n") else b"\n"
        return part + self.rest


def read(row: SourceFile) -> Editable:
    """Return a bad file for editing; raise FcwebError when it is handed in already, gone, too large or has no header to edit."""
    if row.state != FileState.BAD:
        raise FcwebError(_("This file was resubmitted already."), code="BAD_FILE_TAKEN")
    badmail.must_be_there(row)
    with open(os.open(Path(row.directory) / row.bad_name, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        data = file.read(LONGEST + 1)
    if len(data) > LONGEST:
        raise FcwebError(_("The file is larger than 32 MB."), code="BAD_FILE_TOO_LARGE")
    if len(data) <= WHOLE and b"\0" not in data:
        return Editable(part=data, rest=b"")
    end = 0
    for line in data[: WHOLE + 1].splitlines(keepends=True):
        if not line.strip(b"\r\n"):
            return Editable(part=data[:end], rest=data[end:])
        end += len(line)
    raise FcwebError(
        _("The file is too large or no text, and no empty line ends its header: edit it in its directory."),
        code="BAD_FILE_NO_HEADER",
    )


def resubmit_changed(row: SourceFile, before: Editable, after: bytes, *, by: str, now: datetime) -> str:
    """Hand in changed bytes as a new `.eml` beside the original; return its name.

    Raises FcwebError when the file is no bad file any more, OSError when nothing could be written; it then stays on
    the list. An OSError of the rename comes after the commit: `finish` tries again.
    """
    folder = Path(row.directory)
    hidden = f".{uuid.uuid4().hex}.part"
    target = free_name(folder, _eml(row), ".eml", now)
    facts = {
        "hidden": hidden,
        "sha256_before": before.sha256,
        "sha256_after": hashlib.sha256(after).hexdigest(),
    }
    try:
        disk.write_batch(folder, [(hidden, [after])], mode="fsync")
        badmail.keep_owner(folder / hidden, row)
        with transaction.atomic():
            badmail.take_off(row, by=by, into=[target], now=now, facts=facts)
    except Exception:
        disk.clean_up([folder / hidden])
        raise
    return _hand_in(row, hidden, target, now=now)


def finish(node: Node, *, now: datetime) -> int:
    """Give hidden files their names whose commit outlived its process; return how many."""
    entries = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(SourceFile),
        action=LogEntry.Action.UPDATE,
        timestamp__gte=now - _LOOK_BACK,
        additional_data__hidden__isnull=False,
    ).values_list("object_id", "additional_data")
    facts = {key: data for key, data in entries if key is not None and data}
    rows = SourceFile.objects.filter(pk__in=facts, node=node, state=FileState.RESUBMITTED) if facts else ()
    done = 0
    for row in rows:
        hidden = facts[row.pk]["hidden"]
        if os.path.lexists(Path(row.directory) / hidden):
            _hand_in(row, hidden, facts[row.pk]["into"][0], now=now)
            done += 1
    return done


def _hand_in(row: SourceFile, hidden: str, target: str, *, now: datetime) -> str:
    """Rename a hidden file to `target`, or to a free name when that was taken meanwhile; idempotent."""
    folder = Path(row.directory)
    try:
        disk.rename_new(folder / hidden, folder / target)
    except FileExistsError:
        target = free_name(folder, _eml(row), ".eml", now)
        disk.rename_new(folder / hidden, folder / target)
    except FileNotFoundError:
        pass  # another process finished it
    disk.sync_directory(folder)
    badmail.clear_events(row.directory, now=now)
    return target


def _eml(row: SourceFile) -> str:
    return row.name if row.name[-4:].lower() == ".eml" else row.name[:-4] + ".eml"
