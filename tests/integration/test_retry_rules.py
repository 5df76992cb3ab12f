"""Retry rules that concern gateways: their queues are queues, a written file is a delivered one, a connector that goes."""

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils import timezone

from connectors import configuration, drop_directory
from connectors.choices import FileState, ItemState, QueueStatus, Verb
from connectors.conf import transport_config
from connectors.errors import FcwebError
from connectors.models import (
    EventLogEntry,
    ForeignConnector,
    Message,
    MessageRecipient,
    Node,
    Queue,
    QueueItem,
    SourceFile,
    TransportSettings,
)
from connectors.owner import Owner
from connectors.reads import queue_lengths, queue_list
from connectors.reads import queues as queue_reads
from connectors.transport import exports, jobs, poison
from connectors.transport.delivery import Delivery
from connectors.transport.jobs import Order
from tests.queue_fixtures import fax_queue, queued
from tracking.models import TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()
FAX = b"From: alice@fcweb.test\r\nTo: IMCEAFAX-1@fcweb.test\r\nSubject: Offer\r\n\r\nBody\r\n"
OUT = FAX.replace(b"IMCEAFAX-1@fcweb.test", b"bob@elsewhere.test")
NO_CONNECTOR = "A matching connector cannot be found to route the external recipient"


def unplug(site):
    Path(site.drop).rename(site.drop.with_name("away"))


def files(site):
    return sorted(Path(site.drop).glob("*.eml"))


def lengths():
    return {one.delivery_type: (one.active, one.retry) for one in queue_lengths.lengths(queue_reads.summaries(now=NOW))}


@pytest.mark.rule("QR-40")
def test_a_gateway_queue_is_listed_counted_suspended_resumed_and_retried(site, pickup, transport, capsys):
    unplug(site)
    for number in range(3):
        pickup(f"{number}.eml", FAX)
    transport(NOW)
    queue = Queue.objects.get(connector_name="Fax")
    (row,) = [queue_list.properties(one) for one in queue_reads.summaries(now=NOW) if not one.is_submission]
    facts = {name: row[name] for name in ("DeliveryType", "NextHopDomain", "Status", "MessageCount", "RetryCount")}
    assert facts == {
        "DeliveryType": "NonSmtpGatewayDelivery",
        "NextHopDomain": "FAX",
        "Status": "Retry",
        "MessageCount": 3,
        "RetryCount": 1,
    }
    assert lengths() == {"NonSmtpGatewayDelivery": (0, 3)}

    jobs.operate_queue(queue, Verb.SUSPEND, actor="ann", now=NOW)
    assert lengths() == {"NonSmtpGatewayDelivery": (0, 0)}
    jobs.operate_queue(Queue.objects.get(connector_name="Fax"), Verb.RESUME, actor="ann", now=NOW)
    jobs.operate_queue(Queue.objects.get(connector_name="Fax"), Verb.RETRY, actor="ann", now=NOW)
    assert lengths() == {"NonSmtpGatewayDelivery": (3, 0)}
    call_command("queue", "counters", "--json")
    assert json.loads(capsys.readouterr().out)["rows"] == [
        {"DeliveryType": "NonSmtpGatewayDelivery", "ActiveLength": 3, "RetryLength": 0}
    ]
    site.drop.with_name("away").rename(site.drop)
    transport(NOW)
    assert (len(files(site)), lengths()) == (3, {"NonSmtpGatewayDelivery": (0, 0)})


@pytest.mark.rule("QR-40", "QR-24")
def test_a_message_that_waits_by_itself_counts_as_retry(site):
    queue = fax_queue(site, status=QueueStatus.READY)
    for state in (ItemState.READY, ItemState.READY, ItemState.DEFERRED, ItemState.SUSPENDED):
        queued(site, queue, now=NOW, state=state)

    assert lengths() == {"NonSmtpGatewayDelivery": (2, 1)}


@pytest.mark.rule("QR-40")
def test_the_page_shows_both_lengths(site, client, admin_user):
    queued(site, fax_queue(site, status=QueueStatus.RETRY, retry_count=1), now=NOW)
    client.force_login(admin_user, backend="django.contrib.auth.backends.ModelBackend")

    groups = client.get("/queues/", {"by": "DeliveryType"}).context["groups"]

    assert [(g.messages, g.retrying) for g in groups if g.value == "NonSmtpGatewayDelivery"] == [(1, 1)]


@pytest.mark.rule("QR-20")
def test_a_queue_in_retry_shows_its_error_and_every_ready_message_as_retry(site, pickup, transport):
    unplug(site)
    pickup("a.eml", FAX)
    transport(NOW)
    queue = Queue.objects.get(connector_name="Fax")
    queued(site, queue, now=NOW)  # came while the queue waited
    queued(site, queue, now=NOW, state=ItemState.SUSPENDED)
    from connectors import queue_filter, queue_properties, queue_rows

    assert (queue.status, queue.last_error) == ("Retry", "451 4.3.5 Drop directory does not exist")
    rows = queue_rows.listed(queue_filter.parse("Status -eq 'Retry'", queue_properties.MESSAGE), queue=queue.pk)
    assert rows.count() == 2
    shown = [
        queue_rows.properties(item)["Status"]
        for item in queue_rows.with_facts(queue_rows.listed(queue_filter.Filter()))
    ]
    assert sorted(shown) == ["Retry", "Retry", "Suspended"]


