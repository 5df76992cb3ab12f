"""`manage.py prune`: forget old tracking events, for cron (MTP-2)."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from tracking import retention, text_index


class Command(BaseCommand):
    help = "Delete tracking events older than FCWEB_TRACKING_DAYS; messages still on their way are kept whole."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--days", type=int, help="age limit instead of FCWEB_TRACKING_DAYS; 0 for none")
        parser.add_argument("--max-events", type=int, help="then delete the oldest until about this many are left")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        days = settings.FCWEB_TRACKING_DAYS if options["days"] is None else options["days"]
        most = options["max_events"]
        if days < 0 or (most is not None and most < 0):
            raise CommandError("--days and --max-events cannot be negative", returncode=2)
        text_index.ensure()  # an index that a migration has lost is made again here
        results = []
        if days:
            results.append(retention.prune(before=timezone.now() - timedelta(days=days)))
        if most is not None:
            results.append(retention.prune_to_size(most_events=most))
        messages, events = (sum(getattr(result, name) for result in results) for name in ("messages", "events"))
        kept = max((result.kept_open for result in results), default=0)
        self.stdout.write(f"pruned {messages} messages with {events} events; kept {kept} old ones still on their way")
