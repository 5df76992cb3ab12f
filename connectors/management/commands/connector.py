"""`manage.py connector new|set|get|remove|test|create-directory|exchange`: foreign connectors by command."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from connectors import configuration, drop_directory, exchange_dialect, routing_table
from connectors.errors import FcwebError
from connectors.mail.sizes import SizeError, format_size, parse_size
from connectors.models import ForeignConnector

_BOOLEANS = {"true": True, "false": False, "$true": True, "$false": False}


class Command(BaseCommand):
    help = "Create, change, show, test and remove foreign connectors."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        new = verbs.add_parser("new")
        new.add_argument("kind", choices=["foreign"])
        new.add_argument("name")
        new.add_argument("--address-space", action="append", default=[])
        new.add_argument("--source-server", action="append", default=[])
        new.add_argument("--comment", default="")
        change = verbs.add_parser("set")
        change.add_argument("name")
        change.add_argument("--name", dest="new_name")
        for option in ("drop-directory", "drop-directory-quota", "max-message-size", "comment"):
            change.add_argument(f"--{option}")
        for option in ("enabled", "hold", "relay-dsn-required", "one-recipient-per-file"):
            change.add_argument(f"--{option}", choices=sorted(_BOOLEANS))
        for option in ("address-space", "add-address-space", "remove-address-space"):
            change.add_argument(f"--{option}", action="append", default=[])
        get = verbs.add_parser("get")
        get.add_argument("name", nargs="?")
        get.add_argument("--json", action="store_true")
        remove = verbs.add_parser("remove")
        remove.add_argument("name")
        remove.add_argument("--yes", action="store_true", help="remove even while messages wait")
        verbs.add_parser("exchange").add_argument("line", help="a New-, Set-, Get- or Remove-ForeignConnector line")
        for verb in ("test", "create-directory"):
            verbs.add_parser(verb).add_argument("name")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        try:
            getattr(self, "_" + options["verb"].replace("-", "_"))(options)
        except (FcwebError, SizeError) as error:
            code = error.code if isinstance(error, FcwebError) else "SIZE_RANGE"
            raise CommandError(f"{code}: {error}") from error

    def _new(self, options: dict[str, Any]) -> None:
        connector = configuration.create(
            options["name"],
            options["address_space"],
            servers=options["source_server"],
            comment=options["comment"],
        )
        self._warn(connector)

    def _set(self, options: dict[str, Any]) -> None:
        connector = configuration.find(options["name"])
        fields: dict[str, object] = {}
        for option, column in (("new_name", "name"), ("drop_directory", "drop_directory"), ("comment", "comment")):
            if options[option] is not None:
                fields[column] = options[option]
        for option, column in (
            ("drop_directory_quota", "drop_directory_quota"),
            ("max_message_size", "max_message_bytes"),
        ):
            if options[option] is not None:
                fields[column] = parse_size(options[option])
        for option, column in (
            ("enabled", "enabled"),
            ("hold", "is_held"),
            ("relay_dsn_required", "relay_dsn_required"),
            ("one_recipient_per_file", "one_recipient_per_file"),
        ):
            if options[option] is not None:
                fields[column] = _BOOLEANS[options[option]]
        configuration.change(connector, fields, spaces=_spaces(connector, options))
        self._warn(connector)

    def _get(self, options: dict[str, Any]) -> None:
        found = [configuration.find(options["name"])] if options["name"] else list(ForeignConnector.objects.all())
        if options["json"]:
            self.stdout.write(json.dumps([_properties(connector) for connector in found], indent=2))
            return
        for connector in found:
            spaces = ", ".join(str(space) for space in connector.address_spaces.all())
            self.stdout.write(f"{connector.name}\t{'enabled' if connector.enabled else 'disabled'}\t{spaces}")

    def _remove(self, options: dict[str, Any]) -> None:
        connector = configuration.find(options["name"])
        count = configuration.waiting(connector)
        if count and not options["yes"]:
            raise CommandError(f"{count} messages wait for {connector.name}; they are routed again. Repeat with --yes.")
        configuration.remove(connector)

    def _test(self, options: dict[str, Any]) -> None:
        checks = drop_directory.check(configuration.find(options["name"]), routing_table.local_node())
        for step in checks:
            self.stdout.write(f"{step.state:4} {step.text} {step.cure}".rstrip())
        if any(step.state == "fail" for step in checks):
            raise SystemExit(1)

    def _create_directory(self, options: dict[str, Any]) -> None:
        path = drop_directory.create(configuration.find(options["name"]), routing_table.local_node())
        self.stdout.write(str(path))

    def _exchange(self, options: dict[str, Any]) -> None:
        """Do what an Exchange line says, by the same steps as the other verbs."""
        line = exchange_dialect.parse(options["line"])
        if line.what_if:
            self.stdout.write(f"What if: {line.verb}-ForeignConnector {line.values} {line.lists}")
            return
        spaces = line.lists.get("AddressSpaces", exchange_dialect.Change())
        servers = line.lists.get("SourceTransportServers", exchange_dialect.Change())
        values = line.values
        identity = values.get("Identity", "")
        if line.verb == "Get":
            self._get({"name": identity, "json": True})
        elif line.verb == "Remove":
            configuration.remove(configuration.find(identity))
        elif line.verb == "New":
            connector = configuration.create(
                values.get("Name", ""), spaces.replace or (), servers=servers.replace or ()
            )
            configuration.change(connector, _columns({k: v for k, v in values.items() if k != "Name"}))
            self._warn(connector)
        else:
            connector = configuration.find(identity)
            chosen = {
                "address_space": list(spaces.replace or ()),
                "add_address_space": list(spaces.add),
                "remove_address_space": list(spaces.remove),
            }
            configuration.change(connector, _columns(values), spaces=_spaces(connector, chosen))
            self._warn(connector)

    def _warn(self, connector: ForeignConnector) -> None:
        for warning in configuration.warnings(connector):
            self.stderr.write(f"{warning.code}: {warning.text}")


def _columns(values: dict[str, str]) -> dict[str, object]:
    """Return columns and values for Exchange's property names."""
    columns: dict[str, object] = {}
    for name, column in (("Name", "name"), ("Comment", "comment"), ("DropDirectory", "drop_directory")):
        if name in values:
            columns[column] = "" if values[name].lower() == "$null" else values[name]
    for name, column in (("DropDirectoryQuota", "drop_directory_quota"), ("MaxMessageSize", "max_message_bytes")):
        if name in values:
            columns[column] = parse_size(values[name])
    for name, column in (
        ("Enabled", "enabled"),
        ("IsScopedConnector", "is_scoped_connector"),
        ("RelayDsnRequired", "relay_dsn_required"),
    ):
        if name in values:
            if values[name].lower() not in _BOOLEANS:
                raise SizeError(f"{name} is $true or $false, not {values[name]!r}")
            columns[column] = _BOOLEANS[values[name].lower()]
    return columns


