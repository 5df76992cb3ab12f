"""Paging with bookmarks."""

import pytest

from connectors.errors import FcwebError
from connectors.queue_pages import DEFAULT_SIZE, LAST, MAX_SIZE, cut, parse_order, parse_size
from connectors.queue_properties import MESSAGE

ROWS = list(range(1, 11))


@pytest.mark.rule("QU-21", "QX-5")
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1, 2, 3]),
        ({"forward": False}, [8, 9, 10]),
        ({"bookmark": 0, "forward": False}, [1, 2, 3]),
        ({"bookmark": 9, "include": False}, [8, 9, 10]),
        ({"bookmark": -5}, [1, 2, 3]),
        ({"bookmark": 4}, [4, 5, 6]),
        ({"bookmark": 4, "include": False}, [5, 6, 7]),
        ({"bookmark": 9}, [8, 9, 10]),
        ({"bookmark": LAST}, [8, 9, 10]),
        ({"bookmark": 6, "forward": False}, [4, 5, 6]),
        ({"bookmark": 6, "forward": False, "include": False}, [3, 4, 5]),
        ({"bookmark": 2, "forward": False}, [1, 2, 3]),
    ],
)
def test_a_page_starts_at_its_bookmark(options, expected):
    page = cut(ROWS, total=10, size=3, **options)

    assert list(page.rows) == expected
    assert (page.first, page.total, page.is_truncated) == (expected[0], 10, True)


@pytest.mark.rule("QU-21")
def test_nothing_is_an_empty_page():
    assert (cut([], total=0, size=3).rows, cut([], total=0, size=3).first) == ([], 0)


@pytest.mark.rule("QU-21")
def test_orders_and_sizes_are_read():
    assert parse_order("+size, -FromAddress,Identity", MESSAGE) == [
        ("Size", False),
        ("FromAddress", True),
        ("Identity", False),
    ]
    assert (DEFAULT_SIZE, MAX_SIZE) == (1000, 250_000)
    assert (parse_size("unlimited"), parse_size("5")) == (MAX_SIZE, 5)
    for text in ("0", "250001", "x", "-1"):
        with pytest.raises(FcwebError):
            parse_size(text)
    with pytest.raises(FcwebError):
        parse_order("Size;drop", MESSAGE)
