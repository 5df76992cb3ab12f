"""The overview: how long messages take, and why the last ones failed, in the reader's words."""

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils import timezone, translation

from connectors import event_log
from connectors.event_log import Event
from connectors.models import QueueItem
from connectors.reads import latency, overview, queues

FAX = b"From: alice@fcweb.test\nTo: IMCEAFAX-5551234@fcweb.test\nSubject: Fax\n\nBody\n"
TELEX = b"From: alice@fcweb.test\nTo: IMCEATELEX-4041@fcweb.test\nSubject: Telex\n\nBody\n"
NOBODY = b"To: IMCEAFAX-5551234@fcweb.test\nSubject: Nobody\n\nBody\n"

pytestmark = pytest.mark.django_db(transaction=True)


def test_latency_counts_the_time_from_acceptance_to_the_file(pickup, transport):
    for number in range(20):
        pickup(f"{number}.eml", FAX)
    transport()
    now = timezone.now()
    for seconds, item in enumerate(QueueItem.objects.select_related("message").order_by("pk"), 1):
        item.delivered_at = item.message.received_at + timedelta(seconds=seconds)
        item.save()
    (fax,) = [
        entry for entry in latency.latencies(queues.summaries(), now + timedelta(minutes=1)) if entry.name == "Fax"
    ]
    assert (fax.count, fax.median, fax.high, fax.slowest) == (
        20,
        timedelta(seconds=11),
        timedelta(seconds=20),
        timedelta(seconds=20),
    )


def test_a_queue_that_delivered_nothing_today_has_no_latency(pickup, transport):
    pickup("a.eml", FAX)
    transport()
    tomorrow = timezone.now() + timedelta(hours=25)
    assert latency.latencies(queues.summaries(), tomorrow) == []


@pytest.mark.parametrize(
    ("language", "sentence"),
    [("en", "No gateway serves this kind of address."), ("fr", "Aucune passerelle ne dessert ce genre d’adresse.")],
)
def test_a_failure_says_why_in_words_beside_the_protocol_text(pickup, transport, language, sentence):
    pickup("a.eml", TELEX)
    transport()
    with translation.override(language):
        (failure,) = overview.last_failures()
    assert failure.why.startswith(sentence)
    assert failure.status.startswith("550 5.1.2 ")


def test_a_bad_file_says_why_in_words(pickup, transport):
    pickup("a.eml", NOBODY)
    transport()
    (failure,) = overview.last_failures()
    assert failure.why.startswith("The message names no sender")
    assert failure.status.endswith("NO_SENDER")


def test_the_page_shows_both(pickup, transport, client):
    pickup("a.eml", FAX)
    pickup("b.eml", TELEX)
    transport()
    client.force_login(get_user_model().objects.get(username="admin"))
    text = client.get("/").content.decode()
    assert "Time from file to file" in text
    assert "No gateway serves this kind of address." in text


def test_a_fresh_install_shows_the_first_steps_instead_of_empty_figures(site, client):
    client.force_login(get_user_model().objects.get(username="admin"))
    text = client.get("/").content.decode()
    assert "Ready for the first message." in text
    assert "mv " in text
    assert "throughput" not in text.partition("<main")[2].partition("</main>")[0]


@pytest.mark.parametrize(
    ("permission", "told"),
    [
        ("", {"disk"}),
        ("view_trackingevent", {"disk", "ledger"}),
        ("view_queue", {"disk", "poison"}),
        ("view_sourcefile", {"disk", "intake"}),
        ("view_connector", {"disk", "drop", "uncollected"}),
    ],
)
def test_a_condition_is_told_to_those_who_may_open_what_it_is_about(site, desk, permission, told):
    conditions = {
        "disk": Event.DISK_SPACE,
        "ledger": Event.LEDGER,
        "poison": Event.POISON_MESSAGE,
        "intake": Event.DIRECTORY_ACCESS,
        "drop": Event.NO_DROP_DIRECTORY,
        "uncollected": Event.NOT_COLLECTED,
        "bad": Event.BADMAIL,  # the number of bad files says it
    }
    for word, code in conditions.items():
        event_log.raise_event(code, "/srv/secret", f"detail-{word}", now=timezone.now())
    client = desk(*filter(None, [permission]))

    for url in (reverse("overview"), reverse("needs")):
        page = client.get(url).content.decode()
        assert {word for word in conditions if f"detail-{word}" in page} == told, url


def test_who_may_see_nothing_is_not_told_that_all_is_well(site, desk, pickup, transport):
    pickup("a.eml", FAX)
    transport()
    client = desk()

    for url in (reverse("overview"), reverse("needs")):
        page = client.get(url).content.decode()
        assert "Your account may not see queues" in page
        assert "All is well" not in page and "recipients served" not in page and "Nothing waits" not in page
        assert 'class="figures"' not in page


def test_who_may_see_events_alone_is_told_what_moved_and_nothing_of_queues(site, desk, pickup, transport):
    pickup("a.eml", FAX)
    transport()

    page = desk("view_trackingevent").get(reverse("overview")).content.decode()

    assert "1 recipient served in 24 hours." in page and "All is well" not in page
