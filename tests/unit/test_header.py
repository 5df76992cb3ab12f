"""The header as bytes: where it ends, its fields, its encodings; nothing raises but HeaderError."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.mail.header import HeaderError, crlf, decode_text, split, unstuff


@pytest.mark.rule("PU-33", "PU-28")
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("blank", [b"\r\n", b"\n"])
def test_any_mixture_of_line_ends_is_read_and_stored_as_crlf(end, blank):
    header = split(b"A: 1" + end + b" more" + end + b"B: 2" + end + blank + b"body\nx\r\n")

    assert [(f.name, f.raw, f.value) for f in header.fields] == [
        ("a", b"A: 1\r\n more\r\n", b"1 more"),
        ("b", b"B: 2\r\n", b"2"),
    ]
    assert crlf(b"a\nb\r\nc\rd\n") == b"a\r\nb\r\nc\rd\r\n"


@pytest.mark.rule("A-8")
def test_the_header_size_counts_every_byte_up_to_the_blank_line():
    assert split(b"\xef\xbb\xbfA: 1\r\nB: 2\n\nbody").size == 3 + 6 + 5 + 1


@pytest.mark.rule("PU-34", "PU-39")
@pytest.mark.parametrize(
    ("first", "warnings", "line"),
    [
        (b"", (), 1),
        (b"\xef\xbb\xbf", ("BOM",), 1),
        (b"From alice Mon Jan  1 00:00:00 2001\n", ("MBOX_FROM",), 2),
        (b">From alice Mon Jan  1 00:00:00 2001\r\n", ("MBOX_FROM",), 2),
        (b"\xef\xbb\xbfFrom alice Mon Jan  1 00:00:00 2001\n", ("BOM", "MBOX_FROM"), 2),
    ],
)
def test_a_bom_and_an_mbox_line_are_dropped_with_a_warning(first, warnings, line):
    header = split(first + b"Subject: x\r\n\r\n")

    assert (header.warnings, header.fields[0].name, header.fields[0].line) == (warnings, "subject", line)


@pytest.mark.rule("PU-34", "PU-49", "PU-50", "PU-51")
@pytest.mark.parametrize(
    ("data", "reason", "line", "text"),
    [
        (b"", "EMPTY", 0, ""),
        ("From: a@b.test\r\n\r\n".encode("utf-16"), "ENCODING", 1, None),
        ("From: a@b.test\r\n\r\n".encode("utf-16-be"), "ENCODING", 1, None),
        ("\ufeffFrom: a@b.test\r\n\r\n".encode("utf-16-be"), "ENCODING", 1, None),
        ("From: a@b.test\r\n\r\n".encode("utf-32"), "ENCODING", 1, None),
        ("\ufeffFrom: a@b.test\r\n\r\n".encode("utf-32-be"), "ENCODING", 1, None),
        (b"A: 1\r\nB: \0\r\n\r\n", "ENCODING", 2, "B: \0"),
        (b"From: a@b.test\r\nTo: c@d.test\r\n", "NO_BLANK_LINE", 2, ""),
        (b"\xef\xbb\xbf", "NO_BLANK_LINE", 1, ""),
        (b"From alice", "NO_BLANK_LINE", 1, "From alice"),
        (b"A: 1\r\nno field here\r\n\r\nbody", "BAD_HEADER", 2, "no field here"),
        (b" continuation first\r\n\r\n", "BAD_HEADER", 1, " continuation first"),
        (b"A: 1\r\n: no name\r\n\r\n", "BAD_HEADER", 2, ": no name"),
        (b"A: 1\r\n" + b"x" * 500 + b"\r\n\r\n", "BAD_HEADER", 2, "x" * 200),
    ],
)
def test_a_header_that_cannot_be_used_names_reason_line_and_text(data, reason, line, text):
    with pytest.raises(HeaderError) as caught:
        split(data)

    assert (caught.value.reason, caught.value.line) == (reason, line)
    assert text is None or caught.value.text == text


@pytest.mark.rule("PU-35")
def test_a_header_line_of_many_kilobytes_is_one_field():
    header = split(b"X-ExtendedProps: " + b"A" * 50_000 + b"\r\n\r\n")

    assert len(header.fields[0].value) == 50_000


@pytest.mark.rule("PU-36")
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("Grüße".encode(), "Grüße"),
        (b"Gr\xfc\xdfe", "Gr\ufffd\ufffde"),
        (b"=?iso-8859-1?Q?Gr=FC=DFe?=", "Grüße"),
        (b"=?utf-8?b?5pel5pys?= x", "日本 x"),
        (b"=?no-such-charset?Q?=FC?=", "ü"),
        (b"=?unicode_escape?Q?=5CN?=", "\\N"),
        (b"=?utf-8?b?A?=", "=?utf-8?b?A?="),
        (b"=?not?encoded", "=?not?encoded"),
        (b"a\tb\x01c", "a b c"),
    ],
)
def test_a_value_is_shown_decoded_and_never_fails(value, shown):
    assert decode_text(value) == shown


@pytest.mark.rule("PU-36")
def test_a_hostile_encoded_word_costs_no_time():
    started = time.perf_counter()

    decode_text(b"=?a?q?" * 200_000)

    assert time.perf_counter() - started < 2


@pytest.mark.rule("PU-38", "UP-14")
def test_dots_are_undone_only_where_asked():
    assert unstuff(b"..\r\n..dot\r\n...two\r\n.\r\na..b\r\n") == b".\r\n.dot\r\n..two\r\n.\r\na..b\r\n"


@pytest.mark.rule("PU-33", "PU-35", "PU-36")
@given(st.binary(max_size=300) | st.text(alphabet="Ab:\r\n \t\0=?.", max_size=80).map(str.encode))
def test_no_bytes_raise_anything_but_a_header_error(data):
    try:
        header = split(data)
    except HeaderError as error:
        assert error.reason in {"EMPTY", "ENCODING", "NO_BLANK_LINE", "BAD_HEADER"}
        return
    joined = b"".join(field.raw for field in header.fields)
    start = 3 if "BOM" in header.warnings else 0
    if "MBOX_FROM" in header.warnings:
        start = data.index(b"\n", start) + 1
    assert joined.replace(b"\r\n", b"\n").strip(b"\n") == data[start : header.body_start].replace(b"\r\n", b"\n").strip(
        b"\n"
    )


@given(st.binary(max_size=300) | st.text(alphabet="=?utf8-qbQB_ A1\r\n", max_size=80).map(str.encode))
def test_no_value_makes_decoding_raise(value):
    shown = decode_text(value)

    assert "\n" not in shown
    assert len(shown) <= 1000
