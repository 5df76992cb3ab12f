"""`manage.py serve`: web and transport together, the transport as two processes."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from connectors import drop_directory, routing_table
from connectors.errors import FcwebError
from connectors.models import ForeignConnector
from connectors.transport.service import HALVES
from fcweb import serve


class Command(BaseCommand):
    help = "Run the web interface and the transport in one command."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        try:
            node = routing_table.local_node()
        except FcwebError as error:
            raise CommandError(f"{error.code}: {error}") from error
        domain = routing_table.load(node).default_domain
        self.stdout.write(f"Open    http://{options['host']}:{options['port']}/live/")
        self.stdout.write(
            f"Pickup  {node.pickup_directory_path or '-'}   (copy an .eml with To: IMCEAFAX-5551234@{domain})"
        )
        self.stdout.write(f"Replay  {node.replay_directory_path or '-'}")
        for connector in ForeignConnector.objects.all():
            self.stdout.write(f"Drop    {drop_directory.effective_path(connector, node)}   ({connector.name})")
        self.stdout.flush()
        web = ["-m", "uvicorn", "fcweb.asgi:application", "--host", options["host"], "--port", str(options["port"])]
        web += ["--lifespan", "off", "--timeout-graceful-shutdown", "5", "--log-level", "warning"]
        transport = [["manage.py", "transport", "--only", half] for half in HALVES]
        sys.exit(serve.run([web, *transport]))
