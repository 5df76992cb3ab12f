"""Pickup files: what they must contain, who sends, who receives, what is refused, what stays of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.mail.header import crlf, split
from connectors.mail.pickup_format import PickupLimits, read
from connectors.mail.stamp import received_value, stamp
from connectors.mail.verdict import Draft, Fate, Rejection

LIMITS = PickupLimits(max_header_bytes=65_536, max_recipients=100)
TO = b"To: bob@b.test\r\n"
FROM = b"From: alice@a.test\r\n"


def draft(data, **options):
    result = read(data, limits=LIMITS, **options)
    assert isinstance(result, Draft), result
    return result


def rejected(data, *, limits=LIMITS, **options):
    result = read(data, limits=limits, **options)
    assert isinstance(result, Rejection), result
    return result


def receivers(result):
    return [(r.address, r.field) for r in result.envelope.recipients]


@pytest.mark.rule("PU-23", "PU-24", "PU-27", "PU-28", "PU-29")
@pytest.mark.parametrize("recipient", [b"To", b"Cc", b"Bcc"])
@pytest.mark.parametrize("sender", [b"From", b"Sender"])
def test_a_sender_a_recipient_and_a_blank_line_are_enough(sender, recipient):
    result = draft(sender + b": alice@a.test\n" + recipient + b": bob@b.test\n\nbody\n")

    assert result.envelope.mail_from == "alice@a.test"
    assert receivers(result) == [("bob@b.test", recipient.decode())]
    assert (result.subject, result.message_id, result.date_ok) == ("", "", False)


@pytest.mark.rule("PU-25", "PU-26", "PU-30", "PU-47", "A-24")
@pytest.mark.parametrize(
    ("header", "originator", "reason", "warns"),
    [
        (b"From: f@a.test\r\n", "f@a.test", "", False),
        (b"From: f@a.test\r\nSender: s@a.test\r\n", "f@a.test", "", True),
        (b"From: f@a.test\r\nSender: f@A.test\r\n", "f@a.test", "", False),
        (b"From: f@a.test, g@a.test\r\nSender: s@a.test\r\n", "s@a.test", "", False),
        (b"From: f@a.test\r\nFrom: g@a.test\r\nSender: s@a.test\r\n", "s@a.test", "", False),
        (b"Sender: s@a.test\r\n", "s@a.test", "", False),
        (b"From: f@a.test, g@a.test\r\n", "", "NO_SENDER", False),
        (b"From: f@a.test\r\nSender: s@a.test, t@a.test\r\n", "", "BAD_SENDER", False),
        (b"Sender: s@a.test, t@a.test\r\n", "", "BAD_SENDER", False),
        (b"From: f@a.test, g@a.test\r\nSender: s@a.test, t@a.test\r\n", "", "BAD_SENDER", False),
        (b"", "", "NO_SENDER", False),
        (b"From:\r\n", "", "NO_SENDER", False),
        (b"From: nobody\r\n", "", "BAD_SENDER", False),
        (b"From: j\xfcrgen@a.test\r\n", "", "BAD_SENDER", False),
    ],
)
def test_the_originator_follows_the_table(header, originator, reason, warns):
    result = read(header + TO + b"\r\n", limits=LIMITS)

    if reason:
        assert isinstance(result, Rejection)
        assert (result.fate, result.reason, result.originator) == (Fate.BAD, reason, "")
    else:
        assert isinstance(result, Draft)
        assert result.envelope.mail_from == originator
        assert ("SENDER_DIFFERS" in result.warnings) is warns


@pytest.mark.rule("PU-31")
def test_recipients_are_the_union_of_all_fields_without_repeats():
    result = draft(
        FROM + b"To: Team: bob@b.test, Carol <carol@C.test>;\r\nTo: dave@d.test\r\n"
        b"Cc: bob@B.TEST, Bob@b.test\r\nBcc: erin@e.test\r\n\r\n"
    )

    assert receivers(result) == [
        ("bob@b.test", "To"),
        ("carol@C.test", "To"),
        ("dave@d.test", "To"),
        ("Bob@b.test", "Cc"),  # another local part: RFC 5321 leaves its case to the receiver
        ("erin@e.test", "Bcc"),
    ]


@pytest.mark.rule("PU-32", "HM-9", "UP-15", "A-9")
@pytest.mark.parametrize(
    "line",
    [
        b"Return-Path: <x@x.test>\r\n",
        b"Reply-To: x@x.test\r\n",
        b"X-Sender: x@x.test\r\n",
        b"X-Receiver: x@x.test\r\n",
        b"Resent-From: x@x.test\r\nResent-To: x@x.test\r\nResent-Bcc: x@x.test\r\n",
    ],
)
def test_no_other_field_feeds_the_envelope(line):
    result = draft(line + FROM + TO + b"\r\n")

    assert result.envelope.mail_from == "alice@a.test"
    assert receivers(result) == [("bob@b.test", "To")]
    assert ("X_RECEIVER_IGNORED" in result.warnings) is line.startswith(b"X-")


ALL_FIELDS = (
    b"Received: from x by y; Mon, 1 Jan 2001 00:00:00 +0000\r\n"
    b"Return-Path: <x@x.test>\r\n"
    b"Resent-Date: Mon, 1 Jan 2001 00:00:00 +0000\r\n"
    b"Resent-From: r@r.test\r\nResent-Sender: r@r.test\r\nResent-To: r@r.test\r\nResent-Cc: r@r.test\r\n"
    b"Resent-Bcc: r@r.test\r\nResent-Message-ID: <r@r.test>\r\n"
    b"X-MS-Exchange-Organization-AuthAs: Internal\r\nX-MS-Exchange-Forest-x: y\r\n"
    b"X-Own: kept\r\n\tfolded\r\nReply-To: x@x.test\r\n"
    b"Date: Mon, 1 Jan 2001 00:00:00 +0000\r\nMessage-ID: <m@a.test>\r\n"
)


@pytest.mark.rule("HM-1", "HM-2", "HM-3", "HM-4", "HM-6", "HM-7", "HM-8", "HM-10", "HM-11", "HM-13")
def test_header_changes_follow_the_pickup_column():
    result = draft(ALL_FIELDS + FROM + TO + b"Bcc: erin@e.test\r\nSubject: s\r\n\r\nbody")

    received = received_value(stage="Pickup", host="node.test", queue_id="abc", date="DATE")
    assert stamp(result, received=received, message_id="<new@d.test>", date="NOW") == (
        b"Received: from Pickup by node.test with fcweb id abc; DATE\r\n"
        b"X-Own: kept\r\n\tfolded\r\nReply-To: x@x.test\r\n"
        b"Date: Mon, 1 Jan 2001 00:00:00 +0000\r\nMessage-ID: <m@a.test>\r\n"
        b"From: alice@a.test\r\nTo: bob@b.test\r\nSubject: s\r\n\r\nbody"
    )


@pytest.mark.rule("HM-6", "HM-7")
@pytest.mark.parametrize("message_id", [b"", b"Message-ID:\r\n", b"Message-ID: \x01 \r\n"])
@pytest.mark.parametrize("date", [b"", b"Date: \r\n", b"Date: yesterday\r\n", b"Date: 32 Jan 2001 99:99:99 +0000\r\n"])
def test_a_missing_or_malformed_message_id_and_date_are_set(message_id, date):
    result = draft(message_id + date + FROM + TO + b"\r\n")

    content = stamp(result, received="r", message_id="<new@d.test>", date="Mon, 1 Jan 2001 00:00:00 +0000")
    fields = [(f.name, f.value) for f in split(content).fields]
    assert [v for n, v in fields if n == "message-id"] == [b"<new@d.test>"]
    assert [v for n, v in fields if n == "date"] == [b"Mon, 1 Jan 2001 00:00:00 +0000"]


@pytest.mark.rule("HM-4", "HM-5", "HM-14", "A-23")
@pytest.mark.parametrize(
    ("fields", "added"),
    [
        (b"Bcc: erin@e.test\r\n", True),
        (b"To:\r\nBcc: erin@e.test\r\n", True),
        (b"To: undisclosed:;\r\nBcc: erin@e.test\r\n", False),
        (b"Cc: bob@b.test\r\nBcc: erin@e.test\r\n", False),
    ],
)
def test_to_is_filled_when_only_bcc_recipients_exist(fields, added):
    content = stamp(draft(FROM + fields + b"\r\n"), received="r", message_id="<i@d>", date="d")

    assert (b"\r\nTo: Undisclosed Recipients:;\r\n" in content) is added
    assert b"erin@e.test" not in content
    assert sum(f.name == "to" for f in split(content).fields) == (0 if fields.startswith(b"Cc") else 1)


@pytest.mark.rule("PU-36", "PU-37", "HM-12")
def test_eight_bit_header_and_binary_body_are_kept():
    body = bytes(range(256)).replace(b"\n", b"") + b"\r\n"
    result = draft(FROM + TO + b"Subject: Gr\xfc\xdfe\r\n\r\n" + body)

    assert result.body == body
    assert b"Subject: Gr\xfc\xdfe\r\n" in result.header_fields
    assert result.subject == "Gr\ufffd\ufffde"


@pytest.mark.rule("PU-36")
@pytest.mark.parametrize(("to", "needed"), [("bob@b.test", False), ("用户@例え.example", True)])
def test_an_international_address_asks_for_smtputf8(to, needed):
    assert draft(FROM + f"To: {to}\r\n\r\n".encode()).envelope.smtputf8 is needed


@pytest.mark.rule("PU-38", "UP-14", "A-12")
def test_leading_dots_are_data_unless_the_directory_is_switched():
    body = b"..\r\n..dot\r\n.\r\nend\r\n"

    assert draft(FROM + TO + b"\r\n" + body).body == body
    assert draft(FROM + TO + b"\r\n" + body, unstuff_dots=True).body == b".\r\n.dot\r\n.\r\nend\r\n"


BIG = b"X-Big: " + b"x" * 400 + b"\r\n"
SMALL_LIMITS = PickupLimits(max_header_bytes=300, max_recipients=2)
EXPORT = b"X-sender: <a@b.test>\r\nX-Receiver: <c@d.test> NOTIFY=NEVER\r\n"


@pytest.mark.rule("PU-40", "PU-41", "PU-42", "PU-44", "PU-45", "PU-46", "PU-48", "PU-49", "PU-50", "PU-51", "PU-52")
@pytest.mark.parametrize(
    ("data", "fate", "reason", "status", "originator"),
    [
        (FROM + TO + BIG + b"\r\n", Fate.NOTICE, "HEADER_TOO_BIG", "5.3.4", "alice@a.test"),
        (FROM + TO + BIG, Fate.NOTICE, "HEADER_TOO_BIG", "5.3.4", "alice@a.test"),
        (BIG + FROM + TO + b"\r\n", Fate.BAD, "HEADER_TOO_BIG", "", ""),
        (FROM + BIG + TO + b"\r\n", Fate.BAD, "HEADER_TOO_BIG", "", ""),
        (EXPORT + b"X-CreatedBy: MSExchange15\r\n" + FROM + TO + BIG + b"\r\n", Fate.BAD, "EXPORT_IN_PICKUP", "", ""),
        (
            FROM + b"To: a@b.test, b@b.test, c@b.test\r\n\r\n",
            Fate.NOTICE,
            "TOO_MANY_RECIPIENTS",
            "5.5.3",
            "alice@a.test",
        ),
        (FROM + b"To: nobody, (x)\r\n\r\n", Fate.NOTICE, "BAD_RECIPIENTS", "5.1.3", "alice@a.test"),
        (b"From: nobody\r\nTo: nobody\r\n\r\n", Fate.BAD, "BAD_RECIPIENTS_BAD_SENDER", "", ""),
        (FROM + b"\r\n", Fate.BAD, "NO_RECIPIENTS", "", "alice@a.test"),
        (FROM + b"To: group:;\r\nCc:\r\n\r\n", Fate.BAD, "NO_RECIPIENTS", "", "alice@a.test"),
        (FROM + TO, Fate.WAIT, "NO_BLANK_LINE", "", ""),
        (b"", Fate.BAD, "EMPTY", "", ""),
        (FROM + TO + b"Dear Bob\r\n\r\n", Fate.BAD, "BAD_HEADER", "", ""),
        (EXPORT + b"X-EndOfInjectedXHeaders: 10\r\n" + FROM + TO + b"\r\n", Fate.BAD, "EXPORT_IN_PICKUP", "", ""),
        (b"X-CreatedBy: Notes\r\n" + FROM + TO + b"\r\n", Fate.BAD, "EXPORT_IN_PICKUP", "", ""),
        ("From: a@b.test\r\n\r\n".encode("utf-16"), Fate.BAD, "ENCODING", "", ""),
    ],
)
def test_outcomes_follow_the_table(data, fate, reason, status, originator):
    result = rejected(data, limits=SMALL_LIMITS)

    assert (result.fate, result.reason, result.status, result.originator) == (fate, reason, status, originator)


@pytest.mark.rule("PU-52", "A-9")
def test_export_marks_below_an_ordinary_field_are_only_stripped():
    result = draft(FROM + TO + b"X-CreatedBy: x\r\nX-EndOfInjectedXHeaders: 1\r\n\r\n")

    assert result.header_fields == (FROM, TO)
    assert result.warnings == ("X_RECEIVER_IGNORED",)


@pytest.mark.rule("PU-44")
def test_readable_recipients_are_kept_beside_the_unreadable():
    result = draft(FROM + b"To: bob@b.test, nobody at all\r\nCc: nobody at all\r\n\r\n")

    assert receivers(result) == [("bob@b.test", "To")]
    assert [(bad.text, bad.status) for bad in result.bad_recipients] == [("nobody at all", "5.1.3")]


@pytest.mark.rule("PU-40", "PU-58")
def test_a_rejection_carries_line_text_and_what_a_notice_needs():
    result = rejected(FROM + TO + b"Subject: s\r\nDear Bob, this is no field\r\n\r\n")
    assert (result.line, result.text) == (4, "Dear Bob, this is no field")

    many = b"To: " + b", ".join(b"r%d@b.test" % n for n in range(101)) + b"\r\n"
    result = rejected(FROM + many + b"Subject: s\r\nMessage-ID: <m@a.test>\r\n\r\nbody")
    assert (result.subject, result.message_id, result.sender) == ("s", "<m@a.test>", "alice@a.test")
    assert len(result.recipients) == 101
    assert result.header.endswith(b"<m@a.test>\r\n\r\n")


NET = (
    b'X-Sender: "Alice" <app@a.test>\r\nX-Receiver: bob@B.test\r\nX-Receiver: "Doe, Jane" <jane@b.test>\r\n'
    b"X-Receiver: hidden@b.test\r\nX-Receiver: no address\r\n"
)


@pytest.mark.rule("A-9", "HM-9", "UP-15", "UP-16")
def test_honoured_x_fields_set_the_sender_and_add_the_hidden_recipients():
    result = draft(NET + FROM + TO + b"\r\n", honour_x_receiver=True)

    assert result.envelope.mail_from == "app@a.test"
    assert receivers(result) == [("bob@b.test", "To"), ("jane@b.test", "Bcc"), ("hidden@b.test", "Bcc")]
    assert [bad.text for bad in result.bad_recipients] == ["no address"]
    assert result.header_fields == (FROM, TO)
    assert result.warnings == ()


@pytest.mark.rule("A-9", "HM-5")
def test_honoured_recipients_alone_make_a_bcc_only_message():
    result = draft(NET + FROM + b"\r\n", honour_x_receiver=True)

    assert result.bcc_only
    assert len(result.envelope.recipients) == 3


@pytest.mark.rule("A-9", "UP-15", "PU-38")
@pytest.mark.parametrize("honour", [False, True])
def test_dotnet_files_are_read(corpus, honour):
    seen = {}
    for path in sorted((corpus / "eml" / "dotnet-pickup").glob("*.eml")):
        result = draft(path.read_bytes(), honour_x_receiver=honour, unstuff_dots=True)
        assert not any(f.lower().startswith((b"x-sender", b"x-receiver")) for f in result.header_fields)
        assert ("X_RECEIVER_IGNORED" in result.warnings) is not honour
        seen[path.name[:2]] = result

    assert len(seen) == 11
    assert ("hidden@contoso.example", "Bcc") in receivers(seen["02"]) or not honour
    assert len(seen["02"].envelope.recipients) == (4 if honour else 3)
    assert seen["06"].envelope.mail_from == ("sender@contoso.example" if honour else "alice@contoso.example")
    assert "SENDER_DIFFERS" in seen["06"].warnings
    assert seen["01"].body.startswith(b".\r\n.dot\r\n..two\r\n")
    assert seen["03"].envelope.smtputf8
    assert receivers(seen["11"])[0][0] == '"very.(),:;<>[]\\".VERY"@contoso.example'


HEADERS = st.lists(
    st.sampled_from([FROM, TO, b"Subject: =?x?q?\r\n", b"Date: x\r\n", b"X-A: b\r\n c\r\n", b"Cc: (\r\n", b"bad\r\n"])
    | st.binary(max_size=30).map(lambda b: b"X-R: " + b.replace(b"\n", b"").replace(b"\r", b"") + b"\r\n"),
    max_size=8,
).map(b"".join)


@pytest.mark.rule("HM-11", "HM-12", "PU-36", "PU-37")
@given(HEADERS, st.binary(max_size=200), st.booleans())
def test_whatever_is_accepted_keeps_its_header_bytes_and_body(header, body, honour):
    data = header + b"\r\n" + body
    result = read(data, limits=LIMITS, honour_x_receiver=honour)

    if isinstance(result, Draft):
        assert result.body == crlf(data[split(data).body_start :])
        assert b"".join(result.header_fields) == b"".join(
            f.raw for f in split(data).fields if f.name != "date" and not (f.name == "to" and result.bcc_only)
        )


@given(st.binary(max_size=400))
def test_no_bytes_make_reading_raise(data):
    assert isinstance(read(data, limits=LIMITS), Draft | Rejection)
