"""Exports: queued messages written as files that Replay takes, with only the recipients still waiting (QO-8 to QO-11).

Promises: a file is complete and durable before its copy counts as exported; names come from the Message-ID, made
safe and distinct; a batch done again after a crash leaves no second file.
"""

from __future__ import annotations

import filecmp
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


def file_name(message_id: str, item: int | None = None) -> str:
    """Return the name of an exported copy: `<` and `>` become `_`, so does all that is unsafe (QO-10).

    `item`, the key of the copy, keeps it apart where the name is taken.
    """
    stem = _UNSAFE.sub("_", message_id).lstrip(".")[:_NAME_LENGTH] or "_"
    return f"{stem}.eml" if item is None else f"{stem}-{item}.eml"


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


def write(keys: Sequence[int], directory: Path, config: TransportConfig, *, merged: bool = False) -> dict[int, str]:
    """Export these copies durably; return for each why it could not be written, "" where its file is there.

    `merged`: the copies of one message become one file with all recipients still waiting (QO-9, `*\\Integer`).
    """
    failed: dict[int, str] = {}
    files: list[tuple[LeasedItem, tuple[bytes, bytes]]] = []
    ids = _message_ids(keys)
    items = leasing.load(keys)
    first = {item.message.pk: item.pk for item in reversed(items)}  # the copy a merged file is named after
    for item in _merged(items) if merged else items:
        try:
            files.append((item, rendered(item, config)))
        except (OSError, ValueError) as error:
            failed[item.pk] = str(error)[:300]
    temps = [(f".export-{item.pk}.tmp", content) for item, content in files]
    try:
        disk.unlink_all(directory / name for name, _content in temps)
        disk.write_batch(directory, temps, mode=config.sync)
        taken: set[str] = set()
        for (item, _content), (temp, _same) in zip(files, temps, strict=True):
            taken.add(_publish(directory, temp, ids[item.pk], item.pk, taken))
        disk.sync_directory(directory)
    except OSError as error:
        failed.update({item.pk: str(error)[:300] for item, _content in files})
        disk.clean_up(directory / name for name, _content in temps)
    return {item.pk: failed.get(first[item.message.pk] if merged else item.pk, "") for item in items}


def _publish(directory: Path, temp: str, message_id: str, item: int, taken: set[str]) -> str:
    """Give a written file its name and return it; a file that is there is ours when it has the same bytes (a crash)."""
    source = directory / temp
    name = file_name(message_id)
    if name not in taken:
        try:
            disk.rename_new(source, directory / name)
        except FileExistsError:
            if not filecmp.cmp(source, directory / name, shallow=False):
                name = file_name(message_id, item)
                os.replace(source, directory / name)
            else:
                source.unlink()
        return name
    name = file_name(message_id, item)
    os.replace(source, directory / name)
    return name


def _merged(items: Sequence[LeasedItem]) -> list[LeasedItem]:
    """Return one item a message, holding the recipients of all its copies."""
    found: dict[int, LeasedItem] = {}
    for item in items:
        first = found.get(item.message.pk)
        found[item.message.pk] = (
            item if first is None else replace(first, recipients=(*first.recipients, *item.recipients))
        )
    return list(found.values())


def download(item_pk: int, config: TransportConfig) -> tuple[str, bytes]:
    """Return name and bytes of one exported copy."""
    (item,) = leasing.load([item_pk])
    block, content = rendered(item, config)
    return file_name(_message_ids([item_pk])[item_pk]), block + content


def _message_ids(keys: Sequence[int]) -> dict[int, str]:
    return dict(QueueItem.objects.filter(pk__in=keys).values_list("pk", "message__message_id"))
