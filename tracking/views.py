"""Pages of tracking: Live, Tracking with its exports, Message."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta

from auditlog.models import LogEntry
from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth.decorators import permission_required
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from fcweb.http import wants_partial
from tracking import exchange_log, family, forms, search, story, stream
from tracking.models import TrackedMessage
from tracking.query import SearchQuery, parse
from tracking.rows import EventRow
from tracking.search import Listing

_may_look = permission_required("tracking.view_trackingevent", raise_exception=True)
_may_export = permission_required("tracking.export_trackingevent", raise_exception=True)
_LIVE_START = 50
_EVERYTHING = 2**62
_Writer = Callable[[Sequence[EventRow]], str]


@require_safe
@_may_look
def live(request: HttpRequest) -> HttpResponse:
    """Rows arrive by WebSocket; the newest fifty are there at once."""
    query_text = request.GET.get("q", "")
    newest = stream.newest_id()
    query = parse(query_text, now=timezone.now())
    rows = search.page(query, now=timezone.now(), limit=_LIVE_START).rows
    return render(request, "tracking/live.html", {"rows": rows, "q": query_text, "last": newest, "query": query})


@require_safe
@vary_on_headers("HX-Request")
@_may_look
def tracking(request: HttpRequest) -> HttpResponse:
    """Search; all state is in the URL."""
    now = timezone.now()
    asked = forms.read(request.GET, now=now)
    listing = Listing.EVENTS if request.GET.get("list") == Listing.EVENTS else Listing.MESSAGES
    older, newer = request.GET.get("older", ""), request.GET.get("newer", "")
    found = search.page(asked.query, now=now, older_than=older, newer_than=newer, listing=listing)
    context = {
        "form": forms.SearchForm(initial=request.GET.dict()),
        "asked": asked,
        "page": found,
        "listing": listing,
        "is_everything": asked.query.is_empty,
        "oldest": _oldest_if_asked_before(asked.query, found, now=now),
        "tracking_days": settings.FCWEB_TRACKING_DAYS,
        "newer_url": forms.url(request.GET, newer=found.newer) if found.newer else "",
        "older_url": forms.url(request.GET, older=found.older) if found.older else "",
        "messages_url": forms.url(request.GET, list=""),
        "events_url": forms.url(request.GET, list="event"),
        "periods": [(name, label, forms.url(request.GET, period=name)) for name, (_s, label) in forms.PERIODS.items()],
        "period": request.GET.get("period", ""),
        "export_query": forms.url(request.GET, list=""),
    }
    return render(request, "tracking/_results.html" if wants_partial(request) else "tracking/search.html", context)


def _oldest_if_asked_before(query: SearchQuery, found: search.Page, *, now: datetime) -> datetime | None:
    """Return the oldest time kept when a page may be short because events were forgotten (MTX-7)."""
    days = settings.FCWEB_TRACKING_DAYS
    times = [moment for moment in (query.start, query.end) if moment]
    if not days or not times or found.older or min(times) > now - timedelta(days=days):
        return None
    oldest = search.oldest()
    return oldest if oldest and min(times) < oldest else None


@require_safe
@_may_look
@_may_export
def export(request: HttpRequest, form: str) -> StreamingHttpResponse:
    """Stream every event of a query as Exchange's CSV or as JSON lines; the export is audited (MTP-5, MTS-21)."""
    writers: dict[str, tuple[_Writer, _Writer, str]] = {
        "csv": (_csv_header, _csv_lines, "text/csv; charset=utf-8"),
        "jsonl": (_no_header, _json_lines, "application/jsonl; charset=utf-8"),
    }
    if form not in writers:
        raise Http404
    begin, write, content_type = writers[form]
    query = forms.read(request.GET, now=timezone.now()).query
    changes = {"export": ["", request.GET.urlencode()[:1000]]}
    LogEntry.objects.log_create(request.user, force_log=True, action=LogEntry.Action.ACCESS, changes=changes)
    response = StreamingHttpResponse(_batches(query, begin, write), content_type=content_type)
    name = f"fcweb-{timezone.now():%Y%m%d%H%M}.{form}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["X-Accel-Buffering"] = "no"
    return response


async def _batches(query: SearchQuery, begin: _Writer, write: _Writer) -> AsyncIterator[str]:
    """Yield the text of one batch after another; no more than one is in memory."""
    batches = search.walk(query, now=timezone.now(), limit=_EVERYTHING)
    rows = await database_sync_to_async(next)(batches, ())
    yield begin(rows)
    while rows:
        yield write(rows)
        rows = await database_sync_to_async(next)(batches, ())


def _csv_header(rows: Sequence[EventRow]) -> str:
    return exchange_log.header(rows[0].at if rows else timezone.now())


def _csv_lines(rows: Sequence[EventRow]) -> str:
    return "".join(line for row in rows for line in exchange_log.lines(row))


def _no_header(rows: Sequence[EventRow]) -> str:
    return ""


def _json_lines(rows: Sequence[EventRow]) -> str:
    return "".join(json.dumps(exchange_log.fields(row), ensure_ascii=False) + "\n" for row in rows)


@require_safe
@vary_on_headers("HX-Request")
@_may_look
def message(request: HttpRequest, pk: int) -> HttpResponse:
    """One message: state, story, recipients, facts, notices, raw rows."""
    tracked = get_object_or_404(TrackedMessage, pk=pk)
    copies = family.of(tracked)
    rows = story.events_of(copies)
    told = story.steps(rows)
    relatives = family.tree(copies, rows)
    own_copies = family.copies_of(tracked, relatives)
    context = {
        "tracked": tracked,
        "steps": told,
        "is_cut": len(rows) > len(told),
        "family": relatives if len(relatives) > 1 else [],
        "internal_ids": [copy.internal_message_id for copy in copies],
        "parent": family.parent_of(tracked, relatives),
        "answer": story.answer(tracked),
        "copies_answer": family.copies_sentence(own_copies),
        "worst_state": family.worst_state(tracked, own_copies),
        "next_attempt": story.next_attempt(tracked, rows, now=timezone.now()),
        "outcomes": story.outcomes(rows),
        "file_names": story.file_names(told),
        "related": story.related(tracked, told, copies),
        "raw": [
            (step.row, exchange_log.fields(step.row), "".join(exchange_log.lines(step.row)).rstrip()) for step in told
        ],
        "is_panel": wants_partial(request),
    }
    template = "tracking/_message.html" if wants_partial(request) else "tracking/message.html"
    return render(request, template, context)
