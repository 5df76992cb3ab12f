"""The Safety Net: delivered messages found by connector, time or number, and delivered again from browser and command."""

from datetime import timedelta
from pathlib import Path

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone

from connectors.choices import JobState, Verb
from connectors.models import BulkJob, JobTarget, Message, QueueItem
from connectors.reads import safety_net as reads
from connectors.transport.safety_net import Wanted
from tracking.models import TrackingEvent

FAX = b"From: alice@fcweb.test\r\nTo: IMCEAFAX-5551234@fcweb.test\r\nSubject: %s\r\n\r\nBody\r\n"

pytestmark = pytest.mark.django_db(transaction=True)


def user(name, *permissions):
    person = User.objects.create_user(name)
    person.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return person


@pytest.fixture
def delivered(site, pickup, transport):
    """Three faxes, delivered an hour ago, half an hour ago and now."""
    for name in ("One", "Two", "Three"):
        pickup(f"{name}.eml", FAX % name.encode())
    transport()
    now = timezone.now()
    for item, minutes in zip(QueueItem.objects.order_by("pk"), (60, 30, 0), strict=True):
        QueueItem.objects.filter(pk=item.pk).update(delivered_at=now - timedelta(minutes=minutes))
    return now


@pytest.fixture
def operator(client):
    client.force_login(user("otto", "view_queue", "change_queue"))
    return client


def subjects(response):
    return [item.message.subject for item in response.context["page"].items]


def local(moment):
    return timezone.localtime(moment).strftime("%Y-%m-%dT%H:%M:%S")


@pytest.mark.rule("QR-18", "QX-3")
def test_kept_messages_are_found_by_connector_time_and_message(delivered, operator):
    page = reverse("safety-net")
    number = Message.objects.get(subject="Two").pk

    assert subjects(operator.get(page)) == ["Three", "Two", "One"]
    assert subjects(operator.get(page, {"connector": "Fax"})) == ["Three", "Two", "One"]
    span = {"start": local(delivered - timedelta(minutes=40)), "end": local(delivered - timedelta(minutes=20))}
    assert subjects(operator.get(page, span)) == ["Two"]
    assert subjects(operator.get(page, {"message": str(number)})) == ["Two"]
    assert (
        "The end lies before the beginning."
        in operator.get(page, {"start": span["end"], "end": span["start"]}).content.decode()
    )


@pytest.mark.rule("QR-18")
def test_pages_meet(delivered, site, monkeypatch):
    monkeypatch.setattr(reads, "PAGE", 2)

    first = reads.page(site.node, Wanted())
    second = reads.page(site.node, Wanted(), before=first.before)

    assert [item.message.subject for item in (*first.items, *second.items)] == ["Three", "Two", "One"]
    assert second.before == ""
    assert reads.page(site.node, Wanted(), before="nonsense").items[0].message.subject == "Three"


@pytest.mark.rule("QR-18", "QO-1", "QO-3", "QO-12", "DSN-12")
def test_what_was_shown_is_delivered_again_with_a_reason(delivered, operator, transport, site):
    url = reverse("deliver-again")
    asked = {"connector": "Fax", "end": local(delivered - timedelta(minutes=20))}
    before = set(Path(site.drop).glob("*.eml"))
    question = operator.get(url, asked)
    assert "Deliver 2 messages again" in question.content.decode()
    snapshot = question.context["form"].initial["snapshot"]

    assert operator.post(url, asked | {"snapshot": snapshot, "reason": ""}).status_code == 200
    assert not BulkJob.objects.exists()
    response = operator.post(url, asked | {"snapshot": snapshot, "reason": "gateway lost its disk"})
    transport()

    job = BulkJob.objects.get()
    assert response["Location"] == reverse("operation", args=[job.pk])
    assert (job.verb, job.state, job.total, job.changed) == (Verb.DELIVER_AGAIN, JobState.DONE, 2, 2)
    assert len(set(Path(site.drop).glob("*.eml")) - before) == 2
    again = TrackingEvent.objects.filter(event="RESUBMIT", source="SAFETYNET").order_by("pk")
    assert [(e.message.subject, e.custom_data) for e in again] == [
        ("One", "S:fc.actor=otto"),
        ("Two", "S:fc.actor=otto"),
    ]
    assert JobTarget.objects.filter(job=job, before="delivered", after="submitted").count() == 2
    entry = LogEntry.objects.filter(object_pk=str(job.pk), content_type__model="bulkjob").earliest("pk")
    assert entry.actor.username == "otto"
    assert entry.additional_data["reason"] == "gateway lost its disk"
    assert entry.additional_data["connector"] == "Fax"


