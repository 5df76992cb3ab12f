"""Operations in words: titles, consequences, outcomes, reasons why nothing was done."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from connectors import display
from connectors.choices import JobScope, JobState, Verb
from connectors.models import BulkJob

DANGEROUS = frozenset({Verb.REMOVE, Verb.REMOVE_NDR, Verb.EXPORT_REMOVE})
_CAP = 10**9

_CONSEQUENCES: dict[str, Promise] = {
    Verb.SUSPEND: gettext_lazy(
        "They stay in the queue and do not leave until somebody resumes them; their time runs on."
    ),
    Verb.RESUME: gettext_lazy("They leave with the next delivery, unless their queue itself is suspended."),
    Verb.REMOVE: gettext_lazy("They are deleted for good. Nobody is told, neither sender nor recipient."),
    Verb.REMOVE_NDR: gettext_lazy("They are deleted for good, and each sender gets a notice of non-delivery."),
    Verb.REDIRECT: gettext_lazy("They move to the queue of another connector and are handed to its gateway."),
    Verb.RESUBMIT: gettext_lazy("They are routed again as the configuration is now. Suspended messages stay."),
    Verb.EXPORT: gettext_lazy(
        "Suspended messages are written as files that Replay takes; they stay in the queue. Once such a file was "
        "replayed, remove its original silently, or it is delivered twice."
    ),
    Verb.DRAIN: gettext_lazy("They move to another server, which takes them as new messages."),
    Verb.EXPORT_REMOVE: gettext_lazy(
        "Suspended messages are written as files that Replay takes, then deleted silently."
    ),
    Verb.DELIVER_AGAIN: gettext_lazy(
        "Each is handed over once more, as the configuration is now: the receiving system gets it twice unless it lost "
        "the first. No notice is written about it."
    ),
}
_WHY: dict[str, Promise] = {
    "suspended": gettext_lazy("it is suspended"),
    "not_suspended": gettext_lazy("it is not suspended"),
    "not_in_retry": gettext_lazy("it is not in Retry"),
    "in_transfer": gettext_lazy("it is being transferred"),
    "gone": gettext_lazy("it has left the queue"),
    "poison_queue": gettext_lazy("it is in Poison"),
    "same_queue": gettext_lazy("it is in that queue already"),
    "pending_suspend": gettext_lazy("its suspension is pending"),
    "pending_remove": gettext_lazy("its removal is pending"),
    "pending_remove_ndr": gettext_lazy("its removal is pending"),
    "recipient_unknown": gettext_lazy("it has no such recipient"),
    "came_back": gettext_lazy("it came back after the operation began"),
    "submission_not_suspended": gettext_lazy("routing was not suspended"),
    "not_possible": gettext_lazy("it is not possible in this state"),
}


def title(verb: str, count: int, *, is_queue: bool = False) -> str:
    """Return what would be done, with its number: "Remove 12 silently"."""
    shown = {"count": display.capped(count, _CAP)}
    if is_queue and verb in {Verb.SUSPEND, Verb.RESUME}:
        return str(_("Suspend a queue") if verb == Verb.SUSPEND else _("Resume a queue"))
    texts = {
        Verb.SUSPEND: ngettext("Suspend %(count)s message", "Suspend %(count)s messages", count),
        Verb.RESUME: ngettext("Resume %(count)s message", "Resume %(count)s messages", count),
        Verb.RETRY: ngettext("Retry %(count)s queue", "Retry %(count)s queues", count),
        Verb.REMOVE: ngettext("Remove %(count)s message silently", "Remove %(count)s messages silently", count),
        Verb.REMOVE_NDR: ngettext(
            "Remove %(count)s message and send a notice", "Remove %(count)s messages and send notices", count
        ),
        Verb.REDIRECT: ngettext("Redirect %(count)s message", "Redirect %(count)s messages", count),
        Verb.RESUBMIT: ngettext("Route %(count)s message again", "Route %(count)s messages again", count),
        Verb.DRAIN: ngettext(
            "Move %(count)s message to another server", "Move %(count)s messages to another server", count
        ),
        Verb.EXPORT: ngettext("Export %(count)s message", "Export %(count)s messages", count),
        Verb.EXPORT_REMOVE: ngettext(
            "Export and remove %(count)s message", "Export and remove %(count)s messages", count
        ),
        Verb.DELIVER_AGAIN: ngettext("Deliver %(count)s message again", "Deliver %(count)s messages again", count),
    }
    return texts[Verb(verb)] % shown


def consequence(verb: str) -> str:
    """Return what happens then."""
    return str(_CONSEQUENCES[verb])


def progress(job: BulkJob) -> tuple[str, str]:
    """Return how an operation stands, as tone and sentence."""
    state = str(job.get_state_display())
    if job.state == JobState.RUNNING:
        return "info", _("%(state)s: %(left)s left.") % {
            "state": _upper(state),
            "left": display.capped(job.left, _CAP),
        }
    if not job.total and job.scope == JobScope.MESSAGES:
        return "wait", _("Nothing was changed: all that was meant had left before.")
    text = ngettext("%(count)s message was changed.", "%(count)s messages were changed.", job.changed)
    tone = "fail" if job.failed else "ok" if job.state == JobState.DONE else "wait"
    return tone, f"{_upper(state)}. {text % {'count': display.capped(job.changed, _CAP)}}"


def _upper(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def queue_done(verb: str, name: str) -> str:
    """Return what was done to a queue."""
    texts = {
        Verb.SUSPEND: _("%(name)s is suspended: it accepts messages and lets none out."),
        Verb.RESUME: _("%(name)s is resumed."),
        Verb.RETRY: _("%(name)s is tried again now."),
    }
    return texts[Verb(verb)] % {"name": name}


def why(code: str) -> str:
    """Return why nothing was done to a message; an error text stays as it is."""
    known = _WHY.get(code)
    return str(known) if known else code


def entry(verb: str, *, is_queue: bool) -> str:
    """Return one line of a message's timeline (MTE-6)."""
    if is_queue:
        texts = {
            Verb.SUSPEND: _("Its queue was suspended."),
            Verb.RESUME: _("Its queue was resumed."),
            Verb.RETRY: _("Its queue was tried again by hand."),
        }
    else:
        texts = {
            Verb.SUSPEND: _("Suspended."),
            Verb.RESUME: _("Resumed."),
            Verb.REMOVE: _("Removed silently."),
            Verb.REMOVE_NDR: _("Removed with a notice."),
            Verb.REDIRECT: _("Redirected to another connector."),
            Verb.RESUBMIT: _("Sent back to be routed again."),
            Verb.EXPORT: _("Exported."),
            Verb.DRAIN: _("Moved to another server."),
            Verb.EXPORT_REMOVE: _("Exported and removed."),
            Verb.DELIVER_AGAIN: _("Delivered again from the Safety Net."),
        }
    return texts.get(Verb(verb), verb)
