"""Exports of queue lists: every property, exactly the rows of the filter, as UTF-8 CSV or TSV, streamed and audited (QU-21)."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TypeVar

from auditlog.models import LogEntry
from channels.db import database_sync_to_async
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_safe

from connectors import queue_filter, queue_properties, waiting_rows
from connectors.display_rows import text_of
from connectors.models import Node, Queue
from connectors.queue_filter import Filter, FilterError
from connectors.reads import message_list, queue_list
from connectors.views.guards import may, needs_setup, server_of

_TYPES = {"csv": "text/csv", "tsv": "text/tab-separated-values"}
_DIALECTS = {"csv": "excel", "tsv": "excel-tab"}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_BATCH = 500
Answer = TypeVar("Answer", HttpResponse, StreamingHttpResponse)


@require_safe
@may("connectors.view_queue")
@may("connectors.export_queue")
@needs_setup
def queues(request: HttpRequest, form: str) -> HttpResponse:
    """Return the queues the page lists, idle ones when it shows them."""
    _known(form)
    found = [queue for queue in queue_list.every(now=timezone.now()) if queue_list.is_listed(queue)]
    shown = [queue for queue in found if request.GET.get("idle") == "1" or not queue.is_idle]
    rows = queue_list.in_order([queue_list.properties(queue) for queue in shown], [])
    names = list(rows[0]) if rows else sorted(prop.name for prop in queue_properties.QUEUE.values())
    text = _line(names, form) + _lines(rows, names, form)
    _audit(request)
    return _file(HttpResponse(text, content_type=f"{_TYPES[form]}; charset=utf-8"), "queues", form)


@require_safe
@may("connectors.view_queue")
@may("connectors.export_queue")
@needs_setup
def messages(request: HttpRequest, form: str, pk: int | None = None) -> HttpResponse | StreamingHttpResponse:
    """Stream the messages that a filter means, of one queue or of all of a server, as they are when the download begins."""
    _known(form)
    queue = None if pk is None else get_object_or_404(Queue.objects.select_related("node"), pk=pk)
    try:
        wanted = queue_filter.parse(request.GET.get("f", ""), queue_properties.MESSAGE)
    except FilterError as error:
        return HttpResponse(str(error), status=400, content_type="text/plain; charset=utf-8")
    node = server_of(request.GET) if queue is None else queue.node
    _audit(request)
    last_item = waiting_rows.of(queue).newest_item()
    lines = _stream(wanted, node=node, queue=queue, last_item=last_item, form=form)
    answer = StreamingHttpResponse(lines, content_type=f"{_TYPES[form]}; charset=utf-8")
    answer["X-Accel-Buffering"] = "no"
    return _file(answer, "messages", form)


async def _stream(wanted: Filter, *, node: Node, queue: Queue | None, last_item: int, form: str) -> AsyncIterator[str]:
    """Yield a header and one batch after another; no more than one is in memory."""
    names = _message_names()
    yield _line(names, form)
    cursor = 0
    while True:
        rows, cursor = await database_sync_to_async(_batch)(wanted, node, queue, last_item, cursor)
        if not rows:
            return
        yield _lines(rows, names, form)


def _message_names() -> list[str]:
    """Return the columns: Exchange's properties in the order of their table."""
    first = ["Identity", "MessageIdentity"]
    known = [prop.name for prop in queue_properties.MESSAGE.values()]
    return [*first, *known, "ComponentLatency", *queue_properties.RESERVED_OF_MESSAGE]


def _batch(
    wanted: Filter, node: Node, queue: Queue | None, last_item: int, cursor: int
) -> tuple[list[dict[str, object]], int]:
    source = waiting_rows.of(queue)
    rows = source.listed(wanted, node=node, queue=queue.pk if queue else None, last_item=last_item)
    keys = source.keys_after(rows, cursor, limit=_BATCH)
    return (message_list.some(queue, keys), keys[-1]) if keys else ([], cursor)


def _lines(rows: Iterable[dict[str, object]], names: Sequence[str], form: str) -> str:
    return "".join(_line([_cell(row.get(name)) for name in names], form) for row in rows)


def _cell(value: object) -> str:
    """Return a value as text; one from outside that a spreadsheet would take for a formula begins with an apostrophe."""
    text = text_of(value)
    is_number = isinstance(value, int | float)
    return f"'{text}" if text.startswith(_FORMULA) and not is_number else text


def _line(cells: Sequence[str], form: str) -> str:
    out = io.StringIO()
    csv.writer(out, dialect=_DIALECTS[form]).writerow(cells)
    return out.getvalue()


def _known(form: str) -> None:
    if form not in _TYPES:
        raise Http404


def _audit(request: HttpRequest) -> None:
    """Write who took which list (QU-21); as exports of tracking do."""
    changes = {"export": ["", f"{request.path}?{request.GET.urlencode()}"[:1000]]}
    LogEntry.objects.log_create(request.user, force_log=True, action=LogEntry.Action.ACCESS, changes=changes)


def _file(answer: Answer, what: str, form: str) -> Answer:
    answer["Content-Disposition"] = f'attachment; filename="fcweb-{what}-{timezone.now():%Y%m%d%H%M}.{form}"'
    return answer
