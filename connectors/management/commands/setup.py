"""`manage.py setup`: tables and first-start data; safe to run again."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from connectors import first_start
from connectors.mail.address import is_valid_domain


class Command(BaseCommand):
    help = "Create the tables and what a new installation needs; does nothing twice."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--domain", default="fcweb.test", help="default accepted domain of a new installation")
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        if not is_valid_domain(options["domain"]):
            raise CommandError(f"--domain {options['domain']!r} is not a domain name")
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True, mode=0o750)
        call_command("migrate", interactive=False, verbosity=0)
        result = first_start.prepare(domain=options["domain"])
        facts = {
            "node": result.node.name,
            "domain": result.domain,
            "pickup": result.node.pickup_directory_path,
            "replay": result.node.replay_directory_path,
            "drop": str(result.drop),
        }
        if result.password:
            facts |= {"user": "admin", "password": result.password}
        if options["json"]:
            self.stdout.write(json.dumps(facts))
            return
        for name, value in facts.items():
            self.stdout.write(f"{name:9} {value}")
