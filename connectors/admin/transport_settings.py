"""Admin of the transport settings of a server, on the server's own page (queues-dsn 2.1, QX-4)."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from connectors import node_configuration
from connectors.models import TransportSettings
from connectors.timespan_field import TimeSpanField

_FIELDSETS = (
    (
        gettext_lazy("When a connector fails"),
        (
            "glitch_retry_count",
            "glitch_retry_interval",
            "transient_retry_count",
            "transient_retry_interval",
            "outbound_retry_interval",
            "mailbox_retry_interval",
            "message_retry_interval",
            "max_idle_before_resubmit",
        ),
    ),
    (gettext_lazy("Giving up"), ("message_expiration", "expire_suspended", "mailbox_full_grace")),
    (gettext_lazy("Order"), ("priority_queuing",)),
    (gettext_lazy("Messages that stop the service"), ("poison_detection", "poison_threshold")),
    (gettext_lazy("Keeping"), ("queue_max_idle", "safety_net_hold")),
)


class TransportSettingsForm(forms.ModelForm):
    """The retries must be over before a delay is told (QR-31)."""

    class Meta:
        model = TransportSettings
        fields = [name for _title, names in _FIELDSETS for name in names]

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        names = ("transient_retry_count", "transient_retry_interval")
        if all(data.get(name) is not None for name in names):
            problem = node_configuration.delay_problem(TransportSettings(**{name: data[name] for name in names}))
            if problem is not None:
                self.add_error("transient_retry_interval", forms.ValidationError(problem, code="NODE_SETTING_INVALID"))
        return data


class TransportSettingsInline(admin.StackedInline):
    """The one row of a server; until it is changed the defaults apply without one."""

    model = TransportSettings
    form = TransportSettingsForm
    fieldsets = tuple((title, {"fields": names}) for title, names in _FIELDSETS)
    can_delete = False

    def formfield_for_dbfield(self, db_field: models.Field, request: HttpRequest, **kwargs: Any) -> Any:
        if isinstance(db_field, models.DurationField):
            kwargs["form_class"] = TimeSpanField
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and field.label:
            field.widget.attrs.setdefault("aria-label", str(field.label))
        return field
