"""`manage.py deliver [--once]`."""

from connectors.management.transport_command import TransportCommand


class Command(TransportCommand):
    help = "Deliver what waits in the queues."
    stages = ("deliver",)
    heartbeat = "deliver"
