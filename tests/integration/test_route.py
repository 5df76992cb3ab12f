"""*Which route?* and `manage.py route`: an address or a file, explained whole; nothing is stored (RT-, IM-)."""

import base64
import json
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command

from connectors import configuration, drop_directory, recipient_configuration
from connectors.models import ForeignConnector, Message, Node, SourceFile
from tracking.models import TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)

FAX = (
    b"From: alice@fcweb.test\r\nTo: IMCEAFAX-5551234@fcweb.test, nobody@fcweb.test\r\nBcc: IMCEAFAX-7@fcweb.test\r\n"
    b"Message-ID: <offer@fcweb.test>\r\nDate: Wed, 25 Nov 2026 10:00:00 +0000\r\nSubject: Offer\r\n\r\nBody\r\n"
)


def run(*words):
    out = StringIO()
    call_command("route", *words, stdout=out)
    return out.getvalue()


def shown(*words):
    return json.loads(run(*words, "--json"))


@pytest.fixture
def browser(site, client):
    client.force_login(get_user_model().objects.get(username="admin"))
    return client


@pytest.mark.rule("RT-10", "RT-11", "RT-13", "RT-14", "RT-16", "RT-25")
def test_the_json_names_every_candidate_and_why_it_lost(site):
    for name, space, fields in (
        ("Exact", "FAX:5551234;9", {}),
        ("Dear", "FAX:5551234;10", {}),
        ("Exact2", "FAX:5551234;9", {}),
        ("Off", "FAX:5551234", {"enabled": False}),
        ("Small", "FAX:5551234", {"max_message_bytes": 5}),
        ("SMS", "SMS:*", {}),
    ):
        configuration.create(name, [space], fields=fields)

    found = shown("FAX:5551234", "--size", "1KB")

    assert (found["verdict"], found["connector"], found["queue"]) == (
        "deliver",
        "Exact",
        "NonSmtpGatewayDelivery/FAX",
    )
    assert found["envelope_address"] == "IMCEAFAX-5551234@fcweb.test"
    assert found["directory"].endswith("/drop/Exact")
    assert {c["connector"]: (c["lost"], c["rule"]) for c in found["candidates"]} == {
        "Exact": ("", "RT-16"),
        "Exact2": ("name-order", "RT-16"),
        "Dear": ("higher-cost", "RT-14"),
        "Fax": ("less-specific", "RT-13"),
        "Off": ("disabled", "RT-25"),
        "Small": ("size", "RT-10"),
        "SMS": ("no-match", "RT-11"),
    }
    assert all(c["sentence"] and c["kind"] == "foreign" for c in found["candidates"])
    winner = found["candidates"][0]
    assert (winner["cost"], winner["class"], winner["specificity"]) == (9, "exact address", [1, 0, 0])
    assert [step["code"] for step in found["steps"]] == ["decapsulated", "selected"]


@pytest.mark.rule("RT-21", "A-25")
@pytest.mark.parametrize(
    ("sender", "said"),
    [
        ("alice@fcweb.test", "A notice goes to alice@fcweb.test."),
        ("<>", "No notice is sent: the sender is empty (<>)."),
        ("nobody@fcweb.test", "A notice to nobody@fcweb.test is due, but cannot be delivered."),
        ("not an address", "No notice can be sent: “not an address” is not an address."),
    ],
)
def test_a_failure_says_where_the_notice_would_go(site, sender, said):
    found = shown("SMS:1", "--sender", sender)

    assert (found["verdict"], found["status_code"]) == ("fail", "5.1.2")
    assert found["notice"].startswith(said)


def test_neither_or_both_of_address_and_file_are_refused(site, tmp_path):
    for words in ((), ("FAX:1", "--file", str(tmp_path / "x"))):
        with pytest.raises(CommandError):
            run(*words)


