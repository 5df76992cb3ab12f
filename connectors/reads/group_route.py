"""A group on *Which route?*: who gets the message instead, how each is routed, in which copy, and who is told.

The members are those of `expansion.expand`, the copies those of `copies.split`: what the categorizer does.
Leaves to neighbours: words for one route (`reads.route`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from django.utils.translation import gettext as _

from connectors.mail.address import address_key
from connectors.mail.envelope import asks
from connectors.mail.xtext import xtext_encode
from connectors.transport import copies
from connectors.transport.copies import Copy, GroupMember
from connectors.transport.expansion import EMPTY_TEXT, Expanded, Expansion, Terms, expand
from connectors.transport.routing import DirectoryEntry, NextHop, Resolution, Verdict

UNNAMED = "<sender>"  # return path while nobody said who sends; no address looks like it


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedGroup:
    """A group among the recipients of a message, and what it became."""

    address: str  # as the sender named it
    resolution: Resolution
    found: Expansion
    entries: Sequence[DirectoryEntry | None]  # of `found.groups`

    @property
    def answer(self) -> Resolution:
        """Return the group's resolution; an empty group fails (docs/adr/0008)."""
        if not self.found.is_empty:
            return self.resolution
        return replace(self.resolution, verdict=Verdict.FAIL, status="5.2.4", text=EMPTY_TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Who takes the place of all groups of a message: in the message itself, and in copies of their own."""

    return_path: str  # of the message itself
    groups: Sequence[NamedGroup]
    staying: Sequence[GroupMember]
    copies: Sequence[Copy]

    @property
    def members(self) -> list[tuple[GroupMember, int]]:
        """Return all who take a place, with the number of their copy: 0 for the message itself, then from 1."""
        found = [(one, 0) for one in self.staying]
        for number, copy in enumerate(self.copies, 1):
            found.extend((one, number) for one in copy.members)
        return found


def place(
    named: Sequence[tuple[str, Resolution, Terms, str]],
    *,
    return_path: str,
    taken: set[str],
    hops: set[NextHop],
    resolve: Callable[[str], Resolution],
) -> Placed:
    """Replace groups, each (address, resolution, terms, field), by their members as the categorizer does.

    `taken` are the keys of the recipients there are, `hops` those of recipients the sender named.
    """
    groups = []
    members: list[GroupMember] = []
    for address, resolution, terms, field in named:
        orcpt = terms.orcpt or f"rfc822;{xtext_encode(address)}"
        found = expand(resolution, replace(terms, orcpt=orcpt), taken=taken, resolve=resolve)
        entries = [resolution.group, *(resolve(inner.group).group for inner in found.groups[1:])]
        groups.append(NamedGroup(address=address, resolution=resolution, found=found, entries=entries))
        members.extend(GroupMember(member=member, group=address, field=field) for member in found.members)
    staying, split = copies.split(0, members, return_path=return_path, hops=hops)
    return Placed(return_path=return_path, groups=groups, staying=staying, copies=split)


def told(terms: Terms) -> str:
    """Return the address that hears of a member's failure, "" for nobody."""
    return terms.return_path if asks(terms.notify, "FAILURE", default=True) else ""


def told_sentence(terms: Terms) -> str:
    """Say who hears of a member's failure (DSN-7, DSN-11)."""
    address = told(terms)
    if not address:
        return _("nobody")
    return _("the sender") if address == UNNAMED else address


def reports_sentence(group: DirectoryEntry) -> str:
    """Say whom the notices about a group's members go to (DSN-11)."""
    if group.reports_to == "nobody":
        return _("Nobody is told when a member cannot be reached.")
    if group.reports_to == "manager" and group.manager:
        return _("The manager, %(manager)s, is told when a member cannot be reached.") % {"manager": group.manager}
    return _("The sender is told when a member cannot be reached.")


def group_of(found: Expansion, address: str) -> Expanded | None:
    """Return the innermost group a member came out of."""
    key = address_key(address)
    return next((one for one in found.groups if key in {address_key(member) for member in one.members}), None)
