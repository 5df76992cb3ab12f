"""Our notice beside the real one of Exchange 15.0: header, part tree, status groups, text markers, returned original."""

import email
import re

import pytest

from connectors.notices import Fate
from tests.sample_notices import HEADER, original, written

REPLY = "550 5.1.1 RESOLVER.ADR.RecipNotFound; not found"
GUID = r"[0-9a-z]{8}-[0-9a-z]{4}-[0-9a-z]{4}-[0-9a-z]{4}-[0-9a-z]{12}"  # the real one was made anonymous beyond hex
DATE = r"\w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}"
# What each field must look like in both; the real notice is in Italian, ours in English.
HEADER_SHAPES = {
    "MIME-Version": r"1\.0",
    "From": r"<postmaster@[\w.]+>",
    "To": r"<[\w.]+@[\w.]+>",
    "Date": DATE,
    "Content-Type": rf'multipart/report; report-type=delivery-status;\s+boundary="{GUID}"',
    "X-MS-Exchange-Message-Is-Ndr": r"",
    "Content-Language": r"[a-z]{2}-[A-Z]{2}",
    "Message-ID": rf"<{GUID}@[\w.]+>",
    "In-Reply-To": r"<[\w.-]+@[\w.-]+>",
    "Subject": r"[A-Z][a-z ]+: .+",
    "Auto-Submitted": r"auto-replied",
}
STATUS_SHAPES = [
    {
        "Reporting-MTA": r"dns;[\w.]+",
        "Received-From-MTA": r"dns;[\w.]+",
        "Arrival-Date": DATE.replace("[+-]\\d{4}", r"\+0000"),
    },
    {
        "Original-Recipient": r"rfc822;[\w.]+@[\w.]+",
        "Final-Recipient": r"rfc822;[\w.]+@[\w.]+",
        "Action": r"failed",
        "Status": r"5\.1\.1",
        "Diagnostic-Code": re.escape(f"smtp;{REPLY}"),
    },
]


@pytest.fixture(params=["Exchange's", "ours"])
def notice(request, corpus):
    if request.param == "ours":
        fate = Fate(address="bob@example.org", orcpt="rfc822;bob@example.org", reply=REPLY)
        return email.message_from_bytes(written("failed", fate, about=original(envid="")))
    return email.message_from_bytes((corpus / "dsn/sisimai/lf/lhost-exchange2007-07.eml").read_bytes())


def own_fields(message):
    """Return the fields the generating server wrote; those above MIME-Version were added on the way."""
    names = list(message)
    fields = list(message.items())[[name.lower() for name in names].index("mime-version") :]
    return [(name, value) for name, value in fields if name != "References"]  # ours beyond Exchange (DSN-30)


def groups(message):
    (part,) = [p for p in message.walk() if p.get_content_type() == "message/delivery-status"]
    return [dict(group.items()) for group in part.get_payload() if group.items()]


def text_of(part):
    raw = part.get_payload(decode=True).decode(part.get_content_charset())
    return raw.replace("\r\n", "\n")


@pytest.mark.rule("DSN-30")
def test_the_header_has_the_same_fields_in_the_same_order_and_form(notice):
    fields = own_fields(notice)

    assert [name for name, _value in fields] == list(HEADER_SHAPES)
    for name, value in fields:
        assert re.fullmatch(HEADER_SHAPES[name], value), (name, value)


@pytest.mark.rule("DSN-30")
def test_the_parts_stand_in_the_same_tree_with_the_same_fields(notice):
    report = notice.get_payload()
    alternative = report[0].get_payload()

    assert [part.get_content_type() for part in report] == [
        "multipart/alternative",
        "message/delivery-status",
        "message/rfc822",
    ]
    assert [part.get_content_type() for part in alternative] == ["text/plain", "text/html"]
    assert [name for name, _value in report[0].get_params()] == ["multipart/alternative", "differences", "boundary"]
    assert re.fullmatch(GUID, report[0].get_boundary()) and report[0].get_boundary() != notice.get_boundary()
    assert report[0].get_param("differences") == "Content-Type"
    assert report[1].keys() == report[2].keys() == ["Content-Type"]
    for part in alternative:
        assert part.keys() == ["Content-Type", "Content-Transfer-Encoding"]
        assert [name for name, _value in part.get_params()] == [part.get_content_type(), "charset"]
        assert part["Content-Transfer-Encoding"] == "quoted-printable"
    assert re.search(r"(?is)<html.*<head>.*</head>\s*<body>.*</body>\s*</html>", text_of(alternative[1]))


