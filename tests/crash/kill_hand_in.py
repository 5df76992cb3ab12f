"""Child of the crash test: hands in what is made of a bad file and dies at every step of it, one after the other.

usage: kill_hand_in.py EVERY split|edit [greedy]      (needs a set-up FCWEB_DATA_DIR)
A step is one rename, unlink, open, write, chown, fsync or commit; the process dies before it and after it. After each
death the transport runs twice, as it would after a restart. Prints one JSON line a death: the step and the outcome.
`greedy`: a reader takes each part out of the directory the instant it appears.
"""

import io
import json
import os
import shutil
import sqlite3
import sys
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fcweb.settings")
import django

django.setup()
from django.core.management import call_command
from django.db import connection

from connectors import disk
from connectors.models import SourceFile
from connectors.transport import bad_file_edit, bad_file_split
from tests.crash.dying import Counter, forked, was_killed

DATA = Path(os.environ["FCWEB_DATA_DIR"])
REPLAY, DROP, COLLECTED = DATA / "replay", DATA / "drop" / "Fax", DATA / "collected"
EVERY = int(sys.argv[1])
WAY = sys.argv[2]
GREEDY = len(sys.argv) > 3
PARTS = 3


def glued():
    parts = []
    for number in range(1, PARTS + 1):
        content = b"Subject: %d\r\n\r\nBody %d\r\n" % (number, number)
        block = b"X-Sender: <alice@fcweb.test>\r\nX-Receiver: <IMCEAFAX-%d@fcweb.test>\r\n" % number
        parts.append(block + b"X-EndOfInjectedXHeaders: %d\r\n" % len(content) + content)
    return b"".join(parts)


def reset():
    """Empty the data directory's mail, keep its configuration, and put the glued file there."""
    database = sqlite3.connect(DATA / "fcweb.sqlite3")
    database.execute("PRAGMA foreign_keys=OFF")
    for table in ("messagerecipient", "queueitem", "sourcefile", "message", "queue", "eventlogentry"):
        database.execute(f"DELETE FROM connectors_{table}")
    database.execute("DELETE FROM auditlog_logentry")
    database.execute("UPDATE connectors_node SET settle_seconds = 0")
    database.commit()
    database.close()
    for folder in (REPLAY, DROP, COLLECTED, DATA / "run"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    path = REPLAY / "two.eml"
    path.write_bytes(glued())
    os.utime(path, (1_700_000_000, 1_700_000_000))


def transport():
    call_command("transport", once=True, skip_checks=True, stdout=io.StringIO())


def hand_in(row):
    if WAY == "split":
        return bad_file_split.split(row, by="test", now=row.settled_at)
    changed = glued().partition(b"X-Sender: <alice@fcweb.test>\r\nX-Receiver: <IMCEAFAX-2@")[0]
    return bad_file_edit.resubmit_changed(row, bad_file_edit.read(row), changed, by="test", now=row.settled_at)


def handing_in(kill_at):
    counter = Counter(kill_at)
    plain_rename, publish = os.rename, disk.rename_new

    def greedy(source, target):
        publish(source, target)
        plain_rename(target, COLLECTED / Path(target).name)

    def action():
        row = SourceFile.objects.select_related("node").get(state="bad")
        disk.rename_new = counter.counted("rename", greedy if GREEDY else publish)
        counter.count(os, "unlink", "open", "writev", "chown", "fsync")
        connection.ensure_connection()
        connection._commit = counter.counted("commit", connection._commit)
        hand_in(row)
        return counter.steps

    return forked(action)


def outcome():
    """Return what became of the parts."""
    database = sqlite3.connect(DATA / "fcweb.sqlite3")
    rows = database.execute("SELECT state FROM connectors_sourcefile WHERE reason != ''").fetchall()
    open_events = database.execute("SELECT count(*) FROM connectors_eventlogentry WHERE cleared_at IS NULL").fetchone()
    database.close()
    seen = [*DROP.glob("*.eml"), *COLLECTED.glob("*.eml")]
    return {
        "parts": sorted(path.read_bytes().rpartition(b"\r\n\r\n")[2].decode().strip() for path in seen),
        "left": sorted(path.name for path in REPLAY.iterdir()),
        "rows": [state for (state,) in rows],
        "alarms": open_events[0],
    }


def restart():
    forked(transport)
    for path in REPLAY.glob("*.eml") if GREEDY else ():
        os.rename(path, COLLECTED / path.name)
    forked(transport)


reset()
forked(transport)
status, steps = handing_in(0)
restart()
print(json.dumps({"step": 0, "name": f"{len(steps)} steps", "outcome": outcome()}), flush=True)
for kill_at in range(1, len(steps) + 1, EVERY):
    reset()
    forked(transport)
    status, _lived = handing_in(kill_at)
    died = was_killed(status)
    restart()
    name = steps[kill_at - 1] if died else f"ended with status {status}"
    print(json.dumps({"step": kill_at, "name": name, "outcome": outcome()}), flush=True)
