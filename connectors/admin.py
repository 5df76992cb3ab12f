"""Django admin of the configuration: every change goes through `configuration` and is audited."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from connectors import configuration, drop_directory, notice_admin, watched
from connectors.admin_labels import LabelledAdmin
from connectors.choices import DirectoryKind
from connectors.errors import ConfigurationError
from connectors.mail.address import AddressSyntaxError, TypedAddress, parse_typed
from connectors.mail.address_space import AddressSpaceError, parse_entry
from connectors.models import (
    AcceptedDomain,
    AddressSpace,
    ConfigGeneration,
    Contact,
    DirectoryRecipient,
    ForeignConnector,
    Mailbox,
    Node,
    ProxyAddress,
    proxy_key,
)


class AddressSpaceForm(forms.ModelForm):
    """One address space; refused with the rule it breaks (FC-E5, FC-E6)."""

    class Meta:
        model = AddressSpace
        fields = ("type", "space", "cost")

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if self.errors:
            return data
        try:
            space = parse_entry(f"{data['type']}:{data['space']};{data['cost']}")
        except AddressSpaceError as error:
            raise ValidationError(f"{error} ({error.rule})", code=error.code) from error
        data["type"] = space.type
        data["space"] = space.space
        self.instance.key = space.key
        return data


class AddressSpaceInline(admin.TabularInline):
    model = AddressSpace
    form = AddressSpaceForm
    fk_name = "connector"
    extra = 0
    min_num = 1
    validate_min = True


class ForeignConnectorForm(forms.ModelForm):
    """A foreign connector; name and paths are checked like everywhere else."""

    class Meta:
        model = ForeignConnector
        fields = (
            "name",
            "enabled",
            "is_held",
            "source_transport_servers",
            "is_scoped_connector",
            "drop_directory",
            "drop_directory_quota",
            "max_message_bytes",
            "relay_dsn_required",
            "one_recipient_per_file",
            "comment",
        )

    def clean_name(self) -> str:
        besides = self.instance if self.instance.pk else None
        try:
            name = configuration.check_name(self.cleaned_data["name"], besides=besides)
        except ConfigurationError as error:
            raise ValidationError(str(error), code=error.code) from error
        self.instance.name_key = configuration.name_key(name)
        return name

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        candidate = ForeignConnector(name=data.get("name", ""), drop_directory=data.get("drop_directory", ""))
        for node in data.get("source_transport_servers") or ():
            try:
                drop_directory.effective_path(candidate, node)
            except ConfigurationError as error:
                raise ValidationError({"drop_directory": str(error)}, code=error.code) from error
        return data


@admin.register(ForeignConnector)
class ForeignConnectorAdmin(LabelledAdmin):
    form = ForeignConnectorForm
    inlines = (AddressSpaceInline,)
    list_display = ("name", "enabled", "is_held", "spaces", "directory")
    search_fields = ("name",)
    filter_horizontal = ("source_transport_servers",)
    actions = ("test_directory", "create_directory")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("address_spaces", "source_transport_servers")

    @admin.display(description=gettext_lazy("address spaces"))
    def spaces(self, connector: ForeignConnector) -> str:
        return ", ".join(str(space) for space in connector.address_spaces.all())

    @admin.display(description=gettext_lazy("drop directory"))
    def directory(self, connector: ForeignConnector) -> str:
        paths = set()
        for node in connector.source_transport_servers.all():
            try:
                paths.add(str(drop_directory.effective_path(connector, node)))
            except ConfigurationError as error:
                paths.add(str(error))
        return ", ".join(sorted(paths))

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        ConfigGeneration.bump(form.instance)
        for warning in configuration.warnings(form.instance):
            messages.warning(request, warning.text)

    def delete_model(self, request: HttpRequest, obj: ForeignConnector) -> None:
        configuration.remove(obj)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[ForeignConnector]) -> None:
        for connector in queryset:
            configuration.remove(connector)

    @admin.action(description=gettext_lazy("Test directory"), permissions=["change"])
    def test_directory(self, request: HttpRequest, queryset: models.QuerySet[ForeignConnector]) -> None:
        levels = {"ok": messages.SUCCESS, "warn": messages.WARNING, "fail": messages.ERROR}
        for connector in queryset:
            for node in connector.source_transport_servers.all():
                for step in drop_directory.check(connector, node):
                    self.message_user(request, f"{connector}: {step.text} {step.cure}".strip(), levels[step.state])

    @admin.action(description=gettext_lazy("Create directory"), permissions=["change"])
    def create_directory(self, request: HttpRequest, queryset: models.QuerySet[ForeignConnector]) -> None:
        for connector in queryset:
            for node in connector.source_transport_servers.all():
                try:
                    path = drop_directory.create(connector, node)
                except (OSError, ConfigurationError) as error:
                    self.message_user(request, f"{connector}: {error}", messages.ERROR)
                else:
                    self.message_user(request, _("%(path)s is there.") % {"path": path}, messages.SUCCESS)


@admin.register(Node)
class NodeAdmin(LabelledAdmin):
    list_display = ("name", "site", "pickup_directory_path", "replay_directory_path")

    def save_model(self, request: HttpRequest, obj: Node, form: Any, change: bool) -> None:
        before = Node.objects.filter(pk=obj.pk).first()
        super().save_model(request, obj, form, change)
        ConfigGeneration.bump()
        for text in watched.left_behind(before, obj):
            messages.warning(request, text)
        for path in (obj.pickup_directory_path, obj.replay_directory_path):
            for text in watched.problems(path):
                messages.warning(request, text)


@admin.register(AcceptedDomain)
class AcceptedDomainAdmin(LabelledAdmin):
    list_display = ("domain", "kind", "is_default", "accepts_imcea")

    def save_model(self, request: HttpRequest, obj: AcceptedDomain, form: Any, change: bool) -> None:
        if obj.is_default:
            for other in AcceptedDomain.objects.filter(is_default=True).exclude(pk=obj.pk):
                other.is_default = False
                other.save(update_fields=["is_default"])
        super().save_model(request, obj, form, change)
        ConfigGeneration.bump()

    def delete_model(self, request: HttpRequest, obj: AcceptedDomain) -> None:
        super().delete_model(request, obj)
        ConfigGeneration.bump()


class ProxyForm(forms.ModelForm):
    """One proxy address; its look-up key is computed."""

    class Meta:
        model = ProxyAddress
        fields = ("type", "address")

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            data["type"] = data["type"].upper()
            self.instance.key = proxy_key(TypedAddress(type=data["type"], value=data["address"]))
        return data


class ProxyInline(admin.TabularInline):
    model = ProxyAddress
    form = ProxyForm
    extra = 0


class RecipientAdmin(LabelledAdmin):
    """What mailboxes and contacts share; the primary address is kept among the proxies (RT-2)."""

    kind = DirectoryKind.MAILBOX
    inlines = (ProxyInline,)
    list_display: tuple[str, ...] = ("name", "primary_address")
    search_fields = ("name", "primary_address")
    fields: tuple[str, ...] = ("name", "primary_address")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.kind = self.kind
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        primary = form.instance.primary_address
        key = proxy_key(TypedAddress(type="SMTP", value=primary))
        owner = DirectoryRecipient.objects.get(pk=form.instance.pk)
        if not owner.proxies.filter(key=key).exists():
            ProxyAddress.objects.create(recipient=owner, type="SMTP", address=primary, key=key)
        ConfigGeneration.bump()


@admin.register(Mailbox)
class MailboxAdmin(RecipientAdmin):
    kind = DirectoryKind.MAILBOX
    fields = ("name", "primary_address", "language", "max_send_bytes", "max_receive_bytes", "max_recipients")


class ContactForm(forms.ModelForm):
    """A contact needs an external address of a known form."""

    class Meta:
        model = Contact
        fields = ("name", "primary_address", "external_address")

    def clean_external_address(self) -> str:
        text = str(self.cleaned_data["external_address"])
        try:
            address = parse_typed(text)
        except AddressSyntaxError as error:
            raise ValidationError(_("Write TYPE:address, e.g. FAX:5551234, or an SMTP address.")) from error
        return str(address)


@admin.register(Contact)
class ContactAdmin(RecipientAdmin):
    kind = DirectoryKind.CONTACT
    form = ContactForm
    fields = ("name", "primary_address", "external_address")
    list_display = ("name", "primary_address", "external_address")


__all__ = ["notice_admin"]  # registers itself
