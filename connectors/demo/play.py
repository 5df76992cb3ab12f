"""Play: makes what the demo needs, then runs traffic and gateways until told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from django.db import transaction
from django.utils import timezone

from connectors import configuration, drop_directory, first_start, recipient_configuration, routing_table
from connectors.configuration import ListChange
from connectors.demo import traffic
from connectors.demo.gateway import Gateway
from connectors.errors import ConfigurationError
from connectors.models import AddressSpace, DirectoryRecipient, ForeignConnector, Node

_TICK_SECONDS = 0.2
_MISSING = (  # type, address spaces, drop directory quota
    ("SMS", ("SMS:*;1",), 512 * 1024),
    ("SAP", ("SAP:*;1",), 8 * 1024 * 1024),
    ("X400", tuple(f"X400:c={country};a=Fabrikam;1" for country in ("FR", "DE", "GB")), None),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Who plays: the writer of messages and one gateway a connector."""

    traffic: traffic.Traffic
    gateways: tuple[Gateway, ...]


def prepare(*, seed: int | None, say: Callable[[str], None]) -> Stage:
    """Make connectors, directories, mailboxes and a group that are missing, say which, and return the players.

    Raises ConfigurationError when this node is not set up or has no Pickup and Replay.
    """
    node = routing_table.local_node()
    if not node.pickup_directory_path or not node.replay_directory_path:
        raise ConfigurationError(
            "The demo needs Pickup and Replay; this node has one of them switched off.", code="DEMO_NO_DIRECTORY"
        )
    domain = routing_table.load(node).default_domain
    with transaction.atomic():
        _make_connectors(node, say)
        _make_mailboxes(domain, say)
        _make_group(domain, say)
    rng = Random(seed)  # noqa: S311 (a play, no secret)
    replay = Path(node.replay_directory_path)
    gateways = tuple(
        Gateway(
            name=connector.name,
            drop=drop_directory.effective_path(connector, node),
            replay=replay,
            fqdn=node.fqdn,
            rng=rng,
            say=say,
        )
        for connector in ForeignConnector.objects.filter(enabled=True, source_transport_servers=node)
    )
    pickup = Path(node.pickup_directory_path)
    return Stage(traffic=traffic.Traffic(rng=rng, domain=domain, pickup=pickup, replay=replay), gateways=gateways)


def _make_connectors(node: Node, say: Callable[[str], None]) -> None:
    served = set(AddressSpace.objects.filter(connector__enabled=True).values_list("type", flat=True))
    names = set(ForeignConnector.objects.values_list("name_key", flat=True))
    for kind, spaces, quota in _MISSING:
        if kind in served or configuration.name_key(kind) in names:
            continue
        fields: dict[str, object] = {"comment": "Made by manage.py demo.", "drop_directory_quota": quota}
        connector = configuration.create(kind, spaces, fields=fields)
        say(f"made connector {kind} ({', '.join(spaces)}) with {drop_directory.create(connector, node)}")


def _make_mailboxes(domain: str, say: Callable[[str], None]) -> None:
    for local, name in traffic.PEOPLE:
        address = f"{local}@{domain}"
        if not DirectoryRecipient.objects.filter(primary_address__iexact=address).exists():
            first_start.make_mailbox(address, name)
            say(f"made mailbox {address}")


def _make_group(domain: str, say: Callable[[str], None]) -> None:
    """Make a group whose members leave two ways: mailboxes, and a branch office reached by fax."""
    address, branch = f"{traffic.GROUP}@{domain}", f"branch.office@{domain}"
    if DirectoryRecipient.objects.filter(primary_address__iexact=address).exists():
        return
    if not DirectoryRecipient.objects.filter(primary_address__iexact=branch).exists():
        recipient_configuration.add("contact", branch, name="Branch office", external="FAX:+33 1 99 00 27 43")
    group = recipient_configuration.add("group", address, name="Orders")
    members = (branch, *(f"{local}@{domain}" for local in traffic.GROUP_MEMBERS))
    recipient_configuration.change_group(group, members=ListChange(add=members))
    say(f"made group {address} with {len(members)} members")


def run(stage: Stage, *, rate: float, seconds: float | None, stop: threading.Event) -> int:
    """Write `rate` messages a minute and let the gateways collect, for `seconds` or until `stop`.

    Returns the number of messages written.
    """
    begun = time.monotonic()
    written = 0
    while not stop.is_set():
        passed = time.monotonic() - begun
        while written < min(passed, seconds or passed) * rate / 60 and not stop.is_set():
            traffic.put(stage.traffic.next(timezone.now()))
            written += 1
        if seconds is not None and passed >= seconds:
            return written
        for gateway in stage.gateways:
            gateway.step(timezone.now())
        stop.wait(_TICK_SECONDS)
    return written
