"""Notices about hostile or damaged messages: every byte of them is legal mail (RFC 5322, RFC 2045, RFC 3464, RFC 6522)."""

from __future__ import annotations

import email
from datetime import UTC, datetime
from email import policy

import pytest

from connectors.notices import Fate
from tests.sample_notices import HEADER, SMTP, failed, manner, original, written

LOST = failed(SMTP, "550 5.1.1 no")
LONG = b"x" * 999
HEADERS = {
    "a line that is too long": HEADER.replace(b"\r\n\r\n", b"\r\nX-Long: " + LONG + b"\r\n\r\n"),
    "a CR of its own": HEADER.replace(b"\r\n\r\n", b"\r\nX-Cr: a\rX-Evil: b\r\n\r\n"),
    "an LF of its own": HEADER.replace(b"\r\n\r\n", b"\r\nX-Lf: a\n b\r\n\r\n"),
}
BODIES = {
    "a line that is too long": LONG + b"\r\n",
    "a CR of its own": b"a\rb\r\n",
    "an LF of its own": b"a\nb\r\n",
    "a NUL": b"a\0b\r\n",
}


def is_line_by_line(data):
    """Tell whether every line has at most 998 octets and ends with CRLF, and no octet is NUL (RFC 2045 2.7, 2.8)."""
    lines = data.split(b"\r\n")
    return all(len(line) <= 998 and not {0, 10, 13} & set(line) for line in lines)


def parts(data):
    message = email.message_from_bytes(data)
    people, status, returned = message.get_payload()
    return message, people, status, returned


def status_fields(data):
    groups = parts(data)[2].get_payload()
    return [dict(group.items()) for group in groups if group.items()]


@pytest.mark.rule("DSN-30")
@pytest.mark.parametrize("subject", ["A" * 1000, "word " * 195 + "end"])
def test_a_subject_longer_than_a_line_may_be_is_folded(subject):
    data = written("failed", LOST, about=original(subject=subject))

    assert is_line_by_line(data)
    assert email.message_from_bytes(data, policy=policy.default)["Subject"] == f"Undeliverable: {subject}"


@pytest.mark.rule("DSN-30")
def test_a_subject_that_reads_like_an_encoded_word_stays_what_it_was():
    data = written("failed", LOST, about=original(subject="=?utf-8?Q?secret?="))

    shown = email.message_from_bytes(data, policy=policy.default)["Subject"]
    assert shown == "Undeliverable: =?utf-8?Q?secret?="


@pytest.mark.rule("DSN-25", "DSN-54")
@pytest.mark.parametrize("kind", HEADERS)
def test_a_header_that_is_no_legal_mail_goes_back_encoded_and_unchanged(kind):
    data = written("failed", LOST, about=original(header=HEADERS[kind], content=None))

    message, _people, _status, returned = parts(data)
    assert is_line_by_line(data)
    assert returned.get_content_type() == "text/rfc822-headers"
    assert returned["Content-Transfer-Encoding"] == "quoted-printable"
    assert returned.get_payload(decode=True).rstrip(b"\r\n") == HEADERS[kind].rstrip(b"\r\n")
    assert message["Content-Transfer-Encoding"] is None


@pytest.mark.rule("DSN-25", "DSN-54")
@pytest.mark.parametrize("kind", BODIES)
def test_a_message_that_is_no_legal_8bit_goes_back_whole_as_binary(kind):
    data = written("failed", LOST, about=original(content=HEADER + BODIES[kind]))

    message, _people, _status, returned = parts(data)
    assert returned["Content-Transfer-Encoding"] == message["Content-Transfer-Encoding"] == "binary"
    assert HEADER + BODIES[kind] in data


@pytest.mark.rule("DSN-25")
def test_a_line_of_998_octets_needs_no_encoding():
    data = written("failed", LOST, about=original(content=HEADER + b"x" * 998 + b"\r\n"))

    message, _people, _status, returned = parts(data)
    assert (message["Content-Transfer-Encoding"], returned["Content-Transfer-Encoding"]) == (None, None)


