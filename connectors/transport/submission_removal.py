"""Submission removal: messages that wait to be routed are taken out, while nothing is routed (QA-10, QO-4, MT-H, MT-I).

Promises: in the caller's transaction the Submission queue is locked and looked at, then the messages, so each message
is either routed or removed, and nobody resumes routing in between. Only what waits here fails; copies in queues stay.
Leaves to neighbours: which messages (submission_rows), batches (jobs), what becomes of a recipient (removal).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from connectors import submission_rows
from connectors.choices import (
    WAITING,
    ItemState,
    MessageState,
    Outcome,
    QueueStatus,
    RecipientState,
    Verb,
)
from connectors.models import IS_SUBMISSION, BulkJob, Message, MessageRecipient, Node, Queue, QueueItem
from connectors.queue_filter import Filter
from connectors.transport import leasing, removal
from connectors.transport.operations import Done
from fcweb import bulk
from tracking import record

_SUBMITTED = MessageState.SUBMITTED.value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """A locked message in Submission with its recipients that wait there."""

    pk: int
    tracked: int
    recipients: dict[int, str]  # address by key

    def named(self, address: str) -> dict[int, str]:
        """Return all of them, or those with one address."""
        if not address:
            return self.recipients
        return {pk: known for pk, known in self.recipients.items() if known.casefold() == address.casefold()}


def remove(job: BulkJob, keys: Sequence[int], *, now: datetime) -> list[Done]:
    """Take messages out of Submission, or one recipient of them; say what became of each. Rules: QA-10, QO-2, QO-5."""
    if not _rests(job.node):
        return [_unchanged(key, "submission_not_suspended") for key in keys]
    found = _lock(keys)
    of_snapshot = submission_rows.listed(Filter(), last_item=job.last_item).filter(pk__in=bulk.among(found))
    meant = set(of_snapshot.values_list("pk", flat=True))  # a copy may have come back while the locks were waited for
    done = []
    hit: list[tuple[_Waiting, dict[int, str]]] = []
    for key in keys:
        message = found.get(key)
        named = message.named(job.recipient) if message else {}
        if message is None:
            done.append(_unchanged(key, "gone", before=""))
        elif key not in meant:
            done.append(_unchanged(key, "came_back"))
        elif job.recipient and not named:
            done.append(_unchanged(key, "recipient_unknown"))
        else:
            hit.append((message, named))
            is_over = len(named) == len(message.recipients)
            done.append(_changed(key, ItemState.REMOVED.value if is_over else f"{_SUBMITTED}-recipient"))
    ndr = job.verb == Verb.REMOVE_NDR
    removal.fail([pk for _message, named in hit for pk in named], actor=job.actor, ndr=ndr, now=now)
    _leave([message.pk for message, named in hit if len(named) == len(message.recipients)], now=now)
    addresses = [(message.tracked, list(named.values())) for message, named in hit]
    record.save(removal.events(addresses, actor=job.actor, ndr=ndr, server=job.node.name, now=now))
    return done


def _rests(node: Node) -> bool:
    """Tell whether routing is suspended; it cannot be resumed before the transaction ends."""
    queue = Queue.objects.filter(IS_SUBMISSION, node=node)
    locked = queue.select_for_update(no_key=True).values_list("status", flat=True)
    return locked.first() == QueueStatus.SUSPENDED


def _lock(keys: Sequence[int]) -> dict[int, _Waiting]:
    """Lock those messages that are still here, after a routing in progress has ended, and what waits of them.

    Their copies come first, as everywhere, and recipients owed a notice last: a delivery, a report and this removal
    must not each take the other for the one that leaves the message unfinished.
    """
    copies = QueueItem.objects.filter(message__in=bulk.among(keys), state__in=WAITING).order_by("pk")
    list(copies.select_for_update(no_key=True).values_list("pk", flat=True))
    rows = Message.objects.filter(pk__in=bulk.among(keys), state=MessageState.SUBMITTED)
    locked = rows.select_for_update(no_key=True).order_by("pk").values_list("pk", "tracked_id")
    found = {pk: _Waiting(pk=pk, tracked=tracked, recipients={}) for pk, tracked in locked}
    here = Q(state__in=[RecipientState.SUBMITTED, RecipientState.FAILING]) | ~Q(report_due="")
    recipients = MessageRecipient.objects.filter(here, message__in=bulk.among(found)).order_by("pk")
    locked_too = recipients.select_for_update(no_key=True).values_list("message_id", "pk", "address", "state")
    for message, pk, address, state in locked_too:
        if state == RecipientState.SUBMITTED:
            found[message].recipients[pk] = address
    return found


def _leave(keys: Sequence[int], *, now: datetime) -> None:
    """Messages with nothing left here are what routing would have left them: in delivery, or done."""
    Message.objects.filter(pk__in=bulk.among(keys)).update(state=MessageState.ROUTED)
    leasing.close_messages(keys, now=now)


def _changed(key: int, after: str) -> Done:
    return Done(item=0, message=key, outcome=Outcome.CHANGED, before=_SUBMITTED, after=after)


def _unchanged(key: int, why: str, *, before: str = _SUBMITTED) -> Done:
    return Done(item=0, message=key, outcome=Outcome.UNCHANGED, before=before, after=before, why=why)
