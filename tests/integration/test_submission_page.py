"""The Submission queue's page: what it lists, that removal is offered only while it rests, and removes what was shown."""

import csv
import io
import re
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from auditlog.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from connectors import queue_properties
from connectors.choices import JobState, MessageState, QueueStatus, RecipientState
from connectors.models import BulkJob, JobTarget, Message, MessageRecipient, Queue
from tests.queue_fixtures import fax_queue, fill, queued, submission_queue, submitted

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()
ALL = ("view_queue", "change_queue", "view_content", "view_trackingevent", "export_queue")
SUSPEND_FIRST = "Messages can be removed here only while routing rests: suspend the queue first."


def page_of(client, queue, **asked):
    answer = client.get(reverse("queue", args=[queue.pk]), asked)
    assert answer.status_code == 200
    return answer.content.decode()


def shown(page):
    return re.findall(r'primary-cell"><a class="clamp" href="/message/[^"]*">([^<]*)</a>', page)


def key(page, side):
    return re.search(rf'rel="(?:prev|next)" href="\?{side}=(\d+)"', page)[1]


def bound(page):
    return re.search(r'name="last_item" value="(\d+)"', page)[1]


@pytest.mark.rule("QU-1", "QU-7", "QX-5")
def test_the_page_lists_what_waits_oldest_first_in_pages_both_ways(desk, site):
    queue = submission_queue(site)
    queued(site, fax_queue(site), now=NOW, subject="routed")
    for number in range(120):
        submitted(site, now=NOW - timedelta(minutes=200 - number), subject=f"m{number}")
    client = desk(*ALL)

    first = page_of(client, queue)
    assert shown(first) == [f"m{number}" for number in range(50)]
    assert "120 messages wait" in first and "all 120 that match" in first
    second = page_of(client, queue, after=key(first, "after"))
    assert shown(second) == [f"m{number}" for number in range(50, 100)]
    third = page_of(client, queue, after=key(second, "after"))
    assert shown(third) == [f"m{number}" for number in range(100, 120)] and 'rel="next"' not in third
    back = page_of(client, queue, before=key(third, "before"))
    assert shown(back) == shown(second)
    assert shown(page_of(client, queue, before=key(back, "before"))) == shown(first)


@pytest.mark.rule("QU-18", "QU-19", "QU-20")
def test_the_filter_narrows_and_its_mistakes_are_shown(desk, site):
    queue = submission_queue(site)
    for number in range(60):
        submitted(site, now=NOW, subject=f"m{number}", size=number * 1024)
    client = desk(*ALL)

    narrowed = page_of(client, queue, f="Size -ge 3KB -and Subject -like 'm*'")
    assert shown(narrowed)[0] == "m3" and len(shown(narrowed)) == 50 and "all 57 that match" in narrowed
    assert "At character 6. All messages are shown." in page_of(client, queue, f="Size -likes 1")
    assert "a wildcard needs -like" in page_of(client, queue, f="Subject -eq 'm*'")
    assert "No message matches" in page_of(client, queue, f="Status -eq 'Suspended'")


@pytest.mark.rule("QA-10", "QO-3")
def test_removal_alone_is_offered_and_only_while_it_is_suspended(desk, site):
    queue = submission_queue(site, status=QueueStatus.READY)
    message = submitted(site, now=NOW, recipients=("IMCEAFAX-1@fcweb.test", "IMCEAFAX-2@fcweb.test"))
    client = desk(*ALL)

    page = page_of(client, queue)
    assert shown(page) == ["Offer"] and SUSPEND_FIRST in page
    assert 'class="pick"' not in page and 'value="remove' not in page and "verb=remove_ndr" not in page
    client.post(reverse("queue-operate", args=[queue.pk]), {"verb": "suspend"})
    page = page_of(client, queue)
    assert SUSPEND_FIRST not in page and f'name="item" value="{message.pk}"' in page
    assert re.findall(r'name="verb" value="(\w+)"', page) == ["resume", "remove_ndr", "remove"]
    assert page.count("verb=remove_ndr&amp;item=") == 2  # of one recipient
    assert "Download<" not in page  # that is an export


