"""Trouble in words: what a queue's last error means, and what each condition of the event log means and needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from connectors.event_log import Event

# Texts are those of couriers.drop, couriers.mailbox and routing; the first that is found in an error wins.
_ERRORS: tuple[tuple[str, Promise], ...] = (
    ("Drop directory does not exist", gettext_lazy("drop directory missing")),
    ("Drop directory: access denied", gettext_lazy("drop directory not writable")),
    ("read-only file system", gettext_lazy("drop directory is read-only")),
    ("Drop directory: path too long", gettext_lazy("path of the drop directory too long")),
    ("Drop directory quota reached", gettext_lazy("drop directory full: the quota is reached")),
    ("The spool is not there", gettext_lazy("the spool of this server is not mounted")),
    ("Connector is gone", gettext_lazy("the connector was removed")),
    ("A matching connector cannot be found", gettext_lazy("no connector serves these addresses")),
)
_STUCK_PATIENCE = timedelta(hours=1)  # UP-8
_STATUS = re.compile(r"\b([245])\.\d{1,3}\.\d{1,3}\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What an event means and what to do about it."""

    sentence: Promise
    cure: Promise
    tone: str = "fail"


_LOOK_AT_DIRECTORY = gettext_lazy("Test it: each step is shown, with the exact command that mends it.")

CONDITIONS: dict[int, Condition] = {
    Event.BAD_DROP_DIRECTORY: Condition(
        sentence=gettext_lazy("%(subject)s: the drop directory cannot be used."), cure=_LOOK_AT_DIRECTORY
    ),
    Event.QUOTA_EXCEEDED: Condition(
        sentence=gettext_lazy("%(subject)s: the drop directory is full, its quota is reached."),
        cure=gettext_lazy("See whether the gateway still collects its files; mail waits until there is room."),
    ),
    Event.PATH_TOO_LONG: Condition(
        sentence=gettext_lazy("%(subject)s: the path of the drop directory is too long."),
        cure=gettext_lazy("Give the connector a shorter drop directory."),
    ),
    Event.NO_DROP_DIRECTORY: Condition(
        sentence=gettext_lazy("%(subject)s: the drop directory does not exist."),
        cure=gettext_lazy("Mount or rename it back, or create it; mail waits until then."),
    ),
    Event.DROP_UNAUTHORIZED: Condition(
        sentence=gettext_lazy("%(subject)s: the drop directory is not writable for fcweb."), cure=_LOOK_AT_DIRECTORY
    ),
    Event.NO_PICKUP_DIRECTORY: Condition(
        sentence=gettext_lazy("%(subject)s does not exist, so no file is taken from it."),
        cure=gettext_lazy("Create the directory, or correct its path in the settings of the server."),
    ),
    Event.POISON_FILE: Condition(
        sentence=gettext_lazy("A file in %(subject)s stopped the service twice and was set aside."),
        cure=gettext_lazy("It is in the list of bad files; keep a copy and report it."),
    ),
    Event.SIZE_ZERO: Condition(
        sentence=gettext_lazy("%(subject)s: its size limit is 0, so no message fits."),
        cure=gettext_lazy("Disable the connector instead, or give it a limit that lets messages through."),
        tone="wait",
    ),
    Event.PRESSURE: Condition(
        sentence=gettext_lazy("%(subject)s: too many messages wait to be routed, so fewer files are taken, or none."),
        cure=gettext_lazy("See whether Submission is suspended, and whether the process that delivers runs."),
        tone="wait",
    ),
    Event.DISK_SPACE: Condition(
        sentence=gettext_lazy("%(subject)s is short of disk space, so no file is taken; what is queued still leaves."),
        cure=gettext_lazy("Free disk space on the volume of the directory shown."),
    ),
    Event.LEDGER: Condition(
        sentence=gettext_lazy("%(subject)s: the check of the ledger found recipients without exactly one end."),
        cure=gettext_lazy("List them with manage.py ledger check, look at each message, and report it."),
    ),
    Event.PICKUP_DELETE: Condition(
        sentence=gettext_lazy("A finished file in %(subject)s cannot be removed."),
        cure=gettext_lazy("Give fcweb the right to delete in this directory; nothing is sent twice."),
    ),
    Event.PICKUP_READ: Condition(
        sentence=gettext_lazy("A file in %(subject)s, or the directory itself, cannot be read."),
        cure=gettext_lazy("Give fcweb the right to read there."),
    ),
    Event.PICKUP_RENAME: Condition(
        sentence=gettext_lazy("A file in %(subject)s cannot be renamed, so it cannot be taken."),
        cure=gettext_lazy("Give fcweb the right to write in this directory."),
    ),
    Event.FILE_VANISHED: Condition(
        sentence=gettext_lazy("A file in %(subject)s disappeared while it was being taken."),
        cure=gettext_lazy("See which other program works in this directory."),
        tone="wait",
    ),
    Event.POISON_MESSAGE: Condition(
        sentence=gettext_lazy("%(subject)s: a message stopped the service again and again and was put into Poison."),
        cure=gettext_lazy("Look at it in the Poison queue: export it, resume it after a repair, or remove it."),
    ),
    Event.NOT_COLLECTED: Condition(
        sentence=gettext_lazy("%(subject)s: the gateway does not collect its files."),
        cure=gettext_lazy("See whether the gateway runs and may read its drop directory; the files stay there."),
    ),
    Event.DIRECTORY_ACCESS: Condition(
        sentence=gettext_lazy("%(subject)s is not safe to use, so no file is taken from it."),
        cure=gettext_lazy("Run the command shown, or change the path in the settings of the server."),
    ),
    Event.FILE_STUCK: Condition(
        sentence=gettext_lazy("Files in %(subject)s cannot be opened; they are tried again and again."),
        cure=gettext_lazy("Close the program that holds them, or give fcweb the right to read them."),
    ),
    Event.CLAIM_HELD: Condition(
        sentence=gettext_lazy("A file in %(subject)s has been in the hands of one process for minutes."),
        cure=gettext_lazy("See whether that process hangs; when it ends, the file is read again."),
        tone="wait",
    ),
}


def error_sentence(text: str) -> str:
    """Return what a queue's last error means in a few words, "" when it has none."""
    if not text:
        return ""
    for known, words in _ERRORS:
        if known in text:
            return str(words)
    status = _STATUS.search(text)
    if status is not None and status[1] == "5":
        return _("refused for good by the other side")
    return _("the other side cannot take the mail now")


def condition_sentence(code: int, subject: str) -> str:
    """Return what an open condition of the event log means."""
    known = CONDITIONS.get(code)
    return (
        str(known.sentence) % {"subject": subject}
        if known
        else _("Event %(code)d: %(subject)s")
        % {
            "code": code,
            "subject": subject,
        }
    )


def condition_cure(code: int) -> str:
    """Return what to do about it, "" for an unknown code."""
    known = CONDITIONS.get(code)
    return str(known.cure) if known else ""


def condition_tone(code: int, *, lasts: timedelta) -> str:
    """Return how urgent a condition that lasts so long is: fail or wait. Rules: UP-8."""
    known = CONDITIONS.get(code)
    if known is None or (code == Event.FILE_STUCK and lasts < _STUCK_PATIENCE):
        return "wait"
    return known.tone
