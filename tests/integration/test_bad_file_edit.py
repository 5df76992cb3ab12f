"""A bad file edited in the browser: bytes that survive, the check that stores nothing, the order on disk."""

from __future__ import annotations

import hashlib
import html
import re
from copy import copy
from datetime import timedelta
from pathlib import Path

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from connectors import disk, line_edit
from connectors.choices import FileState
from connectors.errors import FcwebError
from connectors.models import EventLogEntry, Message, SourceFile, SubmitterAddress
from connectors.transport import bad_file_edit, badmail

pytestmark = pytest.mark.django_db(transaction=True)
HEAD = b"From: alice@fcweb.test\r\nTo: IMCEAFAX-5551234@fcweb.test\n"
BAD = HEAD + b"Subject: Offer\r\nDear Bob\r\n\r\nna\xefve \x01? no\r\nlast \xe9\x0c line"
GOOD = BAD.replace(b"Dear Bob\r\n", b"")


def inbox(site):
    return Path(site.node.pickup_directory_path)


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def set_aside(pickup, transport, content=BAD):
    pickup("offer.eml", content)
    transport()
    return SourceFile.objects.get(state=FileState.BAD)


def form_of(client, row):
    """Return what a browser would post: the fields of the page, lines ended by CRLF."""
    page = client.get(reverse("bad-file-edit", args=[row.pk])).content.decode()
    text = html.unescape(re.search(r"<textarea[^>]*>\n(.*)</textarea>", page, re.DOTALL)[1])
    made_from = re.search(r'name="made_from" value="(\w+)"', page)[1]
    return {"text": re.sub(r"\r\n|\r|\n", "\r\n", text), "made_from": made_from}


def without_offender(form):
    assert "Dear Bob\r\n" in form["text"]
    return form | {"text": form["text"].replace("Dear Bob\r\n", "")}


def post(client, name, row, form):
    return client.post(reverse(name, args=[row.pk]), form, follow=True)


@pytest.mark.rule("PU-56", "QX-10")
def test_a_file_repaired_in_the_browser_is_delivered_and_the_original_kept(site, pickup, transport, admin_client):
    row = set_aside(pickup, transport)

    answer = post(admin_client, "bad-file-resubmit-changed", row, without_offender(form_of(admin_client, row)))

    assert "offer.eml was handed in" in answer.content.decode()
    assert names(inbox(site)) == ["offer.bad", "offer.bad.txt", "offer.eml"]
    assert (inbox(site) / "offer.eml").read_bytes() == GOOD
    assert (inbox(site) / "offer.bad").read_bytes() == BAD
    assert SourceFile.objects.get(pk=row.pk).state == FileState.RESUBMITTED
    assert not EventLogEntry.objects.filter(cleared_at=None).exists()

    transport(timezone.now() + timedelta(seconds=10))

    assert Message.objects.get().subject == "Offer"
    assert len(list(site.drop.iterdir())) == 1
    assert names(inbox(site)) == ["offer.bad", "offer.bad.txt"]


@pytest.mark.rule("PU-56")
def test_the_audit_trail_names_actor_file_and_digests_but_no_content(site, pickup, transport, admin_client, admin_user):
    row = set_aside(pickup, transport)

    post(admin_client, "bad-file-resubmit-changed", row, without_offender(form_of(admin_client, row)))

    read, changed = LogEntry.objects.filter(content_type__model="sourcefile").order_by("pk")
    assert (read.action, read.actor) == (LogEntry.Action.ACCESS, admin_user)
    assert (changed.actor, changed.object_pk) == (admin_user, str(row.pk))
    facts = dict(changed.additional_data)
    assert facts == {
        "by": "admin",
        "into": ["offer.eml"],
        "sha256_before": hashlib.sha256(BAD).hexdigest(),
        "sha256_after": hashlib.sha256(GOOD).hexdigest(),
    }
    assert changed.changes == {"state": ["bad", "changing"]}


@pytest.mark.rule("PU-56")
def test_a_check_shows_the_change_and_its_outcome_and_stores_nothing(site, pickup, transport, admin_client):
    row = set_aside(pickup, transport)
    form = without_offender(form_of(admin_client, row))
    entries = LogEntry.objects.count()

    page = post(admin_client, "bad-file-check", row, form).content.decode()

    assert re.findall(r'<li class="(?:old|new)">.*?<span>([^<]*)</span></li>', page) == ["Dear Bob"]
    assert "The file would be accepted, and every recipient has a route." in page
    assert names(inbox(site)) == ["offer.bad", "offer.bad.txt"]
    assert SourceFile.objects.get().state == FileState.BAD
    assert (Message.objects.count(), LogEntry.objects.count()) == (0, entries)

    worse = form | {"text": form["text"].replace("Subject: Offer", "Subject Offer")}
    page = post(admin_client, "bad-file-check", row, worse).content.decode()
    assert "The file would be set aside as a bad file (.bad)." in page


