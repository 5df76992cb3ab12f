"""Dry run: what would become of a message file, by the same readers, resolver and writer as the real way.

Promises: nothing is stored, no row and no file; the files shown are the bytes a gateway would get, but for ids and
time. Leaves to neighbours: words for a route (`reads.route`) and for reasons (`reasons`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from django.utils.translation import gettext as _

from connectors import reasons, routing_table
from connectors.mail import drop_format, replay_format
from connectors.mail.address import address_key
from connectors.mail.envelope import Envelope, Recipient, asks
from connectors.mail.verdict import Draft, Fate, Rejection
from connectors.models import ForeignConnector, Node
from connectors.reads import group_route
from connectors.reads import route as routes
from connectors.reads.group_route import Placed
from connectors.reads.route import Explanation
from connectors.transport import categorizer, limits, pickup, refusals, replay, submission
from connectors.transport.copies import GroupMember, recipient_of
from connectors.transport.expansion import Terms
from connectors.transport.routing import NextHop, Resolution, Verdict, resolve, travels_alone
from connectors.transport.submission import Submission

STAGES = ("pickup", "replay")
LONGEST = 32 * 1024 * 1024  # bytes of a file that is looked at
_NOBODY = 2**32 - 1  # an owner no setting trusts


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One recipient and its way."""

    address: str
    explanation: Explanation


