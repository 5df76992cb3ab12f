"""Which route? A recipient's way as the page, the message page and its sentences show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from django.utils.translation import gettext as _

from connectors import drop_directory, route_words, routing_table
from connectors.errors import FcwebError
from connectors.mail.address import AddressSyntaxError, TypedAddress, parse_typed
from connectors.mail.address_space import Specificity
from connectors.mail.imcea import ImceaError, encapsulate
from connectors.models import ForeignConnector
from connectors.reads import group_route
from connectors.reads.group_route import NamedGroup, Placed
from connectors.transport import routing
from connectors.transport.copies import GroupMember
from connectors.transport.expansion import Terms
from connectors.transport.routing import (
    Candidate,
    ConnectorKind,
    LostBecause,
    NextHop,
    Resolution,
    Verdict,
)

_TONES = {Verdict.DELIVER: "ok", Verdict.UNREACHABLE: "wait", Verdict.FAIL: "fail", Verdict.EXPAND: "ok"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedStep:
    """One step with its rule."""

    sentence: str
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedCandidate:
    """One connector's part in the decision."""

    connector: str
    kind: str
    space: str
    cost: int
    specificity: Specificity  # () when nothing matched
    closeness: str  # specificity class in words; "" when nothing matched
    is_winner: bool
    lost: LostBecause | None
    why: str
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """How one recipient is routed, in words."""

    tone: str
    answer: str
    resolution: Resolution
    steps: Sequence[ExplainedStep]
    candidates: Sequence[ExplainedCandidate]
    directory: str  # where the file goes; "" when no file is written
    notice: str = ""  # where a failure notice would go; "" when none is due or no sender was asked for
    group: GroupRoute | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedGroup:
    """One group, the asked one or one inside, and what became of its members' addresses."""

    address: str
    name: str
    members: tuple[str, ...]  # recipients it added, groups among them
    duplicates: tuple[str, ...]  # recipients before
    reports: str  # who is told when a member cannot be reached


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedMember:
    """Who gets the message in place of a group."""

    address: str
    group: str  # the innermost one it is in
    explanation: Explanation
    told: str  # who hears of its failure, in words
    reports_to: str  # the address of it; "" for nobody, or while the sender is not known
    copy: int  # number of its copy, from 1; 0 in the message itself


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedCopy:
    """A message of its own for members that leave another way or report to somebody else."""

    number: int
    return_path: str  # in words
    members: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRoute:
    """What becomes of a message for a group."""

    groups: Sequence[ExplainedGroup]
    members: Sequence[ExplainedMember]
    copies: Sequence[ExplainedCopy]


def explain(address: TypedAddress, *, size: int, sender: str | None = None) -> Explanation:
    """Route one address as the categorizer would, and say why. Raises ImceaError for one that cannot travel.

    With `sender` ("" or "<>" for the null path) a failure also says where its notice would go.
    """
    resolution, resolve = _resolve(address, size=size)
    if resolution.verdict is Verdict.EXPAND:
        found = _explain_group(resolution, resolve, sender=sender)
    else:
        found = in_words(resolution)
    if sender is None or found.resolution.verdict is not Verdict.FAIL:
        return found
    return replace(found, notice=notice(sender))


def notice(sender: str) -> str:
    """Say where the failure notice for mail of a sender would go (A-25)."""
    if sender.strip() in {"", "<>"}:
        return _("No notice is sent: the sender is empty (<>).")
    try:
        resolution, _others = _resolve(parse_typed(sender), size=0)
    except (AddressSyntaxError, ImceaError):
        return _("No notice can be sent: “%(sender)s” is not an address.") % {"sender": sender}
    words = {"sender": sender, "answer": route_words.verdict_sentence(resolution)}
    if resolution.verdict in {Verdict.DELIVER, Verdict.EXPAND}:
        return _("A notice goes to %(sender)s. %(answer)s") % words
    return _("A notice to %(sender)s is due, but cannot be delivered. %(answer)s") % words


def _resolve(address: TypedAddress, *, size: int) -> tuple[Resolution, Callable[[str], Resolution]]:
    """Return the route of an address, and the function that routes members of its groups by the same tables."""
    table = routing_table.load()
    envelope_address = encapsulate(address, table.default_domain)
    directory = routing_table.directory_for({envelope_address}, table)

    def resolve(other: str) -> Resolution:
        return routing.resolve(other, size=size, table=table, directory=directory, explain=True)

    return resolve(envelope_address), resolve


def _explain_group(resolution: Resolution, resolve: Callable[[str], Resolution], *, sender: str | None) -> Explanation:
    return_path = group_route.UNNAMED if sender is None else sender.strip().removeprefix("<").removesuffix(">")
    named = (resolution.original, resolution, Terms(return_path=return_path, notify="", orcpt=""), "")
    placed = group_route.place([named], return_path=return_path, taken=set(), hops=set(), resolve=resolve)
    return in_words_of_group(placed.groups[0], placed)


