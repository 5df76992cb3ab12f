"""Admin of accounts and groups: Django's own, with the rights named in the reader's language."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import admin as auth_admin
from django.contrib.auth.models import Group, Permission, User
from django.db import models
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from connectors.admin.labelled import Titled

_DEFAULT: dict[str, Promise] = {
    "add": gettext_lazy("may add"),
    "change": gettext_lazy("may change"),
    "delete": gettext_lazy("may delete"),
    "view": gettext_lazy("may look"),
}
_OURS: dict[str, Promise] = {
    "view_content": gettext_lazy("may read the content of messages and files"),
    "export_trackingevent": gettext_lazy("may export events"),
    "export_queue": gettext_lazy("may export lists of queues and queued messages"),
}


class PermissionField(forms.ModelMultipleChoiceField):
    """Rights as "part | object | what it allows"; the stored names are English."""

    def label_from_instance(self, obj: Permission) -> str:
        what = _OURS.get(obj.codename) or _DEFAULT.get(obj.codename.partition("_")[0])
        return f"{obj.content_type} | {what or obj.name}"


class _WithRights(Titled):
    def formfield_for_manytomany(self, db_field: models.ManyToManyField, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.related_model is Permission:
            kwargs["form_class"] = PermissionField
        return super().formfield_for_manytomany(db_field, request, **kwargs)


admin.site.unregister([User, Group])


@admin.register(User)
class UserAdmin(_WithRights, auth_admin.UserAdmin):
    pass


@admin.register(Group)
class GroupAdmin(_WithRights, auth_admin.GroupAdmin):
    pass
