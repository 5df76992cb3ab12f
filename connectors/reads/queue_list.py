"""Queues as the commands show them: Exchange's properties, filtered, sorted and found by identity (QU 1.3, 1.7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from django.utils.translation import gettext as _

from connectors.choices import POISON_DOMAIN, SUBMISSION_DOMAIN, DeliveryType
from connectors.errors import FcwebError
from connectors.models import Queue
from connectors.queue_filter import Filter, Value, matches
from connectors.queue_identity import QueueIdentity
from connectors.queue_properties import EXTERNAL_TYPES
from connectors.reads import queues as reads
from connectors.reads.queues import QueueSummary

_HUNDRED = 100


def rows(
    wanted: Filter, *, now: datetime, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> list[QueueSummary]:
    """Return the queues a filter means that are listed now; `include` and `exclude` as in QU-17."""
    found = [queue for queue in reads.summaries(now=now) if not queue.is_idle and is_listed(queue)]
    found = [queue for queue in found if matches(wanted, values_of(queue))]
    if include:
        found = [queue for queue in found if any(_is_kind(queue, kind) for kind in include)]
    return [queue for queue in found if not any(_is_kind(queue, kind) for kind in exclude)]


def is_listed(queue: QueueSummary) -> bool:
    """Tell whether Exchange would list it: Unreachable and Poison only while they hold mail (QU-3, QU-4)."""
    return (
        bool(queue.waiting)
        or not (queue.is_poison or queue.delivery_type == DeliveryType.UNREACHABLE)
        or queue.is_suspended
    )


def _is_kind(queue: QueueSummary, kind: str) -> bool:
    word = kind.casefold()
    if word == "empty":
        return not queue.waiting
    if word in {"internal", "external"}:
        return category(queue).casefold() == word
    return queue.delivery_type.casefold() == word


def category(queue: QueueSummary) -> str:
    """Return NextHopCategory (QU-12)."""
    return "External" if queue.delivery_type in EXTERNAL_TYPES else "Internal"


def properties(queue: QueueSummary) -> dict[str, object]:
    """Return all properties of one queue, with Exchange's names (QU 1.3)."""
    return {
        "Identity": queue.identity,
        "QueueId": queue.pk,
        "DeliveryType": queue.delivery_type,
        "NextHopCategory": category(queue),
        "NextHopDomain": queue.domain,
        "NextHopConnector": str(queue.next_hop_connector),
        "ConnectorName": queue.name,
        "Status": queue.status,
        "MessageCount": queue.waiting,
        "DeferredMessageCount": 0,
        "LockedMessageCount": None,
        "RiskLevel": None,
        "OutboundIPPool": None,
        "OverrideSource": None,
        "LastError": queue.error,
        "FirstRetryTime": queue.first_retry_at,
        "LastRetryTime": queue.last_attempt_at,
        "NextRetryTime": queue.next_retry_at,
        "RetryCount": queue.retries,
        "IncomingRate": round(queue.incoming, 2),
        "OutgoingRate": round(queue.outgoing, 2),
        "Velocity": round(queue.velocity, 2),
        "TlsDomain": "",
    }


def values_of(queue: QueueSummary) -> Callable[[str], Sequence[Value]]:
    """Return what `queue_filter.matches` asks of a queue."""
    known = properties(queue)
    server = queue.identity.partition("\\")[0]

    def values(name: str) -> Sequence[Value]:
        if name in {"Identity", "QueueIdentity"}:
            return [queue.identity, f"{server}\\{queue.pk}"]
        return [known[name]]  # type: ignore[list-item]  # properties() holds values of the property's type

    return values


def find(identity: QueueIdentity) -> Queue:
    """Return the one queue that is meant; FcwebError when there is none (QA-13) or more than one (QO-1).

    A connector's name stands for its queue too.
    """
    found = Queue.objects.select_related("node").order_by("pk")
    if identity.server:
        found = found.filter(node__name__iexact=identity.server)
    if identity.is_every or identity.is_shadow:
        found = found.none()
    elif identity.number is not None:
        found = found.filter(pk=identity.number)
    elif identity.name == "Unreachable":
        found = found.filter(delivery_type=DeliveryType.UNREACHABLE)
    elif identity.name in {"Poison", "Submission"}:
        domain = POISON_DOMAIN if identity.name == "Poison" else SUBMISSION_DOMAIN
        found = found.filter(delivery_type=DeliveryType.UNDEFINED, next_hop_domain=domain)
    else:
        by_domain = found.filter(next_hop_domain__iexact=identity.name)
        found = by_domain if by_domain.exists() else found.filter(connector_name__iexact=identity.name)
    some = list(found[:2])
    if not some:
        raise FcwebError(
            _("There is no queue “%(name)s”.") % {"name": str(identity)[:_HUNDRED]},
            code="QUEUE_NOT_FOUND",
            rule="QA-13",
        )
    if len(some) > 1:
        text = _("“%(name)s” means more than one queue; name it by its number, or use a filter.")
        raise FcwebError(text % {"name": str(identity)[:_HUNDRED]}, code="QUEUE_AMBIGUOUS", rule="QO-1")
    return some[0]
