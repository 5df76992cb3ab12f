"""Queue pages as a person uses them: what they show, who may act, and that what is confirmed is what is done."""

import re
from datetime import timedelta

import pytest
from auditlog.models import LogEntry
from django.urls import reverse
from django.utils import timezone, translation

from connectors.choices import ItemState, JobState, QueueStatus
from connectors.conf import transport_config
from connectors.models import BulkJob, JobTarget, Queue, QueueItem, QueueSample
from connectors.transport import jobs, poison
from tests.queue_fixtures import fax_queue, fill, queued, submission_queue, submitted

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()


ALL = ("view_queue", "change_queue", "view_connector", "view_content", "view_trackingevent", "view_sourcefile")


@pytest.fixture
def filled(site):
    queue = fax_queue(
        site,
        status=QueueStatus.RETRY,
        retry_count=2,
        last_error="451 4.3.5 Drop directory does not exist",
        next_retry_at=timezone.now() + timedelta(minutes=12, seconds=50),
    )
    for number in range(3):
        queued(site, queue, now=NOW - timedelta(hours=2), subject=f"Offer {number}", with_file=True)
    return queue


@pytest.mark.rule("QX-2", "QU-13")
def test_the_list_says_why_mail_waits_and_offers_to_retry(desk, filled):
    QueueSample.objects.create(queue=filled, at=timezone.now(), incoming=60, outgoing=0)
    page = desk(*ALL).get(reverse("queues")).content.decode()

    assert "drop directory missing" in page
    assert "in 12\u00a0min" in page and "Retry now" in page
    assert "1.0 / 0.0" in page
    assert re.search(r"How old the waiting mail is.*?data-label=\"≤ 4\u00a0h\">3</td>", page, re.DOTALL)
    assert "Waiting for the gateways" in page


@pytest.mark.rule("QO-12")
def test_looking_does_not_allow_acting(desk, filled):
    client = desk("view_queue")
    item = QueueItem.objects.earliest("pk")

    page = client.get(reverse("queue", args=[filled.pk])).content.decode()

    assert "Retry now" not in page and "Remove silently" not in page
    for url in (reverse("queue-operate", args=[filled.pk]), reverse("queue-confirm", args=[filled.pk])):
        assert client.post(url, {"verb": "suspend", "reason": "x", "last_item": 9}).status_code == 403
    assert client.get(reverse("item-download", args=[item.pk])).status_code == 403
    assert client.post(reverse("submission-operate"), {"verb": "suspend"}).status_code == 403
    assert not BulkJob.objects.exists()


def test_a_queue_verb_needs_post_and_a_token(desk, filled):
    client = desk(*ALL)
    url = reverse("queue-operate", args=[filled.pk])
    assert client.get(url, {"verb": "suspend"}).url == reverse("queue", args=[filled.pk])
    assert client.put(url, {"verb": "suspend"}).status_code == 405
    assert client.post(url, {"verb": "explode"}).status_code == 404
    client.handler.enforce_csrf_checks = True
    assert client.post(url, {"verb": "suspend"}).status_code == 403
    assert Queue.objects.get(next_hop_domain="FAX").status == QueueStatus.RETRY


@pytest.mark.rule("QO-6", "QO-12", "MTE-6")
def test_retry_now_is_done_and_told(desk, filled):
    client = desk(*ALL)

    answer = client.post(reverse("queue-operate", args=[filled.pk]), {"verb": "retry", "back": "queues"}, follow=True)

    assert "is tried again now" in answer.content.decode()
    assert Queue.objects.get(next_hop_domain="FAX").status == QueueStatus.CONNECTING
    assert LogEntry.objects.filter(actor__username="ann").count() == 1


