"""Verbs of `manage.py queue`: which objects are meant, the operation on them, and what became of each (QO-1, QO-2)."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.core.management.base import CommandError, OutputWrapper
from django.utils import timezone

from connectors import choices, queue_filter, queue_identity, queue_properties, queue_rows, routing_table, waiting_rows
from connectors.choices import Verb
from connectors.conf import transport_config
from connectors.display_rows import write_rows
from connectors.errors import FcwebError
from connectors.management.queue_listing import is_message, one_way, parse
from connectors.models import BulkJob, Node, Queue
from connectors.queue_pages import Page
from connectors.reads import job_objects, message_list, queue_list
from connectors.transport import jobs, queue_operations
from connectors.transport.jobs import Order

VERBS = ("suspend", "resume", "retry", "remove", "redirect", "export")
_OF_QUEUES = ("suspend", "resume", "retry")
_COUNTS = ("job", "verb", "total", "changed", "unchanged", "failed")


def add_arguments(parser: ArgumentParser, verb: str) -> None:
    """Add the options of one verb."""
    what = {"retry": "a queue", "suspend": r"a queue, or Queue\Number for one message"}
    what["resume"] = what["suspend"]
    named = what.get(verb, r"one message: [Server\]Queue\Number, *\Number or its number")
    parser.add_argument("identity", nargs="?", default="", help=named)
    objects = "queues" if verb == "retry" else "messages"
    parser.add_argument("--filter", default="", help=f"all {objects} that match, instead of an identity")
    parser.add_argument("--server", default="", help="with --filter: objects of this server")
    if verb != "retry":
        parser.add_argument(
            "--messages", action="store_true", help="the identity is a queue: all messages that wait in it"
        )
    if verb in {"suspend", "resume"}:
        parser.add_argument("--queues", action="store_true", help="the filter is about queues, not messages")
    parser.add_argument("--reason", default="")
    parser.add_argument("--json", action="store_true")
    if verb == "retry":
        parser.add_argument("--resubmit", action="store_true", help="send the messages back to Submission")
    if verb == "remove":
        parser.add_argument("--with-ndr", choices=["true", "false"], default="true")
        parser.add_argument("--recipient", default="")
        parser.add_argument("--yes", action="store_true", help="do not ask")
    if verb == "redirect":
        parser.add_argument("--to", required=True, help="name of the connector")
    if verb == "export":
        parser.add_argument("--directory", required=True)
        parser.add_argument("--remove", action="store_true", help="remove what was exported, without notice")


def operate(stdout: OutputWrapper, stderr: OutputWrapper, options: dict[str, Any]) -> None:
    """Do one verb to the objects named or matched, and tell what became of each."""
    verb, identity = options["verb"], options["identity"]
    if not identity and not options["filter"]:
        raise CommandError("QO-1: name one object or give a filter")
    if options.get("messages") and not identity:
        raise CommandError("QO-1: --messages goes with the identity of a queue")
    one_way(options, "identity")
    if not (options.get("messages") and _is_submission(identity)):  # a filter alone does not mean what waits there
        one_way(options, "identity", "filter")
    of_queues = verb in _OF_QUEUES and not options.get("messages")
    if of_queues and identity:
        of_queues = not is_message(identity, bare=False)
    elif of_queues:
        of_queues = verb == "retry" or options["queues"]
    if verb == "retry" and not of_queues:
        raise CommandError("QO-6: retry concerns a whole queue")
    if of_queues:
        done = _operate_queues(stderr, options)
    else:
        done = [_operate_messages(stdout, stderr, options)]
    _tell(stdout, done, options)


def _is_submission(text: str) -> bool:
    named = queue_list.found(queue_identity.parse_queue(text))
    return bool(named) and all(queue.is_submission for queue in named)


def _queues(options: Mapping[str, Any], stderr: OutputWrapper) -> list[Queue]:
    if options["identity"]:
        return [_queue_or_new(options["identity"], options["verb"])]
    wanted = parse(options["filter"], queue_properties.QUEUE, stderr)
    keys = [row.pk for row in queue_list.rows(wanted, now=timezone.now(), server=options["server"])]
    return list(Queue.objects.select_related("node").filter(pk__in=keys).order_by("pk"))


def _queue_or_new(text: str, verb: str) -> Queue:
    """Return the queue; Submission and a connector's queue may be suspended before they exist (QA-6)."""
    identity = queue_identity.parse_queue(text)
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


def _operate_queues(stderr: OutputWrapper, options: Mapping[str, Any]) -> list[BulkJob]:
    """Do a verb to each queue meant; of several, one that cannot be resubmitted is named and the others go on (QO-2)."""
    queues = _queues(options, stderr)
    done = []
    for queue in queues:
        try:
            done.append(_operate_queue(queue, options))
        except FcwebError as error:
            if options["identity"] or error.code != "NOT_IN_RETRY":
                raise
            stderr.write(f"{queue_rows.queue_identity(queue)}: {error}")
    if queues and not done:
        raise CommandError("nothing was changed", returncode=3)
    return done


