"""Queue pages are told of changes by a socket; lists are exported as they are filtered; one view over all queues."""

import asyncio
import csv
import io
import json
import re
import time
from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from auditlog.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import OperationalError
from django.urls import reverse
from django.utils import timezone

from connectors import queue_properties
from connectors.choices import ItemState, QueueStatus, Verb
from connectors.conf import transport_config
from connectors.consumers import QueueConsumer
from connectors.models import BulkJob, QueueItem, QueueSample
from connectors.reads import queue_changes
from connectors.transport import jobs, leasing
from connectors.transport import queue as queues
from connectors.transport.jobs import Order
from fcweb import shared_reader
from fcweb.asgi import application
from fcweb.sockets import FORBIDDEN
from tests.queue_fixtures import fax_queue, fill, queued
from tests.sockets import Socket, make_watcher, session_cookie

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()
ALL = ("view_queue", "change_queue", "export_queue", "view_connector", "view_trackingevent")


def watching(user):
    return Socket(user, app=QueueConsumer.as_asgi())


def watcher(**options):
    return sync_to_async(make_watcher)(permission="view_queue", **options)


# Each of these changes what a page shows; the last argument is the queue of connector Fax with one message in it.
def _a_message_comes(site, queue, item):
    queued(site, queue, now=NOW)


def _the_queue_fails(site, queue, item):
    queues.back_off(queue, [], error="451 4.3.5 x", config=transport_config(), now=NOW)


def _a_transfer_begins(site, queue, item):
    leasing.lease(queue, directory="/x", token="t", limit=1, folder_of=None)


def _a_person_suspends_a_message(site, queue, item):
    job = jobs.start(site.node, Order(verb=Verb.SUSPEND, actor="ann", queue=queue), now=NOW)
    jobs.run_to_end(job, config=transport_config(), now=NOW)


def _a_person_suspends_the_queue(site, queue, item):
    jobs.operate_queue(queue, Verb.SUSPEND, actor="ann", now=NOW)


def _the_rates_move(site, queue, item):
    QueueSample.objects.create(queue=queue, at=NOW, incoming=60, outgoing=0)


def _a_message_waits_to_be_routed(site, queue, item):
    type(item.message).objects.filter(pk=item.message_id).update(state="submitted")


CHANGES = (
    _a_message_comes,
    _the_queue_fails,
    _a_transfer_begins,
    _a_person_suspends_a_message,
    _a_person_suspends_the_queue,
    _the_rates_move,
    _a_message_waits_to_be_routed,
)


@pytest.mark.rule("QU-21", "QX-2", "QX-6")
@pytest.mark.parametrize("change", CHANGES)
async def test_a_page_is_told_of_every_change(site, change):
    queue = await sync_to_async(fax_queue)(site)
    item = await sync_to_async(queued)(site, queue, now=NOW)
    async with watching(await watcher()) as page:
        before = await told_all(page)
        await sync_to_async(change)(site, queue, item)

        assert await told_all(page) != before


async def told_all(page):
    """Read frames until the page knows what there is to know; return its value. A page that is not told times out."""
    wanted = await sync_to_async(queue_changes.seen)()
    while (frame := await page.any_frame())["seen"] != wanted:
        assert frame["type"] == "queues"
    return wanted


@pytest.mark.rule("QU-21", "QX-2")
async def test_only_people_who_may_see_queues_are_told(site):
    async with watching(await watcher()) as page:
        assert page.accepted
    async with watching(await watcher(name="bob", may=False)) as page:
        assert not page.accepted
    cookie = await sync_to_async(lambda: session_cookie(make_watcher("eve", permission="view_trackingevent")))()
    for sent in ("", cookie):
        async with Socket(app=application, cookie=sent, path="/ws/queues/") as page:
            assert not page.accepted


@pytest.mark.rule("QU-21")
async def test_who_may_no_longer_see_queues_is_cut_off(site, monkeypatch):
    monkeypatch.setattr(QueueConsumer, "recheck_seconds", 0.1)
    user = await watcher()
    async with watching(user) as page:
        await page.any_frame()
        await sync_to_async(user.user_permissions.clear)()
        answer = await page.communicator.receive_output(timeout=10)
        assert (answer["type"], answer["code"]) == ("websocket.close", FORBIDDEN)


