"""`manage.py queue list|get|counters|messages|suspend|resume|retry|resubmit|remove|redirect|export`: queues by command.

Exit codes: 0 done, 1 the request is wrong or nothing matched, 2 some objects failed, 3 nothing was changed.
"""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from connectors import choices, queue_filter, queue_pages, queue_properties, queue_rows, routing_table
from connectors.choices import WAITING, DeliveryType, Verb
from connectors.conf import transport_config
from connectors.display_rows import write_rows
from connectors.errors import FcwebError
from connectors.models import BulkJob, Queue, QueueItem
from connectors.queue_filter import FilterError
from connectors.queue_identity import parse_message, parse_queue
from connectors.reads import queue_lengths, queue_list
from connectors.reads import queues as queue_reads
from connectors.transport import jobs, queue_operations
from connectors.transport.jobs import Order

_QUEUE_VERBS = ("suspend", "resume", "retry")
_MESSAGE_VERBS = ("suspend", "resume", "remove", "redirect", "export")
_QUEUE_COLUMNS = ("Identity", "DeliveryType", "Status", "MessageCount", "NextRetryTime", "LastError")
_COUNTER_COLUMNS = ("DeliveryType", "ActiveLength", "RetryLength")
_MESSAGE_COLUMNS = ("Identity", "FromAddress", "Status", "Size", "DateReceived", "Subject")