@pytest.mark.rule("PU-56")
def test_markup_in_a_file_stays_text(site, pickup, transport, admin_client):
    row = set_aside(pickup, transport, BAD + b"\r\n</textarea><script>1</script>")
    form = without_offender(form_of(admin_client, row))
    form["text"] += "<script>2</script>"

    page = post(admin_client, "bad-file-check", row, form).content.decode()

    assert "<script>1" not in page and "<script>2" not in page
    assert "&lt;script&gt;2" in page


@pytest.mark.rule("PU-56")
def test_of_a_large_file_the_header_alone_is_edited(site, pickup, transport, admin_client):
    body = b"\r\n" + b"\xff\x00 body \n\r" * 30_000
    row = set_aside(pickup, transport, HEAD + b"Dear Bob\r\n" + body)
    form = form_of(admin_client, row)
    assert form["text"].splitlines() == [*HEAD.decode().splitlines(), "Dear Bob"]
    form["text"] = form["text"].replace("Dear Bob\r\n", "Subject: Big")  # its line end is gone too

    post(admin_client, "bad-file-resubmit-changed", row, form)

    assert (inbox(site) / "offer.eml").read_bytes() == HEAD + b"Subject: Big\r\n" + body


@pytest.mark.rule("PU-56")
def test_a_small_file_with_nul_bytes_is_edited_by_its_header(site, pickup, transport, admin_client):
    row = set_aside(pickup, transport, HEAD + b"Dear Bob\r\n\r\na\x00b")

    post(admin_client, "bad-file-resubmit-changed", row, without_offender(form_of(admin_client, row)))

    assert (inbox(site) / "offer.eml").read_bytes() == HEAD + b"\r\na\x00b"


@pytest.mark.rule("PU-56")
@pytest.mark.parametrize("held", [(), ("view_content",), ("change_sourcefile",), ("view_sourcefile",)])
def test_editing_needs_both_permissions(site, pickup, transport, client, django_user_model, held):
    row = set_aside(pickup, transport)
    user = django_user_model.objects.create_user("desk")
    user.user_permissions.set(Permission.objects.filter(codename__in=held, content_type__app_label="connectors"))
    client.force_login(user)

    assert client.get(reverse("bad-file-edit", args=[row.pk])).status_code == 403
    for name in ("bad-file-check", "bad-file-resubmit-changed"):
        assert client.post(reverse(name, args=[row.pk]), {"text": "x"}).status_code == 403
    assert names(inbox(site)) == ["offer.bad", "offer.bad.txt"]


@pytest.mark.rule("PU-56")
def test_the_two_permissions_are_enough(site, pickup, transport, client, django_user_model):
    row = set_aside(pickup, transport)
    user = django_user_model.objects.create_user("desk")
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_content", "change_sourcefile"]))
    client.force_login(user)

    post(client, "bad-file-resubmit-changed", row, without_offender(form_of(client, row)))

    assert (inbox(site) / "offer.eml").read_bytes() == GOOD


def test_a_change_is_posted_with_a_token_only(site, pickup, transport, admin_user):
    row = set_aside(pickup, transport)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)

    for name in ("bad-file-check", "bad-file-resubmit-changed"):
        assert strict.get(reverse(name, args=[row.pk])).url == reverse("bad-file-edit", args=[row.pk])
        assert strict.post(reverse(name, args=[row.pk]), {"text": "x"}).status_code == 403


@pytest.mark.rule("PU-56")
def test_a_second_submit_is_refused(site, pickup, transport, admin_client):
    row = set_aside(pickup, transport)
    form = without_offender(form_of(admin_client, row))
    before = bad_file_edit.read(row)
    post(admin_client, "bad-file-resubmit-changed", row, form)

    answer = post(admin_client, "bad-file-resubmit-changed", row, form)
    assert "This file was resubmitted already." in answer.content.decode()
    with pytest.raises(FcwebError) as caught:  # two at the same moment: the commit decides
        bad_file_edit.resubmit_changed(row, before, b"other", by="bob", now=timezone.now())

    assert caught.value.code == "BAD_FILE_TAKEN"
    assert names(inbox(site)) == ["offer.bad", "offer.bad.txt", "offer.eml"]


