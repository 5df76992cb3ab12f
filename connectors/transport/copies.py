"""Copies: a message of its own for members of a group that leave another way, or report to somebody else (MT-K).

A copy has its own internal id, return path and content file, and shares the network message id. The message it was
split off gets a content file that names its members too, so that each file still tells its whole envelope (design 3).
Promises: `write` is durable on return; `insert` writes rows and TRANSFER events in the caller's transaction.
Crash: files without rows are orphans, as after any submission.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from connectors import spool
from connectors.choices import ItemState, MessageState, RecipientState
from connectors.conf import TransportConfig
from connectors.mail import replay_format
from connectors.mail.address import address_key
from connectors.mail.envelope import Envelope, Recipient
from connectors.models import Message, MessageRecipient, Node, QueueItem
from connectors.transport.expansion import Member
from connectors.transport.routing import NextHop
from connectors.transport.submission import clean
from fcweb import bulk
from tracking import forks, record

# What a copy has for itself; every other column of a message is its parent's.
_OWN = ("id", "tracked_id", "mail_from", "spool_name", "content_offset", "state", "source_key", "crash_count")
_SHARED = tuple(field for field in Message._meta.concrete_fields if field.name not in {*_OWN, "done_at"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMember:
    """A member and the recipient row it comes out of."""

    member: Member
    group: str  # address of the group, as the sender wrote it
    field: str  # To, Cc or Bcc, the group's


@dataclass(slots=True, kw_only=True)
class Copy:
    """A copy to be split off `parent`."""

    parent: int  # message key
    return_path: str
    members: list[GroupMember] = field(default_factory=list)


def split(
    parent: int, members: Sequence[GroupMember], *, return_path: str, hops: set[NextHop]
) -> tuple[list[GroupMember], list[Copy]]:
    """Return the members that stay in a message, and the copies for the others (docs/adr/0008).

    A member stays when it reports to the same address and leaves by a hop the message has anyway: one of `hops`,
    those of recipients that are no members, or the hop of the first member. Those that fail at once stay too.
    """
    staying: list[GroupMember] = []
    copies: dict[tuple[str, NextHop | None], Copy] = {}
    hops = set(hops)
    for one in members:
        hop = one.member.resolution.next_hop
        own_path = clean(one.member.terms.return_path, 600)
        if own_path == return_path and not hops and hop is not None:
            hops.add(hop)
        if own_path == return_path and (hop is None or hop in hops):
            staying.append(one)
        else:
            copy = copies.setdefault((own_path, hop), Copy(parent=parent, return_path=own_path))
            copy.members.append(one)
    return staying, list(copies.values())


class Place(NamedTuple):
    """Where content is: a spool name, and the bytes of the block in front of it."""

    name: str
    offset: int


@dataclass(slots=True, kw_only=True)
class Written:
    """Content files of one batch; a parent whose content cannot be read has none, and gets no copies."""

    copies: list[tuple[Copy, int, Place]] = field(default_factory=list)  # copy, its message key, its content
    parents: dict[int, Place] = field(default_factory=dict)  # where a parent's content is from now on
    replaced: list[Path] = field(default_factory=list)  # its content before; to be removed after the commit


class Parent(NamedTuple):
    """A message with a group among its recipients."""

    pk: int
    spool_name: str
    network_message_id: UUID


def write(
    copies: Sequence[Copy],
    staying: Mapping[int, Sequence[GroupMember]],
    groups: Mapping[int, set[str]],
    *,
    config: TransportConfig,
    now: datetime,
) -> Written:
    """Write the content files of copies and of the messages they come from, one sync for all.

    `staying` and `groups` (address keys) say by message key who takes the place of whom in it. A message that has
    copies in queues keeps its file: a courier may be reading it.
    """
    written = Written()
    files: list[spool.SpoolFile] = []
    waiting = QueueItem.objects.filter(message__in=list(staying)).exclude(
        state__in=[ItemState.DELIVERED, ItemState.REMOVED]
    )
    in_queues = set(waiting.values_list("message_id", flat=True))
    by_parent: dict[int, list[Copy]] = {}
    for copy in copies:
        by_parent.setdefault(copy.parent, []).append(copy)
    keys = iter(bulk.allocate_keys(Message, len(copies)))  # at once: on SQLite they are free until they are inserted
    for row in Message.objects.filter(pk__in=list(staying)).values_list(*Parent._fields):
        parent = Parent(*row)
        try:
            raw = (config.spool_dir / parent.spool_name).read_bytes()
            envelope, offset = replay_format.read_block(raw)
        except (OSError, ValueError):
            continue
        content = raw[offset:]
        for copy in by_parent.get(parent.pk, ()):
            key = next(keys)
            recipients = tuple(recipient_of(one) for one in copy.members)
            name = spool.copy_name(parent.network_message_id, key, now)
            file = _file(name, replace(envelope, mail_from=copy.return_path, recipients=recipients), content)
            files.append(file)
            written.copies.append((copy, key, Place(name, len(file.block))))
        if parent.pk not in in_queues:
            kept = [r for r in envelope.recipients if address_key(r.address) not in groups[parent.pk]]
            recipients = (*kept, *(recipient_of(one) for one in staying[parent.pk]))
            name = spool.copy_name(parent.network_message_id, parent.pk, now)
            file = _file(name, replace(envelope, recipients=recipients), content)
            files.append(file)
            written.parents[parent.pk] = Place(name, len(file.block))
            written.replaced.append(config.spool_dir / parent.spool_name)
    spool.put(config.spool_dir, files, mode=config.sync)
    return written


def _file(name: str, envelope: Envelope, content: bytes) -> spool.SpoolFile:
    block = replay_format.block(envelope, content_bytes=len(content))
    return spool.SpoolFile(name=name, block=block, content=content)


def recipient_of(one: GroupMember) -> Recipient:
    """Return a member as a recipient on an envelope."""
    terms = one.member.terms
    return Recipient(address=one.member.address, field=one.field, notify=terms.notify, orcpt=terms.orcpt)


def insert(written: Written, *, node: Node, now: datetime) -> tuple[dict[int, int], list[record.NewEvent]]:
    """Insert the messages of copies; return their tracked messages by message key, and their TRANSFER events."""
    bulk.update(
        Message, ["spool_name", "content_offset"], [(*place, parent) for parent, place in written.parents.items()]
    )
    parents = {
        row[0]: row[1:]
        for row in Message.objects.filter(pk__in={copy.parent for copy, *_rest in written.copies}).values_list(
            "pk", "tracked_id", *(field.attname for field in _SHARED)
        )
    }
    keys = forks.open_forks(
        [
            forks.Fork(
                parent=parents[copy.parent][0],
                internal_message_id=key,
                return_path=copy.return_path,
                recipients=len(copy.members),
            )
            for copy, key, _place in written.copies
        ],
        at=now,
    )
    rows = []
    events = []
    for tracked, (copy, key, place) in zip(keys, written.copies, strict=True):
        parent_tracked, *shared = parents[copy.parent]
        rows.append((key, tracked, copy.return_path, *place, MessageState.ROUTED.value, None, 0, *shared))
        events.append(
            record.transfer(
                tracked,
                at=now,
                server=node.name,
                recipients=[one.member.address for one in copy.members],
                moved_from=parent_tracked,
                reference=str(copy.parent),
            )
        )
    bulk.insert(Message, [*_OWN, *(field.name for field in _SHARED)], rows)
    return {key: tracked for tracked, (_copy, key, _place) in zip(keys, written.copies, strict=True)}, events


def insert_members(rows: Sequence[tuple[int, tuple[int, GroupMember]]]) -> None:
    """Insert recipients: (their key, (message key, member)); the caller decides what becomes of them."""
    fields = ("id", "message", "address", "final_address", "orcpt", "notify", "field", "group", "state", "status_text")
    fate = ("fail_source", "fail_context", "fail_connector", "report_due")
    bulk.insert(
        MessageRecipient,
        [*fields, *fate],
        [
            (
                key,
                message,
                clean(one.member.address, 600),
                "",
                clean(one.member.terms.orcpt, 1000),
                one.member.terms.notify[:32],
                one.field,
                one.group,
                RecipientState.SUBMITTED.value,
                *("",) * 5,
            )
            for key, (message, one) in rows
        ],
    )
