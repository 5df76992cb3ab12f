"""`manage.py track` and `manage.py prune` as the shell and cron see them: output, exit codes, following."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from tests.integration.test_search import add, extend
from tests.integration.test_stream import WRITER
from tracking.exchange_log import LAYOUT_C
from tracking.models import TrackedMessage

ROOT = Path(__file__).resolve().parents[2]
ONE = [("bob@y.test", "250 2.1.5 ok")]


def track(*arguments):
    """Return (exit code, lines)."""
    out = io.StringIO()
    try:
        call_command("track", *arguments, stdout=out)
    except SystemExit as ended:
        return ended.code, out.getvalue().splitlines()
    return 0, out.getvalue().splitlines()


@pytest.mark.django_db
@pytest.mark.rule("MTS-2", "MTS-3", "MTS-4", "MTS-5", "MTS-6", "MTS-7", "MTS-8", "MTS-9", "MTS-10", "MTS-11")
@pytest.mark.parametrize(
    ("arguments", "hits"),
    [
        ([], 2),
        (["--sender", "anne@X.test"], 2),
        (["--sender", "nobody@x.test"], 0),
        (["--recipient", "@y.test"], 2),
        (["--subject", "DEVIS"], 2),
        (["--message-id", "m1@x.test"], 2),
        (["--internal-message-id", "1"], 2),
        (["--network-message-id", "00000000000000000000000000000001"], 2),
        (["--reference", "<none@x.test>"], 0),
        (["--event", "send"], 1),
        (["--event", "SEND,RECEIVE"], 2),
        (["--source", "GATEWAY"], 1),
        (["--connector", "fax"], 1),
        (["--status", "2xx"], 2),
        (["--state", "transferred"], 2),
        (["--size", ">1KB"], 0),
        (["--file", "f.eml"], 1),
        (["--start", "1h"], 2),
        (["--end", "2020-01-01"], 0),
        (["-subject:devis"], 0),
        (["devis", "event:SEND"], 1),
        (["--limit", "1"], 1),
        (["--result-size", "unlimited"], 2),
    ],
)
def test_each_option_filters_and_the_exit_code_tells_whether_something_was_found(arguments, hits):
    pk = add(sender="anne@x.test", subject="Devis", recipients=ONE, at=timezone.now())
    extend(pk, event="SEND", recipients=ONE, at=timezone.now(), connector="Fax")

    code, lines = track(*(["--", *arguments] if arguments[:1] == ["-subject:devis"] else arguments))

    assert len(lines) == hits
    assert code == (0 if hits else 1)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "arguments", [["--start", "x"], ["--size", "big"], ["--status", "ok"], ["state:lost"], ["--event", ","]]
)
def test_a_wrong_question_ends_with_two_and_says_what_to_write(arguments):
    with pytest.raises(CommandError) as raised:
        track(*arguments)

    assert raised.value.returncode == 2
    assert arguments[-1] in str(raised.value)


@pytest.mark.django_db
@pytest.mark.rule("MTS-21", "MTF-1", "MTF-11", "MTF-13", "MTF-14", "MTF-16", "MTF-29")
def test_json_lines_hold_every_field_of_the_specification():
    add(sender="anne@x.test", subject="Devis é", recipients=[*ONE, ("c@y.test", "Cc")], at=timezone.now())

    _code, (line,) = track("--json")
    told = json.loads(line)

    assert list(told) == [*LAYOUT_C, "transport-traffic-type", "log-id", "schema-version"]
    assert told["message-subject"] == "Devis é"
    assert told["recipient-address"] == ["bob@y.test", "c@y.test"]
    assert told["recipient-status"] == ["250 2.1.5 ok", "Cc"]
    assert (told["recipient-count"], told["total-bytes"], told["message-id"]) == (2, 1, "<m1@x.test>")
    assert told["date-time"][-5] == "." and told["date-time"].endswith("Z")
    assert "é" in line


@pytest.fixture
def elsewhere(tmp_path):
    """A data directory for real processes: run(arguments) starts `manage.py`."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("FCWEB_", "DJANGO_"))}
    env |= {"FCWEB_DATA_DIR": str(tmp_path / "data"), "FCWEB_NODE": "node.test", "PYTHONUNBUFFERED": "1"}

    def run(*arguments):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([sys.executable, "manage.py", *arguments], cwd=ROOT, env=env, text=True, **pipes)

    setup = run("setup")
    setup.communicate(timeout=60)
    assert setup.returncode == 0
    return run


def write(run, *subjects):
    done = run("shell", "-v0", "-c", WRITER)
    done.communicate("\n".join(subjects), timeout=60)
    assert done.returncode == 0


def test_following_shows_what_is_there_then_what_another_process_writes_until_it_is_ended(elsewhere):
    write(elsewhere, "old Devis")
    following = elsewhere("track", "--json", "--follow", "--subject", "devis")
    first = json.loads(following.stdout.readline())
    write(elsewhere, "new Devis", "other", "newer Devis")
    later = [json.loads(following.stdout.readline()) for _line in range(2)]
    following.send_signal(signal.SIGTERM)
    _out, errors = following.communicate(timeout=20)

    assert first["message-subject"] == "old Devis"
    assert [row["message-subject"] for row in later] == ["new Devis", "newer Devis"]
    assert (following.returncode, errors) == (0, "")


def test_a_reader_that_stops_reading_ends_the_command_quietly(elsewhere):
    write(elsewhere, *(f"Devis {number}" for number in range(400)))
    listing = elsewhere("track", "--json")
    listing.stdout.readline()
    listing.stdout.close()
    errors = listing.stderr.read()

    assert listing.wait(20) == 0
    assert errors == ""


# ---- prune ----


@pytest.mark.django_db
@pytest.mark.rule("MTP-2", "MTC-6")
def test_prune_uses_the_setting_and_keeps_what_is_on_its_way(settings):
    old = timezone.now() - timedelta(days=31)
    done = add(subject="done", recipients=ONE, at=old)
    extend(done, event="SEND", recipients=ONE, at=old)
    add(subject="waiting", recipients=ONE, at=old)
    out = io.StringIO()

    settings.FCWEB_TRACKING_DAYS = 0
    call_command("prune", stdout=out)
    assert TrackedMessage.objects.count() == 2

    settings.FCWEB_TRACKING_DAYS = 30
    call_command("prune", stdout=out)
    assert list(TrackedMessage.objects.values_list("subject", flat=True)) == ["waiting"]
    assert out.getvalue().splitlines()[-1] == "pruned 1 messages with 2 events; kept 1 old ones still on their way"


@pytest.mark.django_db
def test_prune_refuses_negative_limits():
    for arguments in (["--days", "-1"], ["--max-events", "-5"]):
        with pytest.raises(CommandError):
            call_command("prune", *arguments)


@pytest.mark.parametrize(("days", "found"), [(30, 0), (0, 0), (3, 0), (2, 1)])
def test_a_retention_shorter_than_a_message_may_wait_is_warned_about(settings, days, found):
    settings.FCWEB_TRACKING_DAYS = days

    assert len([message for message in run_checks() if message.id == "tracking.W001"]) == found
