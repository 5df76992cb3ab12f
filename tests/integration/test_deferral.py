"""One message that cannot go now waits by itself: who refuses it, how long it waits, what people see and do meanwhile."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from connectors import first_start, queue_filter, queue_rows, rerouting
from connectors.choices import (
    DeliveryType,
    ItemState,
    MessageState,
    Pending,
    QueueStatus,
    RecipientState,
    Refusal,
    Verb,
)
from connectors.conf import transport_config
from connectors.models import (
    DirectoryRecipient,
    ForeignConnector,
    Message,
    MessageRecipient,
    Queue,
    QueueItem,
    TransportSettings,
)
from connectors.owner import Owner
from connectors.queue_properties import MESSAGE
from connectors.reads import inbox, message_parts, queue_ages
from connectors.reads import queues as reads
from connectors.transport import deferral, jobs, leasing, operations, poison, upkeep
from connectors.transport import queue as queues
from connectors.transport.boot import Boot
from connectors.transport.jobs import Order
from connectors.transport.service import Service
from tests.queue_fixtures import fax_queue, queued
from tracking.models import TrackedMessage, TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()
QUARTER = timedelta(minutes=15)
EIO = "451 4.3.0 Message content cannot be read: Input/output error"


def told(*names):
    """Return (event, source, context) of events, of all or of those named."""
    rows = TrackingEvent.objects.order_by("pk").values_list("event", "source", "source_context")
    return [row for row in rows if not names or row[0] in names]


def the_queue():
    """Return the one queue that delivers; Submission has a row of its own."""
    return delivering().get()


def delivering():
    return Queue.objects.exclude(delivery_type=DeliveryType.UNDEFINED)


def drops(site):
    return sorted(path.read_bytes().rpartition(b"Subject: ")[2][:8] for path in Path(site.drop).glob("*.eml"))


def content_of(item):
    return transport_config().spool_dir / item.message.spool_name


def break_content(item):
    """Put something into the place of a content file whose reading fails with EIO; return how to repair it."""
    path = content_of(item)
    kept = path.rename(path.with_suffix(".kept"))
    path.symlink_to("/proc/self/mem")  # address 0 belongs to nobody

    def repair():
        path.unlink()
        kept.rename(path)

    return repair


def deferred(site, queue, *, now=NOW, minutes=12, context=Refusal.MAILBOX_FULL, error="452 4.2.2 full", **values):
    """Insert a copy that waits by itself."""
    item = queued(site, queue, now=now, state=ItemState.DEFERRED, **values)
    facts = {"deferred_reason": context, "last_error": error, "attempts": 2}
    QueueItem.objects.filter(pk=item.pk).update(retry_at=NOW + timedelta(minutes=minutes), **facts)
    item.refresh_from_db()
    return item


def run(site, verb, **values):
    job = jobs.start(site.node, Order(verb=verb, actor="ann", **values), now=NOW)
    return jobs.run_to_end(job, config=transport_config(), now=NOW)


def found(text):
    return set(queue_rows.listed(queue_filter.parse(text, MESSAGE)).values_list("pk", flat=True))


@pytest.fixture
def three(site, transport):
    """Three messages in the queue of Fax whose drop files are copies; the second cannot be read, until repaired."""
    transport(NOW)  # applies the new configuration
    queue = fax_queue(site)
    items = [queued(site, queue, now=NOW, with_file=True, subject=f"Offer {n}") for n in range(3)]
    QueueItem.objects.update(is_whole=False)
    return items, break_content(items[1])


class TestUnreadableContent:
    @pytest.mark.rule("QR-6", "QR-24", "QR-26", "MT-E", "MTA-7")
    def test_that_message_waits_a_quarter_and_the_others_go(self, site, three, transport):
        items, repair = three

        transport(NOW)

        assert drops(site) == [b"Offer 0\r", b"Offer 2\r"]
        item = QueueItem.objects.get(pk=items[1].pk)
        assert (item.state, item.retry_at, item.attempts, item.last_error) == ("deferred", NOW + QUARTER, 1, EIO)
        assert (item.leased_by, item.directory, item.temp_name, item.final_name) == ("", "", "", "")
        queue = the_queue()
        assert (queue.status, queue.retry_count, queue.next_retry_at, queue.last_error) == ("Ready", 0, None, "")
        assert told("DEFER") == [("DEFER", "GATEWAY", "ContentUnreadable")]
        event = TrackingEvent.objects.get(event="DEFER")
        assert event.recipients.get().status == EIO
        assert event.message_info.startswith(f"{NOW + QUARTER:%Y-%m-%dT%H:%M}")
        assert TrackedMessage.objects.get(pk=items[1].message.tracked_id).state == "deferred"

        repair()
        transport(NOW + QUARTER - timedelta(seconds=1))
        assert len(drops(site)) == 2
        transport(NOW + QUARTER)
        assert len(drops(site)) == 3
        item.refresh_from_db()
        assert (item.state, item.retry_at) == ("delivered", None)
        assert Message.objects.get(pk=item.message_id).state == MessageState.DONE

    @pytest.mark.rule("QR-27", "MTA-7")
    def test_each_attempt_counts_and_waits_anew_and_one_defer_tells_it(self, site, three, transport):
        for number in range(3):
            transport(NOW + number * QUARTER)

        item = QueueItem.objects.get(pk=three[0][1].pk)
        assert (item.attempts, item.retry_at) == (3, NOW + 3 * QUARTER)
        assert len(told("DEFER")) == 1

    @pytest.mark.rule("MTA-7", "MT-E")
    def test_another_reason_is_told_again(self, site, three, transport):
        transport(NOW)
        Path(site.drop).rename(Path(site.drop).with_name("away"))

        transport(NOW + QUARTER)

        assert [context for _e, _s, context in told("DEFER")] == ["ContentUnreadable", "DropMissing"]
        item = QueueItem.objects.get(pk=three[0][1].pk)
        assert (item.state, item.attempts, the_queue().status) == ("ready", 1, "Retry")

    @pytest.mark.rule("QR-24", "QR-22")
    def test_it_does_not_reset_the_ladder_of_a_queue_that_fails_for_another_reason(self, site, three, transport):
        ForeignConnector.objects.update(drop_directory_quota=10_000)
        (Path(site.drop) / "full").write_bytes(b"x" * 9_999)
        delivering().update(status="Retry", retry_count=3, first_retry_at=NOW, next_retry_at=NOW)

        transport(NOW)

        queue = the_queue()
        assert (queue.status, queue.retry_count, queue.first_retry_at) == ("Retry", 4, NOW)
        assert QueueItem.objects.get(pk=three[0][1].pk).state == ItemState.DEFERRED

    @pytest.mark.rule("QR-24")
    def test_a_queue_of_nothing_but_refused_messages_is_ready(self, site, three, transport):
        items, _repair = three
        QueueItem.objects.exclude(pk=items[1].pk).delete()
        delivering().update(status="Retry", retry_count=3, first_retry_at=NOW, next_retry_at=NOW, last_error="451 x")

        transport(NOW)

        queue = the_queue()
        assert (queue.status, queue.retry_count, queue.next_retry_at, queue.last_error) == ("Ready", 0, None, "")
        assert queue.last_retry_at == NOW and queue.last_success_at is None

    @pytest.mark.rule("QR-24", "RT-10")
    def test_the_size_in_an_unreadable_header_is_no_fault_of_the_queue(self, site, three, transport, monkeypatch):
        items, _repair = three
        ForeignConnector.objects.update(max_message_bytes=10_000)
        Message.objects.update(has_org_headers=True)
        # What is linked or rendered is not read again: only the size is.
        monkeypatch.setattr("connectors.transport.couriers.drop._rendered", lambda *args: [b"x"])

        transport(NOW)

        assert QueueItem.objects.get(pk=items[1].pk).last_error == EIO
        assert len(list(Path(site.drop).glob("*.eml"))) == 2

    @pytest.mark.rule("QR-24", "MTO-5")
    def test_mail_for_a_mailbox_waits_the_same_way(self, site, pickup, data_dir):
        for number in range(3):
            pickup(
                f"{number}.eml", f"From: a@fcweb.test\r\nTo: alice@fcweb.test\r\nSubject: {number}\r\n\r\nx".encode()
            )
        config = transport_config()
        with Owner(config.run_dir) as owner:
            service = Service(config=config, token=owner.token)
            stages = {stage.name: stage for stage in service.stages()}
            for name in ("pickup", "categorize"):
                while stages[name].run(NOW):
                    pass
            broken = QueueItem.objects.get(message__subject="1")
            break_content(broken)
            while stages["deliver"].run(NOW):
                pass

        assert len(list((data_dir / "mailboxes" / "alice@fcweb.test" / "new").iterdir())) == 2
        broken.refresh_from_db()
        assert (broken.state, broken.last_error, the_queue().status) == ("deferred", EIO, "Ready")
        assert told("DEFER") == [("DEFER", "STOREDRIVER", "ContentUnreadable")]

    @pytest.mark.rule("QR-24", "QR-25")
    def test_content_that_is_gone_fails_at_once_and_content_behind_a_closed_door_does_not(self, site, three, transport):
        items, repair = three
        repair()
        content_of(items[0]).unlink()
        folder = content_of(items[1]).parent
        blocked = queued(site, fax_queue(site), now=NOW, subject="Offer 9")
        QueueItem.objects.filter(pk=blocked.pk).update(is_whole=False)
        Message.objects.filter(pk=blocked.message_id).update(spool_name="closed/9.eml")
        (folder.parent / "closed").write_bytes(b"no directory")

        transport(NOW)

        rows = QueueItem.objects.filter(queue=blocked.queue).values_list("message__subject", "state")
        states = dict(rows)
        assert states == {"Offer 0": "removed", "Offer 1": "delivered", "Offer 2": "delivered", "Offer 9": "deferred"}
        assert told("FAIL") == [("FAIL", "GATEWAY", "ContentLost")]

    @pytest.mark.rule("QR-30", "QR-31", "DSN-2")
    def test_its_sender_is_told_of_the_delay_and_of_the_end_without_the_content(self, site, three, transport, data_dir):
        for moment in (NOW, NOW + timedelta(hours=4, seconds=1), NOW + timedelta(days=2)):
            transport(moment)

        item = QueueItem.objects.get(pk=three[0][1].pk)
        assert (item.state, item.retry_at) == ("removed", None)
        assert ("FAIL", "QUEUE", "Expired") in told()
        notices = sorted((data_dir / "mailboxes" / "alice@fcweb.test" / "new").iterdir(), key=lambda p: p.stat().st_ino)
        texts = [path.read_bytes() for path in notices]
        assert sorted(b"Action: failed" in text for text in texts) == [False, True]
        assert all(EIO.encode() in text for text in texts if b"Action: failed" in text)


class TestFullMailbox:
    GRACE = timedelta(hours=1)

    @pytest.fixture
    def full(self, site, replay):
        """A server with an hour's patience, and a mailbox with room for one of two messages."""
        first_start.make_mailbox("bob@fcweb.test", "Bob")
        DirectoryRecipient.objects.filter(primary_address="alice@fcweb.test").update(max_mailbox_bytes=1500)
        TransportSettings.objects.create(node=site.node, mailbox_full_grace=self.GRACE)
        head = b"X-Sender: <bob@fcweb.test>\r\nX-Receiver: <alice@fcweb.test>\r\nSubject: s\r\n\r\n"
        for number in range(2):
            replay(f"{number}.eml", head + b"x" * 900 + b"\r\n")

    @staticmethod
    def inbox(data_dir, name):
        folder = data_dir / "mailboxes" / f"{name}@fcweb.test" / "new"
        return list(folder.iterdir()) if folder.is_dir() else []

    @pytest.mark.rule("MTA-15", "QR-6", "QR-24")
    def test_mail_waits_until_there_is_room(self, site, full, transport, data_dir):
        transport(NOW)

        assert len(self.inbox(data_dir, "alice")) == 1
        assert told("DEFER", "FAIL") == [("DEFER", "STOREDRIVER", "MailboxFull")]
        item = QueueItem.objects.get(state=ItemState.DEFERRED)
        assert item.last_error.startswith("452 4.2.2 mailbox full;")
        self.inbox(data_dir, "alice")[0].unlink()
        transport(NOW + QUARTER)
        assert len(self.inbox(data_dir, "alice")) == 1
        assert [event for event, _s, _c in told()].count("DELIVER") == 2

    @pytest.mark.rule("MTA-15", "MT-F", "QR-25")
    def test_mail_older_than_the_patience_is_returned(self, site, full, transport, data_dir):
        for number in range(4):
            transport(NOW + number * QUARTER)
            assert told("FAIL") == []

        transport(NOW + self.GRACE)

        assert told("FAIL") == [("FAIL", "STOREDRIVER", "MailboxFull")]
        assert len(told("DEFER")) == 1
        (notice,) = self.inbox(data_dir, "bob")
        assert b"\r\nStatus: 5.2.2\r\n" in notice.read_bytes()

    @pytest.mark.rule("QX-4", "QR-6", "MTA-15")
    def test_patience_and_interval_are_in_force_in_the_same_process(self, site, full, data_dir):
        config = transport_config()
        with Owner(config.run_dir) as owner:
            stages = Service(config=config, token=owner.token).stages()

            def settle(moment):
                while sum(stage.run(moment) for stage in stages):
                    pass

            settle(NOW)
            TransportSettings.objects.update(message_retry_interval=timedelta(minutes=2))
            settle(NOW + QUARTER)
            assert QueueItem.objects.get(state="deferred").retry_at == NOW + QUARTER + timedelta(minutes=2)
            TransportSettings.objects.update(mailbox_full_grace=timedelta(0))
            settle(NOW + QUARTER + timedelta(minutes=2))

        assert told("FAIL") == [("FAIL", "STOREDRIVER", "MailboxFull")]


