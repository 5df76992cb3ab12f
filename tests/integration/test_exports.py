"""Exports that meet trouble: no room, a message that cannot be read, copies that change while files are written (QO-8 to QO-11)."""

import errno
import os
from contextlib import ExitStack

import pytest
from django.urls import reverse
from django.utils import timezone

from connectors import disk, owner
from connectors.choices import ItemState, QueueStatus, Verb
from connectors.conf import transport_config
from connectors.models import JobTarget, MessageRecipient, QueueItem
from connectors.transport import exports, jobs
from connectors.transport.jobs import Order
from tests.queue_fixtures import fax_queue, queued

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()


@pytest.fixture
def out(tmp_path):
    path = tmp_path / "out"
    path.mkdir()
    return path


def run(site, verb, out, **values):
    order = Order(verb=verb, actor="ann", reason="test", directory=str(out), **values)
    return jobs.run_to_end(jobs.start(site.node, order, now=NOW), config=transport_config(), now=NOW)


@pytest.mark.rule("QO-11", "QO-14")
def test_a_copy_suspended_while_files_are_written_is_not_removed_without_a_file(site, out, monkeypatch):
    queue = fax_queue(site, status=QueueStatus.SUSPENDED)
    item = queued(site, queue, now=NOW, with_file=True)
    write = exports.write

    def somebody_suspends(keys, *places, **facts):
        files = write(keys, *places, **facts)
        QueueItem.objects.filter(pk=item.pk, state=ItemState.READY).update(state=ItemState.SUSPENDED)
        return files

    monkeypatch.setattr(exports, "write", somebody_suspends)

    job = run(site, Verb.EXPORT_REMOVE, out, queue=queue)

    item.refresh_from_db()
    assert (item.state, list(out.iterdir())) == (ItemState.SUSPENDED, [])
    assert (job.changed, job.unchanged, job.failed) == (0, 1, 0)
    assert JobTarget.objects.get().why == "not_suspended"
    assert MessageRecipient.objects.get().item_id == item.pk


@pytest.mark.rule("QO-1", "QO-9", "QO-11")
@pytest.mark.parametrize("verb", [Verb.EXPORT, Verb.EXPORT_REMOVE])
def test_a_message_that_cannot_be_read_fails_alone_among_those_that_were_picked(site, out, verb):
    queue = fax_queue(site, status=QueueStatus.SUSPENDED)
    hold = {"now": NOW, "state": ItemState.SUSPENDED}
    broken, good = queued(site, queue, **hold), queued(site, queue, with_file=True, **hold)

    job = run(site, verb, out, items=(broken.pk, good.pk))

    assert (job.changed, job.failed) == (1, 1)
    assert JobTarget.objects.get(outcome="failed").item == broken.pk
    assert len(list(out.iterdir())) == 1
    broken.refresh_from_db()
    assert broken.state == ItemState.SUSPENDED


@pytest.mark.rule("QO-10", "QO-11")
def test_without_room_nothing_is_left_behind_and_nothing_is_removed(site, out, monkeypatch):
    queue = fax_queue(site, status=QueueStatus.SUSPENDED)
    item = queued(site, queue, now=NOW, state=ItemState.SUSPENDED, with_file=True)

    def fill_up(descriptor, chunks):
        os.write(descriptor, b"X-Sender")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disk, "_write_all", fill_up)

    job = run(site, Verb.EXPORT_REMOVE, out, queue=queue)

    item.refresh_from_db()
    assert (job.failed, item.state, list(out.iterdir())) == (1, ItemState.SUSPENDED, [])
    assert os.strerror(errno.ENOSPC) in JobTarget.objects.get().why


@pytest.mark.rule("QO-14", "QO-8")
def test_two_processes_never_write_the_files_of_one_export_at_once(site, out, monkeypatch):
    queue = fax_queue(site, status=QueueStatus.SUSPENDED)
    for _n in range(3):
        queued(site, queue, now=NOW, state=ItemState.SUSPENDED, with_file=True)
    order = Order(verb=Verb.EXPORT_REMOVE, actor="ann", directory=str(out), queue=queue)
    job = jobs.start(site.node, order, now=NOW)
    config, write, others = transport_config(), exports.write, []

    def meanwhile(keys, *places, **facts):
        if not others:
            others.append(None)
            others[0] = jobs.work(job.pk, config=config, now=NOW)  # the daemon finds the same job
        return write(keys, *places, **facts)

    monkeypatch.setattr(exports, "write", meanwhile)

    jobs.run_to_end(job, config=config, now=NOW)

    assert (others, job.changed, job.failed, len(list(out.iterdir()))) == ([0], 3, 0, 3)


@pytest.mark.rule("QO-14")
def test_who_asked_waits_while_the_daemon_writes_the_files(site, out, monkeypatch):
    queue = fax_queue(site, status=QueueStatus.SUSPENDED)
    queued(site, queue, now=NOW, state=ItemState.SUSPENDED, with_file=True)
    job = jobs.start(site.node, Order(verb=Verb.EXPORT, actor="ann", directory=str(out), queue=queue), now=NOW)
    config, daemon = transport_config(), ExitStack()
    daemon.enter_context(owner.exclusively(config.run_dir, "export"))
    monkeypatch.setattr(jobs.time, "sleep", lambda _seconds: daemon.close())

    assert jobs.run_to_end(job, config=config, now=NOW).changed == 1


@pytest.mark.rule("QX-3")
@pytest.mark.parametrize("content", [None, b"no block at all"])
def test_a_download_of_content_that_cannot_be_read_says_so(site, desk, content):
    item = queued(site, fax_queue(site), now=NOW)
    if content is not None:
        path = transport_config().spool_dir / item.message.spool_name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)

    answer = desk("view_queue", "view_content").get(reverse("item-download", args=[item.pk]), follow=True)

    assert "The content of this message cannot be read." in answer.content.decode()
