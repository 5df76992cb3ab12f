"""Draft and Rejection: what reading a Pickup or Replay file comes to.

A file read by `pickup_format` or `replay_format` is either a Draft, ready to be stamped and submitted,
or a Rejection that names the reason, the line and what becomes of the file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from connectors.mail.envelope import Envelope, Recipient


class Fate(StrEnum):
    """What becomes of a rejected file. Rules: PU-40 to PU-53."""

    BAD = "bad"  # renamed to .bad, reason kept (PU-55, PU-58)
    NOTICE = "notice"  # a failure notice goes to the originator, the file is deleted
    WAIT = "wait"  # stays .eml for another poll before the verdict (PU-49, PU-50)


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRecipient:
    """A recipient address that cannot be parsed: the others are delivered, this one gets a notice (PU-44)."""

    text: str  # as written in the file, first 500 characters
    status: str = "5.1.3"
    notify: str = ""  # as of any recipient: what its sender wants to be told (DSN-6)
    orcpt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A readable message, header edits done, not yet stamped. Rules: HM-1 to HM-14."""

    envelope: Envelope
    header_fields: tuple[bytes, ...]  # raw fields that stay, each CRLF-ended, order kept
    body: bytes  # CRLF line ends; otherwise the source's bytes
    subject: str  # decoded, for people
    sender: str  # Sender header address, else From header address (MTF-20)
    message_id: str  # with < >; "" when missing or empty: stamp adds one (HM-6)
    date_ok: bool  # False: stamp sets Date (HM-7)
    bcc_only: bool = False  # only Bcc recipients: stamp adds "To: Undisclosed Recipients:;" (HM-5, HM-14)
    has_org_headers: bool = False  # X-MS-Exchange-Organization-*/Forest-* kept (trusted Replay): not for Drop (DR-13)
    priority: str = "Normal"  # High, Normal or Low, from X-Priority (QR-60)
    bad_recipients: tuple[BadRecipient, ...] = ()
    warnings: tuple[str, ...] = field(
        default=()
    )  # codes of tracking.warning_words, e.g. "BOM", "UNKNOWN_PARAMETER:XOORG"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A file that is not submitted: reason code, place and what is known for a notice. Rules: PU-40 to PU-52."""

    fate: Fate
    reason: str  # reason code of PU-40..PU-52 and RP-9..RP-25, e.g. "NO_SENDER"
    line: int = 0  # 1-based line of the offence; 0 when it is the whole file
    text: str = ""  # first 200 bytes of the offending line, decoded with replacement
    status: str = ""  # enhanced status code for a notice, e.g. "5.5.3"
    originator: str = ""  # addressee of the notice; "" when none is known
    recipients: tuple[Recipient, ...] = ()  # parsed recipients, for the notice and the BADMAIL event
    bad_recipients: tuple[BadRecipient, ...] = ()
    message_id: str = ""
    subject: str = ""
    sender: str = ""
    header: bytes = b""  # original header bytes, for the returned headers of a notice
    ret: str = ""  # HDRS, FULL or "", and the decoded ENVID: how the sender wants the notice
    envid: str = ""
