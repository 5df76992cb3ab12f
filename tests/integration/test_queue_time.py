"""What time does to queues: rates, idle resubmission, expiry of suspended mail, poison, LOAD at start, priority."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from django.utils import timezone

from connectors import choices, configuration, event_log
from connectors.choices import ItemState, MessageState, Priority, QueueStatus, RecipientState, Verb
from connectors.conf import TransportConfig, transport_config
from connectors.event_log import Event
from connectors.models import (
    EventLogEntry,
    ForeignConnector,
    Message,
    MessageRecipient,
    Queue,
    QueueItem,
    QueueSample,
    TransportSettings,
)
from connectors.queue_rows import sooner_than
from connectors.reads import message_operations
from connectors.transport import jobs, leasing, poison, queue_operations
from connectors.transport import queue as queues
from connectors.transport.boot import Boot
from connectors.transport.delivery import Delivery
from connectors.transport.jobs import Order
from connectors.transport.upkeep import Upkeep
from tests.queue_fixtures import fax_queue, queued, send_back
from tracking.models import TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()


def events():
    return [(e.event, e.source, e.source_context) for e in TrackingEvent.objects.order_by("pk")]


@pytest.mark.rule("QU-13", "QA-5")
def test_samples_count_what_came_and_what_left(site):
    queue = fax_queue(site)
    upkeep = Upkeep(site.node, config=transport_config())
    upkeep.run_once(NOW)
    items = [queued(site, queue, now=NOW) for _n in range(3)]
    QueueItem.objects.filter(pk=items[0].pk).update(state=ItemState.DELIVERED, delivered_at=NOW + timedelta(seconds=2))
    Queue.objects.filter(pk=queue.pk).update(last_success_at=NOW + timedelta(seconds=2))

    upkeep.run_once(NOW + timedelta(seconds=4))  # too early for a sample
    upkeep.run_once(NOW + timedelta(seconds=5))

    assert list(QueueSample.objects.filter(queue=queue).values_list("incoming", "outgoing")) == [(3, 1)]
    upkeep.run_once(NOW + timedelta(seconds=120))
    assert not QueueSample.objects.exists()


@pytest.mark.rule("QR-28", "QR-11", "QO-7", "MT-J", "RT-51")
def test_a_queue_long_in_retry_is_routed_again_and_keeps_its_place(site, transport):
    start = NOW - timedelta(hours=13)
    due = NOW + timedelta(minutes=7)
    queue = fax_queue(site, status=QueueStatus.RETRY, retry_count=70, first_retry_at=start, next_retry_at=due)
    item = queued(site, queue, now=start, with_file=True)
    stopped = queued(site, queue, now=start, state=ItemState.SUSPENDED)

    transport(NOW)

    assert ("RESUBMIT", "QUEUE", "") in events()
    stopped.refresh_from_db()
    assert stopped.state == ItemState.SUSPENDED
    (again,) = QueueItem.objects.filter(message=item.message_id, state=ItemState.READY)
    queue.refresh_from_db()
    assert (again.queue_id, queue.status, queue.retry_count, queue.next_retry_at) == (queue.pk, "Retry", 70, due)
    assert again.entered_at == start  # what waits does not look younger than it is
    transport(NOW)
    assert [event for event, _s, _c in events()].count("RESUBMIT") == 1


@pytest.mark.rule("QR-28", "QX-3")
def test_mail_that_was_routed_again_keeps_its_age_and_hears_of_its_new_queue_alone(site, transport):
    start = NOW - timedelta(hours=2)
    fax = fax_queue(site)
    for verb, minutes in ((Verb.SUSPEND, 90), (Verb.RESUME, 80)):
        jobs.operate_queue(fax, verb, actor="ann", now=NOW - timedelta(minutes=minutes))
    sms = Queue.objects.create(
        node=site.node, delivery_type=fax.delivery_type, next_hop_domain="SMS", next_hop_connector=UUID(int=7)
    )
    item = queued(site, sms, now=start, with_file=True)
    site.drop.rmdir()
    send_back(item.pk, now=NOW)
    transport(NOW)

    again = QueueItem.objects.get(message=item.message_id, queue=fax)
    assert (again.state, again.entered_at, again.queued_at) == (ItemState.READY, start, NOW)
    assert message_operations.entries([item.message_id]) == []
    jobs.operate_queue(fax, Verb.SUSPEND, actor="ann", now=NOW + timedelta(minutes=1))
    assert [entry.actor for entry in message_operations.entries([item.message_id])] == ["ann"]


@pytest.mark.rule("QA-7", "QR-30")
@pytest.mark.parametrize("expire", [True, False])
def test_suspended_mail_expires_unless_told_otherwise(site, expire):
    queue = fax_queue(site)
    queued(site, queue, now=NOW - timedelta(days=3), state=ItemState.SUSPENDED)

    queues.expire(site.node, limit=10, now=NOW, suspended=expire)

    recipient = MessageRecipient.objects.get()
    assert (recipient.state == RecipientState.FAILING) is expire


@pytest.mark.rule("QR-30")
def test_mail_expires_in_a_suspended_submission_queue(site, pickup, transport):
    submission = queue_operations.special_queue(site.node, choices.SUBMISSION_DOMAIN)
    jobs.operate_queue(submission, Verb.SUSPEND, actor="ann", now=NOW)
    pickup("a.eml", b"From: alice@fcweb.test\r\nTo: IMCEAFAX-1@fcweb.test\r\n\r\nBody\r\n")
    transport()
    Message.objects.update(expires_at=NOW)

    transport(NOW + timedelta(minutes=1))

    assert ("FAIL", "QUEUE", "Expired") in events()
    assert MessageRecipient.objects.get(message__source="PICKUP").status_text.startswith("550 4.4.7")


class Dead(Delivery):
    """A delivery process that dies with its batch in hand."""

    def crash(self, queue, limit=200):
        return leasing.lease(queue, directory="/nonexistent", token="dead", limit=limit, folder_of=None)


@pytest.mark.rule("QR-50", "QA-8", "MT-L", "QU-4")
def test_the_second_crash_sets_the_guilty_message_apart_and_no_other(site):
    queue = fax_queue(site)
    items = [queued(site, queue, now=NOW, with_file=True) for _n in range(3)]
    config = transport_config()
    Dead(site.node, config=config, token="dead").crash(queue)
    Delivery(site.node, config=config, token="me").recover(NOW)
    assert list(Message.objects.values_list("crash_count", flat=True)) == [1, 1, 1]

    restarted = Delivery(site.node, config=config, token="me2")
    assert leasing.lease(queue, directory="/x", token="dead", limit=1, folder_of=None)[0].pk == items[0].pk
    restarted.recover(NOW)
    while restarted.run_once(NOW):
        pass

    states = list(Message.objects.order_by("pk").values_list("state", "crash_count"))
    assert states == [(MessageState.POISON, 2), (MessageState.DONE, 0), (MessageState.DONE, 0)]
    assert events()[0] == ("POISONMESSAGE", "POISONMESSAGE", "Entered")
    assert EventLogEntry.objects.filter(code=90012, cleared_at=None).count() == 1
    assert len(list(Path(site.drop).glob("*.eml"))) == 2


@pytest.mark.rule("QR-52", "MT-L", "QR-30")
def test_poison_leaves_by_resume_or_removal_only(site, transport):
    queue = fax_queue(site)
    item = queued(site, queue, now=NOW - timedelta(days=5), with_file=True)
    Message.objects.filter(pk=item.message_id).update(crash_count=1)
    poison.note_crash(site.node, [item.message_id], config=transport_config(), now=NOW)
    transport(NOW)
    item.refresh_from_db()
    assert item.state == ItemState.SUSPENDED  # not expired, not resumed

    job = jobs.start(site.node, Order(verb=Verb.RESUME, actor="ann", queue=item.queue), now=NOW)
    jobs.run_to_end(job, config=transport_config(), now=NOW)
    Message.objects.update(expires_at=NOW + timedelta(days=1))
    transport(NOW)

    assert Message.objects.get().crash_count == 0
    assert [(e, c) for e, _s, c in events()][:2] == [("POISONMESSAGE", "Entered"), ("POISONMESSAGE", "Resumed")]
    assert events()[-1][0] == "SEND"


@pytest.mark.rule("QR-30", "QR-52", "DSN-2")
def test_a_copy_left_in_poison_waits_on_when_another_was_resumed(site, transport):
    queue = fax_queue(site)
    item = queued(site, queue, now=NOW, with_file=True)
    other = QueueItem.objects.create(queue=queue, message=item.message, state=ItemState.READY, entered_at=NOW)
    address = "IMCEAFAX-2@fcweb.test"
    MessageRecipient.objects.create(message=item.message, item=other, address=address, state=RecipientState.QUEUED)
    Message.objects.update(crash_count=1)
    poison.note_crash(site.node, [item.message_id], config=transport_config(), now=NOW)
    order = Order(verb=Verb.RESUME, actor="ann", items=(item.pk,))
    jobs.run_to_end(jobs.start(site.node, order, now=NOW), config=transport_config(), now=NOW)

    for hours in (1, 5, 50):
        transport(NOW + timedelta(hours=hours))

    other.refresh_from_db()
    assert (other.state, other.queue.next_hop_domain) == (ItemState.SUSPENDED, choices.POISON_DOMAIN)
    assert [event for event, _s, _c in events()] == ["POISONMESSAGE", "POISONMESSAGE", "SEND"]
    assert EventLogEntry.objects.filter(code=90012, cleared_at=None).count() == 1
    assert not sooner_than(NOW + timedelta(days=9)).exists()


@pytest.mark.rule("QR-50")
def test_a_message_that_breaks_the_courier_does_not_block_the_others(site):
    queue = fax_queue(site)
    broken = queued(site, queue, now=NOW, with_file=True)
    config = transport_config()
    (config.spool_dir / broken.message.spool_name).write_bytes(b"no block at all")
    QueueItem.objects.update(is_whole=False)
    good = queued(site, queue, now=NOW, with_file=True)
    delivery = Delivery(site.node, config=config, token="me")

    for _attempt in range(5):
        try:
            delivery.run_once(NOW)
        except ValueError:
            continue

    good.refresh_from_db()
    assert good.state == ItemState.DELIVERED
    assert Message.objects.get(pk=broken.message_id).state == MessageState.POISON


@pytest.mark.rule("QU-10", "MT-L")
def test_stored_messages_are_loaded_once_at_start(site):
    queue = fax_queue(site)
    queued(site, queue, now=NOW, recipients=("IMCEAFAX-1@fcweb.test", "IMCEAFAX-2@fcweb.test"))
    queued(site, queue, now=NOW)
    boot = Boot(site.node)
    queued(site, queue, now=NOW)  # came after the start

    assert [boot.run_once(NOW), boot.run_once(NOW), boot.run_once(NOW)] == [2, 0, 0]
    assert events() == [("LOAD", "BOOTLOADER", "")] * 2
    assert TrackingEvent.objects.first().recipients.count() == 2


@pytest.mark.rule("QR-60", "RT-33")
def test_priorities_count_only_when_switched_on(site):
    queue = fax_queue(site)
    for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH):
        item = queued(site, queue, now=NOW)
        QueueItem.objects.filter(pk=item.pk).update(priority=priority)
    on = TransportConfig(data_dir=Path("/x"), priority_queuing=True)
    off = TransportConfig(data_dir=Path("/x"))

    leased = leasing.lease(queue, directory="/x", token="t", limit=2, folder_of=None, by_priority=True)

    order = QueueItem.objects.in_bulk([item.pk for item in leased])
    assert sorted(row.priority for row in order.values()) == [Priority.NORMAL, Priority.HIGH]
    assert (on.queue_priority(2, 250 * 1024), on.queue_priority(2, 250 * 1024 + 1), off.queue_priority(2, 1)) == (
        2,
        1,
        1,
    )
    assert (on.expires_after(2, 9), on.expires_after(1, 9)) == (timedelta(hours=8), timedelta(days=2))
    assert on.expires_after(2, 250 * 1024 + 1) == timedelta(days=2)


@pytest.mark.rule("QR-60", "RT-33")
def test_an_urgent_message_is_in_a_batch_that_larger_older_ones_would_fill(site):
    queue = fax_queue(site)
    older = [queued(site, queue, now=NOW, size=1000) for _n in range(3)]
    urgent = queued(site, queue, now=NOW, size=1000)
    QueueItem.objects.filter(pk=urgent.pk).update(priority=Priority.HIGH)

    facts = {"limit": 10, "limit_bytes": 1500, "folder_of": None, "by_priority": True}
    leased = leasing.lease(queue, directory="/x", token="t", **facts)

    assert [item.pk for item in leased] == [urgent.pk, older[0].pk]


@pytest.mark.rule("QR-14", "QA-6", "RT-31")
def test_an_idle_queue_goes_and_a_suspended_one_stays(site):
    idle = {"last_success_at": NOW - timedelta(minutes=4), "last_retry_at": NOW - timedelta(minutes=4)}
    queue = fax_queue(site, **idle)
    Queue.objects.create(
        node=site.node,
        delivery_type=queue.delivery_type,
        next_hop_domain="kept.test",
        next_hop_connector=queue.next_hop_connector,
        status=QueueStatus.SUSPENDED,
        **idle,
    )

    Upkeep(site.node, config=transport_config()).run_once(NOW)

    assert set(Queue.objects.values_list("next_hop_domain", flat=True)) == {"kept.test", "Submission"}


@pytest.mark.rule("QU-1")
def test_a_queue_in_retry_that_was_emptied_is_ready(site):
    queue = fax_queue(site, status=QueueStatus.RETRY, retry_count=3, last_error="451 4.3.5 x", next_retry_at=NOW)

    Upkeep(site.node, config=transport_config()).run_once(NOW)

    queue.refresh_from_db()
    assert (queue.status, queue.retry_count, queue.last_error, queue.next_retry_at) == ("Ready", 0, "", None)


@pytest.mark.rule("QR-30", "QU-10")
def test_mail_expires_in_a_queue_that_a_crash_left_active_and_a_person_holds(site, transport):
    configuration.change(ForeignConnector.objects.get(name="Fax"), {"is_held": True})
    transport(NOW)
    queue = fax_queue(site, status=QueueStatus.ACTIVE)  # as it was when the process died
    late = {"now": NOW - timedelta(days=3), "expires_at": NOW - timedelta(days=1), "with_file": True}
    items = [queued(site, queue, state=state, **late) for state in (ItemState.READY, ItemState.SUSPENDED)]

    transport(NOW)
    transport(NOW + timedelta(seconds=5))

    assert set(QueueItem.objects.filter(queue=queue).values_list("state", flat=True)) == {ItemState.REMOVED}
    assert events().count(("FAIL", "QUEUE", "Expired")) == len(items)


@pytest.mark.rule("QU-1", "QR-26")
@pytest.mark.parametrize("status", [QueueStatus.SUSPENDED, QueueStatus.RETRY])
def test_mail_that_comes_into_an_emptied_queue_is_tried_at_once(site, transport, status):
    ladder = {"retry_count": 12, "last_error": "451 4.3.5 x", "first_retry_at": NOW}
    queue = fax_queue(site, status=status, next_retry_at=NOW + timedelta(hours=5), **ladder)
    item = queued(site, queue, now=NOW)
    order = Order(verb=Verb.REMOVE, actor="ann", queue=queue)
    jobs.run_to_end(jobs.start(site.node, order, now=NOW), config=transport_config(), now=NOW)
    jobs.operate_queue(queue, Verb.RESUME, actor="ann", now=NOW)
    transport(NOW)

    queue.refresh_from_db()
    assert (queue.status, queue.retry_count, queue.last_error) == (QueueStatus.READY, 0, "")
    later = queued(site, queue, now=NOW, with_file=True)
    transport(NOW)
    item.refresh_from_db()
    later.refresh_from_db()
    assert (item.state, later.state) == (ItemState.REMOVED, ItemState.DELIVERED)


@pytest.mark.rule("QR-41", "QX-9")
def test_the_alarm_of_a_directory_ends_when_it_takes_mail_again_though_the_queue_was_emptied(site, transport):
    queue = fax_queue(site)
    site.drop.rmdir()
    queued(site, queue, now=NOW, with_file=True)
    transport(NOW)
    assert event_log.is_open(Event.NO_DROP_DIRECTORY, "Fax")
    order = Order(verb=Verb.REMOVE, actor="ann", queue=queue)
    jobs.run_to_end(jobs.start(site.node, order, now=NOW), config=transport_config(), now=NOW)
    transport(NOW + timedelta(seconds=10))
    site.drop.mkdir()
    queued(site, queue, now=NOW, with_file=True)

    transport(NOW + timedelta(seconds=20))

    assert len(list(site.drop.glob("*.eml"))) == 1
    assert not event_log.is_open(Event.NO_DROP_DIRECTORY, "Fax")


@pytest.mark.rule("QR-60", "RT-33")
@pytest.mark.parametrize(("switched_on", "hours"), [(True, 8), (False, 48)])
def test_a_high_message_expires_sooner_only_with_priority_queuing(site, pickup, transport, switched_on, hours):
    TransportSettings.objects.create(node=site.node, priority_queuing=switched_on)
    pickup("a.eml", b"From: alice@fcweb.test\r\nTo: IMCEAFAX-1@fcweb.test\r\nX-Priority: 1\r\n\r\nBody\r\n")

    transport(NOW)

    message = Message.objects.get()
    assert (message.priority, message.expires_at - message.received_at) == (Priority.HIGH, timedelta(hours=hours))
    assert QueueItem.objects.get().priority == (Priority.HIGH if switched_on else Priority.NORMAL)


@pytest.mark.rule("QU-13", "QU-1")
def test_the_rates_of_submission_count_what_was_accepted_and_what_was_routed(site, pickup, transport):
    from connectors.reads import queues as reads

    submission = queue_operations.special_queue(site.node, choices.SUBMISSION_DOMAIN)
    jobs.operate_queue(submission, Verb.SUSPEND, actor="ann", now=NOW)
    upkeep = Upkeep(site.node, config=transport_config())
    upkeep.run_once(NOW)
    for number in range(6):
        pickup(f"{number}.eml", b"From: alice@fcweb.test\r\nTo: IMCEAFAX-1@fcweb.test\r\n\r\nBody\r\n")
    transport(NOW)
    upkeep.run_once(NOW + timedelta(seconds=5))
    assert list(QueueSample.objects.values_list("queue", "incoming", "outgoing")) == [(submission.pk, 6, 0)]
    jobs.operate_queue(submission, Verb.RESUME, actor="ann", now=NOW)
    transport(NOW)

    upkeep.run_once(NOW + timedelta(seconds=10))

    (seen,) = reads.summaries(submission.pk, now=NOW + timedelta(seconds=10))
    assert (seen.incoming, seen.outgoing, seen.velocity) == (0.1, 0.1, 0.0)
