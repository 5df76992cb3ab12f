"""Categorizer: submitted messages are resolved, routed and put into their queues (RT-1, QU-1, QU-7).

Promises: one transaction a batch; a recipient leaves Submission for a queue or as a failure, never both.
Leaves to neighbours: the decision itself (`routing.resolve`), the notices (reports).
Crash: nothing is half done; the next run takes the same messages.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.db.models import Count

from connectors import routing_table
from connectors.choices import MessageState, RecipientState, ReportDue
from connectors.conf import transport_config
from connectors.mail.xtext import xtext_encode
from connectors.models import ConfigGeneration, ForeignConnector, Message, MessageRecipient, Node, config_of
from connectors.transport import limits, queue
from connectors.transport.limits import EXEMPT_SOURCES
from connectors.transport.original_size import routing_size
from connectors.transport.routing import (
    Directory,
    NextHop,
    Resolution,
    RoutingTable,
    Verdict,
    resolve,
    travels_alone,
)
from fcweb import bulk
from tracking import record

_REROUTE_BATCH = 500


def run_once(node: Node, *, limit: int, now: datetime) -> int:
    """Route up to `limit` messages; return how many. A configuration change is applied first (RT-52)."""
    generation = ConfigGeneration.current()
    if generation != node.routed_generation:
        rerouted = _reroute(node, generation, now)
        if rerouted:
            return rerouted
    return _categorize(node, limit=limit, now=now)


def _reroute(node: Node, generation: int, now: datetime) -> int:
    """Send messages of touched queues back to Submission, a few hundred a call; return how many."""
    for waiting in queue.touched(node, since=node.routed_generation).select_related("node"):
        moved = queue.resubmit(waiting, limit=_REROUTE_BATCH, now=now)
        if moved:
            return moved
    Node.objects.filter(pk=node.pk).update(routed_generation=generation)
    node.routed_generation = generation
    return 0


def _categorize(node: Node, *, limit: int, now: datetime) -> int:
    with transaction.atomic():
        submitted = Message.objects.filter(node=node, state=MessageState.SUBMITTED).order_by("pk")
        locked = submitted.select_for_update(skip_locked=True).values_list(*_Submitted._fields)[:limit]
        messages = {message.pk: message for message in itertools.starmap(_Submitted, locked)}
        if not messages:
            return 0
        waiting = MessageRecipient.objects.filter(message__in=list(messages), state=RecipientState.SUBMITTED)
        recipients = [_Waiting(*row) for row in waiting.order_by("pk").values_list(*_Waiting._fields)]
        table = routing_table.load(node)
        addresses = {r.address for r in recipients} | {m.mail_from for m in messages.values() if m.mail_from}
        directory = routing_table.directory_for(addresses, table)
        sizes = _limited_sizes(messages)
        batch = _Batch(messages, table, directory, sizes, node=node, now=now)
        for recipient in recipients:
            message = messages[recipient.message_id]
            resolution = resolve(
                recipient.address,
                size=sizes[message.pk],
                table=table,
                directory=directory,
                is_exempt=message.source in EXEMPT_SOURCES,
            )
            batch.add(recipient, resolution)
        batch.write()
    return len(messages)


def original_recipient(resolution: Resolution) -> str:
    """Return the ORCPT of a recipient whose address was replaced: the address as it came (RT-X16, DSN-26)."""
    return f"rfc822;{xtext_encode(resolution.resolved_from)}"


class _Submitted(NamedTuple):
    """What the decision needs of a message: a tuple, because a model instance costs ten times as much."""

    pk: int
    size: int
    priority: int
    tracked_id: int
    has_org_headers: bool
    mail_from: str
    source: str


class _Waiting(NamedTuple):
    """A recipient in Submission."""

    pk: int
    message_id: int  # key of its message
    address: str
    orcpt: str
    notify: str


class _Batch:
    """The rows that one categorizer transaction writes."""

    def __init__(
        self,
        messages: dict[int, _Submitted],
        table: RoutingTable,
        directory: Directory,
        sizes: dict[int, int],
        *,
        node: Node,
        now: datetime,
    ) -> None:
        self._messages = messages
        self._table = table
        self._node = node
        self._now = now
        self._config = config_of(node, transport_config())
        self._single = set(ForeignConnector.objects.filter(one_recipient_per_file=True).values_list("guid", flat=True))
        # (message, next hop, recipient when it needs a copy of its own) -> recipients that share the copy
        self._copies: dict[tuple[int, NextHop, int], list[tuple[int, str]]] = {}
        self._counts = _recipient_counts(messages)
        self._excess = {
            key: limits.excess(
                message.mail_from,
                size=sizes[key],
                recipients=self._counts.get(key, 0),
                max_recipients=node.max_recipients,
                is_exempt=message.source in EXEMPT_SOURCES,
                directory=directory,
            )
            for key, message in messages.items()
        }
        self._changed: set[int] = set()  # messages with a recipient the spool file names differently
        self._failed: list[tuple[object, ...]] = []
        self._rewritten: list[tuple[str, int]] = []
        self._events: list[record.NewEvent] = []

    def add(self, recipient: _Waiting, resolution: Resolution) -> None:
        """Take the decision on one recipient."""
        message = self._messages[recipient.message_id]
        excess = self._excess[message.pk]
        if excess is not None:
            self._fail(recipient, excess.text, excess.context)
            return
        if resolution.resolved_from:
            self._resolved(recipient, resolution, message)
        if resolution.verdict is Verdict.FAIL:
            context = "Size" if resolution.status in {"5.2.3", "5.3.4"} else "NoRoute"
            self._fail(recipient, resolution.text, context)
            return
        hop = resolution.next_hop
        assert hop is not None
        copy = (message.pk, hop, recipient.pk if travels_alone(hop, self._single) else 0)
        is_rewritten = resolution.envelope_address != recipient.address or resolution.resolved_from
        if is_rewritten or recipient.notify == "NEVER":  # the Safety Net sets NEVER where the file may not say so
            self._changed.add(message.pk)
        self._copies.setdefault(copy, []).append((recipient.pk, resolution.envelope_address))

    def _resolved(self, recipient: _Waiting, resolution: Resolution, message: _Submitted) -> None:
        """Record that an address was replaced; the first address is kept as ORCPT (DSN-26, RT-X16)."""
        self._events.append(
            record.resolve(
                message.tracked_id,
                at=self._now,
                server=self._node.name,
                recipient=str(resolution.final),
                related=resolution.resolved_from,
            )
        )
        if not recipient.orcpt:
            self._rewritten.append((original_recipient(resolution), recipient.pk))

    def _fail(self, recipient: _Waiting, text: str, context: str) -> None:
        fate = (RecipientState.FAILING.value, text[:1000], "ROUTING", context, ReportDue.FAILED.value)
        self._failed.append((*fate, recipient.pk))

    def write(self) -> None:
        """Write everything in the caller's transaction."""
        bulk.update(
            MessageRecipient, ["state", "status_text", "fail_source", "fail_context", "report_due"], self._failed
        )
        bulk.update(MessageRecipient, ["orcpt"], self._rewritten)
        queue.enqueue(self._entries(), node=self._node, now=self._now)
        Message.objects.filter(pk__in=list(self._messages)).update(state=MessageState.ROUTED)
        record.save(self._events)

    def _entries(self) -> Sequence[queue.Entry]:
        keys: dict[NextHop, queue.Key] = {}
        entries = []
        for (message_pk, hop, _alone), recipients in self._copies.items():
            key = keys.get(hop)
            if key is None:
                key = keys[hop] = queue.Key(
                    delivery_type=str(hop.delivery_type),
                    domain=hop.domain,
                    connector=hop.connector,
                    connector_name=hop.connector_name,
                )
            message = self._messages[message_pk]
            priority = self._config.queue_priority(message.priority, message.size)
            entries.append(
                queue.Entry(
                    key=key,
                    message_pk=message_pk,
                    priority=priority,
                    recipients=tuple(recipients),
                    is_whole=len(recipients) == self._counts[message_pk] and message_pk not in self._changed,
                )
            )
        return entries


def _limited_sizes(messages: dict[int, _Submitted]) -> dict[int, int]:
    """Return the size limits are compared with: the smaller of now and at entry, where a trusted source marked it.

    Rules: RT-10, QL-20.

    Reads the content of those alone that kept organisation headers, which are rare.
    """
    found = {message.pk: message.size for message in messages.values()}
    trusted = [message.pk for message in messages.values() if message.has_org_headers]
    if not trusted:
        return found
    spool_dir = transport_config().spool_dir
    places = Message.objects.filter(pk__in=trusted).values_list("pk", "size", "spool_name", "content_offset")
    for pk, size, spool_name, offset in places:
        found[pk] = routing_size(spool_dir, spool_name=spool_name, offset=offset, size=size)
    return found


def _recipient_counts(messages: dict[int, _Submitted]) -> dict[int, int]:
    """Return how many recipients each message has, settled ones included: one query."""
    rows = MessageRecipient.objects.filter(message__in=list(messages)).order_by()
    return dict(rows.values_list("message_id").annotate(count=Count("pk")))
