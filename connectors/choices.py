"""Every stored set of the app, with its legal values."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class DomainKind(models.TextChoices):
    """How an accepted domain treats recipients that are not found (RT-5, RT-6)."""

    AUTHORITATIVE = "authoritative", _("Authoritative")
    INTERNAL_RELAY = "internal_relay", _("Internal relay")
    EXTERNAL_RELAY = "external_relay", _("External relay")


class DirectoryKind(models.TextChoices):
    """What a directory recipient is (RT-3, RT-4, MT-K)."""

    MAILBOX = "mailbox", _("Mailbox")
    CONTACT = "contact", _("Contact")
    GROUP = "group", _("Group")


class GroupReports(models.TextChoices):
    """Who hears of what becomes of a group's members (DSN-11)."""

    ORIGINATOR = "originator", _("the sender")
    MANAGER = "manager", _("the group’s manager, of failures")
    NOBODY = "nobody", _("nobody")


class SourceKind(models.TextChoices):
    """Which directory a file was taken from; the name is the tracking source (MTO-1, RP-6)."""

    PICKUP = "PICKUP", _("Pickup")
    REPLAY = "REPLAY", _("Replay")


class FileState(models.TextChoices):
    """Life of one dropped file (design 4; table of legal states in docs/architecture.md)."""

    CLAIMED = "claimed", _("being read")  # row written before the rename to .tmp
    QUEUED = "queued", _("queued")  # message committed; the .tmp may still be there
    NOTICE = "notice", _("returned to the sender")  # failure notice owed or sent; the .tmp may still be there
    BAD = "bad", _("bad file")  # renamed to .bad with its reason
    RELEASED = "released", _("put back")  # given back as .eml (back pressure, crash before commit)
    SPLITTING = "splitting", _("being split")  # glued exports being handed in one by one (RP-25)
    CHANGING = "changing", _("being handed in changed")  # what a person edited, on its way to its name (PU-56)
    RESUBMITTED = "resubmitted", _("resubmitted")  # a bad file sent again by a person
    GONE = "gone", _("taken away")  # a bad file that somebody moved or deleted by hand (PU-56)


class MessageState(models.TextChoices):
    """Life of one message (QU-1, QU-7)."""

    SUBMITTED = "submitted", _("Submission")  # waits for the categorizer
    ROUTED = "routed", _("in delivery")  # at least one recipient is not final
    DONE = "done", _("done")  # all recipients final, nothing owed
    POISON = "poison", _("poison")


class RecipientState(models.TextChoices):
    """Life of one recipient of one message."""

    SUBMITTED = "submitted", _("waiting to be routed")
    QUEUED = "queued", _("waiting for delivery")
    FAILING = "failing", _("failed, notice due")  # not final: `reports` settles it (DSN precedes FAIL)
    DELIVERED = "delivered", _("delivered")  # foreign connector: handed to the gateway (FC-20)
    FAILED = "failed", _("failed")
    EXPANDED = "expanded", _("replaced by the group’s members")  # a group; its members are recipients of their own


class ReportDue(models.TextChoices):
    """What `reports` still has to do for a recipient."""

    FAILED = "failed", _("failure to settle")  # failure notice where one is earned, then the FAIL event
    RELAYED = "relayed", _("relay notice due")  # DSN-4, asked for by the connector (DR-34)
    DELIVERED = "delivered", _("delivery notice due")  # DSN-3, asked for by the sender
    DELAYED = "delayed", _("delay notice due")  # DSN-2; the recipient keeps waiting
    EXPANDED = "expanded", _("expansion notice due")  # DSN-5, asked for by the sender


class Audience(models.TextChoices):
    """Who reads a notice: somebody in a domain of ours, or somebody outside (DSN-50)."""

    INTERNAL = "internal", _("Internal")
    EXTERNAL = "external", _("External")


class NoticeLanguage(models.TextChoices):
    """Languages notices are written in."""

    EN = "en", "English"
    FR = "fr", "français"


class DeliveryType(models.TextChoices):
    """Exchange's delivery types that exist here (QU 1.2)."""

    NON_SMTP_GATEWAY = "NonSmtpGatewayDelivery", "NonSmtpGatewayDelivery"
    DELIVERY_AGENT = "DeliveryAgent", "DeliveryAgent"
    SMART_HOST = "SmartHostConnectorDelivery", "SmartHostConnectorDelivery"
    MAILBOX = "SmtpDeliveryToMailbox", "SmtpDeliveryToMailbox"
    UNREACHABLE = "Unreachable", "Unreachable"
    UNDEFINED = "Undefined", "Undefined"  # Submission and Poison


