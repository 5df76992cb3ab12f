"""`manage.py dsn preview ACTION`: what a notice looks like; `dsn remote list|set|remove`: switches of domains outside."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from connectors import audit, notice_codes, remote_domains
from connectors.choices import Audience
from connectors.configuration import name_key
from connectors.errors import FcwebError
from connectors.exchange_dialect import BOOLEANS
from connectors.models import ForeignConnector, RemoteDomain
from connectors.notices import ACTIONS, TAGS
from connectors.reads import notice_preview

_OPTIONS = {
    "--ndr-enabled": "ndr_enabled",
    "--delivery-report-enabled": "delivery_report_enabled",
    "--ndr-diagnostic-info-enabled": "ndr_diagnostic_info_enabled",
}


class Command(BaseCommand):
    help = "Show a notice as its reader will get it, or say what notices a domain outside gets; nothing is sent."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        preview = verbs.add_parser("preview")
        preview.add_argument("action", choices=ACTIONS)
        preview.add_argument("--code", choices=sorted(notice_codes.EXPLANATIONS), default=notice_preview.DEFAULT_CODE)
        preview.add_argument("--language", choices=sorted(TAGS), default="en")
        preview.add_argument("--audience", choices=Audience.values, default=Audience.INTERNAL.value)
        preview.add_argument("--connector", default="", help="name of the connector the sample recipient belongs to")
        form = preview.add_mutually_exclusive_group()
        form.add_argument("--html", action="store_true", help="the formatted part")
        form.add_argument("--raw", action="store_true", help="the whole source")

        remote = verbs.add_parser("remote").add_subparsers(dest="remote_verb", required=True)
        remote.add_parser("list").add_argument("--json", action="store_true")
        change = remote.add_parser("set")
        change.add_argument("domain", help="contoso.com, or *.contoso.com for it and all below")
        for option in _OPTIONS:
            change.add_argument(option, choices=sorted(BOOLEANS))
        remote.add_parser("remove").add_argument("domain")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        try:
            if options["verb"] == "remote":
                with audit.by_command(f"dsn remote {options['remote_verb']}"):
                    getattr(self, f"_remote_{options['remote_verb']}")(options)
            else:
                self._preview(options)
        except FcwebError as error:
            raise CommandError(f"{error.code}: {error}") from error

    def _remote_list(self, options: dict[str, Any]) -> None:
        shown = [remote_domains.shown(row) for row in RemoteDomain.objects.all()]
        if options["json"]:
            self.stdout.write(json.dumps(shown, indent=2))
            return
        for row in shown:
            self.stdout.write("\t".join(f"{name}={value}" for name, value in row.items()))

    def _remote_set(self, options: dict[str, Any]) -> None:
        found = remote_domains.find(options["domain"])
        row = found or RemoteDomain(domain=remote_domains.check_domain(options["domain"]))
        for option, column in _OPTIONS.items():
            given = options[option.removeprefix("--").replace("-", "_")]
            if given is not None:
                setattr(row, column, BOOLEANS[given])
        row.save()

    def _remote_remove(self, options: dict[str, Any]) -> None:
        row = remote_domains.find(options["domain"])
        if row is None:
            raise CommandError(f"REMOTE_DOMAIN_UNKNOWN: {options['domain']} has no switches of its own")
        row.delete()

    def _preview(self, options: dict[str, Any]) -> None:
        connector = None
        if options["connector"]:
            connector = ForeignConnector.objects.filter(name_key=name_key(options["connector"])).first()
            if connector is None:
                raise CommandError(f"CONNECTOR_UNKNOWN: there is no connector {options['connector']}")
        shown = notice_preview.preview(
            options["action"],
            language=options["language"],
            code=options["code"],
            audience=options["audience"],
            connector=connector,
            now=timezone.now(),
        )
        if options["raw"]:
            self.stdout.write(shown.raw.decode("utf-8", "replace"), ending="")
        elif options["html"]:
            self.stdout.write(shown.html, ending="")
        else:
            self.stdout.write(f"{shown.subject}\n\n{shown.text}")
