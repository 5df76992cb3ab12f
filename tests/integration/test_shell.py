"""What holds for every page: the end of a session, parts and pages of one address, addresses that only act."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from django.urls import reverse
from django.utils import timezone

from connectors.models import ForeignConnector, QueueItem
from tests.integration.test_search import add
from tests.queue_fixtures import fax_queue, queued

pytestmark = pytest.mark.django_db(transaction=True)
HTMX = {"HX-Request": "true", "HX-Current-URL": "http://testserver/queues/?idle=1"}


@pytest.mark.parametrize(
    ("asked", "after"),
    [
        ("/queues/?by=Status", "/queues/?by=Status"),  # the part of the page itself
        ("/message/7/delivery/", "/queues/?idle=1"),  # a part of another address: back to the page
    ],
)
def test_a_part_asked_for_after_the_session_ended_takes_the_page_to_the_sign_in(site, client, asked, after):
    answer = client.get(asked, headers=HTMX)

    assert (answer.status_code, answer.content) == (401, b"")
    target = urlsplit(answer.headers["HX-Redirect"])
    assert target.path == reverse("login")
    assert parse_qs(target.query) == {"next": [after]}


def test_a_page_asked_for_after_the_session_ended_is_redirected_as_ever(site, client):
    answer = client.get("/queues/")

    assert answer.status_code == 302
    assert answer.url == "/login/?next=/queues/"


def test_who_signs_in_again_after_a_button_comes_to_its_page_and_nothing_was_done(site, client, desk):
    queue = fax_queue(site)
    asked = client.post(reverse("queue-operate", args=[queue.pk]), {"verb": "suspend"})
    assert asked.url == f"/login/?next=/queues/{queue.pk}/operate/"

    answer = desk("view_queue", "change_queue").get(parse_qs(urlsplit(asked.url).query)["next"][0], follow=True)

    assert answer.redirect_chain == [(f"/queues/{queue.pk}/", 302)]
    assert answer.status_code == 200
    queue.refresh_from_db()
    assert queue.status == "Ready"


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("queue-operate", "queue"),
        ("operation-cancel", "operation"),
        ("bad-file-resubmit", "bad-file"),
        ("bad-file-split", "bad-file"),
        ("bad-file-check", "bad-file-edit"),
        ("bad-file-resubmit-changed", "bad-file-edit"),
        ("drop-directory-test", "drop-directory"),
        ("drop-directory-create", "drop-directory"),
    ],
)
def test_an_address_that_only_acts_leads_to_its_page(site, admin_client, name, page):
    assert admin_client.get(reverse(name, args=[7])).url == reverse(page, args=[7])
    assert admin_client.get(reverse("submission-operate")).url == reverse("queues")


def test_a_part_is_never_kept_in_place_of_the_page_of_its_address(site, admin_client):
    item = queued(site, fax_queue(site), now=timezone.now(), with_file=True)
    tracked = item.message.tracked_id
    pages = ["/", "/needs-you/", "/tracking/", "/queues/", "/queues/messages/", f"/queues/{item.queue_id}/"]
    pages += [f"/message/{tracked}/", f"/message/{tracked}/delivery/", f"/message/{tracked}/content/"]
    for path in pages:
        whole, part = admin_client.get(path), admin_client.get(path, headers=HTMX)
        assert (whole.status_code, part.status_code) == (200, 200), path
        assert b"<html" in whole.content and b"<html" not in part.content, path
        for answer in (whole, part):
            assert "HX-Request" in answer.headers["Vary"], path


def test_a_form_of_an_ended_session_says_that_nothing_was_done(site, desk):
    queue = fax_queue(site)
    client = desk("view_queue", "change_queue")
    client.handler.enforce_csrf_checks = True

    answer = client.post(
        reverse("queue-operate", args=[queue.pk]), {"verb": "suspend"}, headers={"accept-language": "fr"}
    )

    assert answer.status_code == 403
    page = answer.content.decode()
    assert "Rien n’a été fait" in page and 'id="rail"' in page
    queue.refresh_from_db()
    assert queue.status == "Ready"


def test_an_address_the_server_does_not_answer_to_says_which_setting_names_them(site, client, settings):
    settings.ALLOWED_HOSTS = ["localhost"]

    answer = client.get("/login/", headers={"host": "mail.example.org"})

    assert answer.status_code == 400
    assert "FCWEB_ALLOWED_HOSTS" in answer.content.decode()


@pytest.mark.parametrize("last", ["abc", "9" * 30, ""])
def test_a_confirmation_whose_snapshot_is_no_number_asks_again(site, desk, last):
    item = queued(site, fax_queue(site), now=timezone.now(), with_file=True)
    client = desk("view_queue", "change_queue")
    url = reverse("queue-confirm", args=[item.queue_id])

    assert client.get(url, {"verb": "remove", "last_item": last}).status_code == 200
    assert client.post(url, {"verb": "remove", "last_item": last, "reason": "x"}).status_code == 200
    item.refresh_from_db()
    assert item.state == "ready"


def test_where_a_forgotten_message_waits_is_its_page(site, desk):
    tracked = add(subject="Old")
    client = desk("view_trackingevent", "view_queue")
    url = reverse("message-delivery", args=[tracked])

    assert client.get(url).url == reverse("message", args=[tracked])
    assert client.get(url, headers=HTMX).content.strip() == b""


def test_an_operation_on_a_row_that_left_meanwhile_says_so(site, desk):
    now = timezone.now()
    item = queued(site, fax_queue(site), now=now, with_file=True)
    client = desk("view_queue", "change_queue")
    url = reverse("queue-confirm", args=[item.queue_id])
    order = {"verb": "remove", "item": item.pk, "last_item": item.pk, "reason": "x"}
    assert "Remove 1 message silently" in client.get(url, order).content.decode()
    QueueItem.objects.filter(pk=item.pk).update(state="delivered", delivered_at=now)

    page = client.post(url, order, follow=True).content.decode()

    assert "Nothing was changed: all that was meant had left before." in page
    assert "Done." not in page


@pytest.mark.parametrize(
    ("name", "query", "status"),
    [("drop-directory", {}, 404), ("queue", {}, 404), ("message", {}, 404), ("notices", {"connector": "9" * 30}, 200)],
)
def test_a_number_no_row_can_have_is_no_error(site, desk, name, query, status):
    client = desk("view_connector", "view_queue", "view_trackingevent", "view_noticesettings")

    assert client.get(reverse(name, args=[] if query else [10**30]), query).status_code == status


def test_the_notices_page_keeps_the_connector_that_was_chosen(site, desk):
    chosen = ForeignConnector.objects.get()

    page = desk("view_noticesettings").get(reverse("notices"), {"connector": chosen.pk}).content.decode()

    assert f'<option value="{chosen.pk}" selected>Fax</option>' in page


def test_a_page_that_cannot_be_made_says_so_in_the_language_of_the_reader(site, desk, monkeypatch):
    client = desk("view_queue")
    client.raise_request_exception = False
    client.cookies["django_language"] = "fr"
    monkeypatch.setattr("connectors.reads.queues.summaries", lambda **_options: 1 / 0)

    answer = client.get("/queues/")

    assert answer.status_code == 500
    assert "<h1>Une erreur s’est produite</h1>" in answer.content.decode()
