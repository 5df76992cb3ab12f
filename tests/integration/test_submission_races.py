"""Removal from Submission beside routing, expiry, delivery and reports: each message has one end (QA-10, PostgreSQL)."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from connectors.choices import JobState, MessageState, QueueStatus, RecipientState, Verb
from connectors.conf import transport_config
from connectors.models import BulkJob, JobTarget, Message, MessageRecipient, Queue, QueueItem
from connectors.transport import categorizer, jobs
from connectors.transport.upkeep import expire_submitted
from tests.integration.test_submission_removal import start, states, wrong
from tests.queue_fixtures import fax_queue, fill, queued, send_back, submission_queue

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()
FAX_1, FAX_2 = "IMCEAFAX-1@fcweb.test", "IMCEAFAX-2@fcweb.test"


@pytest.fixture
def suspended(site):
    return submission_queue(site)


def beside(work):
    """Do work in a transaction of another connection; it commits when the returned event is set."""
    done, may_commit = threading.Event(), threading.Event()

    def other():
        try:
            with transaction.atomic():
                work()
                done.set()
                may_commit.wait(30)
        finally:
            connections.close_all()

    thread = threading.Thread(target=other)
    thread.start()
    assert done.wait(30)
    return thread, may_commit


def in_thread(work):
    def other():
        try:
            work()
        finally:
            connections.close_all()

    thread = threading.Thread(target=other)
    thread.start()
    return thread


def waits_for_a_lock():
    """Return once some other connection of this database waits for a row."""
    for _round in range(3000):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if cursor.fetchone()[0]:
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits for a lock")


two_writers = pytest.mark.skipif("connection.vendor == 'sqlite'", reason="SQLite has one writer")


@two_writers
@pytest.mark.rule("QA-10", "QO-14", "MT-1", "QU-7")
def test_what_is_being_routed_is_routed_and_the_rest_removed(site, suspended):
    """The categorizer began before the queue was suspended, and ends in the middle of the removal."""
    fill(site.node, None, 10, now=NOW)
    Queue.objects.filter(pk=suspended.pk).update(status=QueueStatus.READY)
    routing, may_commit = beside(lambda: categorizer.run_once(site.node, limit=4, now=NOW))
    jobs.operate_queue(suspended, Verb.SUSPEND, actor="ann", now=NOW)

    job = start(site, suspended)
    assert job.total == 10
    removal = in_thread(lambda: jobs.run_to_end(job, config=transport_config(), now=NOW))
    waits_for_a_lock()
    may_commit.set()
    removal.join(30)
    routing.join(30)

    job = BulkJob.objects.get(pk=job.pk)
    assert (job.state, job.changed, job.unchanged) == (JobState.DONE, 6, 4)
    assert set(JobTarget.objects.filter(job=job, outcome="unchanged").values_list("why", flat=True)) == {"gone"}
    routed = set(QueueItem.objects.values_list("message", flat=True))
    failed = set(MessageRecipient.objects.filter(state=RecipientState.FAILED).values_list("message", flat=True))
    assert (len(routed), len(failed), routed & failed) == (4, 6, set())
    assert not Message.objects.filter(state=MessageState.SUBMITTED).exists()
    assert wrong(site) == []


@two_writers
@pytest.mark.rule("QA-10", "QO-14", "MT-1")
def test_what_is_being_removed_is_neither_routed_nor_expired(site, suspended):
    fill(site.node, None, 3, now=NOW)
    job = start(site, suspended)
    removal, may_commit = beside(lambda: jobs.work(job.pk, config=transport_config(), now=NOW))

    assert categorizer.run_once(site.node, limit=100, now=NOW) == 0
    assert expire_submitted(site.node, now=NOW + timedelta(days=9)) == 0
    may_commit.set()
    removal.join(30)

    assert set(MessageRecipient.objects.values_list("state", flat=True)) == {RecipientState.FAILED}
    assert not QueueItem.objects.exists()


@two_writers
@pytest.mark.rule("QA-10", "QO-14")
def test_routing_is_not_resumed_in_the_middle_of_a_batch(site, suspended):
    fill(site.node, None, 3, now=NOW)
    job = start(site, suspended)
    removal, may_commit = beside(lambda: jobs.work(job.pk, config=transport_config(), now=NOW))

    resuming = in_thread(lambda: jobs.operate_queue(suspended, Verb.RESUME, actor="bob", now=NOW))
    waits_for_a_lock()
    assert Queue.objects.get(pk=suspended.pk).status == QueueStatus.SUSPENDED
    may_commit.set()
    removal.join(30)
    resuming.join(30)

    assert Queue.objects.get(pk=suspended.pk).status == QueueStatus.READY
    assert BulkJob.objects.get(pk=job.pk).changed == 3


@two_writers
@pytest.mark.rule("QO-5", "QU-7")
def test_a_copy_that_comes_back_during_the_removal_is_not_meant(site, suspended):
    item = queued(site, fax_queue(site), now=NOW, recipients=(FAX_1, FAX_2))
    MessageRecipient.objects.filter(address=FAX_2).update(item=None, state=RecipientState.SUBMITTED)
    Message.objects.update(state=MessageState.SUBMITTED)
    job = start(site, suspended)
    coming, may_commit = beside(lambda: send_back(item.pk, now=NOW))

    removal = in_thread(lambda: jobs.run_to_end(job, config=transport_config(), now=NOW))
    waits_for_a_lock()
    may_commit.set()
    removal.join(30)
    coming.join(30)

    assert JobTarget.objects.get().why == "came_back"
    assert states(item.message) == [(FAX_1, RecipientState.SUBMITTED), (FAX_2, RecipientState.SUBMITTED)]
    assert Message.objects.get().state == MessageState.SUBMITTED


@two_writers
@pytest.mark.rule("MT-1", "QO-5")
@pytest.mark.parametrize("first", ["delivery", "removal"])
def test_the_last_of_two_that_settle_a_message_closes_it(site, suspended, first):
    from connectors.transport import leasing

    queue = fax_queue(site)
    item = queued(site, queue, now=NOW, recipients=(FAX_1, FAX_2))
    MessageRecipient.objects.filter(address=FAX_2).update(item=None, state=RecipientState.SUBMITTED)
    leased = leasing.lease(queue, directory=str(site.drop), token="t", limit=1, folder_of=None)
    Message.objects.update(state=MessageState.SUBMITTED)
    job = start(site, suspended)
    settle = {
        "delivery": lambda: leasing.settle_delivered(queue, leased, [], owed={}, now=NOW),
        "removal": lambda: jobs.work(job.pk, config=transport_config(), now=NOW),
    }

    earlier, may_commit = beside(settle.pop(first))
    ((_name, work),) = settle.items()
    later = in_thread(work)
    waits_for_a_lock()
    may_commit.set()
    earlier.join(30)
    later.join(30)

    assert states(item.message) == [(FAX_1, RecipientState.DELIVERED), (FAX_2, RecipientState.FAILED)]
    assert Message.objects.get().state == MessageState.DONE
