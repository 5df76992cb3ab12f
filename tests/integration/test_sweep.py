"""Sweep: what is finished goes, by batches; what a queue or a person still needs stays."""

import os
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.db import transaction
from django.utils import timezone

from connectors.conf import transport_config
from connectors.models import Message, MessageRecipient, QueueItem, SourceFile
from connectors.transport import jobs
from connectors.transport import sweep as sweep_module
from connectors.transport.safety_net import Wanted
from connectors.transport.sweep import Sweep
from tracking.models import TrackingEvent

FAX = b"From: alice@fcweb.test\r\nTo: IMCEAFAX-%d@fcweb.test\r\nSubject: Offer\r\n\r\nBody\r\n"


def spool_files(data_dir):
    return sorted(path for path in (data_dir / "spool").rglob("*.eml") if path.parent.name != "trash")


def sweep(site, now):
    return Sweep(site.node, config=transport_config()).run_once(now)


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("QR-18")
def test_content_and_rows_go_when_the_safety_net_time_is_over(
    site, pickup, transport, data_dir, django_assert_max_num_queries
):
    for number in range(5):
        pickup(f"{number}.eml", FAX % number)
    transport()
    later = timezone.now() + timedelta(hours=47)
    sweep(site, later)
    assert Message.objects.count() == len(spool_files(data_dir)) == 5

    with django_assert_max_num_queries(25):
        sweep(site, later + timedelta(hours=2))

    assert spool_files(data_dir) == []
    assert (Message.objects.count(), MessageRecipient.objects.count(), QueueItem.objects.count()) == (0, 0, 0)
    assert len(list(Path(site.drop).glob("*.eml"))) == 5  # the reader's, not ours
    assert TrackingEvent.objects.count() == 10
    assert set(SourceFile.objects.values_list("state", "message")) == {("queued", None)}


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("QR-18", "QU-6", "MT-1")
def test_what_somebody_delivers_again_at_the_last_moment_is_not_swept(site, pickup, transport, data_dir, monkeypatch):
    pickup("a.eml", FAX % 1)
    transport()
    late = timezone.now() + timedelta(hours=49)

    @contextmanager
    def just_before():
        monkeypatch.undo()
        job = jobs.start_again(site.node, Wanted(connector="Fax"), actor="ann", now=late)
        jobs.run_to_end(job, config=transport_config(), now=late)
        with transaction.atomic():
            yield

    monkeypatch.setattr(sweep_module, "transaction", SimpleNamespace(atomic=just_before))

    Sweep(site.node, config=transport_config())._messages(late)

    assert len(spool_files(data_dir)) == 1
    transport(late)
    assert [event.event for event in TrackingEvent.objects.order_by("pk")] == ["RECEIVE", "SEND", "RESUBMIT", "SEND"]
    assert len(list(Path(site.drop).glob("*.eml"))) == 2


@pytest.mark.django_db(transaction=True)
def test_a_waiting_message_and_a_bad_file_stay(site, pickup, transport, data_dir):
    Path(site.drop).rename(site.drop.with_name("away"))
    pickup("waits.eml", FAX % 1)
    pickup("bad.eml", b"From: alice@fcweb.test\r\n\r\nno recipient\r\n")
    transport()

    sweep(site, timezone.now() + timedelta(days=30))

    assert Message.objects.count() == len(spool_files(data_dir)) == 1
    assert list(SourceFile.objects.values_list("state", flat=True)) == ["bad"]


