"""What may be done where (3.1), how a queue's status moves (1.4), and what retry, removal and export leave behind."""

from datetime import timedelta
from pathlib import Path

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import Group
from django.utils import timezone

from connectors import choices, queue_rows
from connectors.choices import DeliveryType, ItemState, MessageState, QueueStatus, RecipientState, Verb
from connectors.conf import transport_config
from connectors.errors import FcwebError
from connectors.mail import replay_format
from connectors.models import BulkJob, JobTarget, Message, MessageRecipient, Queue, QueueItem
from connectors.queue_filter import Filter
from connectors.reads import queues as reads
from connectors.transport import exports, jobs, leasing, poison, queue_operations
from connectors.transport import queue as queues
from connectors.transport.couriers.drop import DropCourier
from connectors.transport.delivery import Delivery
from connectors.transport.jobs import Order
from connectors.transport.upkeep import Upkeep
from tests.queue_fixtures import fax_queue, queued, submission_queue, submitted
from tracking.models import TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()
FAX = b"From: alice@fcweb.test\r\nTo: IMCEAFAX-1@fcweb.test\r\nSubject: s\r\n\r\nBody\r\n"


def run(site, verb, **values):
    job = jobs.start(site.node, Order(verb=verb, actor="ann", reason="r", **values), now=NOW)
    return jobs.run_to_end(job, config=transport_config(), now=NOW)


def unreachable_queue(site):
    return Queue.objects.create(
        node=site.node,
        delivery_type=DeliveryType.UNREACHABLE,
        next_hop_domain="Unreachable Domain",
        next_hop_connector=queues.ZERO_GUID,
    )


def place(site, name):
    """Return a queue of this kind and a message that waits in it."""
    if name == "Submission":
        submitted(site, now=NOW, with_file=True)
        return submission_queue(site, status=QueueStatus.READY)
    if name == "Poison":
        item = queued(site, fax_queue(site), now=NOW, with_file=True)
        Message.objects.filter(pk=item.message_id).update(crash_count=1)
        poison.note_crash(site.node, [item.message_id], config=transport_config(), now=NOW)
        return queue_operations.special_queue(site.node, choices.POISON_DOMAIN)
    queue = (
        unreachable_queue(site) if name == "Unreachable" else fax_queue(site, status=QueueStatus.RETRY, retry_count=1)
    )
    queued(site, queue, now=NOW, with_file=True)
    return queue


# 3.1, row by row: operation -> may it be done in Submission, a delivery queue, Unreachable, Poison.
_QUEUE_VERBS = {
    Verb.SUSPEND: (True, True, True, False),
    Verb.RETRY: (False, True, False, False),  # Unreachable only with resubmit
}


@pytest.mark.rule("QO-2", "QO-6", "QU-1", "QU-3", "QU-4")
@pytest.mark.parametrize("verb", _QUEUE_VERBS)
@pytest.mark.parametrize("column, name", list(enumerate(("Submission", "Delivery", "Unreachable", "Poison"))))
def test_a_queue_verb_is_possible_where_the_table_says(site, verb, column, name):
    queue = place(site, name)
    before = list(QueueItem.objects.order_by("pk").values_list("state", flat=True))

    job = jobs.operate_queue(queue, verb, actor="ann", now=NOW)

    assert bool(job.changed) is _QUEUE_VERBS[verb][column]
    assert bool(JobTarget.objects.get(job=job).why) is not bool(job.changed)
    assert list(QueueItem.objects.order_by("pk").values_list("state", flat=True)) == before  # messages keep theirs
    if verb == Verb.SUSPEND and job.changed:
        assert jobs.operate_queue(queue, Verb.SUSPEND, actor="ann", now=NOW).changed == 0  # required: not suspended
        assert jobs.operate_queue(queue, Verb.RESUME, actor="ann", now=NOW).changed == 1
        assert jobs.operate_queue(queue, Verb.RESUME, actor="ann", now=NOW).changed == 0  # required: suspended


