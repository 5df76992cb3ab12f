"""Connector, ForeignConnector and AddressSpace: what is served and where it goes (FC 1.1, AS)."""

from __future__ import annotations

import uuid

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F
from django.utils.translation import gettext_lazy as _

from connectors.models.node import Node


class Connector(models.Model):
    """What every kind of connector has; the name is unique across kinds (FC-2)."""

    guid = models.UUIDField(_("GUID"), unique=True, default=uuid.uuid4, editable=False)
    name = models.CharField(_("name"), max_length=64, help_text=_("1 to 64 characters, unique."))
    name_key = models.CharField(max_length=200, unique=True, editable=False)  # NFC, casefolded name (FC-2, RT-16)
    enabled = models.BooleanField(
        _("enabled"),
        default=True,
        help_text=_("A disabled connector is not considered by routing; non-SMTP mail for it is returned at once."),
    )
    is_held = models.BooleanField(
        _("hold"),
        default=False,
        help_text=_("Keep messages in the queue and write nothing, without returning mail (pause the gateway)."),
    )
    is_scoped_connector = models.BooleanField(
        _("scoped"), default=False, help_text=_("Usable only by servers in the site of its source servers.")
    )
    source_transport_servers = models.ManyToManyField(
        Node, verbose_name=_("source servers"), help_text=_("The servers that deliver for this connector.")
    )
    max_message_bytes = models.PositiveBigIntegerField(
        _("largest message (bytes)"),
        null=True,
        blank=True,
        validators=[MaxValueValidator(2_147_483_647 * 1024)],
        help_text=_("Empty is unlimited; 0 lets nothing through (disable the connector instead)."),
    )
    comment = models.TextField(_("comment"), blank=True)
    # ConfigGeneration of the last change that routing must see: its queue is resolved again (RT-52).
    routing_generation = models.PositiveBigIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    changed_at = models.DateTimeField(_("changed"), auto_now=True)

    class Meta:
        verbose_name = _("connector")
        verbose_name_plural = _("connectors")
        ordering = ("name_key",)

    def __str__(self) -> str:
        return self.name


class ForeignConnector(Connector):
    """A connector that hands messages over as files in its drop directory (FC-20)."""

    drop_directory = models.CharField(
        _("drop directory"),
        max_length=4096,
        blank=True,
        help_text=_("A name below the root drop directory; empty: the connector's name. It is not created for you."),
    )
    drop_directory_quota = models.PositiveBigIntegerField(
        _("drop directory quota (bytes)"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(2**50)],
        help_text=_("Nothing is written while the files there reach this size; empty is unlimited."),
    )
    relay_dsn_required = models.BooleanField(
        _("relay notice required"),
        default=False,
        help_text=_("Send a relayed notice to senders who asked for success notices, once the file is in place."),
    )
    one_recipient_per_file = models.BooleanField(
        _("one recipient per file"),
        default=False,
        help_text=_("For gateways that must not see each other's numbers."),
    )
    collect_within_minutes = models.PositiveIntegerField(
        _("collected within (minutes)"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(525_600)],
        help_text=_("A file that the gateway has not taken after this time is reported; empty: never."),
    )

    class Meta:
        verbose_name = _("foreign connector")
        verbose_name_plural = _("foreign connectors")


class AddressSpace(models.Model):
    """One address space of a connector, e.g. FAX:*;1 (AS-1 to AS-8)."""

    connector = models.ForeignKey(Connector, on_delete=models.CASCADE, related_name="address_spaces")
    type = models.CharField(_("type"), max_length=8, default="SMTP", help_text=_("SMTP, X400, FAX, SMS, SAP…"))
    space = models.CharField(
        _("address space"), max_length=1000, help_text=_("*, contoso.com, *.contoso.com, +1425*, c=US;a=Fabrikam…")
    )
    cost = models.PositiveSmallIntegerField(
        _("cost"), default=1, validators=[MinValueValidator(1), MaxValueValidator(100)], help_text=_("1 to 100.")
    )
    key = models.CharField(max_length=1010, editable=False)  # mail.address_space.AddressSpace.key (AS-8)

    class Meta:
        verbose_name = _("address space")
        verbose_name_plural = _("address spaces")
        ordering = ("type", "space")
        constraints = [models.UniqueConstraint(fields=["connector", "key"], name="address_space_once_a_connector")]

    def __str__(self) -> str:
        return f"{self.type}:{self.space};{self.cost}"


class ConfigGeneration(models.Model):
    """One row: the number that grows with every change routing must see (RT-52)."""

    generation = models.PositiveBigIntegerField(default=1)

    @classmethod
    def current(cls) -> int:
        """Return the generation in force; 1 before the first change."""
        row = cls.objects.values_list("generation", flat=True).first()
        return 1 if row is None else row

    @classmethod
    def bump(cls, connector: Connector | None = None) -> int:
        """Let every routing snapshot be read anew; call it in the transaction of the change.

        With `connector`, the messages waiting for it are resolved again (RT-52); Unreachable always is (RT-50).
        Returns the new generation.
        """
        if not cls.objects.update(generation=F("generation") + 1):
            cls.objects.create(generation=2)
        generation = cls.current()
        if connector is not None:
            Connector.objects.filter(pk=connector.pk).update(routing_generation=generation)
        return generation

    def __str__(self) -> str:
        return str(self.generation)
