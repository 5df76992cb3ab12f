"""Parts of the Message page that only the transport knows; tracking's page loads them by URL (ADR message page parts)."""

from __future__ import annotations

from urllib.parse import urlencode

from auditlog.models import LogEntry
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from connectors import routing_table
from connectors.conf import transport_config
from connectors.models import Message
from connectors.reads import message_parts as reads
from connectors.reads import safety_net
from connectors.views.guards import may, needs_setup
from fcweb.http import wants_partial


@require_safe
@vary_on_headers("HX-Request")
@may("tracking.view_trackingevent")
@needs_setup
def delivery(request: HttpRequest, tracked: int) -> HttpResponse:
    """Show where the message waits and, to those who may see connectors, how its recipients are routed."""
    message = reads.message_of(tracked)
    if message is None and not wants_partial(request):
        return redirect("message", tracked)  # forgotten with its content: there is nothing beside what Tracking knows
    user = request.user
    routes, more = reads.routes(message) if message and user.has_perm("connectors.view_connector") else ([], 0)
    context = {
        "tracked": tracked,
        "message": message,
        "waiting": reads.waiting(message) if message and user.has_perm("connectors.view_queue") else [],
        "everywhere_url": _everywhere(message) if message else "",
        "routes": routes,
        "more": more,
        "is_kept": message is not None and user.has_perm("connectors.change_queue") and safety_net.is_kept(message.pk),
        "may_read": user.has_perm("connectors.view_content"),
    }
    part = "connectors/_message_delivery.html"
    template = part if wants_partial(request) else "connectors/message_part.html"
    return render(request, template, context | {"part": part})


@require_safe
@vary_on_headers("HX-Request")
@may("tracking.view_trackingevent")
@may("connectors.view_content")
@needs_setup
def content(request: HttpRequest, tracked: int) -> HttpResponse:
    """Show header and body; each reading is audited."""
    message = reads.message_of(tracked)
    if message is None:
        raise Http404
    is_here = reads.is_here(message)
    try:
        shown = reads.read_content(message, transport_config()) if is_here else None
    except OSError as error:
        shown, problem = None, error.strerror or str(error)
    else:
        problem = ""
    if shown is not None:
        _audit(message)
    context = {"tracked": tracked, "message": message, "content": shown, "is_here": is_here, "problem": problem}
    part = "connectors/_message_content.html"
    template = part if wants_partial(request) else "connectors/message_part.html"
    return render(request, template, context | {"part": part})


def _everywhere(message: Message) -> str:
    """Return the address of all waiting copies of a message, where it can be stopped or removed as a whole (QX-1)."""
    quoted = message.message_id.replace("'", "''")
    elsewhere = {} if message.node.name == routing_table.local_name() else {"server": message.node.name}
    query = urlencode(elsewhere | {"f": f"InternetMessageId -eq '{quoted}'"})
    return f"{reverse('queue-messages')}?{query}"


def _audit(message: Message) -> None:
    LogEntry.objects.log_create(message, force_log=True, action=LogEntry.Action.ACCESS)
