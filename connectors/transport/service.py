"""Service: the stages of one node put together, for the daemon and for cron.

Re-reads the node and its transport settings now and then, so that a changed directory, rate, interval or count needs no
restart (PU-22, QX-4).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType

from django.db import DatabaseError

from connectors import drop_directory, owner, routing_table, watched
from connectors.choices import SUBMISSION_DOMAIN
from connectors.conf import TransportConfig
from connectors.errors import FcwebError
from connectors.event_log import Conditions, Event
from connectors.models import ForeignConnector, Node, config_of
from connectors.transport import (
    bad_file_edit,
    bad_file_split,
    badmail,
    bell,
    categorizer,
    claims,
    jobs,
    ledger,
    pickup,
    poison,
    pressure,
    queue_operations,
    replay,
    reports,
    upkeep,
)
from connectors.transport.boot import Boot
from connectors.transport.collection import Collection
from connectors.transport.delivery import Delivery
from connectors.transport.intake import Door, Intake
from connectors.transport.pressure import Monitor
from connectors.transport.runner import Stage
from connectors.transport.sweep import Sweep
from connectors.transport.upkeep import Upkeep
from connectors.transport.watch import Watcher

logger = logging.getLogger(__name__)
STAGES = ("pickup", "replay", "categorize", "deliver", "report", "jobs", "upkeep")
# Two processes share the work of a node on two cores: one takes files, the other routes, delivers and reports.
HALVES = {"intake": STAGES[:2], "delivery": STAGES[2:]}
_RECOVER_EVERY = timedelta(seconds=30)
_RELOAD_EVERY = timedelta(seconds=5)


class Service:
    """All stages of the local node in one process."""

    def __init__(self, *, config: TransportConfig, token: str, watcher: Watcher | None = None) -> None:
        self.node = routing_table.local_node()
        queue_operations.special_queue(self.node, SUBMISSION_DOMAIN)  # listed whether anything waits or not (QU-1)
        self._base = config  # as the environment says; the stored settings are put into it
        self._config = config = config_of(self.node, config)
        self._token = token
        self._watcher = watcher
        self._intakes: dict[str, Intake] = {}
        self._checks: dict[str, tuple[datetime, bool]] = {}  # examined until, and whether it may be used
        self._settings: dict[str, object] | None = None
        self._delivery = Delivery(self.node, config=config, token=token)
        self._reload_at: datetime | None = None
        self._monitor = Monitor(self.node, config=config)
        self._recovered_at: datetime | None = None
        self._queue_upkeep = Upkeep(self.node, config=config)
        self._sweep = Sweep(self.node, config=config)
        self._collection = Collection(self.node)
        self._boot: Boot | None = None
        self._delivers = False

    def stages(self, names: Iterable[str] = STAGES) -> list[Stage]:
        """Return the named stages in the order a message meets them; recovery first, sweeping last."""
        wanted = set(names)
        poll = self._config.poll_interval
        every = {
            "pickup": Stage(name="pickup", run=self._pickup, every=poll, next_due=lambda: self._next_due("pickup")),
            "replay": Stage(name="replay", run=self._replay, every=poll, next_due=lambda: self._next_due("replay")),
            "categorize": Stage(name="categorize", run=self._categorize),
            "deliver": Stage(name="deliver", run=self._deliver),
            "report": Stage(name="report", run=self._report),
            "jobs": Stage(name="jobs", run=self._jobs),
            "upkeep": Stage(name="upkeep", run=self._upkeep, every=upkeep.INTERVAL),
        }
        chosen = [every[name] for name in STAGES if name in wanted]
        if wanted & set(HALVES["intake"]):
            chosen.append(Stage(name="pressure", run=self._watch_pressure, every=pressure.POLL))
        self._delivers = "deliver" in wanted
        if self._watcher is not None and self._delivers:
            self._watcher.watch_bell(bell.folder(self._config.run_dir))
        if self._delivers:
            chosen.append(
                Stage(
                    name="sweep",
                    run=self._run_sweep,
                    every=timedelta(seconds=5),
                    patience=timedelta(seconds=30),
                )
            )
            chosen.append(Stage(name="ledger", run=self._check_ledger, every=ledger.INTERVAL, patience=ledger.INTERVAL))
        return [Stage(name="recover", run=self._recover, every=_RECOVER_EVERY), *chosen]

    def _pickup(self, now: datetime) -> int:
        return self._take("pickup", pickup, now)

    def _replay(self, now: datetime) -> int:
        return self._take("replay", replay, now)

    def _run_sweep(self, now: datetime) -> int:
        self._reload(now)
        return self._sweep.run_once(now)

    def _check_ledger(self, now: datetime) -> int:
        return ledger.run_once(self.node, now=now)

    def _upkeep(self, now: datetime) -> int:
        self._reload(now)
        loaded = self._boot.run_once(now) if self._boot is not None else 0
        self._collection.run_once(now)
        return loaded + self._queue_upkeep.run_once(now)

    def load_stored(self, deliverers: owner.Alone) -> None:
        """Let the first passes write LOAD for what is stored, when no other daemon delivers (QU-10)."""
        if deliverers.is_first:
            self._boot = Boot(self.node)

    def _jobs(self, now: datetime) -> int:
        return jobs.run_once(self.node, config=self._config, now=now)

    def _categorize(self, now: datetime) -> int:
        if queue_operations.submission_is_suspended(self.node):
            return 0
        try:
            return categorizer.run_once(self.node, limit=self._config.batch, now=now)
        except DatabaseError:
            raise
        except Exception:
            # One message breaks the batch: they go one at a time, and the one that fails alone is counted (QR-50).
            logger.exception("categorizer failed on a batch")
            return self._categorize_one(now)

    def _categorize_one(self, now: datetime) -> int:
        oldest = poison.oldest_submitted(self.node)
        try:
            return categorizer.run_once(self.node, limit=1, now=now)
        except DatabaseError:
            raise
        except Exception:
            if oldest is None or not poison.note_crash(self.node, [oldest], config=self._config, now=now):
                raise
            return 1

    def _deliver(self, now: datetime) -> int:
        self._reload(now)
        return self._delivery.run_once(now)

    def _report(self, now: datetime) -> int:
        return reports.run_once(self.node, config=self._config, now=now)

    def _next_due(self, name: str) -> datetime | None:
        intake = self._intakes.get(name)
        if self._monitor.is_pressed:
            return self._monitor.next_due(name)
        return intake.next_due() if intake is not None else None

    def _take(self, name: str, stage: ModuleType, now: datetime) -> int:
        """Take one batch of a watched directory, unless it is off, unsafe or under back pressure (PU-10, QR-56)."""
        self._reload(now)
        if not self._is_usable(name, now):
            self._intakes.pop(name, None)
            return 0
        intake = self._intakes.get(name)
        if intake is None:
            door: Door | None = stage.door(self.node)
            if door is None:
                return 0
            intake = self._intakes[name] = Intake(door, config=self._config, token=self._token)
            claims.recover(node=self.node, source=door.source, directory=door.directory, config=self._config, now=now)
            if self._watcher is not None:
                self._watcher.watch_intake(door.directory, intake.closed)
        if self.node.is_draining or not self._monitor.may_take(name, now):
            return 0
        taken = intake.run_once(now)
        if taken:
            self._monitor.took(name, now)
            bell.ring(self._config.run_dir)
        return taken

    def _is_usable(self, name: str, now: datetime) -> bool:
        """Examine a watched directory once a poll; say what is wrong while it is. Rules: PU-62, PU-64, PU-65, EV-1."""
        check = self._checks.get(name)
        if check is not None and check[0] > now:
            return check[1]
        path = self._watched(name)
        usable = bool(path) and self._examine(name, path, now)
        self._checks[name] = (now + self._config.poll_interval, usable)
        return usable

    def _watched(self, name: str) -> str:
        node = self.node
        return node.pickup_directory_path if name == "pickup" else node.replay_directory_path

    def _examine(self, name: str, path: str, now: datetime) -> bool:
        codes = (Event.NO_PICKUP_DIRECTORY, Event.DIRECTORY_ACCESS)
        conditions = Conditions(path, codes, patience=timedelta(0))
        if not os.path.lexists(path):
            try:
                watched.create(path)
            except OSError as error:
                conditions.saw(Event.NO_PICKUP_DIRECTORY, f"{path}: {error.strerror}", now=now)
                conditions.settle(now=now, lasting=(Event.NO_PICKUP_DIRECTORY,))
                return False
        # Of two directories that overlap Pickup is the one that is used: Replay trusts what it reads.
        others = [self.node.pickup_directory_path] if name == "replay" else []
        found = watched.examine(path, others=others)
        refused = [problem.text for problem in found if problem.refuses]
        if refused:
            conditions.saw(Event.DIRECTORY_ACCESS, "\n".join(refused), now=now)
        elif name not in self._checks:
            for problem in found:
                logger.warning("watched directory", extra={"directory": path, "problem": problem.text})
        conditions.settle(now=now, lasting=(Event.DIRECTORY_ACCESS,) if refused else ())
        return not refused

    def _reload(self, now: datetime) -> None:
        """Read the node again; a changed directory or limit makes new doors (PU-22)."""
        if self._reload_at is not None and now < self._reload_at:
            return
        self._reload_at = now + _RELOAD_EVERY
        fresh = Node.objects.get(pk=self.node.pk)
        settings = _settings(fresh)
        config = config_of(fresh, self._base)
        if config != self._config:
            self._config = config
            self._intakes.clear()
            for stage in (self._delivery, self._queue_upkeep, self._sweep):
                stage.use(config)
        if self._settings is not None and settings != self._settings:
            self._intakes.clear()
            self._checks.clear()
            self._delivery = Delivery(fresh, config=self._config, token=self._token)
        self.node = fresh
        self._settings = settings
        if self._watcher is not None and self._delivers:
            self._watcher.watch_drops(_drop_directories(fresh))

    def _watch_pressure(self, now: datetime) -> int:
        """Measure also while there is nothing to take (QR-53)."""
        self._monitor.poll(now)
        return 0

    def _recover(self, now: datetime) -> int:
        """Settle what other processes left when they ended."""
        if self._recovered_at is not None and now < self._recovered_at + _RECOVER_EVERY:
            return 0
        self._recovered_at = now
        for intake in self._intakes.values():
            door = intake.door
            claims.recover(node=self.node, source=door.source, directory=door.directory, config=self._config, now=now)
        bad_file_split.finish(self.node, now=now)
        bad_file_edit.finish(self.node, now=now)
        badmail.forget_moved(self.node, now=now)
        recovered = self._delivery.recover(now)
        owner.forget_dead(self._config.run_dir)
        return recovered


def _settings(node: Node) -> dict[str, object]:
    """Return the columns that doors and couriers are made from, and the uid map (PU-66)."""
    columns = {
        field.attname: getattr(node, field.attname)
        for field in node._meta.concrete_fields
        if field.attname != "routed_generation"
    }
    return {**columns, "submitters": list(node.submitter_addresses.values_list("uid", "address"))}


def _drop_directories(node: Node) -> list[Path]:
    directories = []
    for connector in ForeignConnector.objects.filter(enabled=True, source_transport_servers=node):
        try:
            path = drop_directory.effective_path(connector, node)
        except FcwebError:
            continue
        if path.is_dir():
            directories.append(path)
    return directories
