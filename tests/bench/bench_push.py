"""What pages that show queues cost while they are open: time from a change to the frame, and CPU, by number of watchers.

    .venv/bin/python tests/bench/bench_push.py [watchers ...]

Serves a whole installation. For each number of watchers, 0 first and last, that many sockets of `/ws/queues/` stay open
for ten seconds while another process changes a queue twice a second and notes the instant after its commit. Printed:
commit to the last watcher's frame (QU-21: within a second), and CPU seconds a second of web and transport together, to
be read against the lines with 0 watchers. Ends with 1 when a frame is more than a second late.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from process_meter import Meter

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.bench.visitor import Browser, figures  # noqa: E402  (the root must be on the path first)
from tests.served import Site, serving, set_up  # noqa: E402

SECONDS = 10.0
LIMIT = 1.0  # QU-21


def change() -> None:
    """Change a queue twice a second until the input ends; print the time of each commit. Runs in a process of its own."""
    import threading

    import django

    django.setup()
    from connectors.choices import SUBMISSION_DOMAIN
    from connectors.models import Node, Queue
    from connectors.transport import queue_operations

    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    queue = queue_operations.special_queue(Node.objects.get(), SUBMISSION_DOMAIN)
    number = 0
    while not ended.wait(0.5):
        number += 1
        Queue.objects.filter(pk=queue.pk).update(last_error=f"451 {number}")
        print(time.time(), flush=True)


async def watch(site: Site, cookie: str, watchers: int) -> list[list[float]]:
    """Hold the sockets for a while; return the times of the frames of each."""
    from websockets.asyncio.client import connect

    headers = {"Cookie": f"sessionid={cookie}", "Origin": site.address}
    until = time.time() + SECONDS

    async def one() -> list[float]:
        times = []
        async with connect(site.address.replace("http", "ws") + "/ws/queues/", additional_headers=headers) as socket:
            while (left := until - time.time()) > 0:
                try:
                    frame = json.loads(await asyncio.wait_for(socket.recv(), left))
                except TimeoutError:
                    break
                assert frame["type"] == "queues", frame
                times.append(time.time())
        return times

    found = await asyncio.gather(*(one() for _number in range(watchers)))
    await asyncio.sleep(max(0.0, until - time.time()))
    return found


def measure(site: Site, cookie: str, watchers: int) -> float:
    """Print one line; return the longest time from a commit to the last watcher's next frame."""
    command = [sys.executable, __file__, "--change"]
    env = site.environment() | {"DJANGO_SETTINGS_MODULE": "fcweb.settings", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=ROOT, env=env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        first = float(child.stdout.readline())
        meter = Meter(site.pid)
        begun = time.time()
        frames = asyncio.run(watch(site, cookie, watchers))
        used, _memory = meter.stop()
        took = time.time() - begun
        child.stdin.close()
        commits = [first, *(float(line) for line in child.stdout)]
    waits = []
    for at in commits:
        if begun + 1 <= at <= begun + SECONDS - 1.5 and watchers:
            waits.append(max(min(time for time in times if time > at) for times in frames) - at)
    print(f"{watchers:4} watchers  {figures(waits)}  CPU {used / took:.2f}", flush=True)
    return max(waits, default=0.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("watchers", nargs="*", type=int, default=[0, 20, 200, 0])
    parser.add_argument("--change", action="store_true")
    chosen = parser.parse_args()
    if chosen.change:
        change()
        return 0
    with tempfile.TemporaryDirectory(prefix="fcweb-push-") as home:
        site = set_up(Path(home) / "data", node="push.test")
        with serving(site) as running:
            cookie = Browser(running).cookie("sessionid")
            worst = max(measure(running, cookie, watchers) for watchers in chosen.watchers)
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
