"""Removal: recipients that a person took out for good, wherever they waited (QO-4, MT-H, MT-I).

Promises: with a notice they are owed it, and `reports` writes DSN and FAIL; without one they are final and FAIL is
written with them. Everything runs in the caller's transaction. Leaves to neighbours: which recipients, and the copies
and messages they belong to (operations, submission_removal).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from connectors.choices import RecipientState, ReportDue
from connectors.models import MessageRecipient
from fcweb import bulk
from tracking import record

REMOVED_TEXT = "550 5.7.1 QUEUE.Admin; message removed by an administrator"


def fail(recipients: Sequence[int], *, actor: str, ndr: bool, now: datetime) -> None:
    """Take locked recipients out of their queue for good."""
    fate: dict[str, object] = {
        "status_text": REMOVED_TEXT,
        "fail_source": "ADMIN",
        "fail_context": "AdminRemove",
        "fail_custom": _custom(actor, ndr=ndr),
        "item": None,
    }
    if ndr:
        fate |= {"state": RecipientState.FAILING, "report_due": ReportDue.FAILED}
    else:
        fate |= {"state": RecipientState.FAILED, "settled_at": now, "report_due": ""}  # a delay is not told any more
    MessageRecipient.objects.filter(pk__in=bulk.among(recipients)).update(**fate)


def events(
    addresses: Sequence[tuple[int, Sequence[str]]], *, actor: str, ndr: bool, server: str, now: datetime
) -> list[record.NewEvent]:
    """Return the FAIL events of (tracked message, addresses); none while a notice is owed that they would name."""
    if ndr:
        return []
    return [
        record.fail(
            tracked,
            at=now,
            source="ADMIN",
            server=server,
            context="AdminRemove",
            recipients=[(address, REMOVED_TEXT) for address in some],
            custom=_custom(actor, ndr=ndr),
        )
        for tracked, some in addresses
        if some
    ]


def _custom(actor: str, *, ndr: bool) -> str:
    return f"S:fc.actor={actor};S:fc.ndr={int(ndr)}"
