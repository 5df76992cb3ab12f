"""The product as `make run` starts it, on a data directory of its own; for browser tests and screenshots."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A set-up installation; `manage` runs its commands."""

    data: Path
    password: str
    node: str
    address: str = field(default="")

    def manage(self, *arguments: str) -> str:
        """Run one command to its end and return what it printed."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=environment(self.data, self.node), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


def environment(data: Path, node: str) -> dict[str, str]:
    """Return the environment of this installation's processes: SQLite below `data`."""
    left_out = {"DJANGO_SETTINGS_MODULE", "FCWEB_DATABASE_URL", "FCWEB_REDIS_URL"}
    env = {key: value for key, value in os.environ.items() if key not in left_out}
    return env | {"FCWEB_DATA_DIR": str(data), "FCWEB_NODE": node}


def set_up(data: Path, *, node: str) -> Site:
    """Make tables, first-start data and static files below `data`."""
    facts = json.loads(Site(data=data, password="", node=node).manage("setup", "--json"))
    site = Site(data=data, password=facts["password"], node=node)
    site.manage("collectstatic", "--noinput", "-v", "0")
    return site


@contextmanager
def serving(site: Site) -> Iterator[Site]:
    """Run web and transport; yield the site with its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "manage.py", "serve", "--port", str(port)]
    with (site.data / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment(site.data, site.node), stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        for _attempt in range(150):
            try:
                urllib.request.urlopen(f"{address}/healthz", timeout=1)
                break
            except OSError:
                time.sleep(0.2)
        yield Site(data=site.data, password=site.password, node=site.node, address=address)
    finally:
        process.terminate()
        process.wait(30)
