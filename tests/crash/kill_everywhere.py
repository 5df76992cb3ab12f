"""Child of the crash test: runs the transport on 21 mixed files and dies at every step of it, one after the other.

usage: kill_everywhere.py EVERY [greedy | deferring]      (needs a set-up FCWEB_DATA_DIR)
A step is one rename, link, unlink, fsync, syncfs or commit; the process dies before it and after it. After each death
the transport runs again undisturbed. Prints one JSON line a death: the step, what it was, and the outcome.
`greedy`: a reader takes each drop file the instant it appears. `deferring`: eight files instead, every other one for
a mailbox that is full and a server that has patience with it.
Each run is a fork of this process, so a death costs a tenth of a second.
"""

import io
import json
import os
import shutil
import sqlite3
import sys
from datetime import timedelta
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fcweb.settings")
import django

django.setup()
from django.core.management import call_command
from django.db import connection

from connectors import disk, first_start, recipient_configuration
from connectors.configuration import ListChange
from connectors.models import DirectoryRecipient, Node, TransportSettings
from tests.crash.dying import Counter, forked, was_killed

DATA = Path(os.environ["FCWEB_DATA_DIR"])
DROP = DATA / "drop" / "Fax"
COLLECTED = DATA / "collected"
GROUP = 20  # number of the file for a group whose members leave by two hops
EVERY = int(sys.argv[1])
GREEDY = "greedy" in sys.argv
DEFERRING = "deferring" in sys.argv


def fill():
    """Write the files of a run."""
    if DEFERRING:
        for number in range(8):
            to = "bob@fcweb.test" if number % 2 else f"IMCEAFAX-{number}@fcweb.test"
            _write(
                "pickup", number, f"From: alice@fcweb.test\r\nTo: {to}\r\nSubject: {number}\r\n\r\nBody {number}\r\n"
            )
    else:
        fill_mixed()


def fill_mixed():
    """Files: linked and copied, to gateway, mailbox, both and a group, from Pickup and Replay, unroutable and bad."""
    for number in range(GROUP + 1):
        body = f"Subject: {number}\r\n\r\nBody {number}\r\n"
        fax, mailbox = f"IMCEAFAX-{number}@fcweb.test", "alice@fcweb.test"
        kinds = {
            0: ("pickup", f"From: {mailbox}\r\nTo: {fax}\r\n"),
            1: ("pickup", f"From: {mailbox}\r\nTo: {fax}, {mailbox}\r\n"),
            2: ("replay", f"X-Sender: <{mailbox}>\r\nX-Receiver: <{fax}>\r\n"),
            3: ("pickup", f"From: {mailbox}\r\nTo: IMCEASMS-{number}@fcweb.test\r\n"),
            4: ("pickup", f"From: {mailbox}\r\n"),
        }
        folder, head = kinds[number % 5]
        if number == GROUP:
            folder, head = "pickup", f"From: {mailbox}\r\nTo: team@fcweb.test\r\n"
        _write(folder, number, head + body)


def _write(folder, number, text):
    path = DATA / folder / f"{number:02d}.eml"
    path.write_text(text, newline="")
    os.utime(path, (1_700_000_000, 1_700_000_000))


def make_group():
    """Make a group of a mailbox and a contact at the gateway."""
    recipient_configuration.add("contact", "faxer@fcweb.test", external="FAX:20")
    team = recipient_configuration.add("group", "team@fcweb.test")
    members = ListChange(add=("alice@fcweb.test", "faxer@fcweb.test"))
    recipient_configuration.change_group(team, members=members)


def make_full_mailbox():
    """Make the mailbox bob, which holds nothing, and let the server wait for it for a day."""
    first_start.make_mailbox("bob@fcweb.test", "Bob")
    DirectoryRecipient.objects.filter(primary_address="bob@fcweb.test").update(max_mailbox_bytes=1)
    TransportSettings.objects.create(node=Node.objects.get(), mailbox_full_grace=timedelta(days=1))


def reset():
    """Empty the data directory's mail, keep its configuration."""
    database = sqlite3.connect(DATA / "fcweb.sqlite3")
    database.execute("PRAGMA foreign_keys=OFF")
    for table in ("messagerecipient", "queueitem", "sourcefile", "message", "queue", "eventlogentry"):
        database.execute(f"DELETE FROM connectors_{table}")
    for table in ("eventrecipient", "trackingevent", "trackedmessage"):
        database.execute(f"DELETE FROM tracking_{table}")
    database.commit()
    database.close()
    for folder in ("pickup", "replay", "drop/Fax", "mailboxes/alice@fcweb.test/new", "collected", "run"):
        shutil.rmtree(DATA / folder, ignore_errors=True)
        (DATA / folder).mkdir(parents=True)


