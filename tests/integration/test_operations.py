"""Verbs on queued messages and queues: every pair of verb and state, with a delivery in flight, and what they leave."""

from datetime import timedelta
from itertools import product
from pathlib import Path

import pytest
from auditlog.models import LogEntry
from django.utils import timezone

from connectors import choices
from connectors.choices import ItemState, JobState, MessageState, Outcome, Pending, QueueStatus, RecipientState, Verb
from connectors.conf import transport_config
from connectors.errors import FcwebError
from connectors.models import JobTarget, Message, MessageRecipient, Queue, QueueItem
from connectors.transport import deferral, jobs, leasing, operations, queue_operations
from connectors.transport.jobs import Order
from tests.queue_fixtures import fax_queue, queued
from tracking.models import TrackedMessage, TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()
_VERBS = (Verb.SUSPEND, Verb.RESUME, Verb.REMOVE, Verb.REMOVE_NDR)


def run(site, verb, **values):
    job = jobs.start(site.node, Order(verb=verb, actor="ann", reason="test", **values), now=NOW)
    return jobs.run_to_end(job, config=transport_config(), now=NOW)


def events():
    return [(e.event, e.source, e.source_context, e.custom_data) for e in TrackingEvent.objects.order_by("pk")]


def state_of(item):
    item.refresh_from_db()
    return item.state, item.pending


@pytest.mark.rule("QO-2", "QO-14", "QU-6", "RT-30", "RT-32")
@pytest.mark.parametrize(
    ("verb", "before", "after"),
    [
        (Verb.SUSPEND, (ItemState.READY, ""), (ItemState.SUSPENDED, "")),
        (Verb.SUSPEND, (ItemState.STAGING, ""), (ItemState.STAGING, Pending.SUSPEND)),
        (Verb.SUSPEND, (ItemState.STAGED, ""), (ItemState.STAGED, Pending.SUSPEND)),
        (Verb.SUSPEND, (ItemState.STAGED, Pending.REMOVE), None),
        (Verb.SUSPEND, (ItemState.SUSPENDED, ""), None),
        (Verb.SUSPEND, (ItemState.DEFERRED, ""), (ItemState.SUSPENDED, "")),
        (Verb.RESUME, (ItemState.DEFERRED, ""), None),
        (Verb.REMOVE, (ItemState.DEFERRED, ""), (ItemState.REMOVED, "")),
        (Verb.REMOVE_NDR, (ItemState.DEFERRED, ""), (ItemState.REMOVED, "")),
        (Verb.RESUBMIT, (ItemState.DEFERRED, ""), (ItemState.REMOVED, "")),
        (Verb.EXPORT, (ItemState.DEFERRED, ""), None),
        (Verb.REDIRECT, (ItemState.DEFERRED, ""), None),  # to its own queue
        (Verb.RESUME, (ItemState.SUSPENDED, ""), (ItemState.READY, "")),
        (Verb.RESUME, (ItemState.STAGING, Pending.SUSPEND), (ItemState.STAGING, "")),
        (Verb.RESUME, (ItemState.STAGING, Pending.REMOVE), None),
        (Verb.RESUME, (ItemState.STAGING, ""), None),
        (Verb.RESUME, (ItemState.READY, ""), None),
        (Verb.REMOVE, (ItemState.READY, ""), (ItemState.REMOVED, "")),
        (Verb.REMOVE, (ItemState.SUSPENDED, ""), (ItemState.REMOVED, "")),
        (Verb.REMOVE, (ItemState.STAGING, ""), (ItemState.STAGING, Pending.REMOVE)),
        (Verb.REMOVE, (ItemState.STAGING, Pending.SUSPEND), (ItemState.STAGING, Pending.REMOVE)),
        (Verb.REMOVE_NDR, (ItemState.STAGED, ""), (ItemState.STAGED, Pending.REMOVE_NDR)),
        (Verb.REMOVE, (ItemState.STAGING, Pending.REMOVE), None),
        (Verb.REDIRECT, (ItemState.STAGING, ""), None),
        (Verb.EXPORT, (ItemState.READY, ""), None),
        (Verb.EXPORT, (ItemState.STAGING, ""), None),
        (Verb.RESUBMIT, (ItemState.READY, ""), (ItemState.REMOVED, "")),
        (Verb.RESUBMIT, (ItemState.SUSPENDED, ""), None),
        (Verb.RESUBMIT, (ItemState.STAGED, ""), None),
    ],
)
def test_a_verb_meets_a_state(site, tmp_path, verb, before, after):
    queue = fax_queue(site, status=QueueStatus.RETRY)
    item = queued(site, queue, now=NOW, state=before[0])
    retry_at = NOW + timedelta(minutes=9) if before[0] == ItemState.DEFERRED else None
    QueueItem.objects.filter(pk=item.pk).update(pending=before[1], retry_at=retry_at)

    job = run(site, verb, queue=queue, connector_name="Fax", directory=str(tmp_path))

    assert state_of(item) == (after or before)
    assert item.retry_at == (retry_at if item.state == ItemState.DEFERRED else None)
    assert (job.changed, job.unchanged, job.failed, job.left) == ((1, 0, 0, 0) if after else (0, 1, 0, 0))
    target = JobTarget.objects.get()
    assert (target.outcome == Outcome.CHANGED) is bool(after)
    assert bool(target.why) is not bool(after)


