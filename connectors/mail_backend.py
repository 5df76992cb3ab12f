"""E-mail backend for other Django programs: each message becomes one `.eml` file in a Pickup directory.

    EMAIL_BACKEND = "connectors.mail_backend.PickupBackend"
    EMAIL_PICKUP_DIRECTORY = "/srv/fcweb/pickup"

Promises: a reader never sees a part of a file; bytes are durable before the name appears (file-interfaces 4).
Needs Django and the standard library alone, so a program elsewhere may use a copy of this file.
Pickup takes the envelope from the header: recipients that the header does not show (Bcc, which Django leaves out)
are written as Bcc, which Pickup removes (HM-4); the sender is From (PU-30).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from email.message import Message
from email.utils import getaddresses
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.message import EmailMessage, sanitize_address


class PickupBackend(BaseEmailBackend):
    """Writes messages by temp file and rename; `pickup_directory` overrides EMAIL_PICKUP_DIRECTORY."""

    def __init__(
        self, fail_silently: bool = False, pickup_directory: str | os.PathLike[str] | None = None, **kwargs: Any
    ) -> None:  # Any: options of other backends, which Django hands to each
        super().__init__(fail_silently=fail_silently)
        directory = pickup_directory or getattr(settings, "EMAIL_PICKUP_DIRECTORY", "")
        if not directory or not Path(directory).is_absolute():
            raise ImproperlyConfigured("EMAIL_PICKUP_DIRECTORY: write the absolute path of a Pickup directory")
        self.directory = Path(directory)

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Write each message that has recipients; return how many were written."""
        written = 0
        for message in email_messages:
            if not message.recipients():
                continue
            try:
                publish(self.directory, render(message))
            except (OSError, ValueError):
                if not self.fail_silently:
                    raise
            else:
                written += 1
        return written


def render(message: EmailMessage) -> bytes:
    """Return the bytes of a message, CRLF, with hidden recipients in Bcc.

    Raises ValueError when To or Cc shows an address that is not a recipient: Pickup would send to it.
    """
    encoding = message.encoding or settings.DEFAULT_CHARSET
    mime = message.message()
    del mime["Bcc"]
    recipients = {_bare(sanitize_address(address, encoding)) for address in message.recipients()}
    shown = _shown(mime)
    if shown - recipients:
        raise ValueError(f"To or Cc shows {', '.join(sorted(shown - recipients))}, who is no recipient")
    hidden = sorted(recipients - shown)
    if hidden:
        mime["Bcc"] = ", ".join(hidden)
    return mime.as_bytes(linesep="\r\n")  # type: ignore[call-arg]  # Django's own MIME classes take it


def _shown(mime: Message) -> set[str]:
    fields = [str(value) for name in ("To", "Cc") for value in mime.get_all(name, [])]
    return {address for _name, address in getaddresses(fields) if address}


def _bare(address: str) -> str:
    return getaddresses([address])[0][1]


def publish(directory: Path, data: bytes) -> Path:
    """Write a file under a hidden name, make it durable, give it its name; return the path."""
    stem = str(uuid.uuid4())
    temp, target = directory / f".{stem}.new", directory / f"{stem}.eml"
    descriptor = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temp, target)
    except BaseException:
        temp.unlink(missing_ok=True)
        raise
    _sync(directory)
    return target


def _sync(directory: Path) -> None:
    """Make the name durable; in a directory of mode 3730 a submitter may not open it, and the service will."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
