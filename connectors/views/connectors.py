"""The list of connectors; they are changed in the admin."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from connectors import routing_table
from connectors.reads import connectors as reads
from connectors.reads import queues as queue_reads
from connectors.views.guards import may, needs_setup


@require_safe
@may("connectors.view_connector")
@needs_setup
def connectors(request: HttpRequest) -> HttpResponse:
    """Show each connector with its address spaces, queue and drop directory."""
    found = reads.rows(routing_table.local_node())
    tone, answer = reads.answer(found)
    context = {"connectors": found, "tone": tone, "answer": answer, "cap": queue_reads.CAP}
    return render(request, "connectors/connectors.html", context)
