"""Expansion: a group as a recipient becomes its members (MT-K, DSN-5, DSN-11).

Promises: no I/O; every member once a message, however many groups name it and however they name one another.
Leaves to neighbours: who the members are (directory), where each goes (`routing`), the rows (`categorizer`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from connectors.mail.address import address_key
from connectors.transport.routing import DirectoryEntry, Resolution, Verdict

EMPTY_TEXT = "550 5.2.4 RESOLVER.GRP.Empty; the group has no members"  # docs/adr/0008
EXPANDED_TEXT = "250 2.0.0 RESOLVER.GRP.Expanded; the group was replaced by its members"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a member inherits: whom its notices go to, and which."""

    return_path: str  # "" is the null path
    notify: str  # as in an envelope: "", NEVER, or a comma list
    orcpt: str

    def within(self, group: DirectoryEntry) -> Terms:
        """Return the terms of a group's members. Rules: DSN-11, DSN-26; RFC 3461 5.2.7."""
        if group.reports_to == "nobody":
            return replace(self, notify="NEVER", orcpt="")
        if group.reports_to == "manager" and group.manager:
            # Nothing is ever told about a null sender, so nobody takes its place (DSN-7).
            return Terms(return_path=self.return_path and group.manager, notify="FAILURE", orcpt="")
        words = self.notify.split(",") if self.notify else []
        left = [word for word in words if word != "SUCCESS"]
        return replace(self, notify=",".join(left) or ("NEVER" if words else ""))


def is_told(group: DirectoryEntry, notify: str) -> bool:
    """Tell whether the sender gets a notice of the expansion (DSN-5)."""
    reports_to_sender = group.reports_to == "originator" or (group.reports_to == "manager" and not group.manager)
    return reports_to_sender and "SUCCESS" in notify.split(",")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A recipient that came out of a group."""

    address: str
    resolution: Resolution  # never EXPAND
    terms: Terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Expanded:
    """One group with what became of its members' addresses."""

    group: str
    members: tuple[str, ...]  # new recipients of the message, groups among them
    duplicates: tuple[str, ...]  # recipients of the message before


@dataclass(slots=True, kw_only=True)
class Expansion:
    """All that one recipient became, outermost group first; no members and no duplicates for an empty group."""

    groups: list[Expanded] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Tell whether nobody stands behind the group."""
        return not self.members and not any(group.duplicates for group in self.groups)


def expand(group: Resolution, terms: Terms, *, taken: set[str], resolve: Callable[[str], Resolution]) -> Expansion:
    """Return what a group becomes; `taken` are the keys of the message's recipients, and grows.

    A nested group, also one a contact points at, follows the group that names it. A circle ends where it closes:
    a group that is a recipient already is a duplicate like any other.
    """
    found = Expansion()
    waiting = deque([(group, terms)])
    taken.add(recipient_key(group))
    while waiting:
        outer, outer_terms = waiting.popleft()
        assert outer.group is not None
        inner_terms = outer_terms.within(outer.group)
        new: list[str] = []
        duplicates: list[str] = []
        for address in outer.group.members:
            resolution = resolve(address)
            key = recipient_key(resolution)
            if key in taken:
                duplicates.append(address)
                continue
            taken.add(key)
            new.append(address)
            if resolution.verdict is Verdict.EXPAND:
                waiting.append((resolution, inner_terms))
            else:
                found.members.append(Member(address=address, resolution=resolution, terms=inner_terms))
        found.groups.append(Expanded(group=str(outer.final), members=tuple(new), duplicates=tuple(duplicates)))
    return found


def recipient_key(resolution: Resolution) -> str:
    """Return what makes two recipients the same one: who they are in the end, not how they were written."""
    if resolution.group is not None:
        return f"group:{address_key(resolution.group.primary)}"
    return address_key(resolution.envelope_address)
