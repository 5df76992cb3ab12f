"""Display: sizes, durations, ids and addresses in the form people read. Pure apart from the language in force."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from django.utils.formats import number_format
from django.utils.translation import gettext as _

from connectors.mail.imcea import ImceaError, decode_local

_UNITS = (lambda: _("KB"), lambda: _("MB"), lambda: _("GB"), lambda: _("TB"))  # French has its own
_EXAMPLE = 10 * 1024**2
_BEFORE_UNIT = re.compile(r"(?<=\d) (?=\D)")
_SHORT_ID = 20  # longer ids lose their middle


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownAddress:
    """An address as a person wrote it, and as it travels when that differs."""

    text: str
    encoded: str = ""  # "" when it is the same


def size(count: int | None) -> str:
    """Return bytes as 512 B, 1.4 KB, 23 MB (1 KB is 1024), or "unlimited" for None."""
    if count is None:
        return _("unlimited")
    if count < 1024:
        return _together(_("%(count)s B") % {"count": count})
    power = 1
    while power < len(_UNITS) and round(count / 1024**power, 1) >= 1000:
        power += 1
    amount = count / 1024**power
    digits = 1 if amount < 10 and round(amount, 1) % 1 else 0
    return f"{number_format(amount, digits)}\u00a0{_UNITS[power - 1]()}"


def attachments(limit: int | None) -> str:
    """Return how much attachment a message of this size carries: Base64 adds a third (QL-21)."""
    if limit is None:
        return _("A limit of %(limit)s would admit about %(attachments)s of attachments.") % {
            "limit": size(_EXAMPLE),
            "attachments": size(_EXAMPLE * 3 // 4),
        }
    return _("%(limit)s admit about %(attachments)s of attachments.") % {
        "limit": size(limit),
        "attachments": size(limit * 3 // 4),
    }


def limit(count: int | None) -> str:
    """Return a limit of message size with both numbers: 10 MB (about 7.5 MB of attachments) (QL-21)."""
    if count is None:
        return _("unlimited")
    return _("%(limit)s (about %(attachments)s of attachments)") % {
        "limit": size(count),
        "attachments": size(count * 3 // 4),
    }


def _together(text: str) -> str:
    """Keep each number and its unit on one line."""
    return _BEFORE_UNIT.sub("\u00a0", text)


def duration(span: timedelta) -> str:
    """Return the two largest units of a time span: 3 d 4 h, 2 h 10 min, 12 min, 8 s; a no-break space before each."""
    return _together(_two_units(span))


def _two_units(span: timedelta) -> str:
    seconds = max(0, int(span.total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86_400
    if days:
        hours %= 24
        return (
            _("%(days)d d %(hours)d h") % {"days": days, "hours": hours} if hours else _("%(days)d d") % {"days": days}
        )
    if hours:
        minutes %= 60
        if minutes:
            return _("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": minutes}
        return _("%(hours)d h") % {"hours": hours}
    if minutes:
        return _("%(minutes)d min") % {"minutes": minutes}
    return _("%(seconds)d s") % {"seconds": seconds}


def latency(span: timedelta) -> str:
    """Return a time span of machines: 40 ms, 1.4 s, then like `duration`."""
    milliseconds = max(0, round(span.total_seconds() * 1000))
    if milliseconds < 1000:
        return _together(_("%(count)s ms") % {"count": milliseconds})
    if milliseconds < 10_000:
        return _together(_("%(count)s s") % {"count": number_format(milliseconds / 1000, 1)})
    return duration(span)


def capped(count: int, cap: int) -> str:
    """Return a count that was not taken further than `cap`: "10,000+" above it."""
    return f"{number_format(cap, force_grouping=True)}+" if count > cap else number_format(count, force_grouping=True)


def short_id(text: str) -> str:
    """Return an id without its middle, so that both ends can be compared."""
    return text if len(text) <= _SHORT_ID else f"{text[:10]}…{text[-8:]}"


def shown_address(address: str) -> ShownAddress:
    """Return `FAX:+1 425 555 0100` for its IMCEA form, the address itself otherwise; `<>` for the null path."""
    if not address:
        return ShownAddress(text="<>")
    try:
        carried = decode_local(address.rpartition("@")[0]) if address[:5].upper() == "IMCEA" else None
    except ImceaError:
        carried = None
    if carried is None:
        return ShownAddress(text=address)
    return ShownAddress(text=str(carried), encoded=address)