@pytest.mark.rule("QO-3")
def test_what_is_delivered_after_the_question_is_not_meant(delivered, operator, transport):
    url = reverse("deliver-again")
    snapshot = operator.get(url, {"connector": "Fax"}).context["form"].initial["snapshot"]
    QueueItem.objects.filter(message__subject="Three").update(delivered_at=timezone.now() + timedelta(minutes=1))

    operator.post(url, {"connector": "Fax", "snapshot": snapshot, "reason": "x"})

    assert BulkJob.objects.get().changed == 2


@pytest.mark.rule("QR-18")
def test_everything_at_once_is_refused_and_so_is_looking_alone(delivered, operator, client):
    assert operator.get(reverse("deliver-again"))["Location"] == reverse("safety-net")
    assert operator.post(reverse("deliver-again"), {"reason": "x"})["Location"] == reverse("safety-net")
    client.force_login(user("vera", "view_queue"))
    assert client.get(reverse("safety-net")).status_code == 200
    assert "deliver-again" not in client.get(reverse("safety-net"), {"connector": "Fax"}).content.decode()
    assert client.get(reverse("deliver-again"), {"connector": "Fax"}).status_code == 403
    assert client.post(reverse("deliver-again"), {"connector": "Fax", "reason": "x"}).status_code == 403
    client.force_login(user("nobody"))
    assert client.get(reverse("safety-net")).status_code == 403
    assert not BulkJob.objects.exists()


@pytest.mark.rule("QO-12")
def test_the_command_is_audited_too(delivered):
    call_command("safetynet", "resubmit", connector="Fax", reason="drill")

    job = BulkJob.objects.get()
    assert (job.changed, job.reason) == (3, "drill")
    assert LogEntry.objects.filter(object_pk=str(job.pk), content_type__model="bulkjob").count() == 2


@pytest.mark.rule("QR-18", "QX-3")
def test_the_message_page_offers_it_while_content_is_kept(delivered, operator, client):
    person = user("max", "view_queue", "change_queue", "view_trackingevent")
    client.force_login(person)
    message = Message.objects.get(subject="One")
    page = reverse("message-delivery", args=[message.tracked_id])
    link = f"{reverse('deliver-again')}?message={message.pk}"

    assert link in client.get(page).content.decode()
    QueueItem.objects.filter(message=message).update(state="removed")
    assert link not in client.get(page).content.decode()


def test_who_is_not_named_is_counted(pickup, transport, operator):
    crowd = b", ".join(b"IMCEAFAX-%d@fcweb.test" % number for number in range(9))
    pickup("crowd.eml", b"From: alice@fcweb.test\r\nTo: " + crowd + b"\r\nSubject: Crowd\r\n\r\nBody\r\n")
    transport()

    assert "and 6 more" in operator.get(reverse("safety-net")).content.decode()
    again = operator.get(reverse("deliver-again"), {"connector": "Fax"}).content.decode()
    assert "FAX:0, FAX:1 and 7 more" in again
    operator.cookies["django_language"] = "fr"
    again = operator.get(reverse("deliver-again"), {"connector": "Fax"}).content.decode()
    assert ">Motif</label>" in again  # a person's, as in every confirmation


def test_a_number_that_no_message_can_have_finds_nothing(delivered, operator):
    answer = operator.get(reverse("safety-net"), {"message": "9" * 30})

    assert answer.status_code == 200 and subjects(answer) == []
