"""Notices end to end: who is told what and when, in which language, and who is never told."""

from __future__ import annotations

import email
from datetime import timedelta
from email import policy
from pathlib import Path

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from connectors import first_start
from connectors.admin import notice as notice_admin
from connectors.choices import MessageState
from connectors.conf import transport_config
from connectors.models import (
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
from connectors.reads import notices as reads
from connectors.transport import delays, leasing
from tracking.models import TrackingEvent

FAX = b"From: alice@fcweb.test\r\nTo: IMCEAFAX-5551234@fcweb.test\r\nSubject: Offer\r\n\r\nBody\r\n"
LOST = FAX.replace(b"IMCEAFAX", b"IMCEASMS")  # no connector: fails at once

pytestmark = pytest.mark.django_db(transaction=True)


def events():
    return [(e.event, e.source, e.source_context) for e in TrackingEvent.objects.order_by("pk")]


def replayed(receiver="IMCEAFAX-5551234@fcweb.test", parameters="", sender="alice@fcweb.test", header=b"", body=b"x"):
    block = f"X-Sender: <{sender}>\r\nX-Receiver: <{receiver}>{parameters}\r\n".encode()
    return block + b"From: alice@fcweb.test\r\nSubject: Offer\r\n" + header + b"\r\n" + body + b"\r\n"


@pytest.fixture
def inbox(data_dir):
    """The notices in a mailbox, oldest first."""

    def read(address="alice@fcweb.test"):
        folder = data_dir / "mailboxes" / address / "new"
        files = sorted(folder.iterdir(), key=lambda p: int(p.name.split("-")[0])) if folder.is_dir() else []
        return [email.message_from_bytes(path.read_bytes(), policy=policy.default) for path in files]

    return read


def status_of(notice):
    part = next(p for p in notice.walk() if p.get_content_type() == "message/delivery-status")
    return dict(part.get_payload()[1].items())


def unplug(site):
    Path(site.drop).rename(site.drop.with_name("away"))


@pytest.mark.rule("DSN-3", "MT-B", "DSN-21", "DSN-25")
def test_a_sender_who_asks_is_told_of_delivery_to_a_mailbox(site, replay, transport, inbox):
    replay("m.eml", replayed("alice@fcweb.test", " NOTIFY=SUCCESS,FAILURE"))

    transport()

    original, notice = inbox()
    assert original["Subject"] == "Offer"
    assert notice["Subject"] == "Delivered: Offer"
    assert (status_of(notice)["Action"], status_of(notice)["Status"]) == ("delivered", "2.0.0")
    assert [p.get_content_type() for p in notice.walk()][-1] == "text/rfc822-headers"
    assert events() == [
        ("RECEIVE", "REPLAY", "m.eml"),
        ("DELIVER", "STOREDRIVER", ""),
        ("DSN", "DSN", "Success"),
        ("DELIVER", "STOREDRIVER", ""),
    ]
    assert MessageRecipient.objects.filter(message__source="DSN").get().notify == "NEVER"


@pytest.mark.rule("DSN-4", "DSN-9", "MT-A", "DR-34")
def test_a_relay_notice_follows_the_send_event(site, replay, transport, inbox):
    ForeignConnector.objects.update(relay_dsn_required=True)
    replay("m.eml", replayed(parameters=" NOTIFY=SUCCESS"))

    transport()

    (notice,) = inbox()
    assert (notice["Subject"], status_of(notice)["Action"]) == ("Relayed: Offer", "relayed")
    assert [e[:2] for e in events()] == [
        ("RECEIVE", "REPLAY"),
        ("SEND", "GATEWAY"),
        ("DSN", "DSN"),
        ("DELIVER", "STOREDRIVER"),
    ]
    dsn = TrackingEvent.objects.get(event="DSN")
    assert dsn.source_context == "Relay"
    assert dsn.reference == Message.objects.get(source="REPLAY").message_id


@pytest.mark.rule("DSN-4", "DSN-3")
@pytest.mark.parametrize("receiver", ["IMCEAFAX-5551234@fcweb.test", "alice@fcweb.test"])
def test_nobody_who_did_not_ask_is_told_of_success(site, replay, transport, receiver):
    ForeignConnector.objects.update(relay_dsn_required=True)
    replay("m.eml", replayed(receiver))

    transport()

    assert not Message.objects.filter(source="DSN").exists()


@pytest.mark.rule("QR-22", "QR-30", "QR-31", "DSN-2", "DSN-35", "MT-E", "MT-G", "QA-18")
def test_forty_eight_hours_of_retries_one_delay_notice_and_expiry_in_order(site, pickup, transport, inbox):
    unplug(site)
    pickup("m.eml", FAX)
    start = timezone.now()
    transport(start)
    retries = []
    told_at = None
    while True:
        due = Queue.objects.get(delivery_type="NonSmtpGatewayDelivery").next_retry_at
        if due >= start + timedelta(days=2):
            break
        if due > start + timedelta(hours=4) and told_at is None:
            told_at = start + timedelta(hours=4, seconds=1)
            transport(told_at)
        retries.append((due - start) // timedelta(minutes=1))
        transport(due)
    transport(start + timedelta(days=2))

    assert retries[:13] == [1, 2, 3, 4, 9, 14, 19, 24, 29, 34, 44, 54, 64]
    assert (len(retries), retries[-1]) == (294, 2874)
    told = events()
    while ("RESUBMIT", "QUEUE", "") in told:  # every 12 h the message is routed again and waits as before (QR-28)
        place = told.index(("RESUBMIT", "QUEUE", ""))
        assert told[place + 1] == ("DEFER", "GATEWAY", "DropMissing")
        del told[place : place + 2]
    assert told == [
        ("RECEIVE", "PICKUP", "m.eml"),
        ("DEFER", "GATEWAY", "DropMissing"),
        ("DSN", "DSN", "Delay"),
        ("DELIVER", "STOREDRIVER", ""),
        ("DSN", "DSN", "Failure"),
        ("FAIL", "QUEUE", "Expired"),
        ("DELIVER", "STOREDRIVER", ""),
    ]
    delay, failure = inbox()
    assert (status_of(delay)["Action"], status_of(delay)["Status"]) == ("delayed", "4.4.7")
    facts = status_of(failure)
    assert (facts["Action"], facts["Status"]) == ("failed", "4.4.7")
    assert facts["Diagnostic-Code"] == "smtp;550 4.4.7 QUEUE.Expired; message expired"
    assert facts["X-Supplementary-Info"] == "<451 4.3.5 Drop directory does not exist>"
    fail = TrackingEvent.objects.get(event="FAIL")
    assert fail.reference == failure["Message-ID"]
    assert fail.recipients.get().status == "550 4.4.7 QUEUE.Expired; message expired"
    assert Message.objects.get(source="PICKUP").state == MessageState.DONE


@pytest.mark.rule("QR-31", "DSN-2", "DSN-6")
@pytest.mark.parametrize("notify", ["FAILURE", "NEVER", "SUCCESS"])
def test_a_delay_is_told_only_to_those_who_want_it(site, replay, transport, notify):
    unplug(site)
    replay("m.eml", replayed(parameters=f" NOTIFY={notify}"))
    start = timezone.now()
    transport(start)

    transport(start + timedelta(hours=5))

    assert not Message.objects.filter(source="DSN").exists()
    recipient = MessageRecipient.objects.get()
    assert (recipient.state, recipient.report_due) == ("queued", "")


@pytest.mark.rule("QR-10", "QR-31")
@pytest.mark.parametrize("sender, told", [("alice@fcweb.test", False), ("eve@outside.test", True)])
def test_delay_notices_can_be_switched_off_by_audience(site, replay, transport, sender, told):
    NoticeSettings.objects.create(internal_delay_enabled=False)
    unplug(site)
    replay("m.eml", replayed(sender=sender))
    start = timezone.now()
    transport(start)

    transport(start + timedelta(hours=5))

    assert Message.objects.filter(source="DSN").exists() == told


@pytest.mark.rule("QR-31")
def test_the_waiting_time_before_a_delay_notice_is_a_setting(site, pickup, transport):
    NoticeSettings.objects.create(delay_after=timedelta(hours=10))
    unplug(site)
    pickup("m.eml", FAX)
    start = timezone.now()
    transport(start)

    transport(start + timedelta(hours=9))
    assert not Message.objects.filter(source="DSN").exists()
    transport(start + timedelta(hours=10, seconds=1))
    assert Message.objects.filter(source="DSN").exists()


@pytest.mark.rule("QR-31")
def test_looking_for_delays_is_one_indexed_query(site, pickup, transport):
    unplug(site)
    pickup("m.eml", FAX)
    start = timezone.now()
    transport(start)
    transport(start + timedelta(hours=5))

    with CaptureQueriesContext(connection) as queries:
        delays.run_once(
            site.node, settings=NoticeSettings.load(), config=transport_config(), now=start + timedelta(hours=6)
        )

    looked = [q["sql"] for q in queries if "connectors_message" in q["sql"]]
    assert len(looked) == 1
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN QUERY PLAN " + looked[0])
            assert any("message_undelayed" in str(row) for row in cursor.fetchall())


@pytest.mark.rule("QR-31", "DSN-8")
def test_a_delay_that_became_a_failure_is_told_as_the_failure(site, pickup, transport, inbox):
    unplug(site)
    pickup("m.eml", FAX)
    start = timezone.now()
    transport(start)
    delays.run_once(
        site.node, settings=NoticeSettings.load(), config=transport_config(), now=start + timedelta(hours=5)
    )
    assert MessageRecipient.objects.get().report_due == "delayed"

    transport(start + timedelta(days=3))

    assert [status_of(notice)["Action"] for notice in inbox()] == ["failed"]


@pytest.mark.rule("MT-H", "QO-4")
def test_a_removal_is_reported_with_its_own_code(site, pickup, transport, inbox):
    unplug(site)
    pickup("m.eml", FAX)
    transport()
    items = leasing.load(
        list(Queue.objects.exclude(next_hop_domain="Submission").get().items.values_list("pk", flat=True))
    )
    leasing.fail_items(
        items,
        text="550 5.7.1 QUEUE.Admin; message removed by an administrator",
        source="ADMIN",
        context="AdminRemove",
        connector="",
        now=timezone.now(),
    )

    transport()

    assert events()[2:4] == [("DSN", "DSN", "Failure"), ("FAIL", "ADMIN", "AdminRemove")]
    assert status_of(inbox()[0])["Status"] == "5.7.1"


@pytest.mark.rule("DSN-7", "DSN-22", "MT-4")
@pytest.mark.parametrize(
    "sender, header",
    [
        ("", b""),
        ("alice@fcweb.test", b"Auto-Submitted: auto-replied\r\n"),
        ("alice@fcweb.test", b"Auto-Submitted: Auto-Replied (vacation)\r\n".replace(b" (", b"; (")),
        ("alice@fcweb.test", b"X-MS-Exchange-Message-Is-Ndr:\r\n"),
        ("alice@fcweb.test", b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n"),
    ],
)
def test_null_senders_and_automatic_answers_never_produce_a_notice(site, replay, transport, sender, header):
    replay("m.eml", replayed("IMCEASMS-1@fcweb.test", sender=sender, header=header))

    transport()

    assert not Message.objects.filter(source="DSN").exists()
    fail = TrackingEvent.objects.get(event="FAIL")
    assert fail.reference == ""
    assert [e[0] for e in events()] == ["RECEIVE", "FAIL"]


@pytest.mark.rule("DSN-22")
def test_a_program_that_writes_by_itself_is_told_like_a_person(site, replay, transport, inbox):
    replay("m.eml", replayed("IMCEASMS-1@fcweb.test", header=b"Auto-Submitted: auto-generated\r\n"))

    transport()

    assert len(inbox()) == 1


@pytest.mark.rule("DSN-7", "DSN-70")
def test_a_notice_that_cannot_be_delivered_ends_silently(site, replay, transport):
    replay("m.eml", replayed("IMCEASMS-1@fcweb.test", sender="nobody@fcweb.test"))

    transport()

    assert Message.objects.filter(source="DSN").count() == 1
    assert [e[0] for e in events()] == ["RECEIVE", "DSN", "FAIL", "FAIL"]
    assert Message.objects.exclude(state=MessageState.DONE).count() == 0


@pytest.mark.rule("DSN-7", "MT-4", "PU-43")
@pytest.mark.parametrize("sender, header", [("", b""), ("alice@fcweb.test", b"Auto-Submitted: auto-replied\r\n")])
def test_a_file_that_never_entered_and_cannot_be_told_is_a_bad_file(site, replay, transport, sender, header):
    type(site.node).objects.update(max_message_bytes=1000)
    replay("m.eml", replayed(sender=sender, header=header, body=b"x" * 2000))

    transport()

    row = SourceFile.objects.get()
    assert (row.state, row.reason, row.bad_name) == ("bad", "NO_NOTICE_ADDRESSEE", "m.bad")
    assert Message.objects.count() == 0
    assert [e[:2] for e in events()] == [("BADMAIL", "REPLAY")]


@pytest.mark.rule("DSN-14")
def test_failures_of_watched_codes_are_copied_to_the_monitoring_mailbox(site, pickup, transport, inbox):
    NoticeSettings.objects.create(monitoring_address="postmaster@fcweb.test", copy_codes="5.1.2 5.4.4")
    mailbox = Mailbox.objects.get()
    mailbox.proxies.create(type="SMTP", address="postmaster@fcweb.test", key="SMTP:postmaster@fcweb.test")
    pickup("m.eml", LOST)

    transport()

    assert sorted(e.recipients.get().address for e in TrackingEvent.objects.filter(event="DSN")) == [
        "alice@fcweb.test",
        "postmaster@fcweb.test",
    ]
    notice_ids = {notice["Message-ID"] for notice in inbox()}
    assert len(notice_ids) == 2
    assert TrackingEvent.objects.get(event="FAIL").reference in notice_ids


@pytest.mark.rule("DSN-14")
@pytest.mark.parametrize("changes", [{}, {"monitoring_address": "alice@fcweb.test", "copy_codes": "5.4.4"}])
def test_no_copy_without_a_monitoring_mailbox_or_a_watched_code(site, pickup, transport, changes):
    NoticeSettings.objects.create(**changes)
    pickup("m.eml", LOST)

    transport()

    assert Message.objects.filter(source="DSN").count() == 1


@pytest.mark.rule("DSN-51", "DSN-50")
@pytest.mark.parametrize(
    "mailbox, header, changes, expected",
    [
        ("", b"", {}, "en-US"),
        ("", b"", {"internal_language": "fr"}, "fr-FR"),
        ("", b"Content-Language: fr-CA\r\n", {}, "fr-FR"),
        ("", b"Accept-Language: fr\r\nContent-Language: en\r\n", {}, "fr-FR"),
        ("", b"Accept-Language: de, en;q=0.4, fr;q=0.8\r\n", {}, "fr-FR"),
        ("", b"Accept-Language: fr;q=0, de\r\nContent-Language: en\r\n", {"internal_language": "fr"}, "en-US"),
        ("fr", b"Accept-Language: en\r\n", {}, "fr-FR"),
        ("fr", b"Accept-Language: fr\r\n", {"internal_language_detection": False}, "en-US"),
    ],
)
def test_the_language_follows_mailbox_then_message_then_setting(
    site, replay, transport, inbox, mailbox, header, changes, expected
):
    NoticeSettings.objects.create(**changes)
    Mailbox.objects.update(language=mailbox)
    replay("m.eml", replayed("IMCEASMS-1@fcweb.test", header=header))

    transport()

    (notice,) = inbox()
    assert notice["Content-Language"] == expected
    assert notice["Subject"] == {"en-US": "Undeliverable: Offer", "fr-FR": "Non remis : Offer"}[expected]


@pytest.mark.rule("DSN-52")
def test_a_text_of_the_administrators_own_replaces_the_built_in_one(site, pickup, transport, inbox):
    NoticeText.objects.create(
        language="en",
        audience="internal",
        code="5.1.2",
        text='Call the <b>help</b> desk & <a href="https://help.fcweb.test/">read this</a>.',
    )
    pickup("m.eml", LOST)

    transport()

    (notice,) = inbox()
    plain, html = (part.get_content() for part in notice.get_payload()[0].iter_parts())
    assert "Call the help desk & read this." in plain
    assert 'Call the <b>help</b> desk &amp; <a href="https://help.fcweb.test/">read this</a>.' in html
    assert "No gateway serves" not in plain + html


@pytest.mark.rule("DSN-25", "QL-13", "DSN-50")
@pytest.mark.parametrize(
    "parameters, changes, expected",
    [
        ("", {}, "message/rfc822"),
        (" RET=FULL", {}, "message/rfc822"),
        (" RET=HDRS", {}, "text/rfc822-headers"),
        ("", {"internal_max_attach_bytes": 0}, "text/rfc822-headers"),
        ("", {"internal_max_attach_bytes": 50}, "text/rfc822-headers"),
    ],
)
def test_what_goes_back_depends_on_ret_and_the_limit(site, replay, transport, inbox, parameters, changes, expected):
    NoticeSettings.objects.create(**changes)
    data = replayed("IMCEASMS-1@fcweb.test").replace(
        b"X-Sender: <alice@fcweb.test>", b"X-Sender: <alice@fcweb.test>" + parameters.encode()
    )
    replay("m.eml", data)

    transport()

    (notice,) = inbox()
    assert [part.get_content_type() for part in notice.iter_parts()][2] == expected


@pytest.mark.rule("DSN-13")
def test_people_outside_can_be_left_untold(site, replay, transport):
    NoticeSettings.objects.create(external_failure_enabled=False)
    replay("m.eml", replayed("IMCEASMS-1@fcweb.test", sender="eve@outside.test"))

    transport()

    assert not Message.objects.filter(source="DSN").exists()
    assert TrackingEvent.objects.get(event="FAIL").reference == ""


@pytest.mark.rule("DSN-20", "DSN-21", "DSN-70")
def test_a_notice_and_its_message_name_each_other(site, pickup, transport):
    pickup("m.eml", LOST)

    transport()

    original, notice = Message.objects.order_by("pk")
    assert (notice.mail_from, notice.source_name, notice.original) == ("", "DSN", original)
    there = reads.links(original.pk)
    back = reads.links(notice.pk)
    assert there.original is None
    assert [(n.tracked_id, n.context) for n in there.notices] == [(notice.tracked_id, "Failure")]
    assert back.original.tracked_id == original.tracked_id
    assert back.notices == ()


# Settings, preview page and command


@pytest.mark.rule("DSN-52")
@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '<b onclick="x()">bold</b>',
        '<a href="javascript:alert(1)">x</a>',
        '<a href="https://x.test" style="x">x</a>',
        "<img src=x>",
        "</p>",
        "<!-- x -->",
    ],
)
def test_a_text_with_other_tags_is_refused(db, text):
    form = notice_admin.NoticeTextForm({"code": "5.1.1", "language": "en", "audience": "internal", "text": text})

    assert "text" in form.errors


@pytest.mark.rule("QR-31")
def test_a_delay_shorter_than_the_first_retries_is_refused(db):
    values = {name: getattr(NoticeSettings(), name) for name in notice_admin.NoticeSettingsForm.base_fields}

    short = notice_admin.NoticeSettingsForm(values | {"delay_after": "00:30:00"})
    fine = notice_admin.NoticeSettingsForm(values | {"delay_after": "00:30:01"})

    assert list(short.errors) == ["delay_after"]
    assert fine.errors == {}


@pytest.mark.rule("DSN-31", "DSN-50")
@pytest.mark.parametrize("name", ["internal_reporting_authority", "external_reporting_authority"])
@pytest.mark.parametrize(
    "domain, accepted", [("", True), ("fcweb.test", True), ("münchen.example", True), ("a b;c", False)]
)
def test_a_reporting_authority_is_a_domain(db, name, domain, accepted):
    values = {field: getattr(NoticeSettings(), field) for field in notice_admin.NoticeSettingsForm.base_fields}

    form = notice_admin.NoticeSettingsForm(values | {name: domain})

    assert list(form.errors) == ([] if accepted else [name])


@pytest.fixture
def viewer(client, db):
    """A person who may see notices, signed in."""
    user = User.objects.create_user("viewer")
    user.user_permissions.add(Permission.objects.get(codename="view_noticesettings"))
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


@pytest.mark.rule("DSN-30")
@pytest.mark.parametrize("action", ["failed", "delayed", "delivered", "relayed", "expanded"])
@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_page_shows_each_notice(site, viewer, action, language):
    connector = ForeignConnector.objects.get()

    response = viewer.get(f"/notices/?action={action}&language={language}&code=5.7.1&connector={connector.pk}")

    assert response.status_code == 200
    text = response.content.decode()
    assert ("sales@fcweb.test" if action == "expanded" else "FAX:+1 425 555 0100") in text
    assert f"Action: {action}" in text
    assert 'sandbox src="/notices/html/?' in text
    assert ("Content-Type: message/rfc822" in text) == (action == "failed")
    assert Message.objects.count() == 0


@pytest.mark.rule("DSN-25", "QL-13")
def test_the_page_returns_no_more_than_the_notice_would(site, viewer):
    NoticeSettings.objects.create(internal_max_attach_bytes=0)

    text = viewer.get("/notices/?action=failed").content.decode()

    assert "text/rfc822-headers" in text and "message/rfc822" not in text


@pytest.mark.rule("DSN-30")
def test_the_frame_is_served_without_any_right(site, viewer):
    response = viewer.get("/notices/html/?action=failed&code=5.1.1&language=fr")

    assert response.content.startswith(b'<html lang="fr-FR">')
    policy_text = response["Content-Security-Policy"]
    assert "default-src 'none'" in policy_text and "sandbox" in policy_text
    assert "frame-ancestors 'self'" in policy_text
    assert "script-src" not in policy_text
    assert response["X-Frame-Options"] == "SAMEORIGIN"


@pytest.mark.parametrize("path", ["/notices/", "/notices/html/"])
def test_the_page_is_for_those_who_may_see_notices(site, client, path):
    user = User.objects.create_user("other")
    assert client.get(path).status_code == 302
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get(path).status_code == 403


def test_nonsense_in_the_address_shows_no_notice(site, viewer):
    response = viewer.get("/notices/?action=lost&code=9.9.9&connector=abc")

    assert response.status_code == 200
    assert b'id="notice-text"' not in response.content
    assert viewer.get("/notices/html/?action=lost").content == b""


def test_the_command_previews_without_sending(site, capsys):
    call_command("dsn", "preview", "failed", "--code", "5.2.2", "--language", "fr", "--connector", "fax")
    text = capsys.readouterr().out
    call_command("dsn", "preview", "failed", "--html")
    html = capsys.readouterr().out
    call_command("dsn", "preview", "delayed", "--raw")
    raw = capsys.readouterr().out

    assert text.startswith("Non remis : Offer 4711\n")
    assert "FAX:+1 425 555 0100" in text and "est pleine" in text
    assert html.startswith('<html lang="en-US">')
    assert "Action: delayed" in raw
    assert Message.objects.count() == 0


def test_the_settings_open_as_one_row(site, client):
    client.force_login(User.objects.create_superuser("root"), backend="django.contrib.auth.backends.ModelBackend")
    listed = client.get("/admin/connectors/noticesettings/")
    assert listed["Location"] == "/admin/connectors/noticesettings/add/"
    assert client.get(listed["Location"]).status_code == 200
    row = NoticeSettings.objects.create(external_language="fr")

    assert client.get("/admin/connectors/noticesettings/")["Location"].endswith(f"/{row.pk}/change/")
    assert client.get("/admin/connectors/noticesettings/add/").status_code == 403


@pytest.mark.rule("MT-F", "MTA-15", "QR-25")
def test_a_full_mailbox_returns_its_mail_at_once_and_others_are_served(site, replay, transport, data_dir):
    first_start.make_mailbox("bob@fcweb.test", "Bob")
    DirectoryRecipient.objects.filter(primary_address="alice@fcweb.test").update(max_mailbox_bytes=1500)
    for number in range(2):
        replay(
            f"{number}.eml",
            b"X-Sender: <bob@fcweb.test>\r\nX-Receiver: <alice@fcweb.test>\r\nSubject: s\r\n\r\n"
            + b"x" * 900
            + b"\r\n",
        )

    transport()

    assert len(list((data_dir / "mailboxes" / "alice@fcweb.test" / "new").iterdir())) == 1
    assert events() == [
        ("RECEIVE", "REPLAY", "0.eml"),
        ("RECEIVE", "REPLAY", "1.eml"),
        ("DELIVER", "STOREDRIVER", ""),
        ("DSN", "DSN", "Failure"),
        ("FAIL", "STOREDRIVER", "MailboxFull"),
        ("DELIVER", "STOREDRIVER", ""),
    ]
    fail = TrackingEvent.objects.get(event="FAIL")
    assert fail.recipients.get().status.startswith("554 5.2.2 mailbox full;")
    (notice,) = (data_dir / "mailboxes" / "bob@fcweb.test" / "new").iterdir()
    assert b"\r\nStatus: 5.2.2\r\n" in notice.read_bytes()