@pytest.mark.rule("QO-2", "QO-7", "QU-3")
@pytest.mark.parametrize(
    "name, is_possible", [("Submission", False), ("Delivery", True), ("Unreachable", True), ("Poison", False)]
)
def test_a_queue_is_resubmitted_where_the_table_says(site, name, is_possible):
    queue = place(site, name)
    if not is_possible:
        with pytest.raises(FcwebError, match="Retry"):
            run(site, Verb.RESUBMIT, queue=queue)
        return
    suspended = queued(site, queue, now=NOW, state=ItemState.SUSPENDED)

    assert run(site, Verb.RESUBMIT, queue=queue).changed == 1

    assert Message.objects.filter(state=MessageState.SUBMITTED).count() == 1
    suspended.refresh_from_db()
    assert suspended.state == ItemState.SUSPENDED


_MESSAGE_VERBS = {
    Verb.SUSPEND: {"Delivery": ItemState.SUSPENDED, "Unreachable": ItemState.SUSPENDED, "Poison": None},
    Verb.RESUME: {"Delivery": ItemState.READY, "Unreachable": ItemState.READY, "Poison": ItemState.REMOVED},
    Verb.REMOVE: dict.fromkeys(("Delivery", "Unreachable", "Poison"), ItemState.REMOVED),
    Verb.EXPORT: dict.fromkeys(("Delivery", "Unreachable", "Poison"), ItemState.SUSPENDED),
}


@pytest.mark.rule("QO-2", "QO-8", "QU-3", "QU-4")
@pytest.mark.parametrize(
    ("verb", "name", "after"),
    [(verb, name, after) for verb, places in _MESSAGE_VERBS.items() for name, after in places.items()],
)
def test_a_message_verb_is_possible_where_the_table_says(site, tmp_path, verb, name, after):
    queue = place(site, name)
    if verb in {Verb.RESUME, Verb.EXPORT}:  # required state
        QueueItem.objects.update(state=ItemState.SUSPENDED)

    job = run(site, verb, queue=queue, directory=str(tmp_path) if verb == Verb.EXPORT else "")

    assert bool(job.changed) is (after is not None)
    assert QueueItem.objects.get().state == (after or ItemState.SUSPENDED)
    if verb == Verb.RESUME and name == "Poison":  # resume is resubmission there
        assert Message.objects.get().state == MessageState.SUBMITTED


# The column of Submission: nothing but removal, and that only while nothing is routed (QA-10).
_IN_SUBMISSION = {
    Verb.SUSPEND: None,
    Verb.RESUME: None,
    Verb.REDIRECT: None,
    Verb.EXPORT: None,
    Verb.EXPORT_REMOVE: None,
    Verb.RESUBMIT: None,
    Verb.REMOVE: (MessageState.DONE, RecipientState.FAILED),
    Verb.REMOVE_NDR: (MessageState.ROUTED, RecipientState.FAILING),  # until the notice is written
}


@pytest.mark.rule("QO-2", "QU-1", "QU-7", "QA-10")
@pytest.mark.parametrize("status", [QueueStatus.READY, QueueStatus.SUSPENDED])
@pytest.mark.parametrize("verb", _IN_SUBMISSION)
def test_a_message_verb_meets_a_message_in_submission(site, out, verb, status):
    queue = place(site, "Submission")
    Queue.objects.filter(pk=queue.pk).update(status=status)
    values = {"directory": str(out)} if verb in {Verb.EXPORT, Verb.EXPORT_REMOVE} else {"connector_name": "Fax"}

    def state():
        return Message.objects.get().state, MessageRecipient.objects.get().state

    if _IN_SUBMISSION[verb] is None:
        with pytest.raises(FcwebError, match="Submission"):
            run(site, verb, queue=queue, **values)
        assert (BulkJob.objects.count(), list(out.iterdir())) == (0, [])
        assert state() == (MessageState.SUBMITTED, RecipientState.SUBMITTED)
        return

    job = run(site, verb, queue=queue)

    is_suspended = status == QueueStatus.SUSPENDED
    assert (job.total, job.changed, job.unchanged) == (1, int(is_suspended), int(not is_suspended))
    assert state() == (_IN_SUBMISSION[verb] if is_suspended else (MessageState.SUBMITTED, RecipientState.SUBMITTED))
    target = JobTarget.objects.get()
    assert (target.message, target.item) == (Message.objects.get().pk, 0)
    assert target.why == ("" if is_suspended else "submission_not_suspended")


