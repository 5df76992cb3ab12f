"""`manage.py transport [--once]`: all stages."""

from connectors.management.transport_command import TransportCommand


class Command(TransportCommand):
    help = "Run all stages: take files, route, deliver, report."
