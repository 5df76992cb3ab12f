"""The rows a filter means: SQL and Python agree, and an operation acts on exactly what was listed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors import queue_filter, queue_rows
from connectors.choices import ItemState, QueueStatus, Verb
from connectors.conf import transport_config
from connectors.models import JobTarget, QueueItem
from connectors.queue_properties import MESSAGE
from connectors.transport import jobs
from connectors.transport.jobs import Order
from tests.message_filters import filters
from tests.queue_fixtures import fax_queue, queued

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SUBJECTS = ["Offer", "OFFER 2", "", "a*b", "Devis n° é", "DEVIS N° É", "100 %_\\ x", "aa", "aaa"]
SENDERS = ["alice@fcweb.test", "Bob@Contoso.com", "", "x.y@sub.contoso.com"]
PATTERNS = [
    "*",
    "offer*",
    "*2",
    "a*b",
    "*a*a*",
    "aa*aa",
    "*é",
    "%",
    "_*",
    "*\\*",
    "",
    "bob@contoso.COM",
    "*@*contoso.com",
    "452*",
    "*transient failure*",
    "none",
    "Marked As Retry Delivery If Rejected",
]


@pytest.fixture
def filled(site):
    """Rows of every state, in a queue in Retry and in one that is not."""
    busy = fax_queue(site, status=QueueStatus.RETRY, retry_count=2, last_error="452 4.3.1 Drop directory quota reached")
    calm = fax_queue(site)
    calm.pk, calm.next_hop_domain = None, "calm.test"
    calm.retry_count, calm.last_error = 0, ""
    calm.save()
    reasons = ["MailboxFull", "ContentUnreadable", "Later"]
    states = [
        ItemState.READY,
        ItemState.SUSPENDED,
        ItemState.STAGING,
        ItemState.DELIVERED,
        ItemState.REMOVED,
        ItemState.DEFERRED,
        ItemState.DEFERRED,
    ]
    for number in range(36):
        item = queued(
            site,
            (busy, calm)[number % 2],
            now=NOW + timedelta(minutes=number),
            subject=SUBJECTS[number % len(SUBJECTS)],
            mail_from=SENDERS[number % len(SENDERS)],
            recipients=(f"IMCEAFAX-{number}@fcweb.test", "b@sms.test")[: 1 + number % 2],
            state=states[number % len(states)],
            size=number * 100_000,
            priority=number % 3,
        )
        if number % 7 == 0:
            QueueItem.objects.filter(pk=item.pk).update(pending="remove", deferred_reason="DropQuota")
        elif number % 3:
            own = {"attempts": number % 3, "last_error": "452 4.2.2 a*b", "deferred_reason": reasons[number % 3]}
            QueueItem.objects.filter(pk=item.pk).update(**own)
    return site


LISTS = [*PATTERNS, "*fax-1*", "node.test\\calm.test", "b@sms.test"]
FILTERS = filters(texts=PATTERNS, lists=LISTS, without=("SCL",))


@pytest.mark.rule("QU-18", "QU-19")
@settings(max_examples=150)
@given(text=FILTERS)
def test_the_database_and_python_find_the_same_rows(filled, text):
    wanted = queue_filter.parse(text, MESSAGE)

    listed = set(queue_rows.listed(wanted).values_list("pk", flat=True))

    everything = queue_rows.with_facts(queue_rows.listed(queue_filter.Filter()))
    assert listed == {item.pk for item in everything if queue_filter.matches(wanted, queue_rows.values_of(item))}


@pytest.mark.rule("QO-1", "QO-3")
@settings(max_examples=25)
@given(text=FILTERS, verb=st.sampled_from([Verb.SUSPEND, Verb.RESUME]))
def test_the_set_acted_on_is_the_set_listed(filled, text, verb):
    listed = set(queue_rows.listed(queue_filter.parse(text, MESSAGE)).values_list("pk", flat=True))

    job = jobs.start(filled.node, Order(verb=verb, actor="ann", filter_text=text), now=NOW)
    job = jobs.run_to_end(job, config=transport_config(), now=NOW)

    assert set(JobTarget.objects.filter(job=job).values_list("item", flat=True)) == listed
    assert (job.total, job.left, job.changed + job.unchanged) == (len(listed), 0, len(listed))


@pytest.mark.rule("QU-21")
@pytest.mark.parametrize(
    ("order", "key"),
    [
        ([("Identity", True)], lambda row: -int(row["Identity"].rpartition("\\")[2])),
        ([("Size", True)], lambda row: -row["Size"]),
        ([("Subject", False), ("Size", True)], lambda row: (row["Subject"], -row["Size"])),
        ([("Status", False)], lambda row: row["Status"]),
    ],
)
def test_rows_are_sorted_with_identity_last(filled, order, key):
    rows = list(queue_rows.with_facts(queue_rows.ordered(queue_rows.listed(queue_filter.Filter()), order)))

    shown = [(key(queue_rows.properties(item)), item.message_id) for item in rows]
    assert shown == sorted(shown)
