"""The messages in Submission that a filter means: SQL and Python agree, and a removal takes exactly what was listed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors import queue_filter, submission_rows
from connectors.choices import MessageState, RecipientState, Verb
from connectors.conf import transport_config
from connectors.models import JobTarget, Message, MessageRecipient, Node
from connectors.queue_filter import Filter
from connectors.queue_properties import MESSAGE
from connectors.transport import jobs
from connectors.transport.jobs import Order
from tests.message_filters import filters
from tests.queue_fixtures import fax_queue, queued, send_back, submission_queue, submitted
from tracking.models import TrackedMessage

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SUBJECTS = ["Offer", "OFFER 2", "", "a*b", "Devis n° é", "DEVIS N° É", "100 %_\\ x", "aa", "aaa"]
SENDERS = ["alice@fcweb.test", "Bob@Contoso.com", "", "x.y@sub.contoso.com"]
PATTERNS = ["*", "offer*", "*2", "a*b", "*a*a*", "aa*aa", "*é", "%", "_*", "*\\*", "", "bob@contoso.COM", "none"]
LISTS = [*PATTERNS, "*fax-1*", "b@sms.test", "routed@fcweb.test", "node.test\\submission", "far.test\\*"]


@pytest.fixture
def filled(site):
    """Messages in Submission of this node and of another, some with recipients elsewhere, beside routed ones."""
    queue = submission_queue(site)
    far = Node.objects.create(name="far.test", fqdn="far.test")
    notice = submitted(site, now=NOW, mail_from="first@x.test", subject="original")
    for number in range(30):
        message = submitted(
            site,
            now=NOW + timedelta(minutes=number),
            subject=SUBJECTS[number % len(SUBJECTS)],
            mail_from=SENDERS[number % len(SENDERS)],
            recipients=(f"IMCEAFAX-{number}@fcweb.test", "b@sms.test")[: 1 + number % 2],
            size=number * 100_000,
            priority=number % 3,
            source_ip="10.0.0.1" if number % 2 else "",
            original=notice if number % 5 == 0 else None,
        )
        if number % 4 == 0:
            facts = {"address": "routed@fcweb.test", "state": RecipientState.FAILED}
            MessageRecipient.objects.create(message=message, **facts)
        if number % 6 == 0:
            Message.objects.filter(pk=message.pk).update(node=far)
        if number % 7 == 0:
            TrackedMessage.objects.filter(pk=message.tracked_id).update(directionality="Incoming")
    queued(site, fax_queue(site), now=NOW)
    Message.objects.create(
        node=site.node,
        spool_name="x",
        content_offset=0,
        size=1,
        source="PICKUP",
        message_id="<done@x.test>",
        state=MessageState.DONE,
        received_at=NOW,
        expires_at=NOW,
    )
    return site, queue


FILTERS = filters(texts=[*PATTERNS, "10.0.0.1", "Pickup"], lists=LISTS)


@pytest.mark.rule("QU-18", "QU-19", "QU-7")
@settings(max_examples=150)
@given(text=FILTERS)
def test_the_database_and_python_find_the_same_messages(filled, text):
    wanted = queue_filter.parse(text, MESSAGE)

    listed = set(submission_rows.listed(wanted).values_list("pk", flat=True))

    everything = list(submission_rows.with_facts(submission_rows.listed(Filter())))
    assert len(everything) == 31
    matching = {row.pk for row in everything if queue_filter.matches(wanted, submission_rows.values_of(row))}
    assert listed == matching
    assert submission_rows.count(submission_rows.listed(wanted)) == len(matching)


@pytest.mark.rule("QU-7", "QU-15")
def test_a_message_waits_in_the_queue_of_its_node_and_for_the_recipients_not_routed(filled):
    site, queue = filled

    def found(text):
        return set(submission_rows.listed(queue_filter.parse(text, MESSAGE)).values_list("node__name", "pk"))

    everything = found("")
    here = {row for row in everything if row[0] == site.node.name}
    assert 0 < len(here) < len(everything)
    assert found(f"Queue -eq 'node.test\\{queue.pk}'") == found("Queue -eq 'node.test\\Submission'") == here
    assert found(f"Queue -ne 'node.test\\{queue.pk}'") == found("Queue -like 'far*'") == everything - here
    assert found("Recipients -like 'routed@*'") == set()
    assert len(found("Recipients -like 'b@sms*'")) == 15
    assert found("Status -eq 'Ready' -and RetryCount -eq 0 -and MessageLatency -lt '00:00:01'") == everything
    assert found("LastError -absent -and DeferReason -eq 'none'") == everything
    assert found("Status -eq 'Suspended'") == found("LastError -present") == found("SCL -ge 0") == set()


@pytest.mark.rule("QO-1", "QO-3", "QA-10")
@settings(max_examples=25)
@given(text=FILTERS, verb=st.sampled_from([Verb.REMOVE, Verb.REMOVE_NDR]))
def test_the_set_removed_is_the_set_listed(filled, text, verb):
    site, queue = filled
    rows = submission_rows.listed(queue_filter.parse(text, MESSAGE), queue=queue.pk)
    listed = set(rows.values_list("pk", flat=True))
    assert not rows.exclude(node=site.node).exists()
    before = set(submission_rows.listed(Filter()).values_list("pk", flat=True))

    order = Order(verb=verb, actor="ann", filter_text=text, queue=queue)
    job = jobs.run_to_end(jobs.start(site.node, order, now=NOW), config=transport_config(), now=NOW)

    assert set(JobTarget.objects.filter(job=job).values_list("message", flat=True)) == listed
    assert (job.total, job.left, job.changed) == (len(listed), 0, len(listed))
    assert set(submission_rows.listed(Filter()).values_list("pk", flat=True)) == before - listed
    Message.objects.filter(pk__in=listed).update(state=MessageState.SUBMITTED)  # for the next example
    states = [RecipientState.FAILING, RecipientState.FAILED]
    removed = MessageRecipient.objects.filter(message__in=listed, state__in=states)
    removed.exclude(address="routed@fcweb.test").update(state=RecipientState.SUBMITTED, report_due="")


@pytest.mark.rule("QU-21")
@pytest.mark.parametrize(
    ("order", "key"),
    [
        ([], lambda row: 0),
        ([("Identity", True)], lambda row: -int(row["Identity"].rpartition("\\")[2])),
        ([("Size", True)], lambda row: -row["Size"]),
        ([("Subject", False), ("Size", True)], lambda row: (row["Subject"], -row["Size"])),
        ([("Queue", False), ("Status", True)], lambda row: row["Queue"]),
    ],
)
def test_messages_are_sorted_with_identity_last(filled, order, key):
    rows = submission_rows.with_facts(submission_rows.ordered(submission_rows.listed(Filter()), order))

    shown = [(key(submission_rows.properties(message)), message.pk) for message in rows]

    assert len(shown) == 31 and shown == sorted(shown)


@pytest.mark.rule("QO-1", "QO-3")
def test_what_enters_after_the_snapshot_is_not_meant(site):
    queue = submission_queue(site)
    there = submitted(site, now=NOW)
    item = queued(site, fax_queue(site), now=NOW)  # its number is lower than the bound of any message
    snapshot = submission_rows.newest_item()
    order = Order(verb=Verb.REMOVE, actor="ann", queue=queue, last_item=snapshot)

    accepted = submitted(site, now=NOW)
    send_back(item.pk, now=NOW)

    assert set(submission_rows.listed(Filter()).values_list("pk", flat=True)) == {
        there.pk,
        accepted.pk,
        item.message_id,
    }
    job = jobs.run_to_end(jobs.start(site.node, order, now=NOW), config=transport_config(), now=NOW)
    assert (job.total, job.changed) == (1, 1)
    assert set(submission_rows.listed(Filter()).values_list("pk", flat=True)) == {accepted.pk, item.message_id}


@pytest.mark.rule("QU-21")
def test_keys_lead_through_submission_in_both_directions(filled):
    rows = submission_rows.listed(Filter())
    keys = sorted(rows.values_list("pk", flat=True))

    assert submission_rows.keys_after(rows, 0, limit=7) == keys[:7]
    assert submission_rows.keys_after(rows, keys[6], limit=7) == keys[7:14]
    assert submission_rows.keys_before(rows, keys[14], limit=7) == keys[7:14]
    assert submission_rows.count(rows, cap=5) == 5
