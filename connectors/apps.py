"""App configuration of connectors; registers the system checks and the audited models, nothing else."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class ConnectorsConfig(AppConfig):
    name = "connectors"
    verbose_name = _("Connectors and transport")

    def ready(self) -> None:
        from auditlog.registry import auditlog

        from connectors import checks, models  # noqa: F401 (importing registers the checks)

        for model in models.AUDITED:
            lists = {field.name for field in model._meta.many_to_many}
            auditlog.register(model, m2m_fields=lists - {"members"})  # those of groups: recipient_configuration
