"""`manage.py node get|set|drain`: the settings of a server (file-interfaces 0, PU-22, QX-4)."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from connectors import audit, node_configuration, routing_table
from connectors.choices import Verb
from connectors.conf import transport_config
from connectors.errors import FcwebError
from connectors.mail.sizes import with_attachments
from connectors.models import Node
from connectors.transport import jobs
from connectors.transport.jobs import Order


class Command(BaseCommand):
    help = "Show and change the settings of a server; this one when none is named."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        get = verbs.add_parser("get")
        change = verbs.add_parser(
            "set", help="change what is named; a path may be null, a rate unlimited, a time is [d.]hh:mm:ss"
        )
        for setting in node_configuration.ALL_SETTINGS:
            change.add_argument(f"--{node_configuration.option_of(setting)}", dest=setting, metavar="VALUE")
        move = verbs.add_parser("drain", help="move what waits here to another server, and take no new files")
        move.add_argument("--to", required=True, help="name of the other server")
        move.add_argument("--directory", default="", help="its Replay directory as mounted here; its own path if empty")
        move.add_argument("--reason", default="")
        for verb in (get, change, move):
            verb.add_argument("name", nargs="?")
            verb.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        try:
            node = node_configuration.find(options["name"]) if options["name"] else routing_table.local_node()
            if options["verb"] == "drain":
                self._drain(node, options)
                return
            if options["verb"] == "set":
                with audit.by_command("node set"):
                    self._set(node, options)
        except FcwebError as error:
            raise CommandError(f"{error.code}: {error}") from error
        self._show(node, options)

    def _set(self, node: Node, options: dict[str, Any]) -> None:
        values = {
            column: node_configuration.parse(setting, options[setting])
            for setting, column in node_configuration.ALL_SETTINGS.items()
            if options[setting] is not None
        }
        for text in node_configuration.change(node, values):
            self.stderr.write(text)

    def _drain(self, node: Node, options: dict[str, Any]) -> None:
        """Move the mail of this server; `node set --draining false` ends the refusal of new files (QO-13)."""
        if node.pk != routing_table.local_node().pk:
            raise CommandError("QO-13: a server is drained where its content is: run the command there")
        other = Node.objects.filter(name__iexact=options["to"]).first()
        directory = options["directory"] or (other.replay_directory_path if other else "")
        now = timezone.now()
        order = Order(
            verb=Verb.DRAIN,
            actor=f"command:{audit.unix_user()}",
            reason=options["reason"],
            connector_name=(other.name if other else options["to"])[:64],
            directory=directory,
        )
        job = jobs.run_to_end(jobs.start(node, order, now=now), config=transport_config(), now=now)
        facts = {"transaction": job.pk, "state": job.state, "moved": job.changed, "failed": job.failed}
        self.stdout.write(json.dumps(facts) if options["json"] else " ".join(f"{k}={v}" for k, v in facts.items()))
        if job.failed:
            raise CommandError(f"{job.failed} failed; see operation {job.pk}", returncode=2)

    def _show(self, node: Node, options: dict[str, Any]) -> None:
        shown = node_configuration.shown(node)
        if options["json"]:
            self.stdout.write(json.dumps(shown, indent=2))
        elif options["verb"] == "get":
            for setting, value in shown.items():
                column = node_configuration.SETTINGS.get(setting, "")
                if column in node_configuration.SIZE_LIMITS:
                    value = with_attachments(getattr(node, column))
                self.stdout.write(f"{setting:40} {'null' if value is None else value}")
