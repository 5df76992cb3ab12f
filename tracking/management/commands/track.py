"""`manage.py track`: search events from the shell (MTS-1 to MTS-12)."""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from tracking import search, stream
from tracking.record import iso
from tracking.search import EventRow, SearchQuery

_FOLLOW_SECONDS = 0.2


class Command(BaseCommand):
    help = "Search tracking events, newest first; --follow goes on with new ones."

    def add_arguments(self, parser: ArgumentParser) -> None:
        for name in ("sender", "recipient", "subject", "message-id", "event", "source", "connector", "start", "end"):
            parser.add_argument(f"--{name}", default="")
        parser.add_argument("--limit", type=int, default=1000)
        parser.add_argument("--json", action="store_true", help="one JSON object a line, Exchange's field names")
        parser.add_argument("--follow", action="store_true", help="go on with new events until interrupted")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        query = self._query(options)
        last = stream.newest_id()
        rows = search.page(query, limit=options["limit"]).rows
        for row in reversed(rows) if options["follow"] else rows:
            self._print(row, as_json=options["json"])
        while options["follow"]:
            fresh = stream.after(last, limit=stream.BATCH)
            for row in fresh:
                last = row.pk
                if search.matches(query, row):
                    self._print(row, as_json=options["json"])
            if not fresh:
                time.sleep(_FOLLOW_SECONDS)
        if not rows:
            raise SystemExit(1)

    def _query(self, options: dict[str, Any]) -> SearchQuery:
        times: dict[str, datetime | None] = {"start": None, "end": None}
        for name in times:
            if options[name]:
                times[name] = search.read_time(options[name], now=timezone.now())
                if times[name] is None:
                    text = f"--{name} {options[name]!r}: write 2h, 2026-03-05 or 2026-03-05T08:00"
                    raise CommandError(text, returncode=2)
        return SearchQuery(
            sender=options["sender"],
            recipient=options["recipient"],
            subject=options["subject"],
            message_id=options["message_id"],
            event=options["event"],
            source=options["source"],
            connector=options["connector"],
            start=times["start"],
            end=times["end"],
        )

    def _print(self, row: EventRow, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(_fields(row), ensure_ascii=False))
            return
        to = ";".join(address for address, _status in row.recipients)
        self.stdout.write(
            f"{iso(row.at)} {row.event:8} {row.source:11} {row.sender} -> {to}  {row.subject}  {row.status}"
        )
        self.stdout.flush()


def _fields(row: EventRow) -> dict[str, object]:
    """Return a row with the field names of message-tracking section 1."""
    return {
        "date-time": iso(row.at),
        "event-id": row.event,
        "source": row.source,
        "source-context": row.context,
        "connector-id": row.connector,
        "message-id": row.message_id,
        "recipient-address": [address for address, _status in row.recipients],
        "recipient-status": [status for _address, status in row.recipients],
        "recipient-count": len(row.recipients),
        "message-subject": row.subject,
        "sender-address": row.sender,
        "log-id": row.log_id,
    }
