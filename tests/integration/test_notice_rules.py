"""Notices end to end, rule by rule: grouping, parameters in and out, guards against loops, files that never enter."""

from __future__ import annotations

import email
import os
from datetime import timedelta
from email import policy
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils import timezone

from connectors import configuration, first_start
from connectors.admin import notice as notice_admin
from connectors.choices import Verb
from connectors.conf import transport_config
from connectors.mail import notice_markup
from connectors.models import (
    Contact,
    DirectoryRecipient,
    ForeignConnector,
    Mailbox,
    Message,
    MessageRecipient,
    NoticeSettings,
    NoticeText,
    Queue,
    SourceFile,
)
from connectors.transport import exports, jobs
from connectors.transport.jobs import Order
from tracking.models import TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()
ALICE, FAX, LOST = "alice@fcweb.test", "IMCEAFAX-1@fcweb.test", "IMCEASMS-1@fcweb.test"


def replayed(*receivers, sender=ALICE, header="", body="x"):
    """Return a Replay file; a receiver, and the sender, may carry parameters behind a blank."""

    def path(text):
        address, blank, parameters = text.partition(" ")
        return f"<{address}>{blank}{parameters}"

    block = [f"X-Sender: {path(sender)}", *(f"X-Receiver: {path(text)}" for text in receivers)]
    return ("\r\n".join([*block, "From: alice@fcweb.test", "Subject: Offer"]) + f"\r\n{header}\r\n{body}\r\n").encode()


@pytest.fixture
def inbox(data_dir):
    """The notices in a mailbox, oldest first, raw and parsed."""

    def read(address=ALICE):
        folder = data_dir / "mailboxes" / address / "new"
        files = sorted(folder.iterdir(), key=lambda p: int(p.name.split("-")[0])) if folder.is_dir() else []
        mails = [email.message_from_bytes(path.read_bytes(), policy=policy.default) for path in files]
        return [mail for mail in mails if mail.get_content_type() == "multipart/report"]

    return read


def groups(notice):
    part = next(p for p in notice.walk() if p.get_content_type() == "message/delivery-status")
    return [dict(group.items()) for group in part.get_payload() if group.items()]


def told(notice):
    return [(group["Final-Recipient"].partition(";")[2], group["Action"]) for group in groups(notice)[1:]]


def drop_lines(site):
    return [
        line
        for path in sorted(Path(site.drop).glob("*.eml"))
        for line in path.read_bytes().decode().split("\r\n")
        if line.startswith("X-Receiver:")
    ]


def unplug(site):
    Path(site.drop).rename(site.drop.with_name("away"))


# One notice a message, action and moment


@pytest.mark.rule("DSN-8", "DSN-1", "DSN-3", "QR-25")
def test_what_happens_at_one_moment_is_one_notice_an_action(site, replay, transport, inbox):
    replay("m.eml", replayed(LOST, "nobody@fcweb.test", f"{ALICE} NOTIFY=SUCCESS", FAX))

    transport(NOW)

    by_action = {told(notice)[0][1]: told(notice) for notice in inbox()}
    assert by_action == {
        "failed": [(LOST, "failed"), ("nobody@fcweb.test", "failed")],
        "delivered": [(ALICE, "delivered")],
    }
    assert len(inbox()) == 2
    failure = TrackingEvent.objects.filter(event="FAIL").values_list("reference", flat=True)
    assert set(failure) == {notice["Message-ID"] for notice in inbox() if told(notice)[0][1] == "failed"}


@pytest.mark.rule("DSN-8")
def test_what_fails_later_is_told_in_a_notice_of_its_own(site, replay, transport, inbox):
    unplug(site)
    replay("m.eml", replayed(LOST, FAX))
    transport(NOW)
    assert [told(notice) for notice in inbox()] == [[(LOST, "failed")]]

    transport(NOW + timedelta(days=2))

    assert [told(notice) for notice in inbox() if told(notice)[0][1] == "failed"] == [
        [(LOST, "failed")],
        [(FAX, "failed")],
    ]


