"""Messages are removed from Submission while it is suspended: what fails, what stays, what is told (QA-10)."""

from datetime import timedelta

import pytest
from auditlog.models import LogEntry
from django.db import transaction
from django.utils import timezone, translation

from connectors import choices, operation_words
from connectors.choices import ItemState, JobState, MessageState, QueueStatus, RecipientState, ReportDue, Verb
from connectors.conf import transport_config
from connectors.models import BulkJob, JobTarget, Message, MessageRecipient, Queue, QueueItem, QueueSample
from connectors.reads import queues as reads
from connectors.transport import jobs, ledger, operations, poison, queue_operations, submission_removal
from connectors.transport.jobs import Order
from connectors.transport.upkeep import Upkeep
from tests.integration.test_groups import TEAM, fax, make_group
from tests.queue_fixtures import fax_queue, queued, send_back, submission_queue, submitted
from tracking.models import TrackedMessage, TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()
FAX_1, FAX_2 = "IMCEAFAX-1@fcweb.test", "IMCEAFAX-2@fcweb.test"


def start(site, queue, verb=Verb.REMOVE, **values):
    return jobs.start(site.node, Order(verb=verb, actor="ann", reason="flood", queue=queue, **values), now=NOW)


def run(site, queue, verb=Verb.REMOVE, **values):
    return jobs.run_to_end(start(site, queue, verb, **values), config=transport_config(), now=NOW)


def events():
    return [(e.event, e.source, e.source_context, e.custom_data) for e in TrackingEvent.objects.order_by("pk")]


def wrong(site):
    return [(v.kind, v.recipient) for _looked, batch in ledger.check_all(site.node) for v in batch]


def states(message):
    return list(message.recipients.order_by("pk").values_list("address", "state"))


@pytest.fixture
def suspended(site):
    return submission_queue(site)


@pytest.mark.rule("QA-10", "MT-I", "QO-4", "MT-1")
def test_a_silent_removal_writes_fail_and_no_notice(site, suspended, transport):
    message = submitted(site, now=NOW, recipients=(FAX_1, FAX_2), with_file=True)

    run(site, suspended)
    transport(NOW)

    assert events()[1:] == [("FAIL", "ADMIN", "AdminRemove", "S:fc.actor=ann;S:fc.ndr=0")]
    fail = TrackingEvent.objects.get(event="FAIL")
    assert list(fail.recipients.order_by("pk").values_list("address", "status")) == [
        (FAX_1, "550 5.7.1 QUEUE.Admin; message removed by an administrator"),
        (FAX_2, "550 5.7.1 QUEUE.Admin; message removed by an administrator"),
    ]
    message.refresh_from_db()
    assert (message.state, message.done_at) == (MessageState.DONE, NOW)
    assert states(message) == [(FAX_1, RecipientState.FAILED), (FAX_2, RecipientState.FAILED)]
    tracked = TrackedMessage.objects.get(pk=message.tracked_id)
    assert (tracked.state, tracked.failed) == ("failed", 2)
    assert wrong(site) == []


@pytest.mark.rule("QA-10", "MT-H", "QO-4", "DSN-1", "MT-1")
def test_a_removal_with_notice_tells_the_sender_when_routing_goes_on(site, suspended, transport, data_dir):
    message = submitted(site, now=NOW, with_file=True)
    null = submitted(site, now=NOW, mail_from="", with_file=True)

    run(site, suspended, Verb.REMOVE_NDR)
    assert states(message) == [(FAX_1, RecipientState.FAILING)]
    transport(NOW)
    assert wrong(site) == []
    jobs.operate_queue(suspended, Verb.RESUME, actor="ann", now=NOW)
    transport(NOW)

    told = [(event, source, custom) for event, source, _context, custom in events()][2:]
    fail = ("FAIL", "ADMIN", "S:fc.actor=ann;S:fc.ndr=1")
    assert told == [("DSN", "DSN", ""), fail, fail, ("DELIVER", "STOREDRIVER", "")]
    (notice,) = (data_dir / "mailboxes" / "alice@fcweb.test" / "new").iterdir()
    assert b"Status: 5.7.1\r\n" in notice.read_bytes()
    dsn, named, unnamed = TrackingEvent.objects.filter(event__in=["DSN", "FAIL"]).order_by("pk")
    assert (named.reference, unnamed.reference) == (dsn.message.message_id, "")
    assert set(Message.objects.filter(pk__in=[message.pk, null.pk]).values_list("state", flat=True)) == {"done"}
    assert wrong(site) == []


