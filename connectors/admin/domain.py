"""Admin of accepted domains (RT-5, RT-6, IM-8)."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest

from connectors import domain_configuration
from connectors.admin.labelled import LabelledAdmin, shown_at
from connectors.errors import ConfigurationError
from connectors.models import AcceptedDomain


class AcceptedDomainForm(forms.ModelForm):
    """An accepted domain; its name and the one default are checked like everywhere else."""

    class Meta:
        model = AcceptedDomain
        fields = ("domain", "kind", "is_default", "accepts_imcea")

    def clean_domain(self) -> str:
        with shown_at():
            return domain_configuration.check_domain(self.cleaned_data["domain"], besides=self.instance.pk)

    def clean_is_default(self) -> bool:
        wanted = bool(self.cleaned_data["is_default"])
        if self.instance.pk and not wanted:
            with shown_at():
                domain_configuration.check_default_stays(self.instance.pk)
        return wanted

    def _get_validation_exclusions(self) -> set[str]:
        # The old default steps back when the new one is saved, so its constraint is not asked here.
        exclusions: set[str] = super()._get_validation_exclusions()
        return exclusions | {"is_default"}


@admin.register(AcceptedDomain)
class AcceptedDomainAdmin(LabelledAdmin):
    form = AcceptedDomainForm
    list_display = ("domain", "kind", "is_default", "accepts_imcea")

    def save_model(self, request: HttpRequest, obj: AcceptedDomain, form: Any, change: bool) -> None:
        domain_configuration.save(obj)

    def has_delete_permission(self, request: HttpRequest, obj: AcceptedDomain | None = None) -> bool:
        """Keep the default domain while there are others."""
        if obj is not None and obj.is_default and AcceptedDomain.objects.exclude(pk=obj.pk).exists():
            return False
        return super().has_delete_permission(request, obj)

    def delete_model(self, request: HttpRequest, obj: AcceptedDomain) -> None:
        domain_configuration.remove(obj)

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[AcceptedDomain]) -> None:
        for domain in queryset.order_by("is_default"):  # the default last: it goes only when no other is left
            try:
                domain_configuration.remove(domain)
            except ConfigurationError as error:
                messages.error(request, str(error))