class Command(BaseCommand):
    help = "List queues and queued messages; suspend, resume, retry, resubmit, remove, redirect and export them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        for verb in ("list", "get", "messages"):
            command = verbs.add_parser(verb)
            command.add_argument("identity", nargs="?", default="", help=r"[Server\]Queue, or a number")
            command.add_argument(
                "--filter", default="", help="e.g. \"FromAddress -like '*@contoso.com' -and Size -gt 1MB\""
            )
            command.add_argument(
                "--include", default="", help="DeliveryType, Internal, External or Empty; comma-separated"
            )
            command.add_argument("--exclude", default="")
            command.add_argument("--sort", default="", help="--sort=-Size,+Subject")
            command.add_argument(
                "--result-size", default=str(queue_pages.DEFAULT_SIZE), help="1 to 250000, or unlimited"
            )
            command.add_argument("--bookmark-index", type=int, default=0)
            command.add_argument("--no-bookmark", action="store_true", help="do not repeat the row of the bookmark")
            command.add_argument("--backward", action="store_true")
            command.add_argument("--json", action="store_true")
        verbs.add_parser("counters").add_argument("--json", action="store_true")
        for verb in ("suspend", "resume", "retry", "remove", "redirect", "export"):
            command = verbs.add_parser(verb)
            command.add_argument("identity", nargs="?", default="", help=r"a queue, or Queue\Number for one message")
            command.add_argument("--filter", default="", help="messages that match, in the queue named or in all")
            command.add_argument(
                "--messages", action="store_true", help="all messages of the queue, not the queue itself"
            )
            command.add_argument("--reason", default="")
            command.add_argument("--json", action="store_true")
            if verb == "retry":
                command.add_argument("--resubmit", action="store_true", help="send the messages back to Submission")
            if verb == "remove":
                command.add_argument("--with-ndr", choices=["true", "false"], default="true")
                command.add_argument("--recipient", default="")
                command.add_argument("--yes", action="store_true", help="do not ask")
            if verb == "redirect":
                command.add_argument("--to", required=True, help="name of the connector")
            if verb == "export":
                command.add_argument("--directory", required=True)
                command.add_argument("--remove", action="store_true", help="remove what was exported, without notice")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        try:
            if options["verb"] in {"list", "get"}:
                self._queues(options)
            elif options["verb"] == "counters":
                self._counters(options)
            elif options["verb"] == "messages":
                self._messages(options)
            else:
                self._operate(options)
        except FilterError as error:
            place = f"character {error.position + 1}"
            raise CommandError(f"{error.code}: {error} ({place})") from error
        except FcwebError as error:
            raise CommandError(f"{error.code}: {error}") from error

    def _queues(self, options: dict[str, Any]) -> None:
        wanted = self._parse(options["filter"], queue_properties.QUEUE)
        now = timezone.now()
        if options["identity"] and options["filter"]:
            raise CommandError("QU-17: name a queue or give a filter, not both")
        found = queue_list.rows(wanted, now=now, include=_words(options["include"]), exclude=_words(options["exclude"]))
        if options["identity"] and not parse_queue(options["identity"]).is_every:
            queue = queue_list.find(parse_queue(options["identity"]))
            found = [row for row in found if row.pk == queue.pk] or [
                row for row in queue_list.rows(queue_filter.Filter(), now=now) if row.pk == queue.pk
            ]
        rows = [queue_list.properties(row) for row in found]
        rows.sort(key=lambda row: str(row["Identity"]).casefold())
        order = queue_pages.parse_order(options["sort"], queue_properties.QUEUE)
        for name, descending in reversed(order):
            rows.sort(key=lambda row, name=name: _sortable(row.get(name)), reverse=descending)  # type: ignore[misc]
        page = self._page(rows, len(rows), options)
        write_rows(self.stdout, page, columns=_QUEUE_COLUMNS, as_json=options["json"])

    def _counters(self, options: dict[str, Any]) -> None:
        found = queue_lengths.lengths(queue_reads.summaries(now=timezone.now()))
        rows = [
            {"DeliveryType": one.delivery_type, "ActiveLength": one.active, "RetryLength": one.retry} for one in found
        ]
        page = queue_pages.Page(rows=rows, first=1, total=len(rows))
        write_rows(self.stdout, page, columns=_COUNTER_COLUMNS, as_json=options["json"])

    def _messages(self, options: dict[str, Any]) -> None:
        wanted = self._parse(options["filter"], queue_properties.MESSAGE)
        rows = queue_rows.listed(wanted)
        if options["identity"]:
            identity = parse_queue(options["identity"])
            if not identity.is_every:
                rows = queue_rows.listed(wanted, queue=queue_list.find(identity).pk)
        order = queue_pages.parse_order(options["sort"], queue_properties.MESSAGE)
        found = queue_rows.with_facts(queue_rows.ordered(rows, order))
        page = self._page(found, rows.count(), options)
        shown = queue_pages.Page(
            rows=[queue_rows.properties(item) for item in page.rows], first=page.first, total=page.total
        )
        write_rows(self.stdout, shown, columns=_MESSAGE_COLUMNS, as_json=options["json"])

    def _page(self, rows: Any, total: int, options: dict[str, Any]) -> queue_pages.Page:  # Any: list or queryset
        return queue_pages.cut(
            rows,
            total=total,
            size=queue_pages.parse_size(options["result_size"]),
            bookmark=options["bookmark_index"],
            include=not options["no_bookmark"],
            forward=not options["backward"],
        )

    def _parse(self, text: str, properties: dict[str, queue_properties.Property]) -> queue_filter.Filter:
        wanted = queue_filter.parse(text, properties)
        for warning in wanted.warnings:
            self.stderr.write(warning)
        return wanted

    def _operate(self, options: dict[str, Any]) -> None:
        verb, identity = options["verb"], options["identity"]
        if not identity and not options["filter"]:
            raise CommandError("QO-1: name a queue or a message, or give a filter")
        one = "\\" in identity and identity.rpartition("\\")[2].isdigit() and not _is_queue(identity)
        if verb in _QUEUE_VERBS and identity and not one and not options["filter"] and not options["messages"]:
            self._operate_queue(options)
            return
        if verb == "retry":
            raise CommandError("QO-6: retry concerns a whole queue")
        order = self._order(options, one=one)
        if verb == "remove" and not options["yes"] and not self._confirmed(order):
            raise CommandError("not confirmed", returncode=3)
        now = timezone.now()
        job = jobs.start(routing_table.local_node(), order, now=now)
        job = jobs.run_to_end(job, config=transport_config(), now=now)
        self._tell(job, options)

    def _operate_queue(self, options: dict[str, Any]) -> None:
        now, verb = timezone.now(), options["verb"]
        queue = self._queue_or_new(options["identity"], verb)
        if verb == "retry" and options["resubmit"]:
            order = Order(verb=Verb.RESUBMIT, actor=_actor(), reason=options["reason"], queue=queue)
            job = jobs.start(queue.node, order, now=now)
            job = jobs.run_to_end(job, config=transport_config(), now=now)
        else:
            job = jobs.operate_queue(queue, verb, actor=_actor(), reason=options["reason"], now=now)
        self._tell(job, options)

    def _queue_or_new(self, text: str, verb: str) -> Queue:
        """Return the queue; Submission and a connector's queue may be suspended before they exist (QA-6)."""
        identity = parse_queue(text)
        try:
            return queue_list.find(identity)
        except FcwebError as error:
            if error.code != "QUEUE_NOT_FOUND" or verb != "suspend":
                raise
            node = routing_table.local_node()
            if identity.name == "Submission":
                return queue_operations.special_queue(node, choices.SUBMISSION_DOMAIN)
            queue = queue_operations.redirect_target(node, identity.name)
            if queue is None:
                raise
            return queue

    def _order(self, options: dict[str, Any], *, one: bool) -> Order:
        verb = options["verb"]
        if verb == "remove":
            verb = Verb.REMOVE_NDR if options["with_ndr"] == "true" else Verb.REMOVE
        elif verb == "export" and options["remove"]:
            verb = Verb.EXPORT_REMOVE
        queue: Queue | None = None
        items: tuple[int, ...] = ()
        if one:
            queue, items = _copy(options["identity"])
        elif options["identity"]:
            queue = queue_list.find(parse_queue(options["identity"]))
        return Order(
            verb=verb,
            actor=_actor(),
            reason=options["reason"],
            filter_text=options["filter"],
            queue=queue,
            items=items,
            recipient=options.get("recipient") or "",
            connector_name=options.get("to") or "",
            directory=options.get("directory") or "",
        )

    def _confirmed(self, order: Order) -> bool:
        """Ask before a removal, with the count (QO-3)."""
        wanted = queue_filter.parse(order.filter_text, queue_properties.MESSAGE)
        rows = queue_rows.listed(wanted, queue=order.queue.pk if order.queue else None)
        count = (rows.filter(pk__in=order.items) if order.items else rows).count()
        how = "with notices" if order.verb == Verb.REMOVE_NDR else "silently"
        self.stdout.write(f"Remove {count} {how}? [y/N] ", ending="")
        self.stdout.flush()
        try:
            return input().strip().lower() in {"y", "yes"}
        except EOFError:
            return False

    def _tell(self, job: BulkJob, options: dict[str, Any]) -> None:
        facts = {
            "job": job.pk,
            "verb": job.verb,
            "total": job.total,
            "changed": job.changed,
            "unchanged": job.unchanged,
            "failed": job.failed,
        }
        page = queue_pages.Page(rows=[facts], first=1, total=1)
        write_rows(self.stdout, page, columns=tuple(facts), as_json=options["json"])
        if job.failed:
            raise CommandError(f"{job.failed} failed; see operation {job.pk}", returncode=2)
        if not job.total:
            raise CommandError("nothing matched", returncode=1)
        if not job.changed:
            raise CommandError("nothing was changed", returncode=3)


