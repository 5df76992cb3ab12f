"""Operations: what a person does to queued messages, as compare-and-set on rows (QO-1 to QO-14, RT-32).

Promises: each function works in the caller's transaction on locked rows, says what it did to every object, and is
idempotent; a worker that holds a copy wins, the wish is kept in `pending` and done by `settle_pending`.
Leaves to neighbours: queues as a whole (queue_operations), which copies (queue_rows), batches (jobs), files (exports).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from django.db import transaction
from django.db.models import Exists, OuterRef, Q

from connectors.choices import (
    FREE,
    POISON_DOMAIN,
    STILL,
    WAITING,
    DeliveryType,
    ItemState,
    MessageState,
    Outcome,
    Pending,
    RecipientState,
    Verb,
)
from connectors.models import IN_POISON, BulkJob, Message, MessageRecipient, Node, Queue, QueueItem
from connectors.transport import leasing, queue_operations, removal
from fcweb import bulk
from tracking import record

_SETTLED_A_PASS = 500
_IN_TRANSFER = frozenset({ItemState.STAGING.value, ItemState.STAGED.value})


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One locked copy of a message in a queue."""

    pk: int
    message: int
    queue: int
    state: str
    pending: str
    is_poison: bool

    @property
    def shown(self) -> str:
        """Return the state as the audit names it."""
        return f"{self.state}+{self.pending}" if self.pending else self.state


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What happened to one object; `why` is a code when nothing did."""

    item: int
    message: int
    outcome: Outcome
    before: str
    after: str
    why: str = ""


def lock(keys: Sequence[int]) -> list[Copy]:
    """Lock copies in key order and return how they stand; in the caller's transaction."""
    rows = QueueItem.objects.filter(pk__in=bulk.among(keys)).select_for_update().order_by("pk")
    found = list(rows.values_list("pk", "message_id", "queue_id", "state", "pending"))
    poison = set(
        Queue.objects.filter(pk__in={row[2] for row in found}, next_hop_domain=POISON_DOMAIN)
        .filter(delivery_type=DeliveryType.UNDEFINED)
        .values_list("pk", flat=True)
    )
    return [
        Copy(pk=pk, message=message, queue=queue, state=state, pending=pending, is_poison=queue in poison)
        for pk, message, queue, state, pending in found
    ]


def apply(job: BulkJob, copies: Sequence[Copy], *, now: datetime) -> list[Done]:
    """Do the job's verb to locked copies, in the caller's transaction. Export is `exports.export`."""
    verbs: dict[str, Callable[[BulkJob, Sequence[Copy], datetime], list[Done]]] = {
        Verb.SUSPEND: _suspend,
        Verb.RESUME: _resume,
        Verb.RESUBMIT: _resubmit,
        Verb.REMOVE: _remove,
        Verb.REMOVE_NDR: _remove,
        Verb.REDIRECT: _redirect,
    }
    return verbs[job.verb](job, copies, now)


def unchanged(copy: Copy, why: str) -> Done:
    """Return that nothing was done to a copy, and why (QO-2)."""
    return replace(changed(copy, copy.shown), outcome=Outcome.UNCHANGED, why=why)


def changed(copy: Copy, after: str) -> Done:
    """Return that a copy was changed."""
    return Done(item=copy.pk, message=copy.message, outcome=Outcome.CHANGED, before=copy.shown, after=after)


def _suspend(job: BulkJob, copies: Sequence[Copy], now: datetime) -> list[Done]:
    done = []
    still: list[int] = []
    moving: list[int] = []
    for copy in copies:
        if copy.state in FREE:
            still.append(copy.pk)
            done.append(changed(copy, ItemState.SUSPENDED))
        elif copy.state in _IN_TRANSFER and not copy.pending:
            moving.append(copy.pk)
            done.append(changed(copy, f"{copy.state}+{Pending.SUSPEND}"))
        else:
            done.append(unchanged(copy, "suspended" if copy.state == ItemState.SUSPENDED else _why(copy)))
    QueueItem.objects.filter(pk__in=bulk.among(still)).update(state=ItemState.SUSPENDED, retry_at=None)
    QueueItem.objects.filter(pk__in=moving).update(pending=Pending.SUSPEND, pending_by=job.actor)
    return done


