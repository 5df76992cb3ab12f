"""The daily check: every accepted recipient has exactly one end or still waits, and what breaks that is told."""

import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connectors.choices import ItemState, RecipientState
from connectors.models import EventLogEntry, LedgerCheck, Message, MessageRecipient, QueueItem
from connectors.reads import overview
from connectors.transport import ledger
from tests.queue_fixtures import fax_queue, fill, queued
from tracking import record
from tracking.models import TrackedMessage, TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()
MIXED = (
    b"From: alice@fcweb.test\r\nTo: IMCEAFAX-1@fcweb.test, alice@fcweb.test, nobody@fcweb.test, "
    b"IMCEASMS-2@fcweb.test, bob@elsewhere.test\r\nSubject: s\r\n\r\nx\r\n"
)


def wrong(site):
    return [(v.kind, v.recipient) for _looked, batch in ledger.check_all(site.node) for v in batch]


@pytest.fixture
def mixed(site, pickup, transport):
    """One message to a gateway, a mailbox, two addresses that fail and one that waits in Unreachable, and its notice."""
    pickup("m.eml", MIXED)
    transport(NOW)
    states = Message.objects.get(source="PICKUP").recipients.order_by("pk").values_list("state", flat=True)
    assert list(states) == ["delivered", "delivered", "failed", "failed", "queued"]
    return Message.objects.get(source="PICKUP")


@pytest.mark.rule("MT-1")
def test_real_mail_of_every_outcome_is_in_order(site, mixed, transport):
    assert wrong(site) == []

    transport(NOW + timedelta(days=3))

    assert set(MessageRecipient.objects.values_list("state", flat=True)) == {"delivered", "failed"}
    assert wrong(site) == []


@pytest.mark.rule("MT-1", "DSN-12")
def test_what_the_safety_net_delivers_again_has_one_end_more(site, mixed, transport):
    call_command("safetynet", "resubmit", "--connector", "Fax")
    assert wrong(site) == []
    transport(NOW)

    assert TrackingEvent.objects.filter(event="SEND").count() == 2
    assert wrong(site) == []


def lose_item(message):
    QueueItem.objects.filter(message=message, state=ItemState.READY).delete()
    return [("lost", "bob@elsewhere.test")]


def forget_debt(message):
    message.recipients.filter(state="queued").update(state=RecipientState.FAILING, item=None, report_due="")
    return [("lost", "bob@elsewhere.test")]


def stay_in_submission(message):
    message.recipients.filter(state="queued").update(state=RecipientState.SUBMITTED, item=None)
    return [("lost", "bob@elsewhere.test")]


def send_twice(message):
    again = record.send(
        message.tracked_id,
        at=NOW,
        source="GATEWAY",
        server="n",
        connector="Fax",
        context="f",
        recipients=[("IMCEAFAX-1@fcweb.test", "")],
        arrived_at=NOW,
    )
    record.save([again])
    return [("ended_twice", "IMCEAFAX-1@fcweb.test")]


def fail_what_was_delivered(message):
    late = record.fail(
        message.tracked_id, at=NOW, source="QUEUE", server="n", context="Expired", recipients=[("alice@fcweb.test", "")]
    )
    record.save([late])
    return [("ended_twice", "alice@fcweb.test")]


def end_early(message):
    early = record.fail(
        message.tracked_id, at=NOW, source="QUEUE", server="n", context="", recipients=[("bob@elsewhere.test", "")]
    )
    record.save([early])
    return [("ended_early", "bob@elsewhere.test")]


def end_without_event(message):
    TrackingEvent.objects.filter(message=message.tracked_id, event="SEND").delete()
    return [("no_end", "IMCEAFAX-1@fcweb.test")]


def swap_ends(message):
    """One recipient ends twice, another never: the sum is right."""
    TrackingEvent.objects.filter(message=message.tracked_id, event="DELIVER").delete()
    send_twice(message)
    return [("ended_twice", "IMCEAFAX-1@fcweb.test"), ("no_end", "alice@fcweb.test")]


def lose_events(message):
    TrackedMessage.objects.filter(pk=message.tracked_id).delete()
    return [("no_events", "")]


