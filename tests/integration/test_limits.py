"""Limits: each with its status code, at the place where it is checked (QL-1 to QL-24)."""

from __future__ import annotations

import json
import os
import re
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from connectors import node_configuration
from connectors.errors import ConfigurationError
from connectors.mail.sizes import parse_size
from connectors.models import (
    DirectoryRecipient,
    ForeignConnector,
    Mailbox,
    MessageRecipient,
    Node,
    NoticeSettings,
    Queue,
)
from connectors.transport import limits
from connectors.transport.routing import DirectoryEntry, DirectoryKind
from tracking.models import TrackingEvent

pytestmark = pytest.mark.django_db(transaction=True)
FAX = "IMCEAFAX-5551234@fcweb.test"


def mail(*receivers, size=100, header=b"", sender="alice@fcweb.test"):
    to = ", ".join(receivers).encode()
    head = b"From: " + sender.encode() + b"\r\nTo: " + to + b"\r\nSubject: s\r\n" + header + b"\r\n"
    return head + b"x" * size + b"\r\n"


def replayed(*receivers, size=100, sender="alice@fcweb.test", header=b""):
    block = f"X-Sender: <{sender}>\r\n" + "".join(f"X-Receiver: <{r}>\r\n" for r in receivers)
    return block.encode() + b"From: a@b.test\r\n" + header + b"\r\n" + b"x" * size + b"\r\n"


def replies():
    rows = MessageRecipient.objects.exclude(message__source="DSN").order_by("pk")
    return [(r.state, r.status_text.partition(" ")[2][:5] if r.state == "failed" else "") for r in rows]


def failures():
    return [(e.source, e.source_context) for e in TrackingEvent.objects.filter(event="FAIL").order_by("pk")]


@pytest.mark.rule("QL-1", "QL-3")
def test_the_header_limit_holds_for_pickup_and_not_for_replay(site, pickup, replay, transport):
    long = b"X-Long: " + b"y" * 900 + b"\r\n"
    Node.objects.update(pickup_max_header_bytes=32_768)

    pickup("p.eml", mail(FAX, header=long * 40))
    transport()
    replay("r.eml", replayed(FAX, header=long * 40))
    transport()

    assert replies() == [("failed", "5.3.4"), ("delivered", "")]


@pytest.mark.rule("QL-2", "QL-3", "QL-5")
def test_the_recipient_limit_of_pickup_is_its_own_and_that_of_the_organisation_holds_everywhere(
    site, pickup, replay, transport
):
    Node.objects.update(pickup_max_recipients=2, max_recipients=3)
    numbers = [f"IMCEAFAX-{n}@fcweb.test" for n in range(4)]

    pickup("p.eml", mail(*numbers[:3]))
    transport()
    assert replies() == [("failed", "5.5.3")] * 3
    replay("r.eml", replayed(*numbers[:3]))
    transport()
    assert replies()[3:] == [("delivered", "")] * 3
    replay("s.eml", replayed(*numbers))
    transport()
    assert replies()[6:] == [("failed", "5.5.3")] * 4
    assert failures() == [("PICKUP", "p.eml"), ("ROUTING", "Recipients")]


@pytest.mark.rule("QL-4", "QL-13")
def test_a_message_over_the_send_limit_goes_back_without_its_body(site, pickup, transport, data_dir):
    Node.objects.update(max_message_bytes=1000)

    pickup("p.eml", mail(FAX, size=2000))
    transport()

    assert replies() == [("failed", "5.3.4")]
    (notice,) = (data_dir / "mailboxes" / "alice@fcweb.test" / "new").iterdir()
    assert b"Content-Type: text/rfc822-headers" in notice.read_bytes()


@pytest.mark.rule("QL-4", "QL-6", "QL-23")
@pytest.mark.parametrize(
    "organisation, mailbox, expected",
    [
        (5000, None, "delivered"),
        (1000, None, "failed"),
        (None, 1000, "failed"),
        (None, None, "delivered"),
        (1000, 5000, "failed"),  # files are anonymous: a mailbox never widens the organisation's limit
    ],
)
def test_the_most_restrictive_receive_limit_wins(site, replay, transport, organisation, mailbox, expected):
    Node.objects.update(max_receive_bytes=organisation)
    Mailbox.objects.update(max_receive_bytes=mailbox)

    replay("r.eml", replayed("alice@fcweb.test", size=2000, sender="eve@outside.test"))
    transport()

    assert replies() == [(expected, "5.2.3" if expected == "failed" else "")]


