"""The tail of the live stream: late commits on PostgreSQL, floods that are jumped over, what is encoded once."""

from __future__ import annotations

import json
import threading
import time

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction
from django.utils import timezone

from tests.integration.test_search import add
from tests.integration.test_stream import at
from tests.sockets import Socket, make_watcher
from tracking import stream
from tracking.consumers import LiveConsumer
from tracking.models import TrackingEvent
from tracking.query import parse
from tracking.rows import rows_of

pytestmark = pytest.mark.django_db(transaction=True)


def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.rule("MTL-2", "MTL-4")
def test_an_older_id_committed_late_is_not_lost():
    """Two real connections: the first takes its ids, the second commits younger ones, then the first commits."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer: ids are committed in order")
    at("before")
    cursor = stream.Cursor.at_end()
    taken, may_commit = threading.Event(), threading.Event()

    def late():
        try:
            with transaction.atomic():
                for number in range(700):
                    add(subject=f"late {number}", at=timezone.now())
                taken.set()
                may_commit.wait(10)
        finally:
            connections.close_all()

    thread = in_thread(late)
    assert taken.wait(30)
    # Another sender and event: writers of the same roll-up row or new address wait for each other.
    at("early", sender="other@x.test", event="SEND")
    first = cursor.read()
    position = cursor.position
    may_commit.set()
    thread.join()
    rest = [row for _round in range(20) for row in cursor.read()]

    assert [row.subject for row in first] == ["early"]
    assert sorted(row.subject for row in rest) == sorted(f"late {number}" for number in range(700))
    assert position < min(row.pk for row in rest), "a client that reconnects from here gets the late rows too"
    assert cursor.read() == ()


def test_ids_in_flight_when_the_tail_starts_are_found_too():
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer: ids are committed in order")
    at("before")
    taken, may_commit = threading.Event(), threading.Event()

    def late():
        try:
            with transaction.atomic():
                add(subject="late", at=timezone.now())
                taken.set()
                may_commit.wait(10)
        finally:
            connections.close_all()

    thread = in_thread(late)
    assert taken.wait(10)
    # Another sender and event: writers of the same roll-up row or new address wait for each other.
    at("early", sender="other@x.test", event="SEND")
    cursor = stream.Cursor.at_end()
    may_commit.set()
    thread.join()

    assert [row.subject for row in cursor.read()] == ["late"]


def test_ids_that_were_rolled_back_are_forgotten(monkeypatch):
    if connection.vendor == "sqlite":
        pytest.skip("SQLite gives rolled-back ids again")
    monkeypatch.setattr(stream, "_HOLE_SECONDS", 0.0)
    at("before")
    cursor = stream.Cursor.at_end()
    with transaction.atomic():
        add(subject="never", at=timezone.now())
        transaction.set_rollback(True)
    at("after")

    assert [row.subject for row in cursor.read()] == ["after"]
    assert cursor.holes
    while cursor.holes:  # transactions of the tests beside this one may still be older
        time.sleep(0.01)
        assert cursor.read() == ()


def test_a_batch_is_encoded_once_a_filter_and_language():
    at("Devis")
    batch = stream.Batch(rows_of(list(TrackingEvent.objects.select_related("message"))), position=1)
    query = parse("devis", now=timezone.now())

    first, again = batch.frame(query, "en"), batch.frame(parse("devis", now=timezone.now()), "en")

    assert first[0] is again[0]
    assert batch.frame(parse("nothing", now=timezone.now()), "en") == ("", 0)
    assert json.loads(first[0])["count"] == 1


@pytest.mark.rule("MTL-3", "MTL-4")
async def test_a_flood_is_jumped_over_and_a_filter_still_gets_its_rows(monkeypatch):
    """More rows than a page shows are committed at once: the newest come next, a rare match among them is kept."""
    monkeypatch.setattr(stream, "GAP_ROWS", 10)
    user = await sync_to_async(make_watcher)()

    def flood():
        with transaction.atomic():
            for number in range(280):
                at("needle" if number == 240 else f"straw {number}")

    async with Socket(user) as everything, Socket(user) as few:
        await everything.started(q="", last=0)
        await few.started(q="needle", last=0)
        await sync_to_async(flood)()
        newest = await sync_to_async(stream.newest_id)()
        shown, gaps = "", []
        while "straw 279<" not in shown:
            frame = await everything.any_frame()
            gaps += [frame] if frame["type"] == "gap" else []
            shown += frame.get("html", "")
        found = await few.frame("rows")
        await sync_to_async(at)("afterwards")
        after = await everything.frame("rows")

    assert [(gap["from"] < gap["to"], gap["to"]) for gap in gaps] == [(True, newest)]
    assert "straw 212<" not in shown
    assert "needle" in found["html"]
    assert "afterwards" in after["html"]


@pytest.mark.rule("MTL-3", "MTL-4")
async def test_more_matches_than_a_page_shows_in_a_jump_are_told_as_a_gap_though_more_came_since(monkeypatch):
    """The range is filled after younger events were committed: they do not hide that it holds more than was sent."""
    monkeypatch.setattr(stream, "GAP_ROWS", 10)
    user = await sync_to_async(make_watcher)()

    def flood():
        with transaction.atomic():
            for number in range(270):
                at(f"straw {number}")

    class Late(LiveConsumer):
        async def _fill(self, jump):
            for number in range(60):
                await sync_to_async(at)(f"younger {number}")
            await super()._fill(jump)

    async with Socket(user, app=Late.as_asgi()) as opened:
        await opened.started(q="", last=0)
        await sync_to_async(flood)()
        kinds, shown = [], ""
        while "straw 269<" not in shown:
            frame = await opened.any_frame(timeout=10)
            kinds.append(frame["type"])
            shown += frame.get("html", "")

    assert "gap" in kinds
    assert "straw 221<" in shown


@pytest.mark.rule("MTL-2", "MTL-4")
def test_what_comes_late_in_a_flood_is_read_in_batches_then_jumped_over(monkeypatch):
    """A batch of 700 commits after a younger event, as a start or an operation writes them beside other senders."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer: ids are committed in order")
    monkeypatch.setattr(stream, "_BEHIND_SECONDS", 0.0)
    at("before")
    cursor = stream.Cursor.at_end()
    taken, may_commit = threading.Event(), threading.Event()

    def late():
        try:
            with transaction.atomic():
                for number in range(700):
                    add(subject=f"late {number}", at=timezone.now())
                taken.set()
                may_commit.wait(10)
        finally:
            connections.close_all()

    thread = in_thread(late)
    assert taken.wait(30)
    at("early", sender="other@x.test", event="SEND")
    assert [row.subject for row in cursor.read()] == ["early"]
    may_commit.set()
    thread.join()

    first = cursor.read()
    assert [row.subject for row in first] == [f"late {number}" for number in range(stream.BATCH)]
    assert cursor.has_fallen_behind()
    jump = cursor.jump()
    assert jump.low == first[-1].pk
    assert jump.high == stream.newest_id()
    assert not cursor.has_fallen_behind()
    assert cursor.read() == ()


@pytest.mark.rule("MTL-2", "MTL-4")
def test_a_jump_tells_what_it_passed_though_an_older_transaction_still_runs(monkeypatch):
    """The client's position stays before the hole, the range that was jumped over does not."""
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has one writer: ids are committed in order")
    at("before")
    cursor = stream.Cursor.at_end()
    taken, may_commit = threading.Event(), threading.Event()

    def late():
        try:
            with transaction.atomic():
                add(subject="late", at=timezone.now())
                taken.set()
                may_commit.wait(10)
        finally:
            connections.close_all()

    thread = in_thread(late)
    assert taken.wait(10)
    at("early", sender="other@x.test", event="SEND")
    jump = cursor.jump()
    may_commit.set()
    thread.join()

    assert jump.position < jump.high == stream.newest_id()
    assert [row.subject for row in cursor.read()] == ["late"]