def _operate_queue(queue: Queue, options: Mapping[str, Any]) -> BulkJob:
    now, verb = timezone.now(), options["verb"]
    if verb == "retry" and options["resubmit"]:
        order = Order(verb=Verb.RESUBMIT, actor=_actor(), reason=options["reason"], queue=queue)
        job = jobs.start(queue.node, order, now=now)
        return jobs.run_to_end(job, config=transport_config(), now=now)
    return jobs.operate_queue(queue, verb, actor=_actor(), reason=options["reason"], now=now)


def _operate_messages(stdout: OutputWrapper, stderr: OutputWrapper, options: Mapping[str, Any]) -> BulkJob:
    parse(options["filter"], queue_properties.MESSAGE, stderr)  # warnings
    order = _order(options)
    node = order.queue.node if order.queue else _node(options["server"])
    # What comes while it asks is not meant.
    order = replace(order, last_item=waiting_rows.of(order.queue).newest_item())
    if options["verb"] == "remove" and not options["yes"] and not _confirmed(stdout, node, order):
        raise CommandError("not confirmed", returncode=3)
    now = timezone.now()
    job = jobs.start(node, order, now=now)
    return jobs.run_to_end(job, config=transport_config(), now=now)


def _node(server: str) -> Node:
    if not server:
        return routing_table.local_node()
    node = Node.objects.filter(name__iexact=server).first()
    if node is None:
        raise CommandError(f"QU-17: there is no server {server!r}")
    return node


def _order(options: Mapping[str, Any]) -> Order:
    verb = options["verb"]
    if verb == "remove":
        verb = Verb.REMOVE_NDR if options["with_ndr"] == "true" else Verb.REMOVE
    elif verb == "export" and options["remove"]:
        verb = Verb.EXPORT_REMOVE
    queue, items = _meant(options["identity"], verb, all_of_queue=options["messages"])
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


def _meant(text: str, verb: str, *, all_of_queue: bool) -> tuple[Queue | None, tuple[int, ...]]:
    """Return queue and copies an identity means; a change of more than one object is refused (QO-1, QU-16)."""
    if not text:
        return None, ()
    if all_of_queue:
        return queue_list.find(queue_identity.parse_queue(text)), ()
    if not is_message(text, bare=True):
        queue_identity.parse_queue(text)
        raise CommandError(
            f"QU-16: {text!r} is no single message; add --messages for all that wait there, or use a filter"
        )
    identity = queue_identity.parse_message(text)
    keys = tuple(message_list.copies(identity).order_by("pk").values_list("pk", flat=True)[:200])
    submitted = message_list.in_submission(identity).select_related("node").first()
    if not keys and submitted is None:
        raise CommandError(f"MESSAGE_NOT_FOUND: no message {text!r} waits")
    if len(keys) + (submitted is not None) > 1 and verb != Verb.EXPORT:
        raise CommandError(f"QU-16: {text!r} is in more than one queue; use a filter")
    if submitted is not None and not keys:
        return queue_operations.special_queue(submitted.node, choices.SUBMISSION_DOMAIN), (submitted.pk,)
    queue = None if identity.queue.is_every else queue_list.find(identity.queue)
    return queue, keys


def _confirmed(stdout: OutputWrapper, node: Node, order: Order) -> bool:
    """Ask before a removal, with the count (QO-3)."""
    wanted = queue_filter.parse(order.filter_text, queue_properties.MESSAGE)
    source = waiting_rows.of(order.queue)
    key = order.queue.pk if order.queue else None
    rows = source.listed(wanted, node=node, queue=key, last_item=order.last_item)
    count = source.count(rows.filter(pk__in=order.items) if order.items else rows)
    how = "with notices" if order.verb == Verb.REMOVE_NDR else "silently"
    stdout.write(f"Remove {count} {how}? [y/N] ", ending="")
    stdout.flush()
    try:
        return input().strip().lower() in {"y", "yes"}
    except EOFError:
        return False


def _tell(stdout: OutputWrapper, done: Sequence[BulkJob], options: Mapping[str, Any]) -> None:
    """Write a row an operation, and with it the objects changed, left as they were and failed, each with its reason."""
    rows: list[dict[str, object]] = []
    for job in done:
        row = {name: getattr(job, "pk" if name == "job" else name) for name in _COUNTS}
        rows.append(row | {"objects": job_objects.of(job)})
    write_rows(stdout, Page(rows=rows, first=1, total=len(rows)), columns=_COUNTS, as_json=options["json"])
    if not options["json"]:
        for job in done:
            for found in job_objects.of(job):
                if found["outcome"] != choices.Outcome.CHANGED:
                    stdout.write(f"{found['identity']}: {found['outcome']}, {found['why']}")
    failed = [job for job in done if job.failed]
    if failed:
        raise CommandError(f"{sum(job.failed for job in failed)} failed; see operation {failed[0].pk}", returncode=2)
    if not any(job.total for job in done):
        raise CommandError("nothing matched", returncode=1)
    if not any(job.changed for job in done):
        raise CommandError("nothing was changed", returncode=3)


def _actor() -> str:
    return f"command:{getpass.getuser()}"
