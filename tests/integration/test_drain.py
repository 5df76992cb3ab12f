"""Draining a server: its waiting mail moves to another one's Replay directory, once, whatever breaks (QO-13 a)."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from auditlog.models import LogEntry
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from connectors import node_configuration
from connectors.choices import ItemState, JobState, MessageState, RecipientState, Verb
from connectors.conf import transport_config
from connectors.mail import replay_format
from connectors.models import BulkJob, JobTarget, Message, MessageRecipient, Node, QueueItem, SourceFile
from connectors.transport import drain, jobs, leasing, operations, poison
from connectors.transport.jobs import Order
from tests.queue_fixtures import fax_queue, queued
from tracking.models import TrackedMessage, TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()


@pytest.fixture
def other(site, tmp_path):
    """Another server, its Replay directory mounted here."""
    path = tmp_path / "other-replay"
    path.mkdir()
    Node.objects.create(name="hub2.test", fqdn="hub2.test", replay_directory_path=str(path))
    return path


def run(*words):
    out = StringIO()
    call_command("node", "drain", *words, "--json", stdout=out, stderr=StringIO())
    return json.loads(out.getvalue())


def start(site, other):
    order = Order(verb=Verb.DRAIN, actor="ann", connector_name="hub2.test", directory=str(other))
    return jobs.start(site.node, order, now=NOW)


def held(site, **values):
    return queued(site, fax_queue(site, status="Suspended"), now=NOW, with_file=True, **values)


@pytest.mark.rule("QO-13", "QO-12")
def test_what_waits_moves_under_one_transaction_and_what_must_stay_stays(site, other, transport):
    moving = [held(site, subject=f"m{n}") for n in range(3)]
    stays = held(site, state=ItemState.SUSPENDED)
    poisoned = held(site)
    Message.objects.filter(pk=poisoned.message_id).update(crash_count=1)
    poison.note_crash(site.node, [poisoned.message_id], config=transport_config(), now=NOW)

    told = run("--to", "HUB2.test", "--reason", "maintenance")

    job = BulkJob.objects.get()
    assert told == {"transaction": job.pk, "state": "done", "moved": 3, "failed": 0}
    names = {f"drain-node.test-{job.pk}-{item.pk}.eml" for item in moving}
    assert {path.name for path in other.iterdir()} == names
    envelope, _offset = replay_format.read_block((other / min(names)).read_bytes())
    assert (envelope.mail_from, envelope.recipients[0].address) == ("alice@fcweb.test", "IMCEAFAX-1@fcweb.test")
    left = QueueItem.objects.exclude(state=ItemState.REMOVED)
    assert set(left) == {stays, poisoned}
    assert set(Message.objects.filter(pk__in=[i.message_id for i in moving]).values_list("state", flat=True)) == {
        MessageState.DONE
    }
    events = TrackingEvent.objects.filter(message=moving[0].message.tracked_id).order_by("pk")
    assert [(e.event, e.source, e.connector_id) for e in events] == [
        ("REDIRECT", "ADMIN", "hub2.test"),
        ("SEND", "GATEWAY", "hub2.test"),
    ]
    assert {f"S:fc.transaction={job.pk}" in event.custom_data for event in events} == {True}
    assert TrackedMessage.objects.get(pk=moving[0].message.tracked_id).state == "transferred"
    first = LogEntry.objects.get_for_object(job).earliest("pk")
    assert (first.additional_data["reason"], first.additional_data["connector"]) == ("maintenance", "hub2.test")
    assert JobTarget.objects.filter(job=job, outcome="changed", after="moved").count() == 3


@pytest.mark.rule("QO-13")
def test_a_draining_server_takes_no_new_files_until_it_is_told_to(site, other, pickup, replay, transport):
    run("--to", "hub2.test")
    pickup("p.eml", b"From: alice@fcweb.test\r\nTo: IMCEAFAX-1@fcweb.test\r\n\r\nBody\r\n")
    replay("r.eml", b"X-Sender: <a@b.test>\r\nX-Receiver: <IMCEAFAX-1@fcweb.test>\r\n\r\nFrom: a@b.test\r\n\r\nx\r\n")

    transport(NOW)

    assert not SourceFile.objects.exists()
    node = Node.objects.get(pk=site.node.pk)
    assert node_configuration.shown(node)["Draining"] is True
    node_configuration.change(node, {"is_draining": node_configuration.parse("Draining", "false")})
    transport(NOW)
    assert SourceFile.objects.count() == 2


@pytest.mark.rule("QO-13")
def test_what_was_moved_is_delivered_by_the_other_server(site, other, replay, transport):
    held(site, recipients=("IMCEAFAX-7@fcweb.test",))
    run("--to", "hub2.test")
    (file,) = other.iterdir()
    Node.objects.update(is_draining=False)

    replay(file.name, file.read_bytes())  # as the other server would find it
    from connectors.models import Queue

    Queue.objects.update(status="Ready")
    transport()

    (drop,) = Path(site.drop).glob("*.eml")
    assert b"IMCEAFAX-7@fcweb.test" in drop.read_bytes()


@pytest.mark.rule("QO-13", "QO-14")
def test_a_crash_after_the_files_and_before_the_commit_moves_each_message_once(site, other):
    items = [held(site) for _n in range(3)]
    job = start(site, other)
    drain.prepare(job, transport_config())  # dies here
    assert [path.suffix for path in other.iterdir()] == [".tmp"] * 3  # nothing the other server would take
    assert QueueItem.objects.filter(state=ItemState.READY).count() == 3

    jobs.run_to_end(job, config=transport_config(), now=NOW)

    assert {path.name for path in other.iterdir()} == {f"drain-node.test-{job.pk}-{i.pk}.eml" for i in items}


@pytest.mark.rule("QO-13", "QO-14")
def test_a_crash_after_the_commit_and_before_the_names_loses_nothing(site, other):
    items = [held(site) for _n in range(3)]
    job = start(site, other)
    keys, failed = drain.prepare(job, transport_config())
    with transaction.atomic():
        done = drain.move(job, operations.lock(keys), failed, now=NOW)
        jobs._note(job, done, cursor=3, now=NOW)  # committed; dies before the names
    assert [path.suffix for path in other.iterdir()] == [".tmp"] * 3

    jobs.run_once(site.node, config=transport_config(), now=NOW)

    assert {path.name for path in other.iterdir()} == {f"drain-node.test-{job.pk}-{i.pk}.eml" for i in items}
    assert BulkJob.objects.get().state == JobState.DONE


@pytest.mark.rule("QO-13", "QO-14")
def test_a_worker_that_holds_a_message_wins(site, other):
    queue = fax_queue(site)
    item = queued(site, queue, now=NOW, with_file=True)
    job = start(site, other)
    keys, failed = drain.prepare(job, transport_config())
    (leased,) = leasing.lease(queue, directory=str(site.drop), token="t", limit=1, folder_of=None)

    with transaction.atomic():
        done = drain.move(job, operations.lock(keys), failed, now=NOW)
    drain.publish(job)

    assert ([entry.why for entry in done], list(other.iterdir())) == (["in_transfer"], [])
    assert jobs.work(job.pk, config=transport_config(), now=NOW) == 0
    assert BulkJob.objects.get().state == JobState.RUNNING  # the transfer may still fail
    leasing.settle_delivered(queue, [leased], [], owed={}, now=NOW)
    jobs.run_once(site.node, config=transport_config(), now=NOW)
    assert (BulkJob.objects.get().state, list(other.iterdir())) == (JobState.DONE, [])
    item.refresh_from_db()
    assert item.state == ItemState.DELIVERED


@pytest.mark.rule("QO-13")
def test_a_message_that_cannot_be_written_stays_and_is_named(site, other):
    good, broken = held(site), held(site)
    (transport_config().spool_dir / broken.message.spool_name).unlink()

    with pytest.raises(CommandError) as caught:
        run("--to", "hub2.test")

    assert caught.value.returncode == 2
    assert len(list(other.glob("*.eml"))) == 1
    assert dict(MessageRecipient.objects.values_list("message", "state")) == {
        good.message_id: RecipientState.DELIVERED,
        broken.message_id: RecipientState.QUEUED,
    }


@pytest.mark.rule("QO-13", "QO-10")
@pytest.mark.parametrize(
    "words", [("--to", "nobody"), ("--to", "node.test"), ("--to", "hub2.test", "--directory", "/x/y")]
)
def test_a_drain_needs_another_server_and_its_directory(site, other, words):
    with pytest.raises(CommandError):
        run(*words)
    with pytest.raises(CommandError, match="DRAIN_DIRECTORY"):
        run("--to", "hub2.test", "--directory", site.node.replay_directory_path)
    assert not Node.objects.filter(is_draining=True).exists()
    assert not BulkJob.objects.exists()


@pytest.mark.rule("QO-14")
def test_two_processes_never_work_one_drain_at_once(site, other):
    from connectors import owner

    held(site)
    job = start(site, other)
    config = replace(transport_config())
    with owner.exclusively(config.run_dir, "drain") as is_only:
        assert is_only
        assert jobs.work(job.pk, config=config, now=NOW) == 0
        assert list(other.iterdir()) == []
    assert jobs.work(job.pk, config=config, now=NOW) == 1


@pytest.mark.rule("QO-13", "QO-14")
def test_a_crash_before_the_names_of_a_batch_with_a_broken_message_loses_nothing(site, other, monkeypatch):
    good, broken = held(site), held(site)
    (transport_config().spool_dir / broken.message.spool_name).unlink()
    job = start(site, other)
    publish = drain.publish

    def dies(named):
        if JobTarget.objects.filter(job=named).exists():
            raise SystemExit
        return publish(named)

    monkeypatch.setattr(drain, "publish", dies)
    with pytest.raises(SystemExit):
        jobs.run_once(site.node, config=transport_config(), now=NOW)
    monkeypatch.undo()
    assert [path.suffix for path in other.iterdir()] == [".tmp"]
    good.refresh_from_db()
    assert good.state == ItemState.REMOVED

    jobs.run_once(site.node, config=transport_config(), now=NOW)

    assert [path.name for path in other.iterdir()] == [f"drain-node.test-{job.pk}-{good.pk}.eml"]
    assert BulkJob.objects.get().state == JobState.DONE


@pytest.mark.rule("QO-13", "QO-14")
def test_a_drain_whose_directory_goes_away_waits_with_its_files_and_holds_nobody_up(site, other, tmp_path):
    moved = held(site)
    job = start(site, other)
    keys, failed = drain.prepare(job, transport_config())
    with transaction.atomic():
        jobs._note(job, drain.move(job, operations.lock(keys), failed, now=NOW), cursor=1, now=NOW)
    other.rename(tmp_path / "unmounted")
    stays = held(site)
    suspend = jobs.start(site.node, Order(verb=Verb.SUSPEND, actor="ann", items=(stays.pk,)), now=NOW)

    jobs.run_once(site.node, config=transport_config(), now=NOW)

    suspend.refresh_from_db()
    assert (suspend.state, suspend.changed) == (JobState.DONE, 1)
    assert BulkJob.objects.get(pk=job.pk).state == JobState.RUNNING
    (tmp_path / "unmounted").rename(other)
    jobs.run_once(site.node, config=transport_config(), now=NOW)
    assert [path.name for path in other.iterdir()] == [f"drain-node.test-{job.pk}-{moved.pk}.eml"]
    assert BulkJob.objects.get(pk=job.pk).state == JobState.DONE


@pytest.mark.rule("QO-13", "QO-10")
def test_a_drain_whose_directory_is_gone_before_it_begins_ends_and_moves_nothing(site, other):
    item = held(site)
    job = start(site, other)
    other.rmdir()

    jobs.run_once(site.node, config=transport_config(), now=NOW)

    job.refresh_from_db()
    item.refresh_from_db()
    assert (job.state, job.changed, job.failed, item.state) == (JobState.DONE, 0, 1, ItemState.READY)
    assert "No such file" in JobTarget.objects.get().why
