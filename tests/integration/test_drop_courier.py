"""What a gateway finds in its drop directory: the block, the copies, the names, and what never leaves."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils import timezone

from connectors import routing_table
from connectors.mail.address_space import parse_entry
from connectors.models import AddressSpace, ConfigGeneration, ForeignConnector, Message, MessageRecipient, Node, Queue
from tracking.models import TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def fax(site):
    """Change the connector Fax: fax(one_recipient_per_file=True)."""

    def change(**columns):
        ForeignConnector.objects.filter(name="Fax").update(**columns)
        ConfigGeneration.bump()
        routing_table.forget()

    return change


def files(site):
    return [path.read_bytes() for path in sorted(Path(site.drop).glob("*.eml"))]


def block_of(data):
    return data.partition(b"X-EndOfInjectedXHeaders: ")[0].decode().split("\r\n")[:-1]


def exported(*receivers, sender="<gw@fax.test>", header=b""):
    lines = [f"X-Sender: {sender}", *(f"X-Receiver: {receiver}" for receiver in receivers)]
    return "\r\n".join(lines).encode() + b"\r\n" + header + b"From: x@y.test\r\nSubject: s\r\n\r\nBody\r\n"


@pytest.mark.rule("DR-16", "DR-15")
def test_parameters_reach_the_gateway_as_they_came(site, replay, transport):
    replay(
        "in.eml",
        exported(
            "<IMCEAFAX-1@fcweb.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@c.test",
            sender="<gw@fax.test> BODY=8BITMIME RET=HDRS ENVID=job+2B7",
        ),
    )

    transport()

    (data,) = files(site)
    assert block_of(data)[:3] == [
        "X-Sender: <gw@fax.test> BODY=8BITMIME RET=HDRS ENVID=job+2B7",
        "X-Receiver: <IMCEAFAX-1@fcweb.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@c.test",
        "X-CreatedBy: fcweb",
    ]


@pytest.mark.rule("DR-17")
def test_a_notice_from_outside_leaves_with_its_null_sender(site, replay, transport):
    replay("in.eml", exported("<IMCEAFAX-1@fcweb.test>", sender="<>"))

    transport()

    (data,) = files(site)
    assert block_of(data)[0] == "X-Sender: <>"


@pytest.mark.rule("DR-13", "DR-15", "HM-3")
def test_organisation_headers_stay_here_and_trace_headers_leave(site, replay, transport):
    Node.objects.update(trusted_uids=str(os.getuid()))
    own = b"X-MS-Exchange-Organization-AuthAs: Internal\r\nX-MS-Exchange-Forest-X: y\r\n"
    trace = b"Received: from a by b; Mon, 5 Jan 2026 08:00:00 +0000\r\nResent-To: c@d.test\r\n"
    replay("in.eml", exported("<IMCEAFAX-1@fcweb.test>", header=b"X-CreatedBy: MSExchange15\r\n" + trace + own))

    transport()

    (data,) = files(site)
    assert b"X-MS-Exchange" not in data
    assert b"MSExchange15" not in data
    assert trace in data
    assert Message.objects.get().has_org_headers


@pytest.mark.rule("DR-19", "HM-4")
def test_one_file_names_all_recipients_and_no_bcc_field(site, pickup, transport):
    pickup(
        "in.eml",
        b"From: alice@fcweb.test\r\nTo: IMCEAFAX-1@fcweb.test\r\nBcc: IMCEAFAX-2@fcweb.test\r\n\r\nBody\r\n",
    )

    transport()

    (data,) = files(site)
    receivers = [line for line in block_of(data) if line.startswith("X-Receiver")]
    assert len(receivers) == 2
    assert b"\r\nBcc:" not in data
    assert b"IMCEAFAX-2" not in data.partition(b"X-EndOfInjectedXHeaders")[2]


@pytest.mark.rule("DR-20")
def test_one_recipient_a_file_hides_the_others(site, fax, pickup, transport):
    fax(one_recipient_per_file=True)
    pickup("in.eml", b"From: alice@fcweb.test\r\nBcc: IMCEAFAX-1@fcweb.test, IMCEAFAX-2@fcweb.test\r\n\r\nBody\r\n")

    transport()

    found = files(site)
    numbers = [sorted(set(re.findall(rb"IMCEAFAX-(\d)", data))) for data in found]
    assert sorted(numbers) == [[b"1"], [b"2"]]


@pytest.mark.rule("DR-24", "DR-35")
def test_names_are_plain_and_published_files_are_left_alone(site, pickup, transport):
    pickup("Étrange nom.eml", b"From: alice@fcweb.test\r\nTo: IMCEAFAX-1@fcweb.test\r\n\r\nBody\r\n")
    transport()
    (path,) = Path(site.drop).iterdir()
    before = (path.name, path.stat().st_mtime_ns, path.read_bytes())

    pickup("b.eml", b"From: alice@fcweb.test\r\nTo: IMCEAFAX-2@fcweb.test\r\n\r\nBody\r\n")
    transport()

    assert re.fullmatch(r"[a-z0-9-]+\.eml", path.name)
    assert (path.name, path.stat().st_mtime_ns, path.read_bytes()) == before
    assert len(files(site)) == 2


@pytest.mark.rule("DR-22", "QR-44")
def test_a_limit_lowered_while_a_message_waits_returns_it(site, fax, pickup, transport):
    Path(site.drop).rename(site.drop.with_name("away"))
    pickup("in.eml", b"From: alice@fcweb.test\r\nTo: IMCEAFAX-1@fcweb.test\r\n\r\n" + b"x" * 500 + b"\r\n")
    transport()
    site.drop.with_name("away").rename(site.drop)
    ForeignConnector.objects.update(max_message_bytes=100)
    Queue.objects.update(next_retry_at=timezone.now())

    transport()

    assert files(site) == []
    assert MessageRecipient.objects.get(message__source="PICKUP").status_text.startswith("550 5.3.4 ")


@pytest.mark.rule("DR-34", "FC-19", "DSN-4", "DSN-9")
@pytest.mark.parametrize(("required", "notify"), [(True, b"DELAY"), (False, b"SUCCESS,DELAY")])
def test_a_relay_notice_takes_success_out_of_the_file(site, fax, replay, transport, data_dir, required, notify):
    fax(relay_dsn_required=required)
    replay("in.eml", exported("<IMCEAFAX-1@fcweb.test> NOTIFY=SUCCESS,DELAY", sender="<alice@fcweb.test>"))

    transport()

    (data,) = files(site)
    assert re.search(rb"X-Receiver: <IMCEAFAX-1@fcweb.test> NOTIFY=([A-Z,]+)", data)[1] == notify
    mailbox = data_dir / "mailboxes" / "alice@fcweb.test" / "new"
    notices = [path.read_bytes() for path in mailbox.iterdir()] if mailbox.is_dir() else []
    assert [b"\r\nAction: relayed\r\nStatus: 2.0.0\r\n" in notice for notice in notices] == [True] * required


@pytest.mark.rule("FC-18", "FC-20", "RT-X17")
def test_a_full_drop_directory_keeps_its_mail_although_another_connector_would_do(site, fax, pickup, transport):
    second = ForeignConnector.objects.create(name="Fax2", name_key="fax2")
    second.source_transport_servers.add(site.node)
    space = parse_entry("FAX:*;1")
    AddressSpace.objects.create(connector=second, type="FAX", space="*", cost=1, key=space.key)
    Path(site.drop.with_name("Fax2")).mkdir()
    fax(drop_directory_quota=600)
    for number in (1, 2):
        pickup(f"{number}.eml", b"From: alice@fcweb.test\r\nTo: IMCEAFAX-1@fcweb.test\r\n\r\nBody\r\n")

    transport()

    queue = Queue.objects.exclude(next_hop_domain="Submission").get()
    assert (queue.connector_name, queue.status) == ("Fax", "Retry")
    assert len(files(site)) == 1
    assert not list(site.drop.with_name("Fax2").iterdir())
    sent = TrackingEvent.objects.get(event="SEND")
    assert (sent.source, sent.connector_id) == ("GATEWAY", "Fax")


@pytest.mark.rule("RT-X14", "RT-1")
def test_each_recipient_succeeds_or_fails_alone(site, pickup, transport, data_dir):
    pickup(
        "in.eml",
        b"From: bob@far.test\r\nTo: alice@fcweb.test, ann@fabrikam.test, IMCEAFAX-1@fcweb.test\r\n\r\nBody\r\n",
    )

    transport()

    states = {r.address: r.state for r in MessageRecipient.objects.filter(message__source="PICKUP")}
    assert states == {
        "alice@fcweb.test": "delivered",
        "ann@fabrikam.test": "queued",
        "IMCEAFAX-1@fcweb.test": "delivered",
    }
    assert {q.delivery_type for q in Queue.objects.exclude(delivery_type="Undefined")} == {
        "SmtpDeliveryToMailbox",
        "Unreachable",
        "NonSmtpGatewayDelivery",
    }
    assert len(files(site)) == 1


def test_a_message_whose_content_is_gone_fails_alone(site, pickup, transport, data_dir):
    Path(site.drop).rename(site.drop.with_name("away"))
    for number in range(3):
        pickup(f"{number}.eml", b"From: alice@fcweb.test\r\nTo: IMCEAFAX-%d@fcweb.test\r\n\r\nBody\r\n" % number)
    start = timezone.now()
    transport(start)
    lost = Message.objects.order_by("pk").first()
    (data_dir / "spool" / lost.spool_name).unlink()
    site.drop.with_name("away").rename(site.drop)

    transport(start + timedelta(minutes=1))

    assert len(list(Path(site.drop).glob("*.eml"))) == 2
    assert list(lost.recipients.values_list("state", "status_text")) == [
        ("failed", "554 5.3.0 Message content is lost")
    ]
    assert TrackingEvent.objects.get(event="FAIL").source_context == "ContentLost"
    assert Queue.objects.get(connector_name="Fax").status == "Ready"


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("QR-20", "QR-41")
@pytest.mark.parametrize("recipient", [b"IMCEAFAX-5551234@fcweb.test", b"alice@fcweb.test"], ids=["gateway", "mailbox"])
def test_nothing_is_lost_while_the_spool_is_not_mounted(site, pickup, transport, data_dir, recipient):
    pickup("a.eml", b"From: alice@fcweb.test\r\nTo: " + recipient + b"\r\nSubject: a\r\n\r\nx\r\n")
    call_command("pickup", once=True)
    now = timezone.now()
    (data_dir / "spool").rename(data_dir / "away")

    transport(now)

    assert not TrackingEvent.objects.filter(event__in=["FAIL", "DSN"]).exists()
    waiting = Queue.objects.exclude(next_hop_domain="Submission").get()
    assert (waiting.status, waiting.last_error[:40]) == ("Retry", "451 4.3.0 The spool is not there: is its")
    assert TrackingEvent.objects.get(event="DEFER").source_context == "SpoolMissing"
    (data_dir / "away").rename(data_dir / "spool")
    transport(now + timedelta(minutes=6))
    assert set(TrackingEvent.objects.values_list("event", flat=True)) & {"SEND", "DELIVER"}
