"""Pages of tracking: Live, Tracking, Message."""

from __future__ import annotations

from urllib.parse import urlencode

from django.contrib.auth.decorators import permission_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone

from fcweb.http import wants_partial
from tracking import search, story, stream
from tracking.forms import SearchForm
from tracking.models import TrackedMessage

_may_look = permission_required("tracking.view_trackingevent", raise_exception=True)
_LIVE_START = 50


@_may_look
def live(request: HttpRequest) -> HttpResponse:
    """Rows arrive by WebSocket; the newest fifty are there at once."""
    query_text = request.GET.get("q", "")
    newest = stream.newest_id()
    query = search.parse(query_text, now=timezone.now())
    rows = search.page(query, limit=_LIVE_START).rows
    return render(request, "tracking/live.html", {"rows": rows, "q": query_text, "last": newest, "query": query})


@_may_look
def tracking(request: HttpRequest) -> HttpResponse:
    """Search; all state is in the URL."""
    form = SearchForm(request.GET)
    query = search.parse(request.GET.get("q", ""), now=timezone.now())
    if form.is_valid():
        query = form.merged(query)
    found = search.page(query, older_than=request.GET.get("older", ""), newer_than=request.GET.get("newer", ""))
    kept = {key: value for key, value in request.GET.items() if value and key not in {"older", "newer"}}
    context = {
        "form": form,
        "page": found,
        "query": query,
        "is_everything": search.is_empty(query),
        "newer_url": "?" + urlencode(kept | {"newer": found.newer}) if found.newer else "",
        "older_url": "?" + urlencode(kept | {"older": found.older}) if found.older else "",
    }
    return render(request, "tracking/_results.html" if wants_partial(request) else "tracking/search.html", context)


@_may_look
def message(request: HttpRequest, pk: int) -> HttpResponse:
    """One message: state, story, recipients, facts, raw rows."""
    tracked = get_object_or_404(TrackedMessage, pk=pk)
    told = story.steps(tracked)
    references = {step.event.reference for step in told if step.event.reference}
    related = TrackedMessage.objects.filter(message_id__in=references).exclude(pk=pk)[:20]
    context = {
        "tracked": tracked,
        "steps": told,
        "answer": story.answer(tracked),
        "outcomes": story.outcomes(told),
        "related": related,
    }
    template = "tracking/_message.html" if wants_partial(request) else "tracking/message.html"
    return render(request, template, context)
