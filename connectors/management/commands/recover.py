"""`manage.py recover`: make the rows of messages anew from the spool after the database was lost (design 3)."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from connectors import owner, routing_table
from connectors.conf import transport_config
from connectors.errors import FcwebError
from connectors.models import config_of
from connectors.transport import orphans, rebuild


class Command(BaseCommand):
    help = "After a lost database: count, or with --yes rebuild, the messages that only the spool still knows."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--yes", action="store_true", help="rebuild them; without it they are only counted")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        config = transport_config()
        try:
            node = routing_table.local_node()
        except FcwebError as error:
            raise CommandError(f"{error.code}: {error}") from error
        if not options["yes"]:
            count = sum(1 for _name in orphans.names(config.spool_dir))
            self._say({"orphans": count}, f"{count} spool files have no message; --yes rebuilds them.", options)
            return
        if owner.any_alive(config.run_dir):
            raise CommandError("TRANSPORT_RUNNING: stop the transport first; what it is writing now looks lost.")
        result = rebuild.run(node, config=config_of(node, config), now=timezone.now())
        text = f"{result.submitted} messages are sent again, {result.finished} were finished before."
        if result.unreadable:
            text += f" {len(result.unreadable)} files cannot be read: {', '.join(result.unreadable)}"
        self._say(asdict(result), text, options)

    def _say(self, facts: dict[str, object], text: str, options: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(facts) if options["json"] else text)
