"""`make screenshots`: every page with a day of the demo's traffic, into screenshots/ (width-theme-language-page.png).

`--width`, `--theme`, `--language` and `--page` narrow it down, `--keep DIR` keeps the filled installation for the
next call. Ends with 1 when a page scrolls sideways, logs an error or breaks the Content-Security-Policy.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.served import CHROMIUM_ARGUMENTS, ROOT, Site, environment, serving, set_up

WIDTHS = {1440: 900, 1024: 768, 390: 844, 320: 640}
SHOWN_WIDTHS = (1440, 1024, 390)
THEMES = ("light", "dark")
LANGUAGES = ("en", "fr")
HOURLY = (2, 1, 1, 2, 3, 5, 12, 26, 41, 48, 44, 38, 24, 29, 40, 46, 42, 33, 21, 12, 8, 6, 4, 3)  # messages, from 0 h


def fill(site: Site) -> None:
    """Play a day: traffic hour by hour, gateways that collect, one that stopped, one directory that is gone."""
    os.environ |= environment(site.data, site.node)
    os.environ["DJANGO_SETTINGS_MODULE"] = "fcweb.settings"
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    import django

    django.setup()
    from django.utils import timezone

    from connectors.conf import transport_config
    from connectors.demo import play, traffic
    from connectors.owner import Owner
    from connectors.transport.service import Service

    stage = play.prepare(seed=2013, say=lambda text: None)
    site.manage("connector", "set", "SMS", "--drop-directory-quota", "12KB")
    gateways = {gateway.name: gateway for gateway in stage.gateways}
    now = timezone.now()
    seen: set[Path] = set()
    with Owner(transport_config().run_dir) as owner:
        stages = Service(config=transport_config(), token=owner.token).stages()

        def settle(at: datetime) -> None:
            begun = time.monotonic()
            while sum(part.run(at + timedelta(seconds=time.monotonic() - begun)) for part in stages):
                pass

        for back in range(24 * 4, -1, -1):
            at = now - timedelta(minutes=15 * back, seconds=20)
            if back == 9:
                gateways["SMS"].resumes_at = now + timedelta(days=1)
            if back == 3:
                shutil.rmtree(gateways["X400"].drop)
            for _ in range(max(1, HOURLY[timezone.localtime(at).hour] // 4)):
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
    import sqlite3

    with sqlite3.connect(site.data / "fcweb.sqlite3") as database:
        failed = "SELECT message_id FROM tracking_trackingevent WHERE event = 'FAIL' ORDER BY id DESC LIMIT 1"
        several = "SELECT id FROM tracking_trackedmessage ORDER BY id DESC LIMIT 1"
        full = "SELECT id FROM connectors_queue WHERE status = 'Retry' ORDER BY id LIMIT 1"
        bad = "SELECT id FROM connectors_sourcefile WHERE state = 'bad' ORDER BY id DESC LIMIT 1"
        found = [database.execute(query).fetchone()[0] for query in (failed, several, full, bad)]
        connector = database.execute("SELECT id FROM connectors_connector WHERE name = 'SMS'").fetchone()[0]
        node = database.execute("SELECT id FROM connectors_node").fetchone()[0]
    return {
        "overview": "/",
        "live": "/live/",
        "tracking": "/tracking/",
        "tracking-nothing": "/tracking/?subject=nothing-has-this-subject",
        "message-failed": f"/message/{found[0]}/",
        "message": f"/message/{found[1]}/",
        "queues": "/queues/",
        "queue": f"/queues/{found[2]}/",
        "bad-files": "/bad-files/",
        "bad-file": f"/bad-files/{found[3]}/",
        "connectors": "/connectors/",
        "route": "/route/",
        "route-answered": "/route/?address=FAX:%2B1 425 555 0100",
        "route-unknown": "/route/?address=TELEX:842 4041",
        "not-found": "/no-such-page/",
        "admin": "/admin/",
        "admin-connectors": "/admin/connectors/foreignconnector/",
        "admin-connector": f"/admin/connectors/foreignconnector/{connector}/change/",
        "admin-connector-new": "/admin/connectors/foreignconnector/add/",
        "admin-node": f"/admin/connectors/node/{node}/change/",
    }


def sign_in(browser: Any, site: Site, target: Path) -> dict[str, Any]:
    """Sign in once and return the cookies; the sign-in page is pictured by `shoot`."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{site.address}/login/")
    page.fill("[name=username]", "admin")
    page.fill("[name=password]", site.password)
    page.press("[name=password]", "Enter")
    page.wait_for_url(f"{site.address}/")
    state: dict[str, Any] = context.storage_state()
    context.close()
    return state