@pytest.mark.rule("DSN-32", "DSN-54")
def test_a_carriage_return_in_an_address_does_not_reach_the_text():
    data = written("failed", failed(Fate(address="a\rb@x.test"), "550 5.1.3 no"))

    assert is_line_by_line(data)


@pytest.mark.rule("DSN-32", "DSN-33")
@pytest.mark.parametrize(
    "orcpt, expected",
    [
        ("rfc822;b+40x.test", "rfc822;b@x.test"),
        ("x400;c=us+3Ba=b+3B", "x400;c=us;a=b;"),
        ("é;b@x.test", "unknown;b@x.test"),
        ("a b;b@x.test", "unknown;b@x.test"),
        ("a:b;b@x.test", "unknown;b@x.test"),
        ("rfc822;é b+5C@x.test", "utf-8;\\x{E9}\\x{20}b\\x{5C}@x.test"),
    ],
)
def test_whatever_an_orcpt_holds_the_status_part_has_a_type_and_ascii_alone(orcpt, expected):
    data = written("failed", Fate(address="b@x.test", orcpt=orcpt, reply="550 5.1.1 no"))

    assert status_fields(data)[1]["Original-Recipient"] == expected


@pytest.mark.rule("DSN-32")
def test_a_long_address_in_another_script_is_cut_between_two_characters():
    data = written("failed", Fate(address="b@x.test", orcpt="rfc822;" + "日" * 400, reply="550 5.1.1 no"))

    value = status_fields(data)[1]["Original-Recipient"]
    assert len(value) < 998
    assert value == "utf-8;" + "\\x{65E5}" * (value.count("\\"))


@pytest.mark.rule("DSN-30", "DSN-31", "DSN-50")
def test_names_of_servers_in_other_scripts_are_written_as_dns_knows_them():
    how = manner(
        internal_reporting_authority="münchen.example", internal_postmaster_address="postmaster@münchen.example"
    )

    data = written("failed", LOST, how=how, about=original(helo_domain="køge.example"))

    about = status_fields(data)[0]
    assert about["Reporting-MTA"] == "dns;xn--mnchen-3ya.example"
    assert about["Received-From-MTA"] == "dns;xn--kge-0na.example"
    assert email.message_from_bytes(data)["From"] == "<postmaster@xn--mnchen-3ya.example>"


@pytest.mark.rule("DSN-2", "DSN-51")
@pytest.mark.parametrize(
    "day, french, english",
    [
        (1, "jusqu’au 1er décembre 2026 08:00 UTC\xa0:", "until Dec. 1, 2026, 8 a.m. UTC:"),
        (21, "jusqu’au 21 décembre 2026 08:00 UTC\xa0:", "until Dec. 21, 2026, 8 a.m. UTC:"),
    ],
)
def test_the_end_of_all_attempts_is_written_as_people_write_it(day, french, english):
    about = original(expires_at=datetime(2026, 12, day, 8, tzinfo=UTC))

    for language, words in (("fr", french), ("en", english)):
        message = email.message_from_bytes(
            written("delayed", SMTP, about=about, language=language), policy=policy.default
        )
        for kind in ("plain", "html"):
            assert words in message.get_body((kind,)).get_content()


@pytest.mark.rule("DSN-25", "QL-13")
def test_people_read_the_start_of_a_huge_header_and_programs_all_of_it():
    header = b"Subject: s\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"x" * 60) for n in range(20_000)) + b"\r\n"

    data = written("failed", LOST, about=original(header=header, content=None))

    _message, people, _status, returned = parts(data)
    assert returned.get_payload().rstrip("\r\n").encode() == header.rstrip(b"\r\n")
    for part in people.get_payload():
        shown = part.get_payload(decode=True)
        assert 60_000 < len(shown) < 70_000
        assert b"X-0: " in shown and b"x\r\n[...]" in shown
