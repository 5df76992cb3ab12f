"""Admin of foreign connectors: validation (FC-E1 to FC-E11), warnings, directory actions, and what is routed again (RT-52)."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from connectors import configuration, drop_directory, rerouting
from connectors.admin.labelled import LabelledAdmin, shown_at
from connectors.errors import ConfigurationError
from connectors.mail.address_space import AddressSpaceError, parse_entry
from connectors.models import AddressSpace, ForeignConnector
from connectors.rerouting import Forecast
from connectors.size_field import SizeField, SizeLimitField

CONFIRM = "confirm_reroute"  # posted by the page that shows the forecast


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


class AddressSpaceFormSet(forms.BaseInlineFormSet):
    """All address spaces of a connector: at least one, none twice (FC-E4, AS-8)."""

    def clean(self) -> None:
        super().clean()
        if any(self.errors):
            return
        entries = [
            f"{form.cleaned_data['type']}:{form.cleaned_data['space']};{form.cleaned_data['cost']}"
            for form in self.forms
            if form.cleaned_data and not form.cleaned_data.get("DELETE")
        ]
        with shown_at():
            configuration.parse_spaces(entries)


class AddressSpaceInline(admin.TabularInline):
    model = AddressSpace
    form = AddressSpaceForm
    formset = AddressSpaceFormSet
    fk_name = "connector"
    extra = 0
    min_num = 1


class ForeignConnectorForm(forms.ModelForm):
    """A foreign connector; name, sizes and paths are checked like everywhere else."""

    max_message_bytes = SizeLimitField(
        read=configuration.message_size,
        label=gettext_lazy("Largest message"),
        help_text=gettext_lazy(
            "For example 10MB, or unlimited. 0 lets nothing through: disable the connector instead."
        ),
    )
    drop_directory_quota = SizeField(
        read=configuration.quota_size,
        label=gettext_lazy("Drop directory quota"),
        help_text=gettext_lazy("For example 2GB, or unlimited. Nothing is written while the files there reach it."),
    )

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
            "collect_within_minutes",
            "comment",
        )
        help_texts = {"comment": gettext_lazy("For administrators; it is shown in the list of connectors.")}

    def clean_name(self) -> str:
        besides = self.instance if self.instance.pk else None
        with shown_at():
            name = configuration.check_name(self.cleaned_data["name"], besides=besides)
        self.instance.name_key = configuration.name_key(name)
        return name

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if "name" in data and "drop_directory" in data:
            candidate = ForeignConnector(
                pk=self.instance.pk,
                name=data["name"],
                drop_directory=data["drop_directory"],
                enabled=data.get("enabled", False),
            )
            with shown_at("drop_directory"):
                configuration.check_paths(candidate, nodes=list(data.get("source_transport_servers") or ()))
        return data


class NeedsConfirmation(Exception):
    """Raised inside the transaction of a save that reroutes messages and was not confirmed: it is rolled back."""

    def __init__(self, connector: ForeignConnector, forecast: Forecast) -> None:
        super().__init__(connector.name)
        self.connector = connector
        self.forecast = forecast


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

    def changeform_view(
        self, request: HttpRequest, object_id: str | None = None, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Save, or show first how many messages that would route again (RT-52)."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except NeedsConfirmation as pause:
            fields = [(name, value) for name, values in request.POST.lists() for value in values]
            context = {
                **self.admin_site.each_context(request),
                "title": _("Route waiting messages again?"),
                "opts": self.opts,
                "connector": pause.connector,
                "sentences": pause.forecast.sentences(),
                "fields": [(name, value) for name, value in fields if name != "csrfmiddlewaretoken"],
                "confirm": CONFIRM,
            }
            return TemplateResponse(request, "admin/connectors/confirm_reroute.html", context)

    def save_model(self, request: HttpRequest, obj: ForeignConnector, form: Any, change: bool) -> None:
        form.facts_before = configuration.routing_facts(obj) if change else None
        form.old_name = ForeignConnector.objects.get(pk=obj.pk).name if change else ""
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        connector = form.instance
        if change and CONFIRM not in request.POST:
            forecast = rerouting.after(connector, before=form.facts_before)
            if forecast.waiting:
                raise NeedsConfirmation(connector, forecast)
        configuration.announce(connector, before=form.facts_before, old_name=form.old_name)
        for warning in configuration.warnings(connector, old_name=form.old_name):
            text: str = warning.text
            if warning.code.startswith("DROP_DIR_") and warning.code != "DROP_DIR_RENAMED":
                url = reverse("drop-directory", args=[connector.pk])
                text = format_html('{} <a href="{}">{}</a>', text, url, _("Open the drop directory"))
            messages.warning(request, text)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """List the messages that would be routed again beside what is deleted (FC-22)."""
        to_delete, counts, perms_needed, protected = super().get_deleted_objects(objs, request)
        said = [
            f"{connector}: {sentence}" for connector in objs for sentence in rerouting.of_removal(connector).sentences()
        ]
        return [*said, *to_delete], counts, perms_needed, protected

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
