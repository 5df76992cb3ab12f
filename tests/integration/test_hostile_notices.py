"""Notices about messages nobody foresaw: each is told, none stops the others, and none is taken for what it is not."""

from __future__ import annotations

import email
from dataclasses import replace
from email import policy

import pytest
from django.core.management import call_command
from django.utils import timezone

from connectors.choices import RecipientState
from connectors.conf import transport_config
from connectors.models import Message, MessageRecipient, Node, NoticeSettings, SourceFile
from connectors.transport import reports
from tracking.models import TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)
ALICE, LOST = "alice@fcweb.test", "IMCEASMS-1@fcweb.test"


def replayed(*receivers, sender=f"<{ALICE}>", header=b"", body=b"x\r\n"):
    """Return a Replay file; paths with their parameters are written as they are given."""
    lines = [f"X-Sender: {sender}", *(f"X-Receiver: {text}" for text in receivers)]
    block = "".join(f"{line}\r\n" for line in lines).encode()
    return block + b"From: alice@fcweb.test\r\nSubject: Offer\r\n" + header + b"\r\n" + body


@pytest.fixture
def inbox(data_dir):
    """The notices in alice's mailbox, oldest first."""

    def read():
        folder = data_dir / "mailboxes" / ALICE / "new"
        files = sorted(folder.iterdir(), key=lambda p: int(p.name.split("-")[0])) if folder.is_dir() else []
        return [email.message_from_bytes(path.read_bytes(), policy=policy.default) for path in files]

    return read


def written():
    """Return the content of the notices in the spool."""
    rows = Message.objects.filter(source="DSN").order_by("pk").values_list("spool_name", "content_offset")
    return [(transport_config().spool_dir / name).read_bytes()[offset:] for name, offset in rows]


def groups(notice):
    part = next(p for p in notice.walk() if p.get_content_type() == "message/delivery-status")
    return [dict(group.items()) for group in part.get_payload() if group.items()]


@pytest.mark.rule("DSN-23", "DSN-32")
def test_an_orcpt_of_a_type_that_is_none_stops_no_notice(site, replay, transport, inbox):
    replay("evil.eml", replayed(f"<{LOST}> ORCPT=é;b@x.test"))
    replay("good.eml", replayed(f"<{LOST}>"))

    transport()

    assert [groups(notice)[1].get("Original-Recipient") for notice in inbox()] == ["unknown;b@x.test", f"rfc822;{LOST}"]
    failed = MessageRecipient.objects.exclude(message__source="DSN")
    assert set(failed.values_list("state", "report_due")) == {(RecipientState.FAILED, "")}


@pytest.mark.rule("DSN-50")
def test_a_reporting_authority_in_another_script_stops_no_notice(site, replay, transport, inbox):
    NoticeSettings.objects.create(internal_reporting_authority="münchen.example")
    replay("m.eml", replayed(f"<{LOST}>"))

    transport()

    assert groups(inbox()[0])[0]["Reporting-MTA"] == "dns;xn--mnchen-3ya.example"


@pytest.mark.rule("DSN-22")
@pytest.mark.parametrize(
    "header",
    [
        b"Auto-Submitted: auto-replied (vacation)\r\n",
        b"Auto-Submitted: (by a robot) auto-replied\r\n",
        b"Auto-Submitted:\r\n auto-replied;\r\n owner-email=x\r\n",
        b"X-Many: " + b"x" * 80_000 + b"\r\nX-MS-Exchange-Message-Is-Ndr:\r\n",
    ],
)
def test_an_automatic_answer_is_known_however_its_header_is_written(site, replay, transport, header):
    replay("m.eml", replayed(f"<{LOST}>", header=header))

    transport()

    assert not Message.objects.filter(source="DSN").exists()