@pytest.mark.rule("QU-21", "QX-2")
def test_pages_know_the_value_they_show_and_ask_for_their_own_part(desk, site):
    queue = fax_queue(site)
    queued(site, queue, now=NOW)
    client = desk(*ALL)
    for url in ("/queues/?by=Status", f"/queues/{queue.pk}/?f=Size+-gt+1", "/queues/messages/"):
        page = client.get(url).content.decode()
        assert f'data-seen="{queue_changes.seen()}"' in page
        asked = re.search(r'hx-get="([^"]+)" hx-trigger="every 20s, pushed" data-refresh data-push', page)[1]
        part = client.get(asked.replace("&amp;", "&"), headers={"hx-request": "true"}).content.decode()
        assert "<html" not in part and f'data-seen="{queue_changes.seen()}"' in part
        assert "queue_push" in page


@pytest.mark.rule("QX-2", "QU-21")
def test_watching_costs_a_few_look_ups_however_much_waits(site, django_assert_max_num_queries):
    fill(site.node, fax_queue(site), 2000, now=NOW)

    with django_assert_max_num_queries(12):
        queue_changes.seen()


@pytest.mark.rule("QX-2", "QU-21")
async def test_all_pages_of_a_process_share_one_reading_that_outlives_trouble(monkeypatch, site):
    begun = time.monotonic()
    read, values = [], ["one value"]

    def seen():
        read.append(values[-1])
        if len(read) <= 2:
            raise OperationalError("gone")
        return values[-1]

    monkeypatch.setattr(queue_changes, "seen", seen)
    monkeypatch.setattr(shared_reader, "_TROUBLE_SECONDS", 0.05)
    desk = await watcher()
    async with AsyncExitStack() as opened:
        pages = [await opened.enter_async_context(watching(desk)) for _number in range(20)]
        first = [await page.any_frame() for page in pages]
        values.append("another")
        second = [await page.any_frame() for page in pages]
        assert all([await page.communicator.receive_nothing(timeout=0.01) for page in pages])

    assert {frame["seen"] for frame in first} == {"one value"}
    assert {frame["seen"] for frame in second} == {"another"}
    before = len(read)
    assert before <= (time.monotonic() - begun) / queue_changes.POLL_SECONDS + 4
    await asyncio.sleep(0.7)
    assert len(read) <= before + 1  # nobody watches any more


# ---- exports ----


async def exported(async_client, path):
    answer = await async_client.get(path)
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"].startswith("attachment; filename=")
    parts = [part async for part in answer] if answer.streaming else [answer.content]
    return answer.headers["Content-Type"], b"".join(parts).decode("utf-8")


@pytest.mark.rule("QU-21", "QO-12")
@pytest.mark.parametrize("form, dialect", [("csv", "excel"), ("tsv", "excel-tab")])
async def test_the_messages_of_a_filter_are_exported_with_every_property(async_client, site, form, dialect):
    def prepare():
        user = User.objects.create_user("ann")
        user.user_permissions.set(Permission.objects.filter(codename__in=ALL))
        queue = fax_queue(site, status=QueueStatus.RETRY, retry_count=1, last_error="451 4.3.5 x")
        for number in range(3):
            queued(site, queue, now=NOW, subject=f'Devis "n° {number}",\tline\r\ntwo é', size=1000 * number)
        queued(site, queue, now=NOW, size=5000, state=ItemState.DELIVERED)
        return user, queue

    user, queue = await sync_to_async(prepare)()
    await async_client.aforce_login(user)

    kind, text = await exported(async_client, f"/queues/{queue.pk}/export.{form}?f=Size+-ge+1000")

    assert kind == {"csv": "text/csv; charset=utf-8", "tsv": "text/tab-separated-values; charset=utf-8"}[form]
    rows = list(csv.DictReader(io.StringIO(text, newline=""), dialect=dialect))
    names = {prop.name for prop in queue_properties.MESSAGE.values()} | set(queue_properties.RESERVED_OF_MESSAGE)
    assert names | {"Identity", "MessageIdentity", "ComponentLatency"} == set(rows[0])
    assert [row["Size"] for row in rows] == ["1000", "2000"]
    assert rows[0]["Subject"] == 'Devis "n° 1",\tline\r\ntwo é'
    assert (rows[0]["Status"], rows[0]["LastError"], rows[0]["AccountForest"]) == ("Retry", "451 4.3.5 x", "")
    assert "Address=IMCEAFAX-1@fcweb.test" in rows[0]["Recipients"]
    entry = await LogEntry.objects.aget(action=LogEntry.Action.ACCESS)
    assert (entry.actor_id, "export" in entry.changes_dict) == (user.pk, True)
    assert f"/queues/{queue.pk}/export.{form}?f=Size" in entry.changes_dict["export"][1]


