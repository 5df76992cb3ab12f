"""In a real Chromium: sign in, see a dropped file arrive live, open it, find it by search, in both languages."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The product as `make run` starts it: (address, data directory, password)."""
    data = tmp_path_factory.mktemp("served") / "data"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {
        key: value for key, value in os.environ.items() if key not in {"DJANGO_SETTINGS_MODULE", "FCWEB_DATABASE_URL"}
    }
    env |= {"FCWEB_DATA_DIR": str(data), "FCWEB_NODE": "browser.test"}
    manage = [sys.executable, "manage.py"]
    setup = subprocess.run([*manage, "setup"], cwd=ROOT, env=env, check=True, capture_output=True, text=True)
    password = next(line.split()[1] for line in setup.stdout.splitlines() if line.startswith("password"))
    subprocess.run(
        [*manage, "collectstatic", "--noinput", "-v", "0"], cwd=ROOT, env=env, check=True, capture_output=True
    )
    with (data / "serve.log").open("wb") as log:
        process = subprocess.Popen([*manage, "serve", "--port", str(port)], cwd=ROOT, env=env, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    for _attempt in range(100):
        try:
            urllib.request.urlopen(f"{address}/healthz", timeout=1)
            break
        except OSError:
            time.sleep(0.2)
    yield address, data, password
    process.terminate()
    process.wait(20)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Chromium is not installed (package chromium)")
    with playwright.sync_playwright() as engine:
        yield engine.chromium.launch(executable_path=chromium, args=ARGUMENTS)


@pytest.fixture
def page(browser):
    """A page that fails the test on any console error, CSP violations included."""
    context = browser.new_context(locale="en-US")
    page = context.new_page()
    problems = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    context.close()
    assert problems == []


def sign_in(page, address, password):
    page.goto(f"{address}/login/")
    page.fill("[name=username]", "admin")
    page.fill("[name=password]", password)
    page.press("[name=password]", "Enter")
    page.wait_for_url(f"{address}/")


@pytest.mark.browser
@pytest.mark.rule("PU-1", "MTL-1", "MTL-2", "MTL-4")
def test_a_dropped_file_arrives_live_and_is_found_again(served, page):
    address, data, password = served
    sign_in(page, address, password)
    page.goto(f"{address}/live/")
    page.wait_for_selector("#live-state[data-state=live]")

    (data / "pickup" / "hello.eml").write_bytes(
        b"From: alice@fcweb.test\nTo: IMCEAFAX-5551234@fcweb.test\nSubject: Bonjour\n\nBody\n"
    )

    page.wait_for_selector("#rows tr:has-text('SEND')", timeout=2000)
    assert len(list((data / "drop" / "Fax").glob("*.eml"))) == 1
    page.goto(f"{address}/tracking/?subject=Bonjour")
    page.click("#rows a >> nth=0")
    assert "/message/" in page.url
    assert "Handed to gateway Fax" in page.inner_text("main")


@pytest.mark.browser
def test_the_interface_speaks_french(served, page):
    address, _data, password = served
    page.context.add_cookies([{"name": "django_language", "value": "fr", "url": address}])
    sign_in(page, address, password)
    for path, text in (
        ("/", "Vue d’ensemble"),
        ("/live/", "En direct"),
        ("/tracking/", "Suivi"),
        ("/queues/", "Files"),
        ("/bad-files/", "Fichiers refusés"),
        ("/connectors/", "Connecteurs"),
        ("/route/?address=FAX:1", "Quel chemin"),
    ):
        page.goto(address + path)
        assert text in page.inner_text("h1"), path
        assert page.get_attribute("html", "lang") == "fr"


@pytest.mark.browser
@pytest.mark.rule("FC-1", "FC-7", "FC-24")
def test_a_connector_is_made_in_the_admin(served, page):
    address, _data, password = served
    sign_in(page, address, password)
    page.goto(f"{address}/admin/connectors/foreignconnector/add/")
    page.fill("[name=name]", "SMS Gate")
    page.fill("[name=address_spaces-0-type]", "SMS")
    page.fill("[name=address_spaces-0-space]", "*")
    page.click(".selector-chooseall >> nth=0")
    page.click("[name=_save]")
    page.goto(f"{address}/connectors/")
    assert "SMS Gate" in page.inner_text("main")


@pytest.mark.browser
def test_no_page_has_a_serious_accessibility_problem(served, page):
    import axe_playwright_python

    address, _data, password = served
    source = next(Path(axe_playwright_python.__file__).parent.rglob("axe.min.js")).read_text()
    sign_in(page, address, password)
    found = {}
    for path in ("/", "/live/", "/tracking/", "/queues/", "/bad-files/", "/connectors/", "/route/"):
        page.goto(address + path)
        page.evaluate(source)
        result = page.evaluate("axe.run()")
        serious = [v["id"] for v in result["violations"] if v["impact"] in {"serious", "critical"}]
        if serious:
            found[path] = serious
    assert found == {}


@pytest.mark.browser
def test_anonymous_visitors_see_only_the_login_page(served, page):
    address, _data, _password = served
    for path in (
        "/",
        "/live/",
        "/tracking/",
        "/message/1/",
        "/queues/",
        "/bad-files/",
        "/connectors/",
        "/route/",
        "/admin/",
    ):
        page.goto(address + path)
        assert "/login/" in page.url, path