@pytest.mark.rule("QO-14", "QU-7", "MT-1")
@pytest.mark.parametrize(
    ("first", "second", "ends"),
    [(first, second, ends) for first, second in product(_VERBS, repeat=2) for ends in ("fails", "refused", "succeeds")],
)
def test_two_verbs_during_a_delivery_leave_exactly_one_outcome(site, first, second, ends):
    queue = fax_queue(site)
    item = queued(site, queue, now=NOW)
    (leased,) = leasing.lease(queue, directory=str(site.drop), token="t", limit=1, folder_of=None)

    for verb in (first, second):
        run(site, verb, queue=queue)
    if ends == "fails":
        leasing.release([leased.pk])
        operations.settle_pending(site.node, now=NOW)
    elif ends == "refused":
        facts = {"text": "452 x", "context": "MailboxFull", "source": "GATEWAY", "retry_at": NOW + timedelta(minutes=9)}
        deferral.defer(queue, [leased], **facts, now=NOW)
        operations.settle_pending(site.node, now=NOW)
    else:
        leasing.settle_delivered(queue, [leased], [], owed={}, now=NOW)
        operations.settle_pending(site.node, now=NOW)

    state, pending = state_of(item)
    recipient = MessageRecipient.objects.get()
    verbs = [first, second]
    removal = next((v for v in reversed(verbs) if v in {Verb.REMOVE, Verb.REMOVE_NDR}), None)
    if ends == "succeeds":
        assert (state, pending, recipient.state) == (ItemState.DELIVERED, "", RecipientState.DELIVERED)
    elif removal is not None:
        expected = RecipientState.FAILING if removal == Verb.REMOVE_NDR else RecipientState.FAILED
        assert (state, pending, recipient.state) == (ItemState.REMOVED, "", expected)
    else:
        suspended = verbs[-1] == Verb.SUSPEND
        free = ItemState.DEFERRED if ends == "refused" else ItemState.READY
        assert (state, pending) == (ItemState.SUSPENDED if suspended else free, "")
        assert bool(item.retry_at) is (state == ItemState.DEFERRED)
        assert recipient.state == RecipientState.QUEUED


