"""Properties of queues and queued messages, with Exchange's names, kinds and operators (QU 1.3, 1.5). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from connectors.choices import DeliveryType, Priority, QueueStatus


class Kind(StrEnum):
    """What a property's values are; it decides how a value is written (QU-19)."""

    TEXT = "text"
    ENUM = "enum"
    INTEGER = "integer"  # sizes take B KB MB GB TB
    NUMBER = "number"
    TIME = "time"
    SPAN = "span"  # hh:mm:ss
    LIST = "list"  # texts; a comparison holds when one of them does


# Sets of operators as the tables of properties name them (QU 1.3, 1.5).
_SAME = frozenset({"-eq", "-ne"})
_LIKE = _SAME | {"-like"}
_SOME = frozenset({"-present", "-absent"})
_ORDER = frozenset({"-gt", "-ge", "-lt", "-le"})
_COMPARE = _SAME | _ORDER


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """One property; `values` maps what may be written for an enum, casefolded, to what is stored."""

    name: str
    kind: Kind
    operators: frozenset[str]
    values: Mapping[str, str | int | None] = field(default_factory=dict)


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


def _of(kind: Kind, operators: frozenset[str], names: str) -> list[Property]:
    return [Property(name=name, kind=kind, operators=operators) for name in names.split()]


def _enum(name: str, values: Mapping[str, str | int | None]) -> Property:
    return Property(name=name, kind=Kind.ENUM, operators=_SAME, values=values)


# Reserved or of directory services that do not exist here: shown, always empty (QU 1.3, 1.5).
RESERVED_OF_QUEUE = ("LockedMessageCount", "RiskLevel", "OutboundIPPool", "OverrideSource")
RESERVED_OF_MESSAGE = (
    "LockReason",
    "AccountForest",
    "TrafficType",
    "TrafficSubType",
    "ExternalDirectoryOrganizationId",
)
PRIORITY_DESCRIPTIONS = ("High", "Normal", "Low", "None")  # order of the counts per priority

QUEUE = _table(
    _enum("DeliveryType", _DELIVERY_TYPES),
    _enum("NextHopCategory", _CATEGORY),
    _enum("Status", _QUEUE_STATUS),
    *_of(Kind.LIST, frozenset({"-like"}), "Identity QueueIdentity"),  # name and integer form
    *_of(Kind.TEXT, _LIKE, "NextHopDomain NextHopConnector TlsDomain"),
    *_of(Kind.TEXT, _LIKE, "MessageCountsPerPriority DeferredMessageCountsPerPriority"),  # "{0, 12, 0, 0}"
    *_of(Kind.TEXT, _LIKE | _SOME, "LastError"),
    *_of(Kind.INTEGER, _COMPARE, "MessageCount DeferredMessageCount RetryCount"),
    *_of(Kind.TIME, _ORDER | _SOME, "LastRetryTime NextRetryTime"),
    *_of(Kind.TIME, _COMPARE, "FirstRetryTime"),
    *_of(Kind.NUMBER, _COMPARE, "IncomingRate OutgoingRate Velocity"),
)
MESSAGE = _table(
    _enum("Status", _MESSAGE_STATUS),
    _enum("Priority", _PRIORITY),
    _enum("Directionality", _DIRECTION),
    *_of(Kind.LIST, _LIKE, "Queue"),
    *_of(Kind.LIST, frozenset({"-like"}), "Recipients"),
    *_of(Kind.TEXT, _LIKE, "InternetMessageId FromAddress OriginalFromAddress MessageSourceName DeferReason"),
    *_of(Kind.TEXT, _LIKE | _SOME, "Subject LastError"),
    *_of(Kind.TEXT, _SAME, "SourceIP"),
    *_of(Kind.INTEGER, _COMPARE, "Size RetryCount SCL"),
    *_of(Kind.TIME, _ORDER, "DateReceived ExpirationTime"),
    *_of(Kind.SPAN, _COMPARE, "MessageLatency"),
)
