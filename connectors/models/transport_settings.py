"""TransportSettings: how one server tries again, gives up and keeps, under Exchange's names (QR-1 to QR-18, QX-4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.deconstruct import deconstructible
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from connectors.conf import RetryLadder, TransportConfig
from connectors.mail.timespan import format_timespan
from connectors.models.node import Node

_NEVER = 2_147_483_647  # a crash count no message reaches
_SECOND, _MINUTE, _HOUR, _DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_ATTEMPTS = [MinValueValidator(0), MaxValueValidator(15)]


@deconstructible
class TimeSpanRange:
    """Refuses times outside a range, both ends allowed."""

    def __init__(self, low: timedelta, high: timedelta) -> None:
        self.low = low
        self.high = high

    def __call__(self, value: timedelta) -> None:
        if not self.low <= value <= self.high:
            ends = {"low": format_timespan(self.low), "high": format_timespan(self.high)}
            raise ValidationError(gettext("From %(low)s to %(high)s.") % ends, code="TIME_RANGE")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TimeSpanRange) and (self.low, self.high) == (other.low, other.high)

    def __hash__(self) -> int:
        return hash((self.low, self.high))


class TransportSettings(models.Model):
    """One row a server; missing, it means the defaults. In force at the next reading, within seconds."""

    node = models.OneToOneField(Node, on_delete=models.CASCADE, related_name="transport_settings")
    glitch_retry_count = models.PositiveSmallIntegerField(
        _("first retries"),
        default=4,
        validators=_ATTEMPTS,
        help_text=_("How often a queue is tried again at short intervals, 0 to 15; 0 skips this stage."),
    )
    glitch_retry_interval = models.DurationField(
        _("interval of first retries"),
        default=_MINUTE,
        validators=[TimeSpanRange(_SECOND, _DAY)],
        help_text=_("Wait between these retries, 00:00:01 to 1.00:00:00."),
    )
    transient_retry_count = models.PositiveSmallIntegerField(
        _("further retries"),
        default=6,
        validators=_ATTEMPTS,
        help_text=_("How often it is tried again after the first retries, 0 to 15; 0 skips this stage."),
    )
    transient_retry_interval = models.DurationField(
        _("interval of further retries"),
        default=5 * _MINUTE,
        validators=[TimeSpanRange(_SECOND, 12 * _HOUR)],
        help_text=_("Wait between these retries, 00:00:01 to 12:00:00."),
    )
    outbound_retry_interval = models.DurationField(
        _("interval of all later retries"),
        default=10 * _MINUTE,
        validators=[TimeSpanRange(_SECOND, 20 * _DAY)],
        help_text=_("Wait between retries from then on, until messages expire: 00:00:01 to 20.00:00:00."),
    )
    mailbox_retry_interval = models.DurationField(
        _("interval for mailboxes"),
        default=5 * _MINUTE,
        validators=[TimeSpanRange(_SECOND, _DAY)],
        help_text=_("Queues of local mailboxes always wait this long: 00:00:01 to 1.00:00:00."),
    )
    message_retry_interval = models.DurationField(
        _("interval for single messages"),
        default=15 * _MINUTE,
        validators=[TimeSpanRange(_SECOND, _DAY)],
        help_text=_(
            "A message that alone cannot be delivered now waits this long, others pass it: 00:00:01 to 1.00:00:00."
        ),
    )
    mailbox_full_grace = models.DurationField(
        _("patience with full mailboxes"),
        default=timedelta(0),
        validators=[TimeSpanRange(timedelta(0), 90 * _DAY)],
        help_text=_(
            "Mail for a full mailbox is tried again until it is this old, then returned: 00:00:00 to 90.00:00:00. "
            "00:00:00 returns it at once, as Exchange does."
        ),
    )
    message_expiration = models.DurationField(
        _("messages expire after"),
        default=2 * _DAY,
        validators=[TimeSpanRange(5 * _SECOND, 90 * _DAY)],
        help_text=_(
            "What is not delivered by then is returned to its sender: 00:00:05 to 90.00:00:00. "
            "Applies to messages accepted from now on."
        ),
    )
    expire_suspended = models.BooleanField(
        _("suspended messages expire"), default=True, help_text=_("Off: what a person suspended waits without end.")
    )
    max_idle_before_resubmit = models.DurationField(
        _("route again after"),
        default=12 * _HOUR,
        validators=[TimeSpanRange(_MINUTE, 90 * _DAY)],
        help_text=_("Messages of a queue that failed this long are routed again: 00:01:00 to 90.00:00:00."),
    )
    queue_max_idle = models.DurationField(
        _("empty queues vanish after"),
        default=3 * _MINUTE,
        validators=[TimeSpanRange(5 * _SECOND, _HOUR)],
        help_text=_("00:00:05 to 01:00:00."),
    )
    poison_detection = models.BooleanField(
        _("set poison messages apart"),
        default=True,
        help_text=_("Off: messages and files that were in hand at every crash are tried again without end."),
    )
    poison_threshold = models.PositiveSmallIntegerField(
        _("crashes before a message is poison"),
        default=2,
        validators=[MinValueValidator(1), MaxValueValidator(10)],
        help_text=_("1 to 10."),
    )
    safety_net_hold = models.DurationField(
        _("delivered content is kept for"),
        default=2 * _DAY,
        validators=[TimeSpanRange(timedelta(0), 90 * _DAY)],
        help_text=_("For delivering it again after a loss: 00:00:00 to 90.00:00:00."),
    )
    priority_queuing = models.BooleanField(
        _("priorities"),
        default=False,
        help_text=_(
            "High before Normal before Low, by X-Priority. High expires after 8 hours and its delay is told after "
            "30 minutes, that of Low after 8 hours; High above 250 KB counts as Normal."
        ),
    )

    class Meta:
        verbose_name = _("transport settings")
        verbose_name_plural = _("transport settings")

    def __str__(self) -> str:
        return str(self.node)

    @classmethod
    def of(cls, node: Node) -> TransportSettings:
        """Return the row of a server, or the defaults while nobody has saved one."""
        return cls.objects.filter(node=node).first() or cls(node=node)

    @property
    def first_retries_last(self) -> timedelta:
        """Return QR-3 × QR-4, which a delay notice must outlast (QR-31)."""
        return self.transient_retry_count * self.transient_retry_interval

    def applied_to(self, config: TransportConfig) -> TransportConfig:
        """Return the configuration of the process with this server's times in it."""
        return replace(
            config,
            ladder=RetryLadder(
                glitch_count=self.glitch_retry_count,
                glitch_interval=self.glitch_retry_interval,
                transient_count=self.transient_retry_count,
                transient_interval=self.transient_retry_interval,
                outbound_interval=self.outbound_retry_interval,
            ),
            mailbox_retry=self.mailbox_retry_interval,
            message_retry=self.message_retry_interval,
            mailbox_full_grace=self.mailbox_full_grace,
            expiration=self.message_expiration,
            expire_suspended=self.expire_suspended,
            max_idle_before_resubmit=self.max_idle_before_resubmit,
            queue_max_idle=self.queue_max_idle,
            poison_threshold=self.poison_threshold if self.poison_detection else _NEVER,
            safety_net=self.safety_net_hold,
            priority_queuing=self.priority_queuing,
        )


def config_of(node: Node, config: TransportConfig) -> TransportConfig:
    """Return `config` with the stored settings of a server in it; as it is while none are stored."""
    row = TransportSettings.objects.filter(node=node).first()
    return row.applied_to(config) if row is not None else config
