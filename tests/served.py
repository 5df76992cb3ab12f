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
from dataclasses import dataclass, field, replace
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
    database_url: str = field(default="")  # "" is SQLite below `data`
    pid: int = field(default=0)  # of `serve`, while it runs

    def manage(self, *arguments: str) -> str:
        """Run one command to its end and return what it printed."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def environment(self) -> dict[str, str]:
        """Return the environment of this installation's processes."""
        left_out = {"DJANGO_SETTINGS_MODULE", "FCWEB_DATABASE_URL", "FCWEB_REDIS_URL"}
        env = {key: value for key, value in os.environ.items() if key not in left_out}
        env |= {"FCWEB_DATA_DIR": str(self.data), "FCWEB_NODE": self.node}
        return env | ({"FCWEB_DATABASE_URL": self.database_url} if self.database_url else {})


def set_up(data: Path, *, node: str, database_url: str = "") -> Site:
    """Make tables, first-start data and static files below `data`."""
    bare = Site(data=data, password="", node=node, database_url=database_url)
    facts = json.loads(bare.manage("setup", "--json"))
    site = replace(bare, password=facts["password"])
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
        process = subprocess.Popen(command, cwd=ROOT, env=site.environment(), stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        for _attempt in range(150):
            try:
                urllib.request.urlopen(f"{address}/healthz", timeout=1)
                break
            except OSError:
                time.sleep(0.2)
        yield replace(site, address=address, pid=process.pid)
    finally:
        process.terminate()
        process.wait(30)
