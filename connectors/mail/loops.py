"""Loops: what keeps automatic mail from answering automatic mail (DSN-22, QL-12, RFC 3834)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from connectors.mail.header import Field

_COMMENT = re.compile(rb"\([^()]*\)")  # RFC 3834 5: "auto-replied (vacation)"


def is_automatic(fields: Sequence[Field]) -> bool:
    """Tell whether a message is itself an answer: a notice of anybody's, or an automatic reply.

    `Auto-Submitted: auto-generated` is none: a program that writes by itself is told like a person.
    """
    for field in fields:
        if field.name == "x-ms-exchange-message-is-ndr":
            return True
        value = field.value.lower()
        if field.name == "auto-submitted" and _COMMENT.sub(b" ", value).split(b";")[0].strip() == b"auto-replied":
            return True
        if field.name == "content-type" and value.startswith(b"multipart/report") and b"delivery-status" in value:
            return True
    return False


def hops(raw_fields: Iterable[bytes], *, host: str) -> tuple[int, int]:
    """Return how many systems a message has passed (its Received fields), and how often it was at `host` (QL-12)."""
    received = [raw.lower().split() for raw in raw_fields if raw[:9].lower() == b"received:"]
    name = host.lower().encode()
    here = sum(1 for words in received if (b"by", name) in pairwise(words))
    return len(received), here
