"""Repeats: a Replay file whose message is still queued, or was delivered lately, is taken with a warning (UP-6).

Exporting copies a message; the original stays in its queue, so both would be delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from connectors.transport.submission import Submission, clean
from tracking import repeats

_MEMORY = timedelta(days=7)


def marked(submissions: Sequence[Submission], *, now: datetime) -> list[Submission]:
    """Return the submissions of a batch, the repeated ones with the warning DUPLICATE. Rules: UP-6."""
    known = repeats.reached((clean(s.message_id, 998) for s in submissions), since=now - _MEMORY)
    result = []
    for submission in submissions:
        message_id = clean(submission.message_id, 998)
        pairs = {(message_id, clean(r.address, 600).casefold()) for r in submission.envelope.recipients}
        repeated = not known.isdisjoint(pairs)
        known |= pairs
        warnings = (*submission.warnings, "DUPLICATE")
        result.append(replace(submission, warnings=warnings) if repeated else submission)
    return result