class _DiesBeforeSettling(Delivery):
    """A process that ends between the rename and the rows."""

    def settle(self, *args, **kwargs):
        raise SystemExit


@pytest.mark.rule("QR-46", "DR-26")
@pytest.mark.parametrize("collected", [False, True])
def test_a_crash_between_the_file_and_the_rows_loses_nothing_and_repeats_nothing(site, pickup, transport, collected):
    queued(site, fax_queue(site), now=NOW, with_file=True)
    config = transport_config()
    with Owner(config.run_dir) as owner, pytest.raises(SystemExit):
        _DiesBeforeSettling(site.node, config=config, token=owner.token).run_once(NOW)
    item = QueueItem.objects.get()
    assert item.state == ItemState.STAGED  # not delivered as long as nobody has seen that the name is durable
    assert [path.name for path in files(site)] == [item.final_name]
    if collected:
        files(site)[0].unlink()

    with Owner(config.run_dir) as owner:
        delivery = Delivery(site.node, config=config, token=owner.token)
        delivery.recover(NOW)
        delivery.run_once(NOW)

    item.refresh_from_db()
    assert (item.state, len(files(site))) == (ItemState.DELIVERED, 0 if collected else 1)
    assert TrackingEvent.objects.filter(event="SEND").count() == 1


@pytest.mark.rule("QR-46", "DR-25")
def test_a_file_is_synced_before_its_name_and_its_directory_before_the_rows(site, pickup, transport, monkeypatch):
    from connectors import disk
    from connectors.transport import leasing

    steps = []
    for module, name in ((os, "fsync"), (disk, "sync_file_system"), (disk, "sync_directory"), (disk, "rename_new")):
        monkeypatch.setattr(module, name, _told(steps, name, getattr(module, name)))
    monkeypatch.setattr(leasing, "settle_delivered", _told(steps, "settle", leasing.settle_delivered))
    monkeypatch.setattr(leasing, "mark_staged", _told(steps, "staged", leasing.mark_staged))
    ForeignConnector.objects.update(relay_dsn_required=True)
    queued(site, fax_queue(site), now=NOW, with_file=True)
    config = transport_config()
    with Owner(config.run_dir) as owner:
        Delivery(site.node, config=config, token=owner.token).run_once(NOW)

    kept = [step for step in steps if step != "fsync"]
    assert "sync_directory" in kept[: kept.index("staged")] or "sync_file_system" in kept[: kept.index("staged")]
    assert kept[kept.index("staged") :] == ["staged", "rename_new", "sync_directory", "settle"]


def _told(steps, name, function):
    def told(*args, **kwargs):
        steps.append(name)
        return function(*args, **kwargs)

    return told


def _internet(site):
    connector = configuration.create("Internet", ["*;1"], fields={})
    drop_directory.create(connector, site.node)
    connector.refresh_from_db()
    return connector


CHANGES = {
    "disabled": lambda connector: configuration.change(connector, {"enabled": False}),
    "removed": configuration.remove,
    "re-scoped": lambda connector: configuration.change(
        connector, {}, spaces=configuration.ListChange(replace=("PAGER:*;1",))
    ),
}


@pytest.mark.rule("QR-47", "QA-19")
@pytest.mark.parametrize("change", sorted(CHANGES))
def test_without_its_connector_smtp_mail_is_unreachable_and_says_why(site, pickup, transport, change):
    internet = _internet(site)
    configuration.change(internet, {"is_held": True})
    pickup("a.eml", OUT)
    transport(NOW)
    assert Queue.objects.filter(connector_name="Internet").exists()

    CHANGES[change](ForeignConnector.objects.get(name="Internet"))
    for seconds in (0, 5):
        transport(NOW + timedelta(seconds=seconds))

    (held,) = QueueItem.objects.filter(state=ItemState.READY)
    assert (held.queue.delivery_type, held.queue.last_error) == ("Unreachable", NO_CONNECTOR)
    assert MessageRecipient.objects.get().state == "queued"


@pytest.mark.rule("QR-47", "QA-19", "RT-21")
@pytest.mark.parametrize("change", sorted(CHANGES))
def test_without_its_connector_a_fax_is_returned_at_once(site, pickup, transport, change):
    fax = ForeignConnector.objects.get()
    configuration.change(fax, {"is_held": True})
    pickup("a.eml", FAX)
    transport(NOW)

    CHANGES[change](ForeignConnector.objects.get())
    transport(NOW)

    fate = MessageRecipient.objects.get(message__source="PICKUP")
    assert fate.state == "failed"
    assert fate.status_text == "550 5.1.2 ROUTING.NoConnectorForAddressType; no connector for FAX"
    assert TrackingEvent.objects.filter(event="DSN").count() == 1


