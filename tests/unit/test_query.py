"""The search language: what is read, what is refused in its place, and that nothing makes it fail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking.fold import fold, like
from tracking.query import Key, Problem, address_pattern, in_words, matches, parse, read_size
from tracking.rows import EventRow

NOW = datetime(2026, 3, 5, 12, 0, tzinfo=UTC)


def row(**changes):
    facts = {
        "pk": 1,
        "log_id": "x",
        "at": NOW,
        "event": "FAIL",
        "source": "GATEWAY",
        "connector": "Fax West",
        "context": "Order1.eml",
        "message_pk": 1,
        "message_id": "<a1@x.test>",
        "sender": "Anne@x.test",
        "subject": "Devis Été 123",
        "state": "failed",
        "recipients": (("IMCEAFAX-5551234@x.test", "550 5.1.2 no"), ("bob@y.test", "250 2.1.5 ok")),
        "size": 2048,
    }
    return EventRow(**(facts | changes))


@pytest.mark.rule("MTS-4", "MTS-7", "MTS-9", "MTS-10", "MTS-20", "MTS-30", "MTS-31")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("from:anne@X.TEST", True),
        ("from:anne@x", False),
        ("from:an*@x.test", True),
        ("from:@x.test", True),
        ("from:@test", False),
        ("-from:anne@x.test", False),
        ("to:*5551234*", True),
        ("to:nobody@y.test,bob@y.test", True),
        ("-to:bob@y.test", False),
        ("subject:ÉTÉ", True),
        ('subject:"devis été"', True),
        ("-subject:devis", False),
        ("id:a1@x.test", True),
        ("id:<a1@x.test>", True),
        ("id:A1@x.test", False),
        ("id:a1*", True),
        ("event:fail,defer source:gateway", True),
        ("event:send", False),
        ('connector:"fax west"', True),
        ("connector:fax*", True),
        ("connector:fax", False),
        ("status:5xx", True),
        ("status:5.1", True),
        ("status:550", True),
        ("status:4", False),
        ("size:>1KB", True),
        ("size:>2KB", False),
        ("size:1KB..2KB", True),
        ("size:<=2ko", True),
        ("state:failed,bad", True),
        ("-state:failed", False),
        ("file:Order1", True),
        ("devis bob@", True),
        ("devis -bob", False),
        ("5551234", True),
        ("since:1h", True),
        ("before:2026-03-05T12:00:00Z", False),
        ("on:2026-03-05", True),
        ("until:2026-03-04", False),
        ("until:2026-03-05", True),
        ("unknown:thing", False),
    ],
)
def test_a_criterion_means_what_it_says(text, expected):
    assert matches(parse(text, now=NOW + timedelta(minutes=1)), row()) is expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("since:yesterday", Problem.TIME),
        ("since:0001-01-01", Problem.TIME),
        ("-since:2h", Problem.NEGATED_TIME),
        ("size:big", Problem.SIZE),
        ("state:lost", Problem.STATE),
        ("status:ok", Problem.STATUS),
        ("from:", Problem.EMPTY),
        ("to:*", Problem.EMPTY),
        ('subject:""', Problem.EMPTY),
        ("from:a*b*c*d*e*f*g*h", Problem.PATTERN),
    ],
)
def test_a_token_that_is_not_understood_stays_in_its_place(text, problem):
    query = parse(f"before {text} after", now=NOW)

    assert [c.problem for c in query.criteria] == [None, problem, None]
    assert query.criteria[1].text == text
    assert [c.value for c in query.active] == ["before", "after"]


@pytest.mark.parametrize("more", ["word", "to:" + ",".join(["a"] * 61), "status:" + ",".join(["5"] * 61)])
def test_conditions_beyond_what_a_database_nests_are_told(more):
    query = parse("w " * 60 + more, now=NOW)

    assert [c.problem for c in query.criteria] == [None] * 60 + [Problem.MANY]
    assert query.problems == (more,)


@given(st.text(max_size=200))
def test_no_text_makes_the_parser_fail(text):
    query = parse(text, now=NOW)

    assert matches(query, row()) in {True, False}
    in_words(query.criteria).encode()


@given(st.lists(st.sampled_from(['from:"a b"', "-to:x*", "size:>1MB", "word", '-"two words"', "since:2h", "state:no"])))
def test_a_query_written_out_is_read_again_the_same(tokens):
    query = parse(" ".join(tokens), now=NOW)

    assert in_words(query.criteria) == " ".join(tokens)
    assert parse(in_words(query.criteria), now=NOW) == query


@given(st.text("ab*", max_size=6), st.text("ab", max_size=8))
def test_wildcards_stand_for_anything(pattern, text):
    import re

    assert like(pattern, text) is (re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None)


def test_several_times_are_cut_to_their_overlap():
    query = parse("since:2h since:1h before:2027-01-01 before:2026-03-06", now=NOW)

    assert query.start == NOW - timedelta(hours=1)
    assert query.end == datetime(2026, 3, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1.5KB", 1536), ("2M", 2 * 1024**2), ("7", 7), ("1,5 Ko", 1536)],
)
def test_sizes_are_read_as_people_write_them(value, expected):
    assert read_size(f"={value}") == (expected, expected)


def test_case_is_ignored_beyond_ascii():
    assert fold("ÉTÉ ẞ") == fold("e\u0301té ss")
    assert address_pattern("@X.Test") == "*@x.test"
    assert Key.TEXT == "text"