@pytest.mark.rule("QO-2", "QO-14")
def test_a_resumed_message_does_not_leave_a_suspended_queue(site, transport):
    queue = fax_queue(site, status=QueueStatus.SUSPENDED)
    queued(site, queue, now=NOW, state=ItemState.SUSPENDED, with_file=True)

    run(site, Verb.RESUME, queue=queue)
    transport(NOW)
    assert QueueItem.objects.get().state == ItemState.READY

    jobs.operate_queue(queue, Verb.RESUME, actor="ann", now=NOW)
    transport(NOW)
    assert QueueItem.objects.get().state == ItemState.DELIVERED


@pytest.mark.rule("QO-2")
def test_a_message_suspended_by_itself_stays_when_its_queue_is_resumed(site, transport):
    queue = fax_queue(site, status=QueueStatus.SUSPENDED)
    stays = queued(site, queue, now=NOW, state=ItemState.SUSPENDED, with_file=True)
    queued(site, queue, now=NOW, with_file=True)

    jobs.operate_queue(queue, Verb.RESUME, actor="ann", now=NOW)
    transport(NOW)

    assert list(QueueItem.objects.filter(state=ItemState.SUSPENDED)) == [stays]
    assert QueueItem.objects.filter(state=ItemState.DELIVERED).count() == 1


