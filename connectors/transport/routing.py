"""Routing: one pure resolver for the categorizer, the `route` command and the "Which route?" page (RT-).

Promises: no I/O, no clock; the same table and directory give the same answer, and the explanation comes from
the same code as the decision. Leaves to neighbours: loading the table (`routing_table`), queues.

Step codes: decapsulated, imcea-refused, imcea-not-ours, mailbox, contact, group, ambiguous, loop, authoritative-unknown,
relay-domain, ex-unknown, malformed, eliminated-by-size, no-match, selected.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from uuid import UUID

from connectors.mail.address import TypedAddress, address_key, is_valid_smtp, normalize_domain, split_smtp
from connectors.mail.address_space import AddressSpace, Specificity
from connectors.mail.imcea import ImceaError, decapsulate, encapsulate

ZERO_GUID = UUID(int=0)
_MAX_ITERATIONS = 20  # RT-29
TOO_LARGE_TEXT = "550 5.2.3 RESOLVER.RST.RecipSizeLimit; message too large for this recipient"  # QL-6


class ConnectorKind(StrEnum):
    """Kinds of connectors; no criterion of selection (RT 4.2)."""

    FOREIGN = "foreign"
    AGENT = "agent"
    SEND = "send"


class DomainKind(StrEnum):
    """Kinds of accepted domains (RT-5, RT-6)."""

    AUTHORITATIVE = "authoritative"
    INTERNAL_RELAY = "internal_relay"
    EXTERNAL_RELAY = "external_relay"


class DirectoryKind(StrEnum):
    """What a directory look-up can find."""

    MAILBOX = "mailbox"
    CONTACT = "contact"
    GROUP = "group"


class DeliveryType(StrEnum):
    """Exchange's words for the ways out (RT 4.4)."""

    NON_SMTP_GATEWAY = "NonSmtpGatewayDelivery"
    DELIVERY_AGENT = "DeliveryAgent"
    SMART_HOST = "SmartHostConnectorDelivery"
    DNS = "DnsConnectorDelivery"
    SMTP_DELIVERY_TO_MAILBOX = "SmtpDeliveryToMailbox"
    UNREACHABLE = "Unreachable"


class Verdict(StrEnum):
    """What becomes of a recipient."""

    DELIVER = "deliver"
    UNREACHABLE = "unreachable"
    FAIL = "fail"
    EXPAND = "expand"  # a group: `expansion` takes its members instead


class LostBecause(StrEnum):
    """Why a candidate was not chosen, in the order of the rules."""

    SIZE = "size"
    SCOPE = "scope"
    DISABLED = "disabled"
    NO_MATCH = "no-match"
    NO_SOURCE = "no-source"
    LESS_SPECIFIC = "less-specific"
    HIGHER_COST = "higher-cost"
    NAME_ORDER = "name-order"