@pytest.mark.rule("PU-56")
def test_what_cannot_be_applied_is_refused(site, pickup, transport, admin_client):
    row = set_aside(pickup, transport)
    form = form_of(admin_client, row)

    same = post(admin_client, "bad-file-resubmit-changed", row, form)
    assert (same.status_code, "Nothing was changed." in same.content.decode()) == (422, True)
    (inbox(site) / "offer.bad").write_bytes(BAD + b"\r\nmore")
    stale = post(admin_client, "bad-file-resubmit-changed", row, without_offender(form))
    assert (stale.status_code, "meanwhile" in stale.content.decode()) == (409, True)
    (inbox(site) / "offer.bad").unlink()
    gone = post(admin_client, "bad-file-resubmit-changed", row, without_offender(form))
    assert "no longer in" in gone.content.decode()

    assert names(inbox(site)) == ["offer.bad.txt"]
    assert SourceFile.objects.get().state == FileState.BAD


@pytest.mark.rule("PU-56")
def test_a_link_in_the_place_of_the_file_is_not_followed(site, pickup, transport, admin_client, tmp_path):
    row = set_aside(pickup, transport)
    secret = tmp_path / "secret"
    secret.write_text("From: secret\n")
    (inbox(site) / "offer.bad").unlink()
    (inbox(site) / "offer.bad").symlink_to(secret)

    page = admin_client.get(reverse("bad-file-edit", args=[row.pk]), follow=True).content.decode()

    assert "From: secret" not in page and "could not be read or written" in page


@pytest.mark.rule("PU-56", "PU-20")
def test_a_name_taken_meanwhile_is_not_replaced(site, pickup, transport, admin_client):
    row = set_aside(pickup, transport)
    pickup("offer.eml", b"another")

    post(admin_client, "bad-file-resubmit-changed", row, without_offender(form_of(admin_client, row)))

    assert (inbox(site) / "offer.eml").read_bytes() == b"another"
    (other,) = [name for name in names(inbox(site)) if re.fullmatch(r"offer\d+\.eml", name)]
    assert (inbox(site) / other).read_bytes() == GOOD


class Crash(BaseException):
    """The process ends here."""


def failing(error):
    def call(*_arguments, **_options):
        raise error

    return call


crash = failing(Crash)


@pytest.mark.rule("PU-56")
@pytest.mark.parametrize("step", [(badmail, "take_off"), (disk, "write_batch"), (badmail, "keep_owner")])
def test_a_crash_before_the_bytes_are_durable_leaves_the_file_on_the_list(site, pickup, transport, monkeypatch, step):
    row = set_aside(pickup, transport)
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(*step, crash)
        bad_file_edit.resubmit_changed(row, bad_file_edit.read(row), GOOD, by="a", now=timezone.now())

    transport(timezone.now() + timedelta(minutes=2))
    assert SourceFile.objects.get().state == FileState.BAD
    assert Message.objects.count() == 0

    row.refresh_from_db()
    bad_file_edit.resubmit_changed(row, bad_file_edit.read(row), GOOD, by="a", now=timezone.now())
    assert names(inbox(site)) == ["offer.bad", "offer.bad.txt", "offer.eml"]
    transport(timezone.now() + timedelta(minutes=4))
    assert Message.objects.count() == 1


@pytest.mark.rule("PU-56")
@pytest.mark.parametrize("away", [timedelta(minutes=2), timedelta(days=30)], ids=str)
def test_a_crash_after_the_bytes_are_durable_is_made_up_for_once(site, pickup, transport, monkeypatch, away):
    row = set_aside(pickup, transport)
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(disk, "rename_new", crash)
        bad_file_edit.resubmit_changed(row, bad_file_edit.read(row), GOOD, by="a", now=timezone.now())

    assert SourceFile.objects.get().state == FileState.CHANGING
    assert "offer.eml" not in names(inbox(site))

    transport(timezone.now() + away)
    transport(timezone.now() + away + timedelta(minutes=2))

    assert (Message.objects.count(), Message.objects.get().subject) == (1, "Offer")
    assert names(inbox(site)) == ["offer.bad", "offer.bad.txt"]
    assert not EventLogEntry.objects.filter(cleared_at=None).exists()


