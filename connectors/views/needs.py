"""Needs you: one inbox of what waits for a person."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from connectors import routing_table
from connectors.models import ForeignConnector
from connectors.reads import bad_files, drop_directories, inbox
from connectors.reads import overview as overview_reads
from connectors.reads import queues as queue_reads
from connectors.views import guards
from connectors.views.guards import needs_setup
from fcweb.http import wants_partial

_SIGHTS = ("connectors.view_queue", "connectors.view_connector", "connectors.view_sourcefile")


@require_safe
@needs_setup
def needs(request: HttpRequest) -> HttpResponse:
    """Show bad files, conditions, stuck and suspended queues, full directories, messages about to expire."""
    now, user = timezone.now(), request.user
    queues = queue_reads.summaries(now=now) if user.has_perm("connectors.view_queue") else []
    sees_connectors = user.has_perm("connectors.view_connector")
    connectors = ForeignConnector.objects.filter(enabled=True).order_by("name_key") if sees_connectors else []
    drops = drop_directories.look(connectors, routing_table.local_node())
    bad = bad_files.count() if user.has_perm("connectors.view_sourcefile") else 0
    found = overview_reads.needs(queues, drops, bad, now=now, may=guards.allows(request))
    if user.has_perm("connectors.view_queue"):
        found += inbox.more(queues, told=found, now=now)
    sees_nothing = not any(user.has_perm(permission) for permission in _SIGHTS)
    tone, answer = ("quiet", overview_reads.nothing_seen()) if sees_nothing and not found else inbox.answer(found)
    template = "connectors/_needs.html" if wants_partial(request) else "connectors/needs.html"
    response = render(request, template, {"needs": found, "tone": tone, "answer": answer, "sees_nothing": sees_nothing})
    response["Vary"] = "HX-Request"
    return response
