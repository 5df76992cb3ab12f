"""Admin of servers: directories, limits and rates, with what a changed path leaves behind (PU-22)."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.translation import gettext_lazy, ngettext

from connectors import configuration, node_configuration, watched
from connectors.admin.labelled import LabelledAdmin, shown_at
from connectors.admin.transport_settings import TransportSettingsInline
from connectors.errors import ConfigurationError
from connectors.models import Node, SubmitterAddress
from connectors.size_field import SizeField, SizeLimitField


def _header_size(text: str) -> int | None:
    return configuration.size_in_range(text, low=32_768, high=2_147_483_647, shown_range="32KB – 2147483647B")


class NodeForm(forms.ModelForm):
    """A server; under each path stands how many files would stay there if it were changed."""

    pickup_max_header_bytes = SizeField(
        read=_header_size,
        initial=Node._meta.get_field("pickup_max_header_bytes").default,
        label=gettext_lazy("Pickup header size"),
        help_text=gettext_lazy("32KB to 2147483647B, for example 64KB. A larger header is returned to the sender."),
    )
    max_message_bytes = SizeLimitField(
        read=configuration.organisation_size,
        initial=Node._meta.get_field("max_message_bytes").default,
        label=gettext_lazy("Largest message"),
        help_text=gettext_lazy("Organisation limit, for example 10MB, or unlimited."),
    )
    max_receive_bytes = SizeLimitField(
        read=configuration.organisation_size,
        initial=Node._meta.get_field("max_receive_bytes").default,
        label=gettext_lazy("Largest message to a mailbox"),
        help_text=gettext_lazy("Organisation limit for mailboxes here, for example 10MB, or unlimited."),
    )

    class Meta:
        model = Node
        fields = (
            "name",
            "fqdn",
            "site",
            "pickup_directory_path",
            "replay_directory_path",
            "pickup_max_messages_per_minute",
            "replay_max_messages_per_minute",
            "pickup_max_header_bytes",
            "pickup_max_recipients",
            "max_message_bytes",
            "max_receive_bytes",
            "max_recipients",
            "max_hops",
            "max_local_hops",
            "settle_seconds",
            "unstuff_dots",
            "replay_unstuff_dots",
            "honour_x_receiver",
            "write_bad_txt",
            "trusted_uids",
            "root_drop_directory_path",
            "mailbox_directory_path",
            "is_draining",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for column in ("pickup_directory_path", "replay_directory_path"):
            count = watched.waiting_files(getattr(self.instance, column))
            if count and column in self.fields:
                text = ngettext(
                    "%(count)d file lies there now; after a change of the path it is neither moved nor processed.",
                    "%(count)d files lie there now; after a change of the path they are neither moved nor processed.",
                    count,
                )
                self.fields[column].help_text = f"{self.fields[column].help_text} {text % {'count': count}}"

    def clean_pickup_max_header_bytes(self) -> int:
        size = self.cleaned_data["pickup_max_header_bytes"]
        if size is None:
            raise forms.ValidationError(_header_range(), code="SIZE_RANGE")
        return int(size)

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        candidate = Node(**{name: value for name, value in data.items() if value is not None})
        problem = node_configuration.path_problem(candidate)
        if problem is not None:
            self.add_error(problem[0], forms.ValidationError(problem[1], code="NODE_SETTING_INVALID"))
        elif self.instance.pk and "root_drop_directory_path" in data:
            candidate.pk = self.instance.pk
            with shown_at("root_drop_directory_path"):
                node_configuration.check_drop_directories(candidate)
        return data


def _header_range() -> str:
    """Return FC-E7's text for a header size that must have a limit."""
    try:
        _header_size("?")
    except ConfigurationError as error:
        return str(error)
    return ""


class SubmitterInline(admin.TabularInline):
    """Which senders a local user may use in Pickup (PU-66, A-26)."""

    model = SubmitterAddress
    extra = 0


@admin.register(Node)
class NodeAdmin(LabelledAdmin):
    form = NodeForm
    inlines = (TransportSettingsInline, SubmitterInline)
    list_display = ("name", "site", "pickup_directory_path", "replay_directory_path")

    def save_model(self, request: HttpRequest, obj: Node, form: Any, change: bool) -> None:
        before = Node.objects.filter(pk=obj.pk).first()
        super().save_model(request, obj, form, change)
        for text in node_configuration.announce(before, obj):
            messages.warning(request, text)