def shoot(browser: Any, site: Site, target: Path, chosen: argparse.Namespace) -> list[str]:
    """Write the pictures; return what was wrong with a page."""
    state = sign_in(browser, site, target)
    wrong: list[str] = []
    for width in chosen.width or SHOWN_WIDTHS:
        for theme in chosen.theme or THEMES:
            for language in chosen.language or LANGUAGES:
                view = {"width": width, "height": WIDTHS[width]}
                options = {"viewport": view, "color_scheme": theme, "locale": language, "reduced_motion": "reduce"}
                cookie = {"name": "django_language", "value": language, "url": site.address}
                for signed_in in (False, True):
                    context = browser.new_context(**options, storage_state=state if signed_in else None)
                    context.add_cookies([cookie])
                    page = context.new_page()
                    todo = pages(site) if signed_in else {"login": "/login/"}
                    for name, path in todo.items():
                        if chosen.page and name not in chosen.page:
                            continue
                        shot = f"{width}-{theme}-{language}-{name}"
                        wrong += [f"{shot}: {what}" for what in _picture(page, site.address + path, target, shot)]
                    context.close()
    return wrong


def _picture(page: Any, url: str, target: Path, name: str) -> Iterator[str]:
    problems: list[str] = []

    def note(message: Any) -> None:
        if message.type == "error" and "404" not in message.text:
            problems.append(message.text)

    page.on("console", note)
    page.goto(url)
    if url.endswith("/live/"):
        page.wait_for_selector("#live-state[data-state=live]")
    page.wait_for_timeout(250)
    page.screenshot(path=target / f"{name}.png", full_page=True)
    too_wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    page.remove_listener("console", note)
    yield from problems
    if too_wide > 0:
        yield f"{too_wide} px too wide"


def main() -> int:
    """Fill, serve, picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, action="append", choices=WIDTHS)
    parser.add_argument("--theme", action="append", choices=THEMES)
    parser.add_argument("--language", action="append", choices=LANGUAGES)
    parser.add_argument("--page", action="append")
    parser.add_argument("--keep", type=Path, help="directory of the installation, filled at the first call")
    chosen = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("Chromium is missing: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    target = ROOT / "screenshots"
    target.mkdir(exist_ok=True)
    home = chosen.keep or Path(tempfile.mkdtemp(prefix="fcweb-screenshots-"))
    try:
        with serving(_installation(home)) as site, sync_playwright() as engine:
            browser = engine.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
            wrong = shoot(browser, site, target, chosen)
            browser.close()
    finally:
        if not chosen.keep:
            shutil.rmtree(home, ignore_errors=True)
    for line in wrong:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{len(list(target.glob('*.png')))} pictures in {target.relative_to(ROOT)}/\n")
    return 1 if wrong else 0


def _installation(home: Path) -> Site:
    """Return the filled installation in `home`, made when it is not there."""
    data, note = home / "data", home / "site.json"
    if note.exists():
        site = Site(data=data, node="mail.fcweb.test", password=json.loads(note.read_text())["password"])
        site.manage("collectstatic", "--noinput", "-v", "0")
        return site
    site = set_up(data, node="mail.fcweb.test")
    fill(site)
    note.write_text(json.dumps({"password": site.password}))
    return site


if __name__ == "__main__":
    sys.exit(main())
