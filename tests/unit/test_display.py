"""Spans of machines are written with the digits that matter."""

from datetime import timedelta

import pytest

from connectors import display


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0 ms"), (42.4, "42 ms"), (999.4, "999 ms"), (1400, "1.4 s"), (9940, "9.9 s"), (75_000, "1 min")],
)
def test_latency_keeps_the_digits_that_matter(milliseconds, text):
    assert display.latency(timedelta(milliseconds=milliseconds)) == text
