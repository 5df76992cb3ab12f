"""The process is killed at each step of splitting or editing a bad file: each part is handed in once, or none was."""

import pytest

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
def test_every_part_is_handed_in_once_wherever_the_process_dies(deaths, way, reader):
    steps, runs = deaths("kill_hand_in.py", way, *reader)

    assert steps > 20
    wrong = {
        f"{run['step']} {run['name']}": run["outcome"] for run in runs if run["outcome"] not in (SENT[way], UNTOUCHED)
    }
    assert wrong == {}
    fates = [run["outcome"] == SENT[way] for run in runs[1:]]
    assert fates == sorted(fates) and any(fates) and not all(fates)  # from one step on, all of it; before, nothing