@pytest.mark.rule("DSN-13", "DSN-25")
def test_a_header_of_any_length_goes_back_whole_and_without_our_names(site, replay, transport, inbox):
    NoticeSettings.objects.create(external_diagnostics_enabled=False, external_reporting_authority="example.org")
    many = b"".join(b"X-Line-%d: %s\r\n" % (number, b"x" * 70) for number in range(1200))
    replay("m.eml", replayed(f"<{LOST}>", sender="<eve@outside.test> RET=HDRS", header=many + b"X-Last: here\r\n"))

    transport()

    (content,) = written()
    returned = email.message_from_bytes(content).get_payload()[2].get_payload(decode=True)
    assert returned.count(b"X-Line-") == 1200
    assert b"\r\nX-Last: here\r\n" in returned
    assert b"Received:" not in returned


@pytest.mark.rule("DSN-25", "DSN-60", "PU-40")
def test_a_message_refused_for_its_long_header_goes_back_byte_for_byte(site, pickup, transport, inbox):
    many = b"".join(b"X-Line-%d: %s\r\n" % (number, b"x" * 70) for number in range(1200))
    data = b"From: alice@fcweb.test\r\nTo: " + LOST.encode() + b"\r\n" + many + b"Subject: Last\r\n\r\nBody\r\n"
    pickup("m.eml", data)

    transport()

    (notice,) = inbox()
    assert groups(notice)[1]["Status"] == "5.3.4"
    (content,) = written()
    returned = content.split(b"Content-Type: message/rfc822\r\n\r\n")[1]
    received, _newline, rest = returned.partition(b"\r\n")
    assert received.startswith(b"Received: from Pickup by ")
    header, _blank, body = rest.partition(b"\r\n\r\n")
    assert header.startswith(data.partition(b"\r\n\r\n")[0])
    assert body.startswith(b"Body\r\n")


@pytest.mark.rule("DSN-25", "RP-12")
@pytest.mark.parametrize(
    "body, declared", [(b"x\r\n", ""), ("é\r\n".encode(), "8BITMIME"), (b"a\0b\r\n", "BINARYMIME")]
)
def test_a_notice_is_sent_as_what_the_returned_message_makes_it(site, replay, transport, body, declared):
    replay("m.eml", replayed(f"<{LOST}>", body=body))

    transport()

    assert Message.objects.get(source="DSN").body == declared


@pytest.mark.rule("DSN-6")
def test_never_holds_for_an_address_that_cannot_be_read(site, replay, transport, inbox):
    replay("m.eml", replayed("<IMCEAFAX-1@fcweb.test>", "<two@@x.test> NOTIFY=NEVER", "<three@@x.test> NOTIFY=FAILURE"))

    transport()

    (notice,) = inbox()
    assert [group["Final-Recipient"] for group in groups(notice)[1:]] == ["rfc822;three@@x.test"]
    fails = {
        recipient.address: event.reference
        for event in TrackingEvent.objects.filter(event="FAIL")
        for recipient in event.recipients.all()
    }
    assert fails == {"two@@x.test": "", "three@@x.test": notice["Message-ID"]}


@pytest.mark.rule("DSN-25", "DSN-31", "DSN-32")
def test_a_file_without_a_readable_address_is_returned_as_its_sender_asked(site, replay, transport, inbox):
    receiver = "<two@@x.test> NOTIFY=DELAY,FAILURE ORCPT=rfc822;2@x.test"
    replay("m.eml", replayed(receiver, sender=f"<{ALICE}> RET=HDRS ENVID=order+2B7"))

    transport()

    (notice,) = inbox()
    about, recipient = groups(notice)
    assert about["Original-Envelope-Id"] == "order+7"
    assert recipient["Original-Recipient"] == "rfc822;2@x.test"
    assert notice.get_payload()[2].get_content_type() == "text/rfc822-headers"
    assert TrackingEvent.objects.get(event="FAIL").reference == notice["Message-ID"]