@dataclass(frozen=True, slots=True, kw_only=True)
class DropFile:
    """One file that would be written; the id in its name is given when it is queued."""

    connector: str
    directory: str
    recipients: tuple[str, ...]
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What would become of a file."""

    fate: str  # queued, notice, bad or wait
    tone: str
    sentence: str
    cure: str = ""
    reason: str = ""  # reason code of a rejection
    line: int = 0
    text: str = ""  # the offending line, or the status of a refusal
    warnings: tuple[str, ...] = ()
    mail_from: str = ""
    sender: str = ""
    subject: str = ""
    message_id: str = ""
    size: int = 0
    routes: Sequence[Route] = ()
    bad_recipients: tuple[str, ...] = ()
    notice: str = ""  # where a failure notice would go; "" when nothing fails
    files: Sequence[DropFile] = ()


def run(data: bytes, *, stage: str, now: datetime) -> DryRun:
    """Judge a file as Pickup or Replay would, route its recipients and write its drop files into memory."""
    node = copy.copy(routing_table.local_node())
    node.pickup_directory_path = node.pickup_directory_path or "/"  # a directory that is off still has its rules
    node.replay_directory_path = node.replay_directory_path or "/"
    door = (replay if stage == "replay" else pickup).door(node)
    assert door is not None
    verdict = door.reader(data, _NOBODY)
    if isinstance(verdict, Rejection):
        draft, _refused = refusals.as_draft(verdict, data=data, is_whole=True, file_name="")
        return _rejected((verdict.fate is Fate.NOTICE and _untellable(draft, node)) or verdict)
    refusal = _refusal(verdict, data, node)
    if isinstance(refusal, Rejection):
        return _rejected(refusal)
    sent = submission.from_draft(
        verdict,
        node=node,
        domain=door.domain,
        stage=door.stage,
        now=now,
        source_file="",
        source_key="",
        owner_uid=_NOBODY,
        refusal=refusal,
    )
    if sent.refusal is not None:
        shown = _shown(sent, warnings=verdict.warnings, fate="notice", tone="fail", sentence=_returned())
        return replace(shown, text=sent.refusal.text, notice=routes.notice(sent.envelope.mail_from))
    return _routed(sent, node, warnings=verdict.warnings)


def _untellable(draft: Draft, node: Node) -> Rejection | None:
    return refusals.untellable(draft, tells=refusals.tells_failures(node))


def _refusal(draft: Draft, data: bytes, node: Node) -> submission.Refusal | Rejection | None:
    """Return why the limits refuse the whole message, if they do (PU-43, RP-2, QL-4 to QL-6, QL-12).

    What is refused before it enters a queue is a bad file when nobody may be told.
    """
    size = len(data)
    if draft.has_org_headers:
        original = replay_format.original_size(b"".join(draft.header_fields) + b"\r\n")
        size = size if original is None else min(size, original)
    is_too_big = node.max_message_bytes is not None and size > node.max_message_bytes
    at_the_door = refusals.too_big(draft, "")[1] if is_too_big else refusals.looping(draft, "", node)
    if at_the_door is not None:
        return _untellable(draft, node) or at_the_door
    table = routing_table.load(node)
    sender = draft.envelope.mail_from
    excess = limits.excess(
        sender,
        size=size,
        recipients=len(draft.envelope.recipients) + len(draft.bad_recipients),
        max_recipients=node.max_recipients,
        is_exempt=False,
        directory=routing_table.directory_for({sender} if sender else set(), table),
    )
    return None if excess is None else submission.Refusal(text=excess.text, context=excess.context)


def _returned() -> str:
    return _("The whole message would be returned to its sender.")


def _rejected(rejection: Rejection) -> DryRun:
    """Return a file that would not be submitted, with its reason (PU-40 to PU-52)."""
    sentences = {
        Fate.BAD: _("The file would be set aside as a bad file (.bad)."),
        Fate.NOTICE: _returned(),
        Fate.WAIT: _(
            "The file would be looked at once more, in case it is still being written, then set aside (.bad)."
        ),
    }
    return DryRun(
        fate=str(rejection.fate),
        tone="fail",
        sentence=f"{sentences[rejection.fate]} {reasons.sentence(rejection.reason)}",
        cure=str(reasons.cure(rejection.reason)),
        reason=rejection.reason,
        line=rejection.line,
        text=rejection.text,
        mail_from=rejection.originator,
        sender=rejection.sender,
        subject=rejection.subject,
        message_id=rejection.message_id,
        bad_recipients=tuple(bad.text for bad in rejection.bad_recipients),
        notice=routes.notice(rejection.originator) if rejection.fate is Fate.NOTICE else "",
    )


def _shown(sent: Submission, *, warnings: tuple[str, ...], fate: str, tone: str, sentence: str) -> DryRun:
    return DryRun(
        fate=fate,
        tone=tone,
        sentence=sentence,
        warnings=warnings,
        mail_from=sent.envelope.mail_from,
        sender=sent.sender,
        subject=sent.subject,
        message_id=sent.message_id,
        size=len(sent.content),
        bad_recipients=tuple(bad.text for bad in sent.bad_recipients),
    )


def _routed(sent: Submission, node: Node, *, warnings: tuple[str, ...]) -> DryRun:
    """Route every recipient, groups by their members, and write the files of foreign connectors (DR-19, DR-20, MT-K)."""
    table = routing_table.load(node)
    recipients = sent.envelope.recipients
    directory = routing_table.directory_for({r.address for r in recipients}, table)
    size = len(sent.content)
    if sent.has_org_headers and (original := replay_format.original_size(sent.content)) is not None:
        size = min(size, original)

    def way(address: str) -> Resolution:
        return resolve(address, size=size, table=table, directory=directory, explain=True)

    resolutions = [(recipient, way(recipient.address)) for recipient in recipients]
    named = [(one, resolution) for one, resolution in resolutions if resolution.verdict is not Verdict.EXPAND]
    placed = _placed(sent, resolutions, way)
    groups = {group.address: group for group in placed.groups}
    found = [
        Route(
            address=one.address,
            explanation=routes.in_words_of_group(groups[one.address], placed)
            if one.address in groups
            else routes.in_words(resolution),
        )
        for one, resolution in resolutions
    ]
    letters = [Letter(sent.envelope, [*named, *_routed_members(placed.staying)])]
    for split in placed.copies:
        members = _routed_members(split.members)
        envelope = replace(sent.envelope, mail_from=split.return_path, recipients=tuple(one for one, _way in members))
        letters.append(Letter(envelope, members))
    asked = [one.notify for one, route in zip(recipients, found, strict=True) if _has_no_way(route)]
    asked.extend(one.notify for one in sent.bad_recipients)
    told = any(asks(notify, "FAILURE", default=True) for notify in asked)
    told = told or any(_fails(one) and group_route.told(one.member.terms) for one in placed.staying)
    fails = bool(asked) or any(_fails(one) for one, _copy in placed.members)
    shown = _shown(sent, warnings=warnings, fate="queued", tone="wait" if fails else "ok", sentence=_accepted(fails))
    notice = routes.notice(sent.envelope.mail_from) if told else ""
    return replace(shown, routes=found, files=_files(letters, sent), notice=notice)


class Letter(NamedTuple):
    """One message to be delivered: what was sent, or a copy split off it."""

    envelope: Envelope
    recipients: Sequence[tuple[Recipient, Resolution]]


def _placed(
    sent: Submission, resolutions: Sequence[tuple[Recipient, Resolution]], way: Callable[[str], Resolution]
) -> Placed:
    """Replace the groups among the recipients as the categorizer would."""
    return_path = sent.envelope.mail_from
    delivered = [(r.envelope_address, r.next_hop) for _one, r in resolutions if r.next_hop is not None]
    addresses = [*(one.address for one, _resolution in resolutions), *(address for address, _hop in delivered)]
    named = [
        (one.address, resolution, Terms(return_path=return_path, notify=one.notify, orcpt=one.orcpt), one.field)
        for one, resolution in resolutions
        if resolution.verdict is Verdict.EXPAND
    ]
    return group_route.place(
        named,
        return_path=return_path,
        taken={address_key(address) for address in addresses},
        hops={hop for _address, hop in delivered},
        resolve=way,
    )


def _routed_members(members: Sequence[GroupMember]) -> list[tuple[Recipient, Resolution]]:
    return [(recipient_of(one), one.member.resolution) for one in members]


def _has_no_way(route: Route) -> bool:
    return route.explanation.resolution.verdict is Verdict.FAIL


def _fails(one: GroupMember) -> bool:
    return one.member.resolution.verdict is Verdict.FAIL


def _files(letters: Sequence[Letter], sent: Submission) -> list[DropFile]:
    single = set(ForeignConnector.objects.filter(one_recipient_per_file=True).values_list("guid", flat=True))
    files: list[DropFile] = []
    for envelope, recipients in letters:
        by_copy: dict[tuple[NextHop, str], list[Recipient]] = {}
        for recipient, resolution in recipients:
            hop = resolution.next_hop
            if hop is None or not hop.connector_name:
                continue
            orcpt = recipient.orcpt
            if resolution.resolved_from:
                orcpt = orcpt or categorizer.original_recipient(resolution)
            key = (hop, recipient.address if travels_alone(hop, single) else "")
            by_copy.setdefault(key, []).append(replace(recipient, address=resolution.envelope_address, orcpt=orcpt))
        raw = replay_format.block(envelope, content_bytes=len(sent.content)) + sent.content
        files.extend(_file(raw, hop, copied, sent) for (hop, _alone), copied in by_copy.items())
    return files


def _accepted(fails: bool) -> str:
    if fails:
        return _("The file would be accepted, but some recipients would fail.")
    return _("The file would be accepted, and every recipient has a route.")


def _file(raw: bytes, hop: NextHop, recipients: Sequence[Recipient], sent: Submission) -> DropFile:
    connector = ForeignConnector.objects.get(guid=hop.connector)
    if connector.relay_dsn_required:
        recipients = [
            replace(r, notify=drop_format.without_success(r.notify)) if drop_format.asks_success(r.notify) else r
            for r in recipients
        ]
    block, content = drop_format.render(raw, recipients, has_org_headers=sent.has_org_headers)
    return DropFile(
        connector=connector.name,
        directory=routes.directory_of(hop),
        recipients=tuple(r.address for r in recipients),
        data=block + content,
    )
