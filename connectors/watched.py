"""Watched directories: whether Pickup and Replay can be used, and what a changed path leaves behind (PU-22, PU-64, PU-65)."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from django.utils.translation import gettext as _

from connectors.models import Node


def problems(path: str) -> list[str]:
    """Return what is wrong with a watched directory, each with its cure (PU-64, PU-65)."""
    if not path:
        return []
    if not Path(path).is_absolute():
        return [_("%(path)s is not an absolute path.") % {"path": path}]
    try:
        status = os.stat(path)
    except OSError:
        return [_("%(path)s does not exist: mkdir -p -m 2770 '%(path)s'") % {"path": path}]
    if not stat.S_ISDIR(status.st_mode):
        return [_("%(path)s is not a directory.") % {"path": path}]
    found = []
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        found.append(_("%(path)s is writable by everybody: chmod o-w '%(path)s'") % {"path": path})
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        cure = {"path": path, "uid": os.geteuid()}
        found.append(_("%(path)s cannot be read and written: chown %(uid)d '%(path)s'") % cure)
    return found


def left_behind(before: Node | None, after: Node) -> list[str]:
    """Say how many files stay unprocessed in a directory that is no longer watched (PU-22)."""
    if before is None:
        return []
    said = []
    for column in ("pickup_directory_path", "replay_directory_path"):
        old = getattr(before, column)
        if not old or old == getattr(after, column) or not Path(old).is_dir():
            continue
        count = waiting_files(old)
        text = _("%(count)d files stay in %(path)s: they are neither moved nor processed.")
        said.append(text % {"count": count, "path": old})
    return said


def waiting_files(path: str) -> int:
    """Return how many message files lie in a watched directory; 0 when it cannot be read."""
    if not path:
        return 0
    try:
        with os.scandir(path) as entries:
            return sum(entry.name.lower().endswith(".eml") for entry in entries)
    except OSError:
        return 0
