"""Queues: the list and the messages waiting in one."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from connectors import queue_filter, queue_properties, queue_rows, routing_table
from connectors.models import BulkJob, ForeignConnector
from connectors.queue_filter import Filter, FilterError
from connectors.reads import drop_directories, queue_ages, queue_lengths, queue_list
from connectors.reads import queues as reads
from connectors.views.guards import key_of, may, needs_setup
from fcweb.http import wants_partial

_MATCH_CAP = reads.CAP + 1


@require_safe
@may("connectors.view_queue")
@needs_setup
def queues(request: HttpRequest) -> HttpResponse:
    """Show one row a queue, how old the mail is, and what waits in the drop directories."""
    now = timezone.now()
    every = [queue for queue in reads.summaries(now=now) if queue_list.is_listed(queue)]
    shows_idle = request.GET.get("idle") == "1"
    found = [queue for queue in every if shows_idle or not queue.is_idle]
    tone, answer = reads.answer(found, now)
    context = {"queues": found, "tone": tone, "answer": answer, "unrouted": reads.unrouted(), "cap": reads.CAP}
    context |= {"idle": len(every) - len(found), "shows_idle": shows_idle, "edges": queue_ages.EDGES}
    context["lengths"] = queue_lengths.lengths(every)
    context |= {"ages": queue_ages.ages(found, now=now), "has_submission_row": any(q.is_submission for q in found)}
    if request.user.has_perm("connectors.view_connector"):
        connectors = list(ForeignConnector.objects.filter(enabled=True).order_by("name_key"))
        drops = drop_directories.look(connectors, routing_table.local_node())
        context["drops"] = [
            (drop, queue_ages.full_at(connector.guid, used=drop.bytes, quota=drop.quota, now=now), connector)
            for drop, connector in zip(drops, connectors, strict=True)
        ]
    template = "connectors/_queues.html" if wants_partial(request) else "connectors/queues.html"
    response = render(request, template, context)
    response["Vary"] = "HX-Request"
    return response


@require_safe
@may("connectors.view_queue")
def queue(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what waits in one queue, oldest first, narrowed by a filter; all state is in the URL."""
    now = timezone.now()
    found = reads.summaries(pk, now=now)
    if not found:
        raise Http404
    text, problem, wanted = request.GET.get("f", "").strip(), None, Filter()
    try:
        wanted = queue_filter.parse(text, queue_properties.MESSAGE)
    except FilterError as error:
        problem = error
    page = reads.waiting(pk, wanted, before=key_of(request, "before"), after=key_of(request, "after"))
    matching = queue_rows.count(queue_rows.listed(wanted, queue=pk), cap=_MATCH_CAP) if wanted.clauses else None
    tone, answer = reads.queue_answer(found[0], now)
    kept = {"f": text} if text else {}
    context = {"queue": found[0], "page": page, "tone": tone, "answer": answer, "cap": reads.CAP, "f": text}
    context |= {"problem": problem, "wanted": wanted, "matching": found[0].waiting if matching is None else matching}
    context |= {"rows": [(item, queue_rows.status_of(item)) for item in page.items]}
    context["before_url"] = "?" + urlencode(kept | {"before": page.before}) if page.before else ""
    context["after_url"] = "?" + urlencode(kept | {"after": page.after}) if page.after else ""
    context["jobs"] = BulkJob.objects.filter(queue=pk).order_by("-pk")[:5]
    template = "connectors/_queue.html" if wants_partial(request) else "connectors/queue.html"
    response = render(request, template, context)
    response["Vary"] = "HX-Request"
    return response
