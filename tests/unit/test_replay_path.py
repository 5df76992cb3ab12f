"""Paths of X-Sender and X-Receiver: every form of an address, and each parameter."""

from __future__ import annotations

import pytest

from connectors.mail.envelope import Recipient
from tests.unit.test_replay_format import MESSAGE, RECEIVER, SENDER, draft


@pytest.mark.rule("RP-9", "RP-10", "RP-16", "UP-16")
@pytest.mark.parametrize(
    ("path", "address"),
    [
        (b"<s@a.test>", "s@a.test"),
        (b"s@a.test", "s@a.test"),
        (b"Name <s@a.test>", "s@a.test"),
        (b'"Doe, Jane" <s@a.test>', "s@a.test"),
        (b"=?utf-8?Q?J=C3=BCrgen?= <s@a.test>", "s@a.test"),
        (b'"a b"@a.test', '"a b"@a.test'),
        (b'<"a b"@a.test>', '"a b"@a.test'),
        ("<jürgen@a.test>".encode(), "jürgen@a.test"),
        (b"\r\n <s@a.test>", "s@a.test"),
    ],
)
@pytest.mark.parametrize(
    "names", [(b"X-Sender", b"X-Receiver"), (b"x-sender", b"x-receiver"), (b"X-SENDER", b"X-RECEIVER")]
)
def test_every_form_of_a_path_is_read(path, address, names):
    envelope = draft(names[0] + b": " + path + b"\r\n" + names[1] + b":" + path + b"\r\n" + MESSAGE).envelope

    assert (envelope.mail_from, envelope.recipients[0].address) == (address, address)


@pytest.mark.rule("RP-19", "RP-20")
@pytest.mark.parametrize(
    ("parameters", "column", "value", "warning"),
    [
        ("BODY=7bit", "body", "7BIT", ""),
        ("body=8BITMIME", "body", "8BITMIME", ""),
        ("BODY=BINARYMIME", "body", "BINARYMIME", ""),
        ("BODY=9BIT", "body", "", ""),
        ("", "body", "", ""),
        ("RET=hdrs", "ret", "HDRS", ""),
        ("RET=FULL", "ret", "FULL", ""),
        ("RET=SOME", "ret", "", ""),
        ("ENVID=order+2B2026+3D1", "envid", "order+2026=1", ""),
        ("ENVID=" + "x" * 200, "envid", "x" * 100, ""),
        ("AUTH=<>", "auth", "<>", ""),
        ("AUTH=a+2Bb@c.test", "auth", "a+b@c.test", ""),
        ("SIZE=1000", "mail_from", "s@a.test", ""),
        ("SMTPUTF8", "smtputf8", True, ""),
        ("", "smtputf8", False, ""),
        ("XOORG=contoso.example", "mail_from", "s@a.test", "UNKNOWN_PARAMETER:XOORG"),
        ("MT-Priority=3 ZZ", "mail_from", "s@a.test", "UNKNOWN_PARAMETER:MT-PRIORITY"),
        ("<b>x=1", "mail_from", "s@a.test", "UNKNOWN_PARAMETER:?"),
    ],
)
def test_each_parameter_of_x_sender(parameters, column, value, warning):
    result = draft(f"X-Sender: <s@a.test> {parameters}\r\n".encode() + RECEIVER + MESSAGE)

    assert getattr(result.envelope, column) == value
    assert (result.warnings[0] if result.warnings else "") == warning


@pytest.mark.rule("RP-19", "RP-20", "RP-13", "UP-2")
@pytest.mark.parametrize(
    ("parameters", "notify", "orcpt", "warnings"),
    [
        ("", "", "", ()),
        ("NOTIFY=NEVER", "NEVER", "", ()),
        ("NOTIFY=success,FAILURE,Delay", "SUCCESS,FAILURE,DELAY", "", ()),
        ("NOTIFY=FAILURE,NEVER", "NEVER", "", ()),
        ("NOTIFY=SOMETIMES", "", "", ()),
        ("ORCPT=rfc822;user+2Btag@b.test", "", "rfc822;user+2Btag@b.test", ()),
        ("ORCPT=user@b.test", "", "rfc822;user@b.test", ()),
        ("ORCPT=rfc822;u@b.test NOTIFY=NEVER; X-ExtendedProps=BQAV==", "NEVER", "rfc822;u@b.test", ()),
        ("NOTIFY=NEVER X-ExtendedProps=BQAV\r\n SECRETNAME\r\n MORE", "NEVER", "", ()),
        (";X-ExtendedProps=BQAV", "", "", ()),
        ("XOORG=b.test NOTIFY=DELAY", "DELAY", "", ("UNKNOWN_PARAMETER:XOORG",)),
        ("BODY=7BIT", "", "", ("UNKNOWN_PARAMETER:BODY",)),
    ],
)
def test_each_parameter_of_x_receiver(parameters, notify, orcpt, warnings):
    result = draft(SENDER + f"X-Receiver: <r@b.test> {parameters}\r\n".encode() + MESSAGE)

    assert result.envelope.recipients == (Recipient(address="r@b.test", notify=notify, orcpt=orcpt),)
    assert result.warnings == warnings


@pytest.mark.rule("DSN-23", "DSN-24")
def test_a_word_of_notify_counts_once():
    result = draft(SENDER + b"X-Receiver: <r@b.test> NOTIFY=SUCCESS,success,FAILURE,SUCCESS,X\r\n" + MESSAGE)

    assert result.envelope.recipients[0].notify == "SUCCESS,FAILURE"


@pytest.mark.rule("RP-10", "DSN-32")
def test_a_receiver_that_is_empty_is_named_as_one():
    result = draft(SENDER + RECEIVER + b"X-Receiver:\r\n" + MESSAGE)

    assert [bad.text for bad in result.bad_recipients] == ["<>"]
