"""Exchange log: events with the field names and the CSV form of Exchange's message tracking log (message-tracking 1, 3).

Layout c (2013, 27 fields). Source REPLAY is ours and written as ADMIN there (MTA-1). Rules: MTC-8 to MTC-17, MTC-22,
MTC-24, MT-F.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from tracking.record import iso
from tracking.rows import EventRow

SCHEMA_VERSION = "15.00.0000.000"  # a 2013 file; the layout is read from #Fields (MTC-9)
LAYOUT_C = (
    "date-time client-ip client-hostname server-ip server-hostname source-context connector-id source event-id "
    "internal-message-id message-id network-message-id recipient-address recipient-status total-bytes recipient-count "
    "related-recipient-address reference message-subject sender-address return-path message-info directionality "
    "tenant-id original-client-ip original-server-ip custom-data"
).split()
_ROW_BYTES = 512 * 1024  # MTC-17
_BLANKS = str.maketrans("\r\n\t", "   ")


def fields(row: EventRow) -> dict[str, object]:
    """Return a row under Exchange's names, all 30 of them in file order; recipients and their statuses are lists."""
    return {
        "date-time": iso(row.at),
        "client-ip": row.client_ip,
        "client-hostname": row.client_hostname,
        "server-ip": row.server_ip,
        "server-hostname": row.server_hostname,
        "source-context": row.context,
        "connector-id": row.connector,
        "source": row.source,
        "event-id": row.event,
        "internal-message-id": row.internal_message_id,
        "message-id": row.message_id,
        "network-message-id": str(row.network_message_id) if row.network_message_id else "",
        "recipient-address": [address for address, _status in row.recipients],
        "recipient-status": [status for _address, status in row.recipients],
        "total-bytes": row.size,
        "recipient-count": len(row.recipients),
        "related-recipient-address": row.related_recipient,
        "reference": row.reference,
        "message-subject": row.subject,
        "sender-address": row.sender,
        "return-path": row.return_path or "<>",
        "message-info": row.message_info,
        "directionality": row.directionality,
        "tenant-id": "",
        "original-client-ip": "",
        "original-server-ip": "",
        "custom-data": row.custom_data,
        "transport-traffic-type": "",
        "log-id": row.log_id,
        "schema-version": SCHEMA_VERSION,
    }


def header(first_at: datetime) -> str:
    """Return the five header lines; `#Date` is the time of the first row (MTC-4, MTC-8)."""
    lines = [
        "#Software: Microsoft Exchange Server",
        f"#Version: {SCHEMA_VERSION}",
        "#Log-type: Message Tracking Log",
        f"#Date: {iso(first_at)}",
        f"#Fields: {','.join(LAYOUT_C)}",
    ]
    return "".join(f"{line}\r\n" for line in lines)


def lines(row: EventRow) -> Iterator[str]:
    """Yield the CSV rows of an event: one, or several when its recipients would make it too long (MTC-17)."""
    text = _line(row)
    if len(text.encode("utf-8", "replace")) <= _ROW_BYTES or len(row.recipients) < 2:
        yield text
        return
    middle = len(row.recipients) // 2
    for part in (row.recipients[:middle], row.recipients[middle:]):
        name = f"{row.log_id}/{part[0][0]}"
        yield from lines(replace(row, recipients=part, log_id=str(uuid.uuid5(uuid.NAMESPACE_OID, name))))


def _line(row: EventRow) -> str:
    told = fields(row)
    statuses = [status for _address, status in row.recipients]
    if row.source == "STOREDRIVER" and row.event in {"FAIL", "DEFER"}:
        statuses = [f"[{{LRT=}};{{LED={status}}}]" for status in statuses]  # MTC-13, MT-F
    if len(statuses) > 1:
        statuses = [status.replace(";", ":") for status in statuses]  # MTC-12
    custom = f"S:fc.logid={row.log_id}"
    told |= {
        "source": "ADMIN" if row.source == "REPLAY" else row.source,
        "recipient-address": ";".join(address for address, _status in row.recipients),
        "recipient-status": ";".join(statuses) if any(statuses) else "",
        "custom-data": f"{row.custom_data};{custom}" if row.custom_data else custom,  # MTC-24
    }
    return ",".join(_quoted(told[name]) for name in LAYOUT_C) + "\r\n"


def _quoted(value: object) -> str:
    """Quote only what needs it (MTC-11); None is empty, never `-` (MTC-15)."""
    text = "" if value is None else str(value).translate(_BLANKS)
    return '"' + text.replace('"', '""') + '"' if "," in text or '"' in text else text