def in_words_of_group(named: NamedGroup, placed: Placed) -> Explanation:
    """Return one group of a message in words, its members routed with `explain=True`."""
    found = in_words(named.answer)
    own = {id(member) for member in named.found.members}
    directories: dict[NextHop | None, str] = {}
    members = [
        _explained_member(one, named, copy, directories) for one, copy in placed.members if id(one.member) in own
    ]
    if named.found.is_empty:
        return replace(found, group=GroupRoute(groups=_groups(named), members=(), copies=()))
    failing = sum(one.explanation.resolution.verdict is Verdict.FAIL for one in members)
    tones = {one.explanation.tone for one in members}
    tone = "fail" if tones == {"fail"} else "wait" if tones & {"fail", "wait"} else "ok"
    return replace(
        found,
        tone=tone,
        answer=route_words.members_sentence(str(named.resolution.final), count=len(members), failing=failing),
        group=GroupRoute(groups=_groups(named), members=members, copies=_copies(named, placed)),
    )


def _groups(named: NamedGroup) -> list[ExplainedGroup]:
    return [
        ExplainedGroup(
            address=one.group,
            name=entry.name if entry is not None else one.group,
            members=one.members,
            duplicates=one.duplicates,
            reports=group_route.reports_sentence(entry) if entry is not None else "",
        )
        for one, entry in zip(named.found.groups, named.entries, strict=True)
    ]


def _explained_member(
    one: GroupMember, named: NamedGroup, copy: int, directories: dict[NextHop | None, str]
) -> ExplainedMember:
    inner = group_route.group_of(named.found, one.member.address)
    told = group_route.told(one.member.terms)
    return ExplainedMember(
        address=one.member.address,
        group=inner.group if inner is not None else named.address,
        explanation=in_words(one.member.resolution, directories=directories),
        told=group_route.told_sentence(one.member.terms),
        reports_to="" if told == group_route.UNNAMED else told,
        copy=copy,
    )


def _copies(named: NamedGroup, placed: Placed) -> list[ExplainedCopy]:
    """Return the copies that members of this group are in."""
    own = {id(member) for member in named.found.members}
    found = []
    for number, copy in enumerate(placed.copies, 1):
        if not any(id(one.member) in own for one in copy.members):
            continue
        path = copy.return_path
        if path != placed.return_path:
            why = _("Its notices go to another address.")
        else:
            why = _("Its members leave another way.")
        shown = _("the sender") if path == group_route.UNNAMED else path or "<>"
        members = tuple(one.member.address for one in copy.members)
        found.append(ExplainedCopy(number=number, return_path=shown, members=members, why=why))
    return found


def in_words(resolution: Resolution, *, directories: dict[NextHop | None, str] | None = None) -> Explanation:
    """Return a resolution made with `explain=True` in words; `directories` are those found before, and grow."""
    known = {} if directories is None else directories
    hop = resolution.next_hop
    if hop not in known:
        known[hop] = directory_of(hop)
    return Explanation(
        tone=_TONES[resolution.verdict],
        answer=route_words.verdict_sentence(resolution),
        resolution=resolution,
        steps=[ExplainedStep(sentence=route_words.step_sentence(s), rule=s.rule) for s in resolution.steps],
        candidates=[_candidate(c) for c in sorted(resolution.candidates, key=_interest)],
        directory=known[hop],
    )


def _interest(candidate: Candidate) -> int:
    """The winner first, then those that would have served it, then the rest."""
    if candidate.lost is None:
        return 0
    return 2 if candidate.lost is LostBecause.NO_MATCH else 1


def oversize_fallbacks() -> tuple[tuple[str, str, str], ...]:
    """Return connectors whose too-big mail silently leaves by another: (limited, space, other). Rules: RT-24."""
    return routing.oversize_fallbacks(routing_table.load())


def _candidate(candidate: Candidate) -> ExplainedCandidate:
    kinds = {
        ConnectorKind.FOREIGN: _("foreign"),
        ConnectorKind.AGENT: _("delivery agent"),
        ConnectorKind.SEND: _("send"),
    }
    return ExplainedCandidate(
        connector=candidate.connector,
        kind=kinds[candidate.kind],
        space=candidate.space,
        cost=candidate.cost,
        specificity=candidate.specificity,
        closeness=_closeness(candidate),
        is_winner=candidate.lost is None,
        lost=candidate.lost,
        why=route_words.candidate_sentence(candidate),
        rule=candidate.rule,
    )


def _closeness(candidate: Candidate) -> str:
    """Return the specificity class of the space that matched (AS-30 to AS-34)."""
    if not candidate.specificity:
        return ""
    kind, _colon, rest = candidate.space.partition(":")
    space = rest.rpartition(";")[0]
    if kind == "X400":
        return _("X.400 attributes")
    if space == "*":
        return _("everything")
    if kind == "SMTP":
        return _("domain and its subdomains") if space.startswith("*.") else _("exact domain")
    return _("pattern") if "*" in space else _("exact address")


def directory_of(hop: NextHop | None) -> str:
    """Return where a file for this next hop is written, "" when none is."""
    if hop is None or not hop.connector_name:
        return ""
    connector = ForeignConnector.objects.filter(guid=hop.connector).first()
    if connector is None:
        return ""
    try:
        return str(drop_directory.effective_path(connector, routing_table.local_node()))
    except FcwebError:
        return ""
