"""`manage.py pickup [--once]`."""

from connectors.management.transport_command import TransportCommand


class Command(TransportCommand):
    help = "Take files from the Pickup directory."
    stages = ("pickup",)
    heartbeat = "pickup"