@pytest.mark.rule("QL-6")
def test_limits_of_the_sending_mailbox(site, replay, transport):
    DirectoryRecipient.objects.update(max_send_bytes=1000, max_recipients=1)

    replay("1.eml", replayed(FAX, size=2000))
    transport()
    replay("2.eml", replayed(FAX, "IMCEAFAX-2@fcweb.test", size=10))
    transport()
    replay("3.eml", replayed(FAX, size=10))
    transport()
    replay("4.eml", replayed(FAX, size=2000, sender="eve@outside.test"))
    transport()

    assert replies() == [
        ("failed", "5.2.3"),
        ("failed", "5.5.3"),
        ("failed", "5.5.3"),
        ("delivered", ""),
        ("delivered", ""),
    ]
    assert failures() == [("ROUTING", "Size"), ("ROUTING", "Recipients")]


@pytest.mark.rule("QL-7", "QL-9")
def test_a_connector_too_small_leaves_no_route(site, replay, transport):
    ForeignConnector.objects.update(max_message_bytes=1000)

    replay("r.eml", replayed(FAX, size=2000))
    transport()

    assert replies() == [("failed", "5.3.4")]


@pytest.mark.rule("QL-12", "DSN-22")
@pytest.mark.parametrize("received, expected", [(30, ("delivered", "")), (31, ("failed", "5.4.6"))])
def test_a_message_that_passed_more_than_thirty_systems_goes_back(site, pickup, replay, transport, received, expected):
    replay("r.eml", replayed(FAX, header=b"Received: from a by b\r\n" * received))

    transport()

    assert replies() == [expected]


@pytest.mark.rule("QL-22")
def test_notices_are_spared_of_size_limits(site, pickup, transport):
    Mailbox.objects.update(max_receive_bytes=10)
    Node.objects.update(max_receive_bytes=10)

    pickup("p.eml", mail("IMCEASMS-1@fcweb.test"))
    transport()

    notice = MessageRecipient.objects.get(message__source="DSN")
    assert (notice.state, notice.message.size > 10) == ("delivered", True)


@pytest.mark.rule("QL-22", "RT-22", "DSN-25")
@pytest.mark.parametrize("limit, is_whole", [(None, True), (100_000, True), (40_000, False)])
def test_a_notice_too_large_for_the_gateway_of_its_reader_returns_the_header_alone(
    site, pickup, transport, limit, is_whole
):
    ForeignConnector.objects.update(max_message_bytes=limit)

    pickup("p.eml", mail("IMCEASMS-1@fcweb.test", size=50_000, sender=FAX))
    transport()

    notice = MessageRecipient.objects.get(message__source="DSN")
    assert notice.state == "delivered"
    (dropped,) = site.drop.glob("*.eml")
    written = dropped.read_bytes()
    assert (b"x" * 1000 in written, b"Subject: s" in written) == (is_whole, True)


@pytest.mark.rule("QL-20")
@pytest.mark.parametrize("trusted, expected", [(True, ("delivered", "")), (False, ("failed", "5.3.4"))])
def test_growth_inside_the_organisation_does_not_count_when_the_writer_is_trusted(
    site, replay, transport, trusted, expected
):
    Node.objects.update(
        max_message_bytes=1000, max_receive_bytes=1000, trusted_uids=str(os.getuid()) if trusted else ""
    )
    block = b"X-Sender: <eve@outside.test>\r\nX-Receiver: <alice@fcweb.test>\r\nX-CreatedBy: MSExchange15\r\n"
    header = b"From: a@b.test\r\nX-MS-Exchange-Organization-OriginalSize: 900\r\n\r\n"

    replay("r.eml", block + header + b"x" * 300_000 + b"\r\n")
    transport()

    assert replies() == [expected]


@pytest.mark.rule("QL-24")
def test_a_size_without_a_unit_is_bytes():
    assert parse_size("64") == parse_size("64B") == 64


# ---- defaults, ranges, precedence, what is shown ----

_NODE_LIMITS = [
    # rule, setting, default as shown, values in range, values outside
    ("QL-1", "PickupDirectoryMaxHeaderSize", "64KB", ("32768", "2147483647"), ("32767", "2147483648", "unlimited")),
    ("QL-2", "PickupDirectoryMaxRecipientsPerMessage", 100, ("1", "10000"), ("0", "10001")),
    ("QL-4", "MaxMessageSize", "10MB", ("1", "2147482624", "unlimited"), ("0", "2147482625")),
    ("QL-4", "MaxReceiveSize", "10MB", ("1", "2147482624", "unlimited"), ("0", "2147482625")),
    ("QL-5", "MaxRecipients", 5000, ("1", "5000"), ("0",)),
    ("QL-12", "MaxHopCount", 30, ("1", "500"), ("0", "501")),
    ("QL-12", "MaxLocalHopCount", 8, ("0", "50"), ("-1", "51")),
]


