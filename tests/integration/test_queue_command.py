"""`manage.py queue` and `manage.py safetynet`."""

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from connectors.choices import ItemState, QueueStatus
from connectors.models import BulkJob, Queue, QueueItem
from tests.queue_fixtures import fax_queue, queued
from tracking.models import TrackedMessage, TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()
FAX = b"From: alice@fcweb.test\r\nTo: IMCEAFAX-5551234@fcweb.test\r\nSubject: Offer\r\n\r\nBody\r\n"


def run(*words, command="queue"):
    out = StringIO()
    if command == "safetynet":
        call_command("safetynet", *words, stdout=out, stderr=StringIO())
    else:
        call_command("queue", *words, stdout=out, stderr=StringIO())
    return out.getvalue()


def rows(*words, command="queue"):
    return json.loads(run(*words, "--json", command=command))


@pytest.fixture
def filled(site):
    queue = fax_queue(site, status=QueueStatus.RETRY, retry_count=1, last_error="451 4.3.5 x", next_retry_at=NOW)
    for number in range(5):
        queued(
            site, queue, now=NOW, subject=f"Offer {number}", size=number * 1024 * 1024, mail_from=f"u{number}@x.test"
        )
    return queue


@pytest.mark.rule("QU-15", "QU-18", "QX-5")
def test_queues_and_messages_are_listed_with_exchange_names(filled):
    (queue,) = rows("list", "--filter", "MessageCount -gt 4 -and Status -eq 'Retry'")["rows"]
    assert (queue["Identity"], queue["MessageCount"], queue["NextHopCategory"]) == ("node.test\\FAX", 5, "External")

    wanted = "Queue -eq 'node.test\\FAX' -and Size -ge 1MB"
    found = rows("messages", "--filter", wanted, "--sort=-Size", "--result-size", "2")
    assert [row["Subject"] for row in found["rows"]] == ["Offer 4", "Offer 3"]
    assert (found["total"], found["truncated"], found["first"]) == (4, True, 1)
    assert "2 of 4 rows" in run("messages", "--filter", "Size -ge 1MB", "--result-size", "2")


@pytest.mark.rule("QU-17")
def test_include_and_exclude_choose_kinds_of_queues(filled):
    assert rows("list", "--include", "External")["total"] == 1
    assert rows("list", "--exclude", "NonSmtpGatewayDelivery", "--filter", "MessageCount -gt 0")["total"] == 0
    assert {row["Identity"] for row in rows("list", "--include", "Empty")["rows"]} == {"node.test\\Submission"}
    assert rows("list", "--include", "Internal", "--filter", "Status -eq 'Retry'")["total"] == 0
    with pytest.raises(CommandError, match="QU-17"):
        run("list", "--include", "Everything")


@pytest.mark.rule("QO-1", "QU-16")
def test_one_message_is_suspended_by_identity(filled):
    item = QueueItem.objects.earliest("pk")

    assert rows("suspend", f"FAX\\{item.message_id}", "--reason", "r")["rows"][0]["changed"] == 1

    assert list(QueueItem.objects.filter(state=ItemState.SUSPENDED)) == [item]
    with pytest.raises(CommandError) as caught:
        run("suspend", f"node.test\\FAX\\{item.message_id}")
    assert caught.value.returncode == 3
    assert BulkJob.objects.filter(actor__startswith="command:", reason="r").count() == 1


@pytest.mark.rule("QO-1", "QO-3", "QO-4")
def test_matching_messages_are_removed(filled):
    with pytest.raises(CommandError) as caught:
        run("remove", "--filter", "FromAddress -eq 'nobody'", "--yes")
    assert caught.value.returncode == 1

    job = rows("remove", "--filter", "Size -lt 2MB", "--with-ndr", "false", "--yes")["rows"][0]

    assert (job["changed"], QueueItem.objects.filter(state=ItemState.REMOVED).count()) == (2, 2)