class TestWhatPeopleSee:
    @pytest.mark.rule("QU-18", "QU-19", "QR-24")
    def test_properties_and_filters_know_it(self, site):
        queue = fax_queue(site)
        full = deferred(site, queue)
        unread = deferred(site, queue, context=Refusal.CONTENT_UNREADABLE, error=EIO)
        other = deferred(site, queue, context="AgentSaysLater", error="451 4.7.1 later")
        plain = queued(site, queue, now=NOW)

        shown = {item.pk: queue_rows.properties(item) for item in queue_rows.with_facts(QueueItem.objects.all())}
        assert [shown[item.pk]["DeferReason"] for item in (full, unread, other, plain)] == [
            "Marked As Retry Delivery If Rejected",
            "Storage Transient Failure During Content Conversion",
            "Transient Failure",
            "None",
        ]
        first = shown[full.pk]
        assert (first["Status"], first["LastError"], first["RetryCount"]) == ("Retry", "452 4.2.2 full", 2)
        assert found("Status -eq 'Retry'") == {full.pk, unread.pk, other.pk}
        assert found("Status -eq 'Ready'") == {plain.pk}
        assert found("DeferReason -like 'storage*'") == {unread.pk}
        assert found("DeferReason -eq 'None'") == {plain.pk}
        assert found("LastError -like '452*' -and RetryCount -ge 2") == {full.pk}

    @pytest.mark.rule("QR-20", "QU-19")
    def test_the_error_of_its_queue_is_that_of_a_ready_message_and_not_of_a_deferred_one(self, site):
        queue = fax_queue(site, status=QueueStatus.RETRY, retry_count=3, last_error="451 4.3.5 x")
        own, ready = deferred(site, queue), queued(site, queue, now=NOW)
        QueueItem.objects.filter(pk=ready.pk).update(attempts=2, last_error="452 earlier")

        shown = {item.pk: queue_rows.properties(item) for item in queue_rows.with_facts(QueueItem.objects.all())}

        assert (shown[own.pk]["LastError"], shown[own.pk]["RetryCount"]) == ("452 4.2.2 full", 2)
        assert (shown[ready.pk]["LastError"], shown[ready.pk]["RetryCount"]) == ("451 4.3.5 x", 5)
        assert (found("RetryCount -eq 5"), found("RetryCount -eq 2")) == ({ready.pk}, {own.pk})

    @pytest.mark.rule("QX-2", "QR-40")
    def test_counts_ages_and_needs_include_it(self, site):
        queue = fax_queue(site)
        deferred(site, queue, now=NOW - timedelta(hours=2), expires_at=NOW + timedelta(minutes=30))
        queued(site, queue, now=NOW)

        (row,) = reads.summaries(queue.pk, now=NOW)

        assert (row.waiting, row.deferred, row.stopped, row.moving) == (2, 1, 0, 0)
        assert row.oldest_at == NOW - timedelta(hours=2)
        assert row.is_stuck(NOW) and row.why == "1 of them was refused for now"
        (ages,) = queue_ages.ages([row], now=NOW)
        assert ages.counts == (1, 0, 0, 1, 0, 0, 0)
        assert any("expires within the hour" in need.sentence for need in inbox.more([row], told=[], now=NOW))

    @pytest.mark.rule("QO-6")
    def test_pages_say_when_it_is_tried_and_offer_to_try_now(self, site, admin_client):
        queue = fax_queue(site)
        item = deferred(site, queue, minutes=12, now=timezone.now())
        QueueItem.objects.filter(pk=item.pk).update(retry_at=timezone.now() + timedelta(minutes=12, seconds=30))

        page = admin_client.get(f"/queues/{queue.pk}/").content.decode()
        assert "in 12\u00a0min" in page and "452 4.2.2 full" in page and "Retry now" in page
        listed = admin_client.get("/queues/").content.decode()
        assert "1 refused for now" in listed and "Retry now" in listed
        part = admin_client.get(f"/message/{item.message.tracked_id}/delivery/").content.decode()
        assert "Waits in queue Fax; the next attempt is" in part and "in 12\u00a0min" in part and "452 4.2.2" in part

        answer = admin_client.post(f"/queues/{queue.pk}/operate/", {"verb": "retry"}, follow=True)
        assert "Fax is tried again now." in answer.content.decode()
        item.refresh_from_db()
        assert (item.state, item.retry_at) == ("ready", None)

    @pytest.mark.rule("QR-24", "QR-20")
    def test_the_next_attempt_is_not_before_that_of_its_queue(self, site):
        later = NOW + timedelta(minutes=40)
        queue = fax_queue(site, status=QueueStatus.RETRY, retry_count=20, next_retry_at=later, last_error="451 x")
        item = deferred(site, queue)

        (copy,) = message_parts.waiting(item.message)

        assert (copy.next_retry_at, copy.last_error, copy.attempts) == (later, "452 4.2.2 full", 2)
        delivering().update(status=QueueStatus.SUSPENDED)
        (copy,) = message_parts.waiting(item.message)
        assert (copy.next_retry_at, copy.status) == (None, "Suspended")

    @pytest.mark.rule("QX-3")
    def test_content_that_cannot_be_read_is_said_on_the_page_of_the_message(self, site, three, admin_client):
        items, _repair = three

        page = admin_client.get(f"/message/{items[1].message.tracked_id}/content/")

        assert page.status_code == 200
        assert "The content of this message cannot be read." in page.content.decode()