@pytest.mark.rule("QO-12", "QA-10")
def test_looking_does_not_allow_removing(desk, site):
    queue = submission_queue(site)
    submitted(site, now=NOW)
    client = desk("view_queue")

    page = page_of(client, queue)

    assert "Offer" in page and 'class="pick"' not in page and "Remove" not in page and SUSPEND_FIRST not in page
    order = {"verb": "remove", "f": "", "last_item": 10**9, "reason": "r"}
    assert client.post(reverse("queue-confirm", args=[queue.pk]), order).status_code == 403
    assert Message.objects.get().state == MessageState.SUBMITTED


@pytest.mark.rule("QA-10", "QO-3", "QO-1", "QO-12")
def test_what_is_confirmed_is_what_is_removed(desk, site):
    queue = submission_queue(site)
    for number in range(3):
        submitted(site, now=NOW, subject=f"Offer {number}")
    copy = queued(site, fax_queue(site), now=NOW, subject="Offer 1 too")
    client = desk(*ALL)
    url, text = reverse("queue-confirm", args=[queue.pk]), "Subject -like 'Offer 1*'"

    asked = client.get(url, {"verb": "remove", "f": text}).content.decode()
    assert "Remove 1 message silently" in asked and "Nobody is told" in asked and "Offer 1" in asked
    assert "Copies that wait in other queues stay." in asked and "Offer 1 too" not in asked
    late = submitted(site, now=NOW, subject="Offer 11")
    order = {"verb": "remove", "f": text, "last_item": bound(asked)}
    assert client.post(url, order | {"reason": ""}).status_code == 200 and not BulkJob.objects.exists()
    answer = client.post(url, order | {"reason": "flood"}, follow=True).content.decode()

    job = BulkJob.objects.get()
    assert (job.changed, job.state, job.reason, job.actor) == (1, JobState.DONE, "flood", "ann")
    assert "1 message was changed." in answer and "flood" in answer
    left = Message.objects.filter(state=MessageState.SUBMITTED).order_by("pk").values_list("subject", flat=True)
    assert list(left) == ["Offer 0", "Offer 2", "Offer 11"] and late.subject in left
    copy.refresh_from_db()
    assert copy.state == "ready"
    assert shown(page_of(client, queue)) == list(left)
    assert LogEntry.objects.get_for_object(job).filter(actor__username="ann").count() == 2


@pytest.mark.rule("QO-1", "QA-10")
def test_ticked_rows_and_one_recipient_are_meant_alone(desk, site):
    queue = submission_queue(site)
    first, second, third = (submitted(site, now=NOW, recipients=("a@x.test", "b@x.test")) for _number in range(3))
    client = desk(*ALL)
    url = reverse("queue-confirm", args=[queue.pk])

    asked = client.get(url, {"verb": "remove_ndr", "item": [first.pk, second.pk], "f": ""}).content.decode()
    assert "Remove 2 messages and send notices" in asked and "those that were ticked" in asked
    chosen = {"verb": "remove_ndr", "item": [first.pk, second.pk], "f": "", "last_item": bound(asked), "reason": "r"}
    client.post(url, chosen)
    one = {"verb": "remove", "item": third.pk, "f": "", "recipient": "a@x.test", "last_item": 10**9, "reason": "r"}
    client.post(url, one)

    states = {
        message.pk: sorted(message.recipients.values_list("state", flat=True)) for message in (first, second, third)
    }
    assert states[first.pk] == states[second.pk] == ["failing", "failing"]
    assert states[third.pk] == ["failed", "submitted"]