@pytest.mark.rule("DSN-20", "DSN-21", "DSN-31")
@pytest.mark.parametrize(("block", "received_from"), [("X-HeloDomain: gw.fax.test\r\n", "dns;gw.fax.test"), ("", None)])
def test_a_notice_goes_to_the_return_path_alone_and_asks_for_nothing(
    site, replay, transport, inbox, block, received_from
):
    for name in ("bob", "carol"):
        first_start.make_mailbox(f"{name}@fcweb.test", name)
    data = replayed(LOST, sender="bob@fcweb.test RET=FULL ENVID=a+2Bb", header="Reply-To: carol@fcweb.test\r\n")
    replay("m.eml", data.replace(b"From: alice", block.encode() + b"From: alice"))

    transport(NOW)

    assert [len(inbox(f"{name}@fcweb.test")) for name in ("alice", "bob", "carol")] == [0, 1, 0]
    sent = Message.objects.get(source="DSN")
    assert (sent.mail_from, sent.ret, sent.envid) == ("", "", "")
    assert list(sent.recipients.values_list("address", "notify")) == [("bob@fcweb.test", "NEVER")]
    facts = groups(inbox("bob@fcweb.test")[0])[0]
    assert (facts["Original-Envelope-Id"], facts.get("Received-From-MTA")) == ("a+b", received_from)
    assert list(facts) == [
        "Original-Envelope-Id",
        "Reporting-MTA",
        *(["Received-From-MTA"] if received_from else []),
        "Arrival-Date",
    ]


@pytest.mark.rule("DSN-50")
@pytest.mark.parametrize(
    ("changes", "sender", "kinds", "reporting"),
    [
        ({"internal_send_html": False}, ALICE, ["text/plain"], "dns;node.test"),
        ({"external_send_html": False}, ALICE, ["text/plain", "text/html"], "dns;node.test"),
        ({"internal_reporting_authority": "fcweb.test"}, ALICE, ["text/plain", "text/html"], "dns;fcweb.test"),
        ({"internal_postmaster_address": "help@fcweb.test"}, ALICE, ["text/plain", "text/html"], "dns;node.test"),
    ],
)
def test_settings_of_one_audience_shape_its_notices(site, replay, transport, inbox, changes, sender, kinds, reporting):
    NoticeSettings.objects.create(**changes)
    replay("m.eml", replayed(LOST, sender=sender))

    transport(NOW)

    (notice,) = inbox()
    assert [part.get_content_type() for part in next(notice.iter_parts()).iter_parts()] == kinds
    assert groups(notice)[0]["Reporting-MTA"] == reporting
    expected = changes.get("internal_postmaster_address", "postmaster@fcweb.test")
    assert notice["From"] == f"<{expected}>" or notice["From"].addresses[0].addr_spec == expected


# Who is responsible for the receipt


@pytest.mark.rule("DSN-9", "DR-34", "QA-9")
@pytest.mark.parametrize(
    ("required", "asked", "written", "relayed"),
    [
        (
            False,
            "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;m+2Bx@c.test",
            "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;m+2Bx@c.test",
            0,
        ),
        (True, "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;m+2Bx@c.test", "NOTIFY=FAILURE ORCPT=rfc822;m+2Bx@c.test", 1),
        (True, "NOTIFY=SUCCESS ORCPT=rfc822;m@c.test", "NOTIFY=NEVER ORCPT=rfc822;m@c.test", 1),
        (True, "NOTIFY=FAILURE ORCPT=rfc822;m@c.test", "NOTIFY=FAILURE ORCPT=rfc822;m@c.test", 0),
        (True, "ORCPT=rfc822;m@c.test", "ORCPT=rfc822;m@c.test", 0),
    ],
)
def test_the_connector_says_whose_receipt_it_is(site, replay, transport, inbox, required, asked, written, relayed):
    ForeignConnector.objects.update(relay_dsn_required=required)
    replay("m.eml", replayed(f"{FAX} {asked}", sender=f"{ALICE} ENVID=job+2B7"))

    transport(NOW)

    assert drop_lines(site) == [f"X-Receiver: <{FAX}> {written}"]
    (path,) = Path(site.drop).glob("*.eml")
    assert path.read_bytes().startswith(b"X-Sender: <alice@fcweb.test> ENVID=job+2B7\r\n")
    assert [told(notice) for notice in inbox()] == [[(FAX, "relayed")]] * relayed


