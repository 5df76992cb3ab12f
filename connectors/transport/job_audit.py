"""Job audit: what the audit log says of an operation of people: who asked, which set, why, and what came of it (QO-12).

Promises: an entry stands in the transaction of what it tells. Leaves to neighbours: the operations themselves (jobs).
"""

from __future__ import annotations

from auditlog.models import LogEntry
from django.contrib.auth.models import AbstractBaseUser

from connectors.choices import Verb
from connectors.models import BulkJob


def write(job: BulkJob, action: int, user: AbstractBaseUser | None, *, before: str, after: str, why: str = "") -> None:
    """Write who did what to which set, and what came of it (QO-12)."""
    facts = {
        "verb": job.verb,
        "scope": job.scope,
        "actor": job.actor,
        "reason": job.reason,
        "queue": job.queue_name,
        "filter": job.filter_text,
        "items": job.items,
        "recipient": job.recipient,
        "connector": job.connector_name,
        "directory": job.directory,
        "kept_message": job.kept_message,
        "kept_from": job.kept_from.isoformat() if job.kept_from else "",
        "kept_until": job.kept_until.isoformat() if job.kept_until else "",
        "with_ndr": {Verb.REMOVE_NDR: True, Verb.REMOVE: False, Verb.EXPORT_REMOVE: False}.get(Verb(job.verb)),
        "last_item": job.last_item,
        "total": job.total,
        "changed": job.changed,
        "unchanged": job.unchanged,
        "failed": job.failed,
        "why": why,
    }
    changes = {"status": [before, after]} if before or after else {}
    LogEntry.objects.log_create(job, force_log=True, action=action, actor=user, changes=changes, additional_data=facts)
