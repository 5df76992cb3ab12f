"""What the browser alone can get wrong: back after htmx, a double click, an ended session, an answer that fails."""

import re
import sqlite3
import time
from email.header import Header

import pytest

from tests import filled as filling

pytestmark = pytest.mark.browser


@pytest.fixture
def make(browser, filled, sign_in):
    """Open a signed-in page that may log errors: they are what is tested."""
    contexts = []

    def signed_in(**options):
        context = browser.new_context(locale="en-US", reduced_motion="reduce", **options)
        contexts.append(context)
        page = context.new_page()
        sign_in(page, filled.address, filled.password)
        return page

    yield signed_in
    for context in contexts:
        context.close()


# Where a line of the list has its subject, and whether the sender beside it reads from left to right.
SUBJECT = """line => {
  const range = document.createRange();
  range.selectNodeContents(line.firstChild);
  return range.getBoundingClientRect().right <= line.querySelector(".quiet").getBoundingClientRect().left + 6;
}"""
SENDER = """line => {
  const text = line.querySelector(".quiet").firstChild;
  const place = (at) => {
    const range = document.createRange();
    range.setStart(text, at);
    range.setEnd(text, at + 1);
    return range.getBoundingClientRect().left;
  };
  const first = text.data.indexOf("emma");
  return place(first) < place(first + 3);
}"""


def rows(site, query, *values):
    with sqlite3.connect(site.data / "fcweb.sqlite3") as database:
        return database.execute(query, values).fetchall()


def click_twice(page, selector):
    """Click as a hand does: the second click falls while the first is under way."""
    box = page.locator(selector).first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.click(x, y)
    page.wait_for_timeout(20)
    page.mouse.click(x, y)


def test_back_from_a_message_shows_the_page_of_the_search_not_its_part(make, filled):
    page = make()
    page.goto(f"{filled.address}/tracking/")
    page.fill("[name=subject]", "e")
    page.click("#search-form button[type=submit]")
    page.wait_for_url(re.compile("subject=e"))
    page.click("#results tbody a >> nth=0")
    page.wait_for_url("**/message/**")
    page.go_back()
    page.wait_for_url(re.compile("subject=e"))
    page.wait_for_selector("#rail")
    assert page.input_value("[name=subject]") == "e"
    assert page.locator("#results tbody tr").count()


def test_a_session_that_ended_leads_to_the_sign_in_page_and_back(make, filled):
    page = make()
    page.goto(f"{filled.address}/queues/?idle=1")
    page.wait_for_selector("#push-state[data-state=live]")
    page.context.clear_cookies(name="sessionid")
    page.mouse.move(2, 2)
    page.evaluate("htmx.trigger('#queues', 'pushed')")
    page.wait_for_url("**/login/**")
    assert page.locator("#queues").count() == 0
    page.fill("[name=username]", "admin")
    page.fill("[name=password]", filled.password)
    page.press("[name=password]", "Enter")
    page.wait_for_url(f"{filled.address}/queues/?idle=1")


def test_a_double_click_sends_a_form_once_and_says_what_it_did(make, filled):
    page = make()
    page.goto(filled.address + filling.pages(filled)["queue-submission"])
    before = len(rows(filled, "SELECT id FROM connectors_bulkjob"))
    click_twice(page, "button:has-text('Suspend the queue')")
    page.wait_for_selector("button:has-text('Resume the queue')")
    page.wait_for_selector(".messages")
    assert page.locator(".messages li").all_inner_texts() == [
        "Submission is suspended: it accepts messages and lets none out."
    ]
    click_twice(page, "button:has-text('Resume the queue')")
    page.wait_for_selector(".messages >> text=Submission is resumed")
    assert len(rows(filled, "SELECT id FROM connectors_bulkjob")) == before + 2