@pytest.mark.rule("QO-2", "QA-10")
@pytest.mark.parametrize("language, words", [("en", "routing was not suspended"), ("fr", "le routage n’était pas")])
def test_while_routing_goes_on_nothing_is_removed_and_the_reason_is_told(site, language, words):
    queue = submission_queue(site, status=QueueStatus.READY)
    message = submitted(site, now=NOW)

    job = run(site, queue)

    assert (job.total, job.changed, job.unchanged, job.state) == (1, 0, 1, JobState.DONE)
    assert states(message) == [(FAX_1, RecipientState.SUBMITTED)]
    with translation.override(language):
        assert words in operation_words.why(JobTarget.objects.get().why)


@pytest.mark.rule("QA-10", "QO-2")
def test_routing_that_is_resumed_on_the_way_keeps_the_rest(site, suspended, transport, monkeypatch):
    monkeypatch.setattr(jobs, "_USUAL_BATCH", 2)
    kept = [submitted(site, now=NOW, with_file=True) for _number in range(5)][2:]
    job = start(site, suspended)
    assert jobs.work(job.pk, config=transport_config(), now=NOW) == 2

    jobs.operate_queue(suspended, Verb.RESUME, actor="bob", now=NOW)
    assert jobs.work(job.pk, config=transport_config(), now=NOW) == 2
    transport(NOW)

    job.refresh_from_db()
    assert (job.changed, job.unchanged, job.state) == (2, 2, JobState.DONE)  # the fifth was routed meanwhile
    delivered = QueueItem.objects.filter(state=ItemState.DELIVERED).order_by("pk")
    assert list(delivered.values_list("message", flat=True)) == [message.pk for message in kept]
    assert wrong(site) == []


@pytest.mark.rule("QO-14", "QO-3")
def test_a_cancelled_removal_leaves_the_rest(site, suspended, monkeypatch):
    monkeypatch.setattr(jobs, "_USUAL_BATCH", 2)
    for _number in range(5):
        submitted(site, now=NOW)
    job = start(site, suspended)
    jobs.work(job.pk, config=transport_config(), now=NOW)

    jobs.cancel(job, user=None, actor="bob", now=NOW)

    assert jobs.work(job.pk, config=transport_config(), now=NOW) == 0
    assert Message.objects.filter(state=MessageState.SUBMITTED).count() == 3


@pytest.mark.rule("QO-12", "QA-10")
def test_the_removal_is_audited_with_its_set(site, suspended):
    message = submitted(site, now=NOW, subject="spam")
    submitted(site, now=NOW, subject="mail")

    job = run(site, suspended, Verb.REMOVE_NDR, filter_text="Subject -eq 'spam'")

    begun, ended = LogEntry.objects.get_for_object(job).order_by("pk")
    facts = {"queue": "node.test\\Submission", "filter": "Subject -eq 'spam'", "with_ndr": True, "reason": "flood"}
    assert begun.additional_data | facts | {"total": 1, "changed": 0} == begun.additional_data
    assert ended.additional_data | facts | {"total": 1, "changed": 1} == ended.additional_data
    target = JobTarget.objects.get()
    assert (target.message, target.before, target.after) == (message.pk, "submitted", "removed")


