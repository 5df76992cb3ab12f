"""Groups: who gets a message sent to one, as rows, files, events and notices."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils import timezone

from connectors import recipient_configuration as recipients
from connectors.choices import MessageState, RecipientState
from connectors.configuration import ListChange
from connectors.models import Message, MessageRecipient, Queue, QueueItem
from connectors.transport import queue
from connectors.transport.expansion import Terms
from connectors.transport.routing import DirectoryEntry, DirectoryKind
from tracking.choices import TrackedState
from tracking.models import TrackedMessage, TrackingEvent

TEAM = (
    b"From: alice@fcweb.test\r\nTo: team@fcweb.test\r\nSubject: Plan\r\nMessage-ID: <plan@fcweb.test>\r\n\r\nBody\r\n"
)


def make_group(address, *members, reports_to=None, manager=None):
    group = recipients.add("group", address)
    change = ListChange(add=tuple(member.primary_address for member in members))
    recipients.change_group(group, members=change, reports_to=reports_to, manager=manager)
    return group


def person(name):
    return recipients.add("mailbox", f"{name}@fcweb.test")


def fax(name, number):
    return recipients.add("contact", f"{name}@fcweb.test", external=f"FAX:{number}")


def replay_to(*receivers, sender="alice@fcweb.test"):
    lines = [f"X-Sender: <{sender}>", *(f"X-Receiver: {receiver}" for receiver in receivers)]
    return ("\r\n".join(lines) + "\r\nSubject: Plan\r\nMessage-ID: <plan@fcweb.test>\r\n\r\nBody\r\n").encode()


def rows():
    return [
        (e.event, e.source, tuple(r.address for r in e.recipients.order_by("pk")), e.message.internal_message_id)
        for e in TrackingEvent.objects.order_by("pk").select_related("message")
    ]


def mails(data_dir, name):
    folder = data_dir / "mailboxes" / f"{name}@fcweb.test" / "new"
    return sorted(folder.iterdir()) if folder.is_dir() else []


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("MT-K", "MTT-4", "MTF-12")
def test_a_group_with_three_members_on_two_next_hops(site, pickup, transport, data_dir):
    make_group("team@fcweb.test", person("bob"), person("carol"), fax("dora", "5551234"))
    pickup("plan.eml", TEAM)

    transport()

    parent, copy = Message.objects.order_by("pk")
    members = ("bob@fcweb.test", "carol@fcweb.test", "dora@fcweb.test")
    assert rows() == [
        ("RECEIVE", "PICKUP", ("team@fcweb.test",), parent.pk),
        ("EXPAND", "ROUTING", members, parent.pk),
        ("TRANSFER", "ROUTING", ("dora@fcweb.test",), copy.pk),
        ("RESOLVE", "ROUTING", ("FAX:5551234",), copy.pk),
        ("DELIVER", "STOREDRIVER", ("bob@fcweb.test",), parent.pk),
        ("DELIVER", "STOREDRIVER", ("carol@fcweb.test",), parent.pk),
        ("SEND", "GATEWAY", ("IMCEAFAX-5551234@fcweb.test",), copy.pk),
    ]
    expand = TrackingEvent.objects.get(event="EXPAND")
    assert (expand.related_recipient, expand.recipient_count) == ("team@fcweb.test", 3)
    transfer = TrackingEvent.objects.get(event="TRANSFER")
    assert (transfer.reference, transfer.source_context) == (str(parent.pk), "Resolver")
    assert copy.network_message_id == parent.network_message_id
    assert {m.network_message_id for m in TrackedMessage.objects.all()} == {parent.network_message_id}
    assert [(m.recipients, m.delivered, m.state) for m in TrackedMessage.objects.order_by("pk")] == [
        (2, 2, TrackedState.DELIVERED),
        (1, 1, TrackedState.TRANSFERRED),
    ]
    assert [len(mails(data_dir, name)) for name in ("bob", "carol")] == [1, 1]
    (file,) = Path(site.drop).glob("*.eml")
    assert file.read_bytes().startswith(b"X-Sender: <alice@fcweb.test>\r\nX-Receiver: <IMCEAFAX-5551234@fcweb.test>")
    assert {m.state for m in (parent, copy)} == {MessageState.DONE}
    assert MessageRecipient.objects.get(address="team@fcweb.test").state == RecipientState.EXPANDED


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("MT-K", "QU-16")
def test_copies_of_several_messages_in_one_batch_have_numbers_of_their_own(site, pickup, transport, data_dir):
    make_group("team@fcweb.test", person("bob"), fax("dora", "5551234"), fax("emil", "5554321"))
    for number in range(3):
        pickup(f"plan{number}.eml", TEAM.replace(b"<plan@", b"<plan%d@" % number))

    transport()

    assert len({message.pk for message in Message.objects.all()}) == 6
    assert len(mails(data_dir, "bob")) == 3
    assert len(list(Path(site.drop).glob("*.eml"))) == 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("MT-K")
def test_members_on_one_next_hop_stay_in_one_message(site, pickup, transport, data_dir):
    make_group("team@fcweb.test", person("bob"), person("carol"))
    pickup("plan.eml", TEAM)

    transport()

    assert [event for event, *_rest in rows()] == ["RECEIVE", "EXPAND", "DELIVER", "DELIVER"]
    assert Message.objects.count() == 1
    assert [len(mails(data_dir, name)) for name in ("bob", "carol")] == [1, 1]


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("MT-K")
def test_members_that_share_a_hop_with_named_recipients_stay(site, replay, transport):
    make_group("team@fcweb.test", person("bob"), fax("dora", "5551234"))
    replay("plan.eml", replay_to("<alice@fcweb.test>", "<team@fcweb.test>", "<IMCEAFAX-99@fcweb.test>"))

    transport()

    assert "TRANSFER" not in [event for event, *_rest in rows()]
    assert Message.objects.count() == 1
    assert TrackedMessage.objects.get().recipients == 4


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("MT-K")
def test_groups_in_groups_and_in_circles_give_each_member_one_copy(site, replay, transport, data_dir):
    bob, carol = person("bob"), person("carol")
    inner = make_group("inner@fcweb.test", bob, carol)
    outer = make_group("outer@fcweb.test", inner, bob)
    recipients.change_group(inner, members=ListChange(add=("outer@fcweb.test",)))
    pointer = recipients.add("contact", "pointer@fcweb.test", external="outer@fcweb.test")
    recipients.change_group(outer, members=ListChange(add=(pointer.primary_address,)))
    recipients.change(bob, proxies=ListChange(add=("robert@fcweb.test",)))
    replay("plan.eml", replay_to("<robert@fcweb.test>", "<outer@fcweb.test>"))

    transport()

    assert [len(mails(data_dir, name)) for name in ("bob", "carol")] == [1, 1]
    assert [row[:3] for row in rows() if "EXPAND" in row[0]] == [
        ("EXPAND", "ROUTING", ("inner@fcweb.test",)),
        ("DUPLICATEEXPAND", "ROUTING", ("bob@fcweb.test", "pointer@fcweb.test")),
        ("EXPAND", "ROUTING", ("carol@fcweb.test",)),
        ("DUPLICATEEXPAND", "ROUTING", ("bob@fcweb.test", "outer@fcweb.test")),
    ]
    assert [(m.recipients, m.delivered, m.state) for m in TrackedMessage.objects.all()] == [
        (2, 2, TrackedState.DELIVERED)
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("MT-K", "DSN-1")
def test_a_group_without_members_is_returned(site, pickup, transport, data_dir):
    make_group("inner@fcweb.test")
    make_group("team@fcweb.test", recipients.find("inner@fcweb.test"))
    pickup("plan.eml", TEAM)

    transport()

    assert [event for event, *_rest in rows()] == ["RECEIVE", "DSN", "FAIL", "DELIVER"]
    (notice,) = mails(data_dir, "alice")
    assert b"Status: 5.2.4\r\n" in notice.read_bytes()
    assert TrackedMessage.objects.order_by("pk")[0].state == TrackedState.FAILED


def receivers(path):
    """Return the X-Receiver lines of a spool or drop file."""
    return [line for line in path.read_bytes().split(b"\r\n") if line.startswith(b"X-Receiver:")]


def test_terms_of_members():
    group = DirectoryEntry(kind=DirectoryKind.GROUP, name="g", primary="g@fcweb.test")
    sent = Terms(return_path="a@b.test", notify="", orcpt="rfc822;g@fcweb.test")
    boss = replace(group, reports_to="manager", manager="boss@fcweb.test")

    def within(entry, **given):
        terms = replace(sent, **given).within(entry)
        return terms.return_path, terms.notify, terms.orcpt

    assert within(group) == ("a@b.test", "", sent.orcpt)
    assert within(group, notify="SUCCESS,FAILURE") == ("a@b.test", "FAILURE", sent.orcpt)
    assert within(group, notify="SUCCESS") == ("a@b.test", "NEVER", sent.orcpt)
    assert within(group, notify="NEVER") == ("a@b.test", "NEVER", sent.orcpt)
    assert within(replace(group, reports_to="nobody")) == ("a@b.test", "NEVER", "")
    assert within(boss, notify="NEVER") == ("boss@fcweb.test", "FAILURE", "")
    assert within(boss, return_path="") == ("", "FAILURE", "")
    assert within(replace(boss, manager="")) == ("a@b.test", "", sent.orcpt)


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("DSN-5", "DSN-11", "DSN-21")
def test_a_sender_who_asks_is_told_of_the_expansion_and_of_no_delivery(site, replay, transport, data_dir):
    make_group("team@fcweb.test", person("bob"), fax("dora", "5551234"))
    replay("plan.eml", replay_to("<team@fcweb.test> NOTIFY=SUCCESS,FAILURE"))

    transport()

    (notice,) = mails(data_dir, "alice")
    text = notice.read_bytes()
    assert b"Subject: Expanded: Plan\r\n" in text
    assert b"Final-Recipient: rfc822;team@fcweb.test\r\nAction: expanded\r\nStatus: 2.0.0\r\n" in text
    dsn = TrackingEvent.objects.get(event="DSN")
    assert (dsn.source_context, dsn.reference) == ("Expand", "<plan@fcweb.test>")
    (file,) = Path(site.drop).glob("*.eml")
    assert receivers(file) == [b"X-Receiver: <IMCEAFAX-5551234@fcweb.test> NOTIFY=FAILURE ORCPT=rfc822;team@fcweb.test"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("DSN-11")
def test_failures_of_members_go_to_the_manager_alone(site, pickup, transport, data_dir):
    boss = person("boss")
    lost = recipients.add("contact", "lost@fcweb.test", external="SAP:42")
    make_group("team@fcweb.test", person("bob"), lost, reports_to="manager", manager="boss@fcweb.test")
    pickup("plan.eml", TEAM)

    transport()

    assert mails(data_dir, "alice") == []
    (notice,) = mails(data_dir, "boss")
    assert b"Status: 5.1.2\r\n" in notice.read_bytes()
    assert len(mails(data_dir, "bob")) == 1
    assert set(Message.objects.exclude(source="DSN").values_list("mail_from", flat=True)) == {
        "alice@fcweb.test",
        boss.primary_address,
    }
    parent = TrackedMessage.objects.order_by("pk")[0]
    assert (parent.recipients, parent.state) == (0, TrackedState.EXPANDED)
    assert set(Message.objects.values_list("state", flat=True)) == {MessageState.DONE}


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("DSN-11")
@pytest.mark.parametrize("manager, told", [("boss@outside.test", 1), ("", 0)])
def test_a_manager_outside_is_told_because_an_administrator_chose_them(site, pickup, transport, manager, told):
    recipients.add("contact", "boss@outside.test", external="boss@outside.test")
    lost = recipients.add("contact", "lost@fcweb.test", external="SAP:42")
    make_group("team@fcweb.test", lost, reports_to="manager" if manager else None, manager=manager or None)
    sender = b"alice@fcweb.test" if manager else b"boss@outside.test"  # whom no user of Pickup may name
    pickup("plan.eml", TEAM.replace(b"alice@fcweb.test", sender))

    transport()

    notices = TrackingEvent.objects.filter(event="DSN")
    assert [event.recipients.get().address for event in notices] == ["boss@outside.test"] * told


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("DSN-11", "DSN-6")
def test_a_group_without_reports_fails_silently(site, pickup, transport, data_dir):
    lost = recipients.add("contact", "lost@fcweb.test", external="SAP:42")
    make_group("team@fcweb.test", person("bob"), lost, reports_to="nobody")
    pickup("plan.eml", TEAM)

    transport()

    assert mails(data_dir, "alice") == []
    fail = TrackingEvent.objects.get(event="FAIL")
    assert (fail.reference, fail.recipients.get().address) == ("", "lost@fcweb.test")
    assert TrackedMessage.objects.order_by("pk")[0].state == TrackedState.PARTLY


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("DSN-7", "DSN-11")
def test_a_manager_never_takes_the_place_of_a_null_sender(site, replay, transport, data_dir):
    person("boss")
    lost = recipients.add("contact", "lost@fcweb.test", external="SAP:42")
    make_group("team@fcweb.test", lost, reports_to="manager", manager="boss@fcweb.test")
    replay("plan.eml", replay_to("<team@fcweb.test>", sender=""))

    transport()

    assert mails(data_dir, "boss") == []
    assert [event for event, *_rest in rows()] == ["RECEIVE", "EXPAND", "RESOLVE", "FAIL"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("MT-K", "QU-10")
def test_each_content_file_tells_its_own_envelope(site, pickup, transport, data_dir):
    make_group("team@fcweb.test", person("bob"), fax("dora", "5551234"))
    pickup("plan.eml", TEAM)

    transport()

    files = {path.name for path in (data_dir / "spool").glob("20*/*.eml")}
    assert files == {message.spool_name.partition("/")[2] for message in Message.objects.all()}
    told = [receivers(data_dir / "spool" / m.spool_name) for m in Message.objects.order_by("pk")]
    assert told == [
        [b"X-Receiver: <bob@fcweb.test> ORCPT=rfc822;team@fcweb.test"],
        [b"X-Receiver: <dora@fcweb.test> ORCPT=rfc822;team@fcweb.test"],
    ]
    bodies = {(data_dir / "spool" / m.spool_name).read_bytes()[m.content_offset :] for m in Message.objects.all()}
    assert len(bodies) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("MT-K", "QU-10")
def test_copies_are_rebuilt_from_the_spool_and_delivered_once(site, pickup, transport, data_dir):
    make_group("team@fcweb.test", person("bob"), fax("dora", "5551234"))
    Path(site.drop).rename(data_dir / "away")
    pickup("plan.eml", TEAM)
    transport()
    assert len(mails(data_dir, "bob")) == 1
    QueueItem.objects.all().delete()
    Message.objects.all().delete()

    call_command("recover", yes=True)
    (data_dir / "away").rename(site.drop)
    transport(timezone.now() + timedelta(minutes=5))

    assert len(mails(data_dir, "bob")) == 1
    assert len(list(Path(site.drop).glob("*.eml"))) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("QL-5")
def test_a_group_counts_as_one_recipient_even_when_routed_again(site, replay, transport, data_dir):
    site.node.max_recipients = 2
    site.node.save()
    make_group("team@fcweb.test", *(fax(f"f{number}", f"555{number}") for number in range(4)))
    Path(site.drop).rename(data_dir / "away")
    replay("plan.eml", replay_to("<team@fcweb.test>", "<IMCEAFAX-1@fcweb.test>"))
    transport()
    queue.resubmit(Queue.objects.get(next_hop_domain="FAX"), limit=100, now=timezone.now())

    (data_dir / "away").rename(site.drop)
    transport(timezone.now() + timedelta(minutes=5))

    assert "FAIL" not in [event for event, *_rest in rows()]
    assert MessageRecipient.objects.filter(state=RecipientState.DELIVERED).count() == 5


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("MT-K")
def test_a_member_whose_content_is_gone_fails_and_is_told(site, pickup, transport, data_dir):
    make_group("team@fcweb.test", person("bob"), fax("dora", "5551234"))
    pickup("plan.eml", TEAM)
    call_command("pickup", once=True)
    (path,) = (data_dir / "spool").glob("20*/*.eml")
    path.unlink()

    transport()

    assert set(MessageRecipient.objects.filter(message__source="PICKUP").values_list("state", flat=True)) == {
        RecipientState.EXPANDED,
        RecipientState.FAILED,
    }
    assert len(mails(data_dir, "alice")) == 1
