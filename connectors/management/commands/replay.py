"""`manage.py replay [--once]`."""

from connectors.management.transport_command import TransportCommand


class Command(TransportCommand):
    help = "Take files from the Replay directory."
    stages = ("replay",)
    heartbeat = "replay"
