"""Forty-eight hours of a missing drop directory with a moved clock: 294 retries at the documented minutes, then expiry."""

from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from connectors.conf import transport_config
from connectors.models import MessageRecipient, Queue
from connectors.owner import Owner
from connectors.transport.service import Service
from tracking.models import TrackingEvent

FAX = b"From: alice@fcweb.test\r\nTo: IMCEAFAX-5551234@fcweb.test\r\nSubject: Offer\r\n\r\nBody\r\n"
OFFSETS = [1, 2, 3, 4, 9, 14, 19, 24, 29, 34, *range(44, 2875, 10)]


@pytest.mark.timeout(600)
@pytest.mark.django_db(transaction=True)
@pytest.mark.rule("QR-21", "QR-22", "QR-27", "QR-28", "QR-29", "QR-30", "QR-41", "QX-1", "MT-E", "MT-G")
def test_294_retries_come_before_the_expiry(site, pickup):
    assert len(OFFSETS) == 294
    drop = Path(site.drop)
    drop.rename(drop.with_name("away"))
    pickup("a.eml", FAX)
    start = now = timezone.now()
    config = transport_config()
    with Owner(config.run_dir) as owner:
        stages = Service(config=config, token=owner.token).stages()

        def settle():
            while sum(stage.run(now) for stage in stages):
                pass

        settle()
        queue = Queue.objects.get(connector_name="Fax")
        attempts = []
        while queue.next_retry_at is not None and queue.next_retry_at < start + timedelta(hours=48):
            assert queue.status == "Retry" and queue.last_error.startswith("451 4.3.5")
            now = queue.next_retry_at
            before = queue.last_retry_at
            settle()
            queue.refresh_from_db()
            assert queue.last_retry_at == now > before
            attempts.append(round((now - start).total_seconds() / 60))
        assert attempts == OFFSETS

        now = start + timedelta(hours=48)
        settle()
        now += timedelta(seconds=6)
        settle()
    fate = MessageRecipient.objects.get(message__source="PICKUP")
    assert (fate.state, fate.status_text) == ("failed", "550 4.4.7 QUEUE.Expired; message expired")
    told = list(TrackingEvent.objects.filter(message__subject="Offer").order_by("pk").values_list("event", "source"))
    assert told[:2] == [("RECEIVE", "PICKUP"), ("DEFER", "GATEWAY")]
    assert told[-1] == ("FAIL", "QUEUE")
    assert told.count(("RESUBMIT", "QUEUE")) == 3  # after 12, 24 and 36 hours, without losing its place (QR-28)
    dsn = TrackingEvent.objects.filter(event="DSN").latest("pk")
    fail = TrackingEvent.objects.get(event="FAIL")
    assert dsn.pk < fail.pk and fail.reference == dsn.message.message_id
    assert dsn.source_context == "Failure"
