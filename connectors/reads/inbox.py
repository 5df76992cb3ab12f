"""What waits for a person beyond the overview's list: suspended queues and messages, Poison, messages about to expire."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db.models import Count, Min
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from connectors import display, queue_rows
from connectors.reads import queues as queue_reads
from connectors.reads.overview import Need
from connectors.reads.queues import QueueSummary

_SOON = timedelta(hours=1)  # QA-7


def more(queues: Sequence[QueueSummary], *, told: Sequence[Need], now: datetime) -> list[Need]:
    """Return the needs that `overview.needs` leaves out; a queue already told is not told again."""
    known = {need.url for need in told}
    found = []
    for queue in queues:
        url = reverse("queue", args=[queue.pk])
        if url not in known and (queue.is_suspended or (queue.is_poison and queue.waiting)):
            found.append(_stopped_queue(queue, url))
        elif url not in known and queue.stopped:
            found.append(_stopped_messages(queue, url))
    return found + _expiring(queues, now=now)


def _stopped_queue(queue: QueueSummary, url: str) -> Need:
    if queue.is_poison:
        sentence = _("Poison holds %(count)s.") % {"count": display.capped(queue.waiting, queue_reads.CAP)}
        cure = _("These messages stopped the service. Resume or remove them.")
    else:
        sentence = _("%(name)s is suspended; %(count)s wait.") % {
            "name": queue.name,
            "count": display.capped(queue.waiting, queue_reads.CAP),
        }
        cure = _("Resume it when its mail may leave.")
    return Need(
        tone="wait", sentence=sentence, cure=cure, detail="", since=queue.oldest_at, url=url, action=_("Open the queue")
    )


def _stopped_messages(queue: QueueSummary, url: str) -> Need:
    sentence = ngettext(
        "%(name)s: %(count)s message is suspended.", "%(name)s: %(count)s messages are suspended.", queue.stopped
    )
    facts = {"name": queue.name, "count": display.capped(queue.stopped, queue_reads.CAP)}
    return Need(
        tone="wait",
        sentence=sentence % facts,
        cure=_("Resume or remove them."),
        detail="",
        since=None,
        url=f"{url}?f=Status+-eq+%27Suspended%27",
        action=_("Look at them"),
    )


def _expiring(queues: Sequence[QueueSummary], *, now: datetime) -> list[Need]:
    """Return one need a queue whose messages expire within the hour."""
    names = {queue.pk: queue.name for queue in queues}
    rows = queue_rows.sooner_than(now + _SOON).order_by().values_list("queue")
    found = []
    for queue, count, first in rows.annotate(n=Count("pk"), first=Min("message__expires_at")):
        sentence = ngettext(
            "%(name)s: %(count)s message expires within the hour.",
            "%(name)s: %(count)s messages expire within the hour.",
            count,
        ) % {"name": names.get(queue, ""), "count": display.capped(count, queue_reads.CAP)}
        due = _("The first in %(span)s.") % {"span": display.duration(first - now)}
        found.append(
            Need(
                tone="fail",
                sentence=sentence,
                cure=f"{_('Then it is returned to its sender.')} {due}",
                detail="",
                since=None,
                url=reverse("queue", args=[queue]),
                action=_("Open the queue"),
            )
        )
    return found


def answer(needs: Sequence[Need]) -> tuple[str, str]:
    """Return how things stand, as tone and sentence."""
    if not needs:
        return "ok", _("Nothing waits for you.")
    text = ngettext("%(count)d thing waits for somebody.", "%(count)d things wait for somebody.", len(needs))
    return ("fail" if any(need.tone == "fail" for need in needs) else "wait"), text % {"count": len(needs)}
