"""The command line shared by the stage commands: one run for cron, or a daemon."""

from __future__ import annotations

from argparse import ArgumentParser
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from connectors.conf import transport_config
from connectors.errors import FcwebError
from connectors.owner import Alone, Owner
from connectors.transport.runner import Stop, run_forever, run_until_idle
from connectors.transport.service import STAGES, Service
from connectors.transport.watch import Watcher


class TransportCommand(BaseCommand):
    """Runs some stages of the local node; two instances at once are harmless."""

    stages: tuple[str, ...] = STAGES
    heartbeat = "transport"  # `run/<heartbeat>.heartbeat` is touched while the daemon lives

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--once", action="store_true", help="work until nothing is left, then end (for cron)")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        config = transport_config()
        stop = Stop()
        stop.install()
        with ExitStack() as stack:
            me = stack.enter_context(Owner(config.run_dir))
            watcher = None
            if config.inotify and not options["once"]:
                watcher = Watcher()
                stack.callback(watcher.close)
            try:
                service = Service(config=config, token=me.token, watcher=watcher)
            except FcwebError as error:
                raise CommandError(f"{error.code}: {error}") from error
            stages = service.stages(self.stages)
            if options["once"]:
                patience = timedelta(seconds=service.node.settle_seconds) + config.poll_interval
                done = run_until_idle(stages, stop=stop, patience=patience)
                self.stdout.write(f"{done}")
            else:
                if "deliver" in self.stages:
                    deliverers = Alone(config.run_dir, "deliver")
                    stack.callback(deliverers.close)
                    service.load_stored(deliverers)
                run_forever(
                    stages, stop=stop, watcher=watcher, heartbeat=config.run_dir / f"{self.heartbeat}.heartbeat"
                )
