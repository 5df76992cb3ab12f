"""The process is killed at each step; after a restart every file has one outcome and every copy one file."""

import pytest

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


@pytest.mark.crash
@pytest.mark.timeout(1800)
@pytest.mark.rule("PU-17", "PU-18", "MT-K", "PU-19", "DR-25", "DR-26", "DR-27", "QU-10", "UP-4", "UP-23")
@pytest.mark.parametrize("reader", [(), ("greedy",)], ids=["files stay", "a reader takes files at once"])
def test_every_file_has_one_outcome_wherever_the_process_dies(deaths, reader):
    steps, runs = deaths("kill_everywhere.py", *reader)

    assert steps > 100
    wrong = {f"{run['step']} {run['name']}": run["outcome"] for run in runs if run["outcome"] != EXPECTED}
    assert wrong == {}


@pytest.mark.crash
@pytest.mark.timeout(1800)
@pytest.mark.rule("QR-24", "QU-10", "MTA-7", "MTA-15")
def test_a_refused_copy_is_in_exactly_one_state_wherever_the_process_dies(deaths):
    steps, runs = deaths("kill_everywhere.py", "deferring")

    assert steps > 100
    wrong = {f"{run['step']} {run['name']}": run["outcome"] for run in runs if run["outcome"] != DEFERRED}
    assert wrong == {}
