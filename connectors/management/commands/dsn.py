"""`manage.py dsn preview ACTION`: what a notice looks like; nothing is sent."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from connectors import notice_codes
from connectors.choices import Audience
from connectors.configuration import name_key
from connectors.errors import FcwebError
from connectors.models import ForeignConnector
from connectors.notices import TAGS
from connectors.reads import notice_preview


class Command(BaseCommand):
    help = "Show a notice as its reader will get it; nothing is sent."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        preview = verbs.add_parser("preview")
        preview.add_argument("action", choices=notice_preview.ACTIONS)
        preview.add_argument("--code", choices=sorted(notice_codes.EXPLANATIONS), default=notice_preview.DEFAULT_CODE)
        preview.add_argument("--language", choices=sorted(TAGS), default="en")
        preview.add_argument("--audience", choices=Audience.values, default=Audience.INTERNAL.value)
        preview.add_argument("--connector", default="", help="name of the connector the sample recipient belongs to")
        form = preview.add_mutually_exclusive_group()
        form.add_argument("--html", action="store_true", help="the formatted part")
        form.add_argument("--raw", action="store_true", help="the whole source")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        connector = None
        if options["connector"]:
            connector = ForeignConnector.objects.filter(name_key=name_key(options["connector"])).first()
            if connector is None:
                raise CommandError(f"CONNECTOR_UNKNOWN: there is no connector {options['connector']}")
        try:
            shown = notice_preview.preview(
                options["action"],
                language=options["language"],
                code=options["code"],
                audience=options["audience"],
                connector=connector,
                now=timezone.now(),
            )
        except FcwebError as error:
            raise CommandError(f"{error.code}: {error}") from error
        if options["raw"]:
            self.stdout.write(shown.raw.decode("utf-8", "replace"), ending="")
        elif options["html"]:
            self.stdout.write(shown.html, ending="")
        else:
            self.stdout.write(f"{shown.subject}\n\n{shown.text}")
