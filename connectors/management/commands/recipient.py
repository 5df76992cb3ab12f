"""`manage.py recipient list|get|add|set|remove`: mailboxes, contacts and groups with their proxy addresses (RT-2 to RT-4, MT-K)."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from connectors import audit, recipient_configuration
from connectors.choices import DirectoryKind, GroupReports
from connectors.configuration import ListChange
from connectors.errors import FcwebError
from connectors.mail.sizes import with_attachments
from connectors.models import DirectoryRecipient

_LIMITS = {
    "max-send-size": "largest message a mailbox sends: 10MB (about 7.5MB of attachments), or unlimited",
    "max-receive-size": "largest message a mailbox receives, the same way",
    "recipient-limits": "recipients a message of a mailbox may have, or unlimited",
    "quota": "what a mailbox holds: 2GB, or unlimited",
}


class Command(BaseCommand):
    help = "List, add, change and remove mailboxes, contacts and groups."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        listing = verbs.add_parser("list")
        listing.add_argument("--kind", choices=DirectoryKind.values)
        add = verbs.add_parser("add")
        add.add_argument("kind", choices=DirectoryKind.values)
        add.add_argument("address", help="primary SMTP address")
        change = verbs.add_parser("set")
        change.add_argument("address", help="primary or proxy address")
        change.add_argument("--primary", help="new primary SMTP address; the old one stays as a proxy")
        for verb in (add, change):
            verb.add_argument("--name", help="display name")
            verb.add_argument("--external", help="where a contact's mail goes: FAX:+1 425 555 0100, or SMTP")
            verb.add_argument("--proxy", action="append", default=[], help="TYPE:address or SMTP; repeat for more")
            verb.add_argument(
                "--member", action="append", default=[], help="of a group, by any address; repeat for more"
            )
            verb.add_argument("--manager", help="of a group, by any address; empty for none")
            verb.add_argument("--reports-to", choices=GroupReports.values, help="who hears of a group's members")
        for option, text in _LIMITS.items():
            change.add_argument(f"--{option}", help=text)
        for option in ("add-proxy", "remove-proxy", "add-member", "remove-member"):
            change.add_argument(f"--{option}", action="append", default=[])
        verbs.add_parser("remove").add_argument("address")
        get = verbs.add_parser("get", help="show one recipient")
        get.add_argument("address", help="primary or proxy address")
        for verb in (listing, get, add, change):
            verb.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        try:
            with audit.by_command(f"recipient {options['verb']}"), transaction.atomic():
                self._show(getattr(self, "_" + options["verb"])(options), options)
        except FcwebError as error:
            raise CommandError(f"{error.code}: {error}") from error

    def _list(self, options: dict[str, Any]) -> list[DirectoryRecipient]:
        found = DirectoryRecipient.objects.select_related("manager").prefetch_related("proxies", "members")
        return list(found.filter(kind=options["kind"]) if options["kind"] else found)

    def _add(self, options: dict[str, Any]) -> list[DirectoryRecipient]:
        recipient = recipient_configuration.add(
            options["kind"],
            options["address"],
            name=options["name"] or "",
            external=options["external"] or "",
            proxies=options["proxy"],
        )
        self._change_group(recipient, options, ListChange(replace=tuple(options["member"])))
        return [recipient]

    def _set(self, options: dict[str, Any]) -> list[DirectoryRecipient]:
        recipient = recipient_configuration.find(options["address"])
        limits = recipient_configuration.limits(
            send=options["max_send_size"],
            receive=options["max_receive_size"],
            recipients=options["recipient_limits"],
            quota=options["quota"],
        )
        recipient_configuration.change(
            recipient,
            limits=limits,
            name=options["name"],
            primary=options["primary"],
            external=options["external"],
            proxies=ListChange(
                replace=tuple(options["proxy"]),
                add=tuple(options["add_proxy"]),
                remove=tuple(options["remove_proxy"]),
            ),
        )
        members = ListChange(
            replace=tuple(options["member"]),
            add=tuple(options["add_member"]),
            remove=tuple(options["remove_member"]),
        )
        self._change_group(recipient, options, members)
        return [recipient]

    def _change_group(self, recipient: DirectoryRecipient, options: dict[str, Any], members: ListChange) -> None:
        """Change what only groups have, where something of it was named."""
        if members or options["manager"] is not None or options["reports_to"] is not None:
            recipient_configuration.change_group(
                recipient, members=members, manager=options["manager"], reports_to=options["reports_to"]
            )

    def _get(self, options: dict[str, Any]) -> list[DirectoryRecipient]:
        return [recipient_configuration.find(options["address"])]

    def _remove(self, options: dict[str, Any]) -> list[DirectoryRecipient]:
        recipient_configuration.remove(recipient_configuration.find(options["address"]))
        return []

    def _show(self, rows: list[DirectoryRecipient], options: dict[str, Any]) -> None:
        shown = [recipient_configuration.shown(row) for row in rows]
        if options.get("json"):
            self.stdout.write(json.dumps(shown if options["verb"] == "list" else shown[0], indent=2))
        elif options["verb"] == "list":
            for row in rows:
                limits = {"sends": row.max_send_bytes, "receives": row.max_receive_bytes}
                said = [f"{verb} {with_attachments(size)}" for verb, size in limits.items() if size is not None]
                goes_to = row.external_address or ", ".join(recipient_configuration.members_of(row))
                cells = (row.kind, row.primary_address, row.name, goes_to, ", ".join(said))
                self.stdout.write("\t".join(cells).rstrip())
        elif options["verb"] == "get":
            for name, value in shown[0].items():
                self.stdout.write(f"{name}: {', '.join(value) if isinstance(value, list) else value}")
