"""Bad file edit: a person's changed bytes of a bad file handed in as a new `.eml`; the original is kept.

Rules: PU-56, QX-10, PU-66. How they become visible exactly once is told in `bad_file_parts`.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.utils.translation import gettext as _

from connectors.choices import FileState
from connectors.errors import FcwebError
from connectors.models import Node, SourceFile
from connectors.transport import bad_file_parts, badmail

WHOLE = 256 * 1024  # bytes of a file that is edited whole; of a larger one the header alone
LONGEST = 32 * 1024 * 1024  # bytes of a file that is edited at all


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
    the list. An OSError of the rename comes later: `finish` tries again.
    """
    facts = {"sha256_before": before.sha256, "sha256_after": hashlib.sha256(after).hexdigest()}
    (name,) = bad_file_parts.hand_in(row, FileState.CHANGING, lambda _file: [after], by=by, now=now, facts=facts)
    return name


def finish(node: Node, *, now: datetime) -> int:
    """Go on with what processes that ended had begun; return how many files."""
    return bad_file_parts.finish(node, FileState.CHANGING, lambda _file: (), now=now)
