"""`manage.py route ADDRESS`: which connector takes an address, and why the others do not."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from connectors import routing_table
from connectors.errors import FcwebError
from connectors.mail.address import AddressSyntaxError, parse_typed
from connectors.mail.imcea import ImceaError, encapsulate
from connectors.mail.sizes import SizeError, parse_size
from connectors.transport.routing import resolve


class Command(BaseCommand):
    help = "Explain the route of an address; nothing is sent."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("address", help="bob@contoso.com, FAX:5551234, or the encoded form")
        parser.add_argument("--size", default="0")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        try:
            table = routing_table.load()
            address = encapsulate(parse_typed(options["address"]), table.default_domain)
            size = parse_size(options["size"]) or 0
        except (FcwebError, AddressSyntaxError, ImceaError, SizeError) as error:
            raise CommandError(str(error)) from error
        directory = routing_table.directory_for({address}, table)
        result = resolve(address, size=size, table=table, directory=directory, explain=True)
        hop = result.next_hop
        facts = {
            "address": str(result.final),
            "verdict": str(result.verdict),
            "queue": f"{hop.delivery_type}/{hop.domain}" if hop else "",
            "connector": hop.connector_name if hop else "",
            "status": result.text,
            "candidates": [
                {"connector": c.connector, "space": c.space, "lost": str(c.lost or ""), "rule": c.rule}
                for c in result.candidates
            ],
        }
        if options["json"]:
            self.stdout.write(json.dumps(facts, indent=2))
            return
        self.stdout.write(
            f"{facts['address']}: {facts['verdict']} {facts['connector'] or facts['queue']} {facts['status']}"
        )
        for candidate in result.candidates:
            self.stdout.write(
                f"  {candidate.connector}\t{candidate.space}\t{candidate.lost or 'wins'}\t{candidate.rule}"
            )
