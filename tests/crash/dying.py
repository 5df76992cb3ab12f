"""Dying: runs something in a fork that ends at one of its steps. Used by the children of the crash tests."""

import json
import os
import signal


class Counter:
    """Counts the steps of a run and kills the process at one of them; at 0 it lets the run live."""

    def __init__(self, kill_at):
        self.kill_at = kill_at
        self.steps = []

    def step(self, name):
        self.steps.append(name)
        if len(self.steps) == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(self, name, function):
        """Return a function that does the same and is a step before and a step after."""

        def wrapper(*args, **kwargs):
            self.step(f"before {name}")
            result = function(*args, **kwargs)
            self.step(f"after {name}")
            return result

        return wrapper

    def count(self, owner, *names):
        """Make calls of functions of a module or an object steps."""
        for name in names:
            setattr(owner, name, self.counted(name, getattr(owner, name)))


def forked(action):
    """Do something in a fork; return its wait status and the list it returned, empty when it died."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        with os.fdopen(reader) as pipe:
            text = pipe.read()
        return os.waitpid(child, 0)[1], json.loads(text or "[]")
    result = action()
    with os.fdopen(writer, "w") as pipe:
        json.dump(result, pipe)
    os._exit(0)


def was_killed(status):
    """Tell whether a wait status is that of a process that killed itself at a step."""
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
