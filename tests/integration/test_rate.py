"""How many files are claimed in a minute, in each directory, whatever becomes of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from connectors.choices import FileState
from connectors.models import Node, SourceFile
from connectors.transport import rate

pytestmark = pytest.mark.django_db(transaction=True)
FAX = b"From: alice@fcweb.test\r\nTo: IMCEAFAX-5551234@fcweb.test\r\n\r\n"
REPLAY = b"X-Sender: <gw@fax.test>\r\nX-Receiver: <IMCEAFAX-1@fcweb.test>\r\n\r\n"


def claim(node, count, at, *, source="PICKUP", state=FileState.QUEUED):
    rows = [
        SourceFile(
            node=node, source=source, directory="/d", name="n.eml", claimed_name="n.tmp", claimed_by="x", device=1,
            inode=1, size=1, modified_ns=1, owner_uid=0, state=state, claimed_at=at,
        )
        for _number in range(count)
    ]  # fmt: skip
    SourceFile.objects.bulk_create(rows)


def budget(node, per_minute, now, source="PICKUP"):
    with transaction.atomic():
        return rate.budget(node, source, per_minute, now=now)


@pytest.mark.rule("PU-2", "PU-3", "A-1")
@pytest.mark.parametrize(
    ("per_minute", "before", "allowed"),
    [
        (100, [], 9),  # a twelfth, rounded up
        (1, [], 1),
        (1, [(59, 1)], 0),
        (1, [(61, 1)], 1),
        (120, [(1, 4)], 6),
        (120, [(4, 10)], 0),
        (120, [(6, 10)], 10),
        (24, [(50, 23)], 1),
        (20000, [], 1667),
        (None, [(1, 5000)], None),
    ],
)
def test_no_more_than_n_in_any_minute_and_a_twelfth_a_poll(site, per_minute, before, allowed):
    now = timezone.now()
    for age, count in before:
        claim(site.node, count, now - timedelta(seconds=age))

    assert budget(site.node, per_minute, now) == allowed


@pytest.mark.rule("PU-3")
@pytest.mark.parametrize("state", [FileState.BAD, FileState.NOTICE, FileState.RELEASED, FileState.CLAIMED])
def test_a_claim_counts_whatever_its_outcome(site, state):
    now = timezone.now()
    claim(site.node, 10, now, state=state)

    assert budget(site.node, 120, now) == 0


@pytest.mark.rule("PU-2", "PU-3", "UP-21")
def test_each_directory_has_its_own_budget_also_beside_a_flood(site):
    now = timezone.now()
    claim(site.node, 20, now - timedelta(seconds=30), source="REPLAY")
    claim(site.node, 3000, now - timedelta(seconds=20))

    assert budget(site.node, 24, now, "REPLAY") == 2
    claim(site.node, 4, now - timedelta(seconds=10), source="REPLAY")
    assert budget(site.node, 24, now, "REPLAY") == 0


@pytest.mark.rule("PU-3")
def test_long_history_does_not_count(site):
    now = timezone.now()
    claim(site.node, 3000, now - timedelta(hours=1))

    assert budget(site.node, 24, now) == 2
    assert rate._last_before(now - timedelta(minutes=1)) > 0


@pytest.mark.rule("PU-2", "PU-3")
def test_files_beyond_the_rate_wait_as_they_are(site, pickup, replay, transport):
    Node.objects.update(pickup_max_messages_per_minute=24, replay_max_messages_per_minute=12)
    for number in range(5):
        pickup(f"{number}.eml", FAX)
        replay(f"{number}.eml", REPLAY)
    now = timezone.now()
    taken = []
    for seconds in (0, 4, 6, 12):
        transport(now + timedelta(seconds=seconds))
        taken.append([SourceFile.objects.filter(source=source).count() for source in ("PICKUP", "REPLAY")])

    assert taken == [[2, 1], [2, 1], [4, 2], [5, 3]]
