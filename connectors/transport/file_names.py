"""File names beside the original: `.tmp`, `.bad` and returned `.eml` that never overwrite (PU-13, PU-20, PU-55)."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path


def dated_name(name: str, extension: str, now: datetime) -> str:
    """Return `<stem><datetime><extension>` (PU-20)."""
    return f"{name[:-4]}{now:%Y%m%d%H%M%S}{now.microsecond // 1000:03d}{extension}"


def free_name(directory: Path, name: str, extension: str, now: datetime) -> str:
    """Return the plain name with `extension`, else the dated one, else dated with -1, -2… (PU-13, PU-20, PU-55)."""
    plain = name[:-4] + extension
    if not os.path.lexists(f"{directory}/{plain}"):
        return plain
    dated = dated_name(name, extension, now)
    number = 0
    chosen = dated
    while os.path.lexists(f"{directory}/{chosen}"):
        number += 1
        chosen = f"{dated[: -len(extension)]}-{number}{extension}"
    return chosen
