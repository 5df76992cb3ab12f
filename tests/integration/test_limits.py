"""Limits: each with its status code, at the place where it is checked (QL-1 to QL-24)."""

from __future__ import annotations

import os

import pytest

from connectors.mail.sizes import parse_size
from connectors.models import DirectoryRecipient, ForeignConnector, Mailbox, MessageRecipient, Node
from tracking.models import TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)
FAX = "IMCEAFAX-5551234@fcweb.test"


def mail(*receivers, size=100, header=b"", sender="alice@fcweb.test"):
    to = ", ".join(receivers).encode()
    head = b"From: " + sender.encode() + b"\r\nTo: " + to + b"\r\nSubject: s\r\n" + header + b"\r\n"
    return head + b"x" * size + b"\r\n"


def replayed(*receivers, size=100, sender="alice@fcweb.test", header=b""):
    block = f"X-Sender: <{sender}>\r\n" + "".join(f"X-Receiver: <{r}>\r\n" for r in receivers)
    return block.encode() + b"From: a@b.test\r\n" + header + b"\r\n" + b"x" * size + b"\r\n"


def replies():
    rows = MessageRecipient.objects.exclude(message__source="DSN").order_by("pk")
    return [(r.state, r.status_text.partition(" ")[2][:5] if r.state == "failed" else "") for r in rows]


def failures():
    return [(e.source, e.source_context) for e in TrackingEvent.objects.filter(event="FAIL").order_by("pk")]


@pytest.mark.rule("QL-1", "QL-3")
def test_the_header_limit_holds_for_pickup_and_not_for_replay(site, pickup, replay, transport):
    long = b"X-Long: " + b"y" * 900 + b"\r\n"
    Node.objects.update(pickup_max_header_bytes=32_768)

    pickup("p.eml", mail(FAX, header=long * 40))
    transport()
    replay("r.eml", replayed(FAX, header=long * 40))
    transport()

    assert replies() == [("failed", "5.3.4"), ("delivered", "")]


@pytest.mark.rule("QL-2", "QL-3", "QL-5")
def test_the_recipient_limit_of_pickup_is_its_own_and_that_of_the_organisation_holds_everywhere(
    site, pickup, replay, transport
):
    Node.objects.update(pickup_max_recipients=2, max_recipients=3)
    numbers = [f"IMCEAFAX-{n}@fcweb.test" for n in range(4)]

    pickup("p.eml", mail(*numbers[:3]))
    transport()
    assert replies() == [("failed", "5.5.3")] * 3
    replay("r.eml", replayed(*numbers[:3]))
    transport()
    assert replies()[3:] == [("delivered", "")] * 3
    replay("s.eml", replayed(*numbers))
    transport()
    assert replies()[6:] == [("failed", "5.5.3")] * 4
    assert failures() == [("PICKUP", "p.eml"), ("ROUTING", "Recipients")]


@pytest.mark.rule("QL-4", "QL-13")
def test_a_message_over_the_send_limit_goes_back_without_its_body(site, pickup, transport, data_dir):
    Node.objects.update(max_message_bytes=1000)

    pickup("p.eml", mail(FAX, size=2000))
    transport()

    assert replies() == [("failed", "5.3.4")]
    (notice,) = (data_dir / "mailboxes" / "alice@fcweb.test" / "new").iterdir()
    assert b"Content-Type: text/rfc822-headers" in notice.read_bytes()


@pytest.mark.rule("QL-4", "QL-6", "QL-23")
@pytest.mark.parametrize(
    "organisation, mailbox, expected",
    [
        (5000, None, "delivered"),
        (1000, None, "failed"),
        (None, 1000, "failed"),
        (None, None, "delivered"),
        (1000, 5000, "failed"),  # files are anonymous: a mailbox never widens the organisation's limit
    ],
)
def test_the_most_restrictive_receive_limit_wins(site, replay, transport, organisation, mailbox, expected):
    Node.objects.update(max_receive_bytes=organisation)
    Mailbox.objects.update(max_receive_bytes=mailbox)

    replay("r.eml", replayed("alice@fcweb.test", size=2000, sender="eve@outside.test"))
    transport()

    assert replies() == [(expected, "5.2.3" if expected == "failed" else "")]


@pytest.mark.rule("QL-6")
def test_limits_of_the_sending_mailbox(site, replay, transport):
    DirectoryRecipient.objects.update(max_send_bytes=1000, max_recipients=1)

    replay("1.eml", replayed(FAX, size=2000))
    transport()
    replay("2.eml", replayed(FAX, "IMCEAFAX-2@fcweb.test", size=10))
    transport()
    replay("3.eml", replayed(FAX, size=10))
    transport()
    replay("4.eml", replayed(FAX, size=2000, sender="eve@outside.test"))
    transport()

    assert replies() == [
        ("failed", "5.2.3"),
        ("failed", "5.5.3"),
        ("failed", "5.5.3"),
        ("delivered", ""),
        ("delivered", ""),
    ]
    assert failures() == [("ROUTING", "Size"), ("ROUTING", "Recipients")]


@pytest.mark.rule("QL-7", "QL-9")
def test_a_connector_too_small_leaves_no_route(site, replay, transport):
    ForeignConnector.objects.update(max_message_bytes=1000)

    replay("r.eml", replayed(FAX, size=2000))
    transport()

    assert replies() == [("failed", "5.3.4")]


@pytest.mark.rule("QL-12", "DSN-22")
@pytest.mark.parametrize("received, expected", [(30, ("delivered", "")), (31, ("failed", "5.4.6"))])
def test_a_message_that_passed_more_than_thirty_systems_goes_back(site, pickup, replay, transport, received, expected):
    replay("r.eml", replayed(FAX, header=b"Received: from a by b\r\n" * received))

    transport()

    assert replies() == [expected]


@pytest.mark.rule("QL-22")
def test_notices_are_spared_of_size_limits(site, pickup, transport):
    Mailbox.objects.update(max_receive_bytes=10)
    Node.objects.update(max_receive_bytes=10)

    pickup("p.eml", mail("IMCEASMS-1@fcweb.test"))
    transport()

    notice = MessageRecipient.objects.get(message__source="DSN")
    assert (notice.state, notice.message.size > 10) == ("delivered", True)


@pytest.mark.rule("QL-20")
@pytest.mark.parametrize("trusted, expected", [(True, ("delivered", "")), (False, ("failed", "5.3.4"))])
def test_growth_inside_the_organisation_does_not_count_when_the_writer_is_trusted(
    site, replay, transport, trusted, expected
):
    Node.objects.update(
        max_message_bytes=1000, max_receive_bytes=1000, trusted_uids=str(os.getuid()) if trusted else ""
    )
    block = b"X-Sender: <eve@outside.test>\r\nX-Receiver: <alice@fcweb.test>\r\nX-CreatedBy: MSExchange15\r\n"
    header = b"From: a@b.test\r\nX-MS-Exchange-Organization-OriginalSize: 900\r\n\r\n"

    replay("r.eml", block + header + b"x" * 300_000 + b"\r\n")
    transport()

    assert replies() == [expected]


@pytest.mark.rule("QL-24")
def test_a_size_without_a_unit_is_bytes():
    assert parse_size("64") == parse_size("64B") == 64
