"""`manage.py queue list|get|messages|digest|counters|suspend|resume|retry|remove|redirect|export`: queues by command.

Exit codes: 0 done, 1 the request is wrong or nothing matched, 2 some objects failed, 3 nothing was changed.
"""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from connectors.errors import FcwebError
from connectors.management import queue_listing, queue_verbs
from connectors.queue_filter import FilterError

_LISTINGS = {
    "list": queue_listing.queues,
    "get": queue_listing.queues,
    "messages": queue_listing.messages,
    "digest": queue_listing.digest,
    "counters": queue_listing.counters,
}


class Command(BaseCommand):
    help = "List queues and queued messages; suspend, resume, retry, resubmit, remove, redirect and export them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        for verb in _LISTINGS:
            queue_listing.add_arguments(verbs.add_parser(verb), verb)
        for verb in queue_verbs.VERBS:
            queue_verbs.add_arguments(verbs.add_parser(verb), verb)

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        work = _LISTINGS.get(options["verb"], queue_verbs.operate)
        try:
            work(self.stdout, self.stderr, options)
        except FilterError as error:
            place = f"character {error.position + 1}"
            raise CommandError(f"{error.code}: {error} ({place})") from error
        except FcwebError as error:
            raise CommandError(f"{error.code}: {error}") from error
