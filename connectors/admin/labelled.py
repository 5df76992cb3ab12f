"""What all pages of the admin share: fields named for screen readers, configuration errors shown at their field."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst

from connectors.errors import ConfigurationError


class Titled(admin.ModelAdmin):
    """Gives a list the name of what it lists as its title."""

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        title = {"title": capfirst(self.opts.verbose_name_plural)}
        return super().changelist_view(request, title | (extra_context or {}))


class LabelledAdmin(Titled):
    """Gives every widget a name that screen readers say."""

    def formfield_for_dbfield(self, db_field: models.Field, request: HttpRequest, **kwargs: Any) -> Any:
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field is not None and field.label:
            field.widget.attrs.setdefault("aria-label", str(field.label))
        return field


@contextmanager
def shown_at(field: str = "") -> Iterator[None]:
    """Turn a ConfigurationError into a ValidationError with its code, at `field` or at the form."""
    try:
        yield
    except ConfigurationError as error:
        inner = ValidationError(str(error), code=error.code)
        raise (ValidationError({field: inner}) if field else inner) from error