def test_a_part_that_cannot_be_fetched_is_told_until_one_comes(make, filled):
    page = make()
    page.goto(f"{filled.address}/tracking/")
    assert not page.is_visible("#request-failed")
    page.route("**/tracking/?*", lambda route: route.fulfill(status=500, body="<h1>Something went wrong</h1>"))
    page.fill("[name=subject]", "Rappel")
    page.click("#search-form button[type=submit]")
    page.wait_for_selector("#request-failed", state="visible")
    assert "may be out of date" in page.inner_text("#request-failed")
    page.unroute("**/tracking/?*")
    page.click("#search-form button[type=submit]")
    page.wait_for_url(re.compile("subject=Rappel"))
    page.wait_for_selector("#request-failed", state="hidden")


JOB = """
from django.utils import timezone
from connectors.models import BulkJob, Node
node = Node.objects.get_or_create(name="elsewhere.test")[0]  # a server that does not run: its operation stays
print(BulkJob.objects.create(node=node, verb="suspend", total=300, last_item=1, snapshot_at=timezone.now()).pk)
"""


def test_the_stop_button_of_an_operation_stays_while_the_figures_change(make, filled):
    page = make()
    pk = int(filled.manage("shell", "-v", "0", "-c", JOB))
    page.goto(f"{filled.address}/operations/{pk}/")
    page.focus("#cancel")
    page.evaluate("window.stop = document.getElementById('cancel')")
    filled.manage("shell", "-v", "0", "-c", "from connectors.models import BulkJob as B; B.objects.update(changed=7)")
    page.wait_for_selector("#operation-figures .figure b >> text=/^7$/")
    assert "293 left" in page.inner_text("#answer")
    assert page.evaluate("document.activeElement === window.stop && window.stop.isConnected")
    page.keyboard.press("Enter")
    page.wait_for_selector("#cancel", state="detached")
    assert rows(filled, f"SELECT state FROM connectors_bulkjob WHERE id = {pk}") == [("cancelled",)]
    assert page.locator("[hx-trigger='every 1s']").count() == 0


def test_an_operation_that_ends_is_shown_as_over(make, filled):
    page = make()
    pk = int(filled.manage("shell", "-v", "0", "-c", JOB))
    page.goto(f"{filled.address}/operations/{pk}/")
    page.wait_for_selector("#cancel")
    end = "from connectors.models import BulkJob as B; from django.utils.timezone import now; "
    filled.manage("shell", "-v", "0", "-c", f"{end}B.objects.filter(pk={pk}).update(state='done', finished_at=now())")
    page.wait_for_selector("#cancel", state="detached")
    assert page.locator("#operation dt >> text=Ended").count() == 1


LONG = "W" * 480
X400 = "IMCEAX400-c+3DFR+3Ba+3DFabrikam+3Bs+3DMoreau@fcweb.test"


@pytest.fixture(scope="module")
def hostile(filled):
    """Return paths of pages with a subject and a file name as long as they get, Arabic, and a text turned round."""
    subjects = {
        LONG: LONG,
        "arabic": "\u0637\u0644\u0628 \u0634\u0631\u0627\u0621 4711",
        "turned": "invoice \u202egnp.exe",
    }
    pickup = filled.data / "pickup"
    for name, subject in subjects.items():
        shown = Header(subject, "utf-8").encode()
        written = pickup / f"{name[:9]}.tmp0"
        written.write_text(f"From: emma.brown@fcweb.test\nTo: {X400}\nSubject: {shown}\n\nBody\n")
        written.rename(pickup / f"{name[:9]}.eml")
    crowd = ", ".join(f"IMCEAX400-c+3DFR+3Ba+3DFabrikam+3Bs+3DM{number}@fcweb.test" for number in range(30))
    (pickup / "crowd.eml").write_text(f"From: emma.brown@fcweb.test\nTo: {crowd}\nSubject: Crowd\n\nBody\n")
    (pickup / f"{'b' * 200}.eml").write_bytes(b"Subject: nobody sent it\n\nBody\n")
    where = "next_hop_domain = 'X400' AND m.subject IN ('Crowd', ?) "
    waiting = f"SELECT q.id FROM connectors_queueitem i JOIN connectors_queue q ON q.id = i.queue_id JOIN connectors_message m ON m.id = i.message_id WHERE {where} GROUP BY q.id HAVING count(*) = 2"
    for _attempt in range(100):
        bad = rows(filled, "SELECT id FROM connectors_sourcefile WHERE state = 'bad' AND name LIKE 'bbb%'")
        queue = rows(filled, waiting, subjects["turned"])
        if bad and queue:
            break
        time.sleep(0.2)
    return {
        "queue": f"/queues/{queue[0][0]}/",
        "everywhere": "/queues/messages/",
        "confirm": f"/queues/{queue[0][0]}/confirm/?verb=suspend&f=FromAddress -eq 'emma.brown@fcweb.test'",
        "bad-files": "/bad-files/",
        "bad-file": f"/bad-files/{bad[0][0]}/",
        "edit": f"/bad-files/{bad[0][0]}/edit/",
        "tracking": "/tracking/",
        "live": "/live/",
        "overview": "/",
    }


