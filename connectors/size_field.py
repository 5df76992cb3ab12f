"""SizeField and SizeLimitField: form fields for sizes as people write them: 2GB, 1500B, unlimited (FC-7, QL-21)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.boundfield import BoundField

from connectors import display
from connectors.errors import ConfigurationError
from connectors.mail.sizes import SizeError, format_size, parse_size


class SizeField(forms.CharField):
    """Shows and reads a size; its value is bytes, or None for unlimited. `read` raises FC-E7 with the range."""

    def __init__(self, *, read: Callable[[str], int | None], **kwargs: Any) -> None:  # Any: Django's options
        super().__init__(max_length=40, required=False, **kwargs)
        self._read = read

    def prepare_value(self, value: object) -> object:
        """Return what the input shows: text that was typed as it is, a stored size in its shortest form."""
        return format_size(value) if value is None or isinstance(value, int) else value

    def clean(self, value: object) -> Any:
        """Return bytes or None; an empty field is unlimited."""
        text = str(value or "").strip()
        try:
            return self._read(text or "unlimited")
        except ConfigurationError as error:
            raise ValidationError(str(error), code=error.code) from error

    def has_changed(self, initial: object, data: object) -> bool:
        """Tell whether the size differs, however it is written."""
        try:
            return bool(self.clean(data) != initial)
        except ValidationError:
            return True


class SizeLimitField(SizeField):
    """A limit of message size: its help says how much attachment the present limit admits (QL-21)."""

    def get_bound_field(self, form: forms.BaseForm, field_name: str) -> BoundField:
        """Return the field as a form shows it, with both numbers under it."""
        bound: BoundField = super().get_bound_field(form, field_name)
        value = bound.value()
        try:
            size = value if value is None or isinstance(value, int) else parse_size(str(value) or "unlimited")
        except SizeError:
            size = None
        bound.help_text = f"{self.help_text} {display.attachments(size)}".strip()
        return bound