@pytest.mark.rule("DSN-6", "DSN-61", "MT-4")
@pytest.mark.parametrize("notify", ["NEVER", "SUCCESS,DELAY"])
@pytest.mark.parametrize("receiver, size", [("<two@@x.test>", 1), ("<IMCEAFAX-1@fcweb.test>", 2000)])
def test_a_file_that_never_entered_and_may_not_be_told_of_stays_as_a_bad_file(
    site, replay, transport, notify, receiver, size
):
    Node.objects.update(max_message_bytes=1000)
    path = replay("m.eml", replayed(f"{receiver} NOTIFY={notify}", body=b"x" * size + b"\r\n"))

    transport()

    row = SourceFile.objects.get()
    assert (row.state, row.reason) == ("bad", "NO_NOTICE_ADDRESSEE")
    assert path.with_suffix(".bad").read_bytes().startswith(b"X-Sender: <alice@fcweb.test>\r\n")
    assert [event.event for event in TrackingEvent.objects.all()] == ["BADMAIL"]
    assert Message.objects.count() == 0


@pytest.mark.rule("DSN-13", "DSN-61", "MT-4")
@pytest.mark.parametrize("sender, fate", [("eve@outside.test", "bad"), (ALICE, "notice")])
def test_a_file_that_never_entered_stays_where_failures_are_not_told(site, replay, transport, inbox, sender, fate):
    Node.objects.update(max_message_bytes=1000)
    NoticeSettings.objects.create(external_failure_enabled=False)
    path = replay("m.eml", replayed("<IMCEAFAX-1@fcweb.test>", sender=f"<{sender}>", body=b"x" * 2000 + b"\r\n"))

    transport()

    assert SourceFile.objects.get().state == fate
    assert path.with_suffix(".bad").exists() == (fate == "bad")
    assert len(inbox()) == (fate == "notice")


@pytest.mark.rule("DSN-25", "DSN-60", "PU-43")
def test_a_file_read_in_part_alone_is_not_returned_as_if_it_were_whole(site, pickup, transport, inbox):
    Node.objects.update(max_message_bytes=1000)
    pickup("m.eml", b"From: alice@fcweb.test\r\nTo: two@@x.test\r\n\r\n" + b"12345678\r\n" * 30_000)

    transport()

    (notice,) = inbox()
    assert groups(notice)[1]["Status"] == "5.1.3"
    assert notice.get_payload()[2].get_content_type() == "text/rfc822-headers"


@pytest.mark.rule("DSN-8")
def test_notices_that_return_large_messages_are_written_a_few_at_a_time(site, replay):
    for number in range(8):
        replay(f"{number}.eml", replayed(f"<{LOST}>", body=b"12345678\r\n" * 10_000))
    call_command("replay", "--once")
    call_command("categorize", "--once")
    config = replace(transport_config(), batch_bytes=250_000)

    paid = [reports.run_once(site.node, config=config, now=timezone.now()) for _pass in range(4)]

    assert paid == [3, 3, 2, 0]
    assert Message.objects.filter(source="DSN").count() == 8


@pytest.mark.rule("DSN-60", "PU-28", "PU-36")
@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b"From alice Sun Nov 29 00:00:00 2026\n"])
def test_what_stands_before_the_header_of_a_refused_file_breaks_no_returned_message(
    site, pickup, transport, inbox, start
):
    pickup("m.eml", start + b"From: alice@fcweb.test\nTo: two@@x.test\nSubject: Offer\n\nBody\n")

    transport()

    (notice,) = inbox()
    returned = notice.get_payload()[2].get_payload()[0]
    assert (returned["From"], returned["Subject"]) == ("alice@fcweb.test", "Offer")
    assert (returned.defects, returned.get_content()) == ([], "Body\r\n")


@pytest.mark.rule("DSN-60", "RP-16")
def test_the_envelope_of_a_refused_replay_file_is_no_part_of_the_returned_message(site, replay, transport, inbox):
    replay("m.eml", replayed("<two@@x.test>"))

    transport()

    (notice,) = inbox()
    returned = notice.get_payload()[2].get_payload()[0]
    assert [name for name in returned if name not in {"Received", "Message-ID", "Date"}] == ["From", "Subject"]
