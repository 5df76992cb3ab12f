"""Audit: who is behind the changes a command makes (issue 2 part 2).

Changes made in the browser are signed by auditlog's middleware; a command has no signed-in user, so each of its
entries names the Unix user and the command in `additional_data`.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from auditlog.context import set_extra_data
from auditlog.models import LogEntry
from django.db import models


@contextmanager
def by_command(command: str) -> Iterator[None]:
    """Sign every audit entry made inside with the Unix user and the command, e.g. "connector set"."""
    with set_extra_data({"additional_data": {"unix_user": unix_user(), "command": command}}):
        yield


def list_changed(owner: models.Model, field: str, *, before: Sequence[str], after: Sequence[str]) -> None:
    """Record a list of an object as it was and as it is, where it changed; auditlog itself names only what came or went."""
    if list(before) != list(after):
        changes = {field: [", ".join(before), ", ".join(after)]}
        LogEntry.objects.log_create(owner, action=LogEntry.Action.UPDATE, changes=changes)


def unix_user() -> str:
    """Return the name of the user this process runs as, its number when it has no name."""
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
