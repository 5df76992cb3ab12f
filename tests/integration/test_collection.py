"""Proof of collection: when the gateway takes its file, and the alert when it does not."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from connectors.conf import transport_config
from connectors.event_log import Event
from connectors.models import EventLogEntry, ForeignConnector, QueueItem
from connectors.transport.collection import EVERY, Collection
from connectors.transport.sweep import Sweep
from tracking.models import TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)
FAX = b"From: alice@fcweb.test\r\nTo: IMCEAFAX-%d@fcweb.test\r\n\r\nBody\r\n"


@pytest.fixture
def delivered(site, pickup, transport):
    """Three files in Drop."""
    for number in range(3):
        pickup(f"{number}.eml", FAX % number)
    transport()
    return sorted(Path(site.drop).glob("*.eml"))


@pytest.mark.rule("DR-33", "UP-19", "QX-7")
@pytest.mark.parametrize("restarted", [False, True])
def test_the_time_of_collection_is_recorded_once(site, delivered, restarted):
    now = timezone.now()
    watch = Collection(site.node)
    assert watch.run_once(now) == 0
    delivered[1].unlink()
    if restarted:
        watch = Collection(site.node)

    later = now + EVERY
    assert watch.run_once(later) == 1

    taken = int(delivered[1].name.partition("-")[0])
    assert list(QueueItem.objects.exclude(collected_at=None).values_list("pk", "collected_at")) == [(taken, later)]
    assert watch.run_once(later + EVERY) == 0
    assert set(TrackingEvent.objects.values_list("event", flat=True)) == {"RECEIVE", "SEND"}


@pytest.mark.rule("DR-33")
def test_a_file_delivered_and_taken_between_two_looks_is_seen(site, pickup, transport):
    watch = Collection(site.node)
    now = timezone.now()
    watch.run_once(now)
    pickup("a.eml", FAX % 7)
    transport(now + timedelta(seconds=1))
    (file,) = Path(site.drop).glob("*.eml")
    file.unlink()

    assert watch.run_once(now + EVERY) == 1


@pytest.mark.rule("DR-33", "EV-2")
def test_a_gateway_that_leaves_its_files_is_reported(site, delivered):
    ForeignConnector.objects.update(collect_within_minutes=10)
    now = timezone.now()
    watch = Collection(site.node)
    watch.run_once(now)
    assert not EventLogEntry.objects.exists()

    watch.run_once(now + timedelta(minutes=11))
    assert EventLogEntry.objects.get(code=90013, cleared_at=None).subject == "Fax"

    for path in delivered:
        path.unlink()
    watch.run_once(now + timedelta(minutes=12))
    assert not EventLogEntry.objects.filter(cleared_at=None).exists()


@pytest.mark.rule("DR-33", "QX-7")
def test_a_gateway_is_reported_as_long_as_it_leaves_its_files_though_the_safety_net_forgot_them(site, delivered):
    ForeignConnector.objects.update(collect_within_minutes=10)
    later = timezone.now() + timedelta(days=3)
    watch = Collection(site.node)
    watch.run_once(later)
    Sweep(site.node, config=transport_config()).run_once(later)
    assert not QueueItem.objects.exists()

    watch.run_once(later + EVERY)

    assert EventLogEntry.objects.get(code=Event.NOT_COLLECTED).cleared_at is None


@pytest.mark.rule("DR-33")
def test_nothing_is_concluded_from_a_directory_that_is_away(site, delivered):
    watch = Collection(site.node)
    now = timezone.now()
    watch.run_once(now)
    Path(site.drop).rename(Path(site.drop).with_name("away"))

    assert watch.run_once(now + EVERY) == 0
    assert not QueueItem.objects.exclude(collected_at=None).exists()
