"""Notices for tests: made by the product's own code about a message that never was."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from connectors import notices
from connectors.conf import TransportConfig
from connectors.mail import dsn
from connectors.models import NoticeSettings
from connectors.notices import Fate, Original

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HEADER = (
    b"Received: from Pickup by mx1.fcweb.test with fcweb id 1; Wed, 25 Nov 2026 08:00:00 +0000\r\n"
    b"From: <alice@fcweb.test>\r\nTo: bob@example.org\r\nSubject: Devis 123\r\n"
    b"Message-ID: <a1@fcweb.test>\r\nX-MS-Exchange-Organization-SCL: 1\r\n\r\n"
)
SMTP = Fate(address="bob@example.org")
FAX = Fate(address="IMCEAFAX-5551234@fcweb.test", orcpt="FAX;5551234")


def manner(audience="internal", **changes):
    settings = NoticeSettings(**changes)
    config = TransportConfig(data_dir=Path("/nonexistent"))
    return notices.manners(settings, host="mx1.fcweb.test", domain="fcweb.test", config=config)[audience]


def original(**changes):
    facts = {
        "mail_from": "alice@fcweb.test",
        "message_id": "<a1@fcweb.test>",
        "subject": "Devis 123",
        "received_at": NOW - timedelta(hours=4),
        "expires_at": NOW + timedelta(hours=44),
        "helo_domain": "neko.example.com",
        "envid": "12345ABCD",
        "header": HEADER,
        "content": HEADER + b"Bonjour\r\n",
    }
    return Original(**(facts | changes))


def written(action, *fates, about=None, how=None, language="en", texts=None):
    notice = notices.compose(
        action,
        about or original(),
        fates,
        manner=how or manner(),
        language=language,
        texts=texts or {},
        host="mx1.fcweb.test",
        domain="fcweb.test",
        identity=uuid.uuid4(),
        now=NOW,
    )
    return dsn.build(notice)


def failed(fate, reply, **more):
    return Fate(address=fate.address, orcpt=fate.orcpt, reply=reply, **more)
