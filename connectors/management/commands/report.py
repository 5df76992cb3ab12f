"""`manage.py report [--once]`."""

from connectors.management.transport_command import TransportCommand


class Command(TransportCommand):
    help = "Write the notices that are owed."
    stages = ("report",)
    heartbeat = "report"