class TestWhatPeopleDo:
    @pytest.mark.rule("QO-6", "QR-27", "RT-32")
    @pytest.mark.parametrize(
        ("before", "after", "woken"),
        [
            (QueueStatus.READY, QueueStatus.CONNECTING, True),
            (QueueStatus.ACTIVE, QueueStatus.ACTIVE, True),
            (QueueStatus.CONNECTING, QueueStatus.CONNECTING, True),
            (QueueStatus.RETRY, QueueStatus.CONNECTING, True),
            (QueueStatus.SUSPENDED, QueueStatus.SUSPENDED, False),
        ],
    )
    def test_retry_of_a_queue_tries_its_deferred_messages_too(self, site, before, after, woken):
        queue = fax_queue(site, status=before, next_retry_at=NOW + QUARTER if before == QueueStatus.RETRY else None)
        item = deferred(site, queue)
        other = deferred(
            site,
            Queue.objects.create(
                node=site.node,
                delivery_type="NonSmtpGatewayDelivery",
                next_hop_domain="b",
                next_hop_connector=queue.next_hop_connector,
            ),
        )

        job = jobs.operate_queue(queue, Verb.RETRY, actor="ann", now=NOW)

        item.refresh_from_db()
        other.refresh_from_db()
        queue.refresh_from_db()
        assert (item.state, item.retry_at is None) == (("ready", True) if woken else ("deferred", False))
        assert (queue.status, job.changed, other.state) == (after, int(woken), "deferred")

    @pytest.mark.rule("QO-6", "QR-27", "MTA-7")
    def test_a_retry_that_is_refused_counts_and_waits_the_whole_interval(self, site, three, transport):
        transport(NOW)
        later = NOW + timedelta(minutes=5)

        jobs.operate_queue(the_queue(), Verb.RETRY, actor="ann", now=later)
        transport(later)

        item = QueueItem.objects.get(pk=three[0][1].pk)
        assert (item.attempts, item.retry_at, len(told("DEFER"))) == (2, later + QUARTER, 1)

    @pytest.mark.rule("RT-30", "QA-6")
    @pytest.mark.parametrize(
        ("retry_in", "ready", "after"),
        [(5, False, QueueStatus.RETRY), (None, False, QueueStatus.READY), (None, True, QueueStatus.CONNECTING)],
    )
    def test_a_resumed_queue_has_the_status_of_what_it_holds(self, site, retry_in, ready, after):
        retry_at = NOW + timedelta(minutes=retry_in) if retry_in else None
        queue = fax_queue(site, status=QueueStatus.SUSPENDED, next_retry_at=retry_at)
        deferred(site, queue)
        if ready:
            queued(site, queue, now=NOW)

        jobs.operate_queue(queue, Verb.RESUME, actor="ann", now=NOW)

        queue.refresh_from_db()
        assert queue.status == after

    @pytest.mark.rule("QO-14", "QU-6")
    @pytest.mark.parametrize(
        ("wish", "state", "recipient"),
        [
            (Pending.SUSPEND, ItemState.SUSPENDED, RecipientState.QUEUED),
            (Pending.REMOVE, ItemState.REMOVED, RecipientState.FAILED),
            (Pending.REMOVE_NDR, ItemState.REMOVED, RecipientState.FAILING),
        ],
    )
    def test_a_wish_given_during_the_transfer_comes_before_the_wait(self, site, wish, state, recipient):
        queue = fax_queue(site)
        item = queued(site, queue, now=NOW)
        (leased,) = leasing.lease(queue, directory=str(site.drop), token="t", limit=1, folder_of=None)
        QueueItem.objects.update(pending=wish, pending_by="ann")

        deferral.defer(
            queue, [leased], text="452 x", context="MailboxFull", source="GATEWAY", retry_at=NOW + QUARTER, now=NOW
        )
        operations.settle_pending(site.node, now=NOW)

        item.refresh_from_db()
        assert (item.state, item.pending, item.retry_at) == (state, "", None)
        assert MessageRecipient.objects.get().state == recipient
        assert told("DEFER") == []

    @pytest.mark.rule("QO-13")
    def test_a_redirected_message_is_tried_at_once_by_its_new_connector(self, site, transport):
        from connectors import configuration, drop_directory

        other = configuration.create("Other", ["SMS:*"], servers=[])
        other.source_transport_servers.add(site.node)
        drop_directory.create(other, site.node)
        transport(NOW)
        item = deferred(site, fax_queue(site), with_file=True)

        run(site, Verb.REDIRECT, queue=item.queue, connector_name="Other")

        item.refresh_from_db()
        facts = (item.state, item.retry_at, item.attempts, item.last_error, item.deferred_reason)
        assert facts == ("ready", None, 0, "", "")
        transport(NOW)
        assert len(list(drop_directory.effective_path(other, site.node).glob("*.eml"))) == 1

    @pytest.mark.rule("QO-5")
    def test_it_keeps_waiting_when_one_of_its_recipients_is_removed(self, site):
        addresses = ("IMCEAFAX-1@fcweb.test", "IMCEAFAX-2@fcweb.test")
        item = deferred(site, fax_queue(site), recipients=addresses)

        run(site, Verb.REMOVE, queue=item.queue, recipient=addresses[0])

        item.refresh_from_db()
        assert (item.state, item.retry_at, item.is_whole) == ("deferred", NOW + timedelta(minutes=12), False)


