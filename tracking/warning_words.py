"""Warning words: what was odd about a file that was accepted all the same, as a sentence for people.

Rules: PU-34, PU-39, RP-12, RP-15, RP-16, RP-18, RP-20, RP-24, A-9, A-24, UP-6, DR-21.
"""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

_WORDS: dict[str, Promise] = {
    "BOM": gettext_lazy("The file began with a byte order mark; it was dropped."),
    "MBOX_FROM": gettext_lazy("The file began with a mailbox line (“From …” without a colon); it was dropped."),
    "X_RECEIVER_IGNORED": gettext_lazy(
        "X-Sender and X-Receiver were removed, not followed: Pickup reads To, Cc and Bcc. "
        "A Bcc recipient that a .NET program wrote only there gets nothing."
    ),
    "SENDER_DIFFERS": gettext_lazy("Sender and From name different people; as in Exchange, From is the sender."),
    "BAD_HELO_DOMAIN": gettext_lazy("X-HeloDomain is no host name; it was ignored."),
    "BAD_SOURCE_IP": gettext_lazy("X-SourceIPAddress is no IP address; it was ignored."),
    "BAD_END_MARK": gettext_lazy("X-EndOfInjectedXHeaders holds no number; it was ignored."),
    "LENGTH_DIFFERS": gettext_lazy(
        "The length in X-EndOfInjectedXHeaders is not the length of the message: the file was changed or cut."
    ),
    "X_HEADER_REMOVED": gettext_lazy("An envelope field below the ordinary header was removed, not followed."),
    "TNEF": gettext_lazy(
        "It holds Outlook’s own format (winmail.dat), which other programs cannot read; it was passed on untouched."
    ),
    "DUPLICATE": gettext_lazy(
        "The same message was on its way to, or had reached, one of these recipients within seven days."
    ),
}


def sentence(code: str) -> str:
    """Return what a warning code means; an unknown code is shown as it is."""
    name, _colon, detail = code.partition(":")
    if name == "UNKNOWN_PARAMETER":
        return _("The parameter %(name)s is not known; it was ignored.") % {"name": detail}
    words = _WORDS.get(name)
    return str(words) if words is not None else code