# Parameters as Exchange's samples write them


@pytest.mark.rule("DSN-23", "DSN-24")
@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("ORcpt=mary@contoso.com", "ORCPT=rfc822;mary@contoso.com"),
        ("orcpt=mary@contoso.com notify=never", "NOTIFY=NEVER ORCPT=rfc822;mary@contoso.com"),
        ("NOTIFY=success,Delay ORCPT=rfc822;mary@contoso.com", "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;mary@contoso.com"),
        ("ORCPT=RFC822;ma+2bry+3D1@contoso.com", "ORCPT=RFC822;ma+2bry+3D1@contoso.com"),
        ("ORCPT=x400;/c+3Dus/a+3D+20/", "ORCPT=x400;/c+3Dus/a+3D+20/"),
        ("NOTIFY=NEVER,SUCCESS ORCPT=fax;1", "NOTIFY=NEVER ORCPT=fax;1"),
    ],
)
def test_parameters_are_understood_as_exchange_writes_them_and_leave_as_the_rfc_does(
    site, replay, transport, given, written
):
    replay("m.eml", replayed(f"{FAX} {given}"))

    transport(NOW)

    assert drop_lines(site) == [f"X-Receiver: <{FAX}> {written}"]


@pytest.mark.rule("DSN-24", "QO-8")
def test_an_export_has_the_rfc_form_too(site, replay, transport, tmp_path):
    unplug(site)
    replay("m.eml", replayed(f"{FAX} ORcpt=mary@contoso.com notify=Delay", sender=f"{ALICE} RET=hdrs ENVID=a+2Bb"))
    transport(NOW)
    key = Queue.objects.get(connector_name="Fax").items.get(state="ready").pk

    folder = tmp_path / "exported"
    folder.mkdir()
    assert exports.write([key], folder, transport_config()) == {key: ""}

    (path,) = folder.iterdir()
    lines = path.read_bytes().decode().split("\r\n")
    assert lines[:2] == [
        f"X-Sender: <{ALICE}> RET=HDRS ENVID=a+2Bb",
        f"X-Receiver: <{FAX}> NOTIFY=DELAY ORCPT=rfc822;mary@contoso.com",
    ]


@pytest.mark.rule("DSN-24", "DSN-32")
def test_a_missing_type_is_rfc822_in_the_notice(site, replay, transport, inbox):
    replay("m.eml", replayed(f"{LOST} ORcpt=mary@contoso.com"))

    transport(NOW)

    assert groups(inbox()[0])[1]["Original-Recipient"] == "rfc822;mary@contoso.com"


@pytest.mark.rule("DSN-25")
@pytest.mark.parametrize("ret", ["", " RET=FULL", " RET=HDRS"])
def test_only_a_failure_returns_the_whole_message(site, replay, transport, inbox, ret):
    unplug(site)
    ForeignConnector.objects.update(relay_dsn_required=True)
    replay("m.eml", replayed(LOST, f"{ALICE} NOTIFY=SUCCESS", FAX, sender=f"{ALICE}{ret}"))
    transport(NOW)
    transport(NOW + timedelta(hours=5))

    returned = {told(notice)[0][1]: list(notice.iter_parts())[2].get_content_type() for notice in inbox()}
    assert returned == {
        "failed": "text/rfc822-headers" if "HDRS" in ret else "message/rfc822",
        "delivered": "text/rfc822-headers",
        "delayed": "text/rfc822-headers",
    }


@pytest.mark.rule("DSN-26", "RT-X16")
@pytest.mark.parametrize(
    ("given", "kept"), [("", "rfc822;desk@fcweb.test"), (" ORCPT=rfc822;me@c.test", "rfc822;me@c.test")]
)
def test_the_address_before_rewriting_is_kept_as_orcpt_unless_one_was_given(site, replay, transport, given, kept):
    contact = Contact.objects.create(
        kind="contact", name="Desk", primary_address="desk@fcweb.test", external_address="FAX:77"
    )
    contact.proxies.create(type="SMTP", address="desk@fcweb.test", key="SMTP:desk@fcweb.test")
    replay("m.eml", replayed(f"desk@fcweb.test{given}"))

    transport(NOW)

    assert drop_lines(site) == [f"X-Receiver: <IMCEAFAX-77@fcweb.test> ORCPT={kept}"]


