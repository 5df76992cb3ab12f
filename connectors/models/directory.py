"""DirectoryRecipient: mailboxes, contacts and groups that recipients are resolved against (RT-1 to RT-9, MT-K)."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from connectors.choices import DirectoryKind, GroupReports, NoticeLanguage
from connectors.mail.address import TypedAddress, address_key


def proxy_key(address: TypedAddress) -> str:
    """Return the look-up key of a typed address, the one `routing.lookup_keys` asks for."""
    value = address_key(address.value) if address.type == "SMTP" else address.value.casefold()
    return f"{address.type}:{value}"


class DirectoryRecipient(models.Model):
    """A mailbox, a contact or a group; its primary address is one of its proxy addresses."""

    kind = models.CharField(_("kind"), max_length=8, choices=DirectoryKind, editable=False)
    name = models.CharField(_("display name"), max_length=256)
    primary_address = models.CharField(_("primary SMTP address"), max_length=571, unique=True)
    external_address = models.CharField(
        _("external address"),
        max_length=2000,
        blank=True,
        help_text=_("Where mail for this contact goes, with its type: FAX:+1 425 555 0100, X400:c=US;a=…, or SMTP."),
    )
    language = models.CharField(
        _("language"),
        max_length=8,
        choices=NoticeLanguage,
        blank=True,
        help_text=_("Language of notices to this recipient. Empty: the one the message names, else the default."),
    )
    max_send_bytes = models.PositiveBigIntegerField(
        _("largest message sent (bytes)"),
        null=True,
        blank=True,
        help_text=_("Empty: the limit of the organisation alone. 10 MB hold about 7.5 MB of attachments."),
    )
    max_receive_bytes = models.PositiveBigIntegerField(
        _("largest message received (bytes)"),
        null=True,
        blank=True,
        help_text=_("Empty: the limit of the organisation alone. 10 MB hold about 7.5 MB of attachments."),
    )
    max_mailbox_bytes = models.PositiveBigIntegerField(
        _("mailbox quota (bytes)"),
        null=True,
        blank=True,
        help_text=_("Mail that does not fit is returned to its sender at once. Empty: unlimited."),
    )
    max_recipients = models.PositiveIntegerField(
        _("recipients per message sent"), null=True, blank=True, help_text=_("Empty: the limit of the organisation.")
    )
    members = models.ManyToManyField(
        "self", symmetrical=False, related_name="groups", blank=True, verbose_name=_("members")
    )
    reports_to = models.CharField(
        _("notices go to"),
        max_length=10,
        choices=GroupReports,
        default=GroupReports.ORIGINATOR,
        help_text=_("Who is told when a message cannot be delivered to a member."),
    )
    manager = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="managed_groups",
        verbose_name=_("manager"),
        help_text=_("Needed where notices go to the manager."),
    )

    class Meta:
        verbose_name = _("directory recipient")
        verbose_name_plural = _("directory recipients")
        ordering = ("name",)

    def __str__(self) -> str:
        return f"{self.name} <{self.primary_address}>"


class MailboxManager(models.Manager["Mailbox"]):
    def get_queryset(self) -> models.QuerySet[Mailbox]:
        return super().get_queryset().filter(kind=DirectoryKind.MAILBOX)


class Mailbox(DirectoryRecipient):
    """A local mailbox, kept as a Maildir (RT-4)."""

    objects = MailboxManager()  # type: ignore[misc]  # narrows the base manager on purpose

    class Meta:
        proxy = True
        verbose_name = _("mailbox")
        verbose_name_plural = _("mailboxes")


class ContactManager(models.Manager["Contact"]):
    def get_queryset(self) -> models.QuerySet[Contact]:
        return super().get_queryset().filter(kind=DirectoryKind.CONTACT)


class Contact(DirectoryRecipient):
    """A recipient elsewhere: mail goes to its external address (RT-3)."""

    objects = ContactManager()  # type: ignore[misc]  # narrows the base manager on purpose

    class Meta:
        proxy = True
        verbose_name = _("contact")
        verbose_name_plural = _("contacts")


class GroupManager(models.Manager["Group"]):
    def get_queryset(self) -> models.QuerySet[Group]:
        return super().get_queryset().filter(kind=DirectoryKind.GROUP)


class Group(DirectoryRecipient):
    """A distribution group: mail for it goes to its members, groups among them (MT-K)."""

    objects = GroupManager()  # type: ignore[misc]  # narrows the base manager on purpose

    class Meta:
        proxy = True
        verbose_name = _("distribution group")  # “groups” are those of users in the same admin
        verbose_name_plural = _("distribution groups")


class ProxyAddress(models.Model):
    """One address a directory recipient is known by; the primary SMTP address is among them (RT-2)."""

    recipient = models.ForeignKey(DirectoryRecipient, on_delete=models.CASCADE, related_name="proxies")
    type = models.CharField(_("type"), max_length=8, default="SMTP")
    address = models.CharField(_("address"), max_length=2000)
    # Not unique: two recipients with one proxy are possible by import and mean 5.1.4 (RT-8).
    key = models.CharField(max_length=2010, editable=False, db_index=True)

    class Meta:
        verbose_name = _("proxy address")
        verbose_name_plural = _("proxy addresses")

    def __str__(self) -> str:
        return f"{self.type}:{self.address}"