class TestWhatTimeDoes:
    @pytest.mark.rule("QR-30", "QR-29")
    @pytest.mark.parametrize("status", [QueueStatus.READY, QueueStatus.ACTIVE, QueueStatus.RETRY])
    def test_it_expires_while_it_waits_whatever_its_queue_does(self, site, status):
        item = deferred(site, fax_queue(site, status=status), expires_at=NOW)

        assert queues.expire(site.node, limit=10, now=NOW, suspended=False) == 1

        item.refresh_from_db()
        assert (item.state, item.retry_at) == ("removed", None)
        assert MessageRecipient.objects.get().status_text == "550 4.4.7 QUEUE.Expired; message expired"

    @pytest.mark.rule("QR-6", "QR-24")
    def test_what_is_due_is_woken_in_bounded_steps_and_nothing_else(self, site, monkeypatch):
        monkeypatch.setattr(deferral, "_WOKEN_A_PASS", 2)
        queue = fax_queue(site)
        for minutes in (-3, -2, -1, 1):
            deferred(site, queue, minutes=minutes)

        assert [deferral.wake(now=NOW) for _n in range(3)] == [2, 1, 0]

        rows = QueueItem.objects.order_by("pk").values_list("state", "retry_at")
        assert list(rows) == [("ready", None)] * 3 + [("deferred", NOW + timedelta(minutes=1))]

    def test_looking_for_what_is_due_costs_one_query(self, site, django_assert_num_queries):
        with django_assert_num_queries(1):
            assert deferral.wake(now=NOW) == 0

    @pytest.mark.rule("QR-11", "QR-28", "RT-51")
    def test_it_is_routed_again_with_a_queue_that_failed_too_long(self, site, transport):
        start = NOW - timedelta(hours=13)
        due = NOW + timedelta(hours=1)
        queue = fax_queue(site, status=QueueStatus.RETRY, retry_count=70, first_retry_at=start, next_retry_at=due)
        item = deferred(site, queue, now=start, minutes=90, with_file=True)

        transport(NOW)

        assert told("RESUBMIT") == [("RESUBMIT", "QUEUE", "")]
        item.refresh_from_db()
        again = QueueItem.objects.exclude(pk=item.pk).get(message=item.message_id)
        assert (item.state, item.retry_at, again.state) == ("removed", None, "ready")

    @pytest.mark.rule("RT-52", "QR-47", "FC-22")
    def test_it_is_routed_again_when_its_connector_goes(self, site, transport):
        from connectors import configuration

        transport(NOW)
        item = deferred(site, fax_queue(site), with_file=True)
        connector = ForeignConnector.objects.get(name="Fax")
        assert rerouting.of_removal(connector).waiting == 1
        assert rerouting.of_removal(connector).returned == 1

        configuration.change(connector, {"enabled": False}, spaces=None, servers=None)
        transport(NOW)

        item.refresh_from_db()
        assert (item.state, item.retry_at) == ("removed", None)
        assert MessageRecipient.objects.get(address="IMCEAFAX-1@fcweb.test").status_text.startswith("550 5.1.2")

    @pytest.mark.rule("QR-14", "RT-31")
    def test_its_queue_is_neither_empty_nor_idle(self, site):
        long_ago = NOW - timedelta(days=1)
        times = {"last_success_at": long_ago, "last_retry_at": long_ago}
        queue = fax_queue(site, status=QueueStatus.RETRY, retry_count=2, next_retry_at=NOW, **times)
        deferred(site, queue)

        upkeep.settle_empty(site.node)
        queue.refresh_from_db()
        assert queue.status == "Retry"
        delivering().update(status=QueueStatus.READY)
        assert upkeep.remove_idle(site.node, config=transport_config(), now=NOW) == 0
        assert not reads.summaries(queue.pk, now=NOW)[0].is_idle

    @pytest.mark.rule("RT-30")
    def test_a_queue_left_in_active_by_a_process_that_ended_is_ready_again(self, site):
        queue = fax_queue(site, status=QueueStatus.ACTIVE)
        deferred(site, queue)
        busy = queued(site, queue, now=NOW, state=ItemState.STAGING)

        upkeep.settle_empty(site.node)
        queue.refresh_from_db()
        assert queue.status == "Active"  # somebody transfers
        busy.delete()
        upkeep.settle_empty(site.node)
        queue.refresh_from_db()
        assert queue.status == "Ready"

    @pytest.mark.rule("QU-10", "MT-L")
    def test_it_is_loaded_at_start_and_keeps_its_time(self, site):
        item = deferred(site, fax_queue(site))

        Boot(site.node).run_once(NOW)

        assert told("LOAD") == [("LOAD", "BOOTLOADER", "")]
        item.refresh_from_db()
        assert (item.state, item.retry_at) == ("deferred", NOW + timedelta(minutes=12))

    @pytest.mark.rule("QR-50")
    def test_a_poisonous_message_takes_its_deferred_copy_along(self, site):
        item = deferred(site, fax_queue(site))
        Message.objects.update(crash_count=1)

        poison.note_crash(site.node, [item.message_id], config=transport_config(), now=NOW)

        item.refresh_from_db()
        assert (item.state, item.retry_at, item.queue.next_hop_domain) == ("suspended", None, "Poison Message")


@pytest.mark.rule("QR-7", "QR-23")
def test_a_mailbox_store_that_fails_is_tried_every_five_minutes(site, pickup, transport, data_dir):
    store = data_dir / "mailboxes"
    store.rmdir() if store.is_dir() else None
    store.write_bytes(b"in the way")
    pickup("a.eml", b"From: a@fcweb.test\r\nTo: alice@fcweb.test\r\nSubject: s\r\n\r\nx")
    moment = NOW
    for number in range(1, 13):
        transport(moment)
        queue = Queue.objects.get(delivery_type="SmtpDeliveryToMailbox")
        assert (queue.status, queue.retry_count) == ("Retry", number)
        assert queue.next_retry_at == moment + timedelta(minutes=5)
        transport(queue.next_retry_at - timedelta(seconds=1))
        assert the_queue().retry_count == number
        moment = queue.next_retry_at
    assert told("DEFER") == [("DEFER", "STOREDRIVER", "StoreIO")]

    store.unlink()
    transport(moment)

    queue = the_queue()
    assert (queue.status, queue.retry_count, queue.next_retry_at) == ("Ready", 0, None)
    assert len(list((store / "alice@fcweb.test" / "new").iterdir())) == 1
