"""Which route? A recipient's way as the page, the message page and its sentences show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.utils.translation import gettext as _

from connectors import drop_directory, route_words, routing_table
from connectors.errors import FcwebError
from connectors.mail.address import AddressSyntaxError, TypedAddress, parse_typed
from connectors.mail.address_space import Specificity
from connectors.mail.imcea import ImceaError, encapsulate
from connectors.models import ForeignConnector
from connectors.transport import routing
from connectors.transport.routing import (
    Candidate,
    ConnectorKind,
    LostBecause,
    NextHop,
    Resolution,
    Verdict,
)

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


def explain(address: TypedAddress, *, size: int, sender: str | None = None) -> Explanation:
    """Route one address as the categorizer would, and say why. Raises ImceaError for one that cannot travel.

    With `sender` ("" or "<>" for the null path) a failure also says where its notice would go.
    """
    found = in_words(_resolve(address, size=size))
    if sender is None or found.resolution.verdict is not Verdict.FAIL:
        return found
    return replace(found, notice=notice(sender))


def notice(sender: str) -> str:
    """Say where the failure notice for mail of a sender would go (A-25)."""
    if sender.strip() in {"", "<>"}:
        return _("No notice is sent: the sender is empty (<>).")
    try:
        resolution = _resolve(parse_typed(sender), size=0)
    except (AddressSyntaxError, ImceaError):
        return _("No notice can be sent: “%(sender)s” is not an address.") % {"sender": sender}
    words = {"sender": sender, "answer": route_words.verdict_sentence(resolution)}
    if resolution.verdict is Verdict.DELIVER:
        return _("A notice goes to %(sender)s. %(answer)s") % words
    return _("A notice to %(sender)s is due, but cannot be delivered. %(answer)s") % words


def _resolve(address: TypedAddress, *, size: int) -> Resolution:
    table = routing_table.load()
    envelope_address = encapsulate(address, table.default_domain)
    directory = routing_table.directory_for({envelope_address}, table)
    return routing.resolve(envelope_address, size=size, table=table, directory=directory, explain=True)


def in_words(resolution: Resolution) -> Explanation:
    """Return a resolution made with `explain=True` in words."""
    return Explanation(
        tone=_TONES[resolution.verdict],
        answer=route_words.verdict_sentence(resolution),
        resolution=resolution,
        steps=[ExplainedStep(sentence=route_words.step_sentence(s), rule=s.rule) for s in resolution.steps],
        candidates=[_candidate(c) for c in sorted(resolution.candidates, key=_interest)],
        directory=directory_of(resolution.next_hop),
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
