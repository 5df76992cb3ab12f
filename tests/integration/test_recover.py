"""`manage.py recover`: the spool alone is enough to go on after a lost database (design 3)."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from connectors.conf import transport_config
from connectors.models import ForeignConnector, Message, MessageRecipient, Queue, SourceFile
from connectors.owner import Owner
from tracking.models import TrackedMessage, TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)

FAX = (
    b"From: Alice <alice@fcweb.test>\r\nTo: IMCEAFAX-5551234@fcweb.test, IMCEAFAX-7@fcweb.test\r\n"
    b"Subject: =?utf-8?q?Caf=C3=A9?=\r\nMessage-ID: <offer@fcweb.test>\r\nX-Priority: 1\r\n\r\nBody\r\n"
)


def recover(*words):
    out = StringIO()
    call_command("recover", *words, "--json", stdout=out)
    return json.loads(out.getvalue())


def lose(*, events_too):
    Queue.objects.all().delete()
    SourceFile.objects.all().delete()
    Message.objects.all().delete()
    if events_too:
        TrackedMessage.objects.all().delete()


def drop_files(site):
    return sorted(site.drop.glob("*.eml"))


def facts():
    columns = ("message_id", "mail_from", "sender", "subject", "size", "priority", "source", "source_name")
    return Message.objects.values(*columns, "spool_name", "content_offset", "network_message_id").get()


@pytest.mark.rule("QU-10")
@pytest.mark.parametrize("events_too", [True, False])
def test_waiting_messages_are_rebuilt_and_delivered_once(site, pickup, transport, events_too):
    ForeignConnector.objects.update(is_held=True)
    pickup("offer.eml", FAX)
    transport()
    before = facts()
    recipients = set(MessageRecipient.objects.values_list("address", "orcpt", "notify"))
    lose(events_too=events_too)

    assert recover() == {"orphans": 1}
    assert Message.objects.count() == 0
    assert recover("--yes") == {"submitted": 1, "finished": 0, "unreadable": []}
    assert recover("--yes") == {"submitted": 0, "finished": 0, "unreadable": []}
    assert facts() == before
    assert set(MessageRecipient.objects.values_list("address", "orcpt", "notify")) == recipients

    ForeignConnector.objects.update(is_held=False)
    transport()
    transport()

    (path,) = drop_files(site)
    assert path.read_bytes().endswith(b"\r\n\r\nBody\r\n")
    first = ["RECEIVE"] if events_too else ["RECEIVE", "RESUBMIT"]
    assert [e.event for e in TrackingEvent.objects.order_by("pk")] == [*first, "SEND"]
    assert TrackedMessage.objects.get().state == "transferred"


def test_a_file_that_still_lies_in_its_drop_directory_is_not_written_again(site, pickup, transport):
    pickup("offer.eml", FAX)
    transport()
    lose(events_too=True)

    assert recover("--yes") == {"submitted": 0, "finished": 1, "unreadable": []}
    transport()

    assert len(drop_files(site)) == 1
    assert Message.objects.get().state == "done"


def test_what_the_events_know_to_be_delivered_is_not_sent_again(site, pickup, transport):
    pickup("offer.eml", FAX)
    transport()
    for path in drop_files(site):
        path.unlink()
    lose(events_too=False)

    assert recover("--yes") == {"submitted": 0, "finished": 1, "unreadable": []}
    transport()

    assert drop_files(site) == []


def test_a_temp_link_of_an_unfinished_attempt_is_replaced(site, pickup, transport):
    ForeignConnector.objects.update(is_held=True)
    pickup("offer.eml", FAX)
    transport()
    spool = transport_config().spool_dir / Message.objects.get().spool_name
    (site.drop / ".1-00000000-0000-0000-0000-000000000000.tmp").hardlink_to(spool)
    lose(events_too=True)
    ForeignConnector.objects.update(is_held=False)

    assert recover("--yes")["submitted"] == 1
    transport()

    assert [path.suffix for path in site.drop.iterdir()] == [".eml"]


def test_notices_and_replay_files_keep_their_source(site, replay, pickup, transport, data_dir):
    ForeignConnector.objects.update(is_held=True)
    replay(
        "job.eml",
        b"X-Sender: <>\r\nX-Receiver: <IMCEAFAX-1@fcweb.test> NOTIFY=NEVER\r\nX-Source: Gate 7\r\n\r\nBody\r\n",
    )
    transport()
    lose(events_too=True)

    recover("--yes")

    message = Message.objects.get()
    assert (message.source, message.source_name, message.mail_from) == ("REPLAY", "Gate 7", "")
    assert message.recipients.get().notify == "NEVER"


def test_a_file_that_is_no_message_is_named_and_left(site, transport):
    folder = transport_config().spool_dir / "2026010100"
    folder.mkdir(parents=True)
    (folder / "stray.eml").write_bytes(b"no block here")

    assert recover("--yes")["unreadable"] == ["2026010100/stray.eml"]
    assert (folder / "stray.eml").exists()


def test_nothing_is_rebuilt_while_a_transport_runs(site):
    with Owner(transport_config().run_dir), pytest.raises(CommandError, match="TRANSPORT_RUNNING"):
        recover("--yes")