@pytest.mark.rule("DSN-31", "DSN-32", "DSN-33", "DSN-36")
def test_the_status_groups_have_the_same_fields_in_the_same_order_and_form(notice):
    found = groups(notice)

    assert [list(group) for group in found] == [list(shapes) for shapes in STATUS_SHAPES]
    for group, shapes in zip(found, STATUS_SHAPES, strict=True):
        for name, value in group.items():
            assert re.fullmatch(shapes[name], value), (name, value)


@pytest.mark.rule("DSN-30", "DSN-32")
def test_the_text_for_people_has_the_same_blocks_in_the_same_order(notice):
    """Headline; address and explanation; the administrators' block; generating server; reply; original header."""
    text = text_of(notice.get_payload()[0].get_payload()[0])
    about_message, about_recipient = groups(notice)
    address = about_recipient["Final-Recipient"].partition(";")[2]
    host = about_message["Reporting-MTA"].partition(";")[2]
    marker = r"[^\n:]+:"

    blocks = re.fullmatch(
        rf"(?P<headline>{marker})\n\n"
        rf"{re.escape(address)}\b[^\n]*\n(?P<explanation>[^\n]+)\n\n+"
        rf"(?P<administrators>{marker})\n\n"
        rf"(?P<generating>{marker}) {re.escape(host)}\n\n"
        rf"{re.escape(address)}[^\n]*\n[^\n]*{re.escape(REPLY)}[^\n]*\n\n"
        rf"(?P<headers>{marker})\n\n"
        r"(?P<original>.+)",
        text,
        re.DOTALL,
    )

    assert blocks is not None, text
    returned = notice.get_payload()[2].get_payload()[0]
    for name in ("From", "To", "Subject", "Message-ID"):
        assert f"{name}: {returned[name]}\n" in f"{blocks['original']}\n"
    assert blocks["explanation"].count(".") >= 2  # what happened, and what to do


@pytest.mark.rule("DSN-25", "DSN-30")
def test_the_original_is_returned_whole_and_named(notice):
    returned = notice.get_payload()[2].get_payload()[0]

    assert returned["Message-ID"] == notice["In-Reply-To"]
    assert notice["Subject"].endswith(f": {returned['Subject']}")
    assert returned.get_payload().strip()


@pytest.mark.rule("DSN-30")
def test_each_header_of_ours_says_what_it_should():
    fate = Fate(address="bob@example.org", reply=REPLY)
    message = email.message_from_bytes(written("failed", fate, language="fr"))
    delayed = email.message_from_bytes(written("delayed", fate))

    assert message["From"] == "<postmaster@fcweb.test>"
    assert message["To"] == "<alice@fcweb.test>"  # the return path, not From or Reply-To
    assert message["In-Reply-To"] == message["References"] == "<a1@fcweb.test>"
    assert message["Message-ID"] == f"<{message.get_boundary()}@mx1.fcweb.test>"
    assert message["Date"] == "Wed, 25 Nov 2026 12:00:00 +0000"
    assert (message["Content-Language"], message["MIME-Version"]) == ("fr-FR", "1.0")
    assert (message["X-MS-Exchange-Message-Is-Ndr"], delayed["X-MS-Exchange-Message-Is-Ndr"]) == ("", None)
    assert message["Auto-Submitted"] == delayed["Auto-Submitted"] == "auto-replied"
    assert HEADER.startswith(b"Received:")


@pytest.mark.rule("DSN-30", "DSN-54")
@pytest.mark.parametrize(
    ("action", "english", "french"),
    [
        ("failed", "Undeliverable: ", "Non remis : "),
        ("delayed", "Delayed: ", "Retardé : "),
        ("delivered", "Delivered: ", "Remis : "),
        ("relayed", "Relayed: ", "Relayé : "),
        ("expanded", "Expanded: ", "Développé : "),
    ],
)
def test_the_subject_has_the_prefix_of_its_action(action, english, french):
    from email import policy

    for language, prefix in (("en", english), ("fr", french)):
        data = written(action, Fate(address="bob@example.org", reply=REPLY), language=language)
        assert email.message_from_bytes(data, policy=policy.default)["Subject"] == f"{prefix}Devis 123"
