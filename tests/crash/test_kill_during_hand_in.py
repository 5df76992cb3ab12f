"""The process is killed at each step of splitting or editing a bad file: each part is handed in once, or none was."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SENT = {
    "split": {"parts": ["Body 1", "Body 2", "Body 3"], "left": [], "rows": ["resubmitted"], "alarms": 0},
    "edit": {"parts": ["Body 1"], "left": ["two.bad", "two.bad.txt"], "rows": ["resubmitted"], "alarms": 0},
}
UNTOUCHED = {"parts": [], "left": ["two.bad", "two.bad.txt"], "rows": ["bad"], "alarms": 1}


@pytest.mark.crash
@pytest.mark.timeout(900)
@pytest.mark.rule("RP-25", "UP-23", "PU-56")
@pytest.mark.parametrize("way", SENT)
@pytest.mark.parametrize("reader", [(), ("greedy",)], ids=["parts are read in turn", "a reader takes parts at once"])
def test_every_part_is_handed_in_once_wherever_the_process_dies(tmp_path, way, reader):
    env = {key: value for key, value in os.environ.items() if not key.startswith(("DJANGO_SETTINGS", "FCWEB_D"))}
    env |= {
        "FCWEB_DATA_DIR": str(tmp_path / "data"),
        "FCWEB_NODE": "crash.test",
        "FCWEB_LOG_LEVEL": "CRITICAL",
        "PYTHONPATH": str(ROOT),
    }
    subprocess.run([sys.executable, "manage.py", "setup"], cwd=ROOT, env=env, check=True, capture_output=True)

    child = Path(__file__).with_name("kill_hand_in.py")
    every = os.environ.get("FCWEB_CRASH_EVERY", "5")  # `make crash` tries every step
    command = [sys.executable, child, way, every, *reader]
    told = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)

    assert told.returncode == 0, told.stderr[-2000:]
    runs = [json.loads(line) for line in told.stdout.splitlines()]
    steps = int(runs[0]["name"].split()[0])
    assert steps > 20 and len(runs) == 1 + len(range(1, steps + 1, int(every)))
    assert [run["name"] for run in runs if run["name"].startswith("ended")] == []
    wrong = {
        f"{run['step']} {run['name']}": run["outcome"] for run in runs if run["outcome"] not in (SENT[way], UNTOUCHED)
    }
    assert wrong == {}
    fates = [run["outcome"] == SENT[way] for run in runs[1:]]
    assert fates == sorted(fates) and any(fates) and not all(fates)  # from one step on, all of it; before, nothing
