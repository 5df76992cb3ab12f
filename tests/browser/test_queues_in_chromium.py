"""As a new administrator, only with the browser: the drop directory is unplugged, mail waits, is looked at, stopped, sent."""

import os
from pathlib import Path

import pytest

SHOTS = os.environ.get("FCWEB_SCREENSHOTS", "")
FAX = b"From: alice@fcweb.test\nTo: IMCEAFAX-555%04d@fcweb.test\nSubject: Devis %d\n\nBody\n"


def shot(page, name):
    if SHOTS:
        page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True, caret="initial")


def serious(page):
    import axe_playwright_python

    page.evaluate(next(Path(axe_playwright_python.__file__).parent.rglob("axe.min.js")).read_text())
    found = page.evaluate("axe.run()")["violations"]
    return [(v["id"], v["nodes"][0]["html"][:120]) for v in found if v["impact"] in {"serious", "critical"}]


@pytest.mark.browser
@pytest.mark.timeout(300)
@pytest.mark.rule("QX-3", "QO-3", "QR-41", "QX-9")
def test_unplugged_seen_stopped_repaired_and_sent(served, page, sign_in):
    address, data, password = served
    sign_in(page, address, password)
    drop = data / "drop" / "Fax"
    before = len(list(drop.glob("*.eml")))
    drop.rename(data / "drop" / "Gone")
    for number in range(4):
        (data / "pickup" / f"{number}.eml").write_bytes(FAX % (number, number))

    page.goto(f"{address}/queues/")
    for _attempt in range(40):
        if "drop directory missing" in page.inner_text("main"):
            break
        page.wait_for_timeout(500)
        page.reload()
    assert "Retry now" in page.inner_text("main")
    assert serious(page) == []
    shot(page, "queues")

    page.click('main table a:has-text("Fax") >> nth=0')
    page.fill("#filter", "Subject -like '*3'")
    page.click("text=Apply")
    assert page.locator("tbody input[name=item]").count() == 1
    assert serious(page) == []
    shot(page, "queue")
    page.click("button:has-text('Remove silently')")
    assert "Remove 1 message silently" in page.inner_text("h1")
    assert serious(page) == []
    shot(page, "confirm")
    page.fill("[name=reason]", "wrong number")
    page.click("#confirm")
    page.wait_for_selector("#operation")
    assert "wrong number" in page.inner_text("#operation")
    assert serious(page) == []
    shot(page, "operation")

    page.goto(f"{address}/needs-you/")
    assert "drop directory" in page.inner_text("main")
    assert serious(page) == []
    shot(page, "needs")

    (data / "drop" / "Gone").rename(drop)
    page.goto(f"{address}/queues/")
    page.click("button:has-text('Retry now')")
    for _attempt in range(40):
        if len(list(drop.glob("*.eml"))) == before + 3:
            break
        page.wait_for_timeout(250)
    assert len(list(drop.glob("*.eml"))) == before + 3
    next(drop.glob("*.eml")).unlink()  # the gateway takes one

    page.context.add_cookies([{"name": "django_language", "value": "fr", "url": address}])
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{address}/queues/")
    shot(page, "queues-fr-390")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.click('main table a:has-text("Fax") >> nth=0')
    shot(page, "queue-fr-390")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.browser
@pytest.mark.timeout(120)
@pytest.mark.rule("QU-21", "QX-2", "QX-6")
def test_queue_pages_follow_what_happens_without_a_reload_and_wait_while_somebody_is_in_them(served, page, sign_in):
    address, data, password = served
    sign_in(page, address, password)
    drop = data / "drop" / "Fax"
    drop.rename(data / "drop" / "Pushed")
    page.goto(f"{address}/queues/")
    page.wait_for_selector("#push-state[data-state=live]", timeout=20_000)
    page.mouse.move(2, 2)
    page.evaluate("window.isStillHere = true")

    (data / "pickup" / "pushed.eml").write_bytes(FAX % (9001, 9001))
    page.wait_for_selector("#queues td:has-text('Drop directory missing')", timeout=20_000)
    assert page.evaluate("window.isStillHere")  # no reload

    page.click('main table a:has-text("Fax") >> nth=0')
    page.wait_for_selector("#push-state[data-state=live]", timeout=20_000)
    page.check("tbody input[name=item] >> nth=0")
    page.mouse.move(2, 2)
    page.evaluate("document.activeElement.blur()")
    rows = page.locator("tbody input[name=item]").count()
    (data / "pickup" / "pushed2.eml").write_bytes(FAX % (9002, 9002))
    page.wait_for_selector("#push-state[data-state=paused]", timeout=20_000)  # a row is ticked: changes wait
    assert page.locator("tbody input[name=item]").count() == rows
    page.uncheck("tbody input[name=item] >> nth=0")
    page.mouse.move(2, 2)
    page.evaluate("document.activeElement.blur()")
    page.locator("tbody input[name=item]").nth(rows).wait_for(timeout=20_000)
    assert serious(page) == []
    shot(page, "queue-pushed")

    page.goto(f"{address}/queues/messages/")
    assert serious(page) == []
    shot(page, "queue-messages")
    page.goto(f"{address}/queues/?by=LastError")
    assert serious(page) == []
    shot(page, "queues-digest")
    with page.expect_download() as download:
        page.click("#export-csv")
    assert "browser.test\\FAX" in Path(download.value.path()).read_text()
    (data / "drop" / "Pushed").rename(drop)