class TestDryRun:
    """A file is tried with the real readers, resolver and writer."""

    def nothing_is_stored(self, site):
        assert (Message.objects.count(), SourceFile.objects.count(), TrackingEvent.objects.count()) == (0, 0, 0)
        assert list(site.drop.iterdir()) == []

    @pytest.mark.rule("RT-X14", "DSN-6")
    @pytest.mark.parametrize(("notify", "told"), [("", True), ("NEVER", False), ("DELAY", False), ("FAILURE", True)])
    @pytest.mark.parametrize("receiver", ["IMCEASMS-1@fcweb.test", "bad@@fcweb.test"])
    def test_it_says_where_a_notice_would_go_only_when_it_was_asked_for(self, site, tmp_path, receiver, notify, told):
        path = tmp_path / "offer.eml"
        asked = f" NOTIFY={notify}" if notify else ""
        receivers = f"X-Receiver: <IMCEAFAX-1@fcweb.test>\nX-Receiver: <{receiver}>{asked}\n"
        path.write_text(f"X-Sender: <alice@fcweb.test>\n{receivers}Subject: Offer\n\nBody\n")

        found = shown("--file", str(path), "--via", "replay")

        assert found["sentence"] == "The file would be accepted, but some recipients would fail."
        assert bool(found["notice"]) == told

    @pytest.mark.rule("RT-X14", "DSN-6", "DSN-7")
    @pytest.mark.parametrize(
        ("sender", "asked", "fate"),
        [("alice@fcweb.test", "", "notice"), ("alice@fcweb.test", " NOTIFY=NEVER", "bad"), ("", "", "bad")],
    )
    @pytest.mark.parametrize(("receiver", "size"), [("bad@@fcweb.test", 1), ("IMCEAFAX-1@fcweb.test", 2000)])
    def test_a_refused_file_nobody_may_be_told_of_is_foretold_as_bad(
        self, site, tmp_path, replay, transport, sender, asked, fate, receiver, size
    ):
        type(site.node).objects.update(max_message_bytes=1000)
        path = tmp_path / "offer.eml"
        head = f"X-Sender: <{sender}>\r\nX-Receiver: <{receiver}>{asked}\r\nSubject: Offer\r\n\r\n"
        path.write_bytes(head.encode() + b"x" * size + b"\r\n")

        found = shown("--file", str(path), "--via", "replay")

        assert (found["fate"], bool(found["notice"])) == (fate, fate == "notice")
        replay("offer.eml", path.read_bytes())
        transport()
        real = SourceFile.objects.get()
        assert real.state == fate
        assert real.reason == (found["reason"] if fate == "bad" else "")

    @pytest.mark.rule("RT-X14", "DR-14", "DR-15", "DR-18", "DR-20", "HM-4")
    def test_the_file_shown_is_the_file_written(self, site, tmp_path, pickup, transport):
        path = tmp_path / "offer.eml"
        path.write_bytes(FAX)

        found = shown("--file", str(path))

        self.nothing_is_stored(site)
        assert (found["fate"], found["mail_from"], found["subject"]) == ("queued", "alice@fcweb.test", "Offer")
        assert [(r["recipient"], r["verdict"], r["status_code"]) for r in found["routes"]] == [
            ("IMCEAFAX-5551234@fcweb.test", "deliver", ""),
            ("nobody@fcweb.test", "fail", "5.1.1"),
            ("IMCEAFAX-7@fcweb.test", "deliver", ""),
        ]
        assert found["notice"].startswith("A notice goes to alice@fcweb.test.")
        (file,) = found["files"]
        pickup("offer.eml", FAX)
        transport()
        (real,) = site.drop.glob("*.eml")
        assert masked(base64.b64decode(file["content_base64"])) == masked(real.read_bytes())

    @pytest.mark.rule("DR-13", "DR-34", "DR-20", "RT-X16")
    def test_the_options_of_a_connector_are_applied(self, site, tmp_path, replay, transport):
        recipient_configuration.add("contact", "fax@fcweb.test", external="FAX:42")
        ForeignConnector.objects.update(relay_dsn_required=True, one_recipient_per_file=True)
        text = (
            b"X-Sender: <alice@fcweb.test> RET=HDRS\r\nX-Receiver: <fax@fcweb.test> NOTIFY=SUCCESS,DELAY\r\n"
            b"X-Receiver: <IMCEAFAX-7@fcweb.test>\r\nX-CreatedBy: Notes\r\nMessage-ID: <a@b>\r\n"
            b"Date: Wed, 25 Nov 2026 10:00:00 +0000\r\nX-MS-Exchange-Organization-A: b\r\n\r\nBody\r\n"
        )
        path = tmp_path / "job.eml"
        path.write_bytes(text)

        found = shown("--file", str(path), "--via", "replay")

        replay("job.eml", text)
        transport()
        tried = sorted(masked(base64.b64decode(file["content_base64"])) for file in found["files"])
        assert tried == sorted(masked(real.read_bytes()) for real in site.drop.glob("*.eml"))
        assert len(tried) == 2

    @pytest.mark.rule("PU-47", "PU-52", "PU-42", "PU-43", "RP-9")
    @pytest.mark.parametrize(
        ("content", "via", "fate", "reason", "line"),
        [
            (b"To: a@b.test\r\n\r\nx", "pickup", "bad", "NO_SENDER", 0),
            (b"From: a@b.test\r\nTo: c@d.test\r\nno field\r\n\r\nx", "pickup", "bad", "BAD_HEADER", 3),
            (b"X-CreatedBy: MSExchange15\r\n" + FAX, "pickup", "bad", "EXPORT_IN_PICKUP", 1),
            (b"", "pickup", "bad", "EMPTY", 0),
            (FAX, "replay", "bad", "NO_X_SENDER", 1),
            (
                FAX.replace(b"To: ", b"To: " + b"a@b.test, ".join(b"u%d" % n for n in range(120))),
                "pickup",
                "notice",
                "",
                0,
            ),
        ],
    )
    def test_a_file_that_would_not_be_sent_says_why(self, site, tmp_path, content, via, fate, reason, line):
        path = tmp_path / "x.eml"
        path.write_bytes(content)

        found = shown("--file", str(path), "--via", via)

        self.nothing_is_stored(site)
        assert found["fate"] == fate
        if reason:
            assert (found["reason"], found["line"]) == (reason, line)
        assert found["files"] == []

    @pytest.mark.rule("PU-43", "RP-2")
    def test_the_limits_of_the_organisation_are_said(self, site, tmp_path):
        path = tmp_path / "x.eml"
        path.write_bytes(FAX)
        Node.objects.update(max_message_bytes=100)
        assert shown("--file", str(path))["text"].startswith("550 5.3.4")
        Node.objects.update(max_message_bytes=None, max_recipients=2)
        assert shown("--file", str(path))["text"].startswith("550 5.5.3")

    def test_the_page_tries_an_uploaded_file(self, site, browser):
        upload = SimpleUploadedFile("offer.eml", FAX.replace(b"Body", b"<script>alert(1)</script>"))

        page = browser.post("/route/", {"file": upload, "via": "pickup"})

        text = page.content.decode()
        assert page.status_code == 200
        assert "The file would be accepted, but some recipients would fail." in text
        assert "X-Sender: &lt;alice@fcweb.test&gt;" in text
        assert "<script>alert" not in text
        self.nothing_is_stored(site)

    def test_the_page_says_why_a_file_is_refused(self, browser):
        page = browser.post("/route/", {"file": SimpleUploadedFile("x.eml", b"To: a@b.test\r\n\r\nx"), "via": "pickup"})

        assert "NO_SENDER" in page.content.decode()

    def test_a_post_without_a_file_is_a_form_error(self, browser):
        page = browser.post("/route/", {"via": "pickup"})

        assert page.context["dry_run"] is None
        assert "file" in page.context["file_form"].errors

    def test_people_without_the_permission_are_refused(self, site, client):
        client.force_login(get_user_model().objects.create_user("desk", password="x" * 12))

        assert client.get("/route/").status_code == 403
        assert client.post("/route/", {"via": "pickup"}).status_code == 403


def masked(data):
    """Return a drop file without the id and the time of its Received field."""
    import re

    return re.sub(rb"with fcweb id [^\r]*", b"with fcweb id *", data)


@pytest.mark.rule("RT-24")
def test_the_page_explains_an_address(site, browser):
    wide = configuration.create("All", ["FAX:*;5"])
    drop_directory.create(wide, site.node)
    configuration.change(ForeignConnector.objects.get(name="Fax"), {"max_message_bytes": 10})

    page = browser.get("/route/", {"address": "FAX:1", "size": "1KB", "sender": "alice@fcweb.test"})

    text = page.content.decode()
    assert "goes out by the connector “All”" in text
    assert "The message is larger than it takes." in text
    assert "that is too large for “Fax” leaves by “All” instead." in text