@pytest.mark.rule("QO-5", "QU-7", "MT-1")
@pytest.mark.parametrize("verb", [Verb.REMOVE, Verb.REMOVE_NDR])
def test_a_copy_in_another_queue_stays_and_is_delivered(site, suspended, transport, verb):
    queue = fax_queue(site, status=QueueStatus.SUSPENDED)
    item = queued(site, queue, now=NOW, recipients=(FAX_1, FAX_2), with_file=True)
    second = MessageRecipient.objects.get(address=FAX_2)
    own = QueueItem.objects.create(queue=queue, message=item.message, entered_at=NOW)
    MessageRecipient.objects.filter(pk=second.pk).update(item=own)
    QueueItem.objects.filter(pk=item.pk).update(is_whole=False)
    send_back(own.pk, now=NOW)
    assert Message.objects.get().state == MessageState.SUBMITTED

    run(site, suspended, verb)
    transport(NOW)

    assert states(item.message) == [(FAX_1, RecipientState.QUEUED), (FAX_2, RecipientState.FAILED)]
    assert Message.objects.get(pk=item.message_id).state == MessageState.ROUTED
    assert wrong(site) == []
    jobs.operate_queue(queue, Verb.RESUME, actor="ann", now=NOW)
    transport(NOW)
    assert states(item.message) == [(FAX_1, RecipientState.DELIVERED), (FAX_2, RecipientState.FAILED)]
    assert Message.objects.get(pk=item.message_id).state == MessageState.DONE
    assert TrackedMessage.objects.get(pk=item.message.tracked_id).state == "partly"
    (file,) = site.drop.glob("*.eml")
    assert b"IMCEAFAX-1" in file.read_bytes() and b"IMCEAFAX-2" not in file.read_bytes()


@pytest.mark.rule("QO-5")
def test_one_recipient_is_removed_and_the_other_routed(site, suspended, transport):
    message = submitted(site, now=NOW, recipients=(FAX_1, FAX_2), with_file=True)
    other = submitted(site, now=NOW, recipients=(FAX_2,))

    job = run(site, suspended, items=(message.pk, other.pk), recipient=FAX_1.upper())

    found = {target.message: (target.outcome, target.after, target.why) for target in JobTarget.objects.all()}
    assert found[message.pk] == ("changed", "submitted-recipient", "")
    assert found[other.pk] == ("unchanged", "submitted", "recipient_unknown")
    assert (job.changed, job.unchanged) == (1, 1)
    assert states(message) == [(FAX_1, RecipientState.FAILED), (FAX_2, RecipientState.SUBMITTED)]
    assert Message.objects.filter(state=MessageState.SUBMITTED).count() == 2
    assert wrong(site) == []
    run(site, suspended, items=(other.pk,))
    jobs.operate_queue(suspended, Verb.RESUME, actor="ann", now=NOW)
    transport(NOW)
    (file,) = site.drop.glob("*.eml")
    assert b"IMCEAFAX-2" in file.read_bytes() and b"IMCEAFAX-1" not in file.read_bytes()


@pytest.mark.rule("QO-5", "MT-1", "MT-D")
def test_a_recipient_that_failed_already_keeps_its_own_fate(site, suspended, transport):
    message = submitted(site, now=NOW, recipients=(FAX_1, "wrong"), with_file=True)
    bad = {"status_text": "550 5.1.3 x", "fail_source": "PICKUP", "fail_context": "a.eml"}
    wrong_one = MessageRecipient.objects.filter(address="wrong")
    wrong_one.update(state=RecipientState.FAILING, report_due=ReportDue.FAILED, **bad)

    run(site, suspended)
    assert Message.objects.get(pk=message.pk).state == MessageState.ROUTED  # its notice is owed
    transport(NOW)

    fails = TrackingEvent.objects.filter(event="FAIL").order_by("pk").values_list("source", "recipients__address")
    assert list(fails) == [("ADMIN", FAX_1), ("PICKUP", "wrong")]
    assert Message.objects.filter(source="DSN").count() == 1
    assert Message.objects.get(pk=message.pk).state == MessageState.DONE
    assert wrong(site) == []


@pytest.mark.rule("MT-K", "MT-1", "QA-10")
def test_a_group_is_removed_before_it_was_expanded(site, suspended, pickup, transport):
    make_group("team@fcweb.test", fax("dora", "5551"), fax("emil", "5552"))
    pickup("a.eml", TEAM)
    transport(NOW)

    run(site, suspended)
    transport(NOW)

    message = Message.objects.get()
    assert (message.state, states(message)) == (MessageState.DONE, [("team@fcweb.test", RecipientState.FAILED)])
    assert TrackedMessage.objects.get().state == "failed"
    assert wrong(site) == []


