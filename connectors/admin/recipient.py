"""Admin of mailboxes and contacts with their proxy addresses (RT-2 to RT-4)."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from connectors import configuration, recipient_configuration
from connectors.admin.labelled import LabelledAdmin, shown_at
from connectors.choices import DirectoryKind
from connectors.mail.address import TypedAddress
from connectors.models import Contact, DirectoryRecipient, Mailbox, ProxyAddress, proxy_key
from connectors.size_field import SizeLimitField


class ProxyForm(forms.ModelForm):
    """One proxy address; its look-up key is computed, and nobody else may have it (RT-8)."""

    class Meta:
        model = ProxyAddress
        fields = ("type", "address")

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return data
        with shown_at("address"):
            address = recipient_configuration.read(f"{data['type']}:{data['address']}")
            recipient_configuration.check_free(address, besides=self.instance.recipient_id)
        data["type"] = address.type
        data["address"] = address.value
        self.instance.key = proxy_key(address)
        return data


class ProxyInline(admin.TabularInline):
    model = ProxyAddress
    form = ProxyForm
    extra = 0


class RecipientForm(forms.ModelForm):
    """What mailboxes and contacts share."""

    def clean_primary_address(self) -> str:
        with shown_at():
            primary = recipient_configuration.check_primary(self.cleaned_data["primary_address"])
            recipient_configuration.check_free(TypedAddress(type="SMTP", value=primary), besides=self.instance.pk)
        return primary


LIMITS = ("max_mailbox_bytes", "max_send_bytes", "max_receive_bytes", "max_recipients")


class MailboxForm(RecipientForm):
    """A mailbox with its limits (QL-6)."""

    max_send_bytes = SizeLimitField(
        read=configuration.mailbox_size,
        label=gettext_lazy("Largest message sent"),
        help_text=gettext_lazy("Unlimited: the limit of the organisation alone."),
    )
    max_receive_bytes = SizeLimitField(
        read=configuration.mailbox_size,
        label=gettext_lazy("Largest message received"),
        help_text=gettext_lazy("Unlimited: the limit of the organisation alone."),
    )

    class Meta:
        model = Mailbox
        fields = ("name", "primary_address", "language", *LIMITS)


class ContactForm(RecipientForm):
    """A contact needs an external address of a known form."""

    class Meta:
        model = Contact
        fields = ("name", "primary_address", "external_address")

    def clean_external_address(self) -> str:
        with shown_at():
            return recipient_configuration.check_external(
                DirectoryKind.CONTACT, str(self.cleaned_data["external_address"])
            )


class RecipientAdmin(LabelledAdmin):
    """What mailboxes and contacts share; the primary address is kept among the proxies (RT-2)."""

    kind = DirectoryKind.MAILBOX
    inlines = (ProxyInline,)
    list_display: tuple[str, ...] = ("name", "primary_address")
    search_fields = ("name", "primary_address")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.kind = self.kind
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        recipient_configuration.announce(form.instance)

    def delete_model(self, request: HttpRequest, obj: DirectoryRecipient) -> None:
        recipient_configuration.remove(obj)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[DirectoryRecipient]) -> None:
        for recipient in queryset:
            recipient_configuration.remove(recipient)


@admin.register(Mailbox)
class MailboxAdmin(RecipientAdmin):
    kind = DirectoryKind.MAILBOX
    form = MailboxForm


@admin.register(Contact)
class ContactAdmin(RecipientAdmin):
    kind = DirectoryKind.CONTACT
    form = ContactForm
    list_display = ("name", "primary_address", "external_address")
