"""The mailboxes of a header field: groups, comments, quotes, and text that is no address."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.mail.address_list import addresses


@pytest.mark.rule("PU-31", "PU-44", "UP-16")
@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"a@b.test", [("a@b.test", True)]),
        (b"a@b.test, c@d.test", [("a@b.test", True), ("c@d.test", True)]),
        (b"a@b.test; c@d.test", [("a@b.test", True), ("c@d.test", True)]),
        (b'"Doe, Jane" <jane@b.test>', [("jane@b.test", True)]),
        (b"Jane (the, boss) <jane@b.test> (home)", [("jane@b.test", True)]),
        (b"Team: a@b.test, Jane <c@d.test>;, e@f.test", [("a@b.test", True), ("c@d.test", True), ("e@f.test", True)]),
        (b"Undisclosed recipients:;", []),
        (b"", []),
        (b" , ,", []),
        (b"<>", []),
        (b'"a b"@c.test', [('"a b"@c.test', True)]),
        (b'"very.(),:;<>[]\\".VERY"@c.test', [('"very.(),:;<>[]\\".VERY"@c.test', True)]),
        (b"<@relay.test,@other.test:a@b.test>", [("a@b.test", True)]),
        (b"a @ b . test", [("a@b.test", True)]),
        (b"a@[192.0.2.1]", [("a@[192.0.2.1]", True)]),
        (b"a@[IPv6:2001:db8::1]", [("a@[IPv6:2001:db8::1]", True)]),
        ("用户@例え.example".encode(), [("用户@例え.example", True)]),
        (b"j\xfcrgen@b.test", [("j\ufffdrgen@b.test", False)]),
        (b"not an address, a@b.test", [("not an address", False), ("a@b.test", True)]),
        (b"a@b.test c@d.test", [("a@b.test c@d.test", False)]),
        (b"a@", [("a@", False)]),
        (b"@b.test", [("@b.test", False)]),
        (b"Jane <jane@b.test", [("jane@b.test", True)]),
        (b"a@b.test\x00", [("a@b.test\x00", False)]),
        (b"a" * 320 + b"@b.test", [("a" * 320 + "@b.test", False)]),
    ],
)
def test_an_address_list_is_read(value, found):
    assert [(parsed.address, parsed.ok) for parsed in addresses(value)] == found


def test_display_names_are_decoded():
    (parsed,) = addresses(b"=?utf-8?Q?J=C3=BCrgen?= <j@b.test>")

    assert parsed.display == "Jürgen"


@pytest.mark.parametrize("hostile", [b"(" * 200_000, b"<" * 200_000, b'"' * 200_001, b"a:" * 100_000, b"," * 200_000])
def test_hostile_lists_cost_linear_time(hostile):
    started = time.perf_counter()

    addresses(hostile)

    assert time.perf_counter() - started < 3


@given(st.binary(max_size=200) | st.text(alphabet='a@b.,;:<>()"\\[] \r\n', max_size=60).map(str.encode))
def test_no_bytes_make_an_address_list_raise(value):
    for parsed in addresses(value):
        assert parsed.address
        assert not parsed.ok or "@" in parsed.address
