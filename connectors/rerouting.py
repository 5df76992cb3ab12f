"""Rerouting: what a change of a connector would do to the messages that wait for it (RT-52, FC-22).

Nothing here changes anything: a change is made, looked at and rolled back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from connectors import configuration, routing_table
from connectors.choices import FREE, QueueStatus
from connectors.models import Connector, ForeignConnector, MessageRecipient, Node, Queue, QueueItem
from connectors.transport.expansion import Terms, expand
from connectors.transport.routing import Resolution, Verdict, resolve

_LOOKED_AT = 500  # recipients that are routed on trial
_NO_TERMS = Terms(return_path="", notify="", orcpt="")  # who would be told makes no difference here


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a change would do."""

    queues: tuple[tuple[str, int], ...]  # next hop, messages that wait in it
    waiting: int  # messages that would be resolved again
    looked_at: int  # recipients that were routed on trial
    returned: int  # of these, how many would be returned to their sender

    def sentences(self) -> list[str]:
        """Return the forecast in words, one sentence a queue and one on what would be returned."""
        found = [
            ngettext(
                "%(count)d message in the queue %(queue)s is routed again.",
                "%(count)d messages in the queue %(queue)s are routed again.",
                count,
            )
            % {"count": count, "queue": queue}
            for queue, count in self.queues
        ]
        if self.returned:
            text = _("Of %(looked_at)d recipients looked at, %(returned)d are returned to their senders.")
            found.append(text % {"looked_at": self.looked_at, "returned": self.returned})
        return found


def waiting(connector: Connector) -> tuple[tuple[str, int], ...]:
    """Return the queues of a connector and the messages that wait in each; suspended queues stay (RT-50, FC-22)."""
    counts = []
    for queue in Queue.objects.filter(next_hop_connector=connector.guid).select_related("node").order_by("pk"):
        count = sum(QueueItem.objects.filter(queue=queue, state=state).count() for state in FREE)
        if count and queue.status != QueueStatus.SUSPENDED:
            counts.append((queue.next_hop_domain, count))
    return tuple(counts)


def of_removal(connector: ForeignConnector) -> Forecast:
    """Return what removing a connector would do (FC-22)."""
    # A copy is deleted: Django empties the key of the object it deletes.
    return _on_trial(connector, lambda: configuration.remove(ForeignConnector.objects.get(pk=connector.pk)))


def of_change(
    connector: ForeignConnector,
    fields: dict[str, object],
    *,
    spaces: configuration.ListChange | None,
    servers: configuration.ListChange | None,
) -> Forecast:
    """Return what `configuration.change` with these arguments would do; raises what it raises."""
    copy = ForeignConnector.objects.get(pk=connector.pk)
    return _on_trial(connector, lambda: configuration.change(copy, fields, spaces=spaces, servers=servers))


def _on_trial(connector: ForeignConnector, change: Callable[[], None]) -> Forecast:
    with transaction.atomic():
        before = configuration.routing_facts(connector)
        change()
        forecast = after(connector, before=before)
        transaction.set_rollback(True)
    return forecast


def after(connector: ForeignConnector, *, before: configuration.Facts) -> Forecast:
    """Return what a change that was made in this transaction will do, once it is committed."""
    exists = ForeignConnector.objects.filter(pk=connector.pk).exists()
    if exists and configuration.routing_facts(connector) == before:
        return Forecast(queues=(), waiting=0, looked_at=0, returned=0)
    queues = waiting(connector)
    looked_at = returned = 0
    for node in Node.objects.all():
        verdicts = _verdicts(connector, node)
        looked_at += len(verdicts)
        returned += verdicts.count(Verdict.FAIL)
    return Forecast(
        queues=queues, waiting=sum(count for _queue, count in queues), looked_at=looked_at, returned=returned
    )


def _verdicts(connector: Connector, node: Node) -> list[Verdict]:
    """Route the first recipients that wait for a connector on a node by the tables of this transaction.

    One whose address has become a group's since counts as its members.
    """
    rows = list(
        MessageRecipient.objects.filter(
            item__queue__next_hop_connector=connector.guid, item__queue__node=node, item__state__in=FREE
        )
        .exclude(item__queue__status=QueueStatus.SUSPENDED)
        .order_by("pk")
        .values_list("address", "message__size")[:_LOOKED_AT]
    )
    if not rows:
        return []
    table = routing_table.fresh(node)
    directory = routing_table.directory_for({address for address, _size in rows}, table)

    def verdicts(address: str, size: int) -> list[Verdict]:
        def way(other: str) -> Resolution:
            return resolve(other, size=size, table=table, directory=directory)

        resolution = way(address)
        if resolution.verdict is not Verdict.EXPAND:
            return [resolution.verdict]
        found = expand(resolution, _NO_TERMS, taken=set(), resolve=way)
        return [member.resolution.verdict for member in found.members] or [Verdict.FAIL]  # docs/adr/0008

    return [verdict for address, size in rows for verdict in verdicts(address, size)]
