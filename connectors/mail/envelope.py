"""Envelope and Recipient: who sends to whom, apart from what the header says.

Values only; reading them from files is left to `pickup_format` and `replay_format`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One envelope recipient (forward path). Rules: RP-10, RP-19."""

    address: str  # SMTP form; a non-SMTP recipient stays in its IMCEA form here
    field: str = ""  # "To", "Cc" or "Bcc" as submitted (MTF-14); "" when the envelope alone names it
    notify: str = ""  # "", "NEVER" or a comma list of SUCCESS, FAILURE, DELAY in upper case
    orcpt: str = ""  # "rfc822;xtext" as given; "" when absent


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Reverse path, recipients and the ESMTP parameters that travel with them. Rules: RP-9 to RP-19."""

    mail_from: str  # "" is the null reverse path
    recipients: tuple[Recipient, ...]
    body: str = ""  # "7BIT", "8BITMIME", "BINARYMIME" or "" (by content)
    ret: str = ""  # "HDRS", "FULL" or ""
    envid: str = ""  # decoded ENVID
    auth: str = ""  # recorded, never trusted
    smtputf8: bool = False
    created_by: str = ""  # X-CreatedBy as read; files are always written with "fcweb" (DR-15)
    helo_domain: str = ""
    source: str = ""  # X-Source text: shown as message source
    source_ip: str = ""


def asks(notify: str, word: str, *, default: bool = False) -> bool:
    """Tell whether a NOTIFY value asks for `word`; `default` is what its absence means. Rules: DSN-1 to DSN-6."""
    return word in notify.split(",") if notify else default
