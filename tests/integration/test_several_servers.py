"""The view of all queues where several servers share a database: what is acted on is what is listed (QO-3, QX-1)."""

import csv
import re
from dataclasses import replace
from uuid import uuid4

import pytest
from django.urls import reverse
from django.utils import timezone

from connectors.choices import ItemState, JobState
from connectors.conf import transport_config
from connectors.models import BulkJob, Node, Queue, QueueItem
from connectors.transport import jobs
from tests.queue_fixtures import fax_queue, queued

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()
ALL = ("view_queue", "change_queue", "export_queue", "view_trackingevent", "view_content")


@pytest.fixture
def hub(site):
    """Another server with one waiting message; one more waits on this one."""
    node = Node.objects.create(name="hub2.test", fqdn="hub2.test")
    other = replace(site, node=node)
    queued(
        other, fax_queue(other), now=NOW, subject="Far", recipients=("IMCEAFAX-1@fcweb.test", "IMCEAFAX-2@fcweb.test")
    )
    queued(site, fax_queue(site), now=NOW, subject="Near")
    return node


def subjects(page):
    return re.findall(r'href="/message/\d+/">(\w+)</a>', page)


@pytest.mark.rule("QX-1", "QO-3")
@pytest.mark.parametrize(("server", "here", "there"), [("", "Near", "hub2.test"), ("hub2.test", "Far", "node.test")])
def test_list_and_confirmation_mean_one_server(desk, site, hub, server, here, there):
    client = desk(*ALL)
    query = {"server": server} if server else {}

    page = client.get("/queues/messages/", query).content.decode()

    assert subjects(page) == [here]
    assert re.search(rf'href="/queues/messages/\?server={there}">{there}</a>', page)
    export = f"/queues/messages/export.csv?server={server}" if server else "/queues/messages/export.csv"
    assert f'id="export-csv" href="{export}"' in page
    filtered = client.get("/queues/messages/", query | {"f": "Size -gt 1"}).content.decode()
    assert subjects(filtered) == [here]
    asked = client.get(reverse("queue-messages-confirm"), query | {"verb": "remove", "f": ""}).content.decode()
    assert "Remove 1 message silently" in asked and f"<li><bdi>{here}</bdi>" in asked


@pytest.mark.rule("QX-1", "QU-21")
@pytest.mark.parametrize(("query", "here"), [("", "Near"), ("?server=hub2.test", "Far")])
async def test_an_export_means_one_server(async_client, django_user_model, hub, query, here):
    user = await django_user_model.objects.acreate_user("ann", is_superuser=True)
    await async_client.aforce_login(user)

    answer = await async_client.get(f"/queues/messages/export.csv{query}")

    text = b"".join([part async for part in answer.streaming_content]).decode()
    assert [row["Subject"] for row in csv.DictReader(text.splitlines())] == [here]


@pytest.mark.rule("QX-1", "QO-3")
def test_an_operation_for_another_server_is_worked_there(desk, site, hub):
    client = desk(*ALL)
    url = reverse("queue-messages-confirm")
    asked = client.get(url, {"server": "hub2.test", "verb": "suspend", "f": ""}).content.decode()
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', asked))
    assert fields["server"] == "hub2.test"

    client.post(url, fields | {"reason": "r"})

    job = BulkJob.objects.get()
    assert (job.node, job.state, job.total) == (hub, JobState.RUNNING, 1)
    jobs.run_once(site.node, config=transport_config(), now=NOW)
    assert not QueueItem.objects.filter(state=ItemState.SUSPENDED).exists()
    jobs.run_once(hub, config=transport_config(), now=NOW)
    assert [item.message.subject for item in QueueItem.objects.filter(state=ItemState.SUSPENDED)] == ["Far"]


@pytest.mark.rule("QX-1")
def test_links_on_the_page_stay_with_the_server(desk, site, hub):
    client = desk(*ALL)
    far = QueueItem.objects.get(message__subject="Far")

    page = client.get("/queues/messages/", {"server": "hub2.test", "f": "Size -gt 1"}).content.decode()

    assert 'href="/queues/messages/?server=hub2.test">Clear</a>' in page
    assert page.count('<input type="hidden" name="server" value="hub2.test">') == 2
    link = re.search(r'href="(/queues/messages/confirm/\?verb=remove_ndr[^"]+)"', page)[1].replace("&amp;", "&")
    assert "Remove 1 message and send a notice" in client.get(link).content.decode()
    second = Queue.objects.create(node=hub, delivery_type="Undefined", next_hop_domain="X", next_hop_connector=uuid4())
    QueueItem.objects.create(queue=second, message=far.message, entered_at=NOW)
    delivery = client.get(reverse("message-delivery", args=[far.message.tracked_id]), headers={"hx-request": "true"})
    assert "/queues/messages/?server=hub2.test&amp;f=" in delivery.content.decode()


def test_a_server_there_is_not_is_not_found(desk, site):
    client = desk(*ALL)

    assert client.get("/queues/messages/", {"server": "none.test"}).status_code == 404
    assert "Other servers" not in client.get("/queues/messages/").content.decode()