@pytest.mark.rule("QO-3")
def test_what_comes_while_the_command_asks_is_not_removed(filled, site, monkeypatch):
    def answer():
        queued(site, filled, now=NOW, subject="later")
        return "y"

    monkeypatch.setattr("builtins.input", answer)

    out = run("remove", "FAX", "--messages", "--with-ndr", "false")

    assert "Remove 5 silently?" in out
    (left,) = QueueItem.objects.filter(state=ItemState.READY)
    assert left.message.subject == "later"


@pytest.mark.rule("QO-2", "QO-6")
def test_of_several_queues_those_in_retry_are_resubmitted_and_the_others_named(site):
    fax = fax_queue(site)
    well = Queue.objects.create(
        node=site.node, delivery_type=fax.delivery_type, next_hop_domain="AAA", next_hop_connector=UUID(int=7)
    )
    fax.delete()
    fax = fax_queue(site, status=QueueStatus.RETRY, retry_count=1)  # comes after the one that is well
    for queue in (well, fax, fax):
        queued(site, queue, now=NOW)
    errors = StringIO()

    call_command("queue", "retry", "--resubmit", "--filter", "MessageCount -gt 0", stdout=StringIO(), stderr=errors)

    assert errors.getvalue().startswith("node.test\\AAA: ")
    assert BulkJob.objects.get().changed == 2
    with pytest.raises(CommandError, match="nothing was changed") as caught:
        run("retry", "--resubmit", "--filter", "MessageCount -gt 0")
    assert caught.value.returncode == 3


@pytest.mark.rule("QO-6", "QA-13", "QA-6")
def test_queue_verbs_and_unknown_queues(filled, site):
    assert rows("retry", "FAX")["rows"][0]["changed"] == 1
    with pytest.raises(CommandError) as caught:
        run("retry", "FAX")
    assert caught.value.returncode == 3
    with pytest.raises(CommandError, match="QUEUE_NOT_FOUND"):
        run("suspend", "nowhere")
    Queue.objects.all().delete()
    run("suspend", "fax")
    run("suspend", "Submission")
    assert set(Queue.objects.values_list("status", flat=True)) == {"Suspended"}


@pytest.mark.rule("QU-19")
def test_a_wrong_filter_says_where(filled):
    with pytest.raises(CommandError, match=r"FILTER_INVALID.*character 6"):
        run("messages", "--filter", "Size -likes 1")


@pytest.mark.rule("QR-18", "DSN-12", "QU-6")
def test_delivered_messages_are_delivered_again_without_notices(site, pickup, transport):
    pickup("a.eml", FAX)
    pickup("b.eml", FAX.replace(b"Offer", b"Other"))
    transport()
    drops = sorted(Path(site.drop).glob("*.eml"))
    first = TrackingEvent.objects.filter(event="SEND").earliest("pk")
    assert rows("list", "--connector", "fax", command="safetynet")["total"] == 2

    number = str(first.message.internal_message_id)
    assert rows("resubmit", "--message", number, command="safetynet")["rows"] == [{"resubmitted": 1}]
    transport()

    (again,) = set(Path(site.drop).glob("*.eml")) - set(drops)
    assert b"X-Receiver: <IMCEAFAX-5551234@fcweb.test> NOTIFY=NEVER" in again.read_bytes()
    told = list(first.message.events.order_by("pk").values_list("event", "source"))
    assert told[-2:] == [("RESUBMIT", "SAFETYNET"), ("SEND", "GATEWAY")]
    tracked = TrackedMessage.objects.get(pk=first.message_id)
    assert (tracked.delivered, tracked.state) == (1, "transferred")
    with pytest.raises(CommandError, match="SAFETYNET_TOO_WIDE"):
        run("resubmit", command="safetynet")
    with pytest.raises(CommandError):
        run("resubmit", "--start", (NOW + timedelta(days=1)).isoformat(), command="safetynet")