def _resume(job: BulkJob, copies: Sequence[Copy], now: datetime) -> list[Done]:
    done = []
    still: list[Copy] = []
    moving: list[int] = []
    poisoned: list[Copy] = []
    for copy in copies:
        if copy.is_poison and copy.state == ItemState.SUSPENDED:
            poisoned.append(copy)
            done.append(changed(copy, MessageState.SUBMITTED))
        elif copy.state == ItemState.SUSPENDED and copy.pending in {"", Pending.SUSPEND}:
            still.append(copy)
            done.append(changed(copy, ItemState.READY))
        elif copy.state in _IN_TRANSFER and copy.pending == Pending.SUSPEND:
            moving.append(copy.pk)
            done.append(changed(copy, copy.state))
        else:
            done.append(unchanged(copy, _why(copy) if copy.pending or copy.state not in WAITING else "not_suspended"))
    free = {"state": ItemState.READY, "pending": "", "pending_by": ""}
    QueueItem.objects.filter(pk__in=bulk.among([copy.pk for copy in still])).update(**free)
    QueueItem.objects.filter(pk__in=moving).update(pending="", pending_by="")
    queue_operations.catch_up({copy.queue for copy in still})
    _leave_poison(poisoned, job, now)
    return done


def _leave_poison(copies: Sequence[Copy], job: BulkJob, now: datetime) -> None:
    """Send poison copies back to Submission, their crash counters at zero (QR-52)."""
    if not copies:
        return
    held = _recipients(copies)
    _to_submission(copies)
    keys = {copy.message for copy in copies}
    Message.objects.filter(pk__in=bulk.among(keys)).update(crash_count=0)
    tracked = _tracked(keys)
    record.save(
        [
            record.poison(
                tracked[copy.message],
                at=now,
                server=job.node.name,
                context="Resumed",
                recipients=_shown(held.get(copy.pk, ())),
                custom=f"S:fc.actor={job.actor}",
            )
            for copy in copies
        ]
    )


def _resubmit(job: BulkJob, copies: Sequence[Copy], now: datetime) -> list[Done]:
    """Send free copies back to Submission; suspended ones stay (MT-J, QO-7)."""
    free = [copy for copy in copies if copy.state in FREE and not copy.is_poison]
    chosen = {copy.pk for copy in free}
    send_back(free, source="ADMIN", server=job.node.name, now=now)
    return [
        changed(copy, MessageState.SUBMITTED)
        if copy.pk in chosen
        else unchanged(copy, "suspended" if copy.state == ItemState.SUSPENDED else _why(copy))
        for copy in copies
    ]


def send_back(free: Sequence[Copy], *, source: str, server: str, now: datetime) -> None:
    """Send free copies back to Submission with their RESUBMIT events; in the caller's transaction."""
    held = _recipients(free)
    _to_submission(free)
    tracked = _tracked({copy.message for copy in free})
    record.save(
        [
            record.resubmit(
                tracked[copy.message],
                at=now,
                source=source,
                server=server,
                recipients=_shown(held.get(copy.pk, ())),
                reference=str(copy.message),
            )
            for copy in free
        ]
    )


def _to_submission(copies: Sequence[Copy]) -> None:
    keys = [copy.pk for copy in copies]
    QueueItem.objects.filter(pk__in=bulk.among(keys)).update(state=ItemState.REMOVED, retry_at=None)
    MessageRecipient.objects.filter(item__in=bulk.among(keys), state=RecipientState.QUEUED).update(
        state=RecipientState.SUBMITTED, item=None, final_address=""
    )
    Message.objects.filter(pk__in={copy.message for copy in copies}).update(state=MessageState.SUBMITTED)


def _remove(job: BulkJob, copies: Sequence[Copy], now: datetime) -> list[Done]:
    ndr = job.verb == Verb.REMOVE_NDR
    wish = Pending.REMOVE_NDR if ndr else Pending.REMOVE
    done = []
    still: list[Copy] = []
    moving: list[int] = []
    for copy in copies:
        if copy.state in STILL:
            still.append(copy)
        elif copy.state in _IN_TRANSFER and not job.recipient and copy.pending != wish:
            moving.append(copy.pk)
            done.append(changed(copy, f"{copy.state}+{wish}"))
        else:
            done.append(unchanged(copy, "in_transfer" if copy.state in _IN_TRANSFER else _why(copy)))
    QueueItem.objects.filter(pk__in=moving).update(pending=wish, pending_by=job.actor)
    if still:
        hit = remove_now(still, actor=job.actor, ndr=ndr, server=job.node.name, recipient=job.recipient, now=now)
        done.extend(
            changed(copy, ItemState.REMOVED if not job.recipient else f"{copy.state}-recipient")
            if copy.pk in hit
            else unchanged(copy, "recipient_unknown")
            for copy in still
        )
    return done