@pytest.mark.rule("DSN-26", "DSN-32")
def test_a_notice_names_the_alias_the_sender_wrote_to(site, replay, transport, inbox):
    first_start.make_mailbox("bob@fcweb.test", "Bob")
    bob = DirectoryRecipient.objects.get(primary_address="bob@fcweb.test")
    bob.proxies.create(type="SMTP", address="robert@fcweb.test", key="SMTP:robert@fcweb.test")
    DirectoryRecipient.objects.filter(pk=bob.pk).update(max_mailbox_bytes=1)
    replay("m.eml", replayed("robert@fcweb.test"))

    transport(NOW)

    assert groups(inbox()[0])[1]["Original-Recipient"] == "rfc822;robert@fcweb.test"
    assert TrackingEvent.objects.get(event="RESOLVE").related_recipient == "robert@fcweb.test"


# Silence


@pytest.mark.rule("DSN-12")
@pytest.mark.parametrize("outcome", ["delivered", "failed"])
def test_what_the_system_sends_again_is_never_told(site, replay, transport, outcome):
    replay("m.eml", replayed(f"{FAX} NOTIFY=SUCCESS,FAILURE,DELAY"))
    transport(NOW)
    ForeignConnector.objects.update(relay_dsn_required=True)
    if outcome == "failed":
        unplug(site)
    call_command("safetynet", "resubmit", "--connector", "Fax")

    transport(NOW + timedelta(hours=5))
    if outcome == "failed":  # its time began anew when the command ran, which is later than NOW
        transport(timezone.now() + timedelta(days=2))

    assert MessageRecipient.objects.get(message__source="REPLAY").state == outcome
    assert not Message.objects.filter(source="DSN").exists()
    if outcome == "failed":
        assert TrackingEvent.objects.get(event="FAIL").reference == ""


@pytest.mark.rule("DSN-22")
@pytest.mark.parametrize(
    ("sender", "header", "answered"),
    [
        (ALICE, "", True),
        ("", "", False),
        (ALICE, "X-MS-Exchange-Message-Is-Ndr:\r\n", False),
        ("", "Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n", False),
        (ALICE, "Auto-Submitted: auto-replied\r\n", False),
        (ALICE, "Auto-Submitted: no\r\n", True),
        (ALICE, "Content-Type: multipart/report; report-type=disposition-notification; boundary=b\r\n", True),
        (ALICE, "".join(f"Received: from h{n} by h{n}; Mon, 5 Jan 2026 08:00:00 +0000\r\n" for n in range(31)), True),
    ],
)
def test_each_guard_against_loops(site, replay, transport, inbox, sender, header, answered):
    replay("m.eml", replayed(LOST, sender=sender, header=header))

    transport(NOW)

    assert len(inbox()) == int(answered)
    if "Received" in header:
        assert groups(inbox()[0])[1]["Status"] == "5.4.6"
    for notice in inbox():  # and ours carries them all
        assert notice["Auto-Submitted"] == "auto-replied"
        assert notice["X-MS-Exchange-Message-Is-Ndr"] == ""
        assert Message.objects.get(source="DSN").mail_from == ""


# Texts and switches


@pytest.mark.rule("DSN-13")
@pytest.mark.parametrize(
    ("changes", "sender", "action"),
    [
        ({}, "eve@outside.test", "delivered"),
        ({"external_reports_enabled": False}, "eve@outside.test", None),
        ({"external_reports_enabled": False}, ALICE, "delivered"),
    ],
)
def test_receipts_to_outside_can_be_switched_off(site, replay, transport, changes, sender, action):
    NoticeSettings.objects.create(**changes)
    replay("m.eml", replayed(f"{ALICE} NOTIFY=SUCCESS", sender=sender))

    transport(NOW)

    contexts = list(TrackingEvent.objects.filter(event="DSN").values_list("source_context", flat=True))
    assert contexts == (["Success"] if action else [])