@pytest.mark.rule("QO-3", "QO-1", "QA-10")
def test_what_is_confirmed_is_what_is_done(desk, filled, site):
    client = desk(*ALL)
    url = reverse("queue-confirm", args=[filled.pk])
    text = "Subject -like '*1' -and Size -gt 1KB"
    page = client.get(url, {"verb": "remove", "f": text}).content.decode()
    assert "Remove 1 message silently" in page and "Nobody is told" in page and "Offer 1" in page
    last = re.search(r'name="last_item" value="(\d+)"', page)[1]
    late = queued(site, filled, now=NOW, subject="Offer 11")

    assert client.post(url, {"verb": "remove", "f": text, "last_item": last, "reason": ""}).status_code == 200
    assert not BulkJob.objects.exists()  # a reason is asked for
    answer = client.post(url, {"verb": "remove", "f": text, "last_item": last, "reason": "flood"}, follow=True)

    job = BulkJob.objects.get()
    assert (job.changed, job.state, job.reason, job.actor) == (1, JobState.DONE, "flood", "ann")
    assert "flood" in answer.content.decode()
    late.refresh_from_db()
    assert late.state == ItemState.READY


@pytest.mark.rule("QO-1")
def test_ticked_rows_alone_are_meant(desk, filled):
    client = desk(*ALL)
    first, second, _third = QueueItem.objects.order_by("pk")
    chosen = {"verb": "suspend", "item": [first.pk, second.pk], "last_item": second.pk, "reason": "r", "f": ""}

    client.post(reverse("queue-confirm", args=[filled.pk]), chosen)

    assert list(QueueItem.objects.filter(state=ItemState.SUSPENDED).order_by("pk")) == [first, second]


@pytest.mark.rule("QU-19", "QU-20")
def test_a_wrong_filter_is_explained_with_its_place(desk, filled):
    client = desk(*ALL)
    url = reverse("queue", args=[filled.pk])

    page = client.get(url, {"f": "Size -likes 1 <script>"}).content.decode()
    assert "At character 6" in page and "<script>" not in page.partition('id="queue"')[2]
    assert "a wildcard needs -like" in client.get(url, {"f": "Subject -eq '*1'"}).content.decode()
    assert "Offer 1" in client.get(url, {"f": "Subject -like '*1'"}).content.decode()
    assert client.get(reverse("queue-confirm", args=[filled.pk]), {"verb": "remove", "f": "x"}).status_code == 302


@pytest.mark.rule("QO-1", "QO-3")
def test_a_large_operation_shows_its_progress_and_can_be_stopped(desk, site):
    queue = fax_queue(site)
    fill(site.node, queue, 300, now=NOW)
    client = desk(*ALL)
    order = {"verb": "suspend", "f": "", "last_item": 10**9, "reason": "r"}

    answer = client.post(reverse("queue-confirm", args=[queue.pk]), order, follow=True).content.decode()

    job = BulkJob.objects.get()
    assert (job.state, job.total, job.left) == (JobState.RUNNING, 300, 300)
    assert 'hx-trigger="every 1s"' in answer
    part = client.get(reverse("operation", args=[job.pk]), headers={"hx-request": "true"}).content.decode()
    assert "<html" not in part and "<b>300</b><span>left</span>" in part
    client.post(reverse("operation-cancel", args=[job.pk]))
    assert BulkJob.objects.get().state == JobState.CANCELLED
    assert not JobTarget.objects.exists()
    assert 'hx-trigger="every 1s"' not in client.get(reverse("operation", args=[job.pk])).content.decode()


@pytest.mark.rule("QX-3", "QO-8")
def test_a_waiting_message_is_downloaded_and_that_is_audited(desk, filled):
    client = desk(*ALL)
    item = QueueItem.objects.earliest("pk")

    answer = client.get(reverse("item-download", args=[item.pk]))

    assert answer.content.startswith(b"X-Sender: <alice@fcweb.test>\r\nX-Receiver: <IMCEAFAX-1@fcweb.test>")
    assert LogEntry.objects.filter(action=LogEntry.Action.ACCESS, actor__username="ann").count() == 1


