"""Reasons: what each reason code of a bad file means and what cures it (PU-40 to PU-58, RP-9 to RP-25).

A table and nothing else: pages, `.bad.txt` files and commands say the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason: a sentence about the file and a sentence about the cure."""

    sentence: Promise
    cure: Promise


_UNKNOWN = Reason(
    sentence=_("The file could not be accepted."),
    cure=_("Look at the marked line, correct the file and resubmit it."),
)

REASONS = {
    "NO_SENDER": Reason(
        sentence=_("The message names no sender: it has neither a Sender nor a From field with an address."),
        cure=_("Add a line like “From: alice@example.org” to the header, then resubmit."),
    ),
    "BAD_SENDER": Reason(
        sentence=_("The sender’s address cannot be read."),
        cure=_("Write one valid address in From, or in Sender when From has several, then resubmit."),
    ),
    "NO_RECIPIENTS": Reason(
        sentence=_("The message names no recipient: To, Cc and Bcc are missing or hold no address."),
        cure=_("Add a line like “To: bob@example.org” to the header, then resubmit."),
    ),
    "NO_BLANK_LINE": Reason(
        sentence=_("No blank line ends the header: the file was probably taken while it was still being written."),
        cure=_(
            "Let the program write under another name, for example .tmp, and rename to .eml when it is done; "
            "or put an empty line after the last header field. Then resubmit."
        ),
    ),
    "EMPTY": Reason(
        sentence=_("The file is empty."),
        cure=_("Look for the program that writes it: it stopped before writing, or its disk was full."),
    ),
    "BAD_HEADER": Reason(
        sentence=_("A line of the header is neither a field (“Name: value”) nor the continuation of one."),
        cure=_("Correct the marked line, or put an empty line before it when the text begins there, then resubmit."),
    ),
    "EXPORT_IN_PICKUP": Reason(
        sentence=_(
            "This is a file exported from a queue. Taken from Pickup it would go again to everybody in To and Cc."
        ),
        cure=_("Move it to the Replay directory, which follows its X-Sender and X-Receiver fields."),
    ),
    "ENCODING": Reason(
        sentence=_("The file is not written as plain text with 8-bit characters: it looks like UTF-16 or UTF-32."),
        cure=_("Save it as ASCII or UTF-8, then resubmit."),
    ),
    "HEADER_TOO_BIG": Reason(
        sentence=_("The header is larger than this server allows, and no sender could be found to tell."),
        cure=_("Shorten the header, or raise the header size in the settings of the server, then resubmit."),
    ),
    "TOO_MANY_RECIPIENTS": Reason(
        sentence=_("The message has more recipients than this server allows."),
        cure=_("Split the recipients over several messages, or raise the limit in the settings of the server."),
    ),
    "MESSAGE_TOO_BIG": Reason(
        sentence=_("The message is larger than this server allows."),
        cure=_("Make it smaller, or raise the message size in the settings of the server."),
    ),
    "BAD_RECIPIENTS": Reason(
        sentence=_("No recipient address can be read, and the sender outside may not be told."),
        cure=_("Correct the addresses in To, Cc and Bcc, then resubmit."),
    ),
    "SENDER_NOT_ALLOWED": Reason(
        sentence=_("The owner of the file may not send as this sender."),
        cure=_("Correct From, or add the address to the uid in the settings of the server, then resubmit."),
    ),
    "BAD_RECIPIENTS_BAD_SENDER": Reason(
        sentence=_("No recipient address can be read, and neither can the sender’s, who would be told."),
        cure=_("Correct the addresses in To, Cc, Bcc and From, then resubmit."),
    ),
    "POISON": Reason(
        sentence=_("The service stopped more than once while it was reading this file; it is left alone now."),
        cure=_("Keep a copy, report it to those who look after fcweb, and resubmit after an update."),
    ),
    "NO_X_SENDER": Reason(
        sentence=_("A file in Replay must begin with X-Sender; this one has none."),
        cure=_("Add “X-Sender: alice@example.org” as the first line, or drop ordinary mail into Pickup instead."),
    ),
    "BAD_X_SENDER": Reason(
        sentence=_("X-Sender stands there twice, or its address or parameters cannot be read."),
        cure=_("Leave one X-Sender line with one address; “<>” is right for notices. Then resubmit."),
    ),
    "NO_X_RECEIVER": Reason(
        sentence=_("A file in Replay must name its recipients in X-Receiver; this one has none."),
        cure=_("Add one “X-Receiver: bob@example.org” line for each recipient below X-Sender, then resubmit."),
    ),
    "BAD_X_RECEIVER": Reason(
        sentence=_("No X-Receiver address can be read, and there is no sender to tell."),
        cure=_("Correct the X-Receiver lines, one address on each, then resubmit."),
    ),
    "BAD_X_CREATEDBY": Reason(
        sentence=_("X-CreatedBy stands there without a value."),
        cure=_("Remove the line, or name the program or address type that made the file, then resubmit."),
    ),
    "X_HEADER_ORDER": Reason(
        sentence=_("X-Sender or X-Receiver stands below ordinary header fields, where it is not followed."),
        cure=_("Move all X-Sender and X-Receiver lines to the top of the file, then resubmit."),
    ),
    "CONCATENATED_EXPORT": Reason(
        sentence=_("Two exported messages are glued together in this file."),
        cure=_("Split it: each message is handed in as a file of its own."),
    ),
    "FILE_VANISHED": Reason(
        sentence=_("The file disappeared after it was taken; another program moves or deletes files here."),
        cure=_("Find that program, for example a virus scanner or a clean-up job, and exclude the directory."),
    ),
    "NO_NOTICE_ADDRESSEE": Reason(
        sentence=_(
            "The message would be returned to its sender, but nobody may be told: the sender is empty or not one this "
            "user may name, the message is itself an automatic answer, or NOTIFY or the settings of notices forbid it."
        ),
        cure=_("Correct what is refused, or delete the file: a notice is never answered with a notice."),
    ),
}


def sentence(code: str) -> str:
    """Return what is wrong with a file, in the language in force."""
    return str(REASONS.get(code, _UNKNOWN).sentence)


def cure(code: str) -> str:
    """Return what to do about it."""
    return str(REASONS.get(code, _UNKNOWN).cure)