def remove_now(
    copies: Sequence[Copy], *, actor: str, ndr: bool, server: str, recipient: str = "", now: datetime
) -> set[int]:
    """Fail the recipients of these copies, or the one named, for good; return the keys of copies touched.

    With a notice, `reports` writes DSN and FAIL; without, FAIL is written here (QO-4, QO-5, MT-H, MT-I).
    """
    keys = [copy.pk for copy in copies]
    waiting = MessageRecipient.objects.filter(item__in=bulk.among(keys), state=RecipientState.QUEUED)
    if recipient:
        waiting = waiting.filter(Q(address__iexact=recipient) | Q(final_address__iexact=recipient))
    held: dict[int, list[tuple[int, str]]] = {}
    for item, pk, address in waiting.order_by("pk").values_list("item_id", "pk", "address"):
        held.setdefault(item, []).append((pk, address))
    hit = [copy for copy in copies if copy.pk in held or not recipient]
    removal.fail([pk for rows in held.values() for pk, _address in rows], actor=actor, ndr=ndr, now=now)
    left = MessageRecipient.objects.filter(item=OuterRef("pk"), state=RecipientState.QUEUED)
    touched = QueueItem.objects.filter(pk__in=[copy.pk for copy in hit])
    gone = {"state": ItemState.REMOVED, "pending": "", "pending_by": "", "leased_by": "", "retry_at": None}
    touched.filter(~Exists(left)).update(**gone)
    touched.exclude(state=ItemState.REMOVED).update(is_whole=False)
    addresses = [(copy, [address for _pk, address in held.get(copy.pk, ())]) for copy in hit]
    _record_removal(addresses, actor=actor, ndr=ndr, server=server, now=now)
    messages = [copy.message for copy in hit]
    _route_what_left_poison(messages)
    leasing.close_messages(messages, now=now)
    return {copy.pk for copy in hit}


def _record_removal(
    removed: Sequence[tuple[Copy, Sequence[str]]], *, actor: str, ndr: bool, server: str, now: datetime
) -> None:
    tracked = _tracked({copy.message for copy, _addresses in removed})
    left_poison = [
        record.poison(tracked[copy.message], at=now, server=server, context="Removed", recipients=_shown(addresses))
        for copy, addresses in removed
        if copy.is_poison and addresses
    ]
    by_message = [(tracked[copy.message], addresses) for copy, addresses in removed]
    record.save([*left_poison, *removal.events(by_message, actor=actor, ndr=ndr, server=server, now=now)])


def _route_what_left_poison(messages: Sequence[int]) -> None:
    """A message with no copy left in Poison is an ordinary one again, so that it can be closed."""
    kept = QueueItem.objects.filter(IN_POISON, message=OuterRef("pk"), state=ItemState.SUSPENDED)
    poisoned = Message.objects.filter(pk__in=messages, state=MessageState.POISON)
    poisoned.filter(~Exists(kept)).update(state=MessageState.ROUTED)


def settle_pending(node: Node, *, now: datetime) -> int:
    """Do what was asked for while copies were in transfer and the transfer failed; return how many (QU 1.6, QO-14)."""
    wished = QueueItem.objects.exclude(pending="").order_by()  # few: what is or was in transfer
    if not wished.exists():
        return 0
    with transaction.atomic():
        found = list(wished.values_list("pk", "pending", "pending_by", "state", "queue__node"))
        over = [row[:3] for row in found if row[3] == ItemState.SUSPENDED and row[4] == node.pk]
        rows = sorted(over)[:_SETTLED_A_PASS]
        ended = [row[0] for row in found if row[3] in {ItemState.DELIVERED, ItemState.REMOVED}]
        QueueItem.objects.filter(pk__in=ended).update(pending="", pending_by="")  # the transfer came first
        suspended = [pk for pk, pending, _by in rows if pending == Pending.SUSPEND]
        QueueItem.objects.filter(pk__in=suspended).update(pending="", pending_by="")
        groups: dict[tuple[str, str], list[int]] = {}
        for pk, pending, actor in rows:
            if pending != Pending.SUSPEND:
                groups.setdefault((pending, actor), []).append(pk)
        for (pending, actor), removed in groups.items():
            ndr = pending == Pending.REMOVE_NDR
            remove_now(lock(removed), actor=actor, ndr=ndr, server=node.name, now=now)
    return len(rows)


