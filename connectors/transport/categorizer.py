"""Categorizer: submitted messages are resolved, routed and put into their queues (RT-1, QU-1, QU-7, MT-K).

Promises: one transaction a batch; a recipient leaves Submission for a queue, as a failure or as a group's members,
never two of them.
Leaves to neighbours: the decision itself (`routing.resolve`), who is in a group (`expansion`), the notices (reports).
Crash: nothing is half done; the next run takes the same messages.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from django.db import transaction
from django.db.models import Count, Q

from connectors import disk, routing_table
from connectors.choices import MessageState, RecipientState, ReportDue
from connectors.conf import transport_config
from connectors.mail.address import address_key
from connectors.mail.xtext import xtext_encode
from connectors.models import ConfigGeneration, ForeignConnector, Message, MessageRecipient, Node, config_of
from connectors.transport import copies, leasing, limits, queue
from connectors.transport.copies import GroupMember
from connectors.transport.expansion import EMPTY_TEXT, EXPANDED_TEXT, Terms, expand, is_told
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
            batch.add(recipient, batch.resolve(recipient.address, messages[recipient.message_id]))
        batch.expand()
        batch.write()
    disk.unlink_all(batch.replaced)
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
    field: str


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
        self._directory = directory
        self._sizes = sizes
        self._node = node
        self._now = now
        self._config = config_of(node, transport_config())
        self._single = set(ForeignConnector.objects.filter(one_recipient_per_file=True).values_list("guid", flat=True))
        # (message, next hop, recipient when it needs a copy of its own) -> recipients that share the copy
        self._copies: dict[tuple[int, NextHop, int], list[tuple[int, str]]] = {}
        counts = _recipient_counts(messages)
        self._counts = {pk: every for pk, (every, _named) in counts.items()}
        self._excess = {
            key: limits.excess(
                message.mail_from,
                size=sizes[key],
                recipients=counts[key][1] if key in counts else 0,
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
        self._groups: dict[int, list[tuple[_Waiting, Resolution]]] = {}  # recipients to expand, by message
        self._expanded: list[tuple[object, ...]] = []
        self.replaced: list[Path] = []  # content files to be removed after the commit

    def resolve(self, address: str, message: _Submitted) -> Resolution:
        """Decide one address of a message."""
        return resolve(
            address,
            size=self._sizes[message.pk],
            table=self._table,
            directory=self._directory,
            is_exempt=message.source in EXEMPT_SOURCES,
        )

    def add(self, recipient: _Waiting, resolution: Resolution) -> None:
        """Take the decision on one recipient."""
        message = self._messages[recipient.message_id]
        excess = self._excess[message.pk]
        if excess is not None:
            self._fail(recipient, excess.text, excess.context)
            return
        if resolution.resolved_from:
            self._resolved(recipient, resolution, message)
        if resolution.verdict is Verdict.EXPAND:
            self._groups.setdefault(message.pk, []).append((recipient, resolution))
            return
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

    def expand(self) -> None:
        """Put the members of groups in their place, and split off copies for those that go another way (MT-K)."""
        if not self._groups:
            return
        taken, hops = self._recipients_of_groups()
        members: dict[int, list[GroupMember]] = {}
        for pk, groups in self._groups.items():
            for recipient, resolution in groups:
                members.setdefault(pk, []).extend(self._members(recipient, resolution, taken[pk]))
        staying: dict[int, list[GroupMember]] = {}
        split: list[copies.Copy] = []
        for pk, found in members.items():
            return_path = self._messages[pk].mail_from
            staying[pk], own = copies.split(pk, found, return_path=return_path, hops=hops.get(pk, set()))
            split.extend(own)
        addresses = {pk: {address_key(r.address) for r, _resolution in groups} for pk, groups in self._groups.items()}
        written = copies.write(split, staying, addresses, config=self._config, now=self._now)
        self.replaced = written.replaced
        self._adopt(written, split, staying)

    def _recipients_of_groups(self) -> tuple[dict[int, set[str]], dict[int, set[NextHop]]]:
        """Return, for messages with groups, who is a recipient already and by which hops those leave."""
        taken: dict[int, set[str]] = {pk: set() for pk in self._groups}
        hops: dict[int, set[NextHop]] = {}
        rows = MessageRecipient.objects.filter(message__in=list(self._groups))
        for pk, address, final in rows.values_list("message_id", "address", "final_address"):
            taken[pk].add(address_key(final or address))
        for (pk, hop, _alone), recipients in self._copies.items():
            if pk in taken:
                hops.setdefault(pk, set()).add(hop)
                taken[pk].update(address_key(address) for _recipient, address in recipients)
        return taken, hops

    def _members(self, recipient: _Waiting, resolution: Resolution, taken: set[str]) -> list[GroupMember]:
        """Return who takes the place of one group, and record that; an empty one fails (docs/adr/0008)."""
        message = self._messages[recipient.message_id]
        assert resolution.group is not None
        orcpt = recipient.orcpt or f"rfc822;{xtext_encode(recipient.address)}"
        terms = Terms(return_path=message.mail_from, notify=recipient.notify, orcpt=orcpt)
        found = expand(resolution, terms, taken=taken, resolve=lambda address: self.resolve(address, message))
        if found.is_empty:
            self._fail(recipient, EMPTY_TEXT, "Group")
            return []
        report = ReportDue.EXPANDED.value if is_told(resolution.group, recipient.notify) else ""
        self._expanded.append((RecipientState.EXPANDED.value, EXPANDED_TEXT, self._now, report, recipient.pk))
        at, server, tracked = self._now, self._node.name, message.tracked_id
        for one in found.groups:
            self._events.append(record.expand(tracked, at=at, server=server, group=one.group, members=one.members))
            if one.duplicates:
                self._events.append(
                    record.duplicate_expand(tracked, at=at, server=server, group=one.group, members=one.duplicates)
                )
        return [GroupMember(member=member, group=recipient.address, field=recipient.field) for member in found.members]

    def _adopt(self, written: copies.Written, split: list[copies.Copy], staying: dict[int, list[GroupMember]]) -> None:
        """Insert copies and members, and take the decision on each member."""
        tracked, events = copies.insert(written, node=self._node, now=self._now)
        self._events.extend(events)
        homes = dict(staying)
        has_own_file = {id(copy) for copy, *_rest in written.copies}
        for copy in split:
            if id(copy) not in has_own_file:  # its content cannot be read: delivery tells what that means
                homes[copy.parent] = [*homes[copy.parent], *copy.members]
        for copy, key, _place in written.copies:
            homes[key] = copy.members
            parent = self._messages[copy.parent]
            self._messages[key] = parent._replace(pk=key, tracked_id=tracked[key], mail_from=copy.return_path)
            self._counts[key] = len(copy.members)
            self._excess[key] = None
        flat = [(pk, one) for pk, members in homes.items() for one in members]
        keys = list(bulk.allocate_keys(MessageRecipient, len(flat)))
        copies.insert_members(list(zip(keys, flat, strict=True)))
        for key, (pk, one) in zip(keys, flat, strict=True):
            terms = one.member.terms
            member = _Waiting(key, pk, one.member.address, terms.orcpt, terms.notify, one.field)
            self.add(member, one.member.resolution)

    def _fail(self, recipient: _Waiting, text: str, context: str) -> None:
        fate = (RecipientState.FAILING.value, text[:1000], "ROUTING", context, ReportDue.FAILED.value)
        self._failed.append((*fate, recipient.pk))

    def write(self) -> None:
        """Write everything in the caller's transaction."""
        bulk.update(
            MessageRecipient, ["state", "status_text", "fail_source", "fail_context", "report_due"], self._failed
        )
        bulk.update(MessageRecipient, ["orcpt"], self._rewritten)
        bulk.update(MessageRecipient, ["state", "status_text", "settled_at", "report_due"], self._expanded)
        queue.enqueue(self._entries(), node=self._node, now=self._now)
        Message.objects.filter(pk__in=list(self._messages)).update(state=MessageState.ROUTED)
        record.save(self._events)
        leasing.close_messages(list(self._groups), now=self._now)  # all members may be in copies

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


def _recipient_counts(messages: dict[int, _Submitted]) -> dict[int, tuple[int, int]]:
    """Return how many recipients each message has, settled ones included, and how many its sender named: one query.

    A group counts as one, its members as none (QL-5).
    """
    rows = MessageRecipient.objects.filter(message__in=list(messages)).order_by().values_list("message_id")
    counted = rows.annotate(every=Count("pk"), named=Count("pk", filter=Q(group="")))
    return {pk: (every, named) for pk, every, named in counted}
