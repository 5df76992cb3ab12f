"""Words of routing: a sentence for each step and for each reason a connector was not chosen (RT-, IM-)."""

from __future__ import annotations

from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from connectors import display
from connectors.transport.routing import Candidate, LostBecause, Resolution, Step, Verdict

STEPS: dict[str, Promise] = {
    "decapsulated": gettext_lazy("The address carries another one inside: %(address)s."),
    "imcea-refused": gettext_lazy("The address carries another one inside, which cannot be read. %(reason)s"),
    "imcea-not-ours": gettext_lazy(
        "The address looks as if it carried another one, but its domain is not ours; it is taken as it stands."
    ),
    "mailbox": gettext_lazy("It belongs to the mailbox “%(name)s” here."),
    "contact": gettext_lazy("It belongs to the contact “%(name)s”, whose mail goes to %(address)s."),
    "group": gettext_lazy("It belongs to the group “%(name)s”, which is replaced by its members."),
    "ambiguous": gettext_lazy("More than one recipient has the address %(address)s, so none can be chosen."),
    "mailbox-size": gettext_lazy("The message is larger than the mailbox %(name)s may receive: %(limit)s."),
    "loop": gettext_lazy("The contacts point at one another in a circle."),
    "authoritative-unknown": gettext_lazy(
        "Its domain is ours alone (authoritative), and nobody here has the address %(address)s."
    ),
    "relay-domain": gettext_lazy("%(domain)s is a relay domain: whoever is not found here is looked for elsewhere."),
    "ex-unknown": gettext_lazy("It is an Exchange name (EX) that nobody here has."),
    "malformed": gettext_lazy("It is not written as an address."),
    "eliminated-by-size": gettext_lazy("Connectors serve this address, but none takes a message of this size."),
    "no-match": gettext_lazy("No connector serves this address."),
    "selected": gettext_lazy("The connector “%(connector)s” serves it by its address space %(space)s."),
}

LOST: dict[LostBecause, Promise] = {
    LostBecause.SIZE: gettext_lazy("The message is larger than it takes."),
    LostBecause.SCOPE: gettext_lazy("It is scoped to another site."),
    LostBecause.DISABLED: gettext_lazy("It is disabled."),
    LostBecause.NO_MATCH: gettext_lazy("None of its address spaces covers this address."),
    LostBecause.NO_SOURCE: gettext_lazy("It has no source server, so nothing delivers for it."),
    LostBecause.LESS_SPECIFIC: gettext_lazy("Its address space fits less closely than the winner’s."),
    LostBecause.HIGHER_COST: gettext_lazy("It fits as closely as the winner, but costs more."),
    LostBecause.NAME_ORDER: gettext_lazy("It ties with the winner in every way; the name comes later."),
}


def step_sentence(step: Step) -> str:
    """Return what happened in one step."""
    words = STEPS.get(step.code)
    if words is None:
        return step.code
    params = step.params
    if step.code == "mailbox-size":
        params = params | {"limit": display.limit(int(params["limit"]))}  # both numbers (QL-21)
    return str(words) % params


def candidate_sentence(candidate: Candidate) -> str:
    """Return why a connector won or lost."""
    if candidate.lost is None:
        return _("It wins: the closest address space at the lowest cost.")
    return str(LOST[candidate.lost])


def verdict_sentence(resolution: Resolution) -> str:
    """Return the answer of the page in one sentence."""
    hop = resolution.next_hop
    if resolution.group is not None:
        return _group_sentence(resolution)
    if resolution.verdict is Verdict.FAIL or hop is None:
        return _("The message is returned to its sender: nobody can deliver to %(address)s.") % {
            "address": str(resolution.final)
        }
    if resolution.verdict is Verdict.UNREACHABLE:
        return _("The message waits in the Unreachable queue: no connector serves %(address)s.") % {
            "address": str(resolution.final)
        }
    if not hop.connector_name:
        return _("%(address)s is a mailbox here.") % {"address": str(resolution.final)}
    return _("%(address)s goes out by the connector “%(connector)s”.") % {
        "address": str(resolution.final),
        "connector": hop.connector_name,
    }


def _group_sentence(resolution: Resolution) -> str:
    words = {"address": str(resolution.final)}
    if resolution.verdict is Verdict.FAIL:
        return _("The message is returned to its sender: the group %(address)s has no members.") % words
    return _("%(address)s is a group: its members get the message in its place.") % words


def members_sentence(address: str, *, count: int, failing: int) -> str:
    """Say how many get the message in place of a group, and how many of them cannot be reached."""
    words = {"address": address, "count": number_format(count), "failing": number_format(failing)}
    if not count:
        return _("%(address)s is a group whose members are all recipients already.") % words
    text = ngettext(
        "%(address)s is a group: %(count)s recipient gets the message in its place.",
        "%(address)s is a group: %(count)s recipients get the message in its place.",
        count,
    )
    if failing:
        text += " " + ngettext("%(failing)s cannot be reached.", "%(failing)s cannot be reached.", failing)
    return text % words