@pytest.mark.rule("QR-47")
def test_what_is_in_transfer_when_its_connector_goes_ends_where_it_was_going(site, pickup, transport):
    from connectors.transport import leasing

    queue = fax_queue(site)
    queued(site, queue, now=NOW, with_file=True)
    with Owner(transport_config().run_dir) as owner:
        (item,) = leasing.lease(queue, directory=str(site.drop), token=owner.token, limit=1, folder_of=None)
        configuration.change(ForeignConnector.objects.get(), {"enabled": False})
        transport(NOW)
        assert QueueItem.objects.get().state == ItemState.STAGING
        leasing.settle_delivered(queue, [item], [], owed={}, now=NOW)

    assert MessageRecipient.objects.get().state == "delivered"


@pytest.mark.rule("QR-51", "QR-13", "PU-21", "EV-3")
@pytest.mark.parametrize(("threshold", "crashes_before"), [(1, 0), (2, 1), (3, 2)])
def test_a_file_in_hand_at_the_crash_that_reaches_the_threshold_is_set_aside(
    site, pickup, transport, threshold, crashes_before
):
    TransportSettings.objects.create(node=site.node, poison_threshold=threshold)
    path = pickup("evil.eml", FAX)
    for number in range(threshold):
        state = path.stat()
        path.rename(path.with_suffix(".tmp"))
        SourceFile.objects.create(
            node=site.node,
            source="PICKUP",
            directory=str(path.parent),
            name="evil.eml",
            claimed_name="evil.tmp",
            claimed_by="dead",
            device=state.st_dev,
            inode=state.st_ino,
            size=state.st_size,
            modified_ns=state.st_mtime_ns,
            owner_uid=0,
            crash_count=number,
            claimed_at=NOW,
        )
        from connectors.conf import transport_config as config_of_process
        from connectors.models import config_of
        from connectors.transport import claims

        config = config_of(site.node, config_of_process())
        claims.recover(node=site.node, source="PICKUP", directory=path.parent, config=config, now=NOW)
        assert path.exists() is (number < crashes_before)

    row = SourceFile.objects.get(state=FileState.BAD)
    assert (row.reason, row.crash_count) == ("POISON", threshold)
    transport(NOW)
    assert sorted(p.name for p in path.parent.iterdir()) == ["evil.bad", "evil.bad.txt"]
    assert EventLogEntry.objects.filter(code=10004, cleared_at=None).exists()
    assert not Message.objects.exists()


@pytest.mark.rule("QR-52", "QO-8")
def test_poison_is_exported_without_being_suspended_and_never_leaves_by_itself(site, transport, tmp_path):
    item = queued(site, fax_queue(site), now=NOW - timedelta(days=9), with_file=True)
    for _crash in range(2):
        poison.note_crash(site.node, [item.message_id], config=transport_config(), now=NOW)
    transport(NOW)
    transport(NOW + timedelta(days=30))
    item.refresh_from_db()
    assert (item.state, item.queue.next_hop_domain) == (ItemState.SUSPENDED, "Poison Message")
    folder = tmp_path / "out"
    folder.mkdir()
    order = Order(verb=Verb.EXPORT, actor="ann", queue=item.queue, directory=str(folder))
    jobs.run_to_end(jobs.start(site.node, order, now=NOW), config=transport_config(), now=NOW)

    assert [path.name for path in folder.iterdir()] == [exports.file_name(item.message.message_id)]
    assert not TrackingEvent.objects.filter(event__in=["FAIL", "SEND"]).exists()


@pytest.mark.rule("QR-17", "PU-2")
@pytest.mark.parametrize(
    ("given", "stored"), [("1", 1), ("20000", 20000), ("10000000", 10_000_000), ("unlimited", None)]
)
def test_each_directory_has_a_rate_of_its_own_in_exchanges_range(site, given, stored):
    assert [Node._meta.get_field(f"{kind}_max_messages_per_minute").default for kind in ("pickup", "replay")] == [
        100,
        100,
    ]
    Node.objects.update(pickup_max_messages_per_minute=7, replay_max_messages_per_minute=7)

    call_command("node", "set", PickupDirectoryMaxMessagesPerMinute=given)

    site.node.refresh_from_db()
    assert (site.node.pickup_max_messages_per_minute, site.node.replay_max_messages_per_minute) == (stored, 7)


@pytest.mark.rule("QR-17")
@pytest.mark.parametrize("given", ["0", "10000001", "-1", "many"])
def test_a_rate_outside_the_range_is_refused(site, given):
    from django.core.management import CommandError

    with pytest.raises((CommandError, FcwebError)):
        call_command("node", "set", ReplayDirectoryMaxMessagesPerMinute=given)
    before = site.node.replay_max_messages_per_minute
    site.node.refresh_from_db()
    assert site.node.replay_max_messages_per_minute == before
