"""Replay audit: who handed in which file with which envelope, in the audit trail (RP-8, RP-20).

Replay trusts any envelope, so every file leaves an entry, whatever becomes of it. The entry stays when the message
and its rows are long gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from auditlog.models import LogEntry
from django.contrib.contenttypes.models import ContentType

from connectors.mail.envelope import Recipient
from connectors.models import SourceFile


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayFile:
    """One file that was read."""

    pk: int  # of its SourceFile
    name: str
    owner_uid: int
    sha256: str
    mail_from: str
    recipients: Sequence[Recipient]
    created_by: str = ""
    reason: str = ""  # of a refusal; "" when accepted
    warnings: Sequence[str] = ()


def write(files: Sequence[ReplayFile], *, now: datetime) -> None:
    """Add one entry a file in the caller's transaction: one statement a batch."""
    kind = ContentType.objects.get_for_model(SourceFile)
    LogEntry.objects.bulk_create(
        LogEntry(
            content_type=kind,
            object_pk=str(file.pk),
            object_id=file.pk,
            object_repr=file.name,
            action=LogEntry.Action.CREATE,
            changes={},
            timestamp=now,
            additional_data={
                "owner_uid": file.owner_uid,
                "sha256": file.sha256,
                "mail_from": file.mail_from,
                "recipients": [recipient.address for recipient in file.recipients],
                "created_by": file.created_by,
                "reason": file.reason,
                "warnings": list(file.warnings),
            },
        )
        for file in files
    )
