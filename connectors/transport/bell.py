"""Bell: how the process that takes files wakes the one that delivers them, sooner than its next look.

A hint and nothing else: the rows are the truth, a bell nobody hears costs at most a second.
"""

from __future__ import annotations

import os
from pathlib import Path


def folder(run_dir: Path) -> Path:
    """Return the directory to watch for changed attributes; made when needed."""
    path = run_dir / "bell"
    path.mkdir(parents=True, exist_ok=True, mode=0o750)
    return path


def ring(run_dir: Path) -> None:
    """Say that there is something to route or to deliver; after the commit."""
    try:
        os.utime(f"{run_dir}/bell")
    except FileNotFoundError:
        folder(run_dir)
