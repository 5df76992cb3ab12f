"""Replay files: the injected block, its parameters, its order, glued exports, and what stays of the message."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.mail.envelope import Envelope, Recipient
from connectors.mail.header import crlf, split
from connectors.mail.replay_format import block, read, read_block, split_export
from connectors.mail.stamp import stamp
from connectors.mail.verdict import Draft, Fate, Rejection

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
SENDER = b"X-Sender: <s@a.test>\r\n"
RECEIVER = b"X-Receiver: <r@b.test>\r\n"
MESSAGE = b"Subject: s\r\n\r\nbody\r\n"


def draft(data, *, trust=False):
    result = read(data, trust_created_by=trust)
    assert isinstance(result, Draft), result
    return result


def rejected(data):
    result = read(data, trust_created_by=False)
    assert isinstance(result, Rejection), result
    return result


@pytest.mark.rule("RP-3", "RP-9", "RP-10", "RP-17")
def test_the_envelope_comes_from_the_block_alone():
    result = draft(SENDER + RECEIVER + b"From: x@x.test\r\nTo: y@y.test\r\nCc: z@z.test\r\n\r\n")
    assert result.envelope.mail_from == "s@a.test"
    assert [r.address for r in result.envelope.recipients] == ["r@b.test"]

    bare = draft(SENDER + RECEIVER + b"\r\n")
    assert (bare.sender, bare.header_fields, bare.body) == ("", (), b"")


@pytest.mark.rule("RP-2", "PU-35")
def test_there_is_no_header_or_recipient_limit():
    many = b"".join(b"X-Receiver: <r%d@b.test>\r\n" % number for number in range(300))
    result = draft(SENDER + many + b"X-Long: " + b"x" * 100_000 + b"\r\n\r\n")

    assert len(result.envelope.recipients) == 300


@pytest.mark.rule("RP-9", "RP-10", "RP-11", "RP-18", "PU-49", "PU-50", "PU-51")
@pytest.mark.parametrize(
    ("data", "fate", "reason", "originator"),
    [
        (RECEIVER + MESSAGE, Fate.BAD, "NO_X_SENDER", ""),
        (MESSAGE, Fate.BAD, "NO_X_SENDER", ""),
        (b"X-Sender: nobody\r\n" + RECEIVER + MESSAGE, Fate.BAD, "BAD_X_SENDER", ""),
        (b"X-Sender:\r\n" + RECEIVER + MESSAGE, Fate.BAD, "BAD_X_SENDER", ""),
        (b"X-Sender: <s@a.test\r\n" + RECEIVER + MESSAGE, Fate.BAD, "BAD_X_SENDER", ""),
        (b"X-Sender: <j\xfcrgen@a.test>\r\n" + RECEIVER + MESSAGE, Fate.BAD, "BAD_X_SENDER", ""),
        (SENDER + SENDER + RECEIVER + MESSAGE, Fate.BAD, "BAD_X_SENDER", ""),
        (SENDER + MESSAGE, Fate.BAD, "NO_X_RECEIVER", "s@a.test"),
        (SENDER + b"X-Receiver: nobody\r\n" + MESSAGE, Fate.NOTICE, "BAD_RECIPIENTS", "s@a.test"),
        (SENDER + b"X-Receiver: <>\r\n" + MESSAGE, Fate.NOTICE, "BAD_RECIPIENTS", "s@a.test"),
        (b"X-Sender: <>\r\nX-Receiver: nobody\r\n" + MESSAGE, Fate.BAD, "BAD_X_RECEIVER", ""),
        (b"X-Sender: nobody\r\nX-Receiver: nobody\r\n" + MESSAGE, Fate.BAD, "BAD_X_SENDER", ""),
        (SENDER + RECEIVER + b"X-CreatedBy: \r\n" + MESSAGE, Fate.BAD, "BAD_X_CREATEDBY", ""),
        (SENDER + RECEIVER + b"Subject: s\r\n" + RECEIVER + b"\r\n", Fate.BAD, "X_HEADER_ORDER", "s@a.test"),
        (b"Subject: s\r\n" + SENDER + RECEIVER + b"\r\n", Fate.BAD, "X_HEADER_ORDER", ""),
        (
            SENDER + RECEIVER + b"X-EndOfInjectedXHeaders: 1\r\n" + SENDER + b"\r\n",
            Fate.BAD,
            "X_HEADER_ORDER",
            "s@a.test",
        ),
        (SENDER + RECEIVER, Fate.WAIT, "NO_BLANK_LINE", ""),
        (b"", Fate.BAD, "EMPTY", ""),
        (SENDER + RECEIVER + b"no field\r\n\r\n", Fate.BAD, "BAD_HEADER", ""),
    ],
)
def test_outcomes_follow_the_table(data, fate, reason, originator):
    result = rejected(data)

    assert (result.fate, result.reason, result.originator) == (fate, reason, originator)


@pytest.mark.rule("RP-9", "RP-10")
def test_one_bad_receiver_does_not_stop_the_others():
    result = draft(SENDER + b"X-Receiver: nobody\r\n" + RECEIVER + MESSAGE)

    assert [r.address for r in result.envelope.recipients] == ["r@b.test"]
    assert [(bad.text, bad.status) for bad in result.bad_recipients] == [("nobody", "5.1.3")]


@pytest.mark.rule("RP-9")
def test_the_null_sender_is_accepted():
    assert draft(b"X-Sender: <>\r\n" + RECEIVER + MESSAGE).envelope.mail_from == ""


@pytest.mark.rule("RP-11", "RP-12", "RP-13", "RP-14", "RP-15", "RP-16", "RP-24")
@pytest.mark.parametrize(
    ("line", "column", "value", "warning"),
    [
        (b"", "created_by", "Unspecified", ""),
        (b"X-CreatedBy: Notes", "created_by", "Notes", ""),
        (b"", "helo_domain", "", ""),
        (b"X-HeloDomain: mx.example.test", "helo_domain", "mx.example.test", ""),
        (b"X-HeloDomain: [192.0.2.1]", "helo_domain", "[192.0.2.1]", ""),
        (b"X-HeloDomain: two words", "helo_domain", "", "BAD_HELO_DOMAIN"),
        (b"X-ExtendedMessageProps: ????", "created_by", "Unspecified", ""),
        (b"X-ExtendedProps: BQAV", "created_by", "Unspecified", ""),
        (b"X-Source: SMTP:Default MBX-02", "source", "SMTP:Default MBX-02", ""),
        (b"", "source", "", ""),
        (b"", "source_ip", "0.0.0.0", ""),
        (b"X-SourceIPAddress: 192.0.2.37", "source_ip", "192.0.2.37", ""),
        (b"X-SourceIPAddress: 2001:db8::1", "source_ip", "2001:db8::1", ""),
        (b"X-SourceIPAddress: dead", "source_ip", "0.0.0.0", "BAD_SOURCE_IP"),
        (b"X-EndOfInjectedXHeaders: 20", "source", "", ""),
        (b"X-EndOfInjectedXHeaders: 21", "source", "", "LENGTH_DIFFERS"),
        (b"X-EndOfInjectedXHeaders: many", "source", "", "BAD_END_MARK"),
        ("X-EndOfInjectedXHeaders: ²".encode(), "source", "", "BAD_END_MARK"),
        (b"X-EndOfInjectedXHeaders: " + b"9" * 5000, "source", "", "BAD_END_MARK"),
    ],
)
def test_each_field_of_the_block(line, column, value, warning):
    result = draft(SENDER + RECEIVER + (line + b"\r\n" if line else b"") + MESSAGE)

    assert getattr(result.envelope, column) == value
    assert result.warnings == ((warning,) if warning else ())
    assert result.header_fields == (b"Subject: s\r\n",)


FIELDS = (
    b"Received: from x by y; Mon, 1 Jan 2001 00:00:00 +0000\r\nResent-From: r@r.test\r\nBcc: hidden@h.test\r\n"
    b"Return-Path: <x@x.test>\r\nX-MS-Exchange-Organization-AuthAs: Internal\r\nX-MS-Exchange-Forest-x: y\r\n"
    b"X-Own: kept\r\nDate: yesterday\r\nMessage-ID:\r\n"
)


@pytest.mark.rule("HM-1", "HM-3", "HM-4", "HM-5", "HM-6", "HM-7", "HM-8", "HM-10", "HM-11", "RP-4", "RP-22")
def test_header_changes_follow_the_replay_column():
    result = draft(SENDER + RECEIVER + b"X-CreatedBy: MSExchange15\r\n" + FIELDS + b"\r\nbody")

    assert stamp(result, received="R", message_id="<new@d.test>", date="NOW") == (
        b"Received: R\r\nReceived: from x by y; Mon, 1 Jan 2001 00:00:00 +0000\r\nResent-From: r@r.test\r\n"
        b"X-Own: kept\r\nMessage-ID: <new@d.test>\r\nDate: NOW\r\n\r\nbody"
    )


@pytest.mark.rule("HM-8", "RP-11", "RP-23", "A-22")
@pytest.mark.parametrize(
    ("created_by", "trusted", "kept"),
    [
        (b"MSExchange15", True, True),
        (b"MSExchange15", False, False),
        (b"msexchange15", True, False),
        (b"MSExchange12", True, False),
        (b"Notes", True, False),
        (b"", True, False),
    ],
)
def test_organization_fields_stay_only_for_a_trusted_msexchange15(created_by, trusted, kept):
    line = b"X-CreatedBy: " + created_by + b"\r\n" if created_by else b""
    result = draft(SENDER + RECEIVER + line + FIELDS + b"\r\n", trust=trusted)

    assert any(b"Organization" in f for f in result.header_fields) is kept
    assert any(b"Forest" in f for f in result.header_fields) is kept
    assert result.has_org_headers is kept


@pytest.mark.rule("RP-5", "RP-17", "RP-18")
def test_an_injected_name_below_the_block_is_removed_with_a_warning():
    result = draft(SENDER + RECEIVER + b"Subject: s\r\nX-Source: x\r\nX-CreatedBy: y\r\n\r\n")

    assert result.header_fields == (b"Subject: s\r\n",)
    assert (result.envelope.source, result.envelope.created_by) == ("", "Unspecified")
    assert result.warnings == ("X_HEADER_REMOVED",)


@pytest.mark.rule("RP-21", "RP-24", "DR-15", "DR-16")
def test_the_block_is_written_in_the_order_of_real_exports_and_read_back():
    envelope = Envelope(
        mail_from="s@a.test",
        recipients=(
            Recipient(address="r@b.test", notify="DELAY", orcpt="rfc822;u@b.test"),
            Recipient(address="q@b.test"),
        ),
        body="8BITMIME",
        ret="HDRS",
        envid="a+b",
        smtputf8=True,
        created_by="fcweb",
        helo_domain="mx.a.test",
        source="SMTP:x",
        source_ip="192.0.2.1",
    )
    written = block(envelope, content_bytes=42)

    assert written == (
        b"X-Sender: <s@a.test> BODY=8BITMIME RET=HDRS ENVID=a+2Bb SMTPUTF8\r\n"
        b"X-Receiver: <r@b.test> NOTIFY=DELAY ORCPT=rfc822;u@b.test\r\nX-Receiver: <q@b.test>\r\n"
        b"X-CreatedBy: fcweb\r\nX-HeloDomain: mx.a.test\r\nX-Source: SMTP:x\r\nX-SourceIPAddress: 192.0.2.1\r\n"
        b"X-EndOfInjectedXHeaders: 42\r\n"
    )
    assert read_block(written + b"content") == (envelope, len(written))


@pytest.mark.rule("RP-21", "RP-22", "RP-24", "RP-13", "UP-2")
def test_a_real_looking_export_is_read_without_a_warning():
    result = draft((SAMPLES / "exported_queue_file.eml").read_bytes())

    assert result.warnings == ()
    assert result.envelope.mail_from == "bounce+123-user=example.test@lists.example.test"
    assert result.envelope.recipients == (
        Recipient(address="IMCEAFAX-5551234@fcweb.test", notify="NEVER", orcpt="rfc822;user@example.test"),
    )
    assert (result.envelope.source, result.envelope.source_ip) == ("SMTP:Default MBX-02", "192.0.2.37")
    assert not any(b"Return-Path" in f or b"ExtendedProps" in f for f in result.header_fields)


@pytest.mark.rule("RP-9", "RP-19")
def test_the_documented_replay_example_is_read():
    result = draft((SAMPLES / "replay_documented.eml").read_bytes())

    assert (result.envelope.body, result.envelope.ret, result.envelope.envid) == ("7BIT", "HDRS", "order+2026")
    assert result.envelope.recipients == (
        Recipient(address="IMCEAFAX-5551234@fcweb.test", notify="FAILURE,DELAY", orcpt="rfc822;desk@example.test"),
    )
    assert result.header_fields == (b"Subject: Order 2026\r\n", b"To: everybody@public.test\r\n")


def export(number, *, declared=True, end=b"\r\n"):
    content = b"Subject: %d\r\n\r\nbody %d\r\n" % (number, number)
    mark = b"X-EndOfInjectedXHeaders: %d\r\n" % len(content) if declared else b""
    return (b"X-sender: <s%d@a.test>\r\nX-Receiver: <r@b.test>\r\n" % number + mark + content).replace(b"\r\n", end)


@pytest.mark.rule("RP-24", "RP-25")
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("gap", [b"", b"\r\n", b"\r\n\r\n\n"])
@pytest.mark.parametrize("declared", [(True, True), (True, False), (False, True)])
def test_glued_exports_are_refused_and_can_be_split(end, gap, declared):
    first, second = export(1, declared=declared[0], end=end), export(2, declared=declared[1], end=end)
    data = first + gap + second

    result = rejected(data)

    assert (result.fate, result.reason, result.text) == (
        Fate.BAD,
        "CONCATENATED_EXPORT",
        "X-sender: <s2@a.test>" + end.decode()[:-1],
    )
    assert data.splitlines()[result.line - 1] == b"X-sender: <s2@a.test>"
    assert split_export(data) == [first + gap, second]
    assert [draft(part).envelope.mail_from for part in split_export(data)] == ["s1@a.test", "s2@a.test"]


@pytest.mark.rule("RP-25")
def test_three_glued_exports_give_three_messages():
    parts = [export(1), export(2), export(3)]

    assert split_export(b"".join(parts)) == parts
    assert split_export(parts[0]) == [parts[0]]
    assert split_export(b"no message") == [b"no message"]


@pytest.mark.rule("RP-25")
@pytest.mark.parametrize(
    "body",
    [
        b"X-Sender: <a@b.test>\r\nis how such a file begins\r\n",
        b"X-EndOfInjectedXHeaders: 5\r\n",
        b"> X-Sender: <a@b.test>\r\n> X-EndOfInjectedXHeaders: 5\r\n",
        b"X-EndOfInjectedXHeaders: 5\r\nX-Sender: <a@b.test>\r\n",
    ],
)
def test_a_body_that_only_speaks_of_exports_passes(body):
    assert draft(SENDER + RECEIVER + b"Subject: s\r\n\r\n" + body).body == body


@pytest.mark.rule("HM-12", "PU-33", "PU-36", "PU-37")
@given(st.binary(max_size=200), st.binary(max_size=40))
def test_whatever_is_accepted_keeps_its_header_bytes_and_body(body, value):
    field = b"X-Own: " + value.replace(b"\n", b"").replace(b"\r", b"") + b"\r\n"
    data = SENDER + RECEIVER + field + b"\r\n" + body
    result = read(data, trust_created_by=False)

    if isinstance(result, Draft):
        assert result.header_fields == (field,)
        assert result.body == crlf(data[split(data).body_start :])


BLOCKS = st.lists(
    st.sampled_from(
        [
            b"X-Sender:",
            b"X-Receiver:",
            b"X-CreatedBy:",
            b"X-EndOfInjectedXHeaders:",
            b" <",
            b">",
            b"a@b.test",
            b"\r\n",
            b"\n",
            b"NOTIFY=",
            b"ORCPT=",
            b";",
            b'"',
            b"9",
        ]
    )
    | st.binary(max_size=6),
    max_size=20,
).map(b"".join)


@given(BLOCKS)
def test_no_bytes_make_reading_or_splitting_raise(data):
    assert isinstance(read(SENDER + data + b"\r\n\r\n", trust_created_by=True), Draft | Rejection)
    assert isinstance(read(data, trust_created_by=True), Draft | Rejection)
    assert b"".join(split_export(data)) == data


@pytest.mark.rule("RP-25")
def test_the_block_nearest_its_end_mark_is_the_second_message():
    first = export(1, declared=False) + b"X-Sender: is a word of this body\r\nmore of it\r\n"

    assert split_export(first + export(2)) == [first, export(2)]
