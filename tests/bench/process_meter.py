"""CPU time and peak memory of a process and everything below it, read from /proc."""

import os
import threading
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_EVERY_SECONDS = 0.2


class Meter:
    """Measures from its creation until `stop`, sampling memory meanwhile."""

    def __init__(self, *roots: int) -> None:
        self._roots = roots
        self._peak = 0.0
        self._done = threading.Event()
        self._at_start = self._cpu()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> tuple[float, float]:
        """Return CPU seconds used since the start and the peak of the summed resident memory in MB."""
        self._done.set()
        self._thread.join()
        return self._cpu() - self._at_start, self._peak

    def _sample(self) -> None:
        while not self._done.wait(_EVERY_SECONDS):
            self._peak = max(self._peak, sum(_resident_mb(pid) for pid in _family(self._roots)))

    def _cpu(self) -> float:
        """Seconds of the living, and of the dead their parents have waited for."""
        total = 0
        for pid in _family(self._roots):
            fields = _stat(pid)
            total += sum(int(fields[index]) for index in (11, 12, 13, 14)) if fields else 0
        return total / _TICK


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _family(roots: tuple[int, ...]) -> set[int]:
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            parents[int(entry)] = int(fields[1])
    family = set(roots)
    grown = True
    while grown:
        fresh = {pid for pid, parent in parents.items() if parent in family} - family
        family |= fresh
        grown = bool(fresh)
    return family


def _resident_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1_048_576
