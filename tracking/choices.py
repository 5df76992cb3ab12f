"""Event ids, sources and message states: Exchange's words (message-tracking 2.1, 2.2)."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class EventId(models.TextChoices):
    """Events fcweb writes; imported ones are stored as they come (MTE-1)."""

    RECEIVE = "RECEIVE", _("received")
    SEND = "SEND", _("handed over")
    DELIVER = "DELIVER", _("delivered")
    DEFER = "DEFER", _("postponed")
    FAIL = "FAIL", _("failed")
    DSN = "DSN", _("notice written")
    BADMAIL = "BADMAIL", _("set aside as bad")
    RESOLVE = "RESOLVE", _("address replaced")
    REDIRECT = "REDIRECT", _("redirected")
    EXPAND = "EXPAND", _("group expanded")
    DUPLICATEEXPAND = "DUPLICATEEXPAND", _("member already a recipient")
    TRANSFER = "TRANSFER", _("split off")
    RESUBMIT = "RESUBMIT", _("routed again")
    LOAD = "LOAD", _("loaded at start")
    POISONMESSAGE = "POISONMESSAGE", _("poison")


class EventSource(models.TextChoices):
    """Components that write events (MTO-1 to MTO-11); REPLAY is ours and written as ADMIN in Exchange files."""

    PICKUP = "PICKUP", _("Pickup")
    REPLAY = "REPLAY", _("Replay")
    ADMIN = "ADMIN", _("administrator")
    GATEWAY = "GATEWAY", _("gateway")
    STOREDRIVER = "STOREDRIVER", _("mailbox store")
    QUEUE = "QUEUE", _("queue")
    ROUTING = "ROUTING", _("routing")
    DSN = "DSN", _("notices")
    BOOTLOADER = "BOOTLOADER", _("start")
    POISONMESSAGE = "POISONMESSAGE", _("poison detection")
    SAFETYNET = "SAFETYNET", _("Safety Net")


class TrackedState(models.TextChoices):
    """State of a message: the worst of its recipients' last words (MTT-8)."""

    QUEUED = "queued", _("on its way")
    DEFERRED = "deferred", _("postponed")
    TRANSFERRED = "transferred", _("handed over")  # SEND: given to a gateway, nothing more is known
    DELIVERED = "delivered", _("delivered")
    PARTLY = "partly", _("partly failed")
    FAILED = "failed", _("failed")
    EXPANDED = "expanded", _("group expanded")  # every member is in a copy of its own
    BAD = "bad", _("bad file")
