"""`manage.py track`: search events from the shell (MTS-1 to MTS-12).

Exit codes: 0 events were found, 1 none was, 2 the question was wrong. `--follow` ends with 0 on Ctrl-C, SIGTERM or a
closed pipe.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from tracking import exchange_log, search, stream
from tracking.query import Key, Problem, SearchQuery, matches, parse, with_criterion
from tracking.record import iso
from tracking.rows import EventRow

_FOLLOW_SECONDS = 0.2
_OPTIONS = {
    "sender": (Key.SENDER, "address, * for anything, or @domain"),
    "recipient": (Key.RECIPIENT, "the same; several with commas"),
    "subject": (Key.SUBJECT, "text the subject contains"),
    "message-id": (Key.ID, "with or without < >; abc* for a beginning"),
    "internal-message-id": (Key.ID, "number this node gave the message"),
    "network-message-id": (Key.ID, "GUID, dashed or not"),
    "reference": (Key.REFERENCE, "id the event refers to"),
    "event": (Key.EVENT, "RECEIVE, SEND, DELIVER, DEFER, FAIL, …; several with commas"),
    "source": (Key.SOURCE, "PICKUP, REPLAY, GATEWAY, …; several with commas"),
    "connector": (Key.CONNECTOR, "name of the connector, * for anything"),
    "status": (Key.STATUS, "5xx, 550 or 5.1.2; several with commas"),
    "state": (Key.STATE, "queued, deferred, transferred, delivered, partly, failed or bad"),
    "size": (Key.SIZE, ">1MB, <10KB or 1MB..5MB"),
    "file": (Key.FILE, "name of the dropped or written file"),
    "start": (Key.START, "not before: 2h, 2026-03-05 or 2026-03-05T08:00+01:00"),
    "end": (Key.END, "before, the same forms"),
}
_CURES = {
    Problem.TIME: "write 2h, 2026-03-05 or 2026-03-05T08:00+01:00",
    Problem.NEGATED_TIME: "a time cannot be negated",
    Problem.SIZE: "write >1MB, <10KB or 1MB..5MB",
    Problem.STATE: "write queued, deferred, transferred, delivered, partly, failed or bad",
    Problem.STATUS: "write 5xx, 550 or 5.1.2",
    Problem.EMPTY: "a value is missing",
    Problem.PATTERN: "at most six * in a pattern",
    Problem.MANY: "at most 60 conditions",
}


class Command(BaseCommand):
    help = "Search tracking events, newest first; --follow shows them oldest first and goes on with new ones."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("query", nargs="*", help='as in the search box: from:a@b.c to:FAX* -status:2 "two words"')
        for name, (_key, text) in _OPTIONS.items():
            parser.add_argument(f"--{name}", default="", help=text)
        parser.add_argument("--limit", "--result-size", type=_limit, default=1000, help="a number, or unlimited")
        parser.add_argument("--json", action="store_true", help="one JSON object a line, Exchange's field names")
        parser.add_argument("--follow", action="store_true", help="go on with new events until interrupted")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        query = self._query(options)
        try:
            found = self._follow(query, options) if options["follow"] else self._list(query, options)
            self.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to complain at exit
            raise SystemExit(0) from None
        if not found:
            raise SystemExit(1)

    def _query(self, options: dict[str, Any]) -> SearchQuery:
        now = timezone.now()
        query = parse(" ".join(options["query"]), now=now)
        for name, (key, _text) in _OPTIONS.items():
            value = options[name.replace("-", "_")]
            if value:
                query = with_criterion(query, key, value, now=now, text=f"--{name} {value}")
        for criterion in query.criteria:
            if criterion.problem:
                raise CommandError(f"{criterion.text}: {_CURES[criterion.problem]}", returncode=2)
        return query

    def _list(self, query: SearchQuery, options: dict[str, Any]) -> bool:
        found = False
        for rows in search.walk(query, now=timezone.now(), limit=options["limit"]):
            found = True
            self._print(rows, options)
        return found

    def _follow(self, query: SearchQuery, options: dict[str, Any]) -> bool:
        signal.signal(signal.SIGTERM, _interrupt)
        cursor = stream.Cursor.at_end()
        newest = cursor.last
        try:
            rows = search.page(query, now=timezone.now(), limit=min(options["limit"], 1000)).rows
            self._print([row for row in reversed(rows) if row.pk <= newest], options)
            while True:
                fresh = cursor.read()
                self._print([row for row in fresh if matches(query, row)], options)
                if not fresh:
                    time.sleep(_FOLLOW_SECONDS)
        except KeyboardInterrupt:
            return True

    def _print(self, rows: Sequence[EventRow], options: dict[str, Any]) -> None:
        for row in rows:
            if options["json"]:
                self.stdout.write(json.dumps(exchange_log.fields(row), ensure_ascii=False))
                continue
            to = ";".join(address for address, _status in row.recipients)
            self.stdout.write(
                f"{iso(row.at)} {row.event:8} {row.source:11} {row.sender or '<>'} -> {to}  {row.subject}  {row.status}"
            )
        if rows:
            self.stdout.flush()


def _limit(text: str) -> int:
    """Read MTS-12's result size."""
    if text == "unlimited":
        return sys.maxsize
    if not text.isdigit() or not int(text):
        raise ValueError
    return int(text)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
