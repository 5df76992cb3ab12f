"""`manage.py categorize [--once]`."""

from connectors.management.transport_command import TransportCommand


class Command(TransportCommand):
    help = "Resolve and route submitted messages."
    stages = ("categorize",)
    heartbeat = "categorize"
