"""Child of the crash tests: runs the transport once and kills itself at the Nth disk or database step.

usage: run_transport.py N   (N = 0 only counts and prints the number of steps)
"""

import os
import signal
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "fcweb.settings")
import django

django.setup()
from django.core.management import call_command
from django.db import connection

kill_at = int(sys.argv[1])
steps = 0


def step():
    global steps
    steps += 1
    if steps == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)


def counted(function):
    def wrapper(*args, **kwargs):
        step()
        result = function(*args, **kwargs)
        step()
        return result

    return wrapper


from connectors import disk

for name in ("rename", "link", "unlink", "fsync"):
    setattr(os, name, counted(getattr(os, name)))
disk.rename_new = counted(disk.rename_new)
disk.sync_file_system = counted(disk.sync_file_system)
connection.ensure_connection()
connection._commit = counted(connection._commit)
call_command("transport", once=True, skip_checks=True)
print(steps)
