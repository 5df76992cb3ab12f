"""Back pressure: when the doors are slowed and closed, what is told, and that queued mail keeps flowing."""

import os
import uuid
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.utils import timezone

from connectors.choices import MessageState, QueueStatus
from connectors.conf import transport_config
from connectors.models import EventLogEntry, Message
from connectors.owner import Owner
from connectors.reads import overview
from connectors.transport import pressure
from connectors.transport.pressure import SUBMISSION_MARKS, Level, Marks, Monitor, disk_marks
from connectors.transport.service import Service
from tests.queue_fixtures import fax_queue, queued

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()
FAX = b"From: alice@fcweb.test\r\nTo: IMCEAFAX-5551234@fcweb.test\r\nSubject: Offer\r\n\r\nBody\r\n"
GB = 1024**3


def crowd(site, count):
    """Make Submission hold `count` messages of another process: they have no recipient, so nothing routes them away."""
    Message.objects.filter(source="PICKUP", subject="waits").delete()
    Message.objects.bulk_create(
        Message(
            node=site.node,
            message_id="<x@y.test>",
            subject="waits",
            size=1,
            source="PICKUP",
            spool_name=uuid.uuid4().hex,
            content_offset=0,
            state=MessageState.SUBMITTED,
            received_at=NOW,
            expires_at=NOW + timedelta(days=2),
        )
        for _n in range(count)
    )


@pytest.fixture
def intake(site):
    """The half of a server that takes files; `intake(at)` runs its stages once."""
    config = transport_config()
    with Owner(config.run_dir) as owner:
        stages = Service(config=config, token=owner.token).stages(("pickup", "replay"))
        yield lambda at: sum(stage.run(at) for stage in stages)


@pytest.fixture
def disk(monkeypatch):
    """Say how full every disk is, of 100 GB."""

    def fill(percent):
        free = (100 - percent) * GB // 4096
        fake = SimpleNamespace(f_blocks=100 * GB // 4096, f_frsize=4096, f_bavail=free, f_bfree=free)
        monkeypatch.setattr(pressure, "os", SimpleNamespace(statvfs=lambda _path: fake))

    return fill


def told():
    """Return every event of pressure: code, whether it is open, first line of its detail."""
    rows = EventLogEntry.objects.filter(code__in=[15004, 15005, 15006]).order_by("pk")
    return [(row.code, row.cleared_at is None, row.detail.splitlines()[0]) for row in rows]


def waiting(site):
    return sorted(path.name for path in Path(site.node.pickup_directory_path).glob("*.eml"))


@pytest.mark.rule("QR-54")
@pytest.mark.parametrize(
    ("size", "reserve", "high"),
    [
        (100 * GB, 500 * 1024**2, 99),
        (10 * GB, 500 * 1024**2, 95),
        (2 * GB, 500 * 1024**2, 75),
        (100 * GB, 3 * 384 * 1024**2, 98),
        (10 * GB, 3 * 384 * 1024**2, 88),
    ],
)
def test_the_marks_of_a_disk_follow_its_size(size, reserve, high):
    assert disk_marks(size, reserve) == Marks(normal=high - 4, medium=high - 2, high=high)


@pytest.mark.rule("QR-54", "QR-53")
def test_spool_and_log_of_the_database_are_watched_each_with_its_reserve(site, disk):
    disk(50)

    found = pressure.measure(site.node, transport_config())

    marks = {str(resource): reading.marks.high for resource, reading in found.items()}
    expected = {"queue disk": 99, "submission": 10_000}
    if pressure.connection.vendor == "sqlite" and Path(pressure.connection.settings_dict["NAME"]).parent.is_dir():
        expected["log disk"] = 98
    assert marks == expected


@pytest.mark.rule("QR-55")
@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        (Level.NORMAL, 3999, Level.NORMAL),
        (Level.NORMAL, 4000, Level.MEDIUM),
        (Level.NORMAL, 10_000, Level.HIGH),
        (Level.MEDIUM, 9999, Level.MEDIUM),
        (Level.MEDIUM, 2001, Level.MEDIUM),
        (Level.MEDIUM, 2000, Level.NORMAL),
        (Level.HIGH, 4001, Level.HIGH),
        (Level.HIGH, 4000, Level.MEDIUM),
        (Level.HIGH, 2000, Level.NORMAL),
    ],
)
def test_a_level_rises_at_its_mark_and_falls_at_the_one_below(before, value, after):
    assert SUBMISSION_MARKS.level(value, before) is after


@pytest.mark.rule("QR-55", "QR-56", "QR-57")
def test_a_crowded_submission_slows_the_doors_step_by_step(site, pickup, intake):
    crowd(site, 4000)
    waits = []
    last = NOW
    intake(NOW)
    for number in range(12):
        pickup(f"{number}.eml", FAX)
        at = last
        while waiting(site):
            at += timedelta(seconds=1)
            intake(at)
        waits.append((at - last).total_seconds())
        last = at

    assert waits == [10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 55, 55]
    assert [(code, is_open) for code, is_open, _detail in told()] == [(15004, True)]
    assert told()[0][2] == "submission: medium, 4000 (marks 2000/4000/10000)"

    crowd(site, 2000 - Message.objects.exclude(subject="waits").count())
    pickup("free.eml", FAX)
    intake(last + timedelta(seconds=2))

    assert waiting(site) == []
    assert [(code, is_open) for code, is_open, _detail in told()] == [(15004, False), (15005, False)]


