"""`manage.py recipient list|add|set|remove`: mailboxes and contacts with their proxy addresses (RT-2 to RT-4)."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from connectors import audit, recipient_configuration
from connectors.choices import DirectoryKind
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
    help = "List, add, change and remove mailboxes and contacts."

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
        for option, text in _LIMITS.items():
            change.add_argument(f"--{option}", help=text)
        for option in ("add-proxy", "remove-proxy"):
            change.add_argument(f"--{option}", action="append", default=[])
        verbs.add_parser("remove").add_argument("address")
        for verb in (listing, add, change):
            verb.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        try:
            with audit.by_command(f"recipient {options['verb']}"):
                self._show(getattr(self, "_" + options["verb"])(options), options)
        except FcwebError as error:
            raise CommandError(f"{error.code}: {error}") from error

    def _list(self, options: dict[str, Any]) -> list[DirectoryRecipient]:
        found = DirectoryRecipient.objects.prefetch_related("proxies")
        return list(found.filter(kind=options["kind"]) if options["kind"] else found)

    def _add(self, options: dict[str, Any]) -> list[DirectoryRecipient]:
        recipient = recipient_configuration.add(
            options["kind"],
            options["address"],
            name=options["name"] or "",
            external=options["external"] or "",
            proxies=options["proxy"],
        )
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
        return [recipient]

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
                cells = (row.kind, row.primary_address, row.name, row.external_address, ", ".join(said))
                self.stdout.write("\t".join(cells).rstrip())
