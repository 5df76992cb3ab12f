"""Watched directories: whether Pickup and Replay can be used, and what a changed path leaves behind.

Rules: PU-22 (files left in the old directory are counted), PU-61 to PU-65 (access, with the exact commands that
cure it; what is unsafe is refused, what is only doubtful is said), RP-8 (Replay has a group of its own).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from django.utils.translation import gettext as _

from connectors import mounts
from connectors.models import Node

MODE = 0o2770  # service user, group of submitters; new files inherit the group (PU-64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a watched directory, with its cure."""

    text: str
    refuses: bool  # False: the directory is used, a person should know


def examine(path: str, *, others: Sequence[str] = (), mount_table: str | None = None) -> list[Problem]:
    """Return what is wrong with a watched directory; `others` are watched too. Rules: PU-64, PU-65."""
    try:
        status = os.stat(path)
    except OSError:
        return [_refused(_("%(path)s does not exist: mkdir -m 2770 '%(path)s'"), path)]
    if not stat.S_ISDIR(status.st_mode):
        return [_refused(_("%(path)s is not a directory."), path)]
    found = _access(path, status)
    found.extend(
        _refused(_("%(path)s is the same as, or inside, %(other)s, which is watched too."), path, other=other)
        for other in others
        if _overlaps(path, other)
    )
    kind = mounts.file_system(path, table=mount_table)
    if kind in mounts.NOT_ATOMIC:
        found.append(
            _refused(_("%(path)s is on a file system (%(kind)s) whose renames are not atomic."), path, kind=kind)
        )
    elif kind in mounts.NETWORK:
        text = _(
            "%(path)s is on a network file system (%(kind)s): changes are seen by polling alone, locks may not be."
        )
        found.append(Problem(text=text % {"path": path, "kind": kind}, refuses=False))
    return found


def _access(path: str, status: os.stat_result) -> list[Problem]:
    """Return what is wrong with owner and mode, each with the command that cures it (PU-64)."""
    uid = os.geteuid()
    sticky = bool(status.st_mode & stat.S_ISVTX)
    found = []
    if status.st_mode & stat.S_IWOTH and not sticky:
        found.append(_refused(_("%(path)s is writable by everybody: chmod o-w '%(path)s'"), path))
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        if status.st_uid == uid:
            found.append(_refused(_("%(path)s cannot be read and written: chmod u+rwx '%(path)s'"), path))
        else:
            found.append(_refused(_("%(path)s cannot be read and written: chown %(uid)s '%(path)s'"), path, uid=uid))
    elif sticky and uid not in {0, status.st_uid}:
        text = _("%(path)s has the sticky bit, so only its owner can take files: chown %(uid)s '%(path)s'")
        found.append(_refused(text, path, uid=uid))
    if status.st_mode & stat.S_IWGRP and not status.st_mode & stat.S_ISGID and uid != 0:
        text = _("Files in %(path)s do not inherit its group and may be unreadable: chmod g+s '%(path)s'")
        found.append(Problem(text=text % {"path": path}, refuses=False))
    return found


def _refused(text: str, path: str, **facts: object) -> Problem:
    return Problem(text=text % {"path": path, **facts}, refuses=True)


def _overlaps(path: str, other: str) -> bool:
    """Tell whether one directory is the other or stands inside it, links followed."""
    mine, theirs = os.path.realpath(path), os.path.realpath(other)
    return bool(path and other) and os.path.commonpath([mine, theirs]) in {mine, theirs}


def problems(node: Node) -> list[str]:
    """Return what is wrong with the watched directories of a node, for its form (PU-64, PU-65)."""
    paths = [path for path in (node.pickup_directory_path, node.replay_directory_path) if path]
    said = [_("%(path)s is not an absolute path.") % {"path": path} for path in paths if not Path(path).is_absolute()]
    for number, path in enumerate(paths):
        if Path(path).is_absolute():
            said.extend(problem.text for problem in examine(path, others=paths[:number]))
    if len(paths) == 2 and _shares_group(*paths):
        text = _("Whoever may write to %(pickup)s may write to %(replay)s too: give Replay a group of its own.")
        said.append(text % {"pickup": paths[0], "replay": paths[1]})
    return said


def _shares_group(pickup: str, replay: str) -> bool:
    """Tell whether the submitters of Pickup may write to Replay (PU-63, RP-8)."""
    try:
        first, second = os.stat(pickup), os.stat(replay)
    except OSError:
        return False
    return first.st_gid == second.st_gid and bool(first.st_mode & second.st_mode & stat.S_IWGRP)


def create(path: str) -> None:
    """Create a missing watched directory with its mode; the parent must exist. Raises OSError. Rules: PU-62, EV-1."""
    os.mkdir(path)
    os.chmod(path, MODE)


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
