"""First start: what a new installation needs before the first message (idempotent; PU-63, RP-8)."""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.db import transaction

from connectors import drop_directory
from connectors.choices import SUBMISSION_DOMAIN, DeliveryType, DirectoryKind, DomainKind
from connectors.mail.address import TypedAddress
from connectors.mail.address_space import AddressSpace as SpaceValue
from connectors.models import (
    AcceptedDomain,
    AddressSpace,
    ConfigGeneration,
    DirectoryRecipient,
    ForeignConnector,
    Node,
    ProxyAddress,
    Queue,
    proxy_key,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStart:
    """What there is after `prepare`; `password` is set only when the administrator was made just now."""

    node: Node
    domain: str
    drop: Path
    password: str


@transaction.atomic
def prepare(*, domain: str) -> FirstStart:
    """Make node, default domain, connector Fax, a mailbox, groups and an administrator where they are missing."""
    node = _node()
    _submission(node)
    default = AcceptedDomain.objects.filter(is_default=True).first()
    if default is None:
        default = AcceptedDomain.objects.create(domain=domain, kind=DomainKind.AUTHORITATIVE, is_default=True)
        make_mailbox(f"alice@{domain}", "Alice")
    connector = ForeignConnector.objects.first() or _fax(node)
    _groups()
    return FirstStart(
        node=node,
        domain=default.domain,
        drop=drop_directory.effective_path(connector, node),
        password=_administrator(),
    )


def _node() -> Node:
    name = settings.FCWEB_NODE or socket.gethostname()
    data = Path(settings.DATA_DIR)
    node, created = Node.objects.get_or_create(
        name=name,
        defaults={
            "fqdn": name,
            "pickup_directory_path": str(data / "pickup"),
            "replay_directory_path": str(data / "replay"),
            "pickup_max_messages_per_minute": None,
            "replay_max_messages_per_minute": None,
        },
    )
    if created:
        for path, mode in ((node.pickup_directory_path, 0o2770), (node.replay_directory_path, 0o700)):
            Path(path).mkdir(parents=True, exist_ok=True)
            Path(path).chmod(mode)
    return node


def _submission(node: Node) -> None:
    """Make the Submission queue, which is listed whether anything waits or not (QU-1)."""
    Queue.objects.get_or_create(
        node=node,
        delivery_type=DeliveryType.UNDEFINED,
        next_hop_domain=SUBMISSION_DOMAIN,
        next_hop_connector=UUID(int=0),
    )


def _fax(node: Node) -> ForeignConnector:
    connector = ForeignConnector.objects.create(name="Fax", name_key="fax", comment="FAX:*")
    connector.source_transport_servers.add(node)
    space = SpaceValue(type="FAX", space="*", cost=1)
    AddressSpace.objects.create(connector=connector, type="FAX", space="*", cost=1, key=space.key)
    ConfigGeneration.bump(connector)
    drop_directory.create(connector, node)
    return connector


def make_mailbox(address: str, name: str) -> None:
    """Make a mailbox with one address."""
    recipient = DirectoryRecipient.objects.create(kind=DirectoryKind.MAILBOX, name=name, primary_address=address)
    key = proxy_key(TypedAddress(type="SMTP", value=address))
    ProxyAddress.objects.create(recipient=recipient, type="SMTP", address=address, key=key)


_LOOKING_FOR_MAIL = ("view_trackingevent", "view_trackedmessage", "export_trackingevent")
# Exchange's roles: queues, tracking, recipients; notice texts are Organization Management's alone (QO-12).
_GROUPS = {
    "Server Management": (
        "view_queue",
        "change_queue",
        "export_queue",
        "view_connector",
        "view_sourcefile",
        "change_sourcefile",
    ),
    "Records Management": _LOOKING_FOR_MAIL,
    "Recipient Management": (
        *_LOOKING_FOR_MAIL,
        *(f"{verb}_{model}" for verb in ("view", "add", "change", "delete") for model in ("mailbox", "contact")),
    ),
    "Help desk": ("view_trackingevent", "view_trackedmessage", "view_queue", "view_connector"),
}


def _groups() -> None:
    """Make Exchange's roles and Help desk; what somebody changed in one that exists stays (QO-12)."""
    management, created = Group.objects.get_or_create(name="Organization Management")
    if created:
        ours = Permission.objects.filter(content_type__app_label__in=["connectors", "tracking"])
        audit = Permission.objects.filter(content_type__app_label="auditlog", codename="view_logentry")
        management.permissions.set(ours | audit)
    for name, codenames in _GROUPS.items():
        group, created = Group.objects.get_or_create(name=name)
        if created:
            group.permissions.set(Permission.objects.filter(codename__in=codenames))


def _administrator() -> str:
    """Return the password of a new administrator, or "" when there is one already."""
    users = get_user_model().objects
    if users.filter(is_superuser=True).exists():
        return ""
    password = secrets.token_urlsafe(12)
    users.create_superuser("admin", "admin@example.org", password)
    return password