@pytest.mark.django_db(transaction=True)
def test_orphans_of_a_crash_go_but_the_remains_of_a_lost_database_stay(site, pickup, transport, data_dir):
    pickup("known.eml", FAX % 1)
    transport()
    (known,) = spool_files(data_dir)
    orphan = known.with_name("0" * 32 + ".eml")
    orphan.write_bytes(b"left by a crash")
    remains = data_dir / "spool" / "2020010100" / "1.eml"
    remains.parent.mkdir()
    remains.write_bytes(b"older than the ledger")
    os.utime(remains, (1_577_836_800, 1_577_836_800))
    Message.objects.update(state="routed")

    sweep(site, timezone.now() + timedelta(hours=40))
    assert orphan.exists()
    sweep(site, timezone.now() + timedelta(hours=50))

    assert (known.exists(), orphan.exists(), remains.exists()) == (True, False, True)


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("MTP-2")
def test_events_are_forgotten_when_their_time_is_over_but_not_those_of_waiting_mail(site, pickup, transport):
    pickup("done.eml", FAX % 1)
    transport()
    Path(site.drop).rename(site.drop.with_name("away"))
    pickup("waits.eml", FAX % 2)
    transport()
    now = timezone.now()

    sweep(site, now + timedelta(days=29))
    assert TrackingEvent.objects.count() == 4
    sweep(site, now + timedelta(days=31))

    assert list(TrackingEvent.objects.order_by("pk").values_list("event", flat=True)) == ["RECEIVE", "DEFER"]


# What keeps a message from being finished, as the tables have it; each alone must keep row and content (QU-11).
_UNFINISHED = {
    "not routed yet": ({"state": "submitted"}, {"state": "submitted", "item": None}, {}),
    "waits": ({"state": "routed"}, {"state": "queued"}, {"state": "ready"}),
    "suspended": ({"state": "routed"}, {"state": "queued"}, {"state": "suspended"}),
    "in transfer": ({"state": "routed"}, {"state": "queued"}, {"state": "staging", "leased_by": "t"}),
    "failed, sender not told": (
        {"state": "routed"},
        {"state": "failing", "report_due": "failed"},
        {"state": "removed"},
    ),
    "delivered, receipt owed": ({"state": "routed"}, {"state": "delivered", "report_due": "relayed"}, {}),
    "poison": ({"state": "poison"}, {"state": "queued"}, {"state": "suspended"}),
}


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("QU-11", "QU-10")
@pytest.mark.parametrize("name", _UNFINISHED)
def test_an_unfinished_message_outlives_its_hour_and_all_its_neighbours(site, pickup, transport, data_dir, name):
    for number in range(3):
        pickup(f"{number}.eml", FAX % number)
    transport()
    message, recipient, item = _UNFINISHED[name]
    kept = Message.objects.earliest("pk")
    closed = {"done_at": None} | message
    Message.objects.filter(pk=kept.pk).update(**closed)
    MessageRecipient.objects.filter(message=kept).update(settled_at=None, **recipient)
    if item:
        QueueItem.objects.filter(message=kept).update(**item)
    content = data_dir / "spool" / kept.spool_name
    sweeping = Sweep(site.node, config=transport_config())

    for days in (3, 30, 365):
        for _pass in range(3):
            sweeping.run_once(timezone.now() + timedelta(days=days))

    assert spool_files(data_dir) == [content]
    assert list(Message.objects.values_list("pk", flat=True)) == [kept.pk]
    assert MessageRecipient.objects.filter(message=kept).count() == QueueItem.objects.filter(message=kept).count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("QU-11")
def test_content_whose_rows_are_on_their_way_stays_even_without_a_safety_net(site, pickup, transport, data_dir):
    from dataclasses import replace

    pickup("known.eml", FAX % 1)
    transport()
    (known,) = spool_files(data_dir)
    fresh = known.with_name("0" * 32 + ".eml")
    fresh.write_bytes(b"its batch commits in a moment")
    config = replace(transport_config(), safety_net=timedelta(0))
    hour = timezone.now().replace(minute=0, second=0, microsecond=0)

    Sweep(site.node, config=config).run_once(hour + timedelta(hours=1, seconds=1))
    assert fresh.exists()

    Sweep(site.node, config=config).run_once(hour + timedelta(hours=2, seconds=1))
    assert not fresh.exists()
