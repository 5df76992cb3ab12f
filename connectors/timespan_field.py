"""TimeSpanField: a form field for times as Exchange writes them, `[d.]hh:mm:ss`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from connectors.mail.timespan import TimeSpanError, format_timespan, parse_timespan


class TimeSpanField(forms.CharField):
    """Shows and reads a time; its value is a timedelta."""

    def prepare_value(self, value: object) -> object:
        """Return what the input shows: text that was typed as it is, a stored time in Exchange's form."""
        return format_timespan(value) if isinstance(value, timedelta) else value

    def to_python(self, value: object) -> Any:  # Any: Django's signature, a timedelta here
        """Return the time; raises ValidationError for another form."""
        if isinstance(value, timedelta):
            return value
        try:
            return parse_timespan(str(value or ""))
        except TimeSpanError as error:
            raise ValidationError(_("Write a time as [d.]hh:mm:ss, for example 00:05:00."), code="invalid") from error

    def has_changed(self, initial: object, data: object) -> bool:
        """Tell whether the time differs, however it is written."""
        try:
            return bool(self.to_python(data) != initial)
        except ValidationError:
            return True
