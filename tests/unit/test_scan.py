"""Scan: what settles, what need not, and what is remembered about names that were closed."""

import fcntl
import os
from datetime import timedelta

import pytest
from django.utils import timezone

from connectors.transport.scan import Scanner

SETTLE = timedelta(seconds=2)


@pytest.fixture
def scanner(tmp_path):
    return Scanner(tmp_path, settle=SETTLE, empty_age=timedelta(minutes=1))


def taken(scanner, closed, now):
    found = scanner.take(200, limit_bytes=2**20, now=now, closed=closed)
    for candidate in found:
        candidate.close()
    return [candidate.name for candidate in found]


@pytest.mark.rule("PU-1", "PU-9")
def test_a_file_seen_by_the_scan_before_its_closing_was_heard_of_is_taken_when_it_is(scanner, tmp_path):
    now = timezone.now()
    (tmp_path / "a.eml").write_bytes(b"x")
    os.utime(tmp_path / "a.eml", (now.timestamp(), now.timestamp()))

    assert taken(scanner, set(), now) == []
    assert scanner.next_due() == pytest.approx(now + SETTLE, abs=timedelta(milliseconds=1))

    closed = {"a.eml"}
    assert taken(scanner, closed, now + timedelta(milliseconds=5)) == ["a.eml"]
    assert closed == set()


@pytest.mark.rule("PU-9")
def test_a_closed_file_that_is_locked_is_not_tried_again_before_the_next_poll(scanner, tmp_path):
    now = timezone.now()
    with (tmp_path / "a.eml").open("wb") as file:
        file.write(b"x")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        closed = {"a.eml"}
        assert taken(scanner, closed, now) == []
        assert closed == set()
        assert scanner.next_due() == now + timedelta(seconds=5)


def test_closed_names_that_are_gone_are_forgotten(scanner, tmp_path):
    (tmp_path / "here.eml").write_bytes(b"")
    closed = {f"{number}.eml" for number in range(1000)} | {"here.eml"}

    assert taken(scanner, closed, timezone.now()) == []
    assert closed == set()  # `here` was looked at, the others are not there
