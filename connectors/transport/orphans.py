"""Orphans: content files no message names.

A crash between spool and commit leaves a few (state A2, swept by age); a lost database leaves all (`rebuild`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from connectors import spool
from connectors.models import Message

_CHUNK = 500


def names(spool_dir: Path) -> Iterator[str]:
    """Yield the spool names that no message has, oldest folder first."""
    for folder, _hour in spool.hour_folders(spool_dir):
        yield from in_folder(folder)


def in_folder(folder: Path) -> list[str]:
    """Return the spool names of an hour folder that no message has."""
    found: list[str] = []
    files = sorted(os.listdir(folder))
    for start in range(0, len(files), _CHUNK):
        part = [f"{folder.name}/{file}" for file in files[start : start + _CHUNK]]
        known = set(Message.objects.filter(spool_name__in=part).values_list("spool_name", flat=True))
        found.extend(name for name in part if name not in known)
    return found
