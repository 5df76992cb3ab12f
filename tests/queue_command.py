"""`manage.py queue` in this process."""

from io import StringIO

from django.core.management import call_command


def run(*words):
    """Return what the command prints; CommandError as it is raised."""
    out = StringIO()
    call_command("queue", *words, stdout=out, stderr=StringIO())
    return out.getvalue()
