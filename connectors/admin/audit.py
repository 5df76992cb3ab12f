"""Admin of the audit trail: who did what to which object and why; read-only, in the reader's language (QO-12)."""

from __future__ import annotations

from typing import Any

from auditlog import admin as auditlog_admin  # registers its own page first
from auditlog.models import LogEntry
from auditlog.render import get_field_verbose_name
from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from connectors.admin.labelled import LabelledAdmin
from connectors.choices import JobScope, Verb

assert auditlog_admin
admin.site.unregister(LogEntry)

_DONE: dict[int, Promise] = {
    LogEntry.Action.CREATE: gettext_lazy("created"),
    LogEntry.Action.UPDATE: gettext_lazy("changed"),
    LogEntry.Action.DELETE: gettext_lazy("deleted"),
    LogEntry.Action.ACCESS: gettext_lazy("read"),
}
_FACTS: dict[str, Promise] = {
    "verb": gettext_lazy("operation"),
    "scope": gettext_lazy("about"),
    "reason": pgettext_lazy("of a person", "Reason"),
    "queue": gettext_lazy("queue"),
    "filter": pgettext_lazy("noun", "Filter"),
    "directory": gettext_lazy("directory"),
    "total": gettext_lazy("messages"),
    "changed": gettext_lazy("changed"),
    "unchanged": gettext_lazy("left as they were"),
    "failed": gettext_lazy("failed"),
    "why": gettext_lazy("why"),
    "actor": gettext_lazy("by"),
    "unix_user": gettext_lazy("user of the server"),
    "command": gettext_lazy("command"),
}
_SHORT = ("verb", "reason", "total")


def _value(name: str, value: object) -> str:
    """Return a stored fact in words."""
    if name == "verb":
        return str(Verb(value).label) if value in Verb.values else _("create the directory")
    if name == "scope":
        return str(JobScope(value).label) if value in JobScope.values else str(value)
    return str(value)


class DoneFilter(admin.SimpleListFilter):
    """Entries of one kind of action."""

    title = gettext_lazy("action")
    parameter_name = "done"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(action), str(word)) for action, word in _DONE.items()]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[LogEntry]) -> models.QuerySet[LogEntry]:
        value = self.value() or ""
        return queryset.filter(action=int(value)) if value.isdecimal() else queryset


class KindFilter(admin.SimpleListFilter):
    """Entries about one kind of object; only kinds there are entries about."""

    title = gettext_lazy("object")
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        kinds = ContentType.objects.filter(pk__in=LogEntry.objects.values("content_type"))
        return sorted(((str(kind.pk), kind.name) for kind in kinds), key=lambda pair: pair[1])

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[LogEntry]) -> models.QuerySet[LogEntry]:
        value = self.value() or ""
        return queryset.filter(content_type=int(value)) if value.isdecimal() else queryset


@admin.register(LogEntry)
class AuditAdmin(LabelledAdmin):
    date_hierarchy = "timestamp"
    list_select_related = ("content_type", "actor")
    list_display = ("when", "who", "done", "object", "summary")
    list_filter = (DoneFilter, KindFilter)
    search_fields = ("object_repr", "actor__username")
    fields = ("when", "who", "done", "object", "changes_told", "facts")
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show an entry under a title in the reader's language."""
        entry = self.get_object(request, object_id)
        title = {"title": capfirst(self.opts.verbose_name), "subtitle": self.object(entry) if entry else None}
        return super().change_view(request, object_id, form_url, title | (extra_context or {}))

    @admin.display(description=gettext_lazy("When"), ordering="timestamp")
    def when(self, entry: LogEntry) -> str:
        return f"{localtime(entry.timestamp):%Y-%m-%d %H:%M:%S}"

    @admin.display(description=gettext_lazy("By"), ordering="actor")
    def who(self, entry: LogEntry) -> str:
        facts = _facts(entry)
        return str(entry.actor or facts.get("unix_user") or facts.get("actor") or _("the service"))

    @admin.display(description=gettext_lazy("What was done"), ordering="action")
    def done(self, entry: LogEntry) -> str:
        return str(_DONE[entry.action])

    @admin.display(description=gettext_lazy("Object"))
    def object(self, entry: LogEntry) -> str:
        model = entry.content_type.model_class()
        kind = model._meta.verbose_name if model else entry.content_type.model
        return f"{kind} {entry.object_repr}"

    @admin.display(description=gettext_lazy("Details"))
    def summary(self, entry: LogEntry) -> str:
        facts = _facts(entry)
        told = [_told(_FACTS[name], _value(name, facts[name])) for name in _SHORT if facts.get(name)]
        told += [str(get_field_verbose_name(entry, name)) for name in (entry.changes or {}) if not facts.get("verb")]
        return " · ".join(told)

    @admin.display(description=gettext_lazy("Changes"))
    def changes_told(self, entry: LogEntry) -> SafeString | str:
        rows = [
            (get_field_verbose_name(entry, name), _change(change)) for name, change in (entry.changes or {}).items()
        ]
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{}: {}</li>", rows)) if rows else "–"

    @admin.display(description=gettext_lazy("Details"))
    def facts(self, entry: LogEntry) -> SafeString | str:
        known = _facts(entry)
        return _list([_told(word, _value(name, known[name])) for name, word in _FACTS.items() if known.get(name)])


def _told(name: object, value: str) -> str:
    return _("%(name)s: %(value)s") % {"name": name, "value": value}


def _list(lines: list[str]) -> SafeString | str:
    return (
        format_html("<ul>{}</ul>", format_html_join("", "<li>{}</li>", ((line,) for line in lines))) if lines else "–"
    )


def _facts(entry: LogEntry) -> dict[str, Any]:
    return entry.additional_data if isinstance(entry.additional_data, dict) else {}


def _change(change: object) -> str:
    """Return what a field was and is; auditlog keeps a list of two, or what was added to a relation."""
    if isinstance(change, list) and len(change) == 2:
        return f"{change[0] or '–'} → {change[1] or '–'}"
    if isinstance(change, dict):
        return f"{change.get('operation', '')} {', '.join(map(str, change.get('objects', [])))}"
    return str(change)
