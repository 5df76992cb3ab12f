"""`manage.py connector new|set|get|remove|test|create-directory|exchange`: foreign connectors by command (FC-5 to FC-9).

Every change is audited with the Unix user. Errors print a stable code and end with exit code 1 (FC-E1 to FC-E11).
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from connectors import audit, configuration, drop_directory, exchange_dialect, rerouting, routing_table
from connectors.configuration import ListChange
from connectors.errors import ConfigurationError, FcwebError
from connectors.exchange_dialect import BOOLEANS, Line
from connectors.mail.sizes import with_attachments
from connectors.models import ForeignConnector

_FLAGS = ("enabled", "hold", "scoped", "relay-dsn-required", "one-recipient-per-file")
_COLUMNS = {"hold": "is_held", "scoped": "is_scoped_connector"}
_SIZES = {"drop_directory_quota": configuration.quota_size, "max_message_size": configuration.message_size}
_MOST_MINUTES = 525_600  # a year


class Command(BaseCommand):
    help = "Create, change, show, test and remove foreign connectors."

    def add_arguments(self, parser: ArgumentParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        new = verbs.add_parser("new", help="one step with every setting, or a name and address spaces and `set` later")
        new.add_argument("kind", choices=["foreign"])
        new.add_argument("name")
        change = verbs.add_parser("set", help="change what is named; the rest stays")
        change.add_argument("name", help="name, GUID or Server\\Name")
        change.add_argument("--name", dest="new_name")
        for verb in (new, change):
            verb.add_argument("--address-space", action="append", default=[], help="e.g. FAX:*;1; repeat for more")
            verb.add_argument("--source-server", action="append", default=[], help="default: this server")
            for option in ("drop-directory", "drop-directory-quota", "max-message-size", "comment"):
                verb.add_argument(f"--{option}")
            verb.add_argument("--collect-within", help="minutes the gateway has for a file, or unlimited")
            for option in _FLAGS:
                verb.add_argument(f"--{option}", choices=sorted(BOOLEANS))
        for option in ("add-address-space", "remove-address-space", "add-source-server", "remove-source-server"):
            change.add_argument(f"--{option}", action="append", default=[])
        change.add_argument("--what-if", action="store_true", help="say how many messages would be routed again")
        get = verbs.add_parser("get", help="show one connector, or all")
        get.add_argument("name", nargs="?")
        remove = verbs.add_parser("remove", help="remove a connector; what waits for it is routed again")
        remove.add_argument("name")
        remove.add_argument("--yes", action="store_true", help="remove even while messages wait")
        verbs.add_parser("exchange").add_argument("line", help="a New-, Set-, Get- or Remove-ForeignConnector line")
        for verb_name in ("test", "create-directory"):
            verbs.add_parser(verb_name).add_argument("name")
        for verb in (new, change, get):
            verb.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        try:
            with audit.by_command(f"connector {options['verb']}"):
                getattr(self, "_" + options["verb"].replace("-", "_"))(options)
        except FcwebError as error:
            raise CommandError(f"{error.code}: {error}") from error

    def _new(self, options: dict[str, Any]) -> None:
        connector = configuration.create(
            options["name"], options["address_space"], servers=options["source_server"], fields=_fields(options)
        )
        self._saved(connector, as_json=options["json"])

    def _set(self, options: dict[str, Any]) -> None:
        connector = configuration.find(options["name"])
        fields = _fields(options)
        if options["new_name"] is not None:
            fields["name"] = options["new_name"]
        lists = {"spaces": _list(options, "address_space"), "servers": _list(options, "source_server")}
        if options["what_if"]:
            self._forecast(rerouting.of_change(connector, fields, **lists))
            return
        old_name = connector.name
        configuration.change(connector, fields, **lists)
        self._saved(connector, as_json=options["json"], old_name=old_name)

    def _get(self, options: dict[str, Any]) -> None:
        found = [configuration.find(options["name"])] if options["name"] else list(ForeignConnector.objects.all())
        if options["json"]:
            self.stdout.write(json.dumps([exchange_dialect.properties(connector) for connector in found], indent=2))
            return
        for connector in found:
            spaces = ", ".join(str(space) for space in connector.address_spaces.all())
            limit = connector.max_message_bytes
            shown = "" if limit is None else f"\t{with_attachments(limit)}"
            self.stdout.write(f"{connector.name}\t{'enabled' if connector.enabled else 'disabled'}\t{spaces}{shown}")

    def _remove(self, options: dict[str, Any]) -> None:
        connector = configuration.find(options["name"])
        forecast = rerouting.of_removal(connector)
        if forecast.waiting and not options["yes"]:
            said = " ".join(forecast.sentences())
            raise CommandError(f"{said} Repeat with --yes to remove {connector.name}.")
        configuration.remove(connector)

    def _test(self, options: dict[str, Any]) -> None:
        checks = drop_directory.check(configuration.find(options["name"]), routing_table.local_node())
        for step in checks:
            self.stdout.write(f"{step.state:4} {step.text} {step.cure}".rstrip())
        if any(step.state == "fail" for step in checks):
            raise SystemExit(1)

    def _create_directory(self, options: dict[str, Any]) -> None:
        try:
            path = drop_directory.create(configuration.find(options["name"]), routing_table.local_node())
        except OSError as error:
            raise CommandError(f"DROP_DIR_ACCESS: {error}") from error
        self.stdout.write(str(path))

    def _exchange(self, options: dict[str, Any]) -> None:
        """Do what an Exchange line says, by the same steps as the other verbs."""
        line = exchange_dialect.parse(options["line"])
        identity = line.values.get("Identity", "")
        if line.verb == "Get":
            # $null is everything, as in Exchange; an unknown name is an error, unlike there (FC-9).
            self._get({"name": "" if identity.lower() == "$null" else identity, "json": True})
            return
        fields = exchange_dialect.columns(line.values)
        lists = {"spaces": line.lists.get("AddressSpaces"), "servers": line.lists.get("SourceTransportServers")}
        if line.verb == "New":
            self._exchange_new(line, fields)
            return
        connector = configuration.find(identity)
        forecast = (
            rerouting.of_removal(connector)
            if line.verb == "Remove"
            else rerouting.of_change(connector, fields, **lists)
        )
        if line.what_if:
            self.stdout.write(f"What if: {line.verb}-ForeignConnector {connector.name}")
            self._forecast(forecast)
            return
        self._confirm(line, forecast, connector.name)
        if line.verb == "Remove":
            configuration.remove(connector)
        else:
            old_name = connector.name
            configuration.change(connector, fields, **lists)
            self._saved(connector, as_json=False, old_name=old_name)

    def _exchange_new(self, line: Line, fields: dict[str, object]) -> None:
        name = str(fields.pop("name", ""))
        spaces = line.lists.get("AddressSpaces", ListChange())
        servers = line.lists.get("SourceTransportServers", ListChange())
        if line.what_if:
            configuration.check_name(name)
            configuration.parse_spaces(spaces.replace)
            configuration.source_nodes(servers.replace)
            self.stdout.write(f"What if: New-ForeignConnector {name}")
            return
        if line.confirm:
            self._ask(f"New-ForeignConnector {name}")
        connector = configuration.create(name, spaces.replace, servers=servers.replace, fields=fields)
        self._saved(connector, as_json=False)

    def _confirm(self, line: Line, forecast: rerouting.Forecast, name: str) -> None:
        """Ask as the shell does: before a Remove unless -Confirm:$false, before others when -Confirm."""
        if line.confirm if line.confirm is not None else line.verb == "Remove":
            self._ask(" ".join([f"{line.verb}-ForeignConnector {name}.", *forecast.sentences()]))

    def _ask(self, what: str) -> None:
        if not sys.stdin.isatty():
            raise ConfigurationError(f"{what} Add -Confirm:$false to do it.", code="CONFIRMATION_REQUIRED")
        if input(f"{what} [y/N] ").strip().lower() not in {"y", "yes", "o", "oui"}:
            raise ConfigurationError("Nothing was changed.", code="CANCELLED")

    def _forecast(self, forecast: rerouting.Forecast) -> None:
        self.stdout.write("\n".join(forecast.sentences()) or "No waiting message is routed again.")

    def _saved(self, connector: ForeignConnector, *, as_json: bool, old_name: str = "") -> None:
        for warning in configuration.warnings(connector, old_name=old_name):
            self.stderr.write(f"{warning.code}: {warning.text}")
        if as_json:
            self.stdout.write(json.dumps(exchange_dialect.properties(connector), indent=2))


def _fields(options: dict[str, Any]) -> dict[str, object]:
    """Return the columns that options of `new` and `set` name."""
    fields: dict[str, object] = {}
    for option in ("drop_directory", "comment"):
        if options[option] is not None:
            fields[option] = options[option]
    for option, read in _SIZES.items():
        if options[option] is not None:
            column = "max_message_bytes" if option == "max_message_size" else option
            fields[column] = read(options[option])
    if options["collect_within"] is not None:
        fields["collect_within_minutes"] = _minutes(options["collect_within"])
    for flag in _FLAGS:
        option = flag.replace("-", "_")
        if options[option] is not None:
            fields[_COLUMNS.get(option, option)] = BOOLEANS[options[option]]
    return fields


def _minutes(text: str) -> int | None:
    if text.lower() == "unlimited":
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= _MOST_MINUTES):
        raise ConfigurationError("--collect-within takes 1 to 525600 minutes, or unlimited", code="COLLECT_RANGE")
    return int(text)


def _list(options: dict[str, Any], name: str) -> ListChange:
    """Return what the three options of a list say (FC-6)."""
    return ListChange(
        replace=tuple(options[name]), add=tuple(options[f"add_{name}"]), remove=tuple(options[f"remove_{name}"])
    )
