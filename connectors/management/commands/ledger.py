"""`manage.py ledger check`: whether every accepted recipient has exactly one end, or still waits (MT-1)."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from connectors import routing_table
from connectors.errors import FcwebError
from connectors.transport import ledger


class Command(BaseCommand):
    help = "Hold every message against its tracking events. Ends with 1 when something is wrong. Changes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("check").add_argument("--json", action="store_true", help="one line of JSON a violation")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        try:
            node = routing_table.local_node()
        except FcwebError as error:
            raise CommandError(f"{error.code}: {error}", returncode=3) from error
        looked = found = 0
        first: list[str] = []
        for count, violations in ledger.check_all(node):
            looked += count
            found += len(violations)
            for violation in violations:
                first = [*first, str(violation)][: ledger.TOLD]
                self.stdout.write(json.dumps(asdict(violation)) if options["json"] else str(violation))
        ledger.tell(node, found=found, detail="\n".join(first), now=timezone.now())
        if found:
            raise CommandError(f"{found} violations in {looked} messages", returncode=1)
        if not options["json"]:
            self.stdout.write(f"{looked} messages: every recipient has one end or still waits")
