"""Fixtures of the browser tests: the served product, a Chromium, pages that fail on any console error."""

from __future__ import annotations

import shutil

import pytest

from tests import filled as filling
from tests import served as installation


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """An installation of its own, as `make run` starts it: (address, data directory, password)."""
    site = installation.set_up(tmp_path_factory.mktemp("served") / "data", node="browser.test")
    with installation.serving(site) as running:
        yield running.address, running.data, running.password


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """The served Site with queues that wait, failures, bad files and deliveries in it."""
    site = installation.set_up(tmp_path_factory.mktemp("filled") / "data", node="filled.test")
    filling.fill(site, hours=3, each=12)
    with installation.serving(site) as running:
        yield running


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium without a window; of one module, for its driver holds the event loop of the process."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed (package chromium)")
    with playwright.sync_playwright() as engine:
        yield engine.chromium.launch(executable_path=chromium, args=installation.CHROMIUM_ARGUMENTS)


@pytest.fixture
def open_page(browser):
    """Open pages that fail the test on any console error, CSP violations included; options are the context's."""
    contexts, problems = [], []

    def make(**options):
        context = browser.new_context(**{"locale": "en-US", **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        return page

    yield make
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def page(open_page):
    """One page in English."""
    return open_page()


@pytest.fixture(scope="session")
def sign_in():
    """Sign a page in: `sign_in(page, address, password)`, in French with `language="fr"`."""

    def enter(page, address, password, language="en"):
        page.context.add_cookies([{"name": "django_language", "value": language, "url": address}])
        page.goto(f"{address}/login/")
        page.fill("[name=username]", "admin")
        page.fill("[name=password]", password)
        page.press("[name=password]", "Enter")
        page.wait_for_url(f"{address}/")

    return enter