@pytest.fixture
def out(tmp_path):
    """A directory to export into."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def seen(queue):
    """Return the status people see."""
    return reads.summaries(queue.pk, now=NOW)[0].status


class Probing(DropCourier):
    """A drop courier that notes the status its queue has while the next hop is opened."""

    seen = ""

    def directory(self, queue):
        self.seen = Queue.objects.get(pk=queue.pk).status
        return super().directory(queue)


@pytest.fixture
def probing(site):
    config = transport_config()
    delivery = Delivery(site.node, config=config, token="me")
    courier = Probing(config)
    delivery.couriers = {DeliveryType.NON_SMTP_GATEWAY: courier}
    return delivery, courier


@pytest.mark.rule("QU-2")
def test_the_status_of_a_queue_moves_as_the_table_says(site, probing):
    delivery, courier = probing
    queue = fax_queue(site)
    assert seen(queue) == "Ready"
    queued(site, queue, now=NOW, with_file=True)
    assert seen(queue) == "Connecting"  # Ready, a message arrives

    away = site.drop.with_name("away")
    Path(site.drop).rename(away)
    delivery.run_once(NOW)
    assert seen(queue) == "Retry"  # Connecting, failed
    queue.refresh_from_db()
    delivery.run_once(queue.next_retry_at - timedelta(seconds=1))
    assert courier.seen == "Ready"  # not tried before its time
    delivery.run_once(queue.next_retry_at)
    assert (courier.seen, seen(queue)) == ("Connecting", "Retry")  # NextRetryTime reached, failed again

    jobs.operate_queue(queue, Verb.RETRY, actor="ann", now=NOW)
    assert seen(queue) == "Connecting"  # manual retry
    away.rename(site.drop)
    (leased,) = leasing.lease(queue, directory=str(site.drop), token="t", limit=1, folder_of=None)
    assert seen(queue) == "Active"  # opened
    jobs.operate_queue(queue, Verb.SUSPEND, actor="ann", now=NOW)
    leasing.settle_delivered(queue, [leased], [], owed={}, now=NOW)  # the transfer in progress finishes
    assert seen(queue) == "Suspended"
    jobs.operate_queue(queue, Verb.RESUME, actor="ann", now=NOW)
    assert seen(queue) == "Ready"  # the state its content implies

    QueueItem.objects.all().delete()
    Upkeep(site.node, config=transport_config()).run_once(NOW + timedelta(hours=1))
    assert not Queue.objects.filter(pk=queue.pk).exists()  # idle for too long


@pytest.mark.rule("QU-2", "QU-8")
def test_the_first_message_makes_a_queue_of_its_next_hop_key(site, pickup):
    from connectors.transport import categorizer
    from connectors.transport import pickup as stage
    from connectors.transport.intake import Intake

    pickup("a.eml", FAX.replace(b"To: ", b"To: IMCEAFAX-2@fcweb.test, alice@fcweb.test, x@nowhere.test, "))
    Intake(stage.door(site.node), config=transport_config(), token="t").run_once(NOW)
    assert Message.objects.get().state == MessageState.SUBMITTED
    assert not QueueItem.objects.exists()  # in Submission it is in no other queue

    categorizer.run_once(site.node, limit=9, now=NOW)

    from connectors.models import ForeignConnector

    guid = ForeignConnector.objects.get(name="Fax").guid
    keys = set(QueueItem.objects.values_list("queue__delivery_type", "queue__next_hop_connector", "message"))
    number = Message.objects.get().pk  # one message, one number in all its queues
    assert keys == {
        ("NonSmtpGatewayDelivery", guid, number),
        ("SmtpDeliveryToMailbox", queues.ZERO_GUID, number),
        ("Unreachable", queues.ZERO_GUID, number),
    }
    assert QueueItem.objects.count() == 3  # two fax numbers share one queue and one copy
    made = Queue.objects.exclude(delivery_type__in=["Undefined", "Unreachable"])
    assert set(made.values_list("status", flat=True)) == {"Connecting"}


@pytest.mark.rule("QU-3")
def test_unreachable_holds_every_domain_and_is_routed_again_when_the_configuration_changes(site, pickup, transport):
    from connectors import configuration, drop_directory

    for number, domain in enumerate((b"one.test", b"two.test")):
        pickup(f"{number}.eml", FAX.replace(b"IMCEAFAX-1@fcweb.test", b"x@" + domain))
    transport()
    (queue,) = Queue.objects.filter(delivery_type=DeliveryType.UNREACHABLE)
    assert QueueItem.objects.filter(queue=queue, state=ItemState.READY).count() == 2
    jobs.operate_queue(queue, Verb.SUSPEND, actor="ann", now=NOW)

    gateway = configuration.create("One", ["SMTP:one.test"], servers=[])
    gateway.source_transport_servers.add(site.node)
    drop_directory.create(gateway, site.node)
    transport()
    assert QueueItem.objects.filter(queue=queue, state=ItemState.READY).count() == 2  # suspended: no resubmission
    jobs.operate_queue(queue, Verb.RESUME, actor="ann", now=NOW)
    transport()

    assert len(list(drop_directory.effective_path(gateway, site.node).glob("*.eml"))) == 1
    left = QueueItem.objects.get(state=ItemState.READY)
    assert (left.queue_id, left.message.recipients.get().address) == (queue.pk, "x@two.test")


@pytest.mark.rule("QO-6")
def test_a_retry_that_fails_sets_both_times_anew_and_a_queue_not_in_retry_is_left_alone(site, transport):
    queue = fax_queue(site)
    queued(site, queue, now=NOW, with_file=True)
    Path(site.drop).rename(site.drop.with_name("away"))
    transport(NOW)
    queue.refresh_from_db()
    first = (queue.last_retry_at, queue.next_retry_at)
    later = NOW + timedelta(seconds=20)

    assert jobs.operate_queue(queue, Verb.RETRY, actor="ann", now=later).changed == 1
    transport(later)

    queue.refresh_from_db()
    assert (queue.status, first[0], first[1]) == ("Retry", NOW, NOW + timedelta(minutes=1))
    assert (queue.last_retry_at, queue.next_retry_at) == (later, later + timedelta(minutes=1))


@pytest.mark.rule("QO-5", "QO-4")
def test_removing_one_copy_fails_its_recipients_alone(site, pickup, transport):
    pickup("a.eml", FAX.replace(b"To: ", b"To: x@nowhere.test, "))
    Path(site.drop).rename(site.drop.with_name("away"))
    transport(NOW)
    unreachable = Queue.objects.get(delivery_type=DeliveryType.UNREACHABLE)

    run(site, Verb.REMOVE, queue=unreachable)

    states = dict(MessageRecipient.objects.values_list("address", "state"))
    assert states == {"x@nowhere.test": RecipientState.FAILED, "IMCEAFAX-1@fcweb.test": RecipientState.QUEUED}
    assert Message.objects.get().state == MessageState.ROUTED
    fail = TrackingEvent.objects.get(event="FAIL")
    assert [recipient.address for recipient in fail.recipients.all()] == ["x@nowhere.test"]


_ENVELOPE = (
    b"X-Sender: <alice@fcweb.test> BODY=8BITMIME RET=HDRS ENVID=12345ABCD\r\n"
    b"X-Receiver: <IMCEAFAX-1@fcweb.test> NOTIFY=FAILURE,DELAY ORCPT=rfc822;one+2B1@contoso.test\r\n"
    b"X-Receiver: <x@nowhere.test> NOTIFY=NEVER\r\n"
)


def held_back(site, replay, transport):
    """One message in FAX and in Unreachable, both copies suspended."""
    replay("a.eml", _ENVELOPE + b"From: alice@fcweb.test\nSubject: s\nX-Own: kept\n\nBody\n")
    Path(site.drop).rename(site.drop.with_name("away"))
    transport(NOW)
    run(site, Verb.SUSPEND)
    return Message.objects.get()


@pytest.mark.rule("QO-8", "QO-9")
def test_an_export_holds_the_envelope_as_it_is_queued_and_who_waits_in_that_queue(site, replay, transport, out):
    message = held_back(site, replay, transport)
    queue = Queue.objects.get(next_hop_domain="FAX")

    run(site, Verb.EXPORT, queue=queue, directory=str(out))

    (file,) = out.glob("*.eml")
    raw = file.read_bytes()
    envelope, offset = replay_format.read_block(raw)
    assert raw.startswith(b"X-Sender: <alice@fcweb.test> BODY=8BITMIME RET=HDRS ENVID=12345ABCD\r\n")
    assert [(r.address, r.notify, r.orcpt) for r in envelope.recipients] == [
        ("IMCEAFAX-1@fcweb.test", "FAILURE,DELAY", "rfc822;one+2B1@contoso.test")
    ]
    header, _blank, body = raw[offset:].partition(b"\r\n\r\n")
    assert b"X-Own: kept" in header and body == b"Body\r\n"
    assert raw.replace(b"\r\n", b"").count(b"\n") == 0  # CRLF throughout
    assert QueueItem.objects.filter(state=ItemState.SUSPENDED).count() == 2  # a copy only
    assert message.state == MessageState.ROUTED


@pytest.mark.rule("QO-9", "QU-16")
def test_an_export_of_a_message_in_every_queue_is_one_file_with_all_who_wait(site, replay, transport, out):
    from django.core.management import call_command

    message = held_back(site, replay, transport)

    call_command("queue", "export", f"*\\{message.pk}", "--directory", str(out), "--json")

    (file,) = out.iterdir()
    envelope, _offset = replay_format.read_block(file.read_bytes())
    assert {r.address for r in envelope.recipients} == {"IMCEAFAX-1@fcweb.test", "x@nowhere.test"}


@pytest.mark.rule("QO-10")
def test_an_exported_file_is_named_by_its_message_id_and_never_twice(site, out):
    queue = fax_queue(site, status=QueueStatus.SUSPENDED)
    hold = {"state": ItemState.SUSPENDED, "with_file": True, "now": NOW}
    same = [queued(site, queue, message_id="<a@b.test>", **hold) for _n in range(2)]
    queued(site, queue, message_id="<../x/y>", **hold)
    queued(site, queue, message_id=".hidden", **hold)
    (out / "_.._x_y_.eml").write_bytes(b"somebody else's")

    run(site, Verb.EXPORT, queue=queue, directory=str(out))
    names = {path.name for path in out.iterdir()}
    run(site, Verb.EXPORT, queue=queue, directory=str(out))  # as after a crash between files and commit

    assert {path.name for path in out.iterdir()} == names
    odd = QueueItem.objects.get(message__message_id="<../x/y>")
    assert names == {
        "_a@b.test_.eml",
        f"_a@b.test_-{same[1].pk}.eml",
        "_.._x_y_.eml",
        f"_.._x_y_-{odd.pk}.eml",
        "hidden.eml",
    }
    assert (out / "_.._x_y_.eml").read_bytes() == b"somebody else's"
    assert exports.file_name("<a@b.test>") == "_a@b.test_.eml"


@pytest.mark.rule("QO-11", "QX-8")
def test_export_and_remove_is_one_audited_action_without_a_notice(site, transport, out):
    queue = fax_queue(site, status=QueueStatus.SUSPENDED)
    item = queued(site, queue, now=NOW, state=ItemState.SUSPENDED, with_file=True)

    job = run(site, Verb.EXPORT_REMOVE, queue=queue, directory=str(out))
    transport(NOW)

    assert len(list(out.glob("*.eml"))) == 1
    assert not Message.objects.filter(source="DSN").exists()
    target = JobTarget.objects.get()
    assert (target.message, target.before, target.after) == (item.message_id, "suspended", "removed")
    facts = [entry.additional_data for entry in LogEntry.objects.get_for_object(job)]
    assert [(fact["verb"], fact["with_ndr"], fact["directory"]) for fact in facts] == [
        ("export_remove", False, str(out))
    ] * 2


@pytest.mark.rule("QO-12")
@pytest.mark.parametrize("verb, ndr", [(Verb.REMOVE, False), (Verb.REMOVE_NDR, True), (Verb.SUSPEND, None)])
def test_the_audit_says_whether_senders_are_told(site, verb, ndr):
    queue = fax_queue(site)
    item = queued(site, queue, now=NOW)

    job = run(site, verb, queue=queue, filter_text="Size -gt 1", items=(item.pk,))

    entry = LogEntry.objects.get_for_object(job).latest("pk")
    assert entry.additional_data | {
        "actor": "ann",
        "filter": "Size -gt 1",
        "items": str(item.pk),
        "with_ndr": ndr,
        "changed": 1,
    } == (entry.additional_data)
    target = JobTarget.objects.get(job=job)
    assert (target.message, target.before) == (item.message_id, "ready")


@pytest.mark.rule("QU-6")
def test_what_the_safety_net_keeps_is_in_no_list_of_queues(site, pickup, transport):
    pickup("a.eml", FAX)
    transport(NOW)

    assert QueueItem.objects.get().state == ItemState.DELIVERED
    assert [queue.waiting for queue in reads.summaries(now=NOW)] == [0, 0]
    assert not queue_rows.listed(Filter()).exists()


@pytest.mark.rule("QO-12")
def test_the_roles_of_exchange_are_there(site):
    def may(name):
        return set(Group.objects.get(name=name).permissions.values_list("codename", flat=True))

    assert {name for name in ("Organization Management", "Server Management") if "change_queue" in may(name)} == {
        "Organization Management",
        "Server Management",
    }
    everybody = ("Organization Management", "Server Management", "Records Management", "Recipient Management")
    assert [name for name in everybody if "view_trackingevent" in may(name)] == [everybody[0], *everybody[2:]]
    assert [name for name in everybody if "change_noticetext" in may(name)] == [everybody[0]]
    assert "view_content" not in may("Server Management")