@pytest.mark.rule("QU-21")
async def test_a_subject_that_a_spreadsheet_would_compute_is_text(async_client, site):
    def prepare():
        user = User.objects.create_user("ann")
        user.user_permissions.set(Permission.objects.filter(codename__in=ALL))
        queued(site, fax_queue(site), now=NOW, subject='=HYPERLINK("http://x.test")')
        return user

    await async_client.aforce_login(await sync_to_async(prepare)())

    _kind, text = await exported(async_client, "/queues/messages/export.csv")

    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row["Subject"] == '\'=HYPERLINK("http://x.test")'


@pytest.mark.rule("QU-21")
async def test_an_export_goes_in_batches_and_ends_where_the_list_ended_when_it_began(async_client, site):
    def prepare():
        user = User.objects.create_user("ann")
        user.user_permissions.set(Permission.objects.filter(codename__in=ALL))
        fill(site.node, fax_queue(site), 1200, now=NOW)
        return user

    await async_client.aforce_login(await sync_to_async(prepare)())

    answer = await async_client.get("/queues/messages/export.csv")
    parts = []
    async for part in answer:
        parts.append(part.decode())
        if len(parts) == 2:
            await sync_to_async(lambda: queued(site, fax_queue(site), now=NOW))()

    assert len(parts) == 4  # header, 500, 500, 200
    rows = list(csv.DictReader(io.StringIO("".join(parts), newline="")))
    assert len({row["Identity"] for row in rows}) == len(rows) == 1200


@pytest.mark.rule("QU-21")
async def test_the_list_of_queues_is_exported(async_client, site):
    def prepare():
        user = User.objects.create_user("ann")
        user.user_permissions.set(Permission.objects.filter(codename__in=ALL))
        queued(site, fax_queue(site), now=NOW)
        return user

    await async_client.aforce_login(await sync_to_async(prepare)())

    _kind, text = await exported(async_client, "/queues/export.tsv")

    rows = list(csv.DictReader(io.StringIO(text, newline=""), dialect="excel-tab"))
    assert [row["Identity"] for row in rows] == ["node.test\\FAX", "node.test\\Submission"]
    assert {prop.name for prop in queue_properties.QUEUE.values()} <= set(rows[0])
    assert (rows[0]["MessageCount"], rows[0]["MessageCountsPerPriority"]) == ("1", "{0, 1, 0, 0}")


@pytest.mark.rule("QU-21", "QO-12")
def test_an_export_needs_its_permission_and_a_form_and_a_filter_that_can_be_read(desk, site):
    queue = fax_queue(site)
    client = desk("view_queue", "change_queue")
    urls = ("/queues/export.csv", "/queues/messages/export.csv", f"/queues/{queue.pk}/export.csv")
    for url in urls:
        assert client.get(url).status_code == 403
    assert "export-csv" not in client.get("/queues/").content.decode()
    client = desk(*ALL, name="bob")
    assert "export-csv" in client.get("/queues/").content.decode()
    assert client.get("/queues/export.xml").status_code == 404
    assert client.get("/queues/999999/export.csv").status_code == 404
    assert client.get("/queues/messages/export.csv?f=x").status_code == 400
    assert not LogEntry.objects.filter(action=LogEntry.Action.ACCESS).exists()


# ---- all queues, the digest ----


