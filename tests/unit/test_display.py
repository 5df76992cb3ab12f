"""Spans of machines are written with the digits that matter."""

from datetime import timedelta

import pytest

from connectors import display

NO_BREAK = "\u00a0"


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(0, "0 ms"), (42.4, "42 ms"), (999.4, "999 ms"), (1400, "1.4 s"), (9940, "9.9 s"), (75_000, "1 min")],
)
def test_latency_keeps_the_digits_that_matter(milliseconds, text):
    assert display.latency(timedelta(milliseconds=milliseconds)) == text.replace(" ", NO_BREAK)


@pytest.mark.parametrize(
    ("minutes", "text"), [(12, "12_min"), (120, "2_h"), (130, "2_h 10_min"), (24 * 60, "1_d"), (28 * 60, "1_d 4_h")]
)
def test_a_number_is_never_parted_from_its_unit(minutes, text):
    assert display.duration(timedelta(minutes=minutes)) == text.replace("_", NO_BREAK)
    assert display.size(1536) == f"1.5{NO_BREAK}KB"
