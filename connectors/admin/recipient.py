"""Admin of mailboxes, contacts and groups with their proxy addresses (RT-2 to RT-4, MT-K, DSN-11)."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy

from connectors import audit, configuration, recipient_configuration
from connectors.admin.labelled import LabelledAdmin, Unchangeable, shown_at
from connectors.choices import DirectoryKind, GroupReports
from connectors.mail.address import TypedAddress
from connectors.models import Contact, DirectoryRecipient, Group, Mailbox, ProxyAddress, proxy_key
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


class GroupForm(RecipientForm):
    """A group, its members and who hears of them (DSN-11)."""

    class Meta:
        model = Group
        fields = ("name", "primary_address", "members", "reports_to", "manager")

    def clean_members(self) -> models.QuerySet[DirectoryRecipient]:
        members: models.QuerySet[DirectoryRecipient] = self.cleaned_data["members"]
        with shown_at():
            recipient_configuration.check_members(self.instance, members)
        return members

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if "manager" in data and "reports_to" in data:
            with shown_at("manager"):
                recipient_configuration.check_reports(data["reports_to"], data["manager"])
        return data


class RecipientAdmin(LabelledAdmin):
    """What mailboxes, contacts and groups share; the primary address is kept among the proxies (RT-2)."""

    kind = DirectoryKind.MAILBOX
    inlines = (ProxyInline,)
    list_display: tuple[str, ...] = ("name", "primary_address")
    search_fields = ("name", "primary_address")
    readonly_fields = ("member_of",)

    @admin.display(description=gettext_lazy("member of"))
    def member_of(self, recipient: DirectoryRecipient) -> SafeString | str:
        groups = recipient.groups.order_by("name") if recipient.pk else ()
        links = [(reverse("admin:connectors_group_change", args=[group.pk]), str(group)) for group in groups]
        return format_html_join(", ", '<a href="{}">{}</a>', links) or "–"

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Leave out the groups of somebody who is not there yet."""
        fields = list(super().get_fields(request, obj))
        return fields if obj is not None else [name for name in fields if name != "member_of"]

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


@admin.register(Group)
class GroupAdmin(RecipientAdmin):
    kind = DirectoryKind.GROUP
    form = GroupForm
    list_display = ("name", "primary_address", "member_count", "notices_go_to")
    list_select_related = ("manager",)
    autocomplete_fields = ("members", "manager")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        groups: models.QuerySet[Any] = super().get_queryset(request).annotate(_members=models.Count("members"))
        return groups

    @admin.display(description=gettext_lazy("members"), ordering="_members")
    def member_count(self, group: Any) -> int:  # Any: a group with its count
        return int(group._members)

    @admin.display(description=gettext_lazy("notices go to"), ordering="reports_to")
    def notices_go_to(self, group: Group) -> str:
        if group.reports_to == GroupReports.MANAGER and group.manager is not None:
            return str(group.manager)
        return str(group.get_reports_to_display())

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        form.members_before = recipient_configuration.members_of(obj) if change else []
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        after = recipient_configuration.members_of(form.instance)
        audit.list_changed(form.instance, "members", before=form.members_before, after=after)


@admin.register(DirectoryRecipient)
class AnyRecipientAdmin(Unchangeable):
    """Whom a group can have as members and manager: searched by the fields of its form; pages are those of the kinds."""

    search_fields = ("name", "primary_address", "proxies__address")
    ordering = ("name", "pk")

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return redirect("admin:connectors_group_changelist")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        kinds = (
            DirectoryRecipient.objects.filter(pk=object_id).values_list("kind", flat=True)
            if object_id.isdigit()
            else ()
        )
        if not kinds:
            raise Http404
        page = reverse(f"admin:connectors_{kinds[0]}_change", args=[object_id])
        return redirect(f"{page}?{request.GET.urlencode()}")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return any(request.user.has_perm(f"connectors.{verb}_group") for verb in ("add", "change", "view"))
