"""Bad file split: the messages of a file of glued exports, each handed in as an `.eml` of its own (RP-24, RP-25).

The parts hold every byte; how they become visible exactly once is told in `bad_file_parts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import BinaryIO

from django.utils.translation import gettext as _

from connectors.choices import FileState
from connectors.errors import FcwebError
from connectors.mail import replay_format
from connectors.models import Node, SourceFile
from connectors.transport import bad_file_parts


def split(row: SourceFile, *, by: str, now: datetime) -> list[str]:
    """Cut a file of glued exports into its messages and hand each in; return their names.

    Raises FcwebError when it is no bad file any more, has gone or holds one message, and OSError when a part could
    not be written: then it is a bad file again.
    """

    def messages(glued: BinaryIO) -> Sequence[bytes]:
        parts = _messages(glued)
        if not parts:
            raise FcwebError(_("%(name)s holds one message only.") % {"name": row.bad_name}, code="NOT_GLUED")
        return parts

    return bad_file_parts.hand_in(row, FileState.SPLITTING, messages, by=by, now=now)


def finish(node: Node, *, now: datetime) -> int:
    """Go on with what processes that ended had begun; return how many files."""
    return bad_file_parts.finish(node, FileState.SPLITTING, _messages, now=now)


def _messages(glued: BinaryIO) -> Sequence[bytes]:
    """Return the messages of a glued file; none when it holds one only, perhaps because somebody changed it."""
    parts = replay_format.split_export(glued.read())
    return parts if len(parts) > 1 else ()
