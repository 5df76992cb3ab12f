"""In a real Chromium: a connector is disabled while mail waits, a message file is tried; no script or style is refused."""

import os
from pathlib import Path

import pytest

FAX = "From: alice@fcweb.test\nTo: IMCEAFAX-5551234@fcweb.test, nobody@fcweb.test\nSubject: Try\n\nBody\n"


def shoot(page, name):
    """Keep a picture where FCWEB_SHOTS says, for people to look at."""
    if folder := os.environ.get("FCWEB_SHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True, caret="initial")


@pytest.mark.browser
@pytest.mark.rule("RT-24", "DR-14")
def test_a_message_file_is_tried_on_the_page(served, page, sign_in):
    import axe_playwright_python

    address, data, password = served
    sign_in(page, address, password)
    page.goto(f"{address}/route/")
    shoot(page, "route-empty")
    page.click("#dry-run > summary")
    page.set_input_files("[name=file]", {"name": "x.eml", "mimeType": "message/rfc822", "buffer": FAX.encode()})
    page.click("#dry-run-ask")

    assert "some recipients would fail" in page.inner_text("#dry-run-result .banner")
    assert "X-Receiver: <IMCEAFAX-5551234@fcweb.test>" in page.inner_text("#dry-run-result pre")
    page.click("#dry-run-result details summary >> nth=0")
    shoot(page, "route-dry-run")
    page.set_viewport_size({"width": 320, "height": 800})
    shoot(page, "route-dry-run-narrow")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    page.evaluate(next(Path(axe_playwright_python.__file__).parent.rglob("axe.min.js")).read_text())
    result = page.evaluate("axe.run()")
    assert [v["id"] for v in result["violations"] if v["impact"] in {"serious", "critical"}] == []
    assert list((data / "pickup").iterdir()) == []


@pytest.mark.browser
@pytest.mark.rule("RT-52")
def test_disabling_a_connector_with_waiting_mail_asks_first(served, page, sign_in):
    address, data, password = served
    sign_in(page, address, password)
    drop = data / "drop" / "Fax"
    drop.rename(drop.with_name("away"))
    (data / "pickup" / "waits.eml").write_text(FAX)
    page.goto(f"{address}/queues/")
    page.wait_for_function(
        "() => fetch('/queues/').then(r => r.text()).then(text => text.includes('Retry'))", timeout=20_000
    )
    page.goto(f"{address}/admin/connectors/foreignconnector/")
    page.click("text=Fax >> nth=0")
    shoot(page, "connector-form")
    page.uncheck("[name=enabled]")
    page.click("[name=_save]")

    assert "1 message in the queue FAX is routed again." in page.inner_text("#forecast")
    shoot(page, "connector-confirm")
    page.click("text=Change nothing")
    assert page.is_checked("[name=enabled]")
    drop.with_name("away").rename(drop)