SUBMISSION_DOMAIN = "Submission"  # next hop domains of the two queues of type Undefined (QU-1, QU-4)
POISON_DOMAIN = "Poison Message"


class QueueStatus(models.TextChoices):
    """Status of a delivery queue (QU 1.4, RT-30)."""

    ACTIVE = "Active", _("Active")
    CONNECTING = "Connecting", _("Connecting")
    READY = "Ready", _("Ready")
    RETRY = "Retry", _("Retry")
    SUSPENDED = "Suspended", _("Suspended")


class ItemState(models.TextChoices):
    """Life of one copy of a message in a queue (DR-25)."""

    READY = "ready", _("ready")
    STAGING = "staging", _("being written")  # leased; both names committed, nothing published
    STAGED = "staged", _("written")  # temp files durable; only a rename away from published
    DEFERRED = "deferred", _("waiting for its retry")  # refused for now, by itself; `retry_at` says until when (QR-24)
    SUSPENDED = "suspended", _("suspended")  # by a person, or in Poison; never leased
    DELIVERED = "delivered", _("delivered")
    REMOVED = "removed", _("removed")  # expired, re-routed or all recipients failed


FREE = (ItemState.READY, ItemState.DEFERRED)  # stopped by nobody and held by nobody
STILL = (*FREE, ItemState.SUSPENDED)  # nobody holds it; each of these states has a partial index
WAITING = (*STILL, ItemState.STAGING, ItemState.STAGED)  # what a queue lists


class Refusal(models.TextChoices):
    """Why a next hop refuses one message for now: context of its DEFER event, and Exchange's DeferReason (QU 1.5)."""

    MAILBOX_FULL = "MailboxFull", "Marked As Retry Delivery If Rejected"
    CONTENT_UNREADABLE = "ContentUnreadable", "Storage Transient Failure During Content Conversion"


OTHER_REFUSAL = "Transient Failure"  # DeferReason of any other context


class Pending(models.TextChoices):
    """What happens to a copy in transfer once the transfer fails (QU 1.6, QO-14)."""

    SUSPEND = "suspend", _("suspension pending")
    REMOVE = "remove", _("removal pending")
    REMOVE_NDR = "remove_ndr", _("removal with notice pending")


class Verb(models.TextChoices):
    """Operations on queues and queued messages (QO 3.1)."""

    SUSPEND = "suspend", _("Suspend")
    RESUME = "resume", _("Resume")
    RETRY = "retry", _("Retry")  # queues only
    RESUBMIT = "resubmit", _("Retry with resubmit")
    REMOVE = "remove", _("Remove without notice")
    REMOVE_NDR = "remove_ndr", _("Remove with notice")
    REDIRECT = "redirect", _("Redirect to another connector")
    EXPORT = "export", _("Export")
    EXPORT_REMOVE = "export_remove", _("Export and remove")  # QO-11
    DELIVER_AGAIN = "deliver_again", _("Deliver again")  # from the Safety Net (QR-18)
    DRAIN = "drain", _("Move to another server")  # QO-13 (a); a whole server


REMOVALS = (Verb.REMOVE_NDR, Verb.REMOVE)  # all that may be done to messages in Submission (QA-10)


class JobScope(models.TextChoices):
    """What an operation is about."""

    QUEUE = "queue", _("queue")  # the queue's own status
    MESSAGES = "messages", _("messages")


class JobState(models.TextChoices):
    """Life of an operation."""

    RUNNING = "running", _("running")  # a batch at a time, by whichever process comes first
    DONE = "done", _("done")
    CANCELLED = "cancelled", _("cancelled")


class Outcome(models.TextChoices):
    """What an operation did to one object (QO-1)."""

    CHANGED = "changed", _("changed")
    UNCHANGED = "unchanged", _("unchanged")
    FAILED = "failed", _("failed")


class Priority(models.IntegerChoices):
    """From X-Priority; higher leaves first when priority queuing is on (QR-60)."""

    LOW = 0, _("Low")
    NORMAL = 1, _("Normal")
    HIGH = 2, _("High")
