"""Routes as JSON: what `manage.py route --json` prints, complete and stable."""

from __future__ import annotations

import base64

from connectors.reads.dry_run import DryRun
from connectors.reads.route import Explanation, GroupRoute


def explanation(found: Explanation) -> dict[str, object]:
    """Return a route with every step and candidate, codes and sentences."""
    resolution = found.resolution
    hop = resolution.next_hop
    return {
        "address": str(resolution.final),
        "asked": resolution.original,
        "envelope_address": resolution.envelope_address,
        "resolved_from": resolution.resolved_from,
        "verdict": str(resolution.verdict),
        "answer": found.answer,
        "status_code": resolution.status,
        "status": resolution.text,
        "queue": f"{hop.delivery_type}/{hop.domain}" if hop else "",
        "delivery_type": str(hop.delivery_type) if hop else "",
        "next_hop_domain": hop.domain if hop else "",
        "connector": hop.connector_name if hop else "",
        "connector_guid": str(hop.connector) if hop and hop.connector_name else "",
        "directory": found.directory,
        "notice": found.notice,
        "steps": [
            {"rule": step.rule, "code": step.code, "params": step.params, "sentence": shown.sentence}
            for step, shown in zip(resolution.steps, found.steps, strict=True)
        ],
        "candidates": [
            {
                "connector": candidate.connector,
                "kind": str(candidate.kind),
                "space": candidate.space,
                "cost": candidate.cost,
                "specificity": list(candidate.specificity),
                "class": candidate.closeness,
                "lost": str(candidate.lost or ""),
                "rule": candidate.rule,
                "sentence": candidate.why,
            }
            for candidate in found.candidates
        ],
        "group": _group(found.group) if found.group is not None else None,
    }


def _group(found: GroupRoute) -> dict[str, object]:
    return {
        "expanded": [
            {
                "address": group.address,
                "name": group.name,
                "members": list(group.members),
                "duplicates": list(group.duplicates),
                "reports": group.reports,
            }
            for group in found.groups
        ],
        "members": [
            {
                "recipient": member.address,
                "member_of": member.group,
                "copy": member.copy,
                "told": member.reports_to,
                "told_sentence": member.told,
                **explanation(member.explanation),
            }
            for member in found.members
        ],
        "copies": [
            {"copy": copy.number, "return_path": copy.return_path, "members": list(copy.members), "why": copy.why}
            for copy in found.copies
        ],
    }


def dry_run(found: DryRun) -> dict[str, object]:
    """Return a dry run; the bytes of each drop file stand in base64."""
    return {
        "fate": found.fate,
        "sentence": found.sentence,
        "cure": found.cure,
        "reason": found.reason,
        "line": found.line,
        "text": found.text,
        "warnings": list(found.warnings),
        "mail_from": found.mail_from,
        "sender": found.sender,
        "subject": found.subject,
        "message_id": found.message_id,
        "size": found.size,
        "bad_recipients": list(found.bad_recipients),
        "notice": found.notice,
        "routes": [{"recipient": route.address, **explanation(route.explanation)} for route in found.routes],
        "files": [
            {
                "connector": file.connector,
                "directory": file.directory,
                "recipients": list(file.recipients),
                "bytes": len(file.data),
                "content_base64": base64.b64encode(file.data).decode("ascii"),
            }
            for file in found.files
        ],
    }
