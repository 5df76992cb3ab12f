"""Show 5, second half: while a person's bulk operation runs on 100,000 waiting messages, the live stream stays live.

    .venv/bin/python tests/bench/bench_stream.py [messages] [--watchers N]

Serves a whole installation (web, two transport processes) and, in processes of their own: a feeder that commits one
event every 25 ms and notes the instant after its commit, and a clerk who drops a file into Pickup every 200 ms. This
process holds the WebSocket clients, loads pages one after the other, gives the orders through the forms and reads the progress
on the page of the operation. Printed for the quiet time before and for each operation: commit to frame, what the
feeder waited for its commit, file to frame, pages. With FCWEB_DATABASE_URL the installation uses that database.
Ends with 1 when an event is visible more than a second after its commit (MTL-4) or a suspension takes over 10 s.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.bench.visitor import Browser, figures  # noqa: E402  (the root must be on the path first)
from tests.served import Site, serving, set_up  # noqa: E402

QUIET = 8.0  # seconds measured before the first operation
LIMIT = 1.0  # seconds from commit to frame (MTL-4)
JOB_LIMIT = 10.0  # seconds for a suspension of 100,000
BEAT = re.compile(r"beat-(\d+)")
FILE = re.compile(r"file-(\d+)")


# ---- processes of their own: `--role` ----
def fill(count: int) -> None:
    """Insert the waiting messages; their queue tries again tomorrow. Prints the key of the queue."""
    from datetime import timedelta

    from django.utils import timezone

    from connectors.choices import QueueStatus
    from connectors.models import Node
    from tests.queue_fixtures import fax_queue
    from tests.queue_fixtures import fill as insert

    now = timezone.now()

    class Place:
        node = Node.objects.get()

    later = now + timedelta(days=1)
    queue = fax_queue(
        Place, status=QueueStatus.RETRY, retry_count=9, last_error="451 4.3.5 Drop directory does not exist",
        first_retry_at=now, last_retry_at=now, next_retry_at=later,
    )  # fmt: skip
    insert(Place.node, queue, count, now=now)
    print(queue.pk)


def loaded() -> None:
    """Print how many messages were told again after the start (QU-10)."""
    from tracking.models import TrackingEvent

    print(TrackingEvent.objects.filter(event="LOAD").count())


def feed() -> None:
    """Commit one event every 25 ms until the input ends; print number, seconds waited, time of the commit."""
    import uuid

    from django.db import transaction
    from django.utils import timezone

    from tracking import record
    from tracking.record import NewMessage

    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    number = 0
    while not ended.is_set():
        number += 1
        begun, at = time.time(), timezone.now()
        message = NewMessage(
            internal_message_id=None, network_message_id=uuid.uuid4(), message_id=f"<{number}@beat.test>",
            sender="beat@fcweb.test", return_path="beat@fcweb.test", subject=f"beat-{number}", size=1,
            directionality="Originating", source="PICKUP", recipients=1, at=at,
        )  # fmt: skip
        with transaction.atomic():
            (tracked,) = record.open_messages([message])
            event = record.receive(
                tracked, at=at, source="PICKUP", server="bench", context="", recipients=[("x@fcweb.test", "To")]
            )
            record.save([event])
        done = time.time()
        print(json.dumps([number, done - begun, done]), flush=True)
        time.sleep(max(0.0, 0.025 - (done - begun)))


# ---- this process ----
@dataclass(slots=True)
class Seen:
    """Everything measured, by wall clock of this machine."""

    committed: dict[int, tuple[float, float]] = field(default_factory=dict)  # beat: seconds waited, time
    beats: dict[int, float] = field(default_factory=dict)  # beat: latest first frame among the watchers
    dropped: dict[int, float] = field(default_factory=dict)
    files: dict[int, float] = field(default_factory=dict)
    pages: list[tuple[float, float]] = field(default_factory=list)  # begun, seconds
    gaps: list[tuple[float, int, int]] = field(default_factory=list)  # time, first and last id
    live: int = 0  # sockets that are told of everything from now on


@contextmanager
def feeder(site: Site, seen: Seen) -> Iterator[None]:
    """Run the feeder; its lines are read as they come."""
    child = _role(site, "feed", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None

    def read() -> None:
        for line in child.stdout or ():
            number, waited, done = json.loads(line)
            seen.committed[number] = (waited, done)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        child.stdin.close()
        reader.join(30)
        child.wait(30)


def answer_of(site: Site, *role: str) -> int:
    """Return the number a process of its own prints."""
    with _role(site, *role, stdout=subprocess.PIPE) as child:
        return int(child.communicate()[0])


def _role(site: Site, *role: str, **more: int) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--role", *role]
    env = site.environment() | {"DJANGO_SETTINGS_MODULE": "fcweb.settings"}
    return subprocess.Popen(command, cwd=ROOT, env=env, text=True, **more)


@contextmanager
def background(*tasks: object) -> Iterator[None]:
    """Run callables that take an Event and end when it is set."""
    ended = threading.Event()
    threads = [threading.Thread(target=task, args=(ended,)) for task in tasks]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join(30)


def watch(site: Site, browser: Browser, seen: Seen, watchers: int, ended: threading.Event) -> None:
    """Hold the sockets, every other one filtered; a beat counts when the last that shows it has it.

    In a flood a socket without a filter gets a gap frame instead of some rows; the filtered ones miss nothing.
    """
    from websockets.asyncio.client import connect

    headers = {"Cookie": f"sessionid={browser.cookie('sessionid')}", "Origin": site.address}

    async def one(text: str) -> None:
        url = site.address.replace("http", "ws") + "/ws/live/"
        async with connect(url, additional_headers=headers, max_size=None) as socket:
            await socket.send(json.dumps({"q": text, "last": 0, "language": "fr"}))
            own: set[int] = set()
            await socket.recv()
            seen.live += 1
            while not ended.is_set():
                try:
                    frame = json.loads(await asyncio.wait_for(socket.recv(), 0.5))
                except TimeoutError:
                    continue
                now, html = time.time(), frame.get("html", "")
                if frame["type"] == "gap":
                    seen.gaps.append((now, frame["from"], frame["to"]))
                    continue
                for number in {int(text) for text in BEAT.findall(html)} - own:
                    own.add(number)
                    seen.beats[number] = max(now, seen.beats.get(number, 0.0))
                for number in {int(text) for text in FILE.findall(html)}:
                    seen.files.setdefault(number, now)

    async def every() -> None:
        await asyncio.gather(*(one("from:beat@fcweb.test" if number % 2 else "") for number in range(watchers)))

    asyncio.run(every())


def drop_files(site: Site, seen: Seen, ended: threading.Event) -> None:
    """Be the clerk: one file for a mailbox every 200 ms."""
    number = 0
    while not ended.wait(0.2):
        number += 1
        temp = site.data / "pickup" / f"{number}.part"
        temp.write_text(f"From: alice@fcweb.test\nTo: alice@fcweb.test\nSubject: file-{number}\n\nBody\n")
        seen.dropped[number] = time.time()
        temp.rename(temp.with_suffix(".eml"))


def load_pages(site: Site, seen: Seen, queue: int, ended: threading.Event) -> None:
    """Be a second person: queues, the queue, a filter, what needs somebody."""
    browser = Browser(site)
    texts = ("", "Subject -like '*99999*'", "Status -eq 'Suspended'")
    paths = ["/queues/", "/needs-you/", *(f"/queues/{queue}/?{urlencode({'f': text})}" for text in texts)]
    while not ended.is_set():
        for path in paths:
            begun = time.time()
            browser.get(path)
            seen.pages.append((begun, time.time() - begun))
            ended.wait(0.2)


class Job:
    """One operation as the page of it tells."""

    def __init__(self, browser: Browser, queue: int, verb: str, **values: str) -> None:
        page = browser.get(f"/queues/{queue}/confirm/?verb={verb}")
        found = re.search(r'name="last_item" value="(\d+)"', page)
        assert found is not None
        self.browser = browser
        self.begun = time.time()
        order = {"verb": verb, "f": "", "last_item": found[1], "recipient": "", "reason": "bench"} | values
        self.path = browser.post(f"/queues/{queue}/confirm/", **order).removeprefix(browser.address)
        self.answered = time.time()
        self.steps: list[int] = []

    def look(self) -> bool:
        """Note the progress; tell whether it still runs."""
        part = self.browser.get(self.path, part=True)
        done = int(re.sub(r"\D", "", re.findall(r"<b>([^<]*)</b>", part)[0]) or 0)
        if not self.steps or done != self.steps[-1]:
            self.steps.append(done)
        self.ended = time.time()
        return "hx-trigger" in part

    def finish(self) -> Job:
        while self.look():
            time.sleep(0.1)
        return self


def report(name: str, seen: Seen, begun: float, ended: float) -> float:
    """Print what was measured between two instants; return the longest time from commit to frame."""
    beats = {number: at for number, (_waited, at) in seen.committed.items() if begun <= at <= ended}
    lost = [number for number in beats if number not in seen.beats]
    shown = [max(0.0, seen.beats[number] - at) for number, at in beats.items() if number in seen.beats]
    print(f"{name}, {ended - begun:.1f} s")
    print(f"  commit to frame   {figures(shown)}" + (f", {len(lost)} never shown" if lost else ""))
    print(f"  wait for a commit {figures([w for w, at in seen.committed.values() if begun <= at <= ended])}")
    gaps = sum(begun <= at <= ended + 1 for at, _low, _high in seen.gaps)
    print(f"  gap frames        {gaps}")
    files = [seen.files[n] - at for n, at in seen.dropped.items() if begun <= at <= ended and n in seen.files]
    print(f"  file to frame     {figures(files)}")
    print(f"  pages             {figures([took for at, took in seen.pages if begun <= at <= ended])}", flush=True)
    return float("inf") if lost else max(shown, default=0.0)


def settle(seen: Seen) -> None:
    """Wait until the newest event committed so far is shown, at most two minutes."""
    newest, patience = max(seen.committed), time.time() + 120
    while newest not in seen.beats and time.time() < patience:
        time.sleep(0.2)


def cancel(browser: Browser, queue: int, verb: str) -> None:
    """Stop an operation in the middle; print how long that took and that nothing is done afterwards."""
    job = Job(browser, queue, verb)
    while job.look() and job.steps[-1] == 0:
        time.sleep(0.05)
    asked = time.time()
    browser.post(f"{job.path}cancel/")
    while job.look():
        time.sleep(0.02)
    took, done = time.time() - asked, job.steps[-1]
    time.sleep(1.5)
    job.look()
    print(f"{verb} stopped after {took:.2f} s with {done} done; {job.steps[-1]} done 1.5 s later", flush=True)
    assert job.steps[-1] == done


def measure(site: Site, count: int, watchers: int) -> int:
    """Serve, watch, give orders; return the exit code."""
    site.manage("connector", "new", "foreign", "Spare", "--address-space", "SPARE:*;1")
    site.manage("transport", "--once")  # the configuration is in force, so nothing is routed again at the start
    queue = answer_of(site, "fill", str(count))
    (site.data / "drop" / "Fax").rename(site.data / "drop" / "away")
    seen, worst, slow = Seen(), 0.0, 0.0
    with serving(site) as running:
        browser = Browser(running)
        tasks = (
            lambda ended: watch(running, browser, seen, watchers, ended),
            lambda ended: drop_files(running, seen, ended),
            lambda ended: load_pages(running, seen, queue, ended),
        )
        with background(*tasks), feeder(running, seen):
            while seen.live < watchers:
                time.sleep(0.1)
            begun = time.time()
            while answer_of(site, "loaded") < count:
                time.sleep(1)
            ended = time.time()
            settle(seen)
            worst = report(f"start: {count} LOAD events are written", seen, begun, ended)
            time.sleep(2)
            begun = time.time()
            time.sleep(QUIET)
            ended = time.time()
            settle(seen)
            report("before", seen, begun, ended)
            for verb, more in (("suspend", {}), ("resume", {}), ("redirect", {"connector": "Spare"})):
                job = Job(browser, queue, verb, **more).finish()
                settle(seen)
                print(
                    f"{verb}: answer after {job.answered - job.begun:.2f} s, progress {job.steps[:12]}…{job.steps[-1]}"
                )
                late = report(f"during {verb} of {count}", seen, job.begun, job.ended)
                worst = max(worst, late)
                if verb == "suspend":
                    slow = job.ended - job.begun
                if verb == "resume":
                    cancel(browser, queue, "suspend")
                    Job(browser, queue, "resume").finish()
    print(f"worst commit to frame {worst:.2f} s, suspension {slow:.1f} s")
    return int(worst > LIMIT or slow > JOB_LIMIT * max(1.0, count / 100_000))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=100_000)
    parser.add_argument("--watchers", type=int, default=5)
    parser.add_argument("--role", nargs="+")
    chosen = parser.parse_args()
    if chosen.role:
        import django

        django.setup()
        roles = {"fill": lambda: fill(int(chosen.role[1])), "loaded": loaded, "feed": feed}
        roles[chosen.role[0]]()
        return 0
    with tempfile.TemporaryDirectory(prefix="fcweb-stream-") as home:
        url = os.environ.get("FCWEB_DATABASE_URL", "")
        site = set_up(Path(home) / "data", node="stream.test", database_url=url)
        return measure(site, chosen.count, chosen.watchers)


if __name__ == "__main__":
    sys.exit(main())
