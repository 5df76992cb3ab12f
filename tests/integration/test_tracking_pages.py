"""Tracking, Message and their exports as an administrator gets them."""

from __future__ import annotations

import csv
import io
import json
import uuid
from datetime import timedelta

import pytest
from auditlog.models import LogEntry
from django.contrib.auth.models import Permission
from django.utils import timezone

from tests.integration.test_search import add, extend
from tracking import exchange_log, retention
from tracking.models import EventRecipient, TrackedMessage, TrackingEvent

ONE = [("bob@y.test", "250 2.1.5 ok")]


def grant(user, *names):
    user.user_permissions.add(*Permission.objects.filter(codename__in=names))
    return type(user).objects.get(pk=user.pk)


@pytest.fixture
def desk(django_user_model, client):
    """Somebody who may look but not export, read content or see connectors."""
    user = django_user_model.objects.create_user("desk", password="x")
    grant(user, "view_trackingevent")
    client.force_login(user)
    return user


def text_of(response):
    return response.content.decode()


@pytest.mark.django_db
def test_the_tracking_page_lists_messages_once_and_events_all(desk, client):
    now = timezone.now()
    pk = add(subject="Devis", recipients=ONE, at=now)
    extend(pk, event="SEND", recipients=ONE, at=now, connector="Fax")

    messages = text_of(client.get("/tracking/"))
    events = text_of(client.get("/tracking/?list=event"))

    assert messages.count("<tr data-log") == 1
    assert events.count("<tr data-log") == 2
    assert "handed over" in messages


@pytest.mark.django_db
@pytest.mark.rule("MTS-2", "MTS-3", "MTS-4", "MTS-5", "MTS-6", "MTS-7", "MTS-10")
@pytest.mark.parametrize(
    ("asked", "hits"),
    [
        ("sender=anne@x.test", 1),
        ("sender=nobody@x.test", 0),
        ("recipient=@y.test", 1),
        ("subject=devis", 1),
        ("message_id=m1@x.test", 1),
        ("event=RECEIVE", 1),
        ("event=FAIL", 0),
        ("state=queued", 1),
        ("source=PICKUP", 1),
        ("connector=Fax", 0),
        ("status=2xx", 1),
        ("period=15m", 1),
        ("end=2020-01-01T10:00", 0),
        ("start=2020-01-01T10:00", 1),
        ("q=devis&sender=anne*", 1),
        ("q=-devis", 0),
    ],
)
def test_each_field_of_the_form_filters(desk, client, asked, hits):
    add(sender="anne@x.test", subject="Devis", recipients=ONE, at=timezone.now())

    assert text_of(client.get(f"/tracking/?{asked}")).count("<tr data-log") == hits


@pytest.mark.django_db
def test_each_part_of_the_query_is_a_chip_with_a_link_that_leaves_it_out(desk, client):
    page = client.get("/tracking/", {"q": 'from:a@b "two words" size:big', "event": "FAIL"})

    chips = page.context["asked"].chips
    assert [(chip.key, chip.value) for chip in chips] == [
        ("from", "a@b"),
        ("", "two words"),
        ("", "size:big"),
        ("event", "FAIL"),
    ]
    assert [bool(chip.wrong) for chip in chips] == [False, False, True, False]
    assert chips[0].remove_url == "?q=%22two+words%22+size%3Abig&event=FAIL"
    assert chips[3].remove_url == "?q=from%3Aa%40b+%22two+words%22+size%3Abig"
    assert "Not a size" in text_of(page)


@pytest.mark.django_db
@pytest.mark.rule("MTS-33")
def test_pages_of_fifty_lead_to_each_other_and_keep_the_query(desk, client):
    now = timezone.now()
    for number in range(60):
        add(subject=f"Devis {number:02}", at=now - timedelta(seconds=number))

    first = client.get("/tracking/?subject=devis")
    second = client.get(f"/tracking/{first.context['older_url']}")
    back = client.get(f"/tracking/{second.context['newer_url']}")

    assert text_of(first).count("<tr data-log") == 50
    assert text_of(second).count("<tr data-log") == 10
    assert "subject=devis" in first.context["older_url"]
    assert back.context["page"].rows == first.context["page"].rows


