"""Operations of people as jobs: the audit log, the snapshot, cancelling, and one that cannot go on (QO-1 to QO-3, QO-12)."""

import pytest
from auditlog.models import LogEntry
from django.utils import timezone

from connectors.choices import ItemState, JobState, Verb
from connectors.conf import transport_config
from connectors.models import BulkJob
from connectors.transport import jobs
from connectors.transport.jobs import Order
from tests.integration.test_operations import run, state_of
from tests.queue_fixtures import fax_queue, queued

pytestmark = pytest.mark.django_db(transaction=True)
NOW = timezone.now()


@pytest.mark.rule("QO-1", "QO-12")
def test_an_operation_is_audited_with_filter_reason_and_counts(site):
    queue = fax_queue(site)
    for number in range(3):
        queued(site, queue, now=NOW, subject=f"Offer {number}")

    job = run(site, Verb.SUSPEND, filter_text="Subject -like '*2'")

    first, last = LogEntry.objects.get_for_object(job).order_by("pk")
    assert last.additional_data | {"filter": "Subject -like '*2'", "reason": "test", "actor": "ann", "changed": 1} == (
        last.additional_data
    )
    assert (first.additional_data["total"], last.changes_dict["status"]) == (1, ["running", "done"])


@pytest.mark.rule("QO-3")
def test_what_comes_after_the_snapshot_is_not_touched_and_a_cancelled_job_stops(site):
    queue = fax_queue(site)
    early = queued(site, queue, now=NOW)
    job = jobs.start(site.node, Order(verb=Verb.SUSPEND, actor="ann"), now=NOW)
    late = queued(site, queue, now=NOW)
    jobs.run_to_end(job, config=transport_config(), now=NOW)
    assert (state_of(early)[0], state_of(late)[0]) == (ItemState.SUSPENDED, ItemState.READY)

    other = jobs.start(site.node, Order(verb=Verb.SUSPEND, actor="ann"), now=NOW)
    assert jobs.cancel(other, user=None, actor="bob", now=NOW)
    jobs.run_to_end(other, config=transport_config(), now=NOW)

    assert state_of(late)[0] == ItemState.READY
    other = BulkJob.objects.get(pk=other.pk)
    assert (other.state, other.total, other.left) == (JobState.CANCELLED, 2, 2)
    assert not jobs.cancel(other, user=None, actor="bob", now=NOW)


@pytest.mark.rule("QO-1")
def test_an_operation_that_cannot_go_on_does_not_hold_up_the_next(site):
    item = queued(site, fax_queue(site), now=NOW)
    broken = jobs.start(site.node, Order(verb=Verb.SUSPEND, actor="ann", queue=item.queue), now=NOW)
    BulkJob.objects.update(filter_text="Vanished -eq 1")
    jobs.start(site.node, Order(verb=Verb.SUSPEND, actor="bob", queue=item.queue), now=NOW)

    jobs.run_once(site.node, config=transport_config(), now=NOW)

    assert [job.state for job in BulkJob.objects.order_by("pk")] == [JobState.RUNNING, JobState.DONE]
    assert state_of(item) == (ItemState.SUSPENDED, "")
    assert jobs.cancel(broken, user=None, actor="ann", now=NOW)
