"""The canonical flows of message tracking (section 6): every row in order, every field of every row.

A row that is not named in full below is empty where the table of required fields (2.6) lets it be empty: nothing more
is written than what is expected.
"""

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from connectors import configuration, first_start
from connectors import recipient_configuration as recipients
from connectors.choices import QueueStatus, Verb
from connectors.conf import transport_config
from connectors.models import Contact, DirectoryRecipient, ForeignConnector, Message, MessageRecipient, Queue, QueueItem
from connectors.transport import jobs, ledger, poison
from connectors.transport.boot import Boot
from connectors.transport.jobs import Order
from tracking import exchange_log, rows
from tracking.models import TrackedMessage, TrackingEvent
from tracking.record import iso

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()
OK = "250 2.1.5 Recipient OK"
STORE = "Mailboxes"  # name of the local store, and of its queue
FAX1, FAX2, ALICE = "IMCEAFAX-1@fcweb.test", "IMCEAFAX-2@fcweb.test", "alice@fcweb.test"
LOGGED_AS_CLIENT = {"SEND", "DELIVER", "FAIL"}  # C in table 2.6; the others log the server as server (S)


def letter(*to, extra=""):
    return f"From: {ALICE}\r\nTo: {', '.join(to)}\r\nSubject: Offer\r\n{extra}\r\nBody\r\n".encode()


def replayed(*to, sender=ALICE, parameters="", extra=""):
    receivers = "".join(f"X-Receiver: <{address}>{parameters}\r\n" for address in to)
    return f"X-Sender: <{sender}>\r\n{receivers}{extra}From: {ALICE}\r\nSubject: Offer\r\n\r\nx\r\n".encode()


def told():
    """Return every row as it was logged, oldest first; `of` is the place of its message in order of entry."""
    order = {pk: number for number, pk in enumerate(TrackedMessage.objects.order_by("pk").values_list("pk", flat=True))}
    return [
        {
            "event": f"{e.event}/{e.source}",
            "of": order[e.message_id],
            "to": [(r.address, r.status) for r in e.recipients.order_by("pk")],
            "ctx": e.source_context,
            "info": e.message_info,
            "ref": e.reference,
            "related": e.related_recipient,
            "connector": e.connector_id,
            "custom": e.custom_data,
            "ip": e.client_ip,
            "client": e.client_hostname,
            "server": e.server_hostname,
        }
        for e in TrackingEvent.objects.select_related("message").order_by("pk")
    ]


def row(event, of, to, **more):
    """Return an expected row: the logging server stands where table 2.6 wants it."""
    name = event.partition("/")[0]
    facts = dict.fromkeys(("ctx", "info", "ref", "related", "connector", "custom", "ip", "client", "server"), "")
    facts["client" if name in LOGGED_AS_CLIENT else "server"] = "node.test"
    return {"event": event, "of": of, "to": [(a, s) for a, s in to]} | facts | more


def check_ids(*expected):
    """Each message: its ids are those of its row, and (return path, directionality, sender, subject) as expected."""
    tracked = list(TrackedMessage.objects.order_by("pk"))
    held = {message.tracked_id: message for message in Message.objects.all()}
    for one in tracked:
        message = held[one.pk]
        assert (one.internal_message_id, one.message_id) == (message.pk, message.message_id)
        assert one.network_message_id == message.network_message_id
        assert one.message_id.startswith("<") and one.message_id.endswith(">")
        assert one.size == message.size > 0
    assert [(one.return_path, one.directionality, one.sender, one.subject) for one in tracked] == list(expected)
    log_ids = list(TrackingEvent.objects.values_list("log_id", flat=True))
    assert len(set(log_ids)) == len(log_ids)


def ids():
    """Return the Message-IDs in order of entry."""
    return list(TrackedMessage.objects.order_by("pk").values_list("message_id", flat=True))


MINE = (ALICE, "Originating", ALICE, "Offer")


def notice(prefix="Undeliverable"):
    return ("", "Originating", "postmaster@fcweb.test", f"{prefix}: Offer")


