"""kill -9 during a bulk removal of 10,000 messages: each is done or not done, never half; a restart ends the job."""

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHILD = Path(__file__).with_name("remove_in_bulk.py")
COUNT = 10_000


@pytest.fixture
def machine(environment):
    """Return what starts the child in a data directory of its own, and the database file."""

    def start(*words):
        return subprocess.Popen(
            [sys.executable, CHILD, *words], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )

    return start, Path(environment["FCWEB_DATA_DIR"]) / "fcweb.sqlite3"


# What waits no more: the copies of a delivery queue; in Submission there are none, and the messages leave it.
REMOVED = {
    "Fax": "SELECT count(*) FROM connectors_queueitem WHERE state = 'removed'",
    "Submission": "SELECT count(*) FROM connectors_message WHERE state != 'submitted'",
}


def look(path, where):
    """Return how many messages are removed, and how many rows there are of each kind that must come with it."""
    database = sqlite3.connect(path)
    one = lambda sql: database.execute(sql).fetchone()[0]  # noqa: E731
    removed = one(REMOVED[where])
    counts = {
        "recipients": one(
            "SELECT count(*) FROM connectors_messagerecipient WHERE state = 'failed' AND settled_at > ''"
        ),
        "messages": one("SELECT count(*) FROM connectors_message WHERE state = 'done'"),
        "events": one("SELECT count(*) FROM tracking_trackingevent WHERE event = 'FAIL' AND source = 'ADMIN'"),
        "targets": one("SELECT count(*) FROM connectors_jobtarget WHERE outcome = 'changed' AND message > 0"),
        "job": one("SELECT changed FROM connectors_bulkjob WHERE scope = 'messages'"),
        "tracked": one("SELECT count(*) FROM tracking_trackedmessage WHERE state = 'failed'"),
    }
    database.close()
    return removed, counts


@pytest.mark.crash
@pytest.mark.timeout(600)
@pytest.mark.rule("QO-14", "MT-2", "MT-I", "QU-10", "QA-10")
@pytest.mark.parametrize("where", REMOVED)
def test_every_message_is_done_or_not_done(machine, where):
    start, database = machine
    assert start("fill", where, str(COUNT)).wait() == 0
    seen = []
    for share in (0, 0.3, 0.6):
        child = start("work")
        assert child.stdout.readline() == "working\n"
        while look(database, where)[0] <= share * COUNT:
            assert child.poll() is None
            time.sleep(0.01)
        child.kill()
        child.wait()
        removed, counts = look(database, where)
        assert set(counts.values()) == {removed}
        seen.append(removed)
    assert seen[0] < COUNT, seen

    assert start("work").wait() == 0

    removed, counts = look(database, where)
    assert (removed, set(counts.values())) == (COUNT, {COUNT})
