"""Queues: the list with its digest, the messages waiting in one or in all of them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from connectors import queue_filter, queue_properties, queue_rows, routing_table, waiting_rows
from connectors.models import BulkJob, ForeignConnector, Node, Queue
from connectors.queue_filter import Filter, FilterError
from connectors.reads import drop_directories, queue_ages, queue_changes, queue_digest, queue_list, waiting
from connectors.reads import queues as reads
from connectors.reads.queue_digest import GroupBy
from connectors.views.guards import key_of, may, needs_setup, server_of
from fcweb.http import wants_partial

_MATCH_CAP = reads.CAP + 1


@require_safe
@may("connectors.view_queue")
@needs_setup
def queues(request: HttpRequest) -> HttpResponse:
    """Show one row a queue, the digest, how old the mail is, and what waits in the drop directories."""
    seen, now = queue_changes.seen(), timezone.now()
    every = [queue for queue in reads.summaries(now=now) if queue_list.is_listed(queue)]
    shows_idle = request.GET.get("idle") == "1"
    found = [queue for queue in every if shows_idle or not queue.is_idle]
    tone, answer = reads.answer(found, now)
    context = {"queues": found, "tone": tone, "answer": answer, "unrouted": reads.unrouted(), "cap": reads.CAP}
    context |= {"idle": len(every) - len(found), "shows_idle": shows_idle, "edges": queue_ages.EDGES, "seen": seen}
    context |= {
        "ages": queue_ages.ages(found, now=now),
        "submission": next((q for q in found if q.is_submission), None),
    }
    asked = request.GET.get("by", "")
    by = GroupBy(asked) if asked in set(GroupBy) else GroupBy.NEXT_HOP_DOMAIN
    context |= {"groups": queue_digest.groups(found, by), "by": by, "ways": _ways(request, by)}
    if request.user.has_perm("connectors.view_connector"):
        connectors = list(ForeignConnector.objects.filter(enabled=True).order_by("name_key"))
        drops = drop_directories.look(connectors, routing_table.local_node())
        context["drops"] = [
            (drop, queue_ages.full_at(connector.guid, used=drop.bytes, quota=drop.quota, now=now), connector)
            for drop, connector in zip(drops, connectors, strict=True)
        ]
    return _answer(request, "queues", context)


def _ways(request: HttpRequest, chosen: GroupBy) -> list[tuple[str, str, bool]]:
    """Return what the digest can be grouped by: words, address, whether it is the present way."""
    words = {
        GroupBy.NEXT_HOP_DOMAIN: _("next hop"),
        GroupBy.DELIVERY_TYPE: _("kind of delivery"),
        GroupBy.LAST_ERROR: _("last error"),
        GroupBy.NEXT_HOP_CATEGORY: _("inside or outside"),
        GroupBy.NEXT_HOP_KEY: _("next hop with connector"),
        GroupBy.STATUS: _("state"),
        GroupBy.SERVER_NAME: _("server"),
    }
    kept = {"idle": "1"} if request.GET.get("idle") == "1" else {}
    return [(words[way], "?" + urlencode(kept | {"by": way.value}), way is chosen) for way in GroupBy]


@require_safe
@may("connectors.view_queue")
def queue(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what waits in one queue, oldest first, narrowed by a filter; all state is in the URL."""
    seen, now = queue_changes.seen(), timezone.now()
    row = get_object_or_404(Queue.objects.select_related("node"), pk=pk)
    found = reads.summaries(pk, now=now)
    if not found:
        raise Http404
    tone, answer = reads.queue_answer(found[0], now)
    context = {"queue": found[0], "tone": tone, "answer": answer, "seen": seen}
    context |= _waiting(request, row.node, row, all_of_it=found[0].waiting)
    context["may_pick"] = context["may_pick"] and found[0].may_remove
    url = reverse("queue", args=[pk])
    context |= {"list_url": url, "clear_url": url, "confirm_url": reverse("queue-confirm", args=[pk])}
    context["jobs"] = BulkJob.objects.filter(queue=pk).order_by("-pk")[:5]
    return _answer(request, "queue", context)


@require_safe
@may("connectors.view_queue")
@needs_setup
def messages(request: HttpRequest) -> HttpResponse:
    """Show what waits in all queues of a server, oldest first, and operations on a message wherever it is (QX-1)."""
    seen, node = queue_changes.seen(), server_of(request.GET)
    total = queue_rows.count(queue_rows.listed(Filter(), node=node), cap=_MATCH_CAP)
    context: dict[str, Any] = {"is_everywhere": True, "seen": seen}
    context |= _waiting(request, node, None, all_of_it=total)
    url = reverse("queue-messages")
    context |= {"list_url": url, "confirm_url": reverse("queue-messages-confirm")}
    context["clear_url"] = f"{url}?{context['of_server']}" if context["of_server"] else url
    others = Node.objects.exclude(pk=node.pk).order_by("name").values_list("name", flat=True)
    context |= {"server_name": node.name, "other_servers": list(others)}
    return _answer(request, "queue_messages", context)


def _waiting(request: HttpRequest, node: Node, queue: Queue | None, *, all_of_it: int) -> dict[str, Any]:
    """Return the page of waiting messages with its filter; a filter that cannot be read shows all, and where it is wrong."""
    text, problem, wanted = request.GET.get("f", "").strip(), None, Filter()
    try:
        wanted = queue_filter.parse(text, queue_properties.MESSAGE)
    except FilterError as error:
        problem = error
    before, after = key_of(request, "before"), key_of(request, "after")
    if wanted.clauses and before is None and after is None:
        page, matching = waiting.first_page(node, queue, wanted, cap=_MATCH_CAP)
    else:
        page = waiting.page(node, queue, wanted, before=before, after=after)
        source = waiting_rows.of(queue)
        of_filter = source.listed(wanted, node=node, queue=queue.pk if queue else None)
        matching = source.count(of_filter, cap=_MATCH_CAP) if wanted.clauses else all_of_it
    server = request.GET.get("server", "")
    of_server = {"server": server} if server else {}
    kept = of_server | ({"f": text} if text else {})
    return {
        "server": server,
        "of_server": urlencode(of_server),
        "page": page,
        "cap": reads.CAP,
        "f": text,
        "problem": problem,
        "wanted": wanted,
        "matching": matching,
        "rows": page.rows,
        "may_pick": request.user.has_perm("connectors.change_queue"),
        "before_url": "?" + urlencode(kept | {"before": page.before}) if page.before else "",
        "after_url": "?" + urlencode(kept | {"after": page.after}) if page.after else "",
        "export_query": urlencode(of_server if problem else kept),
    }


def _answer(request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
    """Render a page, or its part alone for htmx."""
    template = f"connectors/_{name}.html" if wants_partial(request) else f"connectors/{name}.html"
    response = render(request, template, context)
    response["Vary"] = "HX-Request"
    return response