@pytest.mark.parametrize("row", [pytest.param(row, marks=pytest.mark.rule(row[0]), id=row[1]) for row in _NODE_LIMITS])
def test_a_limit_of_the_server_has_its_default_and_its_range(site, row):
    _rule, setting, default, good, bad = row
    assert node_configuration.shown(site.node)[setting] == default

    for text in good:
        node_configuration.change(site.node, {column(setting): node_configuration.parse(setting, text)})
    kept = node_configuration.shown(Node.objects.get())[setting]
    for text in bad:
        with pytest.raises(ConfigurationError):
            node_configuration.change(Node.objects.get(), {column(setting): node_configuration.parse(setting, text)})

    assert node_configuration.shown(Node.objects.get())[setting] == kept


def column(setting):
    return node_configuration.SETTINGS[setting]


@pytest.mark.rule("QL-6")
def test_limits_of_a_mailbox_are_unlimited_until_set(site):
    def show():
        return json.loads(command("recipient", "list", "--json"))[0]

    names = ("MaxSendSize", "MaxReceiveSize", "RecipientLimits")
    assert [show()[name] for name in names] == ["unlimited"] * 3
    command(
        "recipient", "set", "alice@fcweb.test", "--max-send-size", "5MB", "--max-receive-size", "20MB",
        "--recipient-limits", "7",
    )  # fmt: skip
    assert [show()[name] for name in names] == ["5MB", "20MB", 7]
    for option, text in (("--max-send-size", "0"), ("--recipient-limits", "0"), ("--max-receive-size", "big")):
        with pytest.raises(CommandError):
            command("recipient", "set", "alice@fcweb.test", option, text)
    command("recipient", "add", "contact", "c@outside.test", "--external", "FAX:1")
    with pytest.raises(CommandError, match="RECIPIENT_INVALID"):
        command("recipient", "set", "c@outside.test", "--max-send-size", "5MB")


@pytest.mark.rule("QL-7", "QL-9")
def test_limits_of_a_connector_are_unlimited_until_set_and_have_their_range(site):
    def show():
        return json.loads(command("connector", "get", "Fax", "--json"))[0]

    assert (show()["MaxMessageSize"], show()["DropDirectoryQuota"]) == ("unlimited", "unlimited")
    command("connector", "set", "Fax", "--max-message-size", "2147483647KB", "--drop-directory-quota", "1")
    assert (show()["MaxMessageSize"], show()["DropDirectoryQuota"]) == ("2147483647KB", "1B")
    for option, text in (("--max-message-size", "2147483648KB"), ("--drop-directory-quota", "0")):
        with pytest.raises(CommandError, match="SIZE_RANGE"):
            command("connector", "set", "Fax", option, text)


@pytest.mark.rule("QL-7")
def test_a_connector_with_the_limit_zero_takes_nothing_and_that_is_said(site, replay, transport):
    err = StringIO()
    call_command("connector", "set", "Fax", "--max-message-size", "0", stdout=StringIO(), stderr=err)
    assert err.getvalue().startswith("SIZE_ZERO: The size limit 0 lets nothing through")

    replay("r.eml", replayed(FAX, size=1))
    transport()

    assert replies() == [("failed", "5.3.4")]


@pytest.mark.rule("QL-9", "QR-43")
def test_a_full_drop_directory_puts_the_queue_into_retry(site, replay, transport):
    ForeignConnector.objects.update(drop_directory_quota=1200)

    replay("1.eml", replayed(FAX, size=400))
    transport()
    replay("2.eml", replayed(FAX, size=400))
    transport()

    assert replies() == [("delivered", ""), ("queued", "")]
    queue = Queue.objects.get(next_hop_domain="FAX")
    assert (queue.status, queue.last_error[:9]) == ("Retry", "452 4.3.1")


@pytest.mark.rule("QL-12")
@pytest.mark.parametrize("times, limit, expected", [(8, 8, "delivered"), (9, 8, "failed"), (20, 0, "delivered")])
def test_a_message_that_was_here_too_often_goes_back(site, replay, transport, times, limit, expected):
    Node.objects.update(max_local_hops=limit)
    here = f"Received: from Replay by {Node.objects.get().fqdn} with fcweb id 7; x\r\n".encode()

    replay("r.eml", replayed(FAX, header=here * times + b"Received: from a by elsewhere.test\r\n"))
    transport()

    assert replies() == [(expected, "5.4.6" if expected == "failed" else "")]


@pytest.mark.rule("QL-13")
@pytest.mark.parametrize("size, ok", [("0", True), ("10MB", True), ("2147483647", True), ("2147483648", False)])
def test_the_size_of_a_returned_original_has_its_range(admin_client, db, size, ok):
    assert NoticeSettings().internal_max_attach_bytes == NoticeSettings().external_max_attach_bytes == 10 * 1024**2
    page = admin_client.get("/admin/connectors/noticesettings/add/").content.decode()
    fields = dict(re.findall(r'<(?:input|textarea)[^>]*name="([a-z_]+)"[^>]*value="([^"]*)"', page))
    fields = {name: value for name, value in fields.items() if name != "csrfmiddlewaretoken"}

    admin_client.post(
        "/admin/connectors/noticesettings/add/",
        fields | {"internal_max_attach_bytes": size, "external_max_attach_bytes": "1MB", "copy_codes": ""},
    )

    assert NoticeSettings.objects.exists() is ok