@pytest.mark.rule("QX-1", "QO-1", "QO-3")
def test_one_view_shows_all_queues_and_acts_on_a_message_everywhere(desk, site):
    fax = fax_queue(site)
    other = fax_queue(site)
    other.pk, other.next_hop_domain, other.connector_name = None, "SMS", "Sms"
    other.save()
    item = queued(site, fax, now=NOW, subject="Everywhere")
    QueueItem.objects.create(queue=other, message=item.message, entered_at=NOW)
    queued(site, other, now=NOW, subject="Another")
    client = desk(*ALL)
    text = f"InternetMessageId -eq '{item.message.message_id}'"

    page = client.get("/queues/messages/", {"f": text}).content.decode()
    assert page.count("Everywhere</a>") == 2 and "Another" not in page and ">Sms</a>" in page
    url = reverse("queue-messages-confirm")
    asked = client.get(url, {"verb": "remove", "f": text}).content.decode()
    assert "Remove 2 messages silently" in asked and "All queues" in asked
    last = re.search(r'name="last_item" value="(\d+)"', asked)[1]
    client.post(url, {"verb": "remove", "f": text, "last_item": last, "reason": "twice"})

    job = BulkJob.objects.get()
    assert (job.changed, job.queue) == (2, None)
    assert QueueItem.objects.get(state=ItemState.READY).message.subject == "Another"
    bob = desk("view_queue", name="bob")
    assert bob.post(url, {"verb": "remove", "f": "", "last_item": last, "reason": "x"}).status_code == 403


@pytest.mark.rule("QU-14", "QX-2")
def test_the_queues_page_sums_up_by_what_is_asked_for(desk, site):
    past = NOW - timedelta(hours=1)
    fax = fax_queue(site, status=QueueStatus.RETRY, retry_count=1, last_error="451 4.3.5 x", last_retry_at=past)
    queued(site, fax, now=NOW)
    client = desk(*ALL)

    def digest(**asked):
        page = client.get("/queues/", asked).content.decode()
        part = page.partition('id="digest-title"')[2].partition("</section>")[0]
        return re.findall(r'primary-cell">(?:<a[^>]*>)?([^<]*)<.*?class="num"[^>]*>(\d+)<', part, re.DOTALL)

    assert digest() == [("FAX", "1")]
    assert digest(by="LastError") == [("451 4.3.5 x", "1")]
    assert digest(by="NextHopCategory") == [("External", "1")]
    assert digest(by="<script>") == [("FAX", "1")]
    assert json.dumps(digest(by="ServerName")) == '[["node.test", "1"]]'


@pytest.mark.rule("QO-11")
def test_export_and_remove_is_offered_beside_export(desk, site):
    queue = fax_queue(site)
    queued(site, queue, now=NOW, state=ItemState.SUSPENDED, with_file=True)
    client = desk(*ALL)

    page = client.get(f"/queues/{queue.pk}/").content.decode()
    assert 'value="export_remove"' in page
    asked = client.get(reverse("queue-confirm", args=[queue.pk]), {"verb": "export"}).content.decode()
    assert "or it is delivered twice" in asked
    client.post(
        reverse("queue-confirm", args=[queue.pk]),
        {"verb": "export_remove", "f": "", "last_item": 10**9, "reason": "moved"},
    )
    assert (BulkJob.objects.get().changed, QueueItem.objects.get().state) == (1, ItemState.REMOVED)


@pytest.mark.rule("QX-1")
def test_the_page_of_a_message_leads_to_all_its_copies(desk, site):
    fax = fax_queue(site)
    other = fax_queue(site)
    other.pk, other.next_hop_domain = None, "SMS"
    other.save()
    item = queued(site, fax, now=NOW, message_id="<it's@fcweb.test>")
    client = desk(*ALL)
    url = f"/message/{item.message.tracked_id}/delivery/"
    assert "/queues/messages/" not in client.get(url).content.decode()  # one copy: its queue is named
    QueueItem.objects.create(queue=other, message=item.message, entered_at=NOW)

    link = re.search(r'href="(/queues/messages/[^"]+)"', client.get(url).content.decode())[1]

    assert client.get(link.replace("&amp;", "&")).content.decode().count('name="item"') == 2
