"""The path of one message told as a story, and what may go wrong on it, on real files and rows."""

from __future__ import annotations

import email
import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from flufl.bounce import all_failures

from connectors.choices import FileState, MessageState, RecipientState
from connectors.models import EventLogEntry, ForeignConnector, Message, MessageRecipient, Queue, SourceFile
from tracking.models import TrackingEvent

FAX = b"From: alice@fcweb.test\r\nTo: IMCEAFAX-5551234@fcweb.test\r\nSubject: Offer\r\n\r\nBody\r\n.\r\nend\r\n"


def events():
    return [(e.event, e.source) for e in TrackingEvent.objects.order_by("pk")]


def drop_files(site):
    return sorted(Path(site.drop).glob("*.eml"))


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("MT-A", "PU-17", "PU-18", "PU-59", "DR-14", "DR-15", "DR-18", "DR-23", "HM-2", "HM-13", "RT-X7")
def test_a_pickup_file_becomes_a_drop_file(site, pickup, transport):
    path = pickup("offer.eml", FAX)

    transport()

    assert not path.exists()
    assert list(path.parent.iterdir()) == []
    (drop,) = drop_files(site)
    text = drop.read_bytes()
    block, _, rest = text.partition(b"X-EndOfInjectedXHeaders: ")
    assert block == (
        b"X-Sender: <alice@fcweb.test>\r\n"
        b"X-Receiver: <IMCEAFAX-5551234@fcweb.test> ORCPT=FAX;5551234\r\n"
        b"X-CreatedBy: fcweb\r\n"
    )
    length, _, content = rest.partition(b"\r\n")
    assert int(length) == len(content)
    assert content.startswith(b"Received: from Pickup by node.test with fcweb id ")
    assert content.endswith(b"\r\n\r\nBody\r\n.\r\nend\r\n")
    assert events() == [("RECEIVE", "PICKUP"), ("SEND", "GATEWAY")]
    assert Message.objects.get().state == MessageState.DONE
    assert MessageRecipient.objects.get().state == RecipientState.DELIVERED
    assert SourceFile.objects.get().state == FileState.QUEUED


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("MT-B", "RP-3", "RP-6", "RP-9", "RP-10", "RT-4", "RT-X1")
def test_a_replay_file_goes_to_its_x_receiver_alone(site, replay, transport, data_dir):
    replay("answer.eml", b"X-Sender: <gw@fax.test>\r\nX-Receiver: <alice@fcweb.test>\r\nTo: x@y.test\r\n\r\nsent\r\n")

    transport()

    (mail,) = (data_dir / "mailboxes" / "alice@fcweb.test" / "new").iterdir()
    assert mail.read_bytes().startswith(b"Return-Path: <gw@fax.test>\r\nDelivered-To: alice@fcweb.test\r\n")
    assert events() == [("RECEIVE", "REPLAY"), ("DELIVER", "STOREDRIVER")]


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("RT-21", "RT-X8", "MT-D", "DSN-1", "DSN-20", "DSN-31", "DSN-32")
def test_an_unroutable_fax_is_returned_with_a_notice(site, pickup, transport, data_dir):
    pickup("sms.eml", FAX.replace(b"IMCEAFAX", b"IMCEASMS"))

    transport()

    assert drop_files(site) == []
    assert events() == [("RECEIVE", "PICKUP"), ("DSN", "DSN"), ("FAIL", "ROUTING"), ("DELIVER", "STOREDRIVER")]
    dsn, fail = TrackingEvent.objects.filter(event__in=["DSN", "FAIL"]).order_by("pk")
    assert fail.reference == dsn.message.message_id
    assert dsn.reference == fail.message.message_id
    (notice,) = (data_dir / "mailboxes" / "alice@fcweb.test" / "new").iterdir()
    assert (
        b"\r\nFinal-Recipient: rfc822;IMCEASMS-5551234@fcweb.test\r\nAction: failed\r\nStatus: 5.1.2\r\n"
        in notice.read_bytes()
    )


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("RT-5", "RT-X2", "DSN-33", "DSN-36")
def test_an_independent_reader_finds_the_failed_recipient(site, pickup, transport, data_dir):
    pickup("nobody.eml", FAX.replace(b"IMCEAFAX-5551234", b"nobody"))

    transport()

    (notice,) = (data_dir / "mailboxes" / "alice@fcweb.test" / "new").iterdir()
    _temporary, permanent = all_failures(email.message_from_bytes(notice.read_bytes()))
    assert permanent == {b"nobody@fcweb.test"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("MT-C", "PU-48", "PU-55", "PU-58", "EV-2")
def test_a_malformed_file_is_set_aside_with_its_reason(site, pickup, transport):
    path = pickup("bad.eml", b"From: alice@fcweb.test\nSubject: no recipient\n\nBody\n")

    transport()

    assert sorted(p.name for p in path.parent.iterdir()) == ["bad.bad", "bad.bad.txt"]
    row = SourceFile.objects.get()
    assert (row.state, row.reason, row.bad_name) == (FileState.BAD, "NO_RECIPIENTS", "bad.bad")
    assert events() == [("BADMAIL", "PICKUP")]
    assert EventLogEntry.objects.get().code == 9010


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("PU-42", "MT-D")
def test_too_many_recipients_are_returned_without_a_receive_event(site, pickup, transport):
    many = b", ".join(b"IMCEAFAX-%d@fcweb.test" % number for number in range(101))
    pickup("many.eml", b"From: alice@fcweb.test\r\nTo: " + many + b"\r\n\r\nBody\r\n")

    transport()

    assert drop_files(site) == []
    assert events() == [("DSN", "DSN"), ("FAIL", "PICKUP"), ("DELIVER", "STOREDRIVER")]
    assert set(MessageRecipient.objects.filter(state="failed").values_list("status_text", flat=True)) == {
        "550 5.5.3 PICKUP.RecipLimit; too many recipients"
    }


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("DR-7", "DR-31", "QR-20", "QR-41", "QR-42", "EV-8", "MT-E", "QR-26")
def test_a_missing_drop_directory_puts_the_queue_into_retry(site, pickup, transport):
    Path(site.drop).rename(site.drop.with_name("away"))
    pickup("offer.eml", FAX)
    start = timezone.now()

    transport(start)

    queue = Queue.objects.exclude(next_hop_domain="Submission").get()
    assert (queue.status, queue.last_error) == ("Retry", "451 4.3.5 Drop directory does not exist")
    assert queue.next_retry_at == start + timedelta(minutes=1)
    assert events() == [("RECEIVE", "PICKUP"), ("DEFER", "GATEWAY")]
    assert EventLogEntry.objects.get(cleared_at=None).code == 8008

    site.drop.with_name("away").rename(site.drop)
    transport(start + timedelta(minutes=1))

    assert len(drop_files(site)) == 1
    assert events()[-1] == ("SEND", "GATEWAY")
    queue.refresh_from_db()
    assert (queue.status, queue.last_error, queue.retry_count) == ("Ready", "", 0)
    assert not EventLogEntry.objects.filter(cleared_at=None).exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("DR-28", "DR-29", "DR-30", "QR-43", "QR-44", "FC-15")
def test_the_quota_is_never_exceeded(site, pickup, transport):
    ForeignConnector.objects.update(drop_directory_quota=900)
    for number in range(3):
        pickup(f"{number}.eml", FAX)
    pickup("huge.eml", FAX + b"x" * 2000)

    transport()

    assert sum(path.stat().st_size for path in drop_files(site)) <= 900
    assert len(drop_files(site)) == 2
    assert Queue.objects.get(connector_name="Fax").last_error == "452 4.3.1 Drop directory quota reached"
    assert MessageRecipient.objects.filter(status_text__startswith="550 5.3.4").count() == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("PU-52", "UP-1")
def test_an_exported_queue_file_in_pickup_is_never_sent(site, pickup, transport):
    block = b"X-sender: <a@b.test>\r\nX-Receiver: <c@d.test> NOTIFY=NEVER; X-ExtendedProps=AA==\r\nX-CreatedBy: MSExchange15\r\n"
    pickup("export.eml", block + b"X-EndOfInjectedXHeaders: 10\r\n" + FAX)

    transport()

    assert SourceFile.objects.get().reason == "EXPORT_IN_PICKUP"
    assert Message.objects.count() == 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("PU-18", "UP-4")
def test_wiping_the_claims_adds_nothing_twice(site, pickup, transport):
    pickup("offer.eml", FAX)
    transport()
    SourceFile.objects.all().delete()

    transport()

    assert Message.objects.count() == 1
    assert len(drop_files(site)) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("UP-23", "HM-12", "PU-33")
def test_every_corpus_file_ends_in_exactly_one_outcome(site, corpus, transport):
    inbox = Path(site.node.pickup_directory_path)
    sources = {}
    for number, path in enumerate(
        sorted(p for part in ("eml", "dsn") for p in (corpus / part).rglob("*") if p.is_file())
    ):
        name = f"{number:03d}.eml"
        shutil.copyfile(path, inbox / name)
        os.utime(inbox / name, (1_700_000_000, 1_700_000_000))
        sources[name] = path.read_bytes()
    assert len(sources) == 338

    transport()
    transport(timezone.now() + timedelta(seconds=10))  # files without a blank line wait for one more poll (PU-49)

    by_state = {}
    for row in SourceFile.objects.all():
        by_state.setdefault(row.state, []).append(row.name)
    queued, notice, bad = (len(by_state.get(s, [])) for s in ("queued", "notice", "bad"))
    assert queued + notice + bad == 338
    assert not list(inbox.glob("*.eml")) and not list(inbox.glob("*.tmp"))
    assert len(list(inbox.glob("*.bad"))) == bad


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("HM-12", "PU-33", "DR-14")
def test_corpus_bodies_reach_the_gateway_unchanged(site, corpus, replay, transport):
    from connectors.mail.header import HeaderError, crlf, split

    bodies = {}
    for number, path in enumerate(sorted(p for p in (corpus / "eml").rglob("*") if p.is_file())):
        data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        block = b"X-Sender: <alice@fcweb.test>\r\nX-Receiver: <IMCEAFAX-%d@fcweb.test>\r\n" % number
        try:
            body = crlf(data[split(data).body_start :])
        except HeaderError:
            continue
        if data.startswith((b"From ", b">From ")) or b"x-sender" in data.lower() or b"x-receiver" in data.lower():
            continue
        bodies[b"<IMCEAFAX-%d@fcweb.test>" % number] = body
        replay(f"{number}.eml", block + data)

    transport()

    found = {}
    for path in drop_files(site):
        data = path.read_bytes()
        receiver = data.split(b"X-Receiver: ")[1].split(b" ")[0].strip()
        found[receiver] = data[split(data).body_start :]
    assert found == bodies
    assert len(found) > 150


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("UP-20")
def test_a_batch_of_large_files_ends_before_it_fills_the_memory(site, pickup, transport):
    from connectors.conf import transport_config
    from connectors.transport import leasing
    from connectors.transport.scan import Scanner

    for number in range(4):
        pickup(f"{number}.eml", FAX + b"x" * 1000)
    scanner = Scanner(Path(site.node.pickup_directory_path), settle=timedelta(0), empty_age=timedelta(0))

    taken = scanner.take(200, limit_bytes=2000, now=timezone.now(), closed=set())

    assert [candidate.name for candidate in taken] == ["0.eml", "1.eml"]
    for candidate in taken:
        candidate.close()
    Path(site.drop).rename(site.drop.with_name("away"))
    transport()
    queue = Queue.objects.exclude(next_hop_domain="Submission").get()
    leased = leasing.lease(queue, directory="x", token="t", limit=200, limit_bytes=2500, folder_of=None)
    assert len(leased) == 2
    assert transport_config().batch_bytes == 64 * 1024 * 1024
