"""Runner: which stage is worth running, and that work which can wait does wait."""

import threading
from datetime import UTC, datetime, timedelta

from connectors.owner import Alone
from connectors.transport.runner import Stage, Stop, run_until_idle

NOW = datetime(2026, 3, 5, 8, 0, tzinfo=UTC)


def stage(name="x", run=lambda now: 0, **overrides):
    return Stage(name=name, run=run, **overrides)


def test_work_that_can_wait_waits_while_another_stage_is_busy_but_not_for_ever():
    sweep = stage(patience=timedelta(seconds=30))
    sweep.ran_at = NOW

    assert not sweep.is_due(NOW + timedelta(seconds=29), busy=True)
    assert sweep.is_due(NOW + timedelta(seconds=30), busy=True)
    assert sweep.is_due(NOW + timedelta(seconds=1), busy=False)


def test_a_stage_that_found_nothing_rests_until_its_time_or_an_earlier_due_time():
    resting = stage()
    resting.due_at = NOW + timedelta(seconds=5)
    settled = stage(next_due=lambda: NOW + timedelta(seconds=1))
    settled.due_at = NOW + timedelta(seconds=5)

    assert not resting.is_due(NOW + timedelta(seconds=4), busy=False)
    assert resting.is_due(NOW + timedelta(seconds=5), busy=False)
    assert settled.is_due(NOW + timedelta(seconds=1), busy=False)


def test_one_run_for_cron_sweeps_last_and_until_nothing_is_left():
    order = []
    left = {"deliver": 2, "sweep": 2}

    def work(name):
        def run(now):
            if not left[name]:
                return 0
            left[name] -= 1
            order.append(name)
            return 1

        return run

    stages = [stage("deliver", work("deliver")), stage("sweep", work("sweep"), patience=timedelta(seconds=30))]
    stop = Stop()
    stop.event = threading.Event()

    assert run_until_idle(stages, stop=stop, patience=timedelta(0)) == 4
    assert order == ["deliver", "deliver", "sweep", "sweep"]


def test_only_the_first_living_process_of_a_kind_is_alone(tmp_path):
    first = Alone(tmp_path, "deliver")
    second = Alone(tmp_path, "deliver")
    other = Alone(tmp_path, "intake")
    assert (first.is_first, second.is_first, other.is_first) == (True, False, True)

    first.close()
    third = Alone(tmp_path, "deliver")
    second.close()
    third.close()

    assert not third.is_first
    assert Alone(tmp_path, "deliver").is_first
