"""`manage.py badmail list|show|resubmit`: files set aside as bad."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from connectors import reasons
from connectors.choices import FileState
from connectors.errors import FcwebError
from connectors.models import SourceFile
from connectors.transport import badmail


class Command(BaseCommand):
    help = "List bad files, show the offending line, give one back to be read again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        verbs.add_parser("list")
        for verb in ("show", "resubmit"):
            verbs.add_parser(verb).add_argument("number", type=int)

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        bad = SourceFile.objects.filter(state=FileState.BAD).select_related("node").order_by("-pk")
        if options["verb"] == "list":
            for row in bad.iterator():
                self.stdout.write(f"{row.pk}\t{row.bad_name}\t{row.reason}\t{row.line}\t{row.directory}")
            return
        row_or_none = bad.filter(pk=options["number"]).first()
        if row_or_none is None:
            raise CommandError(f"BAD_FILE_UNKNOWN: there is no bad file {options['number']}")
        row = row_or_none
        if options["verb"] == "show":
            self.stdout.write(
                f"{row.bad_name} {row.reason}\n{reasons.sentence(row.reason)}\n{reasons.cure(row.reason)}"
            )
            for number, text, offends in badmail.read_excerpt(row):
                self.stdout.write(f"{'>' if offends else ' '} {number:5} {text}")
            return
        try:
            badmail.resubmit(row, by="command", now=timezone.now())
        except FcwebError as error:
            raise CommandError(f"{error.code}: {error}") from error