def unplug(site):
    Path(site.drop).rename(site.drop.with_name("away"))


def plug(site):
    site.drop.with_name("away").rename(site.drop)


def final_name():
    return QueueItem.objects.filter(state="delivered", queue__connector_name="Fax").get().final_name


@pytest.mark.rule("MT-A", "MT-1")
def test_mt_a_pickup_to_a_foreign_connector(site, pickup, transport):
    pickup("offer.eml", letter(FAX1, FAX2))

    transport(NOW)

    assert told() == [
        row("RECEIVE/PICKUP", 0, [(FAX1, "To"), (FAX2, "To")], ctx="offer.eml"),
        row("SEND/GATEWAY", 0, [(FAX1, OK), (FAX2, OK)], connector="Fax", ctx=final_name(), info=iso(NOW)),
    ]
    assert [path.name for path in Path(site.drop).iterdir()] == [final_name()]
    check_ids(MINE)


@pytest.mark.rule("MT-A", "RT-3")
def test_mt_a_with_an_address_that_routing_replaces(site, pickup, transport):
    contact = Contact.objects.create(
        kind="contact", name="Desk", primary_address="desk@fcweb.test", external_address="FAX:77"
    )
    contact.proxies.create(type="SMTP", address="desk@fcweb.test", key="SMTP:desk@fcweb.test")
    pickup("offer.eml", letter("desk@fcweb.test"))

    transport(NOW)

    assert told() == [
        row("RECEIVE/PICKUP", 0, [("desk@fcweb.test", "To")], ctx="offer.eml"),
        row("RESOLVE/ROUTING", 0, [("FAX:77", "")], related="desk@fcweb.test"),
        row("SEND/GATEWAY", 0, [("IMCEAFAX-77@fcweb.test", OK)], connector="Fax", ctx=final_name(), info=iso(NOW)),
    ]
    check_ids(MINE)


@pytest.mark.rule("MT-A", "DSN-4", "DSN-9")
def test_mt_a_with_the_relay_notice_the_sender_asked_for(site, replay, transport):
    ForeignConnector.objects.update(relay_dsn_required=True)
    replay("offer.eml", replayed(FAX1, parameters=" NOTIFY=SUCCESS"))

    transport(NOW)

    original, relay = ids()
    assert told() == [
        row("RECEIVE/REPLAY", 0, [(FAX1, "")], ctx="offer.eml", ip="0.0.0.0"),
        row("SEND/GATEWAY", 0, [(FAX1, OK)], connector="Fax", ctx=final_name(), info=iso(NOW)),
        row("DSN/DSN", 1, [(ALICE, "")], ctx="Relay", ref=original),
        row("DELIVER/STOREDRIVER", 1, [(ALICE, OK)], server=STORE, info=iso(NOW)),
    ]
    assert Message.objects.get(source="DSN").message_id == relay != original
    check_ids((ALICE, "Incoming", ALICE, "Offer"), notice("Relayed"))


@pytest.mark.rule("MT-B")
def test_mt_b_replay_to_a_mailbox(site, replay, transport):
    replay("answer.eml", replayed(ALICE, sender="gw@fax.test", extra="X-SourceIPAddress: 192.0.2.9\r\n"))

    transport(NOW)

    assert told() == [
        row("RECEIVE/REPLAY", 0, [(ALICE, "")], ctx="answer.eml", ip="192.0.2.9"),
        row("DELIVER/STOREDRIVER", 0, [(ALICE, OK)], server=STORE, info=iso(NOW)),
    ]
    check_ids(("gw@fax.test", "Incoming", ALICE, "Offer"))


@pytest.mark.rule("MT-C", "MTP-4")
def test_mt_c_a_malformed_file(site, pickup, transport):
    pickup("bad.eml", b"From: alice@fcweb.test\r\nSubject: Offer\r\nMessage-ID: <a@b.test>\r\n\r\nBody\r\n")

    transport(NOW)

    assert told() == [row("BADMAIL/PICKUP", 0, [], ctx="bad.eml NO_RECIPIENTS")]
    one = TrackedMessage.objects.get()
    assert (one.internal_message_id, one.network_message_id, one.message_id) == (None, None, "<a@b.test>")
    assert (one.subject, one.return_path, one.size > 0) == ("Offer", ALICE, True)
    assert sorted(p.name for p in Path(site.node.pickup_directory_path).iterdir()) == ["bad.bad", "bad.bad.txt"]


