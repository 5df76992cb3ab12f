"""Taking files: what waits, what is told, what is refused, what a restart decides; on real files and rows."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest
from auditlog.models import LogEntry
from django.core.exceptions import ValidationError
from django.utils import timezone

from connectors import mounts, watched
from connectors.choices import FileState
from connectors.conf import transport_config
from connectors.models import EventLogEntry, Message, MessageRecipient, Node, SourceFile, SubmitterAddress
from connectors.owner import Owner
from connectors.transport.scan import Scanner
from connectors.transport.service import Service
from connectors.transport.stuck import lock_holder
from tracking import story
from tracking.models import TrackedMessage, TrackingEvent

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
FAX = b"From: alice@fcweb.test\r\nTo: IMCEAFAX-5551234@fcweb.test\r\nSubject: Offer\r\n\r\nBody\r\n"
REPLAY = b"X-Sender: <gw@fax.test>\r\nX-Receiver: <IMCEAFAX-1@fcweb.test>\r\n"
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def daemon(site):
    """One long-lived service; `step(at)` runs its stages until nothing is left at that instant."""
    config = transport_config()
    with Owner(config.run_dir) as owner:
        service = Service(config=config, token=owner.token)
        stages = service.stages()

        def step(at):
            for _round in range(50):
                if not sum(stage.run(at) for stage in stages):
                    return
            raise AssertionError("no rest")

        step.service = service
        yield step


def inbox(site):
    return Path(site.node.pickup_directory_path)


def names(site):
    return sorted(path.name for path in inbox(site).iterdir())


def open_events():
    return {row.code: row.detail for row in EventLogEntry.objects.filter(cleared_at=None)}


def warnings_of(event):
    told = story.steps(story.events_of([TrackedMessage.objects.get(pk=event.message_id)]))
    return event.custom_data, told[0].sentence


@pytest.mark.rule("PU-4", "PU-5", "A-2", "UP-23")
def test_only_regular_eml_files_are_taken(site, pickup, transport):
    pickup("UPPER.EML", FAX)
    for name in ("a.txt", "b.tmp2", ".hidden.eml", "c.eml.part"):
        pickup(name, FAX)
    (inbox(site) / "folder.eml").mkdir()
    (inbox(site) / "folder.tmp").mkdir()
    os.mkfifo(inbox(site) / "pipe.eml")
    (inbox(site) / "link.eml").symlink_to(SAMPLES / "pickup_plain.eml")

    transport()

    assert list(SourceFile.objects.values_list("name", flat=True)) == ["UPPER.EML"]
    assert names(site) == [
        ".hidden.eml", "a.txt", "b.tmp2", "c.eml.part", "folder.eml", "folder.tmp", "link.eml", "pipe.eml",
    ]  # fmt: skip


@pytest.mark.rule("PU-6")
def test_the_oldest_file_goes_first_then_by_name(site, pickup, transport):
    for name, age in (("c", 10), ("b", 20), ("a", 10)):
        path = pickup(f"{name}.eml", FAX)
        os.utime(path, (1_700_000_000 - age, 1_700_000_000 - age))

    transport()

    assert list(SourceFile.objects.order_by("pk").values_list("name", flat=True)) == ["b.eml", "a.eml", "c.eml"]


@pytest.mark.rule("PU-9", "UP-7", "A-3")
def test_a_file_that_just_changed_waits_for_the_settle_time(site, pickup, daemon):
    Node.objects.update(settle_seconds=2)
    now = timezone.now()
    path = pickup("fresh.eml", FAX)
    os.utime(path, (now.timestamp() - 1, now.timestamp() - 1))

    daemon(now)
    assert names(site) == ["fresh.eml"]

    daemon(now + timedelta(seconds=6))
    assert names(site) == []


@pytest.mark.rule("PU-7", "PU-9", "UP-8", "EV-5")
def test_a_locked_file_waits_and_is_told_after_ten_polls_and_red_after_an_hour(site, pickup, daemon):
    from connectors.reads import overview

    path = pickup("held.eml", FAX)
    now = timezone.now()
    code = "import fcntl,sys,time; f=open(sys.argv[1],'r+'); fcntl.flock(f, fcntl.LOCK_EX); print('held',flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        for poll in range(9):
            daemon(now + timedelta(seconds=6 * poll))
        assert open_events() == {}

        daemon(now + timedelta(seconds=54))
        assert names(site) == ["held.eml"]
        assert SourceFile.objects.count() == 0
        assert open_events() == {90010: f"held.eml (locked; uid {os.getuid()}; pid {holder.pid})"}
        (need,) = overview.needs([], [], 0, now=now + timedelta(minutes=59))
        assert need.tone == "wait"
        (need,) = overview.needs([], [], 0, now=now + timedelta(minutes=61))
        assert need.tone == "fail"
    finally:
        holder.kill()
        holder.wait()

    daemon(now + timedelta(seconds=120))
    daemon(now + timedelta(seconds=140))
    assert names(site) == []
    assert open_events() == {}


def test_the_kernel_table_names_the_holder_of_a_lock(tmp_path):
    path = tmp_path / "file"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        status = path.stat()
        assert lock_holder(status.st_dev, status.st_ino) == os.getpid()
    assert lock_holder(status.st_dev, status.st_ino) is None


@pytest.mark.rule("PU-66")
def test_a_file_with_a_second_link_is_left_alone(site, pickup, transport, tmp_path):
    path = pickup("linked.eml", FAX)
    os.link(path, tmp_path / "other")

    transport()

    assert names(site) == ["linked.eml"]
    assert Message.objects.count() == 0


@pytest.mark.rule("PU-49", "UP-7")
def test_a_file_without_a_blank_line_gets_one_more_poll(site, pickup, daemon):
    path = pickup("half.eml", b"From: alice@fcweb.test\r\nTo: IMCEAFAX-1@fcweb.test\r\n")
    now = timezone.now()

    daemon(now)
    assert names(site) == ["half.eml"]
    with path.open("ab") as file:
        file.write(b"\r\nrest\r\n")
    daemon(now + timedelta(seconds=6))
    assert names(site) == []
    assert Message.objects.count() == 1


@pytest.mark.rule("PU-49", "PU-50")
def test_an_unfinished_file_is_bad_at_the_second_poll_and_an_empty_one_after_a_minute(site, pickup, daemon):
    now = timezone.now()
    pickup("half.eml", b"From: alice@fcweb.test\r\n")
    path = pickup("empty.eml", b"")
    os.utime(path, (now.timestamp(), now.timestamp()))

    daemon(now + timedelta(seconds=1))
    daemon(now + timedelta(seconds=7))
    assert names(site) == ["empty.eml", "half.bad", "half.bad.txt"]

    daemon(now + timedelta(seconds=59))
    assert "empty.eml" in names(site)
    daemon(now + timedelta(seconds=66))
    assert "empty.bad" in names(site)
    assert set(SourceFile.objects.filter(state="bad").values_list("reason", flat=True)) == {"NO_BLANK_LINE", "EMPTY"}


@pytest.mark.rule("PU-10", "PU-53")
def test_under_back_pressure_nothing_is_claimed(site, pickup, daemon, monkeypatch):
    from connectors.transport import pressure

    monkeypatch.setattr(pressure, "SUBMISSION_MARKS", pressure.Marks(normal=0, medium=0, high=0))
    pickup("a.eml", FAX)
    now = timezone.now()

    daemon(now)
    assert names(site) == ["a.eml"]
    assert SourceFile.objects.count() == 0
    assert 15004 in open_events()

    monkeypatch.undo()
    daemon(now + timedelta(seconds=10))
    assert names(site) == []
    assert open_events() == {}


@pytest.mark.rule("PU-53")
def test_a_disk_error_gives_the_batch_back(site, pickup, transport, data_dir):
    pickup("a.eml", FAX)
    (data_dir / "spool").mkdir(exist_ok=True)
    blocker = data_dir / "spool" / f"{timezone.now():%Y%m%d%H}"
    shutil.rmtree(blocker, ignore_errors=True)
    blocker.write_text("in the way")

    with pytest.raises(OSError):
        transport()
    assert names(site) == ["a.eml"]
    assert SourceFile.objects.get().state == FileState.RELEASED

    blocker.unlink()
    transport(timezone.now() + timedelta(seconds=10))
    assert Message.objects.count() == 1


def row_of(site, name, state, **columns):
    status = os.stat(inbox(site) / name) if (inbox(site) / name).exists() else None
    values = {
        "node": site.node, "source": "PICKUP", "directory": str(inbox(site)), "name": name[:-4] + ".eml",
        "claimed_name": name, "claimed_by": "dead", "device": status.st_dev if status else 1,
        "inode": status.st_ino if status else 1, "size": 1, "modified_ns": 1, "owner_uid": 0, "state": state,
        "claimed_at": timezone.now(),
    }  # fmt: skip
    return SourceFile.objects.create(**values | columns)


@pytest.mark.rule("PU-16", "PU-17", "PU-19", "PU-20", "UP-4", "A-4", "A-5")
@pytest.mark.parametrize(
    ("state", "messages"),
    [(FileState.QUEUED, 0), (FileState.NOTICE, 0), (FileState.CLAIMED, 1), (FileState.RELEASED, 1), (None, 1)],
)
def test_at_start_the_row_decides_what_a_tmp_becomes(site, pickup, daemon, state, messages):
    pickup("left.tmp", FAX)
    if state is not None:
        row_of(site, "left.tmp", state)

    daemon(timezone.now())
    daemon(timezone.now() + timedelta(seconds=40))

    assert names(site) == []
    assert Message.objects.count() == messages


@pytest.mark.rule("PU-19", "PU-20")
def test_a_returned_file_never_overwrites_a_new_one_of_the_same_name(site, pickup, transport):
    pickup("same.tmp", FAX.replace(b"Offer", b"old"))
    row_of(site, "same.tmp", FileState.CLAIMED)
    pickup("same.eml", FAX.replace(b"Offer", b"new"))

    transport()
    transport(timezone.now() + timedelta(seconds=40))

    assert set(Message.objects.values_list("subject", flat=True)) == {"old", "new"}
    assert any(
        name.startswith("same2") and len(name) == len("same20261125160000000.eml")
        for name in SourceFile.objects.values_list("name", flat=True)
    )


@pytest.mark.rule("PU-13", "PU-20")
def test_a_taken_tmp_name_is_avoided(site, pickup, transport):
    pickup("a.tmp", b"somebody is writing here")
    os.utime(inbox(site) / "a.tmp")
    pickup("a.eml", FAX)

    transport()

    assert names(site) == ["a.tmp"]
    claimed = SourceFile.objects.get().claimed_name
    assert claimed.startswith("a2") and claimed.endswith(".tmp")


@pytest.mark.rule("PU-21", "EV-3", "UP-22", "A-6")
def test_a_file_that_broke_two_processes_is_set_aside_as_poison(site, pickup, transport):
    pickup("evil.tmp", FAX)
    row_of(site, "evil.tmp", FileState.CLAIMED, crash_count=1)

    transport()

    row = SourceFile.objects.get()
    assert (row.state, row.reason, row.crash_count) == (FileState.BAD, "POISON", 2)
    assert len(row.sha256) == 64
    assert names(site) == ["evil.bad", "evil.bad.txt"]
    assert open_events() == {9010: "evil.bad", 10004: "evil.eml"}


@pytest.mark.rule("UP-5")
def test_a_tmp_held_for_minutes_by_a_live_process_is_told(site, pickup, daemon):
    now = timezone.now()
    pickup("slow.tmp", FAX)
    row = row_of(site, "slow.tmp", FileState.CLAIMED, claimed_by=daemon.service._token, claimed_at=now)
    daemon(now)
    daemon(now + timedelta(minutes=6))
    assert open_events()[90011].startswith(f"slow.tmp process {row.claimed_by} since ")

    row.delete()
    daemon(now + timedelta(minutes=7))
    assert open_events() == {}


@pytest.mark.rule("UP-9")
def test_a_file_that_vanishes_while_it_is_claimed_is_an_event_that_ends(site, pickup, daemon, monkeypatch):
    from connectors.transport import claims

    path = pickup("gone.eml", FAX)
    insert = claims.bulk.insert

    def insert_and_lose(*args):
        path.unlink(missing_ok=True)
        return insert(*args)

    now = timezone.now()
    with monkeypatch.context() as patch:
        patch.setattr(claims.bulk, "insert", insert_and_lose)
        daemon(now)
    assert open_events() == {90007: "gone.eml"}
    assert SourceFile.objects.count() == 0

    daemon(now + timedelta(minutes=61))
    assert open_events() == {}


@pytest.mark.rule("PU-62", "PU-64", "EV-1")
def test_a_missing_directory_is_made_or_the_reason_is_told(site, pickup, daemon):
    now = timezone.now()
    inbox(site).rmdir()
    daemon(now)
    assert stat.S_IMODE(inbox(site).stat().st_mode) == 0o2770
    assert open_events() == {}

    Node.objects.update(pickup_directory_path=str(inbox(site) / "a" / "b"))
    daemon(now + timedelta(seconds=6))
    assert open_events() == {9006: f"{inbox(site)}/a/b: No such file or directory"}

    (inbox(site) / "a").mkdir()
    daemon(now + timedelta(seconds=12))
    assert open_events() == {}


@pytest.mark.rule("PU-64", "PU-65", "UP-10")
def test_a_directory_open_to_everybody_is_refused_until_it_is_repaired(site, pickup, daemon):
    now = timezone.now()
    pickup("a.eml", FAX)
    daemon_path = str(inbox(site))
    inbox(site).chmod(0o777)

    daemon(now)
    assert open_events() == {90008: f"{daemon_path} is writable by everybody: chmod o-w '{daemon_path}'"}
    assert names(site) == ["a.eml"]

    subprocess.run(["chmod", "o-w", daemon_path], check=True)
    daemon(now + timedelta(seconds=6))
    assert names(site) == []
    assert open_events() == {}


@pytest.mark.rule("PU-65")
def test_replay_inside_pickup_is_refused(site, pickup, replay, daemon):
    nested = inbox(site) / "replay"
    nested.mkdir()
    Node.objects.update(replay_directory_path=str(nested))
    (nested / "x.eml").write_bytes(REPLAY + b"\r\n")

    daemon(timezone.now() + timedelta(seconds=10))

    assert (nested / "x.eml").exists()
    assert "is the same as, or inside" in open_events()[90008]


MOUNTS = """20 1 8:1 / / rw - ext4 /dev/sda1 rw
30 20 0:40 / /srv/nfs rw - nfs4 server:/x rw
31 20 8:17 / /media/stick rw - vfat /dev/sdb1 rw
32 20 0:41 / /srv/with\\040blank rw - fuse.s3fs bucket rw
"""


@pytest.mark.rule("PU-65")
@pytest.mark.parametrize(
    ("path", "kind"),
    [("/srv/nfs/pickup", "nfs4"), ("/srv/nfsx", "ext4"), ("/media/stick", "vfat"), ("/srv/with blank/a", "fuse.s3fs")],
)
def test_the_mount_of_a_directory_is_found(path, kind):
    assert mounts.file_system(path, table=MOUNTS) == kind


@pytest.mark.rule("PU-65")
@pytest.mark.parametrize(
    ("kind", "refuses"), [("vfat", [True]), ("fuse.s3fs", [True]), ("nfs4", [False]), ("ext4", [])]
)
def test_a_mount_without_atomic_rename_is_refused_and_a_network_mount_flagged(site, kind, refuses):
    found = watched.examine(str(inbox(site)), mount_table=f"20 1 8:1 / / rw - {kind} /dev/x rw\n")

    assert [problem.refuses for problem in found] == refuses


@pytest.mark.rule("PU-61", "PU-64")
@pytest.mark.skipif(os.getuid() != 0, reason="needs to act as another user")
@pytest.mark.parametrize(
    ("mode", "command"),
    [
        (0o2750, "chown 65534"),
        (0o3777, "chown 65534"),
        (0o2700, "chown 65534"),
        (0o0777, "chmod o-w"),
        (0o2777, "chmod o-w"),
    ],
)
def test_missing_rights_are_told_with_the_exact_command(mode, command):
    folder = tempfile.mkdtemp(dir="/tmp")
    os.chmod(folder, mode)
    os.seteuid(65534)
    try:
        found = [problem.text for problem in watched.examine(folder) if problem.refuses]
    finally:
        os.seteuid(0)
        os.rmdir(folder)

    assert any(f"{command} '{folder}'" in text for text in found)


@pytest.mark.rule("PU-63", "RP-8")
def test_replay_writable_by_the_submitters_of_pickup_is_told(site):
    assert watched.problems(site.node) == []
    os.chmod(site.node.replay_directory_path, 0o2770)

    (text,) = watched.problems(site.node)
    assert "give Replay a group of its own" in text


@pytest.mark.rule("PU-22", "UP-12")
def test_a_changed_path_takes_effect_and_the_files_left_are_counted(site, pickup, daemon, tmp_path):
    now = timezone.now()
    daemon(now)
    pickup("old.eml", FAX)
    before = Node.objects.get()
    new = tmp_path / "new"
    new.mkdir(mode=0o770)
    Node.objects.update(pickup_directory_path=str(new))
    (new / "fresh.eml").write_bytes(FAX)
    os.utime(new / "fresh.eml", (1_700_000_000, 1_700_000_000))

    assert watched.left_behind(before, Node.objects.get()) == [
        f"1 files stay in {inbox(site)}: they are neither moved nor processed."
    ]
    daemon(now + timedelta(seconds=6))
    assert names(site) == ["old.eml"]
    assert list(new.iterdir()) == []


@pytest.mark.rule("RP-8", "RP-20")
def test_every_replay_file_leaves_an_audit_entry(site, replay, transport):
    replay("good.eml", REPLAY + b"X-CreatedBy: Notes\r\nSubject: s\r\n\r\n")
    replay("odd.eml", REPLAY.replace(b"test>\r\nX-Rec", b"test> XOORG=x\r\nX-Rec") + b"\r\n")
    replay("bad.eml", b"X-Receiver: <a@b.test>\r\n\r\n")

    transport()

    entries = {e.object_repr: e.additional_data for e in LogEntry.objects.filter(content_type__model="sourcefile")}
    rows = {row.name: row for row in SourceFile.objects.all()}
    assert set(entries) == {"good.eml", "odd.eml", "bad.eml"}
    assert entries["good.eml"] == {
        "owner_uid": os.getuid(), "sha256": rows["good.eml"].sha256, "mail_from": "gw@fax.test",
        "recipients": ["IMCEAFAX-1@fcweb.test"], "created_by": "Notes", "reason": "", "warnings": [],
    }  # fmt: skip
    assert entries["odd.eml"]["warnings"] == ["UNKNOWN_PARAMETER:XOORG"]
    assert entries["bad.eml"]["reason"] == "NO_X_SENDER"


@pytest.mark.rule("RP-6", "RP-14", "RP-23")
def test_organization_fields_need_a_trusted_owner(site, replay, transport):
    data = REPLAY + b"X-CreatedBy: MSExchange15\r\nX-MS-Exchange-Organization-AuthAs: Internal\r\n\r\n"
    replay("untrusted.eml", data)
    transport()
    Node.objects.update(trusted_uids=str(os.getuid()))
    replay("trusted.eml", data)
    transport(timezone.now() + timedelta(seconds=6))

    kept = dict(Message.objects.values_list("source_file", "has_org_headers"))
    assert kept == {"untrusted.eml": False, "trusted.eml": True}
    assert set(Message.objects.values_list("source_name", flat=True)) == {"Replay"}


@pytest.mark.rule("RP-1", "PU-38")
def test_replay_has_a_dot_switch_of_its_own(site, replay, transport):
    Node.objects.update(replay_unstuff_dots=True)
    replay("dots.eml", REPLAY + b"Subject: s\r\n\r\n..dot\r\n")

    transport()

    (drop,) = Path(site.drop).glob("*.eml")
    assert drop.read_bytes().endswith(b"\r\n\r\n.dot\r\n")


@pytest.mark.rule("PU-34", "A-24", "RP-20")
def test_warnings_stand_in_the_receive_event_and_in_the_timeline(site, pickup, replay, transport):
    pickup("bom.eml", b"\xef\xbb\xbfSender: bob@fcweb.test\r\n" + FAX)
    replay("odd.eml", REPLAY.replace(b"test>\r\nX-Rec", b"test> XOORG=x\r\nX-Rec") + b"\r\n")

    transport()

    custom, said = warnings_of(TrackingEvent.objects.get(event="RECEIVE", source="PICKUP"))
    assert custom == "S:fc.warning=BOM|SENDER_DIFFERS"
    assert "byte order mark" in said and "From is the sender" in said
    custom, said = warnings_of(TrackingEvent.objects.get(event="RECEIVE", source="REPLAY"))
    assert custom == "S:fc.warning=UNKNOWN_PARAMETER:XOORG"
    assert "XOORG" in said


@pytest.mark.rule("UP-6")
@pytest.mark.parametrize(
    ("message_id", "receiver", "days", "warned"),
    [
        ("<m@a.test>", "1", 6, True),
        ("<m@a.test>", "2", 0, False),
        ("<n@a.test>", "1", 0, False),
        ("<m@a.test>", "1", 8, False),
    ],
)
def test_a_replayed_copy_of_queued_or_delivered_mail_is_taken_with_a_warning(
    site, replay, transport, message_id, receiver, days, warned
):
    replay("first.eml", REPLAY + b"Message-ID: <m@a.test>\r\n\r\n")
    transport()
    block = REPLAY.replace(b"IMCEAFAX-1", b"IMCEAFAX-" + receiver.encode())
    replay("second.eml", block + b"Message-ID: " + message_id.encode() + b"\r\n\r\n")

    transport(timezone.now() + timedelta(days=days, minutes=1))

    assert Message.objects.filter(source_file="second.eml").exists()
    event = TrackingEvent.objects.get(event="RECEIVE", source_context="second.eml")
    assert ("DUPLICATE" in event.custom_data) is warned


@pytest.mark.rule("PU-66", "PU-63")
@pytest.mark.parametrize(
    ("address", "state"), [("alice@fcweb.test", "queued"), ("*@fcweb.test", "queued"), ("bob@fcweb.test", "bad")]
)
def test_a_mapped_uid_sends_as_its_addresses_alone(site, pickup, transport, address, state):
    SubmitterAddress.objects.create(node=site.node, uid=os.getuid(), address=address)
    pickup("a.eml", FAX)

    transport()

    row = SourceFile.objects.get()
    assert (row.state, row.reason) == (state, "" if state == "queued" else "SENDER_NOT_ALLOWED")


@pytest.mark.rule("A-26", "A-25", "PU-45", "UP-11")
@pytest.mark.parametrize(
    ("sender", "mapped", "state"),
    [
        ("alice@fcweb.test", "", "notice"),
        ("eve@outside.test", "", "bad"),
        ("eve@outside.test", "*@outside.test", "notice"),
    ],
)
def test_a_refused_file_is_returned_outside_only_to_a_mapped_sender(site, pickup, transport, sender, mapped, state):
    if mapped:
        SubmitterAddress.objects.create(node=site.node, uid=os.getuid(), address=mapped)
    pickup("a.eml", f"From: {sender}\r\nTo: nobody at all\r\n\r\n".encode())

    transport()

    assert SourceFile.objects.get().state == state
    assert Message.objects.filter(source="DSN").count() == (1 if state == "notice" else 0)


@pytest.mark.rule("A-26", "PU-43", "PU-54")
def test_a_spoofed_sender_gets_no_notice_of_a_large_file_or_a_later_failure(site, pickup, transport):
    Node.objects.update(max_message_bytes=300)
    pickup("big.eml", FAX.replace(b"alice@fcweb.test", b"eve@outside.test") + b"x" * 400)
    pickup("lost.eml", FAX.replace(b"alice@fcweb.test", b"eve@outside.test").replace(b"IMCEAFAX", b"IMCEASMS"))

    transport()

    assert SourceFile.objects.get(name="big.eml").reason == "MESSAGE_TOO_BIG"
    assert MessageRecipient.objects.get().state == "failed"
    assert not Message.objects.filter(source="DSN").exists()


@pytest.mark.rule("PU-66")
@pytest.mark.parametrize(
    ("text", "valid"), [("a@b.test", True), ("*@b.test", True), ("b.test", False), ("*@", False), ("*", False)]
)
def test_the_uid_map_holds_addresses_and_domains(site, text, valid):
    row = SubmitterAddress(node=site.node, uid=1, address=text)

    if valid:
        row.full_clean()
    else:
        with pytest.raises(ValidationError):
            row.full_clean()


@pytest.mark.rule("PU-52", "RP-3", "RP-10", "UP-1", "UP-2", "UP-15")
def test_an_exported_file_is_refused_in_pickup_and_sent_to_x_receiver_alone_in_replay(site, pickup, replay, transport):
    data = (SAMPLES / "exported_queue_file.eml").read_bytes()
    pickup("export.eml", data)
    transport()
    assert (Message.objects.count(), SourceFile.objects.get().reason) == (0, "EXPORT_IN_PICKUP")

    replay("export.eml", data)
    transport(timezone.now() + timedelta(seconds=6))

    assert list(MessageRecipient.objects.values_list("address", flat=True)) == ["IMCEAFAX-5551234@fcweb.test"]
    (drop,) = Path(site.drop).glob("*.eml")
    assert b"ExtendedProps" not in drop.read_bytes()


@pytest.mark.rule("PU-11", "PU-23", "RP-9")
@pytest.mark.parametrize(
    ("name", "door"), [("pickup_plain", "pickup"), ("pickup_mime", "pickup"), ("replay_documented", "replay")]
)
def test_the_documented_examples_arrive(site, pickup, replay, transport, name, door):
    data = (SAMPLES / f"{name}.eml").read_bytes()
    {"pickup": pickup, "replay": replay}[door](f"{name}.eml", data)

    transport()

    (drop,) = Path(site.drop).glob("*.eml")
    assert drop.read_bytes().endswith(data.partition(b"\r\n\r\n")[2])


@pytest.mark.rule("A-9", "UP-15", "PU-38")
@pytest.mark.parametrize("honour", [False, True])
def test_the_dotnet_files_have_one_outcome_each(site, pickup, transport, corpus, honour):
    Node.objects.update(honour_x_receiver=honour, unstuff_dots=True)
    for path in (corpus / "eml" / "dotnet-pickup").glob("*.eml"):
        pickup(path.name, path.read_bytes())

    transport()

    assert set(SourceFile.objects.values_list("state", flat=True)) == {"queued"}
    assert SourceFile.objects.count() == 11
    hidden = MessageRecipient.objects.filter(address="hidden@contoso.example")
    assert [row.field for row in hidden] == (["Bcc"] if honour else [])


@pytest.mark.rule("UP-20")
def test_a_hundred_thousand_files_cost_a_bounded_batch_and_bounded_memory(tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    for number in range(100_000):
        os.close(os.open(f"{number:06d}.eml", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)
    scanner = Scanner(folder, settle=timedelta(0), empty_age=timedelta(0))

    tracemalloc.start()
    first = scanner.take(200, limit_bytes=2**20, now=timezone.now() + timedelta(seconds=60), closed=set())
    _now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for candidate in first:
        candidate.close()

    assert len(first) == 200
    assert peak < 30 * 1024 * 1024


@pytest.mark.rule("EV-4", "PU-15")
def test_a_finished_tmp_that_cannot_be_removed_is_told_until_it_can(site, pickup, daemon, monkeypatch):
    from connectors import spool

    pickup("a.eml", FAX)
    now = timezone.now()

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(spool, "discard", refuse)
        daemon(now)
        daemon(now + timedelta(seconds=31))
    assert names(site) == ["a.tmp"]
    assert list(open_events()) == [90004]

    daemon(now + timedelta(seconds=62))
    assert names(site) == []
    assert open_events() == {}
    assert Message.objects.count() == 1


@pytest.mark.rule("EV-5", "EV-6", "PU-8", "PU-13")
@pytest.mark.parametrize(("module", "name", "code"), [("disk", "rename_new", 90006), ("os", "scandir", 90005)])
def test_a_rename_or_read_error_is_told_once_and_ends(site, pickup, daemon, monkeypatch, module, name, code):
    from connectors.transport import claims, scan

    path = pickup("a.eml", FAX)
    now = timezone.now()
    os.utime(path, (now.timestamp() - 120,) * 2)
    daemon(now - timedelta(seconds=200))  # opens the directory; the file is not settled yet at that instant
    pickup("b.eml", FAX)

    def refuse(*args):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(claims.disk if module == "disk" else scan.os, name, refuse)
        daemon.service._recovered_at = now + timedelta(minutes=1)
        daemon(now)
        daemon(now + timedelta(seconds=6))
    assert list(open_events()) == [code]
    assert "b.eml" in names(site)
    assert EventLogEntry.objects.filter(subject=str(inbox(site))).count() == 1

    daemon(now + timedelta(seconds=12))
    daemon(now + timedelta(seconds=30))
    assert names(site) == []
    assert open_events() == {}
