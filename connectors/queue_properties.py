"""Properties of queues and queued messages, with Exchange's names, kinds and operators (QU 1.3, 1.5). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from connectors.choices import DeliveryType, Priority, QueueStatus


class Kind(StrEnum):
    """What a property's values are; it decides the operators (QU-19)."""

    TEXT = "text"
    ENUM = "enum"
    INTEGER = "integer"  # sizes take B KB MB GB TB
    NUMBER = "number"
    TIME = "time"
    SPAN = "span"  # hh:mm:ss
    LIST = "list"  # texts; a comparison holds when one of them does


_EQUALITY = frozenset({"-eq", "-ne"})
_ORDER = frozenset({"-gt", "-ge", "-lt", "-le"})
_PRESENCE = frozenset({"-present", "-absent"})
OPERATORS: Mapping[Kind, frozenset[str]] = {
    Kind.TEXT: _EQUALITY | _PRESENCE | {"-like"},
    Kind.ENUM: _EQUALITY,
    Kind.INTEGER: _EQUALITY | _ORDER,
    Kind.NUMBER: _EQUALITY | _ORDER,
    Kind.TIME: _ORDER | _PRESENCE,
    Kind.SPAN: _EQUALITY | _ORDER,
    Kind.LIST: _EQUALITY | {"-like"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """One property; `values` maps what may be written for an enum, casefolded, to what is stored."""

    name: str
    kind: Kind
    values: Mapping[str, str | int | None] = field(default_factory=dict)

    @property
    def operators(self) -> frozenset[str]:
        """Return the operators this kind of property takes."""
        return OPERATORS[self.kind]


def _words(*names: str) -> dict[str, str | int | None]:
    return {name.casefold(): name for name in names}


# Accepted in filters though never set here: Exchange's other delivery types, and None (QU-9, QU 1.2, 1.4).
_DELIVERY_TYPES = _words(
    *DeliveryType.values,
    "DnsConnectorDelivery",
    "SmtpRelayToConnectorSourceServers",
    "SmtpRelayToDag",
    "SmtpRelayToMailboxDeliveryGroup",
    "SmtpRelayToRemoteActiveDirectorySite",
    "SmtpRelayToServers",
    "SmtpRelayWithinAdSite",
    "SmtpRelayWithinAdSiteToEdge",
    "SmtpRelaytoTiRg",
    "ShadowRedundancy",
    "Undefined",
    "Heartbeat",
    "MapiDelivery",
)
_QUEUE_STATUS = _words(*QueueStatus.values, "None")
_MESSAGE_STATUS = _words("Ready", "Active", "Retry", "Suspended", "PendingSuspend", "PendingRemove", "Locked", "None")
_MESSAGE_STATUS["pendingdelete"] = "PendingRemove"  # QA-11
_PRIORITY: dict[str, str | int | None] = {member.name.casefold(): member.value for member in Priority}
_CATEGORY = _words("Internal", "External")
_DIRECTION = _words("Incoming", "Originating", "Undefined")

EXTERNAL_TYPES = frozenset(
    {
        DeliveryType.NON_SMTP_GATEWAY.value,
        DeliveryType.DELIVERY_AGENT.value,
        "DnsConnectorDelivery",
        DeliveryType.SMART_HOST.value,
    }
)  # QU-12


def _table(*properties: Property) -> dict[str, Property]:
    return {item.name.casefold(): item for item in properties}


def _of(kind: Kind, names: str) -> list[Property]:
    return [Property(name=name, kind=kind) for name in names.split()]


QUEUE = _table(
    Property(name="DeliveryType", kind=Kind.ENUM, values=_DELIVERY_TYPES),
    Property(name="NextHopCategory", kind=Kind.ENUM, values=_CATEGORY),
    Property(name="Status", kind=Kind.ENUM, values=_QUEUE_STATUS),
    *_of(Kind.LIST, "Identity QueueIdentity"),  # name and integer form
    *_of(Kind.TEXT, "NextHopDomain NextHopConnector LastError TlsDomain"),
    *_of(Kind.INTEGER, "MessageCount DeferredMessageCount RetryCount"),
    *_of(Kind.TIME, "FirstRetryTime LastRetryTime NextRetryTime"),
    *_of(Kind.NUMBER, "IncomingRate OutgoingRate Velocity"),
)
MESSAGE = _table(
    Property(name="Status", kind=Kind.ENUM, values=_MESSAGE_STATUS),
    Property(name="Priority", kind=Kind.ENUM, values=_PRIORITY),
    Property(name="Directionality", kind=Kind.ENUM, values=_DIRECTION),
    *_of(Kind.LIST, "Queue Recipients"),
    *_of(Kind.TEXT, "InternetMessageId Subject LastError FromAddress OriginalFromAddress"),
    *_of(Kind.TEXT, "MessageSourceName SourceIP DeferReason"),
    *_of(Kind.INTEGER, "Size RetryCount SCL"),
    *_of(Kind.TIME, "DateReceived ExpirationTime"),
    *_of(Kind.SPAN, "MessageLatency"),
)
