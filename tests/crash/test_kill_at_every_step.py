"""The process is killed at each step; after a restart every file has one outcome and every copy one file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXPECTED = {
    "drops": sorted(f"Body {number}" for number in range(21) if number % 5 in {0, 1, 2}),
    "mails": sorted(f"Body {number}" for number in range(21) if number % 5 == 1 or number == 20),
    "notices": 4,
    "bad": ["04.bad", "09.bad", "14.bad", "19.bad"],
    "left": [],
    "messages": {"done": 22},  # seventeen of the files, four notices, and the copy for a member of the group
    "ends": {"SEND": 13, "DELIVER": 9, "FAIL": 4, "BADMAIL": 4},
    "files": {"queued": 17, "bad": 4},
}

DEFERRED = {
    "drops": [f"Body {number}" for number in (0, 2, 4, 6)],
    "mails": [],
    "notices": 0,
    "bad": [],
    "left": [],
    "messages": {"done": 4, "routed": 4},
    "ends": {"SEND": 4},
    "files": {"queued": 8},
    # Each refused copy in one state, its one refusal counted once, its next attempt set; nothing leased, no queue busy.
    "copies": [["deferred", 1, 1, 0, 4], ["delivered", 0, 0, 0, 4]],
    "DEFER": 4,
    "active": 0,
}


@pytest.fixture
def environment(tmp_path):
    """A set-up data directory outside this process, as the environment of a child."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("DJANGO_SETTINGS", "FCWEB_D"))}
    env |= {
        "FCWEB_DATA_DIR": str(tmp_path / "data"),
        "FCWEB_NODE": "crash.test",
        "FCWEB_LOG_LEVEL": "CRITICAL",
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run([sys.executable, "manage.py", "setup"], cwd=ROOT, env=env, check=True, capture_output=True)
    return env


def runs_of_deaths(environment, *options):
    """Kill a run at its steps; return what each run and its restart left, the undisturbed run first."""
    every = os.environ.get("FCWEB_CRASH_EVERY", "5")  # `make crash` tries every step
    child = Path(__file__).with_name("kill_everywhere.py")

    told = subprocess.run(
        [sys.executable, child, every, *options], cwd=ROOT, env=environment, capture_output=True, text=True
    )

    runs = [json.loads(line) for line in told.stdout.splitlines()]
    assert told.returncode == 0, told.stderr[-2000:]
    steps = int(runs[0]["name"].split()[0])
    assert steps > 100
    assert len(runs) == 1 + len(range(1, steps + 1, int(every)))
    assert [run["name"] for run in runs if run["name"].startswith("ended")] == []
    return runs


@pytest.mark.crash
@pytest.mark.timeout(1800)
@pytest.mark.rule("PU-17", "PU-18", "MT-K", "PU-19", "DR-25", "DR-26", "DR-27", "QU-10", "UP-4", "UP-23")
@pytest.mark.parametrize("reader", [(), ("greedy",)], ids=["files stay", "a reader takes files at once"])
def test_every_file_has_one_outcome_wherever_the_process_dies(environment, reader):
    runs = runs_of_deaths(environment, *reader)

    wrong = {f"{run['step']} {run['name']}": run["outcome"] for run in runs if run["outcome"] != EXPECTED}
    assert wrong == {}


@pytest.mark.crash
@pytest.mark.timeout(1800)
@pytest.mark.rule("QR-24", "QU-10", "MTA-7", "MTA-15")
def test_a_refused_copy_is_in_exactly_one_state_wherever_the_process_dies(environment):
    runs = runs_of_deaths(environment, "deferring")

    wrong = {f"{run['step']} {run['name']}": run["outcome"] for run in runs if run["outcome"] != DEFERRED}
    assert wrong == {}