@pytest.mark.rule("QL-22", "QL-5")
def test_a_notice_is_spared_of_sizes_and_not_of_the_number_of_recipients():
    def excess(recipients, *, is_exempt):
        entry = DirectoryEntry(
            kind=DirectoryKind.MAILBOX, name="a", primary="a@b.test", max_send_bytes=10, max_recipients=None
        )
        found = limits.excess(
            "a@b.test",
            size=1000,
            recipients=recipients,
            max_recipients=5,
            is_exempt=is_exempt,
            directory={"SMTP:a@b.test": (entry,)},
        )
        return found.context if found else ""

    assert [excess(5, is_exempt=exempt) for exempt in (False, True)] == ["Size", ""]
    assert [excess(6, is_exempt=exempt) for exempt in (False, True)] == ["Recipients", "Recipients"]
    assert {"DSN"} == limits.EXEMPT_SOURCES


@pytest.mark.rule("QL-23")
def test_limits_are_checked_as_early_as_possible(site, pickup, transport):
    """The recipient is unknown and the message too large: the size is what is said, and nothing was routed."""
    Node.objects.update(max_message_bytes=1000)

    pickup("p.eml", mail("nobody@fcweb.test", size=2000))
    transport()

    assert replies() == [("failed", "5.3.4")]
    assert failures() == [("PICKUP", "p.eml")]


@pytest.mark.rule("QL-23", "QL-6")
@pytest.mark.parametrize("mailbox", [5000, None])
def test_a_mailbox_never_widens_what_the_organisation_sends(site, replay, transport, mailbox):
    Node.objects.update(max_message_bytes=1000)
    Mailbox.objects.update(max_send_bytes=mailbox)

    replay("r.eml", replayed(FAX, size=2000))
    transport()

    assert replies() == [("failed", "5.3.4")]


@pytest.mark.rule("QL-21")
def test_both_numbers_stand_wherever_a_limit_of_message_size_is_set_or_shown(site, admin_client):
    Node.objects.update(max_message_bytes=20 * 1024**2)
    ForeignConnector.objects.update(max_message_bytes=4 * 1024**2)
    Mailbox.objects.update(max_receive_bytes=10 * 1024**2)
    pages = {
        f"node/{Node.objects.get().pk}/change/": ("20 MB admit about 15 MB", "10 MB admit about 7.5 MB"),
        f"foreignconnector/{ForeignConnector.objects.get().pk}/change/": ("4 MB admit about 3 MB",),
        f"mailbox/{Mailbox.objects.get().pk}/change/": ("10 MB admit about 7.5 MB", "would admit about 7.5 MB"),
        "noticesettings/add/": ("10 MB admit about 7.5 MB",),
    }
    for url, texts in pages.items():
        page = admin_client.get(f"/admin/connectors/{url}").content.decode()
        for text in texts:
            assert text in page.replace("\u00a0", " "), (url, text)
    assert "20MB (about 15MB of attachments)" in command("node", "get")
    assert "4MB (about 3MB of attachments)" in command("connector", "get")
    assert "receives 10MB (about 7.5MB of attachments)" in command("recipient", "list")
    told = admin_client.get("/route/", {"address": "alice@fcweb.test", "size": "11MB"}).content.decode()
    assert "10 MB (about 7.5 MB of attachments)" in told.replace("\u00a0", " ")


@pytest.mark.rule("QL-4", "QL-24")
def test_a_limit_is_typed_with_or_without_a_unit(site, admin_client):
    node = Node.objects.get()
    url = f"/admin/connectors/node/{node.pk}/change/"
    form = admin_client.get(url).context["adminform"].form
    fields = {name: form[name].value() for name in form.fields}
    fields = {name: value for name, value in fields.items() if value is not None and value is not False}
    for prefix in ("transport_settings", "submitter_addresses"):
        fields |= {f"{prefix}-TOTAL_FORMS": "0", f"{prefix}-INITIAL_FORMS": "0"}

    answer = admin_client.post(
        url,
        fields | {"pickup_max_header_bytes": "64KB", "max_message_bytes": "2000000", "max_receive_bytes": "3MB"},
    )

    node.refresh_from_db()
    assert answer.status_code == 302, answer.context["adminform"].form.errors
    assert (answer.status_code, node.max_message_bytes, node.max_receive_bytes) == (302, 2_000_000, 3 * 1024**2)


def command(*words):
    out = StringIO()
    call_command(*words, stdout=out, stderr=StringIO())
    return out.getvalue()
