"""Django admin of notices: settings, switches of domains outside, the administrator's texts (DSN-13, DSN-50, DSN-52)."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from connectors import configuration, node_configuration, remote_domains
from connectors.admin.labelled import LabelledAdmin, shown_at
from connectors.mail import notice_markup
from connectors.mail.address import is_valid_domain
from connectors.mail.notice_markup import MarkupError
from connectors.mail.timespan import format_timespan
from connectors.models import NoticeSettings, NoticeText, RemoteDomain
from connectors.size_field import SizeLimitField
from connectors.timespan_field import TimeSpanField

_AUDIENCE_FIELDS = (
    "language",
    "language_detection",
    "send_html",
    "max_attach_bytes",
    "reporting_authority",
    "postmaster_address",
    "delay_enabled",
)


_FIELDSETS = (
    (gettext_lazy("Notices to people in our domains"), [f"internal_{name}" for name in _AUDIENCE_FIELDS]),
    (
        gettext_lazy("Notices to people outside"),
        [
            *(f"external_{name}" for name in _AUDIENCE_FIELDS),
            "external_failure_enabled",
            "external_reports_enabled",
            "external_diagnostics_enabled",
        ],
    ),
    (gettext_lazy("Waiting"), ["delay_after"]),
    (gettext_lazy("Copies for administrators"), ["monitoring_address", "copy_codes"]),
)


def _returned(label: Promise) -> SizeLimitField:
    help_text = gettext_lazy(
        "For example 10MB. A larger original is not returned whole, its header alone is; 0 never returns the whole message."
    )
    initial = NoticeSettings._meta.get_field("internal_max_attach_bytes").default
    return SizeLimitField(read=_returned_size, initial=initial, label=label, help_text=help_text)


def _returned_size(text: str) -> int:
    """Read a size that must have a limit (QL-13)."""
    size = configuration.returned_size(text)
    return configuration.LARGEST_RETURNED if size is None else size


class NoticeSettingsForm(forms.ModelForm):
    """The delay must outlast the first retries, or every hiccup would be told (QR-31)."""

    internal_max_attach_bytes = _returned(gettext_lazy("Largest returned original, internal"))
    external_max_attach_bytes = _returned(gettext_lazy("Largest returned original, external"))

    class Meta:
        model = NoticeSettings
        fields = [name for _title, names in _FIELDSETS for name in names]
        field_classes = {"delay_after": TimeSpanField}

    def clean_internal_reporting_authority(self) -> str:
        return self._domain("internal_reporting_authority")

    def clean_external_reporting_authority(self) -> str:
        return self._domain("external_reporting_authority")

    def _domain(self, name: str) -> str:
        domain = str(self.cleaned_data[name])
        if domain and not is_valid_domain(domain):
            raise ValidationError(_("“%(domain)s” is not a domain name.") % {"domain": domain})
        return domain

    def clean_delay_after(self) -> Any:
        delay = self.cleaned_data["delay_after"]
        least = node_configuration.longest_first_retries()
        if delay <= least:
            raise ValidationError(
                _("Wait longer than the first retries take: more than %(time)s.") % {"time": format_timespan(least)}
            )
        return delay


@admin.register(NoticeSettings)
class NoticeSettingsAdmin(LabelledAdmin):
    form = NoticeSettingsForm
    fieldsets = tuple((title, {"fields": tuple(names)}) for title, names in _FIELDSETS)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and not NoticeSettings.objects.exists()

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Open the one row; the defaults become a row the first time somebody may save them."""
        row = NoticeSettings.objects.order_by("pk").first()
        if row is not None:
            return HttpResponseRedirect(reverse("admin:connectors_noticesettings_change", args=[row.pk]))
        if self.has_add_permission(request):
            return HttpResponseRedirect(reverse("admin:connectors_noticesettings_add"))
        return super().changelist_view(request, extra_context)


class NoticeTextForm(forms.ModelForm):
    """A text with the allowed tags alone (DSN-52)."""

    class Meta:
        model = NoticeText
        fields = ("code", "language", "audience", "text")
        widgets = {"text": forms.Textarea(attrs={"rows": 4, "maxlength": notice_markup.MAX_LENGTH})}

    def clean_text(self) -> str:
        text = str(self.cleaned_data["text"])
        try:
            notice_markup.clean(text)
        except MarkupError as error:
            raise ValidationError(
                _('%(found)s is not allowed here; use <b>, <em>, <a href="https://…">, <br> and <p> alone.')
                % {"found": error.offender}
            ) from error
        return text


@admin.register(NoticeText)
class NoticeTextAdmin(LabelledAdmin):
    form = NoticeTextForm
    list_display = ("code", "language", "audience", "text")
    list_filter = ("language", "audience")
    search_fields = ("code", "text")


class RemoteDomainForm(forms.ModelForm):
    """A domain outside; its name is checked like everywhere else."""

    class Meta:
        model = RemoteDomain
        fields = ("domain", *remote_domains.SWITCHES.values())

    def clean_domain(self) -> str:
        with shown_at():
            return remote_domains.check_domain(self.cleaned_data["domain"], besides=self.instance.pk)


@admin.register(RemoteDomain)
class RemoteDomainAdmin(LabelledAdmin):
    form = RemoteDomainForm
    list_display = ("domain", *remote_domains.SWITCHES.values())
    search_fields = ("domain",)
