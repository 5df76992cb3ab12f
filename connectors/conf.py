"""TransportConfig: what the stages need to know. Places come from Django's settings, read here alone.

Times and counts are the defaults of Exchange; `models.transport_settings.config_of` puts a server's own in (QX-4).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.conf import settings

from connectors.choices import Priority

_HIGH_EXPIRATION = timedelta(hours=8)  # 2.5
HIGH_BYTES = 250 * 1024  # QR-60, RT-33
_HIGH_DELAY = timedelta(minutes=30)  # 2.5
_LOW_DELAY = timedelta(hours=8)  # 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryLadder:
    """Waits after connection failures. Rules: QR-1 to QR-5, QR-21, RT-40."""

    glitch_count: int = 4
    glitch_interval: timedelta = timedelta(minutes=1)
    transient_count: int = 6
    transient_interval: timedelta = timedelta(minutes=5)
    outbound_interval: timedelta = timedelta(minutes=10)

    def wait(self, retry: int) -> timedelta:
        """Return the wait before retry number `retry` (1 is the first after the initial attempt)."""
        if retry <= self.glitch_count:
            return self.glitch_interval
        if retry <= self.glitch_count + self.transient_count:
            return self.transient_interval
        return self.outbound_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportConfig:
    """Directories, batch size and times of one transport process."""

    data_dir: Path
    batch: int = 200  # files or messages that share one sync and one commit
    batch_bytes: int = 64 * 1024 * 1024  # a batch also ends here
    sync: str = "auto"  # how a batch is made durable: connectors.disk
    inotify: bool = True
    poll_interval: timedelta = timedelta(seconds=5)  # PU-1
    empty_file_age: timedelta = timedelta(seconds=60)  # PU-50
    poison_threshold: int = 2  # PU-21
    expiration: timedelta = timedelta(days=2)  # QR-8
    safety_net: timedelta = timedelta(hours=48)  # QR-18
    history: timedelta = timedelta(days=30)  # what operations did to a message is kept this long (MTP-2)
    expire_suspended: bool = True  # QA-7
    max_idle_before_resubmit: timedelta = timedelta(hours=12)  # QR-11
    queue_max_idle: timedelta = timedelta(minutes=3)  # QR-14
    priority_queuing: bool = False  # QR-60, RT-33
    ladder: RetryLadder = RetryLadder()
    mailbox_retry: timedelta = timedelta(minutes=5)  # QR-7, QR-23
    message_retry: timedelta = timedelta(minutes=15)  # QR-6, QR-24
    mailbox_full_grace: timedelta = timedelta(0)  # MTA-15
    notice_language: str = "en"  # DSN-51, when the original names none
    notice_attach_bytes: int = 10 * 1024 * 1024  # QL-13

    def expires_after(self, priority: int, size: int) -> timedelta:
        """Return how long a message may wait. Rules: QR-8, QR-29, and 2.5 when priority queuing is on."""
        if self.queue_priority(priority, size) == Priority.HIGH:
            return min(self.expiration, _HIGH_EXPIRATION)
        return self.expiration

    def delay_told_after(self, priority: int, delay: timedelta) -> timedelta:
        """Return the wait a delay notice tells of, by queue priority; `delay` is that of Normal (QR-9, 2.5)."""
        if priority == Priority.HIGH:
            return min(delay, _HIGH_DELAY)
        return max(delay, _LOW_DELAY) if priority == Priority.LOW else delay

    def queue_priority(self, priority: int, size: int) -> int:
        """Return the priority a copy is queued with; all the same while priority queuing is off (QR-60)."""
        if not self.priority_queuing:
            return Priority.NORMAL.value
        if priority == Priority.HIGH and size > HIGH_BYTES:
            return Priority.NORMAL.value
        return priority

    @property
    def spool_dir(self) -> Path:
        """Directory of the content files."""
        return self.data_dir / "spool"

    @property
    def run_dir(self) -> Path:
        """Directory of lock files, heartbeat and sockets."""
        return self.data_dir / "run"


def transport_config() -> TransportConfig:
    """Return the configuration of this process."""
    return TransportConfig(
        data_dir=Path(settings.DATA_DIR),
        batch=settings.FCWEB_BATCH,
        sync=settings.FCWEB_SYNC,
        inotify=settings.FCWEB_INOTIFY,
        history=timedelta(days=settings.FCWEB_TRACKING_DAYS or 24_855),
        notice_language=settings.FCWEB_NOTICE_LANGUAGE,
    )