def lose_message(message):
    message.recipients.all().delete()
    QueueItem.objects.filter(message=message).delete()
    Message.objects.filter(original=message).update(original=None)
    message.delete()
    return [("no_message", "")]


@pytest.mark.rule("MT-1")
@pytest.mark.parametrize(
    "damage",
    [
        lose_item,
        forget_debt,
        stay_in_submission,
        send_twice,
        fail_what_was_delivered,
        end_early,
        end_without_event,
        swap_ends,
        lose_events,
        lose_message,
    ],
)
def test_every_damage_is_found(site, mixed, damage):
    expected = damage(mixed)

    assert sorted(wrong(site)) == expected


@pytest.mark.rule("MT-1")
def test_it_runs_once_a_night_tells_what_it_found_and_stops_telling_after_the_repair(site, mixed, transport, settings):
    ends = TrackingEvent.objects.filter(message=mixed.tracked_id, event="SEND")
    message_id = mixed.message_id
    transport(NOW)
    assert LedgerCheck.objects.get().finished_at == NOW  # nothing is checked on the first day
    ends.update(event="DEFER")

    night = ledger._next_night(NOW)
    assert timezone.localtime(night).hour == 2 and timedelta(0) < night - NOW <= timedelta(days=1)
    transport(night - timedelta(seconds=1))
    assert not EventLogEntry.objects.filter(code=90014).exists()
    transport(night)

    entry = EventLogEntry.objects.get(code=90014, cleared_at=None)
    assert entry.detail == f"1:\nno_end {message_id} IMCEAFAX-1@fcweb.test"
    needs = [need.sentence for need in overview.needs([], [], 0, now=night)]
    assert [words for words in needs if "without exactly one end" in words] != []

    TrackingEvent.objects.filter(message=mixed.tracked_id, event="DEFER").update(event="SEND")
    transport(night + timedelta(hours=23))
    assert EventLogEntry.objects.filter(code=90014, cleared_at=None).exists()
    transport(night + timedelta(days=1))
    assert not EventLogEntry.objects.filter(code=90014, cleared_at=None).exists()


@pytest.mark.rule("MT-1")
def test_the_command_names_each_and_ends_with_a_code(site, mixed, capsys):
    call_command("ledger", "check")
    assert capsys.readouterr().out == "2 messages: every recipient has one end or still waits\n"
    send_twice(mixed)

    with pytest.raises(CommandError) as caught:
        call_command("ledger", "check", "--json")

    assert caught.value.returncode == 1
    assert json.loads(capsys.readouterr().out) == {
        "tracked": mixed.tracked_id,
        "message": mixed.pk,
        "message_id": mixed.message_id,
        "recipient": "IMCEAFAX-1@fcweb.test",
        "kind": "ended_twice",
    }
    assert EventLogEntry.objects.get(code=90014, cleared_at=None).subject == site.node.name


@pytest.mark.rule("MT-1")
def test_a_batch_costs_the_same_few_queries_however_many_messages_it_holds(site):
    queue = fax_queue(site)
    counts = []
    for number in (1, 499):
        fill(site.node, queue, number, now=NOW)
        with CaptureQueriesContext(connection) as queries:
            assert wrong(site) == []
        counts.append(len(queries))
    assert counts[1] == counts[0] <= 14
    fill(site.node, queue, 600, now=NOW)
    assert [looked for looked, _found in ledger.check_all(site.node)] == [500, 500, 100, 0]


@pytest.mark.rule("MT-1")
def test_what_moves_while_it_is_read_is_no_violation(site, monkeypatch):
    item = queued(site, fax_queue(site), now=NOW)
    plain = ledger._ends

    def ends_after_delivery(tracked):
        if QueueItem.objects.filter(pk=item.pk, state=ItemState.READY).exists():
            QueueItem.objects.filter(pk=item.pk).update(state=ItemState.DELIVERED)
            MessageRecipient.objects.update(state=RecipientState.DELIVERED)
            send_twice(item.message)
        return plain(tracked)

    monkeypatch.setattr(ledger, "_ends", ends_after_delivery)

    assert wrong(site) == []