@pytest.mark.rule("MT-I", "QO-4", "MTE-6")
def test_a_silent_removal_writes_fail_and_no_notice(site, transport):
    queue = fax_queue(site, status=QueueStatus.SUSPENDED)
    item = queued(site, queue, now=NOW, with_file=True)

    run(site, Verb.REMOVE, queue=queue)
    transport(NOW)

    assert events() == [("FAIL", "ADMIN", "AdminRemove", "S:fc.actor=ann;S:fc.ndr=0")]
    assert Message.objects.get(pk=item.message_id).state == MessageState.DONE
    assert TrackedMessage.objects.get(pk=item.message.tracked_id).state == "failed"


@pytest.mark.rule("MT-H", "QO-4", "DSN-1")
def test_a_removal_with_notice_tells_the_sender(site, transport, data_dir):
    queue = fax_queue(site, status=QueueStatus.SUSPENDED)
    queued(site, queue, now=NOW, with_file=True)

    run(site, Verb.REMOVE_NDR, queue=queue)
    transport(NOW)

    told = [(event, source, custom) for event, source, _context, custom in events()]
    assert told == [("DSN", "DSN", ""), ("FAIL", "ADMIN", "S:fc.actor=ann;S:fc.ndr=1"), ("DELIVER", "STOREDRIVER", "")]
    (notice,) = (data_dir / "mailboxes" / "alice@fcweb.test" / "new").iterdir()
    assert b"Status: 5.7.1\r\n" in notice.read_bytes()
    dsn, fail = TrackingEvent.objects.filter(event__in=["DSN", "FAIL"]).order_by("pk")
    assert fail.reference == dsn.message.message_id


@pytest.mark.rule("QO-4", "DSN-7")
def test_a_null_sender_gets_no_notice_and_no_error(site, transport):
    queue = fax_queue(site, status=QueueStatus.SUSPENDED)
    queued(site, queue, now=NOW, with_file=True, mail_from="")

    run(site, Verb.REMOVE_NDR, queue=queue)
    transport(NOW)

    assert [(e, s) for e, s, _c, _d in events()] == [("FAIL", "ADMIN")]


@pytest.mark.rule("QO-5")
def test_one_recipient_is_removed_and_the_other_delivered(site, transport):
    queue = fax_queue(site, status=QueueStatus.SUSPENDED)
    addresses = ("IMCEAFAX-1@fcweb.test", "IMCEAFAX-2@fcweb.test")
    queued(site, queue, now=NOW, recipients=addresses, with_file=True)

    run(site, Verb.REMOVE, queue=queue, recipient=addresses[0])
    jobs.operate_queue(queue, Verb.RESUME, actor="ann", now=NOW)
    transport(NOW)

    (file,) = Path(site.drop).glob("*.eml")
    assert b"IMCEAFAX-2" in file.read_bytes() and b"IMCEAFAX-1" not in file.read_bytes()
    states = dict(MessageRecipient.objects.values_list("address", "state"))
    assert states == {addresses[0]: RecipientState.FAILED, addresses[1]: RecipientState.DELIVERED}


@pytest.mark.rule("QO-13", "MTE-1")
def test_a_wrong_queue_is_redirected(site, transport, data_dir):
    from connectors import configuration, drop_directory

    other = configuration.create("Other", ["SMS:*"], servers=[])
    other.source_transport_servers.add(site.node)
    drop_directory.create(other, site.node)
    transport(NOW)  # applies the new configuration
    queue = fax_queue(site, status=QueueStatus.SUSPENDED)
    queued(site, queue, now=NOW, with_file=True)

    job = run(site, Verb.REDIRECT, queue=queue, connector_name="other")
    transport(NOW)

    assert job.changed == 1
    assert TrackingEvent.objects.earliest("pk").source_context == "Fax"
    assert [e for e, _s, _c, _d in events()] == ["REDIRECT", "SEND"]
    assert len(list(drop_directory.effective_path(other, site.node).glob("*.eml"))) == 1


