"""`manage.py queue messages` and `remove` with what waits in Submission: identities, filters, exit codes (QA-10)."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from connectors.choices import MessageState, QueueStatus, RecipientState
from connectors.models import BulkJob, Message, MessageRecipient, Node, Queue
from tests.queue_command import run
from tests.queue_fixtures import fax_queue, queued, submission_queue, submitted
from tracking.models import TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()


def page(*words):
    return json.loads(run(*words, "--json"))


def subjects(*words):
    return [row["Subject"] for row in page("messages", *words)["rows"]]


def code(*words):
    with pytest.raises(CommandError) as caught:
        run(*words)
    return caught.value.returncode, str(caught.value)


@pytest.fixture
def waiting(site):
    """Four messages in suspended Submission, one in the queue of Fax."""
    submission_queue(site)
    queued(site, fax_queue(site), now=NOW, subject="routed")
    facts = [("a", 3000, "spam@flood.test"), ("b", 1000, "alice@fcweb.test"), ("c", 2000, "spam@flood.test")]
    found = [submitted(site, now=NOW, subject=subject, size=size, mail_from=sender) for subject, size, sender in facts]
    return [*found, submitted(site, now=NOW, subject="d", size=4000, recipients=("x@fcweb.test", "y@fcweb.test"))]


@pytest.mark.rule("QU-7", "QU-18", "QU-21", "QX-5")
def test_submission_is_listed_filtered_sorted_and_paged(site, waiting):
    assert subjects("Submission") == subjects("--queue", "Submission") == ["a", "b", "c", "d"]
    assert subjects("node.test\\submission", "--filter", "FromAddress -like '*@flood.test'") == ["a", "c"]
    assert subjects("Submission", "--filter", "Size -gt 1500", "--sort=-Size") == ["d", "a", "c"]
    assert subjects("--queue", str(Queue.objects.get(next_hop_domain="Submission").pk)) == ["a", "b", "c", "d"]
    part = page("messages", "Submission", "--filter", "Size -gt 1500", "--result-size", "2")
    assert ([row["Subject"] for row in part["rows"]], part["total"], part["truncated"]) == (["a", "c"], 3, True)
    start = f"Submission\\{waiting[2].pk}"
    assert subjects("Submission", "--bookmark-object", start, "--result-size", "2") == ["c", "d"]
    Message.objects.filter(pk=waiting[2].pk).update(state=MessageState.DONE)  # it has gone: the place where it stood
    assert subjects("Submission", "--sort=-Size", "--bookmark-object", start, "--result-size", "1") == ["b"]
    assert subjects("--filter", "Size -gt 0") == subjects() == ["routed"]  # in no other queue


@pytest.mark.rule("QU-16", "QU-17", "QU-19", "QA-13")
def test_one_message_is_named_in_submission_or_by_its_number(site, waiting):
    first = waiting[0]

    assert subjects(f"Submission\\{first.pk}") == subjects(f"*\\{first.pk}") == subjects(str(first.pk)) == ["a"]
    assert subjects(f"FAX\\{first.pk}") == subjects("Submission\\999999") == []
    assert code("messages", f"Submission\\{first.pk}", "--filter", "Size -gt 1")[1].startswith("QU-17")
    assert code("messages", "FAX", "--filter", "Size -gt 1")[1].startswith("QU-17")
    assert code("messages", "--queue", "FAX", "--filter", "Size -gt 1")[1].startswith("QU-17")
    assert code("messages", "Submission", "--server", "node.test")[1].startswith("QU-17")
    assert "character 6" in code("messages", "Submission", "--filter", "Size -likes 1")[1]
    Queue.objects.filter(next_hop_domain="Submission").delete()
    assert "QUEUE_NOT_FOUND" in code("messages", "Submission")[1]


@pytest.mark.rule("QU-16", "QO-1")
def test_a_number_means_the_message_in_submission_and_its_copies(site, waiting):
    item = queued(site, fax_queue(site), now=NOW, recipients=("IMCEAFAX-1@fcweb.test", "IMCEAFAX-2@fcweb.test"))
    second = MessageRecipient.objects.filter(item=item).order_by("-pk").first()
    MessageRecipient.objects.filter(pk=second.pk).update(item=None, state=RecipientState.SUBMITTED)
    Message.objects.filter(pk=item.message_id).update(state=MessageState.SUBMITTED)
    number = str(item.message_id)

    found = page("messages", number, "--include-recipient-info")["rows"]

    assert [row["Queue"] for row in found] == ["node.test\\Submission", "node.test\\FAX"]
    assert [[one["Address"] for one in row["Recipients"]] for row in found] == [
        ["IMCEAFAX-2@fcweb.test"],
        ["IMCEAFAX-1@fcweb.test"],
    ]
    assert code("remove", number, "--yes") == (1, f"QU-16: {number!r} is in more than one queue; use a filter")
    assert run("remove", f"Submission\\{number}", "--yes", "--with-ndr", "false")
    item.refresh_from_db()
    assert (item.state, item.message.state) == ("ready", MessageState.ROUTED)


@pytest.mark.rule("QA-10", "QO-1", "QO-3", "QO-4")
def test_what_matches_in_submission_is_removed(site, waiting):
    flood = ("remove", "Submission", "--messages", "--filter", "FromAddress -like '*@flood.test'", "--yes")

    (job,) = page(*flood, "--with-ndr", "false", "--reason", "flood")["rows"]

    assert [(one["identity"], one["outcome"]) for one in job["objects"]] == [
        (f"node.test\\Submission\\{waiting[0].pk}", "changed"),
        (f"node.test\\Submission\\{waiting[2].pk}", "changed"),
    ]
    assert (job["total"], job["changed"]) == (2, 2)
    assert subjects("Submission") == ["b", "d"]
    assert TrackingEvent.objects.filter(event="FAIL", custom_data__endswith="fc.ndr=0").count() == 2
    assert code(*flood) == (1, "nothing matched")
    (job,) = page("remove", "Submission", "--messages", "--yes")["rows"]
    assert (job["changed"], BulkJob.objects.get(pk=job["job"]).verb) == (2, "remove_ndr")
    assert subjects() == ["routed"]


@pytest.mark.rule("QA-10", "QO-1", "QU-16", "QO-5")
def test_one_message_and_one_recipient_are_removed_by_identity(site, waiting):
    assert page("remove", f"Submission\\{waiting[0].pk}", "--yes")["rows"][0]["changed"] == 1
    assert page("remove", str(waiting[1].pk), "--yes")["rows"][0]["changed"] == 1
    last = f"node.test\\Submission\\{waiting[3].pk}"
    assert page("remove", last, "--recipient", "x@fcweb.test", "--yes")["rows"][0]["changed"] == 1

    assert subjects("Submission") == ["c", "d"]
    left = MessageRecipient.objects.filter(message=waiting[3], state=RecipientState.SUBMITTED)
    assert list(left.values_list("address", flat=True)) == ["y@fcweb.test"]
    assert code("remove", last, "--recipient", "x@fcweb.test", "--yes") == (3, "nothing was changed")
    assert code("remove", f"Submission\\{waiting[0].pk}", "--yes")[1].startswith("MESSAGE_NOT_FOUND")
    assert code("remove", "Submission", "--yes")[1].startswith("QU-16")  # a queue is no single message
    assert code("remove", f"Submission\\{waiting[2].pk}", "--filter", "Size -gt 1", "--yes")[1].startswith("QU-17")
    assert code("remove", "FAX", "--messages", "--filter", "Size -gt 1", "--yes")[1].startswith("QU-17")
    assert code("remove", "Submission", "--messages", "--server", "n", "--yes")[1].startswith("QU-17")


@pytest.mark.rule("QA-10", "QO-2")
def test_while_submission_is_not_suspended_nothing_is_removed(site, waiting):
    run("resume", "Submission")
    out = StringIO()

    with pytest.raises(CommandError) as caught:
        call_command("queue", "remove", "Submission", "--messages", "--yes", stdout=out)

    assert caught.value.returncode == 3
    told = f"node.test\\Submission\\{waiting[0].pk}: unchanged, routing was not suspended"
    assert told in out.getvalue()
    assert Message.objects.filter(state=MessageState.SUBMITTED).count() == 4


@pytest.mark.rule("QA-10", "QO-2")
@pytest.mark.parametrize(
    "words",
    [("suspend",), ("resume",), ("redirect", "--to", "Fax"), ("export", "--directory", "."), ("retry",)],
)
def test_other_verbs_are_refused_for_messages_in_submission(site, waiting, words, tmp_path):
    verb, *rest = [str(tmp_path) if word == "." else word for word in words]
    one = f"Submission\\{waiting[0].pk}"

    returncode, text = code(verb, one, *rest)

    assert returncode == 1
    assert text.startswith("QO-6" if verb == "retry" else "VERB_NOT_POSSIBLE: Messages in Submission")
    assert not BulkJob.objects.exists()
    if verb not in {"retry"}:
        assert "VERB_NOT_POSSIBLE" in code(verb, "Submission", "--messages", *rest)[1]


@pytest.mark.rule("QU-15", "QA-10")
def test_each_node_has_a_submission_of_its_own(site, waiting):
    far = Node.objects.create(name="far.test", fqdn="far.test")
    Message.objects.filter(pk=waiting[1].pk).update(node=far)
    queue = submission_queue(site)
    Queue.objects.create(
        node=far,
        delivery_type=queue.delivery_type,
        next_hop_domain=queue.next_hop_domain,
        next_hop_connector=queue.next_hop_connector,
        status=QueueStatus.SUSPENDED,
    )

    assert subjects("Submission") == ["a", "b", "c", "d"]
    assert subjects("far.test\\Submission") == subjects("--queue", "Submission", "--server", "far.test") == ["b"]
    assert "QUEUE_AMBIGUOUS" in code("remove", "Submission", "--messages", "--yes")[1]
    assert page("remove", "far.test\\Submission", "--messages", "--yes")["rows"][0]["changed"] == 1
    assert subjects("Submission") == ["a", "c", "d"]


@pytest.mark.rule("QO-3")
def test_a_removal_asks_with_the_count(site, waiting, monkeypatch):
    asked = StringIO()
    monkeypatch.setattr("builtins.input", lambda: "n")

    with pytest.raises(CommandError) as caught:
        call_command("queue", "remove", "Submission", "--messages", "--filter", "Size -lt 2500", stdout=asked)

    assert (caught.value.returncode, BulkJob.objects.count()) == (3, 0)
    assert "Remove 2 with notices?" in asked.getvalue()


@pytest.mark.rule("QU-20", "QR-28")
def test_times_and_latency_of_a_message_that_waits_to_be_routed(site):
    submission_queue(site)
    submitted(site, now=NOW - timedelta(hours=1), subject="old*")

    (row,) = page("messages", "Submission", "--include-component-latency-info")["rows"]
    warned = StringIO()
    call_command("queue", "messages", "Submission", "--filter", "Subject -eq 'old*'", stdout=StringIO(), stderr=warned)

    assert row["DateReceived"] == (NOW - timedelta(hours=1)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert (row["MessageLatency"], row["ComponentLatency"], row["RetryCount"]) == ("00:00:00.00", [], 0)
    assert "a wildcard needs -like" in warned.getvalue()
