"""Search against the database: it finds exactly what the live filter accepts, page by page, by the cheap plan."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection, transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from tracking import record, search, text_index
from tracking.models import TrackedMessage, TrackingEvent
from tracking.query import SearchQuery, matches, parse
from tracking.rows import rows_of
from tracking.search import Listing

NOW = datetime(2026, 3, 5, 12, 0, tzinfo=UTC)
ADDRESSES = ["Anne@x.test", "bob@y.test", "IMCEAFAX-555@x.test", "straße@x.test", "STRASSE@X.test", "a_b%c@y.test", "x"]
SUBJECTS = ["", "Straße 12", "Devis Été 12", "devis ete", "100% \\ off_", '"quoted" it\'s', "DEVIS", "ab", "ﬁn"]
STATUSES = ["", "To", "550 5.1.2 no", "452 4.3.1 full", "250 2.1.5 ok", "5"]


def add(sender="a@x.test", subject="", recipients=(), event="RECEIVE", at=NOW, size=1, connector="", context="f.eml"):
    """Write one message with one event, through the real writer."""
    number = TrackedMessage.objects.count() + 1
    (pk,) = record.open_messages(
        [
            record.NewMessage(
                internal_message_id=number,
                network_message_id=uuid.UUID(int=number),
                message_id=f"<m{number}@x.test>",
                sender=sender,
                return_path="rp@x.test",
                subject=subject,
                size=size,
                directionality="Originating",
                source="PICKUP",
                recipients=max(1, len(recipients)),
                at=at,
            )
        ]
    )
    extend(pk, event=event, recipients=recipients, at=at, connector=connector, context=context)
    return pk


def extend(pk, *, event, recipients, at, connector="", context=""):
    new = record.NewEvent(
        tracked=pk,
        at=at,
        event=event,
        source="GATEWAY" if connector else "PICKUP",
        recipients=recipients,
        connector_id=connector,
        source_context=context,
    )
    record.save([new])


MESSAGES = st.fixed_dictionaries(
    {
        "sender": st.sampled_from(["", *ADDRESSES]),
        "subject": st.sampled_from(SUBJECTS),
        "recipients": st.lists(st.tuples(st.sampled_from(ADDRESSES), st.sampled_from(STATUSES)), max_size=2),
        "event": st.sampled_from(["RECEIVE", "SEND", "FAIL", "DEFER"]),
        "at": st.integers(0, 180).map(lambda minutes: NOW - timedelta(minutes=minutes)),
        "size": st.sampled_from([0, 1024, 1025, 5_000_000]),
        "connector": st.sampled_from(["", "Fax", "fax", "Fax West"]),
        "context": st.sampled_from(["Order1.eml", "order1.EML"]),
    }
)
VALUES = [
    *ADDRESSES,
    *(s for s in SUBJECTS if s),
    "@x.test",
    "*@x.test",
    "a*",
    "*555*",
    "*b%*",
    "ss",
    "ß",
    "é",
    "12",
    "de",
]
FIXED = (
    "event:fail event:SEND,defer -event:RECEIVE source:pickup -source:gateway id:m1@x.test id:<m2@x.test> id:m* "
    "id:1 -id:2 id:00000000-0000-0000-0000-000000000001 connector:FAX connector:fax* status:5 status:5.1 -status:4 "
    "status:250,4.3.1 state:queued -state:failed size:>1KB size:<=1KB -size:1KB..2KB since:1h before:2026-03-05T11:30Z "
    "on:2026-03-05 until:2026-03-04 file:Order size:huge"
).split()
TOKENS = st.one_of(
    st.builds(
        '{}{}:"{}"'.format,
        st.sampled_from(["", "-"]),
        st.sampled_from(["from", "to", "subject", "subject", "connector"]),
        st.sampled_from([v.replace('"', "") for v in VALUES]),
    ),
    st.builds('{}"{}"'.format, st.sampled_from(["", "-"]), st.sampled_from([v.replace('"', "") for v in VALUES])),
    st.sampled_from(FIXED),
)


@pytest.mark.django_db
@pytest.mark.rule("MTL-1", "MTS-20", "MTS-30", "MTS-31")
@settings(max_examples=40)
@given(
    messages=st.lists(MESSAGES, min_size=4, max_size=10),
    asked=st.lists(st.lists(TOKENS, min_size=1, max_size=2).map(" ".join), min_size=15, max_size=15),
)
def test_search_finds_exactly_what_the_live_filter_accepts(db, messages, asked):
    """Every question is asked of every generated store: most random pairs would match nothing and prove nothing."""
    wrong = []
    with transaction.atomic():
        for message in messages:
            add(**message)
        rows = rows_of(list(TrackingEvent.objects.select_related("message")))
        for text in [*FIXED, *asked]:
            query = parse(text, now=NOW)
            expected = {row.pk for row in rows if matches(query, row)}
            exact = set(search.filtered(query).values_list("pk", flat=True))
            paged = {row.pk for row in search.page(query, now=NOW + timedelta(seconds=1)).rows}
            if not exact == paged == expected:
                wrong.append((text, expected, exact, paged))
        transaction.set_rollback(True)

    assert wrong == []


@pytest.mark.django_db
@pytest.mark.rule("MTS-33", "MTS-34")
@pytest.mark.parametrize("listing", list(Listing))
def test_pages_meet_in_both_directions_even_among_events_of_one_instant(listing):
    for number in range(23):
        pk = add(subject=f"s{number}", at=NOW + timedelta(seconds=number // 5))
        extend(pk, event="SEND", recipients=[], at=NOW + timedelta(seconds=number // 3))
    seen, older = [], ""
    pages = []
    while True:
        page = search.page(SearchQuery(), now=NOW, older_than=older, limit=5, listing=listing)
        pages.append(page)
        seen.extend(row.pk for row in page.rows)
        older = page.older
        if not older:
            break
    back = search.page(SearchQuery(), now=NOW, newer_than=pages[-1].newer, limit=5, listing=listing)

    assert len(seen) == len(set(seen)) == (46 if listing is Listing.EVENTS else 23)
    assert back.rows == pages[-2].rows
    assert pages[0].newer == ""


@pytest.mark.django_db
def test_a_message_is_listed_once_at_its_newest_matching_event():
    pk = add(subject="one", at=NOW)
    extend(pk, event="DEFER", recipients=[("b@x.test", "451 4.4.0 wait")], at=NOW + timedelta(minutes=1))
    extend(pk, event="SEND", recipients=[("b@x.test", "250 2.1.5 ok")], at=NOW + timedelta(minutes=2))

    everything = search.page(SearchQuery(), now=NOW, listing=Listing.MESSAGES).rows
    deferred = search.page(parse("event:DEFER", now=NOW), now=NOW, listing=Listing.MESSAGES).rows

    assert [row.event for row in everything] == ["SEND"]
    assert [row.event for row in deferred] == ["DEFER"]


@pytest.mark.django_db
def test_two_letters_are_looked_for_in_the_last_day_and_the_page_says_so():
    add(subject="ab old", at=NOW - timedelta(days=3))
    add(subject="ab new", at=NOW - timedelta(hours=1))

    page = search.page(parse("subject:ab", now=NOW), now=NOW)
    widened = search.page(parse("subject:ab since:7d", now=NOW), now=NOW)

    assert [row.subject for row in page.rows] == ["ab new"]
    assert (page.scan[0].value, page.scan_from) == ("ab", NOW - timedelta(hours=24))
    assert [row.subject for row in widened.rows] == ["ab new", "ab old"]


@pytest.mark.django_db
def test_a_subject_of_three_letters_is_found_at_any_age_by_the_text_index():
    assert text_index.is_ready()
    add(subject="Überweisung 4711", at=NOW - timedelta(days=20))

    page = search.page(parse("subject:BERWEIS", now=NOW), now=NOW)

    assert [row.subject for row in page.rows] == ["Überweisung 4711"]
    assert page.scan == ()


@pytest.mark.django_db
def test_without_the_text_index_subjects_are_still_found_and_the_lack_is_told():
    add(subject="Überweisung 4711", at=NOW - timedelta(hours=2))
    text_index.remove()

    page = search.page(parse("subject:berweis", now=NOW), now=NOW)

    assert [row.subject for row in page.rows] == ["Überweisung 4711"]
    assert page.lacks_index
    assert text_index.ensure()
    assert not search.page(parse("subject:berweis", now=NOW), now=NOW).lacks_index


@pytest.mark.django_db
def test_the_text_index_follows_changes_and_deletions():
    pk = add(subject="before")
    TrackedMessage.objects.filter(pk=pk).update(subject="after", subject_key="after")

    assert text_index.keys_containing(TrackedMessage, "after", limit=9) == [pk]
    assert text_index.keys_containing(TrackedMessage, "before", limit=9) == []
    TrackedMessage.objects.all().delete()
    assert text_index.keys_containing(TrackedMessage, "after", limit=9) == []


@pytest.mark.django_db
@pytest.mark.parametrize(
    "text",
    ["id:m1@x.test", "from:anne@x.test", "to:bob@y.test", "subject:devis", "from:an*", "to:@y.test", "devis", "id:1"],
)
def test_no_plan_walks_a_whole_table(text):
    if connection.vendor != "sqlite":
        pytest.skip("plans of small tables say nothing on PostgreSQL")
    for number in range(5):
        add(sender="anne@x.test", subject=f"devis {number}", recipients=[("bob@y.test", "To")])

    plan = search.planned(parse(text, now=NOW), now=NOW)
    explained = plan.events.order_by("-at", "-pk")[:51].explain()

    assert plan.scan == ()
    assert "SCAN tracking_" not in explained.replace("SCAN tracking_trackingevent USING INDEX event_time", "")