@pytest.mark.rule("QO-13", "DR-20")
@pytest.mark.parametrize("state", [ItemState.READY, ItemState.SUSPENDED])
def test_a_gateway_that_takes_one_recipient_a_file_gets_no_other_after_a_redirect(site, transport, data_dir, state):
    from connectors import configuration, drop_directory

    other = configuration.create("Other", ["SMS:*"], fields={"one_recipient_per_file": True})
    drop_directory.create(other, site.node)
    transport(NOW)
    queue = fax_queue(site, status=QueueStatus.SUSPENDED)
    addresses = [f"IMCEAFAX-{number}@fcweb.test" for number in range(3)]
    queued(site, queue, now=NOW, with_file=True, recipients=addresses, state=state)

    run(site, Verb.REDIRECT, queue=queue, connector_name="Other")

    assert set(QueueItem.objects.values_list("state", flat=True)) == {state}
    if state == ItemState.SUSPENDED:
        run(site, Verb.RESUME)
    transport(NOW)
    files = [path.read_bytes() for path in drop_directory.effective_path(other, site.node).glob("*.eml")]
    assert sorted([a for a in addresses if a.encode() in data] for data in files) == [[a] for a in addresses]
    assert Message.objects.get().state == MessageState.DONE


@pytest.mark.rule("QO-13")
def test_a_queue_is_not_redirected_to_a_connector_of_other_servers(site):
    from connectors import configuration
    from connectors.models import Node

    other = configuration.create("Other", ["SMS:*"])
    other.source_transport_servers.set([Node.objects.create(name="hub2.test", fqdn="hub2.test")])
    queue = fax_queue(site)
    queued(site, queue, now=NOW)

    with pytest.raises(FcwebError, match="on the server node") as caught:
        run(site, Verb.REDIRECT, queue=queue, connector_name="Other")

    assert caught.value.code == "CONNECTOR_NOT_FOUND"


@pytest.mark.rule("QO-8", "QO-9", "QO-10", "QO-11")
def test_an_export_can_be_replayed_and_its_original_removed(site, replay, transport, tmp_path):
    queue = fax_queue(site)
    first = ("IMCEAFAX-1@fcweb.test", "IMCEAFAX-2@fcweb.test")
    queued(site, queue, now=NOW, recipients=first, state=ItemState.SUSPENDED, with_file=True, message_id="<../a b/c>")
    run(site, Verb.REMOVE, queue=queue, recipient=first[0])
    out = tmp_path / "out"
    out.mkdir()

    job = run(site, Verb.EXPORT_REMOVE, queue=queue, directory=str(out))

    (file,) = out.iterdir()
    assert (job.changed, file.name.startswith("_"), "/" in file.name) == (1, True, False)
    assert QueueItem.objects.get().state == ItemState.REMOVED
    replay("again.eml", file.read_bytes())
    transport()
    (drop,) = Path(site.drop).glob("*.eml")
    assert b"IMCEAFAX-2" in drop.read_bytes() and b"IMCEAFAX-1@" not in drop.read_bytes()


@pytest.mark.rule("QO-10")
@pytest.mark.parametrize("directory", ["", "relative", "/nowhere/at/all", "/tmp/../tmp"])
def test_an_export_directory_must_exist(site, directory):
    with pytest.raises(FcwebError) as caught:
        jobs.start(site.node, Order(verb=Verb.EXPORT, actor="ann", directory=directory), now=NOW)

    assert caught.value.code == "EXPORT_DIRECTORY"


