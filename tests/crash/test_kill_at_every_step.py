"""The process is killed at a step; after a restart every file has one outcome and every message one drop file."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHILD = Path(__file__).with_name("run_transport.py")
FILES = 20


@pytest.fixture
def machine(tmp_path):
    """A set-up data directory outside this process; returns a runner and the paths."""
    env = {
        key: value for key, value in os.environ.items() if key not in {"DJANGO_SETTINGS_MODULE", "FCWEB_DATABASE_URL"}
    }
    env |= {
        "FCWEB_DATA_DIR": str(tmp_path / "data"),
        "FCWEB_NODE": "crash.test",
        "PYTHONPATH": str(ROOT),
        "FCWEB_LOG_LEVEL": "CRITICAL",
    }
    subprocess.run([sys.executable, "manage.py", "setup"], cwd=ROOT, env=env, check=True, capture_output=True)

    def run(kill_at):
        return subprocess.run([sys.executable, CHILD, str(kill_at)], cwd=ROOT, env=env, capture_output=True, text=True)

    return run, tmp_path / "data"


def fill(data):
    for number in range(FILES):
        kind = number % 5
        to = "" if kind == 4 else f"To: IMCEA{'SMS' if kind == 3 else 'FAX'}-{number}@fcweb.test\r\n"
        path = data / "pickup" / f"{number:02d}.eml"
        path.write_bytes(f"From: alice@fcweb.test\r\n{to}Subject: {number}\r\n\r\nBody {number}\r\n".encode())
        os.utime(path, (1_700_000_000, 1_700_000_000))


def outcome(data):
    """Return (drop bodies, notices, bad files, what is left over)."""
    drops = sorted(path.read_bytes().rpartition(b"\r\n\r\n")[2] for path in (data / "drop" / "Fax").glob("*.eml"))
    mailbox = data / "mailboxes" / "alice@fcweb.test" / "new"
    notices = len(list(mailbox.iterdir())) if mailbox.is_dir() else 0
    bad = sorted(path.name for path in (data / "pickup").glob("*.bad"))
    left = [
        path.name
        for folder in ("pickup", "drop/Fax")
        for path in (data / folder).iterdir()
        if (path.suffix in {".tmp", ".eml"} and folder == "pickup") or path.name.startswith(".")
    ]
    return drops, notices, bad, left


EXPECTED = (
    sorted(b"Body %d\r\n" % number for number in range(FILES) if number % 5 < 3),
    4,
    ["04.bad", "09.bad", "14.bad", "19.bad"],
    [],
)


@pytest.mark.crash
@pytest.mark.timeout(600)
@pytest.mark.rule("PU-17", "PU-18", "PU-19", "DR-25", "DR-26", "DR-27", "QU-10", "UP-4")
def test_every_file_has_one_outcome_wherever_the_process_dies(machine):
    run, data = machine
    fill(data)
    counted = run(0)
    steps = int(counted.stdout.split()[-1])
    assert outcome(data) == EXPECTED, counted.stderr
    assert steps > 60
    every = int(os.environ.get("FCWEB_CRASH_EVERY", "19"))

    for kill_at in range(1, steps + 1, every):
        reset(data)
        fill(data)
        killed = run(kill_at)
        if killed.returncode == 0:  # this run took fewer steps than the counted one
            assert kill_at > steps * 0.8
            break
        assert killed.returncode == -9, (kill_at, killed.stderr)
        restarted = run(0)
        assert outcome(data) == EXPECTED, (kill_at, restarted.stderr)
        database = sqlite3.connect(data / "fcweb.sqlite3")
        (messages,) = database.execute("SELECT count(*) FROM connectors_message WHERE source = 'PICKUP'").fetchone()
        (open_messages,) = database.execute("SELECT count(*) FROM connectors_message WHERE state <> 'done'").fetchone()
        database.close()
        assert (messages, open_messages) == (16, 0), kill_at


def reset(data):
    """Empty the data directory's mail, keep its configuration."""
    database = sqlite3.connect(data / "fcweb.sqlite3")
    database.execute("PRAGMA foreign_keys=OFF")
    for table in ("messagerecipient", "queueitem", "sourcefile", "message", "queue", "eventlogentry"):
        database.execute(f"DELETE FROM connectors_{table}")
    for table in ("eventrecipient", "trackingevent", "trackedmessage"):
        database.execute(f"DELETE FROM tracking_{table}")
    database.commit()
    database.close()
    for folder in ("pickup", "drop/Fax", "mailboxes/alice@fcweb.test/new"):
        for path in (data / folder).iterdir():
            path.unlink()
