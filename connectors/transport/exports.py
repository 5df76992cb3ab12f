"""Exports: queued messages written as files that Replay takes, with only the recipients still waiting (QO-8 to QO-11).

Promises: a file is complete and durable before its copy counts as exported; names come from the Message-ID, made
safe and distinct, and are the same when a batch is done again after a crash.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from django.utils.translation import gettext as _

from connectors import disk
from connectors.conf import TransportConfig
from connectors.errors import FcwebError
from connectors.mail import replay_format
from connectors.mail.envelope import Recipient
from connectors.models import QueueItem
from connectors.transport import leasing
from connectors.transport.leasing import LeasedItem

_UNSAFE = re.compile(r"[^A-Za-z0-9@._+=-]")
_NAME_LENGTH = 120


def file_name(message_id: str, item: int) -> str:
    """Return the name of an exported copy: `<` and `>` become `_`, so does all that is unsafe; the key keeps it apart."""
    stem = _UNSAFE.sub("_", message_id).lstrip(".")[:_NAME_LENGTH] or "_"
    return f"{stem}-{item}.eml"


def check_directory(text: str) -> Path:
    """Return the export directory; FcwebError when it is not absolute or not there. It is never made (QO-10)."""
    path = Path(text)
    if not path.is_absolute() or ".." in path.parts or "\0" in text or not path.is_dir():
        raise FcwebError(
            _("“%(path)s” is no existing absolute directory.") % {"path": text[:200]},
            code="EXPORT_DIRECTORY",
            rule="QO-10",
        )
    return path


def rendered(item: LeasedItem, config: TransportConfig) -> tuple[bytes, bytes]:
    """Return injected block and content of a copy, holding its waiting recipients alone (QO-8, QO-9)."""
    raw = (config.spool_dir / item.message.spool_name).read_bytes()
    envelope, offset = replay_format.read_block(raw)
    recipients = tuple(
        Recipient(address=recipient.address, orcpt=recipient.orcpt, notify=recipient.notify)
        for recipient in item.recipients
    )
    content = raw[offset:]
    return replay_format.block(replace(envelope, recipients=recipients), content_bytes=len(content)), content


def write(keys: Sequence[int], directory: Path, config: TransportConfig) -> dict[int, str]:
    """Export these copies durably; return the error of each that could not be written."""
    failed: dict[int, str] = {}
    files: list[tuple[int, str, tuple[bytes, bytes]]] = []
    ids = _message_ids(keys)
    for item in leasing.load(keys):
        try:
            files.append((item.pk, file_name(ids[item.pk], item.pk), rendered(item, config)))
        except (OSError, ValueError) as error:
            failed[item.pk] = str(error)[:300]
    try:
        temps = [(f".{name}.tmp", content) for _pk, name, content in files]
        disk.unlink_all(directory / name for name, _content in temps)
        disk.write_batch(directory, temps, mode=config.sync)
        for _pk, name, _content in files:
            os.replace(directory / f".{name}.tmp", directory / name)
        disk.sync_directory(directory)
    except OSError as error:
        failed.update({pk: str(error)[:300] for pk, _name, _content in files})
    return failed


def download(item_pk: int, config: TransportConfig) -> tuple[str, bytes]:
    """Return name and bytes of one exported copy."""
    (item,) = leasing.load([item_pk])
    block, content = rendered(item, config)
    return file_name(_message_ids([item_pk])[item_pk], item.pk), block + content


def _message_ids(keys: Sequence[int]) -> dict[int, str]:
    return dict(QueueItem.objects.filter(pk__in=keys).values_list("pk", "message__message_id"))
