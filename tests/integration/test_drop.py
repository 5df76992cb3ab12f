"""Drop directories: what is written, by link and by copy, how full they may get, and how a failure heals (DR-13 to DR-35)."""

import errno
import os
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from connectors import drop_directory
from connectors.choices import ItemState, RecipientState
from connectors.conf import transport_config
from connectors.models import EventLogEntry, ForeignConnector, Message, MessageRecipient, Node, Queue, QueueItem
from connectors.owner import Owner
from connectors.transport import leasing
from connectors.transport.couriers.drop import failure
from connectors.transport.service import Service
from tracking.models import TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)

FAX = b"From: alice@fcweb.test\r\nTo: IMCEAFAX-5551234@fcweb.test\r\nSubject: Offer\r\n\r\nBody\r\n"
REPLAY = b"X-Sender: <gw@other.test>\r\nX-Receiver: <IMCEAFAX-1@fcweb.test>\r\nFrom: gw@other.test\r\n\r\nBody\r\n"


def drop_files(site):
    return sorted(Path(site.drop).glob("*.eml"))


def events():
    return [(e.event, e.source) for e in TrackingEvent.objects.order_by("pk")]


def send_on(site, names, now=None):
    """Run some stages only, in a process that lives on, until they find nothing."""
    config = transport_config()
    with Owner(config.run_dir) as owner:
        service = Service(config=config, token=owner.token)
        stages = service.stages(names)
        while sum(stage.run(now or timezone.now()) for stage in stages):
            pass


@pytest.fixture(params=["link", "copy"])
def way(request, site):
    """Both ways into the directory: a link keeps the spool's group, so a directory with another group needs a copy."""
    if request.param == "copy":
        if os.geteuid():
            pytest.skip("only root may give the directory another group")
        os.chown(site.drop, -1, os.getegid() + 1)
        os.chmod(site.drop, 0o2770)
    return request.param


@pytest.mark.rule("DR-14", "DR-15", "DR-16", "DR-25", "DR-35", "FC-20", "FC-25")
def test_link_and_copy_hold_the_same_bytes(site, replay, transport, way):
    replay(
        "job.eml",
        b"X-Sender: <gw@other.test> BODY=8BITMIME RET=HDRS ENVID=job+2B1\r\n"
        b"X-Receiver: <IMCEAFAX-1@fcweb.test> NOTIFY=FAILURE,DELAY ORCPT=FAX;1\r\n"
        b"X-CreatedBy: MSExchange15\r\nX-HeloDomain: gw.other.test\r\nX-Source: SMTP:Default\r\n"
        b"X-SourceIPAddress: 192.0.2.7\r\nX-EndOfInjectedXHeaders: 5\r\nFrom: gw@other.test\r\n\r\nBody\r\n",
    )

    transport()

    (path,) = drop_files(site)
    spool = transport_config().spool_dir / Message.objects.get().spool_name
    assert (path.stat().st_ino == spool.stat().st_ino) is (way == "link")
    block, _, rest = path.read_bytes().partition(b"X-EndOfInjectedXHeaders: ")
    assert block.split(b"\r\n") == [
        b"X-Sender: <gw@other.test> BODY=8BITMIME RET=HDRS ENVID=job+2B1",
        b"X-Receiver: <IMCEAFAX-1@fcweb.test> NOTIFY=FAILURE,DELAY ORCPT=FAX;1",
        b"X-CreatedBy: fcweb",
        b"X-HeloDomain: gw.other.test",
        b"X-Source: SMTP:Default",
        b"X-SourceIPAddress: 192.0.2.7",
        b"",
    ]
    length, _, content = rest.partition(b"\r\n")
    assert int(length) == len(content)
    assert path.read_bytes() == spool.read_bytes()


@pytest.mark.rule("DR-24", "DR-23")
def test_names_are_plain_and_the_event_names_the_file(site, pickup, transport):
    pickup("Ünïcode name;.eml", FAX)

    transport()

    (path,) = drop_files(site)
    assert set(path.stem) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    sent = TrackingEvent.objects.get(event="SEND")
    assert (sent.source, sent.connector_id, sent.source_context) == ("GATEWAY", "Fax", path.name)
    waiting = Queue.objects.exclude(next_hop_domain="Submission").get()
    assert (waiting.delivery_type, waiting.next_hop_domain) == ("NonSmtpGatewayDelivery", "FAX")
    assert waiting.next_hop_connector == ForeignConnector.objects.get().guid