def outcome():
    """Return what became of the files."""
    drops = [*DROP.glob("*.eml"), *COLLECTED.glob("*.eml")]
    mails = [path.read_bytes() for path in (DATA / "mailboxes/alice@fcweb.test/new").iterdir()]
    notices = [mail for mail in mails if b"multipart/report" in mail]
    database = sqlite3.connect(DATA / "fcweb.sqlite3")
    states = dict(database.execute("SELECT state, count(*) FROM connectors_message GROUP BY state"))
    ends = dict(
        database.execute(
            "SELECT event, sum(max(1, recipient_count)) FROM tracking_trackingevent"
            " WHERE event IN ('SEND', 'DELIVER', 'FAIL', 'BADMAIL') GROUP BY event"
        )
    )
    files = dict(
        database.execute(
            "SELECT state, count(DISTINCT name) FROM connectors_sourcefile"
            " WHERE state IN ('queued', 'notice', 'bad') GROUP BY state"
        )
    )
    database.close()
    return {
        "drops": sorted(_body(path.read_bytes()) for path in drops),
        "mails": sorted(_body(mail) for mail in mails if mail not in notices),
        "notices": len(notices),
        "bad": sorted(path.name for path in (DATA / "pickup").glob("*.bad")),
        "left": sorted(
            path.name
            for folder in ("pickup", "replay", "drop/Fax")
            for path in (DATA / folder).iterdir()
            if path.suffix not in {".bad", ".txt"} and not (folder == "drop/Fax" and path.suffix == ".eml")
        ),
        "messages": states,
        "ends": ends,
        "files": files,
    }


def deferrals():
    """Return how the copies stand: how many of each state, count of refusals and whether a next attempt is set."""
    database = sqlite3.connect(DATA / "fcweb.sqlite3")
    copies = database.execute(
        "SELECT state, attempts, retry_at IS NOT NULL, leased_by != '', count(*) FROM connectors_queueitem"
        " GROUP BY 1, 2, 3, 4 ORDER BY 1, 2"
    ).fetchall()
    told = database.execute("SELECT count(*) FROM tracking_trackingevent WHERE event = 'DEFER'").fetchone()[0]
    active = database.execute("SELECT count(*) FROM connectors_queue WHERE status = 'Active'").fetchone()[0]
    database.close()
    return {"copies": copies, "DEFER": told, "active": active}


def _body(content):
    return content.rpartition(b"\r\n\r\n")[2].decode().strip()


def result():
    return outcome() | (deferrals() if DEFERRING else {})


def run(kill_at):
    """Run the transport in a fork; return its wait status and the steps it took (only when it lived)."""
    counter = Counter(kill_at)
    plain_rename, publish = os.rename, disk.rename_new

    def greedy(source, target):
        publish(source, target)
        if os.path.dirname(os.fspath(target)) == str(DROP):
            plain_rename(target, COLLECTED / os.path.basename(os.fspath(target)))

    def action():
        disk.rename_new = counter.counted("rename", greedy if GREEDY else publish)
        counter.count(os, "rename", "link", "unlink", "fsync")
        counter.count(disk, "sync_file_system")
        connection.ensure_connection()
        connection._commit = counter.counted("commit", connection._commit)
        call_command("transport", once=True, skip_checks=True, stdout=io.StringIO())
        return counter.steps

    return forked(action)


if DEFERRING:
    make_full_mailbox()
else:
    make_group()
connection.close()
reset()
fill()
_status, steps = run(0)
print(json.dumps({"step": 0, "name": f"{len(steps)} steps", "outcome": result()}), flush=True)
for kill_at in range(1, len(steps) + 1, EVERY):
    reset()
    fill()
    status, lived = run(kill_at)
    if lived:  # a run may take a step less than the counted one: it has done everything
        name = "finished"
    elif was_killed(status):
        name = steps[kill_at - 1]
        run(0)
    else:
        name = f"ended with status {status}"
    print(json.dumps({"step": kill_at, "name": name, "outcome": result()}), flush=True)
