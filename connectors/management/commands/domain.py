"""`manage.py domain list|add|set|remove`: accepted domains (RT-5, RT-6, IM-8)."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from connectors import audit, domain_configuration
from connectors.choices import DomainKind
from connectors.errors import FcwebError
from connectors.exchange_dialect import BOOLEANS
from connectors.models import AcceptedDomain


class Command(BaseCommand):
    help = "List, add, change and remove accepted domains."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        listing = verbs.add_parser("list")
        add = verbs.add_parser("add")
        change = verbs.add_parser("set")
        for verb in (add, change):
            verb.add_argument("domain")
            verb.add_argument("--kind", choices=DomainKind.values)
            verb.add_argument("--default", action="store_true", help="make it the default domain")
            verb.add_argument("--accepts-imcea", choices=sorted(BOOLEANS), help="decapsulate IMCEA addresses")
        verbs.add_parser("remove").add_argument("domain")
        for verb in (listing, add, change):
            verb.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        try:
            with audit.by_command(f"domain {options['verb']}"):
                self._show(getattr(self, "_" + options["verb"])(options), options)
        except FcwebError as error:
            raise CommandError(f"{error.code}: {error}") from error

    def _list(self, options: dict[str, Any]) -> list[AcceptedDomain]:
        return list(AcceptedDomain.objects.all())

    def _add(self, options: dict[str, Any]) -> list[AcceptedDomain]:
        row = domain_configuration.add(
            options["domain"],
            kind=options["kind"] or DomainKind.AUTHORITATIVE,
            default=options["default"],
            imcea=BOOLEANS[options["accepts_imcea"] or "false"],
        )
        return [row]

    def _set(self, options: dict[str, Any]) -> list[AcceptedDomain]:
        row = domain_configuration.find(options["domain"])
        row.kind = options["kind"] or row.kind
        row.is_default = row.is_default or options["default"]
        if options["accepts_imcea"] is not None:
            row.accepts_imcea = BOOLEANS[options["accepts_imcea"]]
        domain_configuration.save(row)
        return [row]

    def _remove(self, options: dict[str, Any]) -> list[AcceptedDomain]:
        domain_configuration.remove(domain_configuration.find(options["domain"]))
        return []

    def _show(self, rows: list[AcceptedDomain], options: dict[str, Any]) -> None:
        shown = [domain_configuration.shown(row) for row in rows]
        if options.get("json"):
            self.stdout.write(json.dumps(shown if options["verb"] == "list" else shown[0], indent=2))
        elif options["verb"] == "list":
            for row in rows:
                self.stdout.write(f"{row.domain}\t{row.kind}\t{'default' if row.is_default else ''}".rstrip())