@pytest.mark.rule("QU-2", "QA-6", "RT-30", "RT-32")
@pytest.mark.parametrize(
    ("verb", "before", "retry_in", "after"),
    [
        (Verb.SUSPEND, QueueStatus.READY, None, QueueStatus.SUSPENDED),
        (Verb.SUSPEND, QueueStatus.RETRY, 5, QueueStatus.SUSPENDED),
        (Verb.SUSPEND, QueueStatus.SUSPENDED, None, None),
        (Verb.RESUME, QueueStatus.SUSPENDED, 5, QueueStatus.RETRY),
        (Verb.RESUME, QueueStatus.SUSPENDED, -5, QueueStatus.CONNECTING),
        (Verb.RESUME, QueueStatus.SUSPENDED, None, QueueStatus.CONNECTING),
        (Verb.RESUME, QueueStatus.ACTIVE, None, None),
        (Verb.RETRY, QueueStatus.RETRY, 5, QueueStatus.CONNECTING),
        (Verb.RETRY, QueueStatus.SUSPENDED, 5, None),
        (Verb.RETRY, QueueStatus.READY, None, None),
    ],
)
def test_a_queue_changes_its_status(site, verb, before, retry_in, after):
    retry_at = NOW + timedelta(minutes=retry_in) if retry_in else None
    queue = fax_queue(site, status=before, next_retry_at=retry_at)
    queued(site, queue, now=NOW)

    job = jobs.operate_queue(queue, verb, actor="ann", reason="why", now=NOW)

    queue.refresh_from_db()
    assert queue.status == (after or before)
    assert (job.changed, job.state) == (int(after is not None), JobState.DONE)
    entry = LogEntry.objects.get_for_object(job).get()
    assert (entry.additional_data["reason"], entry.additional_data["actor"]) == ("why", "ann")


@pytest.mark.rule("QA-6", "QU-4")
def test_a_queue_is_suspended_before_it_exists(site, pickup, transport):
    from connectors.models import ForeignConnector

    (queue,) = queue_operations.queues_of(site.node, ForeignConnector.objects.get(name="Fax"))
    jobs.operate_queue(queue, Verb.SUSPEND, actor="ann", now=NOW)
    pickup("a.eml", b"From: alice@fcweb.test\r\nTo: IMCEAFAX-1@fcweb.test\r\n\r\nBody\r\n")

    transport()

    assert Queue.objects.exclude(delivery_type="Undefined").count() == 1
    assert QueueItem.objects.get().state == ItemState.READY
    jobs.operate_queue(queue, Verb.RESUME, actor="ann", now=NOW)
    transport()
    assert QueueItem.objects.get().state == ItemState.DELIVERED


@pytest.mark.rule("QU-1")
def test_a_suspended_submission_queue_stops_the_categorizer(site, pickup, transport):
    queue = queue_operations.special_queue(site.node, choices.SUBMISSION_DOMAIN)
    jobs.operate_queue(queue, Verb.SUSPEND, actor="ann", now=NOW)
    pickup("a.eml", b"From: alice@fcweb.test\r\nTo: IMCEAFAX-1@fcweb.test\r\n\r\nBody\r\n")

    transport()

    assert Message.objects.get().state == MessageState.SUBMITTED
    jobs.operate_queue(queue, Verb.RESUME, actor="ann", now=NOW)
    transport()
    assert Message.objects.get().state == MessageState.DONE


@pytest.mark.rule("MT-J", "QO-7", "QR-29", "RT-32", "RT-51")
def test_retry_with_resubmit_routes_again_and_keeps_id_and_expiry(site, transport):
    queue = fax_queue(site, status=QueueStatus.RETRY, retry_count=3, next_retry_at=NOW + timedelta(hours=1))
    item = queued(site, queue, now=NOW, with_file=True)
    before = Message.objects.get()

    run(site, Verb.RESUBMIT, queue=queue)
    transport(NOW)

    after = Message.objects.get()
    assert (after.pk, after.expires_at, after.network_message_id) == (
        before.pk,
        before.expires_at,
        before.network_message_id,
    )
    assert [(e, s) for e, s, _c, _d in events()] == [("RESUBMIT", "ADMIN"), ("SEND", "GATEWAY")]
    assert TrackingEvent.objects.get(event="RESUBMIT").reference == str(item.message_id)


@pytest.mark.rule("QO-2")
def test_resubmit_needs_a_queue_in_retry(site):
    with pytest.raises(FcwebError, match="Retry"):
        run(site, Verb.RESUBMIT, queue=fax_queue(site))
