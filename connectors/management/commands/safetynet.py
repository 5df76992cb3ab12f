"""`manage.py safetynet list|resubmit`: delivered copies that are still kept (QR-18, DSN-12)."""

from __future__ import annotations

import getpass
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from connectors import queue_pages, routing_table
from connectors.conf import transport_config
from connectors.display_rows import write_rows
from connectors.errors import FcwebError
from connectors.transport import jobs, safety_net

_COLUMNS = ("Identity", "InternetMessageId", "Connector", "Delivered", "File", "Subject")


class Command(BaseCommand):
    help = "List delivered messages that are still kept, and deliver them again without any notice."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        for verb in ("list", "resubmit"):
            command = verbs.add_parser(verb)
            command.add_argument("--message", default="", help="Message-ID or internal number")
            command.add_argument("--connector", default="")
            command.add_argument("--start", default="", help="delivered at or after: 2026-03-01T08:00")
            command.add_argument("--end", default="", help="delivered before")
            command.add_argument("--json", action="store_true")
            if verb == "list":
                command.add_argument("--result-size", default=str(queue_pages.DEFAULT_SIZE))
            else:
                command.add_argument("--reason", default="", help="stands in the audit log")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        wanted = safety_net.Wanted(
            message=options["message"],
            connector=options["connector"],
            start=_moment(options["start"]),
            end=_moment(options["end"]),
        )
        try:
            node = routing_table.local_node()
            if options["verb"] == "list":
                self._list(safety_net.kept(node, wanted), options)
                return
            actor = f"command:{getpass.getuser()}"
            now = timezone.now()
            job = jobs.start_again(node, wanted, actor=actor, reason=options["reason"], now=now)
            job = jobs.run_to_end(job, config=transport_config(), now=now)
        except FcwebError as error:
            raise CommandError(f"{error.code}: {error}") from error
        page = queue_pages.Page(rows=[{"resubmitted": job.changed}], first=1, total=1)
        write_rows(self.stdout, page, columns=("resubmitted",), as_json=options["json"])
        if not job.changed:
            raise CommandError("nothing matched", returncode=1)

    def _list(self, kept: Any, options: dict[str, Any]) -> None:  # Any: an annotated queryset
        size = queue_pages.parse_size(options["result_size"])
        page = queue_pages.cut(kept, total=kept.count(), size=size)
        rows = [
            {
                "Identity": item.message_id,
                "InternetMessageId": item.message.message_id,
                "Connector": item.queue.connector_name,
                "Delivered": item.delivered_at,
                "Collected": item.collected_at,
                "File": item.final_name,
                "Subject": item.message.subject,
            }
            for item in page.rows
        ]
        shown = queue_pages.Page(rows=rows, first=page.first, total=page.total)
        write_rows(self.stdout, shown, columns=_COLUMNS, as_json=options["json"])


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise CommandError(f"{text!r} is not a time: write 2026-03-01T08:00")
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment
