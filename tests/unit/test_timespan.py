"""Time spans in Exchange's form."""

from datetime import timedelta

import pytest

from connectors.mail.timespan import TimeSpanError, format_timespan, parse_timespan


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("00:00:00", timedelta(0)),
        ("00:05:00", timedelta(minutes=5)),
        ("2.00:00:00", timedelta(days=2)),
        ("90.23:59:59", timedelta(days=90, hours=23, minutes=59, seconds=59)),
    ],
)
def test_a_time_is_read_and_written_in_the_same_form(text, span):
    assert (parse_timespan(text), format_timespan(span)) == (span, text)


@pytest.mark.parametrize(
    "text", ["", "5", "5:00", "24:00:00", "00:60:00", "00:00:60", "-1.00:00:00", "2 days", "٠٠:٠٥:٠٠"]
)
def test_other_forms_are_refused(text):
    with pytest.raises(TimeSpanError):
        parse_timespan(text)
