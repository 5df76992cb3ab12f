"""The live stream: sockets in process, a real server with real sockets, another process that writes."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from django.utils import timezone
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from fcweb import shared_reader
from fcweb.asgi import application
from tests.integration.test_search import add
from tests.sockets import Socket, make_watcher, session_cookie
from tracking import stream
from tracking.consumers import FORBIDDEN, LiveConsumer
from tracking.models import TrackingEvent

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.django_db(transaction=True)


def at(subject="", **more):
    return add(subject=subject, at=timezone.now(), **more)


# ---- who may ----


@pytest.mark.rule("MTL-5", "MTP-5")
async def test_anonymous_permissionless_and_foreign_sockets_are_refused():
    nobody = await sync_to_async(make_watcher)("nobody", may=False)
    desk = await sync_to_async(make_watcher)("desk")
    good, bare = await sync_to_async(session_cookie)(desk), await sync_to_async(session_cookie)(nobody)

    for cookie, origin, accepted in (
        ("", "http://localhost", False),
        (bare, "http://localhost", False),
        (good, "http://localhost", True),
    ):
        async with Socket(app=application, cookie=cookie, origin=origin) as opened:
            assert opened.accepted is accepted, (cookie, origin)


async def test_a_foreign_origin_is_refused(settings):
    from channels.auth import AuthMiddlewareStack
    from channels.routing import URLRouter
    from channels.security.websocket import OriginValidator

    from tracking.websocket_urls import websocket_urlpatterns

    cookie = await sync_to_async(lambda: session_cookie(make_watcher()))()
    inside = AuthMiddlewareStack(URLRouter(websocket_urlpatterns))
    for origin, accepted in (("http://evil.test", False), ("http://localhost", True)):
        async with Socket(app=OriginValidator(inside, ["localhost"]), cookie=cookie, origin=origin) as opened:
            assert opened.accepted is accepted


@pytest.mark.rule("MTL-5")
async def test_a_right_taken_away_closes_the_socket():
    user = await sync_to_async(make_watcher)()

    class Watchful(LiveConsumer):
        recheck_seconds = 0.1

    async with Socket(user, app=Watchful.as_asgi()) as opened:
        await opened.started(q="", last=0)
        await sync_to_async(user.user_permissions.clear)()

        while (output := await opened.communicator.receive_output(timeout=10))["type"] != "websocket.close":
            pass
        assert output["code"] == FORBIDDEN


# ---- what arrives ----


@pytest.mark.rule("MTL-1", "MTL-2", "MTL-4")
async def test_rows_arrive_in_the_language_and_filter_asked_for():
    user = await sync_to_async(make_watcher)()
    async with Socket(user) as plain, Socket(user) as filtered:
        await plain.started(q="", last=0, language="en")
        await filtered.started(q="-subject:other", last=0, language="fr")

        await sync_to_async(at)("other")
        await sync_to_async(at)("Devis")

        first = await plain.frame("rows")
        rest = first["html"] + ("" if first["count"] == 2 else (await plain.frame("rows"))["html"])
        wanted = await filtered.frame("rows")
    assert "other" in rest and "Devis" in rest and 'data-label="Sender"' in rest
    assert "Devis" in wanted["html"] and "other" not in wanted["html"]
    assert 'data-label="Expéditeur"' in wanted["html"]


@pytest.mark.rule("MTL-1")
async def test_a_filter_changed_while_running_replaces_what_is_shown():
    user = await sync_to_async(make_watcher)()
    await sync_to_async(at)("Devis old")
    async with Socket(user) as opened:
        await opened.started(q="subject:other", last=0)
        await opened.ask(q="subject:devis size:big", last=0)
        changed = await opened.frame("filter")
        await sync_to_async(at)("other new")
        await sync_to_async(at)("Devis new")
        rows = await opened.frame("rows")

    assert "Devis old" in changed["html"]
    assert changed["wrong"] == ["size:big"]
    assert "Devis new" in rows["html"] and "other" not in rows["html"]


@pytest.mark.rule("MTL-1")
async def test_the_first_event_of_all_is_not_missed_between_page_and_socket():
    user = await sync_to_async(make_watcher)()
    last = await sync_to_async(stream.newest_id)()
    await sync_to_async(at)("very first")
    # ids do not begin at 1: PostgreSQL goes on counting when every row was deleted
    await sync_to_async(TrackingEvent.objects.update)(id=1_000_000)

    async with Socket(user) as opened:
        await opened.ask(q="", last=last)
        rows = await opened.frame("rows")

    assert last == 0
    assert "very first" in rows["html"]


@pytest.mark.rule("MTL-1", "MTL-2")
async def test_nothing_is_missed_while_the_tail_of_the_first_watcher_finds_the_end(monkeypatch):
    user = await sync_to_async(make_watcher)()
    written = threading.Event()
    find = stream.Cursor.at_end

    def slow():
        assert written.wait(10)
        return find()

    monkeypatch.setattr(stream.Cursor, "at_end", slow)
    async with Socket(user) as opened:
        await opened.ask(q="", last=0)
        await asyncio.sleep(0.2)  # the newest event was looked up by now, if nothing waits for the tail
        await sync_to_async(at)("in between")
        written.set()
        rows = await opened.frame("rows")

    assert "in between" in rows["html"]


@pytest.mark.rule("MTL-1")
async def test_a_client_that_reconnects_gets_what_it_missed():
    user = await sync_to_async(make_watcher)()
    await sync_to_async(at)("seen")
    last = await sync_to_async(stream.newest_id)()
    for name in ("missed 1", "missed 2"):
        await sync_to_async(at)(name)

    async with Socket(user) as opened:
        await opened.ask(q="", last=last)
        rows = await opened.frame("rows")
        state = await opened.frame("state")

    assert rows["count"] == 2
    assert rows["html"].index("missed 2") < rows["html"].index("missed 1")
    assert "seen" not in rows["html"]
    assert state["last"] == last + 2


@pytest.mark.rule("MTL-3")
async def test_a_long_absence_is_answered_with_a_gap_frame(monkeypatch):
    monkeypatch.setattr(stream, "GAP_ROWS", 3)
    user = await sync_to_async(make_watcher)()
    for number in range(6):
        await sync_to_async(at)(str(number))
    newest = await sync_to_async(stream.newest_id)()

    async with Socket(user) as opened:
        await opened.ask(q="", last=newest - 5)
        gap = await opened.frame("gap")

    assert (gap["from"], gap["to"]) == (newest - 5, newest)


@pytest.mark.rule("MTL-3")
async def test_a_slow_client_gets_a_gap_never_silence():
    """The consumer's writer is held up, as a full network buffer would; the bounded buffer overflows meanwhile."""
    user = await sync_to_async(make_watcher)()
    held = asyncio.Event()

    class Slow(LiveConsumer):
        buffer_rows = 3

        async def send(self, text_data=None, bytes_data=None, close=False):
            if text_data and '"rows"' in text_data:
                await held.wait()
            await super().send(text_data=text_data, bytes_data=bytes_data, close=close)

    async with Socket(user, app=Slow.as_asgi()) as opened:
        await opened.started(q="", last=0)
        for number in range(12):
            await sync_to_async(at)(f"n{number}")
            await asyncio.sleep(0.06)
        held.set()
        kinds, shown = [], ""
        while "n11" not in shown:
            found = await opened.any_frame()
            kinds.append(found["type"])
            shown += found.get("html", "")

    assert "gap" in kinds
    assert "n5<" not in shown


