r"""Identities of queues and queued messages: `Server\Queue`, `Server\Queue\Integer` (QU-15, QU-16). Pure.

A queue name may itself hold a backslash only in `Shadow\<integer>`; servers are host names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.utils.translation import gettext as _

from connectors.errors import FcwebError

SPECIAL = {"submission": "Submission", "unreachable": "Unreachable", "poison": "Poison"}
_SHADOW = re.compile(r"shadow\\(\d{1,18})", re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_SERVER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?", re.ASCII)


class IdentityError(FcwebError):
    """Text that is no identity, or an identity that may not be used here."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="IDENTITY_INVALID", rule="QU-15")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueIdentity:
    """A queue as it was named: exactly one of `number`, `name`; `*` is every queue."""

    server: str = ""  # "" is this server
    name: str = ""  # Submission, Unreachable, Poison, "*" or a next hop domain
    number: int | None = None
    is_shadow: bool = False  # accepted, never found (QU-9)

    @property
    def is_every(self) -> bool:
        """Tell whether every queue is meant."""
        return self.name == "*"

    def __str__(self) -> str:
        tail = self.name if self.number is None else str(self.number)
        tail = f"Shadow\\{tail}" if self.is_shadow else tail
        return f"{self.server}\\{tail}" if self.server else tail


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageIdentity:
    """A message: one copy in a queue, or all copies when the queue is `*`."""

    queue: QueueIdentity
    number: int

    def __str__(self) -> str:
        return f"{self.queue}\\{self.number}"


def parse_queue(text: str) -> QueueIdentity:
    r"""Read `[Server\]Queue`. Raises IdentityError alone. Rules: QU-15."""
    stripped = text.strip()
    if not stripped or len(stripped) > 1300 or not stripped.isprintable():
        raise IdentityError(_("A queue identity is missing."))
    shadow = _SHADOW.fullmatch(stripped)
    server, separator, rest = ("", "", stripped) if shadow else stripped.partition("\\")
    if not separator:
        server, rest = "", stripped
    elif not _SERVER.fullmatch(server):
        raise IdentityError(_("“%(text)s” names no server before the backslash.") % {"text": text[:100]})
    shadow = _SHADOW.fullmatch(rest)
    if shadow:
        return QueueIdentity(server=server, number=int(shadow[1]), is_shadow=True)
    if not rest or "\\" in rest:
        raise IdentityError(_("“%(text)s” is no queue identity.") % {"text": text[:100]})
    if _NUMBER.fullmatch(rest):
        return QueueIdentity(server=server, number=int(rest))
    return QueueIdentity(server=server, name=SPECIAL.get(rest.casefold(), rest))


def parse_message(text: str) -> MessageIdentity:
    r"""Read `[Server\]Queue\Integer`, `[Server\]*\Integer` or `Integer`. Raises IdentityError alone. Rules: QU-16."""
    stripped = text.strip()
    head, separator, tail = stripped.rpartition("\\")
    if not _NUMBER.fullmatch(tail):
        raise IdentityError(_("“%(text)s” does not end in the number of a message.") % {"text": text[:100]})
    queue = parse_queue(head) if separator else QueueIdentity(name="*")
    return MessageIdentity(queue=queue, number=int(tail))