def _actor() -> str:
    return f"command:{getpass.getuser()}"


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    known = {str(value).casefold() for value in queue_properties.QUEUE["deliverytype"].values}
    known |= {"internal", "external", "empty", DeliveryType.UNDEFINED.value.casefold()}
    wrong = [word for word in words if word.casefold() not in known]
    if wrong:
        raise CommandError(f"QU-17: {wrong[0]!r} is no delivery type, Internal, External or Empty")
    return words


def _sortable(value: object) -> tuple[bool, str | float]:
    if value is None:
        return (False, 0.0)
    if isinstance(value, int | float):
        return (True, float(value))
    return (True, value.isoformat() if hasattr(value, "isoformat") else str(value).casefold())


def _is_queue(text: str) -> bool:
    r"""Tell whether `Server\12` names a queue of this server by its number rather than a message."""
    head, _, tail = text.rpartition("\\")
    return "\\" not in head and Queue.objects.filter(node__name__iexact=head, pk=int(tail)).exists()


def _copy(text: str) -> tuple[Queue | None, tuple[int, ...]]:
    r"""Return the one copy that `Queue\Number` means; an error when it means more than one (QU-16)."""
    identity = parse_message(text)
    rows = QueueItem.objects.filter(state__in=WAITING, message=identity.number)
    queue = None
    if not identity.queue.is_every:
        queue = queue_list.find(identity.queue)
        rows = rows.filter(queue=queue)
    keys = tuple(rows.order_by("pk").values_list("pk", flat=True)[:2])
    if not keys:
        raise CommandError(f"MESSAGE_NOT_FOUND: no message {text!r} waits")
    if len(keys) > 1:
        raise CommandError(f"QU-16: {text!r} is in more than one queue; use a filter")
    return queue, keys