@pytest.mark.rule("MT-D", "DSN-60", "QL-2")
def test_mt_d_a_limit_exceeded(site, pickup, transport):
    many = [f"IMCEAFAX-{number}@fcweb.test" for number in range(101)]
    pickup("many.eml", letter(*many))

    transport(NOW)

    original, failure = ids()
    text = "550 5.5.3 PICKUP.RecipLimit; too many recipients"
    assert told() == [
        row("DSN/DSN", 1, [(ALICE, "")], ctx="Failure", ref=original),
        row("FAIL/PICKUP", 0, [(address, text) for address in many], ctx="many.eml", ref=failure),
        row("DELIVER/STOREDRIVER", 1, [(ALICE, OK)], server=STORE, info=iso(NOW)),
    ]
    check_ids(MINE, notice())
    assert list(Path(site.node.pickup_directory_path).iterdir()) == []


@pytest.mark.rule("MT-E", "MTA-7", "QR-43")
def test_mt_e_quota_full_another_trouble_then_delivered(site, pickup, transport):
    ForeignConnector.objects.update(drop_directory_quota=1000)
    (site.drop / "waiting.eml").write_bytes(b"x" * 1000)
    pickup("a.eml", letter(FAX1))
    transport(NOW)
    for minute in (1, 2):  # the same reason: no further row
        transport(NOW + timedelta(minutes=minute))
    unplug(site)
    third = NOW + timedelta(minutes=3)
    transport(third)
    plug(site)
    (site.drop / "waiting.eml").unlink()
    last = NOW + timedelta(minutes=4)
    transport(last)

    quota, missing = "452 4.3.1 Drop directory quota reached", "451 4.3.5 Drop directory does not exist"
    next_at = [iso(NOW + timedelta(minutes=1)), iso(NOW + timedelta(minutes=4))]
    assert told() == [
        row("RECEIVE/PICKUP", 0, [(FAX1, "To")], ctx="a.eml"),
        row("DEFER/GATEWAY", 0, [(FAX1, quota)], ctx="DropQuota", connector="Fax", info=next_at[0]),
        row("DEFER/GATEWAY", 0, [(FAX1, missing)], ctx="DropMissing", connector="Fax", info=next_at[1]),
        row("SEND/GATEWAY", 0, [(FAX1, OK)], ctx=final_name(), connector="Fax", info=iso(NOW), custom="S:fc.retries=4"),
    ]
    check_ids(MINE)


@pytest.mark.rule("MT-F", "MTA-15", "QR-25", "MTC-13")
def test_mt_f_a_mailbox_over_quota(site, replay, transport):
    first_start.make_mailbox("bob@fcweb.test", "Bob")
    DirectoryRecipient.objects.filter(primary_address=ALICE).update(max_mailbox_bytes=10)
    replay("a.eml", replayed(ALICE, sender="bob@fcweb.test"))

    transport(NOW)

    original, failure = ids()
    fail = TrackingEvent.objects.get(event="FAIL")
    status = fail.recipients.get().status
    assert status.startswith("554 5.2.2 mailbox full;")
    assert told() == [
        row("RECEIVE/REPLAY", 0, [(ALICE, "")], ctx="a.eml", ip="0.0.0.0"),
        row("DSN/DSN", 1, [("bob@fcweb.test", "")], ctx="Failure", ref=original),
        row("FAIL/STOREDRIVER", 0, [(ALICE, status)], ctx="MailboxFull", ref=failure),
        row("DELIVER/STOREDRIVER", 1, [("bob@fcweb.test", OK)], server=STORE, info=iso(NOW)),
    ]
    check_ids(("bob@fcweb.test", "Incoming", ALICE, "Offer"), notice())
    (line,) = exchange_log.lines(rows.rows_of([fail])[0])
    assert f",[{{LRT=}};{{LED={status}}}]," in line