@pytest.mark.rule("MT-K", "MT-1", "QA-10")
def test_members_that_came_back_are_removed_and_the_group_stays_expanded(site, suspended, pickup, transport):
    make_group("team@fcweb.test", fax("dora", "5551"), fax("emil", "5552"))
    queue = fax_queue(site, status=QueueStatus.SUSPENDED)
    Queue.objects.filter(pk=suspended.pk).update(status=QueueStatus.READY)
    pickup("a.eml", TEAM)
    transport(NOW)
    Queue.objects.filter(pk=suspended.pk).update(status=QueueStatus.SUSPENDED)
    keys = list(QueueItem.objects.filter(queue=queue).values_list("pk", flat=True))
    send_back(*keys, now=NOW)

    run(site, suspended)
    transport(NOW)

    message = Message.objects.get()
    assert message.state == MessageState.DONE
    assert [state for _address, state in states(message)] == ["expanded", "failed", "failed"]
    tracked = TrackedMessage.objects.get()
    assert (tracked.state, tracked.recipients, tracked.failed) == ("failed", 2, 2)
    assert wrong(site) == []


@pytest.mark.rule("QR-52", "QU-4")
def test_a_copy_in_poison_stays_there(site, suspended):
    item = queued(site, fax_queue(site), now=NOW, recipients=(FAX_1, FAX_2), crash_count=1)
    poison.note_crash(site.node, [item.message_id], config=transport_config(), now=NOW)
    own = QueueItem.objects.create(
        queue=queue_operations.special_queue(site.node, choices.POISON_DOMAIN),
        message=item.message,
        state=ItemState.SUSPENDED,
        entered_at=NOW,
    )
    MessageRecipient.objects.filter(address=FAX_2).update(item=own)
    with transaction.atomic():
        operations.apply(BulkJob(node=site.node, actor="ann", verb=Verb.RESUME), operations.lock([own.pk]), now=NOW)

    run(site, suspended)

    assert Message.objects.get().state == MessageState.ROUTED
    item.refresh_from_db()
    assert (item.state, item.queue.next_hop_domain) == (ItemState.SUSPENDED, choices.POISON_DOMAIN)
    assert states(item.message) == [(FAX_1, RecipientState.QUEUED), (FAX_2, RecipientState.FAILED)]


@pytest.mark.rule("QO-4", "QR-31")
@pytest.mark.parametrize("where", ["submission", "queue"])
def test_who_is_removed_silently_is_not_told_of_a_delay_any_more(site, suspended, transport, where):
    if where == "submission":
        queue = suspended
        submitted(site, now=NOW, with_file=True)
    else:
        queue = fax_queue(site, status=QueueStatus.SUSPENDED)
        queued(site, queue, now=NOW, with_file=True)
    MessageRecipient.objects.update(report_due=ReportDue.DELAYED)

    run(site, queue)
    transport(NOW)

    assert Message.objects.get().state == MessageState.DONE  # and no notice beside it
    assert MessageRecipient.objects.get().report_due == ""


@pytest.mark.rule("QX-2", "QU-13", "QA-10")
def test_counts_fall_and_what_was_removed_is_no_rate(site, suspended):
    upkeep = Upkeep(site.node, config=transport_config())
    upkeep.run_once(NOW)
    for number in range(4):
        submitted(site, now=NOW, subject=f"s{number}")
    upkeep.run_once(NOW + timedelta(seconds=5))
    assert reads.summaries(suspended.pk, now=NOW)[0].waiting == 4

    run(site, suspended, filter_text="Subject -like 's*' -and Subject -ne 's3'")
    upkeep.run_once(NOW + timedelta(seconds=10))

    assert (reads.summaries(suspended.pk, now=NOW)[0].waiting, reads.unrouted()) == (1, 1)
    assert list(QueueSample.objects.order_by("pk").values_list("incoming", "outgoing")) == [(4, 0)]


@pytest.mark.rule("QO-14", "QA-10", "MT-2")
def test_a_batch_that_breaks_leaves_nothing_half_done(site, suspended, monkeypatch):
    message = submitted(site, now=NOW)
    job = start(site, suspended)

    def broken(*args, **values):
        raise OSError("no more")

    monkeypatch.setattr(submission_removal.leasing, "close_messages", broken)
    with pytest.raises(OSError, match="no more"):
        jobs.work(job.pk, config=transport_config(), now=NOW)
    job.refresh_from_db()
    assert (job.cursor, job.changed, states(message)) == (0, 0, [(FAX_1, RecipientState.SUBMITTED)])
    monkeypatch.undo()
    assert jobs.run_to_end(job, config=transport_config(), now=NOW).changed == 1
