"""An installation with a day of the demo's traffic in it, for screenshots and browser tests."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.served import ROOT, Site

HOURLY = (2, 1, 1, 2, 3, 5, 12, 26, 41, 48, 44, 38, 24, 29, 40, 46, 42, 33, 21, 12, 8, 6, 4, 3)  # messages, from 0 h


def fill(site: Site, *, hours: int = 24, each: int = 0) -> None:
    """Fill an installation in a process of its own; `each` messages a quarter of an hour, 0 for an office's day."""
    command = [sys.executable, "-m", "tests.filled", str(hours), str(each)]
    env = site.environment() | {"DJANGO_SETTINGS_MODULE": "fcweb.settings"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _play(hours: int, each: int) -> None:
    """Play the hours: traffic, gateways that collect, one that stopped, one directory that is gone."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.utils import timezone

    from connectors.conf import transport_config
    from connectors.demo import play, traffic
    from connectors.owner import Owner
    from connectors.transport.service import Service

    stage = play.prepare(seed=2013, say=lambda text: None)
    call_command("connector", "set", "SMS", "--drop-directory-quota", "12KB")
    gateways = {gateway.name: gateway for gateway in stage.gateways}
    now = timezone.now()
    seen: set[Path] = set()
    with Owner(transport_config().run_dir) as owner:
        stages = Service(config=transport_config(), token=owner.token).stages()

        def settle(at: datetime) -> None:
            begun = time.monotonic()
            while sum(part.run(at + timedelta(seconds=time.monotonic() - begun)) for part in stages):
                pass

        for back in range(hours * 4, -1, -1):
            at = now - timedelta(minutes=15 * back, seconds=20)
            if back == 9:
                gateways["SMS"].resumes_at = now + timedelta(days=1)
            if back == 5:
                _break(traffic, stage, at)
            if back == 3:
                shutil.rmtree(gateways["X400"].drop)
            for _ in range(each or max(1, HOURLY[timezone.localtime(at).hour] // 4)):
                _put_at(traffic, stage, at)
            settle(at)
            _date_files(stage, at, seen)
            for gateway in stage.gateways:
                gateway.step(at)
                gateway.step(at + timedelta(seconds=21) if back > 2 else at)


def _put_at(traffic: Any, stage: Any, at: datetime) -> None:
    path = traffic.put(stage.traffic.next(at))
    old = (at - timedelta(minutes=1)).timestamp()
    os.utime(path, (old, old))


def _break(traffic: Any, stage: Any, at: datetime) -> None:
    """Write one file without a sender, one with a line that is no field, and one nobody serves."""
    line = b"Numero de telecopie 01 99 00 27 43\r\n"
    letters = {
        "commande-4710": b"To: <IMCEAFAX-5551234@fcweb.test>\r\nSubject: Commande 4710\r\n\r\nTexte\r\n",
        "commande-4711": b"From: <erp@fcweb.test>\r\n" + line + b"Subject: Commande 4711\r\n\r\nTexte\r\n",
        "telex-4712": b"From: <erp@fcweb.test>\r\nTo: <IMCEATELEX-4041@fcweb.test>\r\nSubject: Telex\r\n\r\nText\r\n",
    }
    pickup = stage.traffic.next(at).directory.parent / "pickup"
    old = (at - timedelta(minutes=1)).timestamp()
    for name, content in letters.items():
        letter = traffic.Letter(directory=pickup, name=f"{name}.eml", content=content)
        os.utime(traffic.put(letter), (old, old))


def _date_files(stage: Any, at: datetime, seen: set[Path]) -> None:
    """Give files just written the time they would have in a real day."""
    for gateway in stage.gateways:
        if gateway.drop.is_dir():
            for path in gateway.drop.iterdir():
                if path not in seen:
                    os.utime(path, (at.timestamp(), at.timestamp()))
                    seen.add(path)


def pages(site: Site) -> dict[str, str]:
    """Return name and path of every page, with numbers that exist."""
    with sqlite3.connect(site.data / "fcweb.sqlite3") as database:
        failed = "SELECT message_id FROM tracking_trackingevent WHERE event = 'FAIL' ORDER BY id DESC LIMIT 1"
        several = "SELECT id FROM tracking_trackedmessage ORDER BY id DESC LIMIT 1"
        full = "SELECT id FROM connectors_queue ORDER BY status <> 'Retry', id LIMIT 1"  # at night none waits
        submission = "SELECT id FROM connectors_queue WHERE next_hop_domain = 'Submission'"
        bad = "SELECT id FROM connectors_sourcefile WHERE state = 'bad' ORDER BY id DESC LIMIT 1"
        split = "SELECT e.message_id, p.id FROM tracking_trackingevent e JOIN tracking_trackedmessage p "
        split += "ON p.internal_message_id = CAST(e.reference AS INTEGER) WHERE e.event = 'TRANSFER' ORDER BY e.id DESC"
        copy, parent = database.execute(split).fetchone()
        group = database.execute("SELECT id FROM connectors_directoryrecipient WHERE kind = 'group'").fetchone()[0]
        found = [database.execute(query).fetchone()[0] for query in (failed, several, full, bad, submission)]
        connector = database.execute("SELECT id FROM connectors_connector WHERE name = 'SMS'").fetchone()[0]
        node = database.execute("SELECT id FROM connectors_node").fetchone()[0]
    return {
        "overview": "/",
        "live": "/live/",
        "tracking": "/tracking/",
        "tracking-nothing": "/tracking/?subject=nothing-has-this-subject",
        "message-failed": f"/message/{found[0]}/",
        "message": f"/message/{found[1]}/",
        "message-group": f"/message/{parent}/",
        "message-copy": f"/message/{copy}/",
        "queues": "/queues/",
        "queue": f"/queues/{found[2]}/",
        "queue-submission": f"/queues/{found[4]}/",
        "queue-messages": "/queues/messages/",
        "safety-net": "/safety-net/?connector=Fax",
        "deliver-again": "/safety-net/deliver-again/?connector=Fax",
        "bad-files": "/bad-files/",
        "bad-file": f"/bad-files/{found[3]}/",
        "connectors": "/connectors/",
        "route": "/route/",
        "route-answered": "/route/?address=FAX:%2B1 425 555 0100",
        "route-unknown": "/route/?address=TELEX:842 4041",
        "route-group": "/route/?address=orders@fcweb.test&sender=emma.brown@fcweb.test",
        "not-found": "/no-such-page/",
        "admin": "/admin/",
        "admin-connectors": "/admin/connectors/foreignconnector/",
        "admin-connector": f"/admin/connectors/foreignconnector/{connector}/change/",
        "admin-connector-new": "/admin/connectors/foreignconnector/add/",
        "admin-groups": "/admin/connectors/group/",
        "admin-group": f"/admin/connectors/group/{group}/change/",
        "admin-group-new": "/admin/connectors/group/add/",
        "admin-node": f"/admin/connectors/node/{node}/change/",
    }


if __name__ == "__main__":
    _play(int(sys.argv[1]), int(sys.argv[2]))
