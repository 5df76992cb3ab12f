"""`manage.py transport [--once] [--only intake|delivery]`: all stages, or one half of them."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from connectors.management.transport_command import TransportCommand
from connectors.transport.service import HALVES


class Command(TransportCommand):
    help = "Run all stages: take files, route, deliver, report."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--only", choices=sorted(HALVES), help="run one half, so that two processes share the work")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        if options["only"]:
            self.stages = HALVES[options["only"]]
            self.heartbeat = options["only"]
        super().handle(*args, **options)
