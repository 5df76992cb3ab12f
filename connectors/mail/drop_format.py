"""Drop format: what a drop file holds when it is not the spool file itself (DR-13 to DR-20, DR-34).

Pure: the drop courier and the dry run of "Which route?" write the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from connectors.mail import replay_format
from connectors.mail.envelope import Recipient


def render(raw: bytes, recipients: Sequence[Recipient], *, has_org_headers: bool) -> tuple[bytes, bytes]:
    """Return block and content of a drop file for these recipients; `raw` is a whole spool file."""
    envelope, offset = replay_format.read_block(raw)
    content = raw[offset:]
    if has_org_headers:
        content = replay_format.without_org_headers(content)
    block = replay_format.block(replace(envelope, recipients=tuple(recipients)), content_bytes=len(content))
    return block, content


def asks_success(notify: str) -> bool:
    """Tell whether a NOTIFY value asks for success notices."""
    return "SUCCESS" in notify.split(",")


def without_success(notify: str) -> str:
    """Return NOTIFY for a gateway when the success notice is ours; NEVER when nothing else was asked (DR-34)."""
    return ",".join(word for word in notify.split(",") if word != "SUCCESS") or "NEVER"