@pytest.mark.rule("QA-10", "QO-2")
def test_who_comes_too_late_is_told_why(desk, site):
    queue = submission_queue(site)
    message = submitted(site, now=NOW)
    client = desk(*ALL)
    url = reverse("queue-confirm", args=[queue.pk])
    last = bound(client.get(url, {"verb": "remove", "f": ""}).content.decode())
    Queue.objects.filter(pk=queue.pk).update(status=QueueStatus.READY)

    answer = client.post(url, {"verb": "remove", "f": "", "last_item": last, "reason": "r"}, follow=True)
    asked = client.get(url, {"verb": "remove", "f": ""}, follow=True)

    assert "routing was not suspended" in answer.content.decode()
    assert JobTarget.objects.get().outcome == "unchanged"
    assert asked.redirect_chain[0][0] == reverse("queue", args=[queue.pk]) and SUSPEND_FIRST in asked.content.decode()
    assert MessageRecipient.objects.get(message=message).state == RecipientState.SUBMITTED


@pytest.mark.rule("QA-10")
@pytest.mark.parametrize("verb", ["suspend", "resume", "redirect", "export", "export_remove", "resubmit"])
def test_other_verbs_have_no_page(desk, site, verb):
    queue = submission_queue(site)
    submitted(site, now=NOW)
    url = reverse("queue-confirm", args=[queue.pk])
    client = desk(*ALL)

    assert client.get(url, {"verb": verb}).status_code == 404
    order = {"verb": verb, "f": "", "last_item": 9, "reason": "r", "connector": "Fax"}
    assert client.post(url, order).status_code == 404
    assert not BulkJob.objects.exists()


def test_an_empty_page_says_what_it_is_for_and_the_list_leads_to_it(desk, site):
    queue = submission_queue(site)
    client = desk(*ALL)

    assert "Nothing waits to be routed" in page_of(client, queue)
    submitted(site, now=NOW)
    listed = client.get(reverse("queues")).content.decode()
    link = f'<a href="{reverse("queue", args=[queue.pk])}">1 message has not been routed yet.</a>'
    assert link in listed


@pytest.mark.rule("QO-1", "QO-3")
def test_a_large_removal_is_left_to_the_transport(desk, site):
    queue = submission_queue(site)
    fill(site.node, None, 300, now=NOW)
    client = desk(*ALL)
    order = {"verb": "remove", "f": "", "last_item": 10**9, "reason": "r"}

    answer = client.post(reverse("queue-confirm", args=[queue.pk]), order, follow=True).content.decode()

    assert (BulkJob.objects.get().state, BulkJob.objects.get().left) == (JobState.RUNNING, 300)
    assert 'hx-trigger="every 1s"' in answer and "node.test\\Submission" in answer


@pytest.mark.parametrize("language", ["en", "fr"])
def test_the_page_holds_its_query_budget(desk, site, language, django_assert_max_num_queries):
    queue = submission_queue(site)
    for _number in range(20):
        submitted(site, now=NOW)
    client = desk(*ALL)
    client.cookies["django_language"] = language
    client.get(reverse("queue", args=[queue.pk]))

    with django_assert_max_num_queries(45):
        page = page_of(client, queue)

    assert f'lang="{language}"' in page
    assert ("Supprimer sans avis" in page) is (language == "fr")


@pytest.mark.rule("QU-21", "QU-7")
async def test_what_the_filter_means_is_exported_with_every_property(async_client, site):
    def prepare():
        user = User.objects.create_user("ann")
        user.user_permissions.set(Permission.objects.filter(codename__in=ALL))
        queue = submission_queue(site)
        for subject in ("one", "two", "other"):
            submitted(site, now=NOW, subject=subject)
        queued(site, fax_queue(site), now=NOW, subject="two, routed")
        return user, queue.pk

    user, pk = await sync_to_async(prepare)()
    await async_client.aforce_login(user)

    answer = await async_client.get(f"/queues/{pk}/export.tsv", {"f": "Subject -ne 'one'"})
    text = b"".join([part async for part in answer]).decode()

    rows = list(csv.DictReader(io.StringIO(text, newline=""), dialect="excel-tab"))
    assert [row["Subject"] for row in rows] == ["two", "other"]
    assert {prop.name for prop in queue_properties.MESSAGE.values()} <= set(rows[0])
    assert (rows[0]["Queue"], rows[0]["Status"]) == ("node.test\\Submission", "Ready")
    assert rows[0]["Recipients"].startswith("{Address=IMCEAFAX-1@fcweb.test")