def _spaces(connector: ForeignConnector, options: dict[str, Any]) -> list[str] | None:
    """Return the new list of address spaces, or None when it stays (FC-6)."""
    if options["address_space"]:
        return list(options["address_space"])
    if not options["add_address_space"] and not options["remove_address_space"]:
        return None
    removed = {space.key for space in configuration.parse_spaces(options["remove_address_space"] or ["*"])}
    if not options["remove_address_space"]:
        removed = set()
    added = {space.key: space.canonical for space in configuration.parse_spaces(options["add_address_space"] or ["*"])}
    if not options["add_address_space"]:
        added = {}
    kept = {row.key: str(row) for row in connector.address_spaces.all() if row.key not in removed}
    return list((kept | added).values())


def _properties(connector: ForeignConnector) -> dict[str, object]:
    """Return the properties with Exchange's names (FC 1.1)."""
    return {
        "Identity": connector.name,
        "Name": connector.name,
        "Guid": str(connector.guid),
        "AddressSpaces": [str(space) for space in connector.address_spaces.all()],
        "IsScopedConnector": connector.is_scoped_connector,
        "SourceTransportServers": [node.name for node in connector.source_transport_servers.all()],
        "Comment": connector.comment,
        "DropDirectory": connector.drop_directory or connector.name,
        "DropDirectoryQuota": format_size(connector.drop_directory_quota),
        "Enabled": connector.enabled,
        "MaxMessageSize": format_size(connector.max_message_bytes),
        "RelayDsnRequired": connector.relay_dsn_required,
    }
