"""Listing of `manage.py queue`: queues, queued messages and the digest, filtered, sorted and paged as Exchange's cmdlets do it."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django.core.management.base import CommandError, OutputWrapper
from django.db.models import QuerySet
from django.utils import timezone

from connectors import queue_filter, queue_identity, queue_pages, queue_properties, queue_rows, submission_rows
from connectors.choices import DeliveryType
from connectors.display_rows import write_rows
from connectors.models import Message, Queue, QueueItem
from connectors.queue_identity import MessageIdentity
from connectors.queue_pages import Page
from connectors.queue_properties import Property
from connectors.reads import message_list, queue_digest, queue_lengths, queue_list
from connectors.waiting_rows import Rows

_QUEUE_COLUMNS = ("Identity", "DeliveryType", "Status", "MessageCount", "NextRetryTime", "LastError")
_MESSAGE_COLUMNS = ("Identity", "FromAddress", "Status", "Size", "DateReceived", "Subject")
_DIGEST_COLUMNS = ("GroupByValue", "MessageCount", "RetryMessageCount", "QueueCount", "OutgoingRate", "LastError")
_COUNTER_COLUMNS = ("DeliveryType", "ActiveLength", "RetryLength")
_FILTER_HELP = "e.g. \"FromAddress -like '*@contoso.com' -and Size -gt 1MB\""
_KINDS_HELP = "DeliveryType, Internal, External or Empty; comma-separated"


def add_arguments(parser: ArgumentParser, verb: str) -> None:
    """Add the options of list, get, messages, digest and counters."""
    if verb == "counters":
        parser.add_argument("--json", action="store_true")
        return
    if verb == "digest":
        _add_digest(parser)
        return
    identity = r"[Server\]Queue" if verb != "messages" else r"[Server\]Queue\Number, *\Number, a number, or a queue"
    parser.add_argument("identity", nargs="?", default="", help=identity)
    parser.add_argument("--filter", default="", help=_FILTER_HELP)
    parser.add_argument("--server", default="", help="queues of this server; not with an identity")
    if verb == "messages":
        named = r"[Server\]Queue; not with an identity, with --filter only Submission"
        parser.add_argument("--queue", default="", help=named)
        parser.add_argument("--include-recipient-info", action="store_true")
        parser.add_argument("--include-component-latency-info", action="store_true")
    else:
        parser.add_argument("--include", default="", help=_KINDS_HELP)
        parser.add_argument("--exclude", default="", help=_KINDS_HELP)
    parser.add_argument("--sort", "--sort-order", default="", help="--sort=-Size,+Subject")
    parser.add_argument("--result-size", default=str(queue_pages.DEFAULT_SIZE), help="1 to 250000, or unlimited")
    parser.add_argument("--bookmark-index", type=int, default=None, help="1-based first row; 2147483647 the last page")
    parser.add_argument("--bookmark-object", default="", help="identity of the first row; not with --bookmark-index")
    parser.add_argument("--no-bookmark", action="store_true", help="do not repeat the row of the bookmark")
    parser.add_argument("--backward", action="store_true", help="the page before the bookmark")
    parser.add_argument("--return-page-info", action="store_true", help="say the total and the first row in any case")
    parser.add_argument("--json", action="store_true")


def _add_digest(parser: ArgumentParser) -> None:
    parser.add_argument("--group-by", choices=list(queue_digest.GroupBy), default=queue_digest.GroupBy.NEXT_HOP_DOMAIN)
    parser.add_argument("--details-level", choices=list(queue_digest.Details), default=queue_digest.Details.NONE)
    parser.add_argument("--filter", default="", help="e.g. \"Status -eq 'Retry'\"")
    parser.add_argument("--server", default="")
    parser.add_argument("--include", default="", help=_KINDS_HELP)
    parser.add_argument("--exclude", default="", help=_KINDS_HELP)
    parser.add_argument("--result-size", default=str(queue_pages.DEFAULT_SIZE), help="1 to 250000, or unlimited")
    parser.add_argument("--json", action="store_true")


def parse(text: str, properties: Mapping[str, Property], stderr: OutputWrapper) -> queue_filter.Filter:
    """Read a filter; its warnings go to `stderr` (QU-20)."""
    wanted = queue_filter.parse(text, properties)
    for warning in wanted.warnings:
        stderr.write(warning)
    return wanted


def one_way(options: Mapping[str, Any], *ways: str) -> None:
    """Refuse more than one way to say which objects are meant, and a server with an identity (QU-17)."""
    used = [way for way in ways if options.get(way)]
    if len(used) > 1:
        raise CommandError(f"QU-17: {' and '.join(used)} exclude each other")
    if options.get("server") and options.get("identity"):
        raise CommandError("QU-17: the identity names its server itself; --server goes with --filter")


def queues(stdout: OutputWrapper, stderr: OutputWrapper, options: dict[str, Any]) -> None:
    """`list` and `get`: queues with their properties (QU 1.3)."""
    one_way(options, "identity", "filter")
    now = timezone.now()
    if options["identity"]:
        named = {queue.pk for queue in queue_list.some(queue_identity.parse_queue(options["identity"]))}
        found = [queue for queue in queue_list.every(now=now) if queue.pk in named]
    else:
        wanted = parse(options["filter"], queue_properties.QUEUE, stderr)
        kinds = {"include": words(options["include"]), "exclude": words(options["exclude"])}
        found = queue_list.rows(wanted, now=now, server=options["server"], **kinds)
    order = queue_pages.parse_order(options["sort"], queue_properties.QUEUE)
    rows = queue_list.in_order([queue_list.properties(queue) for queue in found], order)
    place, is_there = None, True
    if options["bookmark_object"]:
        _no_index(options)
        identity = queue_identity.parse_queue(options["bookmark_object"])
        place, is_there = queue_list.bookmark(rows, order, identity, now=now)
    page = _page(rows, len(rows), options, place=place, is_there=is_there)
    _write(stdout, page, _QUEUE_COLUMNS, options)


def messages(stdout: OutputWrapper, stderr: OutputWrapper, options: dict[str, Any]) -> None:
    """`messages`: queued messages with their properties (QU 1.5).

    What waits in Submission is in no other queue (QU-7), so a filter alone does not mean it: it is named, with or
    without a filter. A number alone means the message wherever it is (QU-16).
    """
    one_way(options, "identity", "queue")
    wanted = parse(options["filter"], queue_properties.MESSAGE, stderr)
    rows = queue_rows.listed(wanted)
    queue = options["queue"]
    if options["identity"]:
        if is_message(options["identity"], bare=True):
            one_way(options, "identity", "filter")
            identity = queue_identity.parse_message(options["identity"])
            rows = rows.filter(pk__in=message_list.copies(identity))
            submitted = message_list.in_submission(identity)
            if submitted.exists():
                _wherever(stdout, submitted, rows, options)
                return
        else:
            queue = options["identity"]
    if queue:
        named = queue_list.some(queue_identity.parse_queue(queue))
        if named and all(row.is_submission for row in named):
            submitted = submission_rows.listed(wanted).filter(node__in=[row.node_id for row in named])
            if options["server"]:
                submitted = submitted.filter(node__name__iexact=options["server"])
            bookmark = message_list.bookmark_in_submission
            _list(stdout, submitted, options, source=submission_rows, bookmark=bookmark, shown=_submitted)
            return
        one_way(options, "identity", "filter", "queue")
        rows = rows.filter(queue__in=[row.pk for row in named])
    if options["server"]:
        rows = rows.filter(queue__node__name__iexact=options["server"])
    _list(stdout, rows, options, source=queue_rows, bookmark=message_list.bookmark, shown=_copies)


def _list(
    stdout: OutputWrapper,
    rows: QuerySet[Any],
    options: dict[str, Any],
    *,
    source: Rows,
    bookmark: Callable[[QuerySet[Any], message_list.Order, MessageIdentity], tuple[int, bool]],
    shown: Callable[[Sequence[Any], Mapping[str, Any]], list[dict[str, object]]],
) -> None:
    """List one page, oldest first unless a sort is asked for. `Any`: rows are those of `source`."""
    order = queue_pages.parse_order(options["sort"], queue_properties.MESSAGE)
    place, is_there = None, True
    if options["bookmark_object"]:
        _no_index(options)
        place, is_there = bookmark(rows, order, queue_identity.parse_message(options["bookmark_object"]))
    found = source.with_facts(source.ordered(rows, order))
    page = _page(found, source.count(rows), options, place=place, is_there=is_there)
    told = Page(rows=shown(page.rows, options), first=page.first, total=page.total)
    _write(stdout, told, _MESSAGE_COLUMNS, options)


def _wherever(
    stdout: OutputWrapper, submitted: QuerySet[Message], copies: QuerySet[QueueItem], options: dict[str, Any]
) -> None:
    """List one message that waits in Submission, and its copies in queues if it has any (QU-16)."""
    rows = _submitted(list(submission_rows.with_facts(submitted)), options)
    rows += _copies(list(queue_rows.with_facts(copies.order_by("pk"))), options)
    page = _page(rows, len(rows), options, place=None, is_there=True)
    _write(stdout, page, _MESSAGE_COLUMNS, options)


def _submitted(messages: Sequence[Message], options: Mapping[str, Any]) -> list[dict[str, object]]:
    return message_list.submitted(
        messages,
        recipients=options["include_recipient_info"],
        latency=options["include_component_latency_info"],
    )


def _copies(items: Sequence[QueueItem], options: Mapping[str, Any]) -> list[dict[str, object]]:
    return message_list.properties(
        items,
        recipients=options["include_recipient_info"],
        latency=options["include_component_latency_info"],
    )


def digest(stdout: OutputWrapper, stderr: OutputWrapper, options: dict[str, Any]) -> None:
    """`digest`: how much waits where, as it is now (QU-14)."""
    wanted = parse(options["filter"], queue_properties.QUEUE, stderr)
    kinds = {"include": words(options["include"]), "exclude": words(options["exclude"])}
    found = queue_list.rows(wanted, now=timezone.now(), server=options["server"], **kinds)
    details = queue_digest.Details(options["details_level"])
    groups = queue_digest.groups(found, queue_digest.GroupBy(options["group_by"]))
    rows = [queue_digest.properties(group, details) for group in groups]
    page = queue_pages.cut(rows, total=len(rows), size=queue_pages.parse_size(options["result_size"]))
    write_rows(stdout, page, columns=_DIGEST_COLUMNS, as_json=options["json"])
    if not options["json"] and details is not queue_digest.Details.NONE:
        for row in page.rows:
            for queue in row["Details"]:
                stdout.write(f"{queue['Identity']}  {queue['Status']}  {queue['MessageCount']}  {queue['LastError']}")


def counters(stdout: OutputWrapper, stderr: OutputWrapper, options: dict[str, Any]) -> None:
    """`counters`: the active and retry lengths of each delivery type (QR-40)."""
    found = queue_lengths.lengths(queue_list.every(now=timezone.now()))
    rows = [{"DeliveryType": one.delivery_type, "ActiveLength": one.active, "RetryLength": one.retry} for one in found]
    page = Page(rows=rows, first=1, total=len(rows))
    write_rows(stdout, page, columns=_COUNTER_COLUMNS, as_json=options["json"])


def words(text: str) -> list[str]:
    """Read the kinds of queues of --include and --exclude (QU-17)."""
    found = [word.strip() for word in text.split(",") if word.strip()]
    known = {str(value).casefold() for value in queue_properties.QUEUE["deliverytype"].values}
    known |= {"internal", "external", "empty", DeliveryType.UNDEFINED.value.casefold()}
    wrong = [word for word in found if word.casefold() not in known]
    if wrong:
        raise CommandError(f"QU-17: {wrong[0]!r} is no delivery type, Internal, External or Empty")
    return found


def is_message(text: str, *, bare: bool) -> bool:
    r"""Tell whether an identity names a message; a bare number does where `bare` says so (QU-16).

    `Server\12` is queue 12 of that server when there is one.
    """
    head, separator, tail = text.strip().rpartition("\\")
    if not (tail.isascii() and tail.isdigit()) or head.casefold().endswith("shadow"):
        return False
    if not separator:
        return bare
    is_queue = "\\" not in head and Queue.objects.filter(node__name__iexact=head, pk=int(tail)).exists()
    return not (
        is_queue and not QueueItem.objects.filter(queue__next_hop_domain__iexact=head, message=int(tail)).exists()
    )


def _no_index(options: Mapping[str, Any]) -> None:
    if options["bookmark_index"] is not None:
        raise CommandError("QU-21: --bookmark-index and --bookmark-object exclude each other")


def _page(
    rows: Any,  # Any: a list or a queryset
    total: int,
    options: Mapping[str, Any],
    *,
    place: int | None,
    is_there: bool,
) -> Page:
    return queue_pages.cut(
        rows,
        total=total,
        size=queue_pages.parse_size(options["result_size"]),
        bookmark=options["bookmark_index"] if place is None else place,
        include=not options["no_bookmark"] or not is_there,
        forward=not options["backward"],
    )


def _write(stdout: OutputWrapper, page: Page, columns: Sequence[str], options: Mapping[str, Any]) -> None:
    write_rows(stdout, page, columns=columns, as_json=options["json"], page_info=options["return_page_info"])
