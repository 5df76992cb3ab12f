"""Queued messages made straight in the tables, for tests about queues: no file is read on the way."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.db import transaction

from connectors import spool
from connectors.choices import (
    SUBMISSION_DOMAIN,
    DeliveryType,
    ItemState,
    MessageState,
    QueueStatus,
    RecipientState,
)
from connectors.mail import replay_format
from connectors.mail.envelope import Envelope, Recipient
from connectors.models import Message, MessageRecipient, Queue, QueueItem
from connectors.transport import operations, queue_operations
from tracking import record
from tracking.record import NewMessage


def fax_queue(site, **values):
    """Return the queue of connector Fax, made when it does not exist."""
    from connectors.models import ForeignConnector

    connector = ForeignConnector.objects.get(name="Fax")
    queue, _made = Queue.objects.get_or_create(
        node=site.node,
        delivery_type=DeliveryType.NON_SMTP_GATEWAY,
        next_hop_domain="FAX",
        next_hop_connector=connector.guid,
        defaults={"connector_name": "Fax"},
    )
    Queue.objects.filter(pk=queue.pk).update(**({"status": QueueStatus.READY} | values))
    queue.refresh_from_db()
    return queue


def queued(
    site, queue, *, now, recipients=("IMCEAFAX-1@fcweb.test",), state=ItemState.READY, with_file=False, **values
):
    """Insert one message whose recipients wait in a queue; return its copy."""
    message = _stored(site, MessageState.ROUTED, now=now, recipients=recipients, with_file=with_file, **values)
    item = QueueItem.objects.create(
        queue=queue,
        message=message,
        state=state,
        entered_at=message.received_at,
        is_whole=True,
        leased_by="t" if state in {ItemState.STAGING, ItemState.STAGED} else "",
    )
    for address in recipients:
        MessageRecipient.objects.create(message=message, item=item, address=address, state=RecipientState.QUEUED)
    return item


def submitted(site, *, now, recipients=("IMCEAFAX-1@fcweb.test",), with_file=False, **values):
    """Insert one message that waits in Submission, with its RECEIVE event; return it."""
    message = _stored(site, MessageState.SUBMITTED, now=now, recipients=recipients, with_file=with_file, **values)
    for address in recipients:
        MessageRecipient.objects.create(message=message, address=address, state=RecipientState.SUBMITTED)
    shown = [(address, "") for address in recipients]
    where = {"source": "PICKUP", "server": site.node.name, "context": "a.eml"}
    record.save([record.receive(message.tracked_id, at=now, recipients=shown, **where)])
    return message


def submission_queue(site, **values):
    """Return the Submission queue, suspended unless `status` says otherwise."""
    queue = queue_operations.special_queue(site.node, SUBMISSION_DOMAIN)
    Queue.objects.filter(pk=queue.pk).update(**({"status": QueueStatus.SUSPENDED} | values))
    queue.refresh_from_db()
    return queue


def send_back(*keys, now):
    """Send these copies back to Submission, as an operation does."""
    with transaction.atomic():
        operations.send_back(operations.lock(keys), source="ADMIN", server="node.test", now=now)


def _stored(site, state, *, now, recipients, with_file, **values):
    guid = uuid.uuid4()
    facts = {
        "mail_from": "alice@fcweb.test",
        "subject": "Offer",
        "size": 2000,
        "message_id": f"<{guid}@fcweb.test>",
        "source": "PICKUP",
        "source_name": "Pickup",
        "received_at": now,
        "expires_at": now + timedelta(days=2),
    } | values
    envelope = Envelope(mail_from=facts["mail_from"], recipients=tuple(Recipient(address=a) for a in recipients))
    content = f"Message-ID: {facts['message_id']}\r\nSubject: {facts['subject']}\r\n\r\nBody\r\n".encode(
        "utf-8", "replace"
    )
    block = replay_format.block(envelope, content_bytes=len(content))
    name = spool.name_for(guid, now)
    if with_file:
        from connectors.conf import transport_config

        spool.put(
            transport_config().spool_dir, [spool.SpoolFile(name=name, block=block, content=content)], mode="fsync"
        )
    (tracked,) = record.open_messages(
        [
            NewMessage(
                internal_message_id=None,
                network_message_id=guid,
                message_id=facts["message_id"],
                sender=facts["mail_from"],
                return_path=facts["mail_from"],
                subject=facts["subject"],
                size=facts["size"],
                directionality="Originating",
                source="PICKUP",
                recipients=len(recipients),
                at=now,
            )
        ]
    )
    return Message.objects.create(
        node=site.node,
        network_message_id=guid,
        tracked_id=tracked,
        spool_name=name,
        content_offset=len(block),
        state=state,
        **facts,
    )


def fill(node, queue, count, *, now, batch=5000):
    """Insert `count` waiting messages of one recipient each, quickly; subjects and senders vary, ages are spread.

    Without a queue they wait in Submission.
    """
    from tracking.choices import TrackedState
    from tracking.models import TrackedMessage

    for start in range(0, count, batch):
        numbers = range(start, min(start + batch, count))
        tracked = TrackedMessage.objects.bulk_create(
            TrackedMessage(
                subject=f"Offer {n}",
                source="PICKUP",
                state=TrackedState.QUEUED,
                recipients=1,
                first_at=now,
                last_at=now,
            )
            for n in numbers
        )
        messages = Message.objects.bulk_create(
            Message(
                node=node,
                tracked_id=row.pk,
                message_id=f"<{n}@fcweb.test>",
                mail_from=f"user{n % 500}@{('fcweb.test', 'contoso.com', 'x.test')[n % 3]}",
                subject=f"Offer {n}",
                size=1000 + n,
                source="PICKUP",
                source_name="Pickup",
                spool_name=f"{uuid.uuid4().hex}",
                content_offset=100,
                state=MessageState.ROUTED if queue else MessageState.SUBMITTED,
                received_at=now - timedelta(seconds=(count - n) / 10),
                expires_at=now + timedelta(days=2),
            )
            for n, row in zip(numbers, tracked, strict=True)
        )
        items = QueueItem.objects.bulk_create(
            QueueItem(queue=queue, message=message, entered_at=message.received_at, is_whole=True)
            for message in messages
            if queue
        )
        MessageRecipient.objects.bulk_create(
            MessageRecipient(
                message=message,
                item=item,
                address=f"IMCEAFAX-{message.pk}@fcweb.test",
                state=RecipientState.QUEUED if item else RecipientState.SUBMITTED,
            )
            for message, item in zip(messages, items or [None] * len(messages), strict=True)
        )
