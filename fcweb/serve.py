"""Web and transport in one command: two child processes, ended together, the transport restarted when it fails."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType

_GRACE_SECONDS = 12


def run(commands: Sequence[Sequence[str]]) -> int:
    """Run the commands until a signal or until the first one (the web) ends; return its exit code."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    children = [_start(command) for command in commands]
    while not stop.wait(0.2) and children[0].poll() is None:
        for position, child in enumerate(children[1:], 1):
            if child.poll() is not None:
                time.sleep(1)
                children[position] = _start(commands[position])
    code = children[0].poll()
    for child in children:
        if child.poll() is None:
            child.terminate()
    for child in children:
        try:
            child.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
    return 0 if stop.is_set() else int(code or 0)


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, *command])  # noqa: S603 (our own commands)
