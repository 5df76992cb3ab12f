"""`manage.py demo`: realistic traffic and played gateways, to see the product at work."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from connectors.demo import play
from connectors.errors import FcwebError
from connectors.transport.runner import Stop


class Command(BaseCommand):
    help = "Write realistic messages into Pickup and Replay and play the gateways that collect them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--rate", type=float, default=30.0, help="messages a minute (30)")
        parser.add_argument("--for", type=float, dest="seconds", help="stop after so many seconds; default: never")
        parser.add_argument("--seed", type=int, help="a number; the same number gives the same messages")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        if options["rate"] <= 0:
            raise CommandError("--rate is a number above 0")
        stop = Stop()
        stop.install()
        try:
            stage = play.prepare(seed=options["seed"], say=self._say)
        except FcwebError as error:
            raise CommandError(f"{error.code}: {error}") from error
        self._say(f"{options['rate']:g} messages a minute; {', '.join(g.name for g in stage.gateways)} collect theirs")
        self._say("End with Ctrl-C. The transport must run too (manage.py serve).")
        written = play.run(stage, rate=options["rate"], seconds=options["seconds"], stop=stop.event)
        self._say(f"{written} messages written, {sum(g.collected for g in stage.gateways)} files collected")

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()
