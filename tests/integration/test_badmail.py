"""Bad files: set aside once, told once, listed, handed in again, split; by page and by command."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from auditlog.models import LogEntry
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from connectors.choices import FileState
from connectors.errors import FcwebError
from connectors.models import EventLogEntry, ForeignConnector, Message, MessageRecipient, Node, SourceFile
from connectors.transport import bad_file_split, badmail
from tracking.models import TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)
BAD = b"From: alice@fcweb.test\r\nSubject: Offer\r\nDear Bob\r\n\r\nbody\r\n"
GOOD = b"From: alice@fcweb.test\r\nTo: IMCEAFAX-5551234@fcweb.test\r\nSubject: Offer\r\n\r\nbody\r\n"


def inbox(site):
    return Path(site.node.pickup_directory_path)


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def glued():
    parts = []
    for number in (1, 2):
        content = b"Subject: %d\r\n\r\nbody %d\r\n" % (number, number)
        block = b"X-sender: <s@a.test>\r\nX-Receiver: <IMCEAFAX-%d@fcweb.test>\r\n" % number
        parts.append(block + b"X-EndOfInjectedXHeaders: %d\r\n" % len(content) + content)
    return b"".join(parts)


def run(capsys, *arguments):
    call_command("badmail", *arguments)
    return capsys.readouterr().out


@pytest.mark.rule("PU-55", "PU-58", "PU-59", "UP-3", "MT-C")
def test_everything_about_a_bad_file_is_kept(site, pickup, transport):
    path = pickup("offer.eml", BAD)
    status = path.stat()

    transport()

    row = SourceFile.objects.get()
    assert (row.name, row.bad_name, row.reason, row.line, row.text) == (
        "offer.eml",
        "offer.bad",
        "BAD_HEADER",
        3,
        "Dear Bob",
    )
    assert (row.size, row.owner_uid, len(row.sha256)) == (len(BAD), status.st_uid, 64)
    assert (inbox(site) / "offer.bad").read_bytes() == BAD
    said = (inbox(site) / "offer.bad.txt").read_text()
    assert "BAD_HEADER line 3: Dear Bob" in said and row.sha256 in said
    assert [(e.event, e.source, e.source_context) for e in TrackingEvent.objects.all()] == [
        ("BADMAIL", "PICKUP", "offer.eml BAD_HEADER")
    ]


@pytest.mark.rule("PU-58")
def test_the_reason_file_can_be_switched_off(site, pickup, transport):
    Node.objects.update(write_bad_txt=False)
    pickup("offer.eml", BAD)

    transport()

    assert names(inbox(site)) == ["offer.bad"]


@pytest.mark.rule("PU-55", "PU-20")
def test_a_taken_bad_name_gets_the_date(site, pickup, transport):
    (inbox(site) / "offer.bad").write_text("older")
    pickup("offer.eml", BAD)

    transport()

    assert (inbox(site) / "offer.bad").read_text() == "older"
    bad_name = SourceFile.objects.get().bad_name
    assert bad_name.startswith("offer2") and (inbox(site) / bad_name).read_bytes() == BAD


@pytest.mark.rule("PU-55", "PU-57", "EV-2")
def test_bad_mail_is_told_once_never_retried_and_ends_with_the_last_bad_file(site, pickup, transport):
    now = timezone.now()
    for number in (1, 2):
        pickup(f"{number}.eml", BAD)
    for seconds in (0, 40, 80):
        transport(now + timedelta(seconds=seconds))
    assert [(e.code, e.subject, e.cleared_at) for e in EventLogEntry.objects.all()] == [(9010, str(inbox(site)), None)]
    assert SourceFile.objects.count() == 2

    first, second = SourceFile.objects.order_by("pk")
    badmail.resubmit(first, by="test", now=now)
    assert EventLogEntry.objects.filter(cleared_at=None).exists()
    badmail.resubmit(second, by="test", now=now)
    assert not EventLogEntry.objects.filter(cleared_at=None).exists()
    assert EventLogEntry.objects.count() == 1


@pytest.mark.rule("PU-56")
def test_a_repaired_file_handed_in_again_is_sent(site, pickup, transport):
    pickup("offer.eml", BAD)
    transport()
    (inbox(site) / "offer.bad").write_bytes(GOOD)

    assert badmail.resubmit(SourceFile.objects.get(), by="alice", now=timezone.now()) == "offer.eml"
    assert names(inbox(site)) == ["offer.eml"]
    transport(timezone.now() + timedelta(seconds=10))

    assert Message.objects.get().subject == "Offer"
    entry = LogEntry.objects.get(content_type__model="sourcefile")
    assert entry.additional_data == {"by": "alice", "into": ["offer.eml"]}


@pytest.mark.rule("PU-56")
def test_a_file_taken_away_by_hand_leaves_the_list(site, pickup, transport):
    pickup("offer.eml", BAD)
    transport()
    (inbox(site) / "offer.bad").unlink()
    with pytest.raises(FcwebError, match="no longer"):
        badmail.resubmit(SourceFile.objects.get(), by="test", now=timezone.now())

    transport(timezone.now() + timedelta(minutes=2))

    assert SourceFile.objects.get().state == FileState.GONE
    assert not EventLogEntry.objects.filter(cleared_at=None).exists()


@pytest.mark.rule("RP-24", "RP-25")
def test_glued_exports_are_split_and_each_is_sent(site, replay, transport):
    replay("two.eml", glued())
    transport()
    row = SourceFile.objects.get()
    assert (row.reason, Message.objects.count()) == ("CONCATENATED_EXPORT", 0)

    assert bad_file_split.split(row, by="test", now=timezone.now()) == ["two-1.eml", "two-2.eml"]
    assert names(site.node.replay_directory_path) == ["two-1.eml", "two-2.eml"]
    with pytest.raises(FcwebError):
        bad_file_split.split(row, by="test", now=timezone.now())
    transport(timezone.now() + timedelta(seconds=10))

    assert names(site.node.replay_directory_path) == []
    addresses = MessageRecipient.objects.order_by("address").values_list("address", flat=True)
    assert list(addresses) == ["IMCEAFAX-1@fcweb.test", "IMCEAFAX-2@fcweb.test"]
    assert SourceFile.objects.get(pk=row.pk).state == FileState.RESUBMITTED


def test_a_file_with_one_message_is_not_split(site, pickup, transport):
    pickup("offer.eml", BAD)
    transport()

    with pytest.raises(FcwebError) as caught:
        bad_file_split.split(SourceFile.objects.get(), by="test", now=timezone.now())
    assert caught.value.code == "NOT_GLUED"
    assert names(inbox(site)) == ["offer.bad", "offer.bad.txt"]
    assert SourceFile.objects.get().state == FileState.BAD


@pytest.mark.rule("PU-58", "UP-3")
def test_the_command_lists_shows_and_hands_in(site, pickup, transport, capsys):
    pickup("a.eml", BAD)
    pickup("b.eml", b"From: alice@fcweb.test\r\n\r\n")
    transport()
    capsys.readouterr()
    pk = SourceFile.objects.get(name="a.eml").pk

    listed = [json.loads(line) for line in run(capsys, "list", "--json").splitlines()]
    assert {(row["name"], row["reason"], row["line"]) for row in listed} == {
        ("a.eml", "BAD_HEADER", 3),
        ("b.eml", "NO_RECIPIENTS", 0),
    }
    assert run(capsys, "list", "--reason", "BAD_HEADER").split("\t")[:3] == [str(pk), "a.bad", "BAD_HEADER"]
    assert run(capsys, "list", "--source", "REPLAY") == ""
    assert ">     3 Dear Bob" in run(capsys, "show", str(pk))
    shown = json.loads(run(capsys, "show", str(pk), "--json"))
    assert [line["text"] for line in shown["excerpt"] if line["offends"]] == ["Dear Bob"]
    assert json.loads(run(capsys, "resubmit", str(pk), "--json"))["files"] == ["a.eml"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["show", "999"], 3), (["resubmit", "999"], 3), (["split", "GLUE"], 1), (["resubmit", "GONE"], 4)],
)
def test_the_command_ends_with_a_code(site, pickup, transport, arguments, code):
    pickup("a.eml", BAD)
    transport()
    pk = str(SourceFile.objects.get().pk)
    if arguments[1] == "GONE":
        (inbox(site) / "a.bad").unlink()

    with pytest.raises(CommandError) as caught:
        call_command("badmail", arguments[0], arguments[1] if arguments[1].isdigit() else pk)
    assert caught.value.returncode == code


@pytest.mark.rule("RP-25", "UP-3", "PU-56")
def test_the_pages_filter_by_reason_and_split(site, pickup, replay, transport, admin_client):
    pickup("a.eml", BAD)
    replay("two.eml", glued())
    transport()
    row = SourceFile.objects.get(name="two.eml")

    page = admin_client.get(reverse("bad-files"), {"reason": "BAD_HEADER"}).content.decode()
    assert "a.eml" in page and "two.eml" not in page
    assert "two.eml" in admin_client.get(reverse("bad-files"), {"reason": "'<x>"}).content.decode()
    assert 'id="split"' in admin_client.get(reverse("bad-file", args=[row.pk])).content.decode()
    answer = admin_client.post(reverse("bad-file-split", args=[row.pk]), follow=True).content.decode()
    assert "two-1.eml, two-2.eml" in answer
    assert names(site.node.replay_directory_path) == ["two-1.eml", "two-2.eml"]
    asked = admin_client.get(reverse("bad-file-split", args=[row.pk]))
    assert asked.url == reverse("bad-file", args=[row.pk])


def test_a_stranger_may_not_split(site, client, django_user_model):
    client.force_login(django_user_model.objects.create_user("desk"))

    assert client.post(reverse("bad-file-split", args=[1])).status_code == 403


@pytest.mark.rule("EV-7", "EV-8")
@pytest.mark.parametrize(("quota", "code"), [(None, 8008), (1, 8005)])
def test_a_drop_directory_in_trouble_is_told_with_path_and_quota(site, pickup, transport, quota, code):
    ForeignConnector.objects.update(drop_directory_quota=quota and 1024 * 1024)
    if quota:
        (site.drop / "waiting").write_bytes(b"x" * 1024 * 1024)
    else:
        site.drop.rename(site.drop.with_name("away"))
    pickup("a.eml", GOOD)

    transport()

    event = EventLogEntry.objects.get()
    assert (event.code, event.subject) == (code, "Fax")
    assert str(site.drop) in event.detail
    assert ("quota 1 MB" in event.detail) is bool(quota)
