"""`make screenshots`: every page with a day of the demo's traffic, into screenshots/ (width-theme-language-page.png).

`--width`, `--theme`, `--language` and `--page` narrow it down, `--keep DIR` keeps the filled installation for the
next call. Ends with 1 when a page scrolls sideways, logs an error or breaks the Content-Security-Policy.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests import filled
from tests.served import CHROMIUM_ARGUMENTS, ROOT, Site, serving, set_up

WIDTHS = {1440: 900, 1024: 768, 390: 844, 320: 640}
SHOWN_WIDTHS = (1440, 1024, 390)
THEMES = ("light", "dark")
LANGUAGES = ("en", "fr")


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
                    todo = filled.pages(site) if signed_in else {"login": "/login/"}
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
    page.screenshot(path=target / f"{name}.png", full_page=True, caret="initial")
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
    filled.fill(site)
    note.write_text(json.dumps({"password": site.password}))
    return site


if __name__ == "__main__":
    sys.exit(main())