@pytest.mark.rule("MT-G", "QR-30", "QR-31", "DSN-2")
def test_mt_g_delay_then_expiry(site, pickup, transport):
    unplug(site)
    pickup("a.eml", letter(FAX1))
    transport(NOW)
    delayed, expired = NOW + timedelta(hours=4, seconds=1), NOW + timedelta(days=2)
    transport(delayed)
    transport(expired)

    original, delay, failure = ids()
    missing = "451 4.3.5 Drop directory does not exist"
    rows_told = told()
    resubmitted = [r for r in rows_told if r["event"] == "RESUBMIT/QUEUE"]
    assert resubmitted in (
        [],
        [row("RESUBMIT/QUEUE", 0, [(FAX1, "")], ref=str(Message.objects.get(source="PICKUP").pk))],
    )
    assert [r for r in rows_told if r not in resubmitted] == [
        row("RECEIVE/PICKUP", 0, [(FAX1, "To")], ctx="a.eml"),
        row(
            "DEFER/GATEWAY",
            0,
            [(FAX1, missing)],
            ctx="DropMissing",
            connector="Fax",
            info=iso(NOW + timedelta(minutes=1)),
        ),
        row("DSN/DSN", 1, [(ALICE, "")], ctx="Delay", ref=original),
        row("DELIVER/STOREDRIVER", 1, [(ALICE, OK)], server=STORE, info=iso(delayed)),
        row("DSN/DSN", 2, [(ALICE, "")], ctx="Failure", ref=original),
        row("FAIL/QUEUE", 0, [(FAX1, "550 4.4.7 QUEUE.Expired; message expired")], ctx="Expired", ref=failure),
        row("DELIVER/STOREDRIVER", 2, [(ALICE, OK)], server=STORE, info=iso(expired)),
    ]
    check_ids(MINE, notice("Delayed"), notice())
    assert delay != failure


def operate(site, verb):
    order = Order(verb=verb, actor="ann", reason="test", queue=Queue.objects.get(connector_name="Fax"))
    jobs.run_to_end(jobs.start(site.node, order, now=NOW), config=transport_config(), now=NOW)


@pytest.mark.rule("MT-H", "MT-I", "QO-4", "MTE-6")
@pytest.mark.parametrize("with_notice", [True, False])
def test_mt_h_and_i_suspended_then_removed(site, pickup, transport, with_notice):
    (queue,) = _fax_queues(site)
    jobs.operate_queue(queue, Verb.SUSPEND, actor="ann", now=NOW)  # audited, no row (MTE-6)
    pickup("a.eml", letter(FAX1))
    transport(NOW)
    operate(site, Verb.SUSPEND)
    operate(site, Verb.REMOVE_NDR if with_notice else Verb.REMOVE)
    transport(NOW)

    text = "550 5.7.1 QUEUE.Admin; message removed by an administrator"
    custom = f"S:fc.actor=ann;S:fc.ndr={int(with_notice)}"
    received = row("RECEIVE/PICKUP", 0, [(FAX1, "To")], ctx="a.eml")
    if not with_notice:
        assert told() == [received, row("FAIL/ADMIN", 0, [(FAX1, text)], ctx="AdminRemove", custom=custom)]
        check_ids(MINE)
        return
    original, failure = ids()
    assert told() == [
        received,
        row("DSN/DSN", 1, [(ALICE, "")], ctx="Failure", ref=original),
        row("FAIL/ADMIN", 0, [(FAX1, text)], ctx="AdminRemove", ref=failure, custom=custom),
        row("DELIVER/STOREDRIVER", 1, [(ALICE, OK)], server=STORE, info=iso(NOW)),
    ]
    check_ids(MINE, notice())


def _fax_queues(site):
    from connectors.transport import queue_operations

    return queue_operations.queues_of(site.node, ForeignConnector.objects.get(name="Fax"))


