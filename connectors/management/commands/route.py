"""`manage.py route ADDRESS` or `--file X.eml`: which connector takes it, and why the others do not. Nothing is sent."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from connectors.errors import FcwebError
from connectors.mail.address import AddressSyntaxError, parse_typed
from connectors.mail.imcea import ImceaError
from connectors.mail.sizes import SizeError, parse_size
from connectors.reads import dry_run, route_json
from connectors.reads import route as reads
from connectors.reads.dry_run import DryRun
from connectors.reads.route import Explanation, GroupRoute
from connectors.transport.routing import Resolution


class Command(BaseCommand):
    help = "Explain the route of an address, or what would become of a message file; nothing is sent or stored."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("address", nargs="?", help="bob@contoso.com, FAX:5551234, or the encoded form")
        parser.add_argument("--size", default="0", help="of the message, e.g. 2MB")
        parser.add_argument("--sender", help="who a failure notice would go to; <> for none")
        parser.add_argument("--file", type=Path, help="a message file to try instead of an address")
        parser.add_argument("--via", choices=dry_run.STAGES, default="pickup", help="directory the file is meant for")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        if (options["address"] is None) == (options["file"] is None):
            raise CommandError("Give an address or --file.")
        try:
            if options["file"] is not None:
                self._file(options)
            else:
                address = parse_typed(options["address"])
                size = parse_size(options["size"]) or 0
                self._address(reads.explain(address, size=size, sender=options["sender"]), options)
        except (FcwebError, AddressSyntaxError, ImceaError, SizeError, OSError) as error:
            raise CommandError(str(error)) from error

    def _address(self, found: Explanation, options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(route_json.explanation(found), indent=2))
        else:
            self._explain(found)

    def _explain(self, found: Explanation) -> None:
        resolution = found.resolution
        line = f"{resolution.final}: {resolution.verdict} {_way(resolution)} {resolution.text}"
        self.stdout.write(line.rstrip())
        for candidate in found.candidates:
            lost = candidate.lost or "wins"
            self.stdout.write(f"  {candidate.connector}\t{candidate.space}\t{lost}\t{candidate.rule}")
        if found.group is not None:
            self._explain_members(found.group)
        if found.notice:
            self.stdout.write(f"  {found.notice}")

    def _explain_members(self, group: GroupRoute) -> None:
        for one in group.groups:
            self.stdout.write(f"  {one.address}\t{', '.join(one.members)}".rstrip())
            if one.duplicates:
                self.stdout.write(f"  {one.address}\tduplicate\t{', '.join(one.duplicates)}")
            self.stdout.write(f"  {one.reports}")
        for member in group.members:
            resolution = member.explanation.resolution
            place = f"copy {member.copy}" if member.copy else "message"
            way = _way(resolution)
            self.stdout.write(f"  {member.address}\t{resolution.verdict}\t{way}\t{place}\t{resolution.text}".rstrip())
        for copy in group.copies:
            self.stdout.write(f"  copy {copy.number}\t{copy.return_path}\t{copy.why}")

    def _file(self, options: dict[str, Any]) -> None:
        result: DryRun = dry_run.run(options["file"].read_bytes(), stage=options["via"], now=timezone.now())
        if options["json"]:
            self.stdout.write(json.dumps(route_json.dry_run(result), indent=2))
            return
        self.stdout.write(result.sentence)
        for text in filter(None, (f"{result.reason} line {result.line}" if result.reason else "", result.text)):
            self.stdout.write(text)
        for found in result.routes:
            self._explain(found.explanation)
        if result.notice:
            self.stdout.write(result.notice)
        for file in result.files:
            self.stdout.write(f"--- {file.connector}: {file.directory} ({len(file.data)} bytes)")
            self.stdout.write(file.data.decode("utf-8", "replace"))


def _way(resolution: Resolution) -> str:
    hop = resolution.next_hop
    return (hop.connector_name or f"{hop.delivery_type}/{hop.domain}") if hop else ""
