"""`manage.py badmail list|show|resubmit|split`: files set aside as bad (PU-56, PU-58, UP-3, RP-25).

Exit codes: 0 done; 1 the file could not be renamed, or holds one message only; 2 wrong usage; 3 no such bad file;
4 gone from its directory, or handed in already.
"""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from connectors import reasons
from connectors.choices import FileState, SourceKind
from connectors.errors import FcwebError
from connectors.models import SourceFile
from connectors.transport import bad_file_split, badmail

_EXIT_CODES = {"BAD_FILE_UNKNOWN": 3, "BAD_FILE_GONE": 4, "BAD_FILE_TAKEN": 4}


class Command(BaseCommand):
    help = "List bad files, show the offending line, give one back to be read again, split glued exports."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        listing = verbs.add_parser("list", help="newest first")
        listing.add_argument("--reason", help="files of this reason code only")
        listing.add_argument("--source", choices=[kind.value for kind in SourceKind])
        listing.add_argument("--json", action="store_true", help="one JSON object a line")
        for verb, text in (
            ("show", "reason, cure and the offending line"),
            ("resubmit", "give the file back as .eml"),
            ("split", "cut glued exports into files of their own and hand each in"),
        ):
            one = verbs.add_parser(verb, help=text)
            one.add_argument("number", type=int)
            one.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        try:
            getattr(self, "_" + options["verb"])(options)
        except FcwebError as error:
            raise CommandError(f"{error.code}: {error}", returncode=_EXIT_CODES.get(error.code, 1)) from error
        except OSError as error:
            raise CommandError(f"BAD_FILE_IO: {error}") from error

    def _list(self, options: dict[str, Any]) -> None:
        rows = SourceFile.objects.filter(state=FileState.BAD).order_by("-pk")
        if options["reason"]:
            rows = rows.filter(reason=options["reason"])
        if options["source"]:
            rows = rows.filter(source=options["source"])
        for row in rows.iterator():
            if options["json"]:
                self.stdout.write(json.dumps(_facts(row)))
            else:
                self.stdout.write(f"{row.pk}\t{row.bad_name}\t{row.reason}\t{row.line}\t{row.directory}")

    def _show(self, options: dict[str, Any]) -> None:
        row = _find(options["number"])
        excerpt = badmail.read_excerpt(row)
        if options["json"]:
            lines = [{"line": number, "text": text, "offends": offends} for number, text, offends in excerpt]
            self.stdout.write(json.dumps({**_facts(row), "excerpt": lines}))
            return
        self.stdout.write(f"{row.bad_name} {row.reason}\n{reasons.sentence(row.reason)}\n{reasons.cure(row.reason)}")
        for number, text, offends in excerpt:
            self.stdout.write(f"{'>' if offends else ' '} {number:5} {text}")

    def _resubmit(self, options: dict[str, Any]) -> None:
        row = _find(options["number"])
        self._tell(row, [badmail.resubmit(row, by="command", now=timezone.now())], options)

    def _split(self, options: dict[str, Any]) -> None:
        row = _find(options["number"])
        self._tell(row, bad_file_split.split(row, by="command", now=timezone.now()), options)

    def _tell(self, row: SourceFile, names: list[str], options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps({"number": row.pk, "directory": row.directory, "files": names}))
        else:
            for name in names:
                self.stdout.write(f"{row.directory}/{name}")


def _find(number: int) -> SourceFile:
    row = SourceFile.objects.filter(pk=number, state=FileState.BAD).select_related("node").first()
    if row is None:
        raise FcwebError(f"there is no bad file {number}", code="BAD_FILE_UNKNOWN")
    return row


def _facts(row: SourceFile) -> dict[str, object]:
    """Return what is stored about a bad file (PU-58)."""
    return {
        "number": row.pk,
        "name": row.name,
        "bad_name": row.bad_name,
        "directory": row.directory,
        "source": row.source,
        "reason": row.reason,
        "sentence": reasons.sentence(row.reason),
        "cure": reasons.cure(row.reason),
        "line": row.line,
        "text": row.text,
        "sender": row.sender,
        "subject": row.subject,
        "size": row.size,
        "sha256": row.sha256,
        "owner_uid": row.owner_uid,
        "set_aside_at": row.settled_at.isoformat() if row.settled_at else None,
    }