@pytest.mark.django_db
@pytest.mark.rule("MTX-7")
def test_a_question_older_than_what_is_kept_is_told_so(desk, client):
    add(subject="Devis", at=timezone.now())

    assert 'id="before-retention"' in text_of(client.get("/tracking/?end=2020-01-01T00:00"))
    assert 'id="before-retention"' not in text_of(client.get("/tracking/?period=15m"))


@pytest.mark.django_db
def test_a_bounded_search_says_how_far_it_looked(desk, client):
    assert 'id="bounded"' in text_of(client.get("/tracking/?subject=ab"))
    assert 'id="bounded"' not in text_of(client.get("/tracking/?subject=abc"))


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["-w " * 1300, "to:" + ",".join(["a"] * 1900), "status:" + ",".join(["5"] * 1900)])
def test_a_search_of_very_many_conditions_is_answered(desk, client, text):
    add(subject="Devis")

    assert "only the first 60 count" in text_of(client.get("/tracking/", {"q": text}))


@pytest.mark.django_db
def test_htmx_gets_the_results_alone(desk, client):
    answer = text_of(client.get("/tracking/", headers={"HX-Request": "true"}))

    assert answer.strip().startswith('<div id="results"')


@pytest.mark.django_db
@pytest.mark.parametrize("text", ['"', "%00", "%F0%9F%98%80", "since:", "%ED%A0%80", "from:" + "x" * 5000, "a" * 9000])
def test_no_query_makes_the_page_fail(desk, client, text):
    for name in ("q", "sender", "start", "older", "newer", "period", "list"):
        assert client.get(f"/tracking/?{name}={text}").status_code == 200


@pytest.mark.django_db
def test_pages_need_their_permission(client, django_user_model):
    pk = add(subject="Devis", at=timezone.now())
    paths = ["/tracking/", f"/message/{pk}/", "/live/", "/tracking/export.csv", f"/message/{pk}/delivery/"]
    for path in paths:
        assert client.get(path).status_code == 302, path
    client.force_login(django_user_model.objects.create_user("nobody"))
    for path in paths:
        assert client.get(path).status_code == 403, path


@pytest.mark.django_db
@pytest.mark.rule("MTP-5")
def test_looking_does_not_allow_exporting(desk, client):
    add(subject="Devis", at=timezone.now())

    assert client.get("/tracking/export.csv").status_code == 403
    assert "export-csv" not in text_of(client.get("/tracking/"))
    grant(desk, "export_trackingevent")
    assert "export-csv" in text_of(client.get("/tracking/"))