async def test_what_is_no_filter_is_ignored():
    user = await sync_to_async(make_watcher)()
    async with Socket(user) as opened:
        for junk in ("", "no json", "[]", '"x"', "3", '{"q": 5, "last": "x", "language": 7}'):
            await opened.text(junk)
        assert (await opened.frame("state"))["state"] == "live"


@pytest.mark.rule("MTL-2")
async def test_rows_are_rendered_once_for_all_watchers_of_one_language(monkeypatch):
    rendered = []
    render = stream.render_row
    monkeypatch.setattr(stream, "render_row", lambda row, language: rendered.append(row.pk) or render(row, language))
    user = await sync_to_async(make_watcher)()
    sockets = [Socket(user) for _number in range(20)]
    for opened in sockets:
        await opened.__aenter__()
        await opened.ask(q="", last=0, language="en")
        await opened.frame("state")
    await asyncio.sleep(0.2)

    await sync_to_async(at)("once")
    for opened in sockets:
        assert "once" in (await opened.frame("rows"))["html"]
        await opened.__aexit__()

    assert len(rendered) == 1


@pytest.mark.parametrize("trouble", [OperationalError, RuntimeError])
async def test_the_stream_survives_trouble(monkeypatch, trouble):
    user = await sync_to_async(make_watcher)()
    read = stream.Cursor.read
    failures = [trouble("gone"), trouble("gone")]
    monkeypatch.setattr(shared_reader, "_TROUBLE_SECONDS", 0.05)

    def flaky(self, *args):
        if failures:
            raise failures.pop()
        return read(self, *args)

    monkeypatch.setattr(stream.Cursor, "read", flaky)
    async with Socket(user) as opened:
        await opened.started(q="", last=0)
        await sync_to_async(at)("after the trouble")

        assert "after the trouble" in (await opened.frame("rows"))["html"]
    assert failures == []


