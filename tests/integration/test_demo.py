"""The demo: its traffic goes through the whole product, its gateways collect and answer, and it stops cleanly."""

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from connectors.choices import FileState, ItemState, MessageState
from connectors.demo import play, traffic
from connectors.models import DirectoryRecipient, ForeignConnector, Message, QueueItem, SourceFile
from tracking.models import TrackingEvent

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def stage(site):
    """The players of a seeded demo."""
    return play.prepare(seed=7, say=lambda text: None)


def _write(stage, count):
    old = (timezone.now() - timedelta(minutes=2)).timestamp()
    for _ in range(count):
        os.utime(traffic.put(stage.traffic.next(timezone.now())), (old, old))


@pytest.mark.django_db(transaction=True)
def test_all_traffic_ends_in_a_drop_file_a_mailbox_a_notice_or_bad(stage, transport, site):
    _write(stage, 120)
    transport()
    pickup = Path(site.node.pickup_directory_path)
    assert [path.name for path in pickup.iterdir() if path.suffix not in {".bad", ".txt"}] == []
    states = set(SourceFile.objects.values_list("state", flat=True))
    assert FileState.BAD in states
    assert FileState.CLAIMED not in states
    assert not QueueItem.objects.filter(state__in=[ItemState.STAGING, ItemState.STAGED]).exists()
    for gateway in stage.gateways:
        assert list(gateway.drop.glob("*.eml")), gateway.name
    assert {"SEND", "DELIVER", "FAIL", "DSN", "BADMAIL", "EXPAND", "TRANSFER"} <= set(
        TrackingEvent.objects.values_list("event", flat=True)
    )


@pytest.mark.django_db(transaction=True)
def test_gateways_collect_answer_and_leave_nothing_undelivered(stage, transport):
    _write(stage, 80)
    now = timezone.now()
    for _round in range(40):  # also past any strike and any queue that met a full quota
        transport(now)
        for gateway in stage.gateways:
            gateway.step(now)
        now += timedelta(minutes=5)
    transport(now)
    assert [list(gateway.drop.iterdir()) for gateway in stage.gateways] == [[]] * len(stage.gateways)
    assert not QueueItem.objects.filter(state=ItemState.READY).exists()
    assert not Message.objects.exclude(state=MessageState.DONE).exists()
    reports = Message.objects.filter(subject__startswith="Delivered: ")
    assert reports.exists()
    assert set(reports.values_list("mail_from", flat=True)) == {""}


@pytest.mark.django_db(transaction=True)
def test_gateways_leave_files_alone_that_are_not_the_demos(stage, pickup, transport):
    pickup("real.eml", b"From: alice@fcweb.test\nTo: IMCEAFAX-5551234@fcweb.test\nSubject: Real\n\nBody\n")
    transport()
    fax = next(gateway for gateway in stage.gateways if gateway.name == "Fax")
    for minutes in range(3):
        assert fax.step(timezone.now() + timedelta(minutes=minutes)) == 0
    assert len(list(fax.drop.glob("*.eml"))) == 1


@pytest.mark.django_db
def test_what_is_missing_is_made_once_and_said(site):
    said = []
    play.prepare(seed=1, say=said.append)
    assert {"Fax", "SMS", "SAP", "X400"} == set(ForeignConnector.objects.values_list("name", flat=True))
    assert sum(line.startswith("made connector ") for line in said) == 3
    assert DirectoryRecipient.objects.filter(primary_address="claire.martin@fcweb.test").exists()
    group = DirectoryRecipient.objects.get(primary_address="orders@fcweb.test")
    assert group.members.count() == 4
    assert "made group orders@fcweb.test with 4 members" in said
    again = []
    play.prepare(seed=1, say=again.append)
    assert again == []


@pytest.mark.django_db
def test_a_gateway_on_strike_takes_nothing_until_it_resumes(stage):
    gateway = next(gateway for gateway in stage.gateways if gateway.name == "SMS")
    now = timezone.now()
    gateway.strike(now)
    letter = stage.traffic.next(now)
    traffic.put(traffic.Letter(directory=gateway.drop, name="a.eml", content=letter.content))
    assert gateway.step(now + timedelta(seconds=30)) == 0
    assert gateway.resumes_at is not None
    gateway.step(now + timedelta(seconds=241))
    assert gateway.resumes_at is None


def test_sigterm_ends_the_demo_with_no_file_half_written(tmp_path):
    data = tmp_path / "data"
    env = {k: v for k, v in os.environ.items() if k not in {"DJANGO_SETTINGS_MODULE", "FCWEB_DATABASE_URL"}}
    env |= {"FCWEB_DATA_DIR": str(data), "FCWEB_NODE": "demo.test"}
    manage = [sys.executable, "manage.py"]
    subprocess.run([*manage, "setup"], cwd=ROOT, env=env, check=True, capture_output=True)
    demo = subprocess.Popen([*manage, "demo", "--rate", "3000"], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
    lines = [demo.stdout.readline()]
    while not lines[-1].startswith("End with"):
        lines.append(demo.stdout.readline())
        assert lines[-1], lines
    for _ in range(200):
        if list((data / "pickup").glob("*.eml")):
            break
        with pytest.raises(subprocess.TimeoutExpired):
            demo.wait(0.05)
    demo.send_signal(signal.SIGTERM)
    out, _err = demo.communicate(timeout=20)
    assert demo.returncode == 0
    assert "messages written" in out
    assert list((data / "pickup").glob("*.part")) == []