async def exported(async_client, path):
    response = await async_client.get(path)
    assert response.status_code == 200
    assert response.is_async
    return b"".join([part async for part in response]).decode()


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule(
    "MTC-8", "MTC-9", "MTC-11", "MTC-12", "MTC-14", "MTC-15", "MTC-16", "MTC-22", "MTC-24", "MTP-5", "MTA-1"
)
async def test_the_csv_is_exchanges_layout_and_read_by_any_reader(async_client, django_user_model):
    from asgiref.sync import sync_to_async

    def prepare():
        user = django_user_model.objects.create_user("exporter")
        grant(user, "view_trackingevent", "export_trackingevent")
        pk = add(
            subject='Quote "A", line\r\ntwo; é',
            recipients=[("a@y.test", "550 5.1.1 R.NF; not found"), ("b@y.test", "")],
            at=timezone.now(),
        )
        TrackingEvent.objects.filter(message=pk).update(source="REPLAY")
        return user

    await async_client.aforce_login(await sync_to_async(prepare)())
    text = await exported(async_client, "/tracking/export.csv?subject=quote")

    lines = text.split("\r\n")
    assert lines[0] == "#Software: Microsoft Exchange Server"
    assert lines[4] == f"#Fields: {','.join(exchange_log.LAYOUT_C)}"
    assert len(exchange_log.LAYOUT_C) == 27
    (row,) = csv.DictReader(io.StringIO("\r\n".join(lines[5:])), fieldnames=exchange_log.LAYOUT_C)
    assert row["message-subject"] == 'Quote "A", line  two; é'
    assert row["source"] == "ADMIN"
    assert row["recipient-address"] == "a@y.test;b@y.test"
    assert row["recipient-status"] == "550 5.1.1 R.NF: not found;"
    assert row["recipient-count"] == "2"
    assert row["date-time"].endswith("Z")
    assert row["custom-data"].startswith("S:fc.logid=")
    assert '"Quote ""A"", line  two; é"' in text
    entry = await LogEntry.objects.alatest("pk")
    assert entry.changes_dict["export"] == ["", "subject=quote"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("MTS-37", "MTS-21")
async def test_json_lines_hold_every_event_of_the_query_in_batches(async_client, django_user_model):
    from asgiref.sync import sync_to_async

    def prepare():
        user = django_user_model.objects.create_user("exporter")
        grant(user, "view_trackingevent", "export_trackingevent")
        for number in range(603):
            add(subject=f"ab {number}", at=timezone.now() - timedelta(days=3))
        return user

    await async_client.aforce_login(await sync_to_async(prepare)())
    text = await exported(async_client, "/tracking/export.jsonl?subject=ab")

    told = [json.loads(line) for line in text.splitlines()]
    assert len({row["log-id"] for row in told}) == 603
    assert list(told[0]) == [*exchange_log.LAYOUT_C, "transport-traffic-type", "log-id", "schema-version"]


@pytest.mark.rule("MTC-17")
def test_a_row_longer_than_512_kb_is_split_by_recipients():
    from tests.unit.test_query import row

    many = tuple((f"recipient-{number:06}@a-rather-long-domain.test", "550 5.1.1 no") for number in range(20_000))
    lines = list(exchange_log.lines(row(recipients=many, log_id=str(uuid.uuid4()))))

    told = [line.strip().split(",") for line in lines]
    assert len(lines) > 1
    assert all(len(line) <= 512 * 1024 for line in lines)
    assert ";".join(fields[12] for fields in told).split(";") == [address for address, _status in many]
    assert len({fields[26] for fields in told}) == len(lines)


# ---- message page ----


@pytest.mark.django_db
@pytest.mark.rule("MTS-34", "MTT-5")
def test_the_message_page_tells_the_story_and_leads_to_the_notice_and_back(desk, client):
    now = timezone.now() - timedelta(minutes=5)
    pk = add(sender="anne@x.test", subject="Devis", recipients=[("IMCEAFAX-5551234@x.test", "To")], at=now)
    notice = add(sender="postmaster@x.test", subject="Undeliverable: Devis", at=now, event="DSN", recipients=ONE)
    original_id, notice_id = (TrackedMessage.objects.get(pk=key).message_id for key in (pk, notice))
    TrackingEvent.objects.filter(message=notice).update(reference=original_id)
    extend(pk, event="FAIL", recipients=[("IMCEAFAX-5551234@x.test", "550 5.1.2 no")], at=now + timedelta(seconds=1))
    TrackingEvent.objects.filter(event="FAIL").update(reference=notice_id)

    page = text_of(client.get(f"/message/{pk}/"))
    other = text_of(client.get(f"/message/{notice}/"))

    assert "Taken from Pickup as f.eml, for FAX:5551234." in page
    assert "+1,000 ms" in page
    assert f'href="/message/{notice}/"' in page
    assert f'href="/message/{pk}/"' in other
    assert "network-message-id" in page
    assert "FAX:5551234" in page


@pytest.mark.django_db
def test_a_postponed_message_says_when_it_is_tried_next(desk, client):
    now = timezone.now()
    pk = add(subject="Devis", recipients=ONE, at=now)
    extend(pk, event="DEFER", recipients=[("bob@y.test", "451 4.4.0 wait")], at=now)
    TrackingEvent.objects.filter(event="DEFER").update(message_info=(now + timedelta(minutes=5)).isoformat())

    assert "Next attempt" in text_of(client.get(f"/message/{pk}/"))
    TrackingEvent.objects.filter(event="DEFER").update(message_info="0001-01-01T00:00:00.000Z")
    assert "Next attempt" not in text_of(client.get(f"/message/{pk}/"))


@pytest.mark.django_db(transaction=True)
def test_the_parts_of_the_transport_follow_the_permissions(desk, client, site, pickup, transport):
    site.drop.rename(site.drop.with_name("away"))
    pickup("a.eml", b"From: alice@fcweb.test\r\nTo: IMCEAFAX-5551234@fcweb.test\r\nSubject: Offer\r\n\r\nSecret\r\n")
    transport()
    tracked = TrackedMessage.objects.get()
    path = f"/message/{tracked.pk}"

    htmx = {"HX-Request": "true"}
    bare = text_of(client.get(f"{path}/delivery/", headers=htmx))
    assert "Waits in queue" not in bare and "routed" not in bare and "content" not in bare
    assert client.get(f"{path}/content/").status_code == 403

    grant(desk, "view_queue", "view_connector", "view_content")
    part = text_of(client.get(f"{path}/delivery/", headers=htmx))
    assert "Waits in queue Fax; the next attempt is" in part
    assert "How it is routed now" in part
    assert "<html" not in part
    before = LogEntry.objects.count()
    content = text_of(client.get(f"{path}/content/"))
    assert "Subject: Offer" in content and "Secret" in content and "X-Sender" not in content
    assert LogEntry.objects.count() == before + 1
    assert LogEntry.objects.latest("pk").action == LogEntry.Action.ACCESS


@pytest.mark.django_db
def test_a_page_of_fifty_rows_costs_few_queries(desk, client, django_assert_max_num_queries):
    for number in range(60):
        add(subject=f"Devis {number}", recipients=ONE, at=timezone.now())

    with django_assert_max_num_queries(16):
        client.get("/tracking/?subject=devis")


# ---- retention ----


@pytest.mark.django_db
@pytest.mark.rule("MTP-2", "MTC-6")
def test_old_messages_are_forgotten_whole_and_those_on_their_way_are_kept():
    now = timezone.now()
    old = now - timedelta(days=40)
    done = add(subject="done", recipients=ONE, at=old)
    extend(done, event="SEND", recipients=ONE, at=old)
    waiting = add(subject="waiting", recipients=ONE, at=old)
    late = add(subject="late", recipients=ONE, at=old)
    extend(late, event="SEND", recipients=ONE, at=now)

    result = retention.prune(before=now - timedelta(days=30))

    assert (result.messages, result.events, result.kept_open) == (1, 2, 1)
    assert set(TrackedMessage.objects.values_list("pk", flat=True)) == {waiting, late}
    assert TrackingEvent.objects.count() == 3
    assert EventRecipient.objects.count() == 3


@pytest.mark.django_db
@pytest.mark.rule("MTP-2", "MTP-3")
def test_the_store_is_pruned_to_a_number_oldest_first(monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 2)
    now = timezone.now()
    for number in range(10):
        pk = add(subject=str(number), recipients=ONE, at=now - timedelta(hours=number))
        extend(pk, event="SEND", recipients=ONE, at=now - timedelta(hours=number))

    retention.prune_to_size(most_events=6)

    assert sorted(TrackedMessage.objects.values_list("subject", flat=True)) == ["0", "1", "2"]