def _redirect(job: BulkJob, copies: Sequence[Copy], now: datetime) -> list[Done]:
    """Move waiting copies to another connector's queue, which is asked at once; suspended ones stay so (QO-13 b)."""
    target = queue_operations.redirect_target(job.node, job.connector_name)
    names = dict(Queue.objects.filter(pk__in={copy.queue for copy in copies}).values_list("pk", "connector_name"))
    moved = [
        copy for copy in copies if copy.state in STILL and not copy.is_poison and target and copy.queue != target.pk
    ]
    chosen = {copy.pk for copy in moved}
    if target is not None and moved:
        rows = QueueItem.objects.filter(pk__in=bulk.among(chosen))
        rows.filter(state=ItemState.DEFERRED).update(state=ItemState.READY, retry_at=None)
        rows.update(queue=target, deferred_reason="", attempts=0, last_error="")
        held = _recipients(moved)
        tracked = _tracked({copy.message for copy in moved})
        where = {"server": job.node.name, "connector": target.connector_name, "custom": f"S:fc.actor={job.actor}"}
        record.save(
            [
                record.redirect(
                    tracked[copy.message],
                    at=now,
                    context=names.get(copy.queue, ""),
                    recipients=_shown(held.get(copy.pk, ())),
                    **where,
                )
                for copy in moved
            ]
        )
        if queue_operations.parts_recipients(target):
            _part(chosen)
    return [
        changed(copy, job.connector_name[:40])
        if copy.pk in chosen
        else unchanged(copy, "same_queue" if target and copy.queue == target.pk else _why(copy))
        for copy in copies
    ]


def _part(keys: set[int]) -> None:
    """Leave each of these copies its first recipient; the others get copies of their own, which wait the same way."""
    rows = MessageRecipient.objects.filter(item__in=bulk.among(keys), state=RecipientState.QUEUED).order_by("pk")
    first: set[int] = set()
    others: list[tuple[int, int]] = []
    for recipient, item in rows.values_list("pk", "item_id"):
        if item in first:
            others.append((recipient, item))
        first.add(item)
    items = QueueItem.objects.in_bulk({item for _recipient, item in others})
    fields = ("queue_id", "message_id", "state", "priority", "entered_at", "queued_at", "pending", "pending_by")
    parts = [QueueItem(**{name: getattr(items[item], name) for name in fields}) for _recipient, item in others]
    made = QueueItem.objects.bulk_create(parts)
    QueueItem.objects.filter(pk__in=bulk.among(list(items))).update(is_whole=False)
    found = [(part.pk, recipient) for part, (recipient, _item) in zip(made, others, strict=True)]
    bulk.update(MessageRecipient, ["item"], found)


def _why(copy: Copy) -> str:
    if copy.is_poison or copy.pending:
        return "poison_queue" if copy.is_poison else f"pending_{copy.pending}"
    if copy.state in _IN_TRANSFER:
        return "in_transfer"
    return "gone" if copy.state not in STILL else "not_possible"


def _recipients(copies: Sequence[Copy]) -> dict[int, list[str]]:
    """Return the waiting recipients of copies by item key."""
    held: dict[int, list[str]] = {}
    rows = MessageRecipient.objects.filter(item__in=[copy.pk for copy in copies], state=RecipientState.QUEUED)
    for item, address in rows.order_by("pk").values_list("item_id", "address"):
        held.setdefault(item, []).append(address)
    return held


def _shown(addresses: Sequence[str]) -> list[tuple[str, str]]:
    return [(address, "") for address in addresses]


def _tracked(messages: set[int]) -> dict[int, int]:
    """Return the tracked id of each message."""
    return dict(Message.objects.filter(pk__in=messages).values_list("pk", "tracked_id"))