@pytest.mark.rule("QR-55", "QR-56")
def test_what_stays_crowded_for_300_polls_closes_the_doors_until_it_is_normal(site, pickup):
    monitor = Monitor(site.node, config=transport_config())
    crowd(site, 4000)
    polls = [NOW + timedelta(seconds=2 * number) for number in range(302)]

    open_at = [monitor.may_take("pickup", at) for at in polls[:300]]
    assert open_at.index(True) == 5  # ten seconds on
    assert monitor.next_due("pickup") is not None
    assert [monitor.may_take("pickup", at) for at in polls[300:]] == [False, False]
    assert monitor.next_due("pickup") is None

    crowd(site, 2001)
    assert not monitor.may_take("pickup", polls[-1] + timedelta(seconds=2))
    crowd(site, 2000)
    assert monitor.may_take("pickup", polls[-1] + timedelta(seconds=4))


@pytest.mark.rule("QR-53")
def test_it_is_measured_every_two_seconds_even_while_nothing_is_dropped(site):
    config = transport_config()
    with Owner(config.run_dir) as owner:
        service = Service(config=config, token=owner.token)
        stages = {stage.name: stage for stage in service.stages()}
        assert stages["pressure"].every == timedelta(seconds=2)
        assert "pressure" not in {stage.name for stage in service.stages(("deliver",))}
        stages["pressure"].run(NOW)
        crowd(site, 4000)
        stages["pressure"].run(NOW + timedelta(seconds=1.9))
        assert told() == []
        stages["pressure"].run(NOW + timedelta(seconds=2))
        assert [code for code, _open, _detail in told()] == [15004]


@pytest.mark.rule("QR-56", "QR-57", "PU-10")
def test_a_full_disk_closes_both_doors_while_queued_mail_leaves(site, pickup, replay, transport, disk):
    queued(site, fax_queue(site, status=QueueStatus.READY), now=NOW, with_file=True)
    pickup("a.eml", FAX)
    replay("b.eml", b"X-Sender: <alice@fcweb.test>\r\nX-Receiver: <IMCEAFAX-1@fcweb.test>\r\nSubject: s\r\n\r\nx\r\n")
    disk(97)

    transport(NOW)

    assert len(list(Path(site.drop).glob("*.eml"))) == 1
    assert waiting(site) == ["a.eml"]
    assert os.listdir(site.node.replay_directory_path) == ["b.eml"]
    assert {code for code, is_open, _detail in told() if is_open} == {15004, 15006}

    disk(90)
    transport(NOW + timedelta(seconds=2))

    assert waiting(site) == []
    assert [code for code, is_open, _detail in told() if is_open] == []


@pytest.mark.rule("QR-56")
def test_each_rise_and_fall_is_told_with_resource_value_and_marks(site, disk):
    monitor = Monitor(site.node, config=transport_config())
    for number, percent in enumerate((90, 97, 99, 98, 96, 94)):
        disk(percent)
        monitor.poll(NOW + timedelta(seconds=2 * number))

    rows = [row for row in told() if row[0] == 15005]
    queue_disk = [detail.partition(" (marks 95/97/99 %)")[0] for _code, _open, detail in rows if "queue" in detail]
    assert queue_disk == ["queue disk: medium, 96 %", "queue disk: normal, 94 %"]
    assert sorted(code for code, is_open, _detail in told() if not is_open and code != 15005) == [15004, 15006]


@pytest.mark.rule("QR-56")
def test_an_alarm_left_by_a_process_that_ended_is_closed_by_the_next(site, disk):
    disk(99)
    Monitor(site.node, config=transport_config()).poll(NOW)
    assert any(is_open for _code, is_open, _detail in told())
    disk(10)

    Monitor(site.node, config=transport_config()).poll(NOW + timedelta(minutes=1))

    assert not any(is_open for _code, is_open, _detail in told())


@pytest.mark.rule("QR-56", "QR-57")
@pytest.mark.parametrize(
    ("percent", "count", "sentences"),
    [
        (99, 0, {"short of disk space"}),
        (10, 4000, {"too many messages wait to be routed"}),
        (99, 4000, {"short of disk space", "too many messages wait to be routed"}),
    ],
)
def test_pressure_is_something_that_needs_somebody(site, disk, client, admin_user, percent, count, sentences):
    disk(percent)
    crowd(site, count)
    Monitor(site.node, config=transport_config()).poll(NOW)

    found = overview.needs([], [], 0, now=NOW)

    assert len(found) == len(sentences)
    for words in sentences:
        assert any(words in need.sentence for need in found)
    client.force_login(admin_user, backend="django.contrib.auth.backends.ModelBackend")
    for path in ("/needs-you/", "/"):
        page = client.get(path).content.decode()
        assert all(words in page for words in sentences), path
