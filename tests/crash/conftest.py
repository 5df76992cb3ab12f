"""Fixtures of the crash tests: a set-up data directory outside this process, and the runs of a child that dies."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


@pytest.fixture
def environment(tmp_path):
    """A set-up data directory, as the environment of a child."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("DJANGO_SETTINGS", "FCWEB_D"))}
    env |= {
        "FCWEB_DATA_DIR": str(tmp_path / "data"),
        "FCWEB_NODE": "crash.test",
        "FCWEB_LOG_LEVEL": "CRITICAL",
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run([sys.executable, "manage.py", "setup"], cwd=ROOT, env=env, check=True, capture_output=True)
    return env


@pytest.fixture
def deaths(environment):
    """`deaths(child, *options)` kills a child at its steps; returns how many steps a run has, and what each run left.

    The undisturbed run comes first; each run is {"step", "name", "outcome"}.
    """

    def run(child, *options):
        every = os.environ.get("FCWEB_CRASH_EVERY", "5")  # `make crash` tries every step
        command = [sys.executable, HERE / child, every, *options]
        told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert told.returncode == 0, told.stderr[-2000:]
        runs = [json.loads(line) for line in told.stdout.splitlines()]
        steps = int(runs[0]["name"].split()[0])
        assert len(runs) == 1 + len(range(1, steps + 1, int(every)))
        assert [run["name"] for run in runs if run["name"].startswith("ended")] == []
        return steps, runs

    return run