@pytest.mark.rule("DR-13", "HM-8")
def test_organisation_headers_are_removed_and_received_is_kept(site, replay, transport):
    Node.objects.update(trusted_uids=str(os.geteuid()))
    replay(
        "trusted.eml",
        b"X-Sender: <gw@other.test>\r\nX-Receiver: <IMCEAFAX-1@fcweb.test>\r\nX-CreatedBy: MSExchange15\r\n"
        b"Received: from a by b\r\nResent-From: r@other.test\r\nX-MS-Exchange-Organization-AuthAs: Internal\r\n"
        b"X-MS-Exchange-Forest-Loop: 1\r\nX-Other: kept\r\n\r\nBody X-MS-Exchange-Organization-AuthAs: text\r\n",
    )

    transport()

    assert Message.objects.get().has_org_headers
    (path,) = drop_files(site)
    block, _, content = path.read_bytes().partition(b"\r\nX-EndOfInjectedXHeaders: ")
    header, _, body = content.partition(b"\r\n\r\n")
    assert b"X-MS-Exchange" not in header
    assert b"MSExchange15" not in block
    for kept in (b"Received: from a by b", b"Resent-From: r@other.test", b"X-Other: kept"):
        assert kept in header
    assert body == b"Body X-MS-Exchange-Organization-AuthAs: text\r\n"
    assert int(header.split(b"\r\n")[0]) == len(content.partition(b"\r\n")[2])


@pytest.mark.rule("DR-17")
def test_the_null_sender_is_written_as_angle_brackets(site, replay, transport):
    replay("null.eml", REPLAY.replace(b"<gw@other.test>", b"<>", 1))

    transport()

    assert drop_files(site)[0].read_bytes().startswith(b"X-Sender: <>\r\n")


@pytest.mark.rule("DR-18", "RT-X16", "IM-1")
def test_a_contact_is_written_encapsulated_with_its_first_address(site, pickup, transport):
    from connectors import recipient_configuration

    recipient_configuration.add("contact", "fax@fcweb.test", external="FAX:+1 (425) 555-0100")
    pickup("contact.eml", FAX.replace(b"IMCEAFAX-5551234", b"fax"))

    transport()

    (path,) = drop_files(site)
    line = b"X-Receiver: <IMCEAFAX-+2B1+20+28425+29+20555-0100@fcweb.test> ORCPT=rfc822;fax@fcweb.test\r\n"
    assert line in path.read_bytes()


@pytest.mark.rule("DR-19", "DR-20", "HM-4", "UP-15", "FC-25")
def test_one_file_holds_all_recipients_and_bcc_only_in_the_envelope(site, pickup, transport):
    text = FAX.replace(b"\r\nSubject", b"\r\nBcc: IMCEAFAX-7@fcweb.test,\r\n IMCEAFAX-8@fcweb.test\r\nSubject")
    pickup("bcc.eml", text)

    transport()

    (path,) = drop_files(site)
    block, _, content = path.read_bytes().partition(b"X-EndOfInjectedXHeaders")
    assert block.count(b"X-Receiver: <IMCEAFAX-") == 3
    assert b"\nbcc:" not in content.lower()
    assert b"IMCEAFAX-7@" not in content and b"IMCEAFAX-8@" not in content


@pytest.mark.rule("DR-20", "DR-19")
def test_a_connector_may_want_one_recipient_a_file(site, pickup, transport):
    ForeignConnector.objects.update(one_recipient_per_file=True)
    pickup("two.eml", FAX.replace(b"To: ", b"To: IMCEAFAX-7@fcweb.test, "))

    transport()

    blocks = [path.read_bytes().partition(b"X-CreatedBy")[0] for path in drop_files(site)]
    assert sorted(block.count(b"X-Receiver") for block in blocks) == [1, 1]
    assert sorted(b"<IMCEAFAX-7@" in block for block in blocks) == [False, True]
    assert events().count(("SEND", "GATEWAY")) == 2