_LOST_RULE = {
    LostBecause.SIZE: "RT-10",
    LostBecause.SCOPE: "RT-11",
    LostBecause.DISABLED: "RT-25",
    LostBecause.NO_MATCH: "RT-11",
    LostBecause.NO_SOURCE: "RT-12",
    LostBecause.LESS_SPECIFIC: "RT-13",
    LostBecause.HIGHER_COST: "RT-14",
    LostBecause.NAME_ORDER: "RT-16",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedDomain:
    """One accepted domain."""

    domain: str
    kind: DomainKind
    is_default: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectorEntry:
    """What routing knows of a connector."""

    guid: UUID
    name: str
    kind: ConnectorKind
    spaces: tuple[AddressSpace, ...]
    enabled: bool = True
    in_scope: bool = True
    has_source: bool = True
    max_message_bytes: int | None = None
    smart_hosts: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryEntry:
    """A mailbox, contact or group."""

    kind: DirectoryKind
    name: str
    primary: str
    external: TypedAddress | None = None
    store: str = "Mailboxes"  # the queue of its deliveries
    max_send_bytes: int | None = None  # QL-6; None is unlimited
    max_receive_bytes: int | None = None
    max_recipients: int | None = None
    members: tuple[str, ...] = ()  # primary addresses of a group's members
    reports_to: str = "originator"  # or "manager" or "nobody" (DSN-11)
    manager: str = ""  # primary address of a group's manager


Directory = Mapping[str, Sequence[DirectoryEntry]]  # look-up key -> entries


@dataclass(frozen=True, kw_only=True)
class RoutingTable:
    """A snapshot of the routing configuration."""

    generation: int
    accepted_domains: tuple[AcceptedDomain, ...]
    imcea_domains: frozenset[str]  # normalised
    connectors: tuple[ConnectorEntry, ...]
    max_receive_bytes: int | None = None  # organisation limit for mailboxes (QL-4)
    default_domain: str = field(init=False)
    _domains: dict[str, DomainKind] = field(init=False, repr=False, compare=False)
    _by_type: dict[str, tuple[ConnectorEntry, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        default = next((d.domain for d in self.accepted_domains if d.is_default), "")
        by_type: dict[str, list[ConnectorEntry]] = {}
        for connector in sorted(self.connectors, key=_name_order):
            for kind in {space.type for space in connector.spaces}:
                by_type.setdefault(kind, []).append(connector)
        object.__setattr__(self, "default_domain", default or "localhost")
        object.__setattr__(self, "_domains", {normalize_domain(d.domain): d.kind for d in self.accepted_domains})
        object.__setattr__(self, "_by_type", {kind: tuple(found) for kind, found in by_type.items()})

    def domain_kind(self, domain: str) -> DomainKind | None:
        """Return how a domain is accepted, or None when it is not ours."""
        return self._domains.get(normalize_domain(domain))

    def serving(self, kind: str) -> tuple[ConnectorEntry, ...]:
        """Return the connectors with an address space of this type, in name order."""
        return self._by_type.get(kind, ())


@dataclass(frozen=True, slots=True, kw_only=True)
class NextHop:
    """The next-hop key (QU-8)."""

    delivery_type: DeliveryType
    domain: str
    connector: UUID
    connector_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One connector's part in a decision; `lost` is None for the winner."""

    connector: str
    kind: ConnectorKind
    space: str
    cost: int
    specificity: Specificity
    lost: LostBecause | None
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a decision: rule, code and what the sentence about it needs."""

    rule: str
    code: str
    params: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What becomes of one recipient, and how that was decided."""

    original: str
    final: TypedAddress
    envelope_address: str  # SMTP form for the next hop
    resolved_from: str  # address before a contact or primary address replaced it; ""
    verdict: Verdict
    next_hop: NextHop | None
    status: str
    text: str
    steps: tuple[Step, ...]
    candidates: tuple[Candidate, ...]
    group: DirectoryEntry | None = None  # what to expand


UNREACHABLE_HOP = NextHop(
    delivery_type=DeliveryType.UNREACHABLE, domain="Unreachable Domain", connector=ZERO_GUID, connector_name=""
)


def lookup_keys(address: str, table: RoutingTable) -> tuple[str, ...]:
    """Return the directory keys an envelope address is looked up by. Rules: RT-1, RT-2."""
    try:
        typed = decapsulate(address, table.imcea_domains)
    except ImceaError:
        return ()
    return keys_of(typed)


def keys_of(address: TypedAddress) -> tuple[str, ...]:
    """Return the directory keys of a typed address."""
    if address.type == "SMTP":
        return (f"SMTP:{address_key(address.value)}",)
    if address.type == "EX":
        return (f"EX:{address.value.casefold()}", f"X500:{address.value.casefold()}")
    return (f"{address.type}:{address.value.casefold()}",)


def resolve(
    address: str,
    *,
    size: int,
    table: RoutingTable,
    directory: Directory,
    explain: bool = False,
    is_exempt: bool = False,
) -> Resolution:
    """Decide what becomes of one envelope recipient; `explain` adds every candidate to the answer.

    `is_exempt`: mailbox limits do not hold for it (QL-22); those of connectors do, they protect gateways,
    and a notice that is too large for one returns the header alone (`reports`).
    Rules: RT-1 to RT-29, RT-60, IM-7 to IM-12, QL-4, QL-6. Worked examples: RT-X1 to RT-X17.
    """
    trace = _Trace(address, table, explain=explain)
    try:
        typed = decapsulate(address, table.imcea_domains)
    except ImceaError as error:
        trace.step("IM-12", "imcea-refused", reason=str(error))
        return trace.fail(TypedAddress(type="SMTP", value=address), "5.1.3", "550 5.1.3 Invalid address")
    if typed.type != "SMTP":
        trace.step("IM-8", "decapsulated", address=str(typed))
    elif not is_valid_smtp(typed.value):
        trace.step("RT-60", "malformed")
        return trace.fail(typed, "5.1.3", "550 5.1.3 Invalid address")
    for _iteration in range(_MAX_ITERATIONS):
        found = _look_up(typed, trace.table, directory)
        if len({entry.primary for entry in found}) > 1:
            trace.step("RT-8", "ambiguous", address=str(typed))
            return trace.fail(typed, "5.1.4", "550 5.1.4 RESOLVER.ADR.Ambiguous; ambiguous address")
        if not found:
            return _route(typed, size, trace)
        entry = found[0]
        if entry.kind is DirectoryKind.MAILBOX:
            trace.step("RT-4", "mailbox", name=entry.name)
            limits = [limit for limit in (table.max_receive_bytes, entry.max_receive_bytes) if limit is not None]
            if limits and size > min(limits) and not is_exempt:
                trace.step("QL-6", "mailbox-size", name=entry.name, limit=str(min(limits)))
                return trace.fail(typed, "5.2.3", TOO_LARGE_TEXT)
            return trace.mailbox(typed, entry)
        if entry.kind is DirectoryKind.GROUP:
            trace.step("MT-K", "group", name=entry.name, count=str(len(entry.members)))
            return trace.expand(typed, entry)
        external = entry.external or TypedAddress(type="SMTP", value=entry.primary)
        trace.step("RT-3", "contact", name=entry.name, address=str(external))
        trace.resolved_from = trace.resolved_from or str(typed)
        if external == typed:
            return _route(typed, size, trace)
        typed = external
    trace.step("RT-29", "loop")
    return trace.fail(typed, "5.4.6", "550 5.4.6 RESOLVER.FWD.Loop; mail loop detected, too many hops")


def _look_up(address: TypedAddress, table: RoutingTable, directory: Directory) -> Sequence[DirectoryEntry]:
    """Return who has an address; an EX name goes before its X500 proxy, and an external relay domain is not ours to
    resolve. Rules: RT-2, RT-6.
    """
    if address.type == "SMTP" and table.domain_kind(split_smtp(address.value)[1]) is DomainKind.EXTERNAL_RELAY:
        return ()
    return next((entries for key in keys_of(address) if (entries := directory.get(key))), ())


def _route(address: TypedAddress, size: int, trace: _Trace) -> Resolution:
    """Decide an address the directory does not know. Rules: RT-5, RT-6, RT-8, RT-20 to RT-25."""
    if address.type == "EX":
        trace.step("RT-8", "ex-unknown")
        return trace.fail(address, "5.1.1", "550 5.1.1 RESOLVER.ADR.ExRecipNotFound; not found")
    if address.type == "SMTP":
        kind = trace.table.domain_kind(split_smtp(address.value)[1])
        if kind is DomainKind.AUTHORITATIVE:
            trace.step("RT-5", "authoritative-unknown", address=address.value)
            return trace.fail(address, "5.1.1", "550 5.1.1 RESOLVER.ADR.RecipNotFound; not found")
        if kind is not None:
            trace.step("RT-6", "relay-domain", domain=split_smtp(address.value)[1])
    selection = select(address, size=size, table=trace.table, explain=trace.explain)
    trace.candidates = selection.candidates
    if selection.winner is not None and selection.space is not None:
        trace.step("RT-16", "selected", connector=selection.winner.name, space=selection.space.canonical)
        return trace.connector(address, selection.winner, selection.space)
    if selection.too_small:
        trace.step("RT-22", "eliminated-by-size")
        return trace.fail(address, "5.3.4", "550 5.3.4 ROUTING.SizeLimit; message size exceeds the limit of the route")
    if address.type == "SMTP":
        trace.step("RT-20", "no-match")
        return trace.unreachable(address)
    trace.step("RT-21", "no-match")
    return trace.fail(address, "5.1.2", f"550 5.1.2 ROUTING.NoConnectorForAddressType; no connector for {address.type}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The connector chosen for an address, if any."""

    winner: ConnectorEntry | None
    space: AddressSpace | None
    too_small: bool  # all that match are too small for the message (RT-22)
    candidates: tuple[Candidate, ...]


def select(address: TypedAddress, *, size: int, table: RoutingTable, explain: bool = False) -> Selection:
    """Choose a connector. Rules: RT-10 to RT-16, AS-30 to AS-35."""
    considered = table.connectors if explain else table.serving(address.type)
    rated = [_rate(connector, address, size) for connector in considered]
    usable = [(c, space, spec) for c, space, spec, lost in rated if lost is None]
    winner: tuple[ConnectorEntry, AddressSpace, Specificity] | None = None
    if usable:
        best = max(spec for _c, _space, spec in usable)
        winner = min(
            ((c, space, spec) for c, space, spec in usable if spec == best),
            key=lambda item: (item[1].cost, *_name_order(item[0])),
        )
    too_small = winner is None and any(lost is LostBecause.SIZE for *_rest, lost in rated)
    candidates = tuple(_candidate(item, winner) for item in rated) if explain else ()
    return Selection(
        winner=winner[0] if winner else None,
        space=winner[1] if winner else None,
        too_small=too_small,
        candidates=candidates,
    )


_Rated = tuple[ConnectorEntry, AddressSpace, Specificity, LostBecause | None]


def _rate(connector: ConnectorEntry, address: TypedAddress, size: int) -> _Rated:
    """Return the most specific matching space of a connector, and why it is out if it is.

    Size comes first in the rules, but only a connector that would match counts as too small (RT-22, RT-23).
    """
    best: tuple[Specificity, AddressSpace] | None = None
    for space in connector.spaces:
        specificity = space.matches(address)
        if specificity is not None and (best is None or (specificity, -space.cost) > (best[0], -best[1].cost)):
            best = (specificity, space)
    if best is None:
        return connector, connector.spaces[0], (), LostBecause.NO_MATCH
    lost = None
    if not connector.enabled:
        lost = LostBecause.DISABLED
    elif not connector.in_scope:
        lost = LostBecause.SCOPE
    elif not connector.has_source:
        lost = LostBecause.NO_SOURCE
    elif connector.max_message_bytes is not None and _too_big(size, connector.max_message_bytes):
        lost = LostBecause.SIZE
    return connector, best[1], best[0], lost


def _too_big(size: int, limit: int) -> bool:
    """Tell whether a message is over a connector's limit; 0 lets nothing through (FC-8)."""
    return size > limit or limit == 0


def _candidate(rated: _Rated, winner: tuple[ConnectorEntry, AddressSpace, Specificity] | None) -> Candidate:
    connector, space, specificity, lost = rated
    rule = "RT-16"
    if lost is None and winner is not None and connector is not winner[0]:
        if specificity < winner[2]:
            lost = LostBecause.LESS_SPECIFIC
        elif space.cost > winner[1].cost:
            lost = LostBecause.HIGHER_COST
        else:
            lost = LostBecause.NAME_ORDER
    if lost is not None:
        rule = _LOST_RULE[lost]
    return Candidate(
        connector=connector.name,
        kind=connector.kind,
        space=space.canonical,
        cost=space.cost,
        specificity=specificity,
        lost=lost,
        rule=rule,
    )


def _name_order(connector: ConnectorEntry) -> tuple[str, str]:
    """Return the key of RT-16: NFC, casefolded, ordinal; the GUID as last resort."""
    return unicodedata.normalize("NFC", connector.name).casefold(), str(connector.guid)


def travels_alone(hop: NextHop, single: Collection[UUID]) -> bool:
    """Tell whether a recipient needs a copy of its own: mailboxes, and connectors in `single` (DR-20)."""
    return hop.connector in single or hop.delivery_type is DeliveryType.SMTP_DELIVERY_TO_MAILBOX


def oversize_fallbacks(table: RoutingTable) -> tuple[tuple[str, str, str], ...]:
    """Return (limited connector, its space, catching connector): mail too big for the first leaves by the second.

    The UI warns of it (RT-24).
    """
    found = []
    for limited in table.connectors:
        if limited.max_message_bytes is None or not limited.enabled:
            continue
        for space in limited.spaces:
            for other in table.serving(space.type):
                larger = other.max_message_bytes is None or other.max_message_bytes > limited.max_message_bytes
                if other is limited or not other.enabled or not larger:
                    continue
                if any(_catches(wide, space) for wide in other.spaces):
                    found.append((limited.name, space.canonical, other.name))
    return tuple(found)


def _catches(wide: AddressSpace, narrow: AddressSpace) -> bool:
    """Tell whether an address of the narrow space would also match the wide one."""
    if wide.type != narrow.type:
        return False
    sample = narrow.space.removeprefix("*.").replace("*", "0")
    value = f"x@{sample}" if wide.type == "SMTP" else sample
    return wide.matches(TypedAddress(type=wide.type, value=value)) is not None


class _Trace:
    """The steps of one decision, and how it ends."""

    def __init__(self, original: str, table: RoutingTable, *, explain: bool) -> None:
        self.original = original
        self.table = table
        self.explain = explain
        self.resolved_from = ""
        self.candidates: tuple[Candidate, ...] = ()
        self._steps: list[Step] = []

    def step(self, rule: str, code: str, **params: str) -> None:
        if self.explain:
            self._steps.append(Step(rule=rule, code=code, params=params))

    def fail(self, final: TypedAddress, status: str, text: str) -> Resolution:
        return self._end(final, self.original, Verdict.FAIL, None, status=status, text=text)

    def unreachable(self, final: TypedAddress) -> Resolution:
        text = "A matching connector cannot be found to route the external recipient"
        return self._end(final, final.value, Verdict.UNREACHABLE, UNREACHABLE_HOP, text=text)

    def expand(self, final: TypedAddress, entry: DirectoryEntry) -> Resolution:
        return replace(self._end(final, self.original, Verdict.EXPAND, None), group=entry)

    def mailbox(self, final: TypedAddress, entry: DirectoryEntry) -> Resolution:
        hop = NextHop(
            delivery_type=DeliveryType.SMTP_DELIVERY_TO_MAILBOX,
            domain=entry.store,
            connector=ZERO_GUID,
            connector_name="",
        )
        if final.type != "SMTP" or address_key(final.value) != address_key(entry.primary):
            self.resolved_from = self.resolved_from or str(final)
        primary = TypedAddress(type="SMTP", value=entry.primary)
        return self._end(primary, entry.primary, Verdict.DELIVER, hop)

    def connector(self, final: TypedAddress, connector: ConnectorEntry, space: AddressSpace) -> Resolution:
        if connector.kind is ConnectorKind.SEND:
            kind = DeliveryType.SMART_HOST if connector.smart_hosts else DeliveryType.DNS
            domain = connector.smart_hosts or space.space
        else:
            kind = (
                DeliveryType.NON_SMTP_GATEWAY
                if connector.kind is ConnectorKind.FOREIGN
                else DeliveryType.DELIVERY_AGENT
            )
            domain = space.space if space.type == "SMTP" else space.type
        hop = NextHop(delivery_type=kind, domain=domain, connector=connector.guid, connector_name=connector.name)
        try:
            envelope_address = encapsulate(final, self.table.default_domain)
        except ImceaError as error:
            self.step("IM-11", "imcea-refused", reason=str(error))
            return self.fail(final, "5.1.3", "550 5.1.3 Invalid address")
        return self._end(final, envelope_address, Verdict.DELIVER, hop)

    def _end(
        self,
        final: TypedAddress,
        envelope_address: str,
        verdict: Verdict,
        hop: NextHop | None,
        *,
        status: str = "",
        text: str = "",
    ) -> Resolution:
        return Resolution(
            original=self.original,
            final=final,
            envelope_address=envelope_address,
            resolved_from=self.resolved_from,
            verdict=verdict,
            next_hop=hop,
            status=status,
            text=text,
            steps=tuple(self._steps),
            candidates=self.candidates,
        )