@pytest.mark.rule("MTE-6", "DR-33")
def test_operations_and_collection_stand_in_the_timeline(desk, filled):
    client = desk(*ALL)
    item = QueueItem.objects.select_related("message").earliest("pk")
    from tracking.models import TrackedMessage

    TrackedMessage.objects.filter(pk=item.message.tracked_id).update(internal_message_id=item.message_id)
    jobs.operate_queue(filled, "suspend", actor="bob", reason="gateway down", now=NOW)
    chosen = {"verb": "suspend", "item": [item.pk], "last_item": item.pk, "reason": "wrong number", "f": ""}
    client.post(reverse("queue-confirm", args=[filled.pk]), chosen)
    QueueItem.objects.filter(pk=item.pk).update(collected_at=NOW)

    page = client.get(reverse("message", args=[item.message.tracked_id])).content.decode()

    for text in ("Its queue was suspended.", "gateway down", "Suspended.", "wrong number", "Collected by the gateway."):
        assert text in page


@pytest.mark.rule("QA-7", "QX-10")
def test_needs_you_lists_what_waits_for_a_person(desk, filled, site):
    client = desk(*ALL)
    jobs.operate_queue(filled, "suspend", actor="bob", now=NOW)
    item = QueueItem.objects.select_related("message").earliest("pk")
    type(item.message).objects.filter(pk=item.message_id).update(expires_at=timezone.now() + timedelta(minutes=50))

    page = client.get(reverse("needs")).content.decode()

    assert "Fax: 1 message expires within the hour." in page
    assert "the queue is suspended" in page.lower() or "is suspended" in page
    Queue.objects.all().delete()
    assert "Nothing waits for you" in client.get(reverse("needs")).content.decode()


@pytest.mark.parametrize("language", ["en", "fr"])
def test_pages_hold_their_query_budget(desk, filled, site, language, django_assert_max_num_queries):
    client = desk(*ALL)
    client.cookies["django_language"] = language
    with translation.override("en"):  # what a request in French leaves behind ends here
        for name, args in (("queues", []), ("queue", [filled.pk]), ("needs", [])):
            client.get(reverse(name, args=args))
            with django_assert_max_num_queries(45):
                answer = client.get(reverse(name, args=args))
            assert answer.status_code == 200
            assert f'lang="{language}"' in answer.content.decode()


@pytest.mark.rule("QX-3", "QR-52", "QA-10")
@pytest.mark.parametrize(
    "where, sentence",
    [
        ("submission", "Waits in queue Submission, which is suspended: nothing leaves until it is resumed."),
        ("message", "Suspended in queue Fax: it stays there until it is resumed."),
        ("poison", "Set apart in Poison, because it stopped the service"),
    ],
)
def test_the_message_page_says_why_nothing_moves_and_leads_to_the_queue(desk, site, where, sentence):
    if where == "submission":
        message, queue = submitted(site, now=NOW), submission_queue(site, status=QueueStatus.SUSPENDED)
    else:
        item = queued(site, fax_queue(site), now=NOW, state=ItemState.SUSPENDED, crash_count=1)
        if where == "poison":
            poison.note_crash(site.node, [item.message_id], config=transport_config(), now=NOW)
        item.refresh_from_db()
        message, queue = item.message, item.queue

    page = desk(*ALL).get(reverse("message-delivery", args=[message.tracked_id])).content.decode()

    assert sentence in page
    assert f'href="{reverse("queue", args=[queue.pk])}"' in page


@pytest.mark.parametrize(("crowd", "text"), [(2, ""), (3, "and 1 more"), (7, "and 5 more")])
def test_a_confirmation_says_how_many_recipients_it_does_not_name(desk, site, crowd, text):
    queue = fax_queue(site)
    queued(site, queue, now=NOW, recipients=[f"IMCEAFAX-{number}@fcweb.test" for number in range(crowd)])

    page = desk(*ALL).get(reverse("queue-confirm", args=[queue.pk]), {"verb": "remove", "f": ""}).content.decode()

    assert re.findall(r"and \d+ more", page) == ([text] if text else [])