# ---- a real server, real sockets, another process ----


@pytest.fixture
def served(tmp_path):
    """The web as `serve` runs it, on a free port with a data directory of its own: (address, environment, cookie)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {key: value for key, value in os.environ.items() if not key.startswith(("FCWEB_", "DJANGO_"))}
    env |= {"FCWEB_DATA_DIR": str(tmp_path / "data"), "FCWEB_NODE": "node.test", "FCWEB_DEBUG": "1"}

    def run(*code):
        done = subprocess.run([sys.executable, *code], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
        return done.stdout

    run("manage.py", "setup")
    cookie = run(
        "manage.py",
        "shell",
        "-v0",
        "-c",
        "from django.test import Client; from django.contrib.auth.models import User; c = Client();"
        "c.force_login(User.objects.get()); print(c.cookies['sessionid'].value)",
    ).split()[-1]
    command = [sys.executable, "-m", "uvicorn", "fcweb.asgi:application", "--port", str(port), "--log-level", "warning"]
    server = subprocess.Popen(command, cwd=ROOT, env=env | {"DJANGO_SETTINGS_MODULE": "fcweb.settings"})
    for _attempt in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield f"127.0.0.1:{port}", env, f"sessionid={cookie}"
    server.terminate()
    server.wait(20)


WRITER = """
import sys, time
from django.utils import timezone
from django.db import transaction
from tracking import record
for line in sys.stdin:
    with transaction.atomic():
        now = timezone.now()
        (pk,) = record.open_messages([record.NewMessage(internal_message_id=None, network_message_id=None,
            message_id="<a@x>", sender="a@x.test", return_path="", subject=line.strip(), size=1, directionality="",
            source="PICKUP", recipients=1, at=now)])
        record.save([record.receive(pk, at=now, source="PICKUP", server="s", context="f", recipients=[("b@x", "To")])])
"""


@pytest.mark.rule("MTL-1", "MTL-4", "MTL-5")
async def test_rows_of_another_process_reach_real_sockets(served):
    address, env, cookie = served
    url, origin = f"ws://{address}/ws/live/", f"http://{address}"
    for headers, sent_origin in (({}, origin), ({"Cookie": cookie}, "http://evil.test")):
        with pytest.raises(InvalidStatus):
            await connect(url, additional_headers=headers, origin=sent_origin)

    writer = subprocess.Popen(
        [sys.executable, "manage.py", "shell", "-v0", "-c", WRITER.replace("sys.stdin", "open(0)")],
        cwd=ROOT,
        env=env,
        stdin=subprocess.PIPE,
        text=True,
    )
    tabs = [await connect(url, additional_headers={"Cookie": cookie}, origin=origin) for _tab in range(3)]
    for tab in tabs:
        await tab.send(json.dumps({"q": "", "last": 0, "language": "en"}))
        assert json.loads(await asyncio.wait_for(tab.recv(), 5))["type"] == "state"
    for number in range(5):
        writer.stdin.write(f"cron {number}\n")
        writer.stdin.flush()
        for tab in tabs:
            found = {"type": ""}
            while found["type"] != "rows":
                found = json.loads(await asyncio.wait_for(tab.recv(), 10))
            assert f"cron {number}" in found["html"]
    writer.stdin.close()
    writer.wait(10)
    for tab in tabs:
        await tab.close()
