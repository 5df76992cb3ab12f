"""Node configuration: the settings of one server under Exchange's names, read and changed (file-interfaces 0).

Promises: one transaction a change; the same checks for command and admin; what a change leaves behind is said (PU-22).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from connectors import configuration, watched
from connectors.errors import ConfigurationError
from connectors.exchange_dialect import BOOLEANS
from connectors.mail.sizes import SizeError, format_size, parse_size
from connectors.mail.timespan import format_timespan, parse_timespan
from connectors.models import ConfigGeneration, ForeignConnector, Node, NoticeSettings, TransportSettings

Value = str | int | float | bool | timedelta | None

# Exchange's name (or ours where it has none) -> column.
SETTINGS = {
    "Fqdn": "fqdn",
    "Site": "site",
    "PickupDirectoryPath": "pickup_directory_path",
    "ReplayDirectoryPath": "replay_directory_path",
    "PickupDirectoryMaxMessagesPerMinute": "pickup_max_messages_per_minute",
    "ReplayDirectoryMaxMessagesPerMinute": "replay_max_messages_per_minute",
    "PickupDirectoryMaxHeaderSize": "pickup_max_header_bytes",
    "PickupDirectoryMaxRecipientsPerMessage": "pickup_max_recipients",
    "MaxMessageSize": "max_message_bytes",
    "MaxReceiveSize": "max_receive_bytes",
    "MaxRecipients": "max_recipients",
    "MaxHopCount": "max_hops",
    "MaxLocalHopCount": "max_local_hops",
    "SettleSeconds": "settle_seconds",
    "RootDropDirectoryPath": "root_drop_directory_path",
    "MailboxDirectoryPath": "mailbox_directory_path",
    "UnstuffDots": "unstuff_dots",
    "ReplayUnstuffDots": "replay_unstuff_dots",
    "HonourXReceiver": "honour_x_receiver",
    "WriteBadTxt": "write_bad_txt",
    "TrustedUids": "trusted_uids",
    "Draining": "is_draining",
}
# The same of TransportSettings (queues-dsn 2.1, QA-7, QR-60).
TRANSPORT_SETTINGS = {
    "QueueGlitchRetryCount": "glitch_retry_count",
    "QueueGlitchRetryInterval": "glitch_retry_interval",
    "TransientFailureRetryCount": "transient_retry_count",
    "TransientFailureRetryInterval": "transient_retry_interval",
    "OutboundConnectionFailureRetryInterval": "outbound_retry_interval",
    "MailboxDeliveryQueueRetryInterval": "mailbox_retry_interval",
    "MessageRetryInterval": "message_retry_interval",
    "MailboxFullGracePeriod": "mailbox_full_grace",
    "MessageExpirationTimeout": "message_expiration",
    "ExpireSuspended": "expire_suspended",
    "MaxIdleTimeBeforeResubmit": "max_idle_before_resubmit",
    "QueueMaxIdleTime": "queue_max_idle",
    "PoisonMessageDetectionEnabled": "poison_detection",
    "PoisonThreshold": "poison_threshold",
    "SafetyNetHoldTime": "safety_net_hold",
    "PriorityQueuingEnabled": "priority_queuing",
}
ALL_SETTINGS = {**SETTINGS, **TRANSPORT_SETTINGS}  # no column has the same name in both
_PATHS = frozenset(column for column in SETTINGS.values() if column.endswith("_path"))
SIZE_LIMITS = frozenset({"max_message_bytes", "max_receive_bytes"})  # of messages: shown with both numbers (QL-21)
_SIZES = frozenset({"pickup_max_header_bytes"}) | SIZE_LIMITS
_RATES = frozenset({"pickup_max_messages_per_minute", "replay_max_messages_per_minute"})


def option_of(setting: str) -> str:
    """Return the command's option for a setting: PickupDirectoryPath is --pickup-directory-path."""
    return "".join(f"-{c.lower()}" if c.isupper() and at else c.lower() for at, c in enumerate(setting))


def find(name: str) -> Node:
    """Return the node with this name; raises SERVER_UNKNOWN."""
    node = Node.objects.filter(name__iexact=name.strip()).first()
    if node is None:
        raise ConfigurationError(_("There is no server “%(name)s”.") % {"name": name}, code="SERVER_UNKNOWN")
    return node


def shown(node: Node) -> dict[str, Value]:
    """Return every setting under its name: paths or null, sizes and times as Exchange writes them, rates or "unlimited"."""
    found: dict[str, Value] = {"Name": node.name}
    for setting, column in SETTINGS.items():
        value = getattr(node, column)
        if column in _PATHS:
            value = value or None
        elif column in _SIZES:
            value = format_size(value)
        elif column in _RATES:
            value = "unlimited" if value is None else value
        found[setting] = value
    row = TransportSettings.of(node)
    for setting, column in TRANSPORT_SETTINGS.items():
        value = getattr(row, column)
        found[setting] = format_timespan(value) if isinstance(value, timedelta) else value
    return found


