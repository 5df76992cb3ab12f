"""Sweep: what is finished goes, by batches; what a queue or a person still needs stays."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from connectors.conf import transport_config
from connectors.models import Message, MessageRecipient, QueueItem, SourceFile
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