@pytest.mark.rule("PU-56")
def test_of_two_people_who_edit_at_once_one_is_told(site, pickup, transport, monkeypatch):
    row = set_aside(pickup, transport)
    before, write, told = bad_file_edit.read(row), disk.write_batch, []

    def meanwhile(*arguments, **options):
        if not told:
            told.append("")
            with pytest.raises(FcwebError) as caught:
                bad_file_edit.resubmit_changed(copy(row), before, b"another", by="b", now=timezone.now())
            told.append(caught.value.code)
            assert bad_file_edit.finish(site.node, now=timezone.now()) == 0  # that is for work whose process ended
        write(*arguments, **options)

    monkeypatch.setattr(disk, "write_batch", meanwhile)
    assert bad_file_edit.resubmit_changed(copy(row), before, GOOD, by="a", now=timezone.now()) == "offer.eml"

    assert told == ["", "BAD_FILE_TAKEN"]
    assert (inbox(site) / "offer.eml").read_bytes() == GOOD
    assert names(inbox(site)) == ["offer.bad", "offer.bad.txt", "offer.eml"]


@pytest.mark.rule("PU-56")
def test_a_directory_that_is_away_at_the_rename_gets_the_file_later(site, pickup, transport, monkeypatch, admin_client):
    row = set_aside(pickup, transport)
    form = without_offender(form_of(admin_client, row))

    with monkeypatch.context() as patch:
        patch.setattr(disk, "rename_new", failing(OSError(5, "Input/output error")))
        answer = post(admin_client, "bad-file-resubmit-changed", row, form)
    assert "Input/output error" in answer.content.decode()

    transport(timezone.now() + timedelta(minutes=2))
    transport(timezone.now() + timedelta(minutes=4))
    assert Message.objects.get().subject == "Offer"


@pytest.mark.rule("PU-56")
def test_a_full_disk_leaves_nothing_behind(site, pickup, transport, monkeypatch, admin_client):
    row = set_aside(pickup, transport)
    form = without_offender(form_of(admin_client, row))

    monkeypatch.setattr(disk, "write_batch", failing(OSError(28, "No space left on device")))
    answer = post(admin_client, "bad-file-resubmit-changed", row, form)

    assert "No space left on device" in answer.content.decode()
    assert names(inbox(site)) == ["offer.bad", "offer.bad.txt"]
    assert SourceFile.objects.get().state == FileState.BAD
    entries = LogEntry.objects.filter(content_type__model="sourcefile", action=LogEntry.Action.UPDATE).order_by("pk")
    assert [entry.changes["state"] for entry in entries] == [["bad", "changing"], ["changing", "bad"]]


@pytest.mark.rule("PU-66")
def test_an_edit_is_no_way_around_the_senders_of_an_owner(site, pickup, transport, monkeypatch):
    row = set_aside(pickup, transport)
    SourceFile.objects.update(owner_uid=row.owner_uid + 4321)
    SubmitterAddress.objects.create(node=site.node, uid=row.owner_uid + 4321, address="carol@fcweb.test")
    row.refresh_from_db()

    monkeypatch.setattr("os.chown", failing(PermissionError(1, "Operation not permitted")))
    with pytest.raises(FcwebError) as caught:
        bad_file_edit.resubmit_changed(row, bad_file_edit.read(row), GOOD, by="a", now=timezone.now())

    assert caught.value.code == "BAD_FILE_OWNER"
    assert names(inbox(site)) == ["offer.bad", "offer.bad.txt"]
    assert SourceFile.objects.get().state == FileState.BAD


@pytest.mark.rule("PU-56")
def test_line_ends_and_stray_bytes_of_lines_left_alone_survive():
    raw = b"a\r\nb\nc\rd \xff\xf4\x8f\x9e\x80\n" + bytes(range(256)) + b"\r\n\r\nend"
    text = line_edit.shown(raw)

    assert line_edit.apply(raw, text) == line_edit.apply(raw, text.replace("\n", "\r\n")) == raw
    assert line_edit.apply(raw, text.replace("b\n", "B\n", 1)) == raw.replace(b"b\n", b"B\n", 1)
    assert line_edit.apply(raw, text.replace("b\n", "", 1)) == raw.replace(b"b\n", b"", 1)
    assert line_edit.apply(raw, text + "\nmore") == raw + b"\r\nmore"
    assert line_edit.apply(b"", "From: a\nTo: b") == b"From: a\r\nTo: b"