@pytest.mark.parametrize("width", [320, 1440])
def test_long_subjects_and_names_fit_the_screen_and_leave_room_for_other_rows(make, filled, hostile, width):
    page = make(viewport={"width": width, "height": 900})
    found = {}
    for name, path in hostile.items():
        page.goto(filled.address + path)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        high = page.evaluate("Math.max(0, ...[...document.querySelectorAll('tbody tr')].map(row => row.offsetHeight))")
        if wide or high > (1000 if width < 700 else 420):
            found[name] = (wide, high)
    assert found == {}


def test_many_recipients_of_a_row_are_folded_and_each_can_be_removed(make, filled, hostile):
    page = make()
    page.goto(f"{filled.address}{hostile['queue']}?f=Subject -eq 'Crowd'")
    page.click("summary >> text=and 20 more")
    page.click("a:has-text('Remove') >> nth=29")
    page.wait_for_url(re.compile("/confirm/"))
    assert "Remove 1 message and send a notice" in page.inner_text("h1")


def test_a_subject_written_from_right_to_left_leaves_what_stands_beside_it_alone(make, filled, hostile):
    page = make(viewport={"width": 1440, "height": 900})
    page.goto(filled.address + hostile["confirm"])
    for word in ("4711", "gnp.exe"):
        line = page.locator(f"ul.lines li:has-text('{word}')")
        assert line.evaluate(SENDER), word
        assert line.evaluate(SUBJECT), word


def test_who_opens_the_content_of_a_message_by_keyboard_stands_at_its_beginning(make, filled):
    page = make()
    page.goto(filled.address + filling.pages(filled)["message-failed"])
    page.focus("#message-content a")
    page.keyboard.press("Enter")
    page.wait_for_selector("#message-content pre")
    assert page.evaluate("document.activeElement.id") == "message-header"


def test_live_says_whether_nothing_happened_or_the_filter_shows_nothing(make, filled):
    page = make()
    page.goto(f"{filled.address}/live/?q=subject:nothinglikeit")
    page.wait_for_selector("#live-state[data-state=live]")
    assert page.is_visible("#live-unmatched") and not page.is_visible("#live-empty")
    page.fill("#live-q", "")
    page.press("#live-q", "Enter")
    page.wait_for_selector("#rows tr")
    assert not page.is_visible("#live-unmatched") and not page.is_visible("#live-empty")
    page.fill("#live-q", "subject:nothinglikeit")
    page.press("#live-q", "Enter")
    page.wait_for_selector("#live-unmatched", state="visible")
    assert not page.is_visible("#live-empty")


@pytest.mark.parametrize("width", [720, 1024])
def test_deliveries_of_another_day_fit_the_screen_with_their_button(make, filled, width):
    page = make(viewport={"width": width, "height": 768})
    page.context.add_cookies([{"name": "django_language", "value": "fr", "url": filled.address}])
    page.goto(f"{filled.address}/safety-net/?connector=Fax")
    # Times of another day have their date: as after midnight, whenever this test runs.
    page.evaluate("document.querySelectorAll('td > time').forEach(t => t.textContent = '2026-11-28 23:54:52')")
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
    if width == 1024:
        assert page.evaluate("(w => w.scrollWidth - w.clientWidth)(document.querySelector('.table-wrap'))") == 0
