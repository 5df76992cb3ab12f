"""Status codes of notices in words: what each means and what the reader can do about it (DSN-40, DSN-53).

A table and nothing else: notices, previews and the custom texts of the admin go by the same codes.
"""

from __future__ import annotations

from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

EXPLANATIONS: dict[str, Promise] = {
    "4.0.0": _("The message could not be delivered yet. You need not do anything: it is tried again by itself."),
    "4.2.0": _("Two recipients share this address just now. It is tried again; tell your administrator if it lasts."),
    "4.2.2": _("The recipient’s mailbox is full. The message is tried again by itself until there is room."),
    "4.3.0": _("The receiving system could not store the message. Ask its administrator, then send it again."),
    "4.3.1": _("The receiving system is short of space. Send the message again later."),
    "4.3.2": _("The receiving system was stopped for maintenance. Send the message again later."),
    "4.3.5": _("The gateway to this recipient is not set up correctly. Ask your administrator, then send it again."),
    "4.4.1": _("The recipient’s system did not answer. Check the address, or send the message again later."),
    "4.4.2": _("The connection to the recipient’s system broke off again and again. Send the message again later."),
    "4.4.7": _("The message could not be delivered in time. Check the address, or send it again later."),
    "5.0.0": _("The message could not be delivered. Ask your administrator, who can look it up."),
    "5.1.0": _("The address was not accepted. Check it and send the message again."),
    "5.1.1": _("This address does not exist here. Check its spelling and send the message again."),
    "5.1.2": _("No gateway serves this kind of address. Check the number or address, or ask your administrator."),
    "5.1.3": _("The address is not written correctly. Correct it and send the message again."),
    "5.1.4": _("More than one recipient has this address. Ask your administrator to tell them apart."),
    "5.1.7": _("Your own address, as the sender, is not written correctly. Correct it in your program and send again."),
    "5.2.0": _("The mailbox did not take the message. Ask the recipient or your administrator."),
    "5.2.1": _("This mailbox is switched off. Reach the recipient another way, or ask your administrator."),
    "5.2.2": _("The recipient’s mailbox is full. Ask the recipient to make room, then send the message again."),
    "5.2.3": _("The message is larger than this recipient accepts. Make it smaller or split it, and send it again."),
    "5.2.4": _(
        "This group has no members, so nobody would get the message. Tell its owner, or write to people directly."
    ),
    "5.3.0": _("The message is damaged and was set aside. Write it anew, or ask your administrator."),
    "5.3.4": _("The message is too large. Make it smaller, or split it, and send it again."),
    "5.3.5": _("The systems are set up so that they pass the message to each other. Tell your administrator."),
    "5.4.0": _("The recipient’s system could not be reached. Check the address, or ask your administrator."),
    "5.4.4": _("There is no way to this recipient. Check the part behind the @, or ask your administrator."),
    "5.4.6": _("The message went round in a circle. Tell your administrator: a forwarding rule leads back to itself."),
    "5.5.0": _("The two systems did not understand each other. Ask your administrator."),
    "5.5.3": _("The message has too many recipients. Send it to fewer at a time."),
    "5.5.4": _("The domain or the address is not written correctly. Correct it and send the message again."),
    "5.6.0": _(
        "The content could not be converted for the recipient’s system. Send it in another format, for example PDF."
    ),
    "5.7.1": _("You may not send to this recipient, or the message was removed. Ask your administrator."),
    "5.7.3": _("You asked that nobody else receive this message, and the recipient’s mail goes to somebody else."),
}
# A delay is news, not the end: nothing is asked of the reader (DSN-2).
DELAYED = _("You need not do anything. If it is urgent, reach the recipient another way.")


def explanation(status: str, language: str) -> str:
    """Return what a code means and what to do: x.y.z, else x.y.0, else x.0.0 (DSN-53)."""
    first, second, _third = [*status.split("."), "0", "0"][:3]
    with translation.override(language):
        for code in (status, f"{first}.{second}.0", f"{first}.0.0"):
            if code in EXPLANATIONS:
                return str(EXPLANATIONS[code])
        return str(EXPLANATIONS["5.0.0"])


def delayed(language: str) -> str:
    """Return what a delay means for the reader."""
    with translation.override(language):
        return str(DELAYED)