@pytest.mark.rule("MT-J", "QO-7", "MTA-6")
@pytest.mark.parametrize("source", ["ADMIN", "QUEUE"])
def test_mt_j_resubmitted_by_a_person_or_by_a_change_of_routing(site, pickup, transport, source):
    later = NOW + timedelta(minutes=1)
    if source == "ADMIN":
        unplug(site)
        pickup("a.eml", letter(FAX1))
        transport(NOW)
        plug(site)
        operate(site, Verb.RESUBMIT)
        error, again = "451 4.3.5 Drop directory does not exist", FAX1
        deferred = row("DEFER/GATEWAY", 0, [(FAX1, error)], ctx="DropMissing", connector="Fax", info=iso(later))
        between = [deferred]
    else:
        again = "bob@elsewhere.test"
        pickup("a.eml", letter(again))
        transport(NOW)
        assert Queue.objects.filter(delivery_type="Unreachable").exists()
        fax = ForeignConnector.objects.get()
        configuration.change(fax, {}, spaces=configuration.ListChange(add=("elsewhere.test;1",)))
        between = []
    transport(later)

    message = Message.objects.get()
    sent = row("SEND/GATEWAY", 0, [(again, OK)], connector="Fax", ctx=final_name(), info=iso(NOW))
    assert told() == [
        row("RECEIVE/PICKUP", 0, [(again, "To")], ctx="a.eml"),
        *between,
        row(f"RESUBMIT/{source}", 0, [(again, "")], ref=str(message.pk)),
        sent,
    ]
    check_ids(MINE)  # one message with its first ids: no second RECEIVE, the same network-message-id


@pytest.mark.rule("MT-K", "DSN-5", "MT-1")
def test_mt_k_a_group_with_three_members_on_two_next_hops(site, replay, transport):
    team, bob, carol, dora = (f"{name}@fcweb.test" for name in ("team", "bob", "carol", "dora"))
    members = [recipients.add("mailbox", bob), recipients.add("mailbox", carol)]
    members.append(recipients.add("contact", dora, external="FAX:1"))
    change = configuration.ListChange(add=tuple(member.primary_address for member in members))
    recipients.change_group(recipients.add("group", team), members=change)
    replay("plan.eml", replayed(team, parameters=" NOTIFY=SUCCESS"))

    transport(NOW)

    original, _copy, expanded = ids()
    parent = Message.objects.order_by("pk").first()
    assert told() == [
        row("RECEIVE/REPLAY", 0, [(team, "")], ctx="plan.eml", ip="0.0.0.0"),
        row("EXPAND/ROUTING", 0, [(bob, ""), (carol, ""), (dora, "")], related=team),
        row("TRANSFER/ROUTING", 1, [(dora, "")], ctx="Resolver", ref=str(parent.pk)),
        row("RESOLVE/ROUTING", 1, [("FAX:1", "")], related=dora),
        row("DELIVER/STOREDRIVER", 0, [(bob, OK)], server=STORE, info=iso(NOW)),
        row("DELIVER/STOREDRIVER", 0, [(carol, OK)], server=STORE, info=iso(NOW)),
        row("SEND/GATEWAY", 1, [(FAX1, OK)], connector="Fax", ctx=final_name(), info=iso(NOW)),
        row("DSN/DSN", 2, [(ALICE, "")], ctx="Expand", ref=original),
        row("DELIVER/STOREDRIVER", 2, [(ALICE, OK)], server=STORE, info=iso(NOW)),
    ]
    mine = (ALICE, "Incoming", ALICE, "Offer")
    check_ids(mine, mine, notice("Expanded"))
    assert expanded != original
    first, second = TrackedMessage.objects.order_by("pk")[:2]
    assert first.network_message_id == second.network_message_id
    assert first.internal_message_id != second.internal_message_id
    assert [found for _looked, found in ledger.check_all(site.node) if found] == []