def parse(setting: str, text: str) -> Value:
    """Read one value as text; `null` or "" empties a path. Raises NODE_SETTING_INVALID."""
    column = ALL_SETTINGS[setting]
    model = TransportSettings if setting in TRANSPORT_SETTINGS else Node
    word = text.strip()
    try:
        if column in _PATHS:
            return "" if word.lower() in {"", "null", "$null"} else word
        if column in _SIZES:
            return parse_size(word)
        if column in _RATES:
            return None if word.lower() == "unlimited" else int(word)
        readers: dict[str, Callable[[str], Value]] = {
            "PositiveIntegerField": int,
            "PositiveSmallIntegerField": int,
            "DurationField": parse_timespan,
            "FloatField": float,
            "BooleanField": lambda value: BOOLEANS[value.lower()],
        }
        read = readers.get(model._meta.get_field(column).get_internal_type(), str)
        return read(word)
    except (ValueError, KeyError, SizeError) as error:
        text = _("“%(word)s” is not a value of %(setting)s.") % {"word": word, "setting": setting}
        raise ConfigurationError(text, code="NODE_SETTING_INVALID") from error


@transaction.atomic
def change(node: Node, values: Mapping[str, Value]) -> list[str]:
    """Set columns of a node; return what should be known: files left behind, directories that cannot be used."""
    before = Node.objects.get(pk=node.pk)
    row = TransportSettings.of(node)
    ours = values.keys() & set(TRANSPORT_SETTINGS.values())
    for column, value in values.items():
        setattr(row if column in ours else node, column, value)
    check(node)
    node.save()
    if ours:
        check_transport(row)
        row.save()
    return announce(before, node)


def announce(before: Node | None, node: Node) -> list[str]:
    """Let every process see a saved node; return what should be known. Rules: PU-22, PU-64."""
    ConfigGeneration.bump()
    return watched.left_behind(before, node) + watched.problems(node)


def check(node: Node) -> None:
    """Raise ConfigurationError for values outside their range, equal or relative paths, unusable drop directories."""
    _check_ranges(node)
    problem = path_problem(node)
    if problem is not None:
        raise ConfigurationError(problem[1], code="NODE_SETTING_INVALID", rule="PU-65")
    if node.pk:
        check_drop_directories(node)


def _check_ranges(row: Node | TransportSettings) -> None:
    try:
        row.full_clean()
    except ValidationError as error:
        column, texts = next(iter(error.message_dict.items()))
        named = next((setting for setting, owner in ALL_SETTINGS.items() if owner == column), column)
        raise ConfigurationError(f"{named}: {' '.join(texts)}", code="NODE_SETTING_INVALID") from error


def check_transport(row: TransportSettings) -> None:
    """Raise ConfigurationError for values outside their range, or retries that outlast the delay notice (QR-31)."""
    _check_ranges(row)
    problem = delay_problem(row)
    if problem is not None:
        raise ConfigurationError(problem, code="NODE_SETTING_INVALID", rule="QR-31")


def delay_problem(row: TransportSettings) -> str | None:
    """Return why these retries do not go with the delay of notices, None when they do (QR-31)."""
    delay = NoticeSettings.load().delay_after
    if row.first_retries_last < delay:
        return None
    return _("Further retries take %(time)s in all; a delay is told after %(delay)s, which must be longer.") % {
        "time": format_timespan(row.first_retries_last),
        "delay": format_timespan(delay),
    }


def longest_first_retries() -> timedelta:
    """Return the longest QR-3 × QR-4 of any server, which the delay of notices must exceed (QR-31)."""
    rows = list(TransportSettings.objects.all())
    if not rows or Node.objects.filter(transport_settings=None).exists():
        rows.append(TransportSettings())  # a server without a row has the defaults
    return max(row.first_retries_last for row in rows)


def check_drop_directories(node: Node) -> None:
    """Raise FC-E8, FC-E9 or FC-E11 when a new root would break a connector's drop directory (DR-5)."""
    for connector in ForeignConnector.objects.filter(source_transport_servers=node):
        configuration.check_paths(connector, nodes=[node])


def path_problem(node: Node) -> tuple[str, str] | None:
    """Return the column of a path that cannot be saved and why, None when all can. Rules: PU-65, DR-10."""
    for column in sorted(_PATHS):
        path = getattr(node, column)
        if path.startswith("\\\\"):
            return column, _("A network share must be mounted first; give the path it is mounted on.")
        if path and not Path(path).is_absolute():
            return column, _("%(path)s is not an absolute path.") % {"path": path}
    pickup, replay = node.pickup_directory_path, node.replay_directory_path
    if pickup and replay:
        first, second = Path(pickup).resolve(), Path(replay).resolve()
        if first.is_relative_to(second) or second.is_relative_to(first):
            return "replay_directory_path", _("Pickup and Replay are different directories, neither inside the other.")
    return None
