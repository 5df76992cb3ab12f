"""Which route? A recipient's way as the page, the message page and its sentences show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from connectors import drop_directory, route_words, routing_table
from connectors.errors import FcwebError
from connectors.mail.address import TypedAddress
from connectors.mail.imcea import encapsulate
from connectors.models import ForeignConnector
from connectors.transport import routing
from connectors.transport.routing import Candidate, ConnectorKind, LostBecause, Resolution, Verdict

_TONES = {Verdict.DELIVER: "ok", Verdict.UNREACHABLE: "wait", Verdict.FAIL: "fail"}


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
    closeness: str  # specificity class in words; "" when nothing matched
    is_winner: bool
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


def explain(address: TypedAddress, *, size: int) -> Explanation:
    """Route one address as the categorizer would, and say why. Raises ImceaError for one that cannot travel."""
    table = routing_table.load()
    envelope_address = encapsulate(address, table.default_domain)
    directory = routing_table.directory_for({envelope_address}, table)
    resolution = routing.resolve(envelope_address, size=size, table=table, directory=directory, explain=True)
    return in_words(resolution)


def in_words(resolution: Resolution) -> Explanation:
    """Return a resolution made with `explain=True` in words."""
    return Explanation(
        tone=_TONES[resolution.verdict],
        answer=route_words.verdict_sentence(resolution),
        resolution=resolution,
        steps=[ExplainedStep(sentence=route_words.step_sentence(s), rule=s.rule) for s in resolution.steps],
        candidates=[_candidate(c) for c in sorted(resolution.candidates, key=_interest)],
        directory=_directory(resolution),
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
        closeness=_closeness(candidate),
        is_winner=candidate.lost is None,
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


def _directory(resolution: Resolution) -> str:
    hop = resolution.next_hop
    if hop is None or not hop.connector_name:
        return ""
    connector = ForeignConnector.objects.filter(guid=hop.connector).first()
    if connector is None:
        return ""
    try:
        return str(drop_directory.effective_path(connector, routing_table.local_node()))
    except FcwebError:
        return ""