@pytest.mark.rule("MT-L", "QR-50", "QR-52")
@pytest.mark.parametrize("end", ["Resumed", "Removed"])
def test_mt_l_poison(site, pickup, transport, end):
    (queue,) = _fax_queues(site)
    jobs.operate_queue(queue, Verb.SUSPEND, actor="ann", now=NOW)
    pickup("a.eml", letter(FAX1))
    transport(NOW)
    message = Message.objects.get()
    config = transport_config()
    for _crash in range(2):  # after each crash the service starts again and finds what is stored
        poison.note_crash(site.node, [message.pk], config=config, now=NOW)
        Boot(site.node).run_once(NOW)
    Queue.objects.filter(pk=queue.pk).update(status=QueueStatus.READY)
    poisoned = Queue.objects.get(next_hop_domain="Poison Message")
    verb = Verb.RESUME if end == "Resumed" else Verb.REMOVE
    jobs.run_to_end(
        jobs.start(site.node, Order(verb=verb, actor="ann", queue=poisoned), now=NOW), config=config, now=NOW
    )
    transport(NOW)

    loaded = row("LOAD/BOOTLOADER", 0, [(FAX1, "")])
    text = "550 5.7.1 QUEUE.Admin; message removed by an administrator"
    last = (
        row("SEND/GATEWAY", 0, [(FAX1, OK)], connector="Fax", ctx=final_name(), info=iso(NOW))
        if end == "Resumed"
        else row("FAIL/ADMIN", 0, [(FAX1, text)], ctx="AdminRemove", custom="S:fc.actor=ann;S:fc.ndr=0")
    )
    assert told() == [
        row("RECEIVE/PICKUP", 0, [(FAX1, "To")], ctx="a.eml"),
        loaded,
        row("POISONMESSAGE/POISONMESSAGE", 0, [(FAX1, "")], ctx="Entered", custom="S:fc.crashes=2"),
        loaded,
        row(
            "POISONMESSAGE/POISONMESSAGE", 0, [(FAX1, "")], ctx=end, custom="S:fc.actor=ann" if end == "Resumed" else ""
        ),
        last,
    ]
    check_ids(MINE)
    assert MessageRecipient.objects.get().state == ("delivered" if end == "Resumed" else "failed")


@pytest.mark.rule("MT-4", "DSN-7")
@pytest.mark.parametrize("door", ["queued", "never queued"])
def test_mt_4_nobody_is_told_of_a_message_without_a_sender(site, replay, transport, door):
    if door == "never queued":
        type(site.node).objects.update(max_message_bytes=20)
    replay("a.eml", replayed("IMCEASMS-1@fcweb.test", sender=""))

    transport(NOW)

    recipient = "IMCEASMS-1@fcweb.test"
    if door == "never queued":
        assert told() == [row("BADMAIL/REPLAY", 0, [(recipient, "")], ctx="a.eml NO_NOTICE_ADDRESSEE")]
        return
    text = "550 5.1.2 ROUTING.NoConnectorForAddressType; no connector for SMS"
    assert told() == [
        row("RECEIVE/REPLAY", 0, [(recipient, "")], ctx="a.eml", ip="0.0.0.0"),
        row("FAIL/ROUTING", 0, [(recipient, text)], ctx="NoRoute"),
    ]
    check_ids(("", "Incoming", ALICE, "Offer"))


@pytest.mark.rule("MT-2")
def test_an_event_that_cannot_be_written_takes_the_change_back(site, pickup, transport, monkeypatch):
    from tracking import record

    plain = record.save

    def refuse(events):
        if any(event.event == "SEND" for event in events):
            raise RuntimeError("no room in the ledger")
        plain(events)

    monkeypatch.setattr(record, "save", refuse)
    pickup("a.eml", letter(FAX1))
    with pytest.raises(RuntimeError):
        transport(NOW)

    assert MessageRecipient.objects.get().state == "queued"
    assert QueueItem.objects.get().state == "staged"  # published; the restart settles it (A5b)
    monkeypatch.undo()
    transport(NOW)
    assert [r["event"] for r in told()] == ["RECEIVE/PICKUP", "SEND/GATEWAY"]
    assert len(list(Path(site.drop).glob("*.eml"))) == 1
