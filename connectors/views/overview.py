"""The overview at `/`."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from connectors import routing_table
from connectors.models import ForeignConnector
from connectors.reads import bad_files, drop_directories, latency
from connectors.reads import overview as reads
from connectors.reads import queues as queue_reads
from connectors.views import guards
from connectors.views.guards import needs_setup
from fcweb.http import wants_partial


@require_safe
@needs_setup
def overview(request: HttpRequest) -> HttpResponse:
    """Show how everything stands; each part only to those who may open its list."""
    now, user, node = timezone.now(), request.user, routing_table.local_node()
    queues = queue_reads.summaries() if user.has_perm("connectors.view_queue") else []
    sees_connectors = user.has_perm("connectors.view_connector")
    connectors = ForeignConnector.objects.filter(enabled=True).order_by("name_key") if sees_connectors else []
    drops = drop_directories.look(connectors, node)
    bad = bad_files.count() if user.has_perm("connectors.view_sourcefile") else 0
    wants = reads.needs(queues, drops, bad, now=now, may=guards.allows(request))
    sees_events = user.has_perm("tracking.view_trackingevent")
    hours = reads.throughput(now) if sees_events else []
    sees_queues = user.has_perm("connectors.view_queue")
    tone, answer = reads.answer(queues, wants, hours, now=now, sees_queues=sees_queues)
    context = {"queues": queues, "drops": drops, "needs": wants, "hours": hours, "tone": tone, "answer": answer}
    context |= {"chart": reads.chart(hours), "totals": reads.totals(hours, queues, bad), "cap": queue_reads.CAP}
    context |= {"failures": reads.last_failures() if sees_events else [], "sees_events": sees_events}
    context["latencies"] = latency.latencies(queues, now)
    if reads.is_fresh():
        if not wants:
            context["answer"] = _("Ready for the first message.")
        context["first"] = reads.first_steps(node, default_domain=routing_table.load(node).default_domain)
    part = wants_partial(request)
    response = render(request, "connectors/_overview.html" if part else "connectors/overview.html", context)
    response["Vary"] = "HX-Request"
    return response