@pytest.mark.rule("DR-21", "HM-12")
def test_winmail_dat_passes_untouched(site, pickup, transport):
    part = b'--b\r\nContent-Type: application/ms-tnef; name="winmail.dat"\r\n\r\n\x78\x9f\x3e\x22\xff\r\n--b--\r\n'
    pickup(
        "tnef.eml", FAX.replace(b"\r\n\r\nBody\r\n", b"\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + part)
    )

    transport()

    assert drop_files(site)[0].read_bytes().endswith(b"\r\n\r\n" + part)


class TestRelayNotice:
    """DR-34, FC-19."""

    TEXT = REPLAY.replace(b"fcweb.test>\r\n", b"fcweb.test> NOTIFY=SUCCESS,FAILURE\r\n", 1).replace(
        b"<gw@other.test>", b"<alice@fcweb.test>"
    )

    @pytest.mark.rule("DR-34", "FC-19", "DSN-4")
    def test_the_sender_is_told_and_success_is_taken_out(self, site, replay, transport, data_dir):
        ForeignConnector.objects.update(relay_dsn_required=True)
        replay("asks.eml", self.TEXT)

        transport()

        assert b"X-Receiver: <IMCEAFAX-1@fcweb.test> NOTIFY=FAILURE " in drop_files(site)[0].read_bytes()
        (notice,) = (data_dir / "mailboxes" / "alice@fcweb.test" / "new").iterdir()
        assert b"\r\nAction: relayed\r\nStatus: 2.0.0\r\n" in notice.read_bytes()

    @pytest.mark.rule("DR-34")
    def test_success_alone_becomes_never(self, site, replay, transport):
        ForeignConnector.objects.update(relay_dsn_required=True)
        replay("asks.eml", self.TEXT.replace(b"SUCCESS,FAILURE", b"SUCCESS"))

        transport()

        assert b"X-Receiver: <IMCEAFAX-1@fcweb.test> NOTIFY=NEVER " in drop_files(site)[0].read_bytes()

    @pytest.mark.rule("DR-34", "FC-19", "AM-10")
    @pytest.mark.parametrize(("required", "text"), [(False, TEXT), (True, REPLAY)])
    def test_otherwise_nobody_is_told_and_notify_is_passed_on(self, site, replay, transport, required, text):
        ForeignConnector.objects.update(relay_dsn_required=required)
        replay("asks.eml", text)

        transport()

        assert (b"NOTIFY=SUCCESS,FAILURE " in drop_files(site)[0].read_bytes()) is (text == self.TEXT)
        assert events() == [("RECEIVE", "REPLAY"), ("SEND", "GATEWAY")]


def file_size(site, pickup, transport):
    """Return the size one FAX message has as a drop file."""
    pickup("measure.eml", FAX)
    transport()
    (path,) = drop_files(site)
    size = path.stat().st_size
    path.unlink()
    return size


class TestQuota:
    @pytest.mark.rule("DR-28", "DR-29", "FC-15", "QR-43")
    @pytest.mark.parametrize(("quota_files", "less", "written"), [(2, 0, 2), (2, 1, 1), (1, 0, 1)])
    def test_the_edges_are_exact(self, site, pickup, transport, quota_files, less, written):
        size = file_size(site, pickup, transport)
        ForeignConnector.objects.update(drop_directory_quota=quota_files * size - less)
        for number in range(3):
            pickup(f"{number}.eml", FAX)

        transport()

        assert len(drop_files(site)) == written
        assert EventLogEntry.objects.get(cleared_at=None).code == 8005

    @pytest.mark.rule("DR-29")
    def test_any_file_counts_temp_files_too_but_no_subdirectory(self, site, pickup, transport):
        size = file_size(site, pickup, transport)
        ForeignConnector.objects.update(drop_directory_quota=2 * size)
        (site.drop / ".other.tmp").write_bytes(b"x" * size)
        (site.drop / "sub").mkdir()
        (site.drop / "sub" / "big").write_bytes(b"x" * size * 9)
        (site.drop / "link").symlink_to("sub/big")
        for number in range(2):
            pickup(f"{number}.eml", FAX)

        transport()

        assert len(drop_files(site)) == 1

    @pytest.mark.rule("DR-30", "QR-44", "FC-15")
    def test_a_message_larger_than_the_quota_is_returned_at_once(self, site, pickup, transport):
        size = file_size(site, pickup, transport)
        ForeignConnector.objects.update(drop_directory_quota=size)
        pickup("more.eml", FAX + b"x" * 100)
        pickup("fits.eml", FAX)

        transport()

        assert len(drop_files(site)) == 1
        failed = MessageRecipient.objects.exclude(state=RecipientState.DELIVERED).get()
        assert failed.status_text.startswith("550 5.3.4")

    @pytest.mark.rule("DR-29")
    def test_a_copy_counts_with_the_bytes_it_really_has(self, site, pickup, transport):
        from connectors import recipient_configuration

        recipient_configuration.add("contact", "c@fcweb.test", external="FAX:" + "9" * 200)
        size = file_size(site, pickup, transport)
        ForeignConnector.objects.update(drop_directory_quota=size + 100)
        pickup("contact.eml", FAX.replace(b"IMCEAFAX-5551234", b"c"))

        transport()

        assert drop_files(site) == []
        assert sum(path.stat().st_size for path in site.drop.iterdir()) == 0

    @pytest.mark.rule("RT-X17", "FC-18", "AM-15")
    def test_a_full_directory_never_sends_mail_to_another_connector(self, site, pickup, transport):
        from connectors import configuration

        other = configuration.create("Fax2", ["FAX:*;1"])
        drop_directory.create(other, site.node)
        ForeignConnector.objects.filter(name="Fax").update(drop_directory_quota=600)
        (site.drop / "old").write_bytes(b"x" * 600)
        pickup("offer.eml", FAX)

        transport()

        waiting = Queue.objects.exclude(next_hop_domain="Submission").get()
        assert (waiting.connector_name, waiting.status) == ("Fax", "Retry")
        assert list(site.drop.with_name("Fax2").iterdir()) == []
        assert QueueItem.objects.get().state == ItemState.READY


class TestFailures:
    @pytest.mark.rule("DR-31", "FC-18", "QR-42", "EV-7", "EV-8")
    @pytest.mark.parametrize(
        ("number", "text", "context"),
        [
            (errno.ENOENT, "451 4.3.5 Drop directory does not exist", "DropMissing"),
            (errno.EACCES, "451 4.3.5 Drop directory: access denied", "DropDenied"),
            (errno.EROFS, "451 4.3.5 Drop directory: read-only file system", "DropDenied"),
            (errno.ENAMETOOLONG, "451 4.3.0 Drop directory: path too long", "DropName"),
            (errno.ENOSPC, "451 4.3.0 Drop directory: No space left on device", "DropIO"),
            (errno.EIO, "451 4.3.0 Drop directory: Input/output error", "DropIO"),
        ],
    )
    def test_each_error_has_its_status_and_event(self, number, text, context):
        found = failure(OSError(number, os.strerror(number)))

        assert (found.text, found.context) == (text, context)

    @pytest.mark.rule("DR-31", "FC-18", "QR-42")
    def test_a_directory_that_refuses_files_keeps_the_message(self, site, pickup, transport):
        # A directory of the proc file system exists and refuses to hold files, whoever asks.
        ForeignConnector.objects.update(drop_directory="/proc/self/fdinfo")
        pickup("offer.eml", FAX)

        transport()

        waiting = Queue.objects.exclude(next_hop_domain="Submission").get()
        assert waiting.status == "Retry"
        assert waiting.last_error.startswith("451 4.3.")
        assert EventLogEntry.objects.filter(cleared_at=None, subject="Fax").count() == 1
        assert QueueItem.objects.get().state == ItemState.READY

    @pytest.mark.rule("DR-31", "FC-16", "QR-42")
    def test_a_path_that_is_too_long_is_event_8007(self, site, pickup, transport):
        ForeignConnector.objects.update(drop_directory="/" + "d/" * 2040)
        pickup("offer.eml", FAX)

        transport()

        assert Queue.objects.exclude(next_hop_domain="Submission").get().status == "Retry"
        assert EventLogEntry.objects.get(cleared_at=None).code == 8007

    @pytest.mark.rule("DR-11")
    def test_every_batch_tries_to_write_rename_and_delete_first(self, site, pickup, transport):
        site.drop.rmdir()
        site.drop.write_text("a file where the directory was")
        pickup("offer.eml", FAX)

        transport()

        assert (
            Queue.objects.exclude(next_hop_domain="Submission").get().last_error
            == "451 4.3.5 Drop directory does not exist"
        )

    @pytest.mark.rule("DR-31", "FC-18", "EV-8")
    def test_one_event_a_change_of_state(self, site, pickup, transport):
        start = timezone.now()
        site.drop.rmdir()
        pickup("1.eml", FAX)
        transport(start)
        transport(start + timedelta(minutes=1))
        assert [e.code for e in EventLogEntry.objects.all()] == [8008]

        site.drop.mkdir()
        (site.drop / "old").write_bytes(b"x" * 900)
        ForeignConnector.objects.update(drop_directory_quota=900)
        transport(start + timedelta(minutes=2))

        assert [(e.code, e.cleared_at is None) for e in EventLogEntry.objects.order_by("pk")] == [
            (8008, False),
            (8005, True),
        ]


class TestReturn:
    """DR-32: what waits for its directory goes on as soon as the directory is back, before the ladder's next step."""

    @pytest.mark.rule("DR-32")
    def test_a_directory_that_comes_back_is_used_at_once(self, site, pickup, transport):
        start = timezone.now()
        site.drop.rmdir()
        pickup("offer.eml", FAX)
        transport(start)
        assert Queue.objects.exclude(next_hop_domain="Submission").get().next_retry_at == start + timedelta(minutes=1)

        site.drop.mkdir()
        transport(start + timedelta(seconds=2))

        assert len(drop_files(site)) == 1

    @pytest.mark.rule("DR-32", "DR-28")
    def test_a_reader_that_makes_room_is_answered_at_once(self, site, pickup, transport):
        start = timezone.now()
        ForeignConnector.objects.update(drop_directory_quota=900)
        (site.drop / "old").write_bytes(b"x" * 800)
        pickup("offer.eml", FAX)
        transport(start)
        retries = Queue.objects.exclude(next_hop_domain="Submission").get().retry_count
        transport(start + timedelta(seconds=2))  # still full: no attempt, the ladder stays where it is
        assert (drop_files(site), Queue.objects.exclude(next_hop_domain="Submission").get().retry_count) == (
            [],
            retries,
        )

        (site.drop / "old").unlink()
        transport(start + timedelta(seconds=4))

        assert len(drop_files(site)) == 1
        assert Queue.objects.exclude(next_hop_domain="Submission").get().status == "Ready"

    @pytest.mark.rule("DR-32", "RT-25")
    def test_a_held_connector_stays_held(self, site, pickup, transport):
        start = timezone.now()
        site.drop.rmdir()
        pickup("offer.eml", FAX)
        transport(start)
        ForeignConnector.objects.update(is_held=True)
        site.drop.mkdir()

        transport(start + timedelta(seconds=2))

        assert drop_files(site) == []


def lease(site):
    """Lease what waits, by a process that is no longer there; return the items."""
    waiting = Queue.objects.exclude(next_hop_domain="Submission").get()
    return leasing.lease(waiting, directory=str(site.drop), token="dead", limit=10, limit_bytes=10**9, folder_of=None)


class TestRecovery:
    """DR-26: the state of the row and the temp file decide."""

    @pytest.fixture
    def item(self, site, pickup):
        pickup("offer.eml", FAX)
        send_on(site, ["pickup", "categorize"])
        (leased,) = lease(site)
        return leased

    @pytest.mark.rule("DR-26")
    def test_a_half_written_temp_file_is_written_again(self, site, item, transport):
        (site.drop / item.temp_name).write_bytes(b"half")

        transport()

        (path,) = drop_files(site)
        assert path.name != item.final_name
        assert path.read_bytes().endswith(b"Body\r\n")
        assert [p.name for p in site.drop.iterdir()] == [path.name]

    @pytest.mark.rule("DR-26")
    def test_a_staged_temp_file_is_published_under_its_name(self, site, item, transport):
        (site.drop / item.temp_name).write_bytes(b"complete")
        leasing.mark_staged([item.pk])

        transport()

        assert (site.drop / item.final_name).read_bytes() == b"complete"
        assert events()[-1] == ("SEND", "GATEWAY")

    @pytest.mark.rule("DR-26")
    @pytest.mark.parametrize("collected", [False, True])
    def test_a_temp_file_that_is_gone_was_published(self, site, item, transport, collected):
        leasing.mark_staged([item.pk])
        if not collected:
            (site.drop / item.final_name).write_bytes(b"complete")

        transport()

        assert len(drop_files(site)) == (0 if collected else 1)
        sent = TrackingEvent.objects.get(event="SEND")
        assert ("presumed published" in sent.custom_data) is collected
        assert MessageRecipient.objects.get().state == RecipientState.DELIVERED

    @pytest.mark.rule("DR-26")
    def test_nothing_is_decided_while_the_directory_is_away(self, site, item, transport):
        leasing.mark_staged([item.pk])
        site.drop.rename(site.drop.with_name("away"))

        transport()

        assert QueueItem.objects.get().state == ItemState.STAGED

    @pytest.mark.rule("DR-27")
    def test_stale_temp_files_of_ours_go_at_start_and_no_others(self, site, transport):
        stale = site.drop / f".7-{uuid.uuid4()}.tmp"
        probe = site.drop / f".8-{uuid.uuid4()}.tmp.probe"
        foreign = site.drop / ".something.tmp"
        for path in (stale, probe, foreign):
            path.write_bytes(b"x")

        transport()

        assert list(site.drop.iterdir()) == [foreign]

    @pytest.mark.rule("DR-27")
    def test_temp_files_of_a_living_process_stay(self, site, pickup, transport):
        pickup("offer.eml", FAX)
        send_on(site, ["pickup", "categorize"])
        config = transport_config()
        with Owner(config.run_dir) as living:
            (item,) = leasing.lease(
                Queue.objects.exclude(next_hop_domain="Submission").get(),
                directory=str(site.drop),
                token=living.token,
                limit=1,
                limit_bytes=10**9,
                folder_of=None,
            )
            for name in (item.temp_name, f"{item.temp_name}.probed"):
                (site.drop / name).write_bytes(b"x")

            transport()

            assert {path.name for path in site.drop.iterdir()} == {item.temp_name, f"{item.temp_name}.probed"}


@pytest.mark.rule("DR-35", "DR-33")
def test_a_published_file_is_never_touched_again(site, pickup, transport):
    pickup("offer.eml", FAX)
    transport()
    (path,) = drop_files(site)
    before = (path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes())

    transport(timezone.now() + timedelta(days=30))

    assert (path.stat().st_mtime_ns, path.stat().st_ino, path.read_bytes()) == before


@pytest.mark.rule("DR-22", "RT-52")
def test_a_message_that_is_too_large_for_a_lower_limit_is_returned(site, pickup, transport):
    ForeignConnector.objects.update(is_held=True)
    pickup("offer.eml", FAX)
    transport()
    ForeignConnector.objects.update(is_held=False, max_message_bytes=10)  # without a new generation: the courier looks

    transport()

    assert drop_files(site) == []
    assert MessageRecipient.objects.exclude(status_text="").first().status_text.startswith("550 5.3.4")


@pytest.mark.rule("DR-8", "RT-12")
def test_a_connector_of_another_server_is_not_served_here(site, pickup, transport):
    other = Node.objects.create(name="other", fqdn="other")
    from connectors import configuration

    configuration.change(ForeignConnector.objects.get(), {}, servers=configuration.ListChange(replace=("other",)))
    pickup("offer.eml", FAX)

    transport()

    assert drop_files(site) == []
    assert MessageRecipient.objects.filter(status_text__startswith="550 5.1.2").exists()
    assert other.queues.count() == 0


@pytest.mark.rule("DR-12", "UP-24")
def test_a_new_connector_is_used_without_a_restart(site, pickup):
    from connectors import configuration

    config = transport_config()
    with Owner(config.run_dir) as owner:
        stages = Service(config=config, token=owner.token).stages()
        for stage in stages:
            stage.run(timezone.now())
        created = configuration.create("SMS", ["SMS:*"])
        drop_directory.create(created, site.node)
        pickup("sms.eml", FAX.replace(b"IMCEAFAX", b"IMCEASMS"))
        for _round in range(10):
            for stage in stages:
                stage.run(timezone.now() + timedelta(seconds=_round))

    assert len(list(site.drop.with_name("SMS").glob("*.eml"))) == 1