@pytest.mark.rule("DSN-13", "QX-11")
def test_without_diagnostics_the_bytes_that_leave_name_nothing_of_ours(site, replay, transport):
    configuration.create("Internet", ["*;1"], fields={})
    from connectors import drop_directory

    drop_directory.create(ForeignConnector.objects.get(name="Internet"), site.node)
    NoticeSettings.objects.create(external_diagnostics_enabled=False, external_reporting_authority="example.org")
    replay("m.eml", replayed(LOST, sender="eve@outside.test", header="Received: from inner by inner2; x\r\n"))

    transport(NOW)

    (path,) = site.drop.with_name("Internet").glob("*.eml")
    notice = email.message_from_bytes(path.read_bytes(), policy=policy.default)
    text = path.read_bytes().decode().partition("Content-Type: multipart/alternative")[2]
    for secret in ("node.test", "inner", "ROUTING", "Received:", "administrators"):
        assert secret not in text, secret
    assert groups(notice)[1] == {
        "Original-Recipient": f"rfc822;{LOST}",
        "Final-Recipient": f"rfc822;{LOST}",
        "Action": "failed",
        "Status": "5.1.2",
    } | ({"X-Display-Name": "SMS:1"})


@pytest.mark.rule("DSN-34", "QR-44")
def test_trouble_of_a_drop_directory_is_not_called_smtp(site, pickup, transport, inbox):
    ForeignConnector.objects.update(drop_directory_quota=100)
    pickup("m.eml", f"From: {ALICE}\r\nTo: {FAX}\r\nSubject: Offer\r\n\r\n{'x' * 200}\r\n".encode())

    transport(NOW)

    facts = groups(inbox()[0])[1]
    assert (facts["Diagnostic-Code"].partition(" ")[0], facts["Status"]) == ("x-fcweb;550", "5.3.4")


@pytest.mark.rule("DSN-52")
def test_a_text_is_for_its_language_audience_and_code_and_its_deletion_restores_the_built_in_one(
    site, replay, transport, inbox
):
    own = NoticeText.objects.create(
        language="fr", audience="internal", code="5.1.2", text="Appelez <em>le</em> bureau."
    )
    replay("en.eml", replayed(LOST))
    replay("other.eml", replayed("nobody@fcweb.test", header="Content-Language: fr\r\n"))
    replay("fr.eml", replayed(LOST, header="Content-Language: fr\r\n"))
    transport(NOW)
    own.delete()
    replay("after.eml", replayed(LOST, header="Content-Language: fr\r\n"))
    transport(NOW)

    bodies = [notice.get_body(("plain",)).get_content() for notice in inbox()]
    assert ["Appelez le bureau." in body for body in bodies].count(True) == 1
    assert sum("Aucune passerelle" in body for body in bodies) == 1


@pytest.mark.rule("DSN-52")
@pytest.mark.parametrize(
    ("code", "length", "accepted"),
    [
        ("5.1.1", 512, True),
        ("5.1.1", 513, False),
        ("4.4.7", 9, True),
        ("5.123.123", 9, True),
        ("2.1.5", 9, False),
        ("5.1", 9, False),
        ("5.1234.1", 9, False),
    ],
)
def test_the_length_of_a_text_and_the_form_of_its_code(db, code, length, accepted):
    text = "<b>" + "x" * (length - 7) + "</b>"

    form = notice_admin.NoticeTextForm({"code": code, "language": "en", "audience": "external", "text": text})

    assert form.is_valid() is accepted, form.errors


@pytest.mark.rule("DSN-52")
def test_the_five_tags_pass_and_the_four_characters_are_escaped():
    text = '<p><B>a</B> <EM>b</EM><br><A HREF="https://x.test/?a=1&b=2">c</A></p> 1 < 2 > 0 & "q"'

    assert notice_markup.clean(text) == (
        '<p><b>a</b> <em>b</em><br><a href="https://x.test/?a=1&amp;b=2">c</a></p> 1 &lt; 2 &gt; 0 &amp; &quot;q&quot;'
    )
    assert notice_markup.plain(text).split() == ["a", "b", "c", "1", "<", "2", ">", "0", "&", '"q"']


# Files that never enter


