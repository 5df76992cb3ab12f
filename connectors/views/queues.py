"""Queues: the list and the messages waiting in one."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from connectors.reads import queues as reads
from connectors.views.guards import key_of, may
from fcweb.http import wants_partial


@require_safe
@may("connectors.view_queue")
def queues(request: HttpRequest) -> HttpResponse:
    """Show one row a queue."""
    now = timezone.now()
    found = reads.summaries()
    tone, answer = reads.answer(found, now)
    context = {"queues": found, "tone": tone, "answer": answer, "unrouted": reads.unrouted(), "cap": reads.CAP}
    template = "connectors/_queues.html" if wants_partial(request) else "connectors/queues.html"
    response = render(request, template, context)
    response["Vary"] = "HX-Request"
    return response


@require_safe
@may("connectors.view_queue")
def queue(request: HttpRequest, pk: int) -> HttpResponse:
    """Show what waits in one queue, oldest first."""
    found = reads.summaries(pk)
    if not found:
        raise Http404
    now = timezone.now()
    page = reads.waiting(pk, before=key_of(request, "before"), after=key_of(request, "after"))
    tone, answer = reads.queue_answer(found[0], now)
    context = {"queue": found[0], "page": page, "tone": tone, "answer": answer, "cap": reads.CAP}
    return render(request, "connectors/queue.html", context)