@pytest.mark.rule("DSN-60", "PU-42")
def test_a_well_formed_file_that_is_refused_goes_back_whole_and_leaves_pickup(site, pickup, transport, inbox):
    many = ", ".join(f"IMCEAFAX-{n}@fcweb.test" for n in range(101))
    path = pickup("many.eml", f"From: {ALICE}\r\nTo: {many}\r\nSubject: Offer\r\n\r\nThe body\r\n".encode())

    transport(NOW)

    assert list(path.parent.iterdir()) == []
    (notice,) = inbox()
    returned = list(notice.iter_parts())[2]
    assert returned.get_content_type() == "message/rfc822"
    assert "The body" in returned.get_payload()[0].get_content()
    assert SourceFile.objects.get().state == "notice"


@pytest.mark.rule("DSN-61", "PU-46", "PU-55", "PU-57")
@pytest.mark.parametrize(
    "content",
    [
        b"From: alice@fcweb.test\r\nTo: IMCEAFAX-1@fcweb.test\r\nno colon here\r\n\r\nx\r\n",
        b"From: nobody\r\nTo: <@@>, also bad\r\nSubject: s\r\n\r\nx\r\n",
    ],
)
def test_a_malformed_file_stays_as_bad_under_a_free_name_and_is_told_once(site, pickup, transport, content):
    folder = Path(site.node.pickup_directory_path)
    (folder / "m.bad").write_text("an older one")
    pickup("m.eml", content)

    for seconds in (0, 40, 80):
        transport(NOW + timedelta(seconds=seconds))

    (row,) = SourceFile.objects.all()
    assert row.bad_name.startswith(f"m{NOW:%Y%m%d}") and row.bad_name.endswith(".bad")
    assert (folder / row.bad_name).read_bytes() == content
    assert (folder / "m.bad").read_text() == "an older one"
    assert list(TrackingEvent.objects.values_list("event", flat=True)) == ["BADMAIL"]
    assert not Message.objects.exists()


@pytest.mark.rule("DSN-62", "PU-7", "PU-19")
def test_a_file_that_cannot_be_opened_is_left_and_taken_at_the_next_poll(site, pickup, transport, monkeypatch):
    path = pickup("m.eml", f"From: {ALICE}\r\nTo: {FAX}\r\n\r\nx\r\n".encode())
    plain = os.open
    monkeypatch.setattr(os, "open", lambda name, *a, **k: _refuse(name, plain, *a, **k))
    transport(NOW)
    monkeypatch.undo()
    assert path.exists() and not SourceFile.objects.exists()

    transport(NOW + timedelta(seconds=5))

    assert not path.exists()
    assert Message.objects.get().source == "PICKUP"


def _refuse(name, plain, *arguments, **options):
    if os.path.basename(os.fspath(name)) == "m.eml":
        raise PermissionError(13, "Permission denied")
    return plain(name, *arguments, **options)


@pytest.mark.rule("DSN-62", "PU-19")
def test_a_tmp_left_at_the_start_is_an_eml_again(site, transport):
    folder = Path(site.node.pickup_directory_path)
    path = folder / "m.tmp"
    path.write_bytes(f"From: {ALICE}\r\nTo: {FAX}\r\n\r\nx\r\n".encode())
    os.utime(path, (1_700_000_000, 1_700_000_000))

    transport(NOW)
    transport(NOW + timedelta(seconds=40))

    assert list(folder.iterdir()) == []
    assert Message.objects.count() == 1


@pytest.mark.rule("DSN-1", "DSN-6")
@pytest.mark.parametrize(
    ("notify", "count"), [("", 1), (" NOTIFY=FAILURE", 1), (" NOTIFY=DELAY", 0), (" NOTIFY=NEVER", 0)]
)
def test_a_removal_is_told_to_those_who_want_failures(site, replay, transport, inbox, notify, count):
    unplug(site)
    replay("m.eml", replayed(f"{FAX}{notify}"))
    transport(NOW)
    order = Order(verb=Verb.REMOVE_NDR, actor="ann", queue=Queue.objects.get(connector_name="Fax"))
    jobs.run_to_end(jobs.start(site.node, order, now=NOW), config=transport_config(), now=NOW)

    transport(NOW)

    assert len(inbox()) == count
    assert Mailbox.objects.count() == 1
